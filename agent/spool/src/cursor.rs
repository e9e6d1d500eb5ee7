//! What each destination has acknowledged.

use std::collections::BTreeMap;

use rows::{BatchNumber, Epoch, NumberSet};

/// The acknowledged numbers of each epoch.
pub(crate) type Acknowledged = BTreeMap<Epoch, NumberSet>;

/// The longest name of a destination: hexadecimal and with the suffix of a temporary file it still is a file name.
pub(crate) const NAME_BYTES_MAX: usize = 100;

const PREFIX: &str = "cursor-";

/// A destination and what it has.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) name: String,
    pub(crate) acknowledged: Acknowledged,
    /// Whether the file says less than this.
    pub(crate) dirty: bool,
}

impl Cursor {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            acknowledged: Acknowledged::new(),
            dirty: true,
        }
    }

    pub(crate) fn numbers(&self, epoch: Epoch) -> Option<&NumberSet> {
        self.acknowledged.get(&epoch)
    }

    /// Adds a number; `None` when the set has no room for it.
    pub(crate) fn insert(&mut self, epoch: Epoch, number: BatchNumber) -> Option<bool> {
        let new = self.acknowledged.entry(epoch).or_default().insert(number)?;
        self.dirty |= new;
        Some(new)
    }

    /// The name of the file: the destination's name in hexadecimal, so that any name is a file name.
    pub(crate) fn file_name(&self) -> String {
        let hex = self.name.bytes().map(|byte| format!("{byte:02x}"));
        format!("{PREFIX}{}", hex.collect::<String>())
    }

    /// The destination whose cursor is in the file of this name.
    pub(crate) fn name_from_file(file: &str) -> Option<String> {
        let hex = file.strip_prefix(PREFIX)?;
        let pairs = hex.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        let name = String::from_utf8(pairs.collect::<Option<Vec<u8>>>()?).ok()?;
        let canonical = Self::new(name.clone()).file_name() == file;
        (canonical && is_valid(&name)).then_some(name)
    }
}

pub(crate) fn is_valid(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_found_again_from_its_file() {
        for name in ["a", "aggregator.example:4433", "../x/ü", &"n".repeat(100)] {
            let file = Cursor::new(name.to_owned()).file_name();
            assert!(file.len() < 250 && !file.contains('/'));
            assert_eq!(Cursor::name_from_file(&file).as_deref(), Some(name));
        }
        for file in [
            "cursor-",
            "cursor-6",
            "cursor-6A",
            "cursor-zz",
            "cursor-ff",
            "other",
        ] {
            assert_eq!(Cursor::name_from_file(file), None, "{file}");
        }
    }
}
