//! Names of block devices by their numbers: `/proc/diskstats`.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// So many devices have names; others are called by their numbers.
const DEVICES_MAX: usize = 10_000;

/// The names of block devices.
#[derive(Clone, Debug, Default)]
pub struct DeviceNames {
    by_number: BTreeMap<(u32, u32), String>,
}

impl DeviceNames {
    /// Reads the devices of `/proc/diskstats`; lines of another shape are passed over.
    pub fn read(diskstats: &[u8]) -> Self {
        let devices = scan::lines(diskstats).filter_map(|line| {
            let mut words = scan::words(line);
            let mut number = || u32::try_from(scan::number(words.next()?)?).ok();
            let numbers = (number()?, number()?);
            Some((numbers, format!("/dev/{}", scan::text(words.next()?))))
        });
        Self {
            by_number: devices.take(DEVICES_MAX).collect(),
        }
    }

    /// Returns the path of a device; `MAJOR:MINOR` when it has none, for two of these must not be one.
    pub(crate) fn name(&self, major: u32, minor: u32) -> Cow<'_, str> {
        match self.by_number.get(&(major, minor)) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("{major}:{minor}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_of_diskstats() {
        let names = DeviceNames::read(b"   8       0 sda 1 2 3\nx y z\n 259 3 nvme0n1p3 1\n");
        assert_eq!(names.name(8, 0), "/dev/sda");
        assert_eq!(names.name(259, 3), "/dev/nvme0n1p3");
        assert_eq!(names.name(253, 7), "253:7");
    }
}
