//! What udev noted of block devices: `b<major>:<minor>` in its data folder.

use std::path::Path;

use crate::kept_file::read_once;
use crate::scan;

/// The properties that are reported.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Properties {
    pub(super) path: String,
    pub(super) wwn: String,
    pub(super) model: String,
    pub(super) revision: String,
    pub(super) fs_type: String,
    pub(super) fs_usage: String,
    pub(super) fs_uuid: String,
    pub(super) fs_version: String,
    pub(super) dm_name: String,
    pub(super) dm_uuid: String,
    pub(super) dm_vg_name: String,
    pub(super) dm_lv_name: String,
    pub(super) dm_lv_layer: String,
    pub(super) ata: String,
    pub(super) ata_write_cache: String,
    pub(super) ata_write_cache_enabled: String,
    pub(super) ata_rotation_rate_rpm: String,
    scsi_ident_serial: String,
    serial_short: String,
    long_serial: String,
}

impl Properties {
    /// A device that udev does not know has none.
    pub(super) fn read(folder: &Path, major: u64, minor: u64) -> Self {
        read_once(&folder.join(format!("b{major}:{minor}")))
            .map(|bytes| Self::parse(&bytes))
            .unwrap_or_default()
    }

    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut properties = Self::default();
        for line in scan::lines(bytes) {
            if let Some((name, value)) = line
                .strip_prefix(b"E:")
                .and_then(|line| scan::split_once(line, b'='))
                && let Some(property) = properties.property(name)
            {
                *property = scan::text(value).into_owned();
            }
        }
        properties
    }

    /// What is printed on the disk, where udev knows it; virtio devices have the long one only.
    pub(super) fn serial(&self) -> &str {
        [&self.scsi_ident_serial, &self.serial_short]
            .into_iter()
            .find(|serial| !serial.is_empty())
            .unwrap_or(&self.long_serial)
    }

    fn property(&mut self, name: &[u8]) -> Option<&mut String> {
        Some(match name {
            b"ID_PATH" => &mut self.path,
            b"ID_WWN" => &mut self.wwn,
            b"ID_MODEL" => &mut self.model,
            b"ID_REVISION" => &mut self.revision,
            b"ID_FS_TYPE" => &mut self.fs_type,
            b"ID_FS_USAGE" => &mut self.fs_usage,
            b"ID_FS_UUID" => &mut self.fs_uuid,
            b"ID_FS_VERSION" => &mut self.fs_version,
            b"DM_NAME" => &mut self.dm_name,
            b"DM_UUID" => &mut self.dm_uuid,
            b"DM_VG_NAME" => &mut self.dm_vg_name,
            b"DM_LV_NAME" => &mut self.dm_lv_name,
            b"DM_LV_LAYER" => &mut self.dm_lv_layer,
            b"ID_ATA" => &mut self.ata,
            b"ID_ATA_WRITE_CACHE" => &mut self.ata_write_cache,
            b"ID_ATA_WRITE_CACHE_ENABLED" => &mut self.ata_write_cache_enabled,
            b"ID_ATA_ROTATION_RATE_RPM" => &mut self.ata_rotation_rate_rpm,
            b"SCSI_IDENT_SERIAL" => &mut self.scsi_ident_serial,
            b"ID_SERIAL_SHORT" => &mut self.serial_short,
            b"ID_SERIAL" => &mut self.long_serial,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_fall_back_from_the_best_to_the_longest() {
        for (text, serial) in [
            (
                "E:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short\nE:SCSI_IDENT_SERIAL=disk",
                "disk",
            ),
            ("E:ID_SERIAL=long\nE:ID_SERIAL_SHORT=short", "short"),
            ("E:ID_SERIAL=a=b\nS:ID_SERIAL_SHORT=no", "a=b"),
            ("", ""),
        ] {
            assert_eq!(Properties::parse(text.as_bytes()).serial(), serial);
        }
    }
}
