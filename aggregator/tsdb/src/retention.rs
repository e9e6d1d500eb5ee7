//! How long what is kept: retention classes, and what their ends mean for files.
//!
//! Merges split files by class, and each then goes at its own time. Classes change with the configuration, at a restart, and then what a
//! file was split by says nothing of what is in it: a series may be in the file of a class that does not take it any more, or that is no
//! longer there. So the catalogue keeps by which classes files are split, and when these are others all files count as not split, which
//! keeps them as long as any class would, until merges have split them anew ([`Retention::adopt`]).

use std::time::Duration;

use model::{Labels, TimeRange, TimestampMs};
use xxhash_rust::xxh3::xxh3_64;

use crate::catalogue::{Contents, PartitionEntry, Tier};
use crate::config::{RetentionClass, TierRetention, TsdbConfig};
use crate::tier::{day_of, day_range, find_bereft, untiered};

/// Samples that are past their time wait no longer for their tier: beyond their time, and the end of their day. Days are merged some
/// minutes after their end, four hours at most, and late rows into them when nothing has come for six.
const TIER_PATIENCE: Duration = Duration::from_hours(24);

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

/// Returns a number that tells these classes from others: by what they take, not by how long they keep it.
fn fingerprint(classes: &[RetentionClass]) -> u64 {
    let mut bytes = Vec::new();
    for class in classes {
        bytes.extend_from_slice(class.name.as_bytes());
        bytes.push(0);
        for matcher in &class.matchers {
            bytes.extend_from_slice(matcher.to_string().as_bytes());
            bytes.push(0);
        }
        bytes.push(1);
    }
    xxh3_64(&bytes)
}

