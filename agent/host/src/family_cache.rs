//! Families whose names are known only when the kernel has spoken.

use std::collections::HashMap;

use crate::Family;

/// More names than any machine has; when so many have been seen, all are forgotten and made anew.
const FAMILIES_MAX: usize = 8_192;

/// Makes each family once, and remembers also what is none.
#[derive(Debug, Default)]
pub(crate) struct FamilyCache(HashMap<String, Option<Family>>);

impl FamilyCache {
    /// Returns the family of `key`, asking `make` when it is new; `None` when that made none.
    pub(crate) fn get(
        &mut self,
        key: &str,
        make: impl FnOnce() -> Option<Family>,
    ) -> Option<&Family> {
        if !self.0.contains_key(key) {
            if self.0.len() >= FAMILIES_MAX {
                self.0.clear();
            }
            self.0.insert(key.to_owned(), make());
        }
        self.0.get(key)?.as_ref()
    }
}

/// Returns `name` with `_` for each character that a metric's name may not have.
pub(crate) fn metric_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
