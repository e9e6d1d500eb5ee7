//! When a notification of which nothing has changed is repeated.

use std::time::Duration;

/// The times between repeats: each is twice as long as the one before, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repeats {
    pub(crate) first: Duration,
    /// As long as the first: they do not grow.
    pub(crate) longest: Duration,
}

impl Repeats {
    /// Returns how long to wait after so many repeats.
    pub(crate) fn after(self, repeats: u32) -> Duration {
        let doubled = 1_u32.checked_shl(repeats).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_double_up_to_the_longest() {
        let hours = |first, longest| {
            let hours = |hours: u64| Duration::from_secs(hours * 3600);
            let repeats = Repeats {
                first: hours(first),
                longest: hours(longest),
            };
            [0, 1, 2, 3, 31, 32, u32::MAX].map(|count| repeats.after(count).as_secs() / 3600)
        };
        assert_eq!(hours(4, 24), [4, 8, 16, 24, 24, 24, 24]);
        assert_eq!(hours(4, 4), [4; 7]);
    }
}
