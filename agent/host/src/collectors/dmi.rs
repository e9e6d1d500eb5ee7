//! What the firmware says of the machine: `class/dmi/id`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::folder::Folder;
use crate::host::Moment;
use crate::{Family, Paths, Sink};

const HELP: &str = "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, product_version, system_vendor if provided by DMI.";

/// Labels and files. Some files are for root only.
const FIELDS: [(&str, &str); 20] = [
    ("bios_date", "bios_date"),
    ("bios_release", "bios_release"),
    ("bios_vendor", "bios_vendor"),
    ("bios_version", "bios_version"),
    ("board_asset_tag", "board_asset_tag"),
    ("board_name", "board_name"),
    ("board_serial", "board_serial"),
    ("board_vendor", "board_vendor"),
    ("board_version", "board_version"),
    ("chassis_asset_tag", "chassis_asset_tag"),
    ("chassis_serial", "chassis_serial"),
    ("chassis_vendor", "chassis_vendor"),
    ("chassis_version", "chassis_version"),
    ("product_family", "product_family"),
    ("product_name", "product_name"),
    ("product_serial", "product_serial"),
    ("product_sku", "product_sku"),
    ("product_uuid", "product_uuid"),
    ("product_version", "product_version"),
    ("system_vendor", "sys_vendor"),
];

#[derive(Debug)]
pub(super) struct Dmi {
    folder: Folder,
    families: FamilyCache,
}

impl Dmi {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.sysfs.join("class/dmi/id")),
            families: FamilyCache::default(),
        }
    }
}

impl Collector for Dmi {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        if !self.folder.exists() {
            return Err(CollectError::NoData("the firmware says nothing"));
        }
        let mut fields = Vec::with_capacity(FIELDS.len());
        for (label, file) in FIELDS {
            if let Some(text) = self.folder.optional_text(file)? {
                fields.push((label, text));
            }
        }
        let (names, values): (Vec<&str>, Vec<&str>) =
            fields.iter().map(|(name, value)| (*name, &**value)).unzip();
        let family = self.families.get(&names.join(","), || {
            let family = Family::dynamic(
                "node_dmi_info".to_owned(),
                HELP.to_owned(),
                MetricType::Gauge,
            );
            Some(family.with_further_labels(names.iter().map(|name| (*name).to_owned()).collect()))
        });
        if let Some(family) = family {
            sink.sample(family, &values, 1.0);
        }
        Ok(())
    }
}
