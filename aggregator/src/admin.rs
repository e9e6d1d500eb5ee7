//! What the HTTP API may ask of the store itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::{Admin, AdminError, HeadReport, PartitionReport, Replay};
use model::{Matcher, TimeRange};
use tsdb::{DeleteError, ReplayProgress, ReplayStage, SnapshotRequest, Tsdb};

use crate::beside::Beside;
use crate::config_of::STORE_FOLDER;
use crate::store::LateStore;

/// The store, as its operator sees it; from the first moment on.
#[derive(Debug)]
pub(crate) struct StoreAdmin {
    pub(crate) store: LateStore,
    pub(crate) progress: ReplayProgress,
    /// Where snapshots lie, each a whole data folder.
    pub(crate) snapshots: PathBuf,
    /// What they hold beside the store.
    pub(crate) beside: Arc<Beside>,
}

impl StoreAdmin {
    fn store(&self) -> Result<&Arc<Tsdb>, AdminError> {
        self.store.get().ok_or_else(|| {
            AdminError::Unavailable("the log is being replayed; try again in a moment".to_owned())
        })
    }
}

/// What a tier is called.
pub(crate) fn tier(distance: Option<Duration>) -> String {
    distance.map_or_else(|| "raw".to_owned(), model::format_duration)
}

fn delete_error(error: DeleteError) -> AdminError {
    match error {
        DeleteError::Invalid(_) => AdminError::Invalid(error.to_string()),
        DeleteError::Failed(_) => AdminError::Failed(error.to_string()),
        DeleteError::Closed => AdminError::Unavailable(error.to_string()),
    }
}

impl Admin for StoreAdmin {
    fn replay(&self) -> Replay {
        let state = self.progress.state();
        Replay {
            first: state.first,
            last: state.last,
            current: state.current,
            state: match state.stage {
                ReplayStage::Waiting => "waiting",
                ReplayStage::Running => "in progress",
                ReplayStage::Done => "done",
            },
        }
    }

    fn head(&self, limit: usize) -> Result<HeadReport, AdminError> {
        let store = self.store()?;
        let head = store.head_status(limit);
        let owners = store.series_owners(limit);
        Ok(HeadReport {
            series: head.series,
            label_pairs: head.label_pairs,
            columns: head.columns,
            times: head.times,
            series_by_metric: head.series_by_metric,
            values_by_label: head.values_by_label,
            bytes_by_label: head.bytes_by_label,
            series_by_pair: head.series_by_pair,
            active_by_agent: owners.agents,
            active_by_metric: owners.metrics,
            active_by_tenant: owners.tenants,
        })
    }

    fn partitions(&self) -> Result<Vec<PartitionReport>, AdminError> {
        let partitions = self.store()?.partition_status().into_iter();
        let report = |partition: tsdb::PartitionStatus| PartitionReport {
            file: partition.file,
            shard: partition.shard,
            times: partition.times,
            bytes: partition.bytes,
            samples: partition.samples,
            series: partition.series,
            level: partition.level,
            tier: tier(partition.tier),
            class: partition.class,
        };
        Ok(partitions.map(report).collect())
    }

    fn delete(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), AdminError> {
        let deleted = self.store()?.delete(matcher_sets, range);
        deleted.map_err(delete_error)
    }

    fn clean_deletes(&self) -> Result<(), AdminError> {
        self.store()?.clean_deletes().map_err(delete_error)
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, AdminError> {
        let beside = Arc::clone(&self.beside);
        let request = SnapshotRequest {
            folder: self.snapshots.clone(),
            store: STORE_FOLDER.into(),
            beside: Some(tsdb::Beside::new(move |folder| beside.copy_into(folder))),
            skip_head,
        };
        let made = self.store()?.snapshot(request);
        made.map(|summary| summary.name).map_err(|error| {
            let source = std::error::Error::source(&error);
            let why = source.map_or_else(String::new, |source| format!(": {source}"));
            AdminError::Failed(format!("{error}{why}"))
        })
    }
}
