//! Energy that the CPUs have used: `class/powercap`.

use std::collections::HashMap;

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::{FamilyCache, metric_name};
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::{Family, HostConfig, Sink};

static BY_ZONE: Family = Family::counter(
    "node_rapl_joules_total",
    "Current RAPL value in joules",
    &["index", "path", "rapl_zone"],
);

const MICROJOULES_PER_JOULE: f64 = 1e6;

#[derive(Debug)]
pub(super) struct Rapl {
    zones: Folder,
    zone_label: bool,
    families: FamilyCache,
}

impl Rapl {
    pub(super) fn new(config: &HostConfig) -> Self {
        Self {
            zones: Folder::new(config.paths.sysfs.join("class/powercap")),
            zone_label: config.rapl_zone_label,
            families: FamilyCache::default(),
        }
    }
}

impl Collector for Rapl {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let folders = optional(self.zones.folders())?
            .ok_or(CollectError::NoData("there is no power capping"))?;
        let mut seen = HashMap::new();
        for folder in folders {
            let Some(written) = folder.optional_text("name")? else {
                continue;
            };
            let (name, index) = zone(&written, &mut seen);
            // Since Linux 5.10 only root may read it.
            let energy = folder
                .optional_number("energy_uj")?
                .ok_or(CollectError::NoData("the energy may not be read"))?;
            let joules = energy / MICROJOULES_PER_JOULE;
            let (index, path) = (index.to_string(), folder.path().to_string_lossy());
            if self.zone_label {
                sink.sample(&BY_ZONE, &[&index, &path, name], joules);
                continue;
            }
            let family = self.families.get(name, || {
                let metric = metric_name(&format!("{name}_joules_total"));
                let family = Family::dynamic(
                    format!("node_rapl_{metric}"),
                    format!("Current RAPL {name} value in joules"),
                    MetricType::Counter,
                );
                Some(family.with_labels(&["index", "path"]))
            });
            if let Some(family) = family {
                sink.sample(family, &[&index, &path], joules);
            }
        }
        Ok(())
    }
}

/// Returns name and index of a zone: `package-1` has its index in the name; others are counted by their names.
fn zone<'a>(written: &'a str, seen: &mut HashMap<String, u64>) -> (&'a str, u64) {
    if let Some((name, index)) = written.split_once('-')
        && let Ok(index) = index.parse()
    {
        return (name, index);
    }
    let next = seen.entry(written.to_owned()).or_default();
    *next += 1;
    (written, *next - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_counted_or_say_which_they_are() {
        let mut seen = HashMap::new();
        let zones = ["package-1", "core", "core", "dram-x", "psys", "a-b-1"];
        let zones = zones.map(|written| zone(written, &mut seen));
        let expected = [
            ("package", 1),
            ("core", 0),
            ("core", 1),
            ("dram-x", 0),
            ("psys", 0),
            ("a-b-1", 0),
        ];
        assert_eq!(zones, expected);
    }
}
