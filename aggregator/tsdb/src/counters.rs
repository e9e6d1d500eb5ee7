//! What the threads count, for [`Stats`](crate::Stats).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use storage::{RefusalCounts, Refusals};

use crate::partition::PartitionError;
use crate::querier::with_sources;
use crate::report::{DAMAGES_LISTED_MAX, Damage};

/// A counter or a gauge, written by one thread or several, read at any time.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all threads of a store count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches_stored: Counter,
    pub(crate) batches_duplicate: Counter,
    pub(crate) batches_failed: Counter,
    pub(crate) samples_stored: Counter,
    pub(crate) log_segments: Counter,
    /// Of the files of these.
    pub(crate) log_bytes: Counter,
    pub(crate) log_bytes_written: Counter,
    pub(crate) log_syncs: Counter,
    pub(crate) log_failures: Counter,
    pub(crate) seals: Counter,
    pub(crate) seal_failures: Counter,
    pub(crate) partitions_expired: Counter,
    pub(crate) merges: Counter,
    pub(crate) tiers_made: Counter,
    pub(crate) merge_failures: Counter,
    pub(crate) merge_nanos: Counter,
    pub(crate) merged_files: Counter,
    pub(crate) merged_samples: Counter,
    pub(crate) merged_bytes_read: Counter,
    pub(crate) merged_bytes_written: Counter,
    pub(crate) deletes: Counter,
    pub(crate) damages: Counter,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    refused: RefusalCounts,
    log_failing: Option<String>,
    damages: Vec<Damage>,
    /// Hashes of all that were counted, as many as are remembered.
    counted: HashSet<u64>,
    hasher: RandomState,
}

/// Damages that are not counted again when they are met again.
const DAMAGES_REMEMBERED_MAX: usize = 65_536;

impl Counters {
    pub(crate) fn refused(&self, more: &Refusals) {
        self.told().refused.merge(more.counts());
    }

    pub(crate) fn refusals(&self) -> RefusalCounts {
        self.told().refused
    }

    pub(crate) fn set_log_failing(&self, why: Option<String>) {
        self.told().log_failing = why;
    }

    pub(crate) fn log_failing(&self) -> Option<String> {
        self.told().log_failing.clone()
    }

    /// Notes a damage; one that was counted already is not counted again, however many queries meet it.
    pub(crate) fn damaged(&self, damage: Damage) {
        let mut told = self.told();
        let hash = told
            .hasher
            .hash_one((&damage.file, damage.offset, &damage.what));
        if told.counted.contains(&hash) {
            return;
        }
        if told.counted.len() < DAMAGES_REMEMBERED_MAX {
            told.counted.insert(hash);
        }
        if told.damages.len() < DAMAGES_LISTED_MAX {
            tracing::error!(%damage, "stored data is damaged");
            told.damages.push(damage);
        }
        drop(told);
        self.damages.add(1);
    }

    /// Notes damage to a partition file.
    pub(crate) fn partition_damaged(&self, file: &Path, error: &PartitionError) {
        self.damaged(Damage {
            file: file.to_owned(),
            offset: 0,
            what: with_sources(error),
        });
    }

    pub(crate) fn damages_listed(&self) -> Vec<Damage> {
        self.told().damages.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Plain values: a panicking holder cannot leave them half written.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
