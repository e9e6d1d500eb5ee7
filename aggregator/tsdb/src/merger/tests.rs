use model::TimeRange;

use super::plan::DAY_MS;
use super::*;
use crate::catalogue::{PartitionEntry, Tier};
use crate::seal::SPAN_MS;

const HOUR: i64 = 3_600_000;

/// A file: level, its span's number, bytes, last position.
fn file(level: Level, span: i64, bytes: u64, until: u64) -> PartitionEntry {
    let start = span * SPAN_MS;
    PartitionEntry {
        shard: 0,
        times: TimeRange::new(TimestampMs(start), TimestampMs(start + SPAN_MS - 1)),
        bytes,
        samples: bytes,
        until,
        level,
        tier: Tier::Raw,
        class: "default".to_owned(),
        deleted: 0,
    }
}

/// Returns level and last positions of what is planned at so many hours.
fn planned(files: &[PartitionEntry], hours: i64, head: Option<i64>) -> Option<(Level, Vec<u64>)> {
    let names: Vec<String> = files.iter().map(|file| file.until.to_string()).collect();
    let candidates: Vec<Candidate<'_>> = names
        .iter()
        .zip(files)
        .map(|(name, entry)| Candidate {
            name,
            entry,
            seen: TimestampMs(hours * HOUR),
            rewrite: false,
            barred: false,
        })
        .collect();
    let moment = Moment {
        now: TimestampMs(hours * HOUR),
        head: head.map(|hours| TimestampMs(hours * HOUR)),
        slack_ms: 60_000,
        split: true,
    };
    let plan = plan(&candidates, moment)?;
    let inputs = plan.inputs.iter().map(|name| name.parse().unwrap());
    Some((plan.level, inputs.collect()))
}

#[test]
fn a_span_is_merged_when_it_is_over_and_no_head_has_more_of_it() {
    let files = [
        file(Level::Sealed, 0, 100, 1),
        file(Level::Sealed, 0, 100, 2),
        file(Level::Sealed, 1, 100, 2),
    ];
    assert_eq!(planned(&files, 1, None), None);
    assert_eq!(planned(&files, 3, Some(1)), None);
    assert_eq!(planned(&files, 3, Some(2)), Some((Level::Span, vec![1, 2])));
    assert_eq!(planned(&files, 7, Some(1)), Some((Level::Span, vec![1, 2])));
}

#[test]
fn a_day_is_merged_when_it_is_over_even_from_one_file() {
    let files = [file(Level::Span, 3, 100, 1), file(Level::Span, 5, 100, 2)];
    assert_eq!(planned(&files, 23, None), None);
    assert_eq!(planned(&files, 25, None), Some((Level::Day, vec![1, 2])));
    assert_eq!(planned(&files[..1], 25, None), Some((Level::Day, vec![1])));
    assert_eq!(planned(&[file(Level::Day, 0, 100, 1)], 25, None), None);
}

#[test]
fn late_files_wait_until_they_are_much() {
    let day = file(Level::Day, 0, 1_000, 1);
    let late = |bytes, until| file(Level::Sealed, 5, bytes, until);
    assert_eq!(planned(&[day.clone(), late(100, 2)], 30, None), None);
    assert_eq!(
        planned(&[day.clone(), late(130, 2)], 30, None),
        Some((Level::Day, vec![1, 2]))
    );
    // Among themselves they become one span's file first.
    let some = [day, late(20, 2), late(20, 3)];
    assert_eq!(planned(&some, 30, None), Some((Level::Span, vec![2, 3])));
}

#[test]
fn a_day_that_is_not_split_by_class_is_merged_once_more() {
    let day = file(Level::Day, 0, 1_000, 1);
    let unsplit = PartitionEntry {
        class: String::new(),
        ..file(Level::Day, 0, 1_000, 2)
    };
    assert_eq!(planned(std::slice::from_ref(&day), 30, None), None);
    assert_eq!(
        planned(&[day, unsplit], 30, None),
        Some((Level::Day, vec![1, 2]))
    );
}

#[test]
fn what_is_merged_of_an_open_span_lies_together_at_its_end() {
    let mut files: Vec<PartitionEntry> = (1..=5)
        .map(|until| file(Level::Sealed, 0, 100, until))
        .collect();
    assert_eq!(planned(&files, 1, None), None);
    files.insert(0, file(Level::Span, 0, 10_000, 0));
    assert_eq!(
        planned(&files, 1, None),
        Some((Level::Span, vec![1, 2, 3, 4, 5]))
    );
    files[0].samples = 900;
    assert_eq!(
        planned(&files, 1, None),
        Some((Level::Span, vec![0, 1, 2, 3, 4, 5]))
    );
    assert_eq!(DAY_MS, 12 * SPAN_MS);
}