/// Returns up to when a file has something: a tier up to the end of its day, for it is made for as long as that is kept.
fn last_of(entry: &PartitionEntry) -> TimestampMs {
    match entry.tier {
        Tier::Raw => entry.times.end,
        Tier::Minutes5 | Tier::Hour => day_range(day_of(entry)).end,
    }
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

    /// Returns by which classes merges split files.
    pub(crate) fn split_by(&self) -> Option<u64> {
        Some(fingerprint(&self.classes))
    }

    /// Makes the contents of a catalogue those of a store with these classes: files that may be split by others count as not split. Returns
    /// how many these are.
    pub(crate) fn adopt(&self, contents: &mut Contents) -> usize {
        if contents.split_by == self.split_by() {
            return 0;
        }
        if contents.split_by.is_none() {
            // Whoever wrote it knew neither this nor that.
            find_bereft(&mut contents.partitions);
        }
        contents.split_by = self.split_by();
        let raw = contents.partitions.values_mut();
        let raw = raw.filter(|entry| entry.tier == Tier::Raw && !entry.class.is_empty());
        raw.map(|entry| entry.class.clear()).count()
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
        if entry.class == DEFAULT_CLASS {
            return self.default;
        }
        let class = self.classes.iter().find(|class| class.name == entry.class);
        // Not split by class, or by others: series of any class may be in it.
        class.map_or(self.longest, |class| class.retention)
    }

    /// Returns until when a file is to be kept.
    fn end_of(&self, entry: &PartitionEntry) -> TimestampMs {
        last_of(entry).saturating_add(self.of(entry))
    }

    /// Returns the names of the files that are to go: those past their time, then the oldest until the rest, and `log_bytes`, fit the
    /// bytes allowed. Samples of which a tier is still to be made, as those of a day that is not over, stay for that, [`TIER_PATIENCE`] at
    /// most; so do those of a day of which one of the `heads`, by shard, may still have rows.
    pub(crate) fn ended<'a>(
        &self,
        partitions: impl Iterator<Item = (&'a String, &'a PartitionEntry)> + Clone,
        heads: &[(u16, TimeRange)],
        now: TimestampMs,
        log_bytes: u64,
    ) -> Vec<String> {
        let makes_tiers = self.tiers != TierRetention::default();
        let untiered = untiered(partitions.clone(), |tier, day| {
            self.keeps_tier(tier, day, now)
        });
        let waits = |entry: &PartitionEntry| {
            let (number, end) = (day_of(entry), self.end_of(entry));
            let day = day_range(number);
            let in_head = |(shard, times): &(u16, TimeRange)| {
                makes_tiers && *shard == entry.shard && times.overlaps(day)
            };
            entry.tier == Tier::Raw
                && now <= end.max(day.end).saturating_add(TIER_PATIENCE)
                && (untiered.contains(&(entry.shard, number)) || heads.iter().any(in_head))
        };
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for (name, entry) in partitions {
            if self.end_of(entry) < now && !waits(entry) {
                ended.push(name.clone());
            } else {
                kept.push((name, entry));
            }
        }
        if let Some(bytes_max) = self.bytes_max {
            // A tier goes behind its samples: as long as they are there it would be made again.
            kept.sort_by_key(|(name, entry)| (last_of(entry), entry.tier, *name));
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
            retention().ended(files, &[], TimestampMs(now * HOUR), 0)
        };
        assert_eq!(ended(8), Vec::<String>::new());
        assert_eq!(ended(10), ["short"]);
        assert_eq!(ended(18), ["short", "default"]);
        assert_eq!(ended(108).len(), 5);
    }

    #[test]
    fn files_that_were_split_by_other_classes_count_as_not_split() {
        let retention = retention();
        let mut contents = Contents::empty(rows::StoreId(1), 1);
        let tier = PartitionEntry {
            tier: Tier::Hour,
            ..entry("default,long", (0, 7), 1)
        };
        let raw = |class| entry(class, (0, 7), 1);
        let files = [("a", raw(DEFAULT_CLASS)), ("b", raw("long")), ("c", tier)];
        contents.partitions = files.map(|(name, entry)| (name.to_owned(), entry)).into();
        let classes = |contents: &Contents| -> Vec<String> {
            let entries = contents.partitions.values();
            entries.map(|entry| entry.class.clone()).collect()
        };
        assert_eq!(retention.adopt(&mut contents), 2);
        assert_eq!(classes(&contents), ["", "", "default,long"]);
        for entry in contents.partitions.values_mut() {
            entry.class = "long".to_owned();
        }
        let split = contents.clone();
        assert_eq!(retention.adopt(&mut contents), 0);
        assert_eq!(contents, split);
        for change in 0..4 {
            let mut changed = retention.clone();
            match change {
                0 => changed.classes[1].name = "longer".to_owned(),
                1 => changed.classes[1].matchers = vec![Matcher::equal("job", "c")],
                2 => changed.classes.swap(0, 1),
                _ => changed.classes.clear(),
            }
            let mut contents = split.clone();
            assert_eq!(changed.adopt(&mut contents), 2, "{change}");
        }
        let mut longer = retention;
        longer.classes[1].retention *= 2;
        assert_eq!(longer.adopt(&mut contents), 0);
        assert_eq!(contents, split);
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
            retention.ended(files, &[], TimestampMs(6 * HOUR), log)
        };
        assert_eq!(ended(10), Vec::<String>::new());
        assert_eq!(ended(11), ["older"]);
        assert_eq!(ended(21), ["older", "old"]);
        assert_eq!(ended(1_000).len(), 3);
        // Samples, tier, and samples of the next day, whatever their names and sizes.
        let tier = PartitionEntry {
            tier: Tier::Hour,
            ..entry("long", (0, 23), 50)
        };
        let day = entry("long", (0, 23), 50);
        let next = entry("long", (24, 25), 50);
        let files = [("a", next), ("b", tier), ("c", day)];
        let files = files.map(|(name, entry)| (name.to_owned(), entry));
        let ended = |bytes_max| {
            retention.bytes_max = Some(bytes_max);
            let files = files.iter().map(|(name, entry)| (name, entry));
            retention.ended(files, &[], TimestampMs(26 * HOUR), 0)
        };
        assert_eq!(
            [100, 50, 0].map(ended),
            [vec!["c"], vec!["c", "b"], vec!["c", "b", "a"]]
        );
    }

    #[test]
    fn samples_wait_for_their_tier_a_day_at_most_unless_bytes_are_short() {
        let mut config = TsdbConfig::at("/data");
        config.retention = Duration::from_hours(6);
        config.tiers.one_hour = Some(Duration::from_hours(1_000));
        let retention = Retention::new(&config);
        let raw = entry("", (0, 8), 10);
        let other = entry("", (10, 12), 10);
        let tier = PartitionEntry {
            tier: Tier::Hour,
            samples: 2,
            ..raw.clone()
        };
        let ended = |retention: &Retention, tier: Option<&PartitionEntry>, head: i64, now: i64| {
            let files = [("a", Some(&raw)), ("b", Some(&other)), ("1h", tier)];
            let named = |(name, entry): (&str, Option<&PartitionEntry>)| {
                Some((name.to_owned(), entry?.clone()))
            };
            let files: Vec<_> = files.into_iter().filter_map(named).collect();
            let head = TimeRange::new(TimestampMs(head * HOUR), TimestampMs((head + 1) * HOUR));
            let files = files.iter().map(|(name, entry)| (name, entry));
            let ended = retention.ended(files, &[(0, head)], TimestampMs(now * HOUR), 0);
            ended.join(" ")
        };
        assert_eq!(ended(&retention, None, 30, 20), "");
        assert_eq!(ended(&retention, None, 30, 47), "");
        assert_eq!(ended(&retention, None, 30, 48), "a b");
        assert_eq!(ended(&retention, Some(&tier), 30, 14), "");
        assert_eq!(ended(&retention, Some(&tier), 30, 15), "a");
        assert_eq!(ended(&retention, Some(&tier), 20, 20), "");
        let outdated = PartitionEntry { samples: 1, ..tier };
        assert_eq!(ended(&retention, Some(&outdated), 30, 20), "");
        let mut full = retention.clone();
        full.bytes_max = Some(10);
        assert_eq!(ended(&full, None, 30, 7), "a");
        let tierless = Retention::new(&TsdbConfig {
            tiers: TierRetention::default(),
            ..config
        });
        assert_eq!(ended(&tierless, None, 10, 20), "a b");
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
