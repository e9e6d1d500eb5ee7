//! How long what is kept: retention classes, and what their ends mean for files.

use std::time::Duration;

use model::{Labels, TimeRange, TimestampMs};

use crate::catalogue::{PartitionEntry, Tier};
use crate::config::{RetentionClass, TierRetention, TsdbConfig};

/// The class of series that no configured class takes, in files that were split by class. Files that were not have the class `""`.
pub(crate) const DEFAULT_CLASS: &str = "default";

/// Returns the class of a series: the first that takes it; `""` when there are no classes.
pub(crate) fn class_of<'a>(classes: &'a [RetentionClass], labels: &Labels) -> &'a str {
    if classes.is_empty() {
        return "";
    }
    let takes = |class: &&RetentionClass| {
        let mut matchers = class.matchers.iter();
        matchers.all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()))
    };
    let class = classes.iter().find(takes);
    class.map_or(DEFAULT_CLASS, |class| &class.name)
}

/// What is kept for how long.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    default: Duration,
    longest: Duration,
    tiers: TierRetention,
    pub(crate) classes: Vec<RetentionClass>,
    pub(crate) bytes_max: Option<u64>,
}

impl Retention {
    pub(crate) fn new(config: &TsdbConfig) -> Self {
        let of_classes = config.retention_classes.iter();
        let longest = of_classes.map(|class| class.retention).max();
        Self {
            default: config.retention,
            longest: longest.unwrap_or_default().max(config.retention),
            tiers: config.tiers,
            classes: config.retention_classes.clone(),
            bytes_max: config.retention_bytes,
        }
    }

    /// Returns how long anything at all is kept: what is older is not taken.
    pub(crate) const fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns how long a tier is kept; `None`: it is not made.
    const fn of_tier(&self, tier: Tier) -> Option<Duration> {
        match tier {
            Tier::Raw => None,
            Tier::Minutes5 => self.tiers.five_minutes,
            Tier::Hour => self.tiers.one_hour,
        }
    }

    /// Returns whether a tier of a day is made, and not past its time already.
    pub(crate) fn keeps_tier(&self, tier: Tier, day: TimeRange, now: TimestampMs) -> bool {
        let kept = self.of_tier(tier);
        kept.is_some_and(|kept| day.end >= now.saturating_sub(kept))
    }

    /// Returns how long the samples of a file are kept.
    pub(crate) fn of(&self, entry: &PartitionEntry) -> Duration {
        if entry.tier != Tier::Raw {
            return self.of_tier(entry.tier).unwrap_or(self.longest);
        }
        if entry.class.is_empty() {
            // Not split by class: any may be in it.
            return self.longest;
        }
        let class = self.classes.iter().find(|class| class.name == entry.class);
        class.map_or(self.default, |class| class.retention)
    }

    /// Returns the names of the files that are to go: those past their time, then the oldest until the rest, and `log_bytes`, fit the
    /// bytes allowed.
    pub(crate) fn ended<'a>(
        &self,
        partitions: impl Iterator<Item = (&'a String, &'a PartitionEntry)>,
        now: TimestampMs,
        log_bytes: u64,
    ) -> Vec<String> {
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for (name, entry) in partitions {
            if entry.times.end < now.saturating_sub(self.of(entry)) {
                ended.push(name.clone());
            } else {
                kept.push((name, entry));
            }
        }
        if let Some(bytes_max) = self.bytes_max {
            kept.sort_by_key(|(name, entry)| (entry.times.end, *name));
            let bytes: u64 = kept.iter().map(|(_, entry)| entry.bytes).sum();
            let mut over = (bytes + log_bytes).saturating_sub(bytes_max);
            for (name, entry) in kept {
                if over == 0 {
                    break;
                }
                over = over.saturating_sub(entry.bytes);
                ended.push(name.clone());
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use model::{Matcher, TimeRange};

    use super::*;
    use crate::catalogue::{Level, Tier};

    const HOUR: i64 = 3_600_000;

    fn entry(class: &str, hours: (i64, i64), bytes: u64) -> PartitionEntry {
        PartitionEntry {
            shard: 0,
            times: TimeRange::new(TimestampMs(hours.0 * HOUR), TimestampMs(hours.1 * HOUR)),
            bytes,
            samples: 1,
            until: 0,
            level: Level::Day,
            tier: Tier::Raw,
            class: class.to_owned(),
            deleted: 0,
        }
    }

    fn retention() -> Retention {
        let mut config = TsdbConfig::at("/data");
        config.retention = Duration::from_hours(10);
        let class = |name: &str, job: &str, hours| RetentionClass {
            name: name.to_owned(),
            matchers: vec![Matcher::equal("job", job)],
            retention: Duration::from_hours(hours),
        };
        config.retention_classes = vec![class("short", "a", 2), class("long", "b", 100)];
        Retention::new(&config)
    }

    #[test]
    fn a_file_goes_when_the_retention_of_its_class_ends_and_a_mixed_one_when_the_longest_does() {
        let files = [
            ("short", "short", (0, 7)),
            ("default", DEFAULT_CLASS, (0, 7)),
            ("forgotten", "was-once", (0, 7)),
            ("mixed", "", (0, 7)),
            ("long", "long", (0, 7)),
        ]
        .map(|(name, class, hours)| (name.to_owned(), entry(class, hours, 1)));
        let ended = |now: i64| {
            let files = files.iter().map(|(name, entry)| (name, entry));
            retention().ended(files, TimestampMs(now * HOUR), 0)
        };
        assert_eq!(ended(8), Vec::<String>::new());
        assert_eq!(ended(10), ["short"]);
        assert_eq!(ended(18), ["short", "default", "forgotten"]);
        assert_eq!(ended(108).len(), 5);
    }

    #[test]
    fn the_oldest_goes_first_when_bytes_are_short_and_the_log_counts() {
        let mut retention = retention();
        retention.bytes_max = Some(100);
        let files = [
            ("new", (4, 5), 40),
            ("old", (0, 1), 40),
            ("older", (0, 0), 10),
        ]
        .map(|(name, hours, bytes)| (name.to_owned(), entry("long", hours, bytes)));
        let ended = |log| {
            let files = files.iter().map(|(name, entry)| (name, entry));
            retention.ended(files, TimestampMs(6 * HOUR), log)
        };
        assert_eq!(ended(10), Vec::<String>::new());
        assert_eq!(ended(11), ["older"]);
        assert_eq!(ended(21), ["older", "old"]);
        assert_eq!(ended(1_000).len(), 3);
    }

    #[test]
    fn the_first_class_that_takes_a_series_has_it() {
        let classes = retention().classes;
        let labels = |job: &str| Labels::from_pairs([("job", job)]).unwrap();
        assert_eq!(class_of(&classes, &labels("a")), "short");
        assert_eq!(class_of(&classes, &labels("b")), "long");
        assert_eq!(class_of(&classes, &labels("c")), DEFAULT_CLASS);
        assert_eq!(class_of(&[], &labels("a")), "");
    }
}
