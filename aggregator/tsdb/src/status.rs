//! What an open store holds, for people: which labels cost how much, which files there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use model::{METRIC_NAME, TimeRange};

use crate::catalogue::{PartitionEntry, Tier};
use crate::head::Head;
use crate::index::ValueCount;
use crate::occupancy::top;
use crate::partition::Partition;
use crate::partitions::PartitionHandle;
use crate::shard::{Shard, ShardView};

/// What the heads hold. Series that two shards have count for both; between freezing and sealing a shard has two heads, of which the
/// larger count stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadStatus {
    /// Series.
    pub series: u64,
    /// Distinct pairs of name and value.
    pub label_pairs: u64,
    /// Columns of values: one per series of each stretch of rows.
    pub columns: u64,
    /// The times of the oldest and the newest sample; `None` without samples.
    pub times: Option<TimeRange>,
    /// Metric names with most series.
    pub series_by_metric: Vec<(String, u64)>,
    /// Label names with most values.
    pub values_by_label: Vec<(String, u64)>,
    /// Label names that take most memory in the indexes: texts, values, postings.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Pairs `name=value` with most series.
    pub series_by_pair: Vec<(String, u64)>,
}

/// A partition file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its name in the folder of partitions.
    pub file: String,
    /// The shard.
    pub shard: u16,
    /// The times of its oldest and its newest sample.
    pub times: TimeRange,
    /// The size of the file.
    pub bytes: u64,
    /// Its samples.
    pub samples: u64,
    /// Its series; `None` when the file cannot be read.
    pub series: Option<u64>,
    /// How far it is merged: 1 as sealed, 2 a span of two hours, 3 a day.
    pub level: u8,
    /// The distance between two samples: `None` as they came.
    pub tier: Option<Duration>,
    /// Its retention class; empty: that of the store.
    pub class: String,
}

/// Returns what the heads hold, with the `limit` largest of each list.
pub(crate) fn head_status(shards: &[Arc<Shard>], limit: usize) -> HeadStatus {
    let views: Vec<Arc<ShardView>> = shards.iter().map(|shard| shard.view().0).collect();
    let heads: Vec<Vec<&Head>> = views
        .iter()
        .map(|view| {
            let frozen = view.frozen.iter().map(|frozen| &*frozen.head);
            std::iter::once(&*view.active).chain(frozen).collect()
        })
        .collect();
    let most = |of: &dyn Fn(&Head) -> u64| -> u64 {
        let of_shard = |heads: &Vec<&Head>| heads.iter().map(|head| of(head)).max().unwrap_or(0);
        heads.iter().map(of_shard).sum()
    };
    let all = || heads.iter().flatten();
    let names: BTreeSet<Arc<str>> = all().flat_map(|head| head.index.label_names()).collect();
    let mut status = HeadStatus {
        series: most(&|head| head.index.len() as u64),
        columns: all().map(|head| head.columns()).sum(),
        times: all()
            .filter_map(|head| head.times())
            .reduce(|a, b| TimeRange::new(a.start.min(b.start), a.end.max(b.end))),
        ..HeadStatus::default()
    };
    let mut values_by_label = Vec::new();
    let mut bytes_by_label = Vec::new();
    let mut pairs: Vec<(String, u64)> = Vec::new();
    // One label at a time: only its values are held together.
    for name in &names {
        let values = values_of(&heads, name);
        let count = values.len() as u64;
        status.label_pairs += count;
        values_by_label.push((&**name, count));
        bytes_by_label.push((&**name, most(&|head| head.index.label_bytes(name))));
        let series = || values.iter().map(|(value, series)| (&**value, *series));
        if &**name == METRIC_NAME {
            status.series_by_metric = top(series(), limit);
        }
        let of_label = top(series(), limit).into_iter();
        pairs.extend(of_label.map(|(value, series)| (format!("{name}={value}"), series)));
        let largest = top(
            pairs.iter().map(|(pair, series)| (pair.as_str(), *series)),
            limit,
        );
        pairs = largest;
    }
    status.values_by_label = top(values_by_label.into_iter(), limit);
    status.bytes_by_label = top(bytes_by_label.into_iter(), limit);
    status.series_by_pair = pairs;
    status
}

/// Returns the values of a label and how many series have each.
fn values_of(heads: &[Vec<&Head>], name: &str) -> HashMap<Arc<str>, u64> {
    let mut all: HashMap<Arc<str>, u64> = HashMap::new();
    for of_shard in heads {
        let mut largest: HashMap<Arc<str>, u64> = HashMap::new();
        for head in of_shard {
            for ValueCount { text, series } in head.index.value_counts(name) {
                let count = largest.entry(text).or_default();
                *count = series.max(*count);
            }
        }
        if all.is_empty() {
            all = largest;
            continue;
        }
        for (text, series) in largest {
            *all.entry(text).or_default() += series;
        }
    }
    all
}

/// Returns a partition as its catalogue entry and its header have it. The header alone is read: no place among the open partitions is
/// taken.
pub(crate) fn partition_status(handle: &PartitionHandle) -> PartitionStatus {
    let peeked = Partition::peek(handle.files(), &handle.path());
    let series = peeked.ok().map(|(_, summary)| summary.series);
    of_entry(&handle.name, &handle.entry, series)
}

pub(crate) fn of_entry(name: &str, entry: &PartitionEntry, series: Option<u64>) -> PartitionStatus {
    PartitionStatus {
        file: name.to_owned(),
        shard: entry.shard,
        times: entry.times,
        bytes: entry.bytes,
        samples: entry.samples,
        series,
        level: entry.level as u8 + 1,
        tier: match entry.tier {
            Tier::Raw => None,
            Tier::Minutes5 => Some(Duration::from_mins(5)),
            Tier::Hour => Some(Duration::from_hours(1)),
        },
        class: entry.class.clone(),
    }
}
