//! How far opening a data folder has come, for whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the replay of a log is; cloning shares it. Give it with the configuration and ask it from any thread.
#[derive(Clone, Debug, Default)]
pub struct ReplayProgress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    done: AtomicU64,
}

/// What a store that is being opened is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayStage {
    /// The log has not been looked at yet.
    #[default]
    Waiting,
    /// Segments are being read.
    Running,
    /// Everything can be queried.
    Done,
}

/// A replay at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayState {
    /// What it is at.
    pub stage: ReplayStage,
    /// The number of the first segment; 0 without segments.
    pub first: u64,
    /// The number of the last one.
    pub last: u64,
    /// The number up to which segments are read.
    pub current: u64,
}

impl ReplayProgress {
    /// Returns where the replay is.
    pub fn state(&self) -> ReplayState {
        let stage = match self.0.stage.load(Ordering::Acquire) {
            0 => ReplayStage::Waiting,
            1 => ReplayStage::Running,
            _ => ReplayStage::Done,
        };
        let (first, last) = (
            self.0.first.load(Ordering::Relaxed),
            self.0.last.load(Ordering::Relaxed),
        );
        let done = self.0.done.load(Ordering::Relaxed);
        let current = match stage {
            ReplayStage::Waiting => 0,
            ReplayStage::Running => (first + done).min(last),
            ReplayStage::Done => last,
        };
        ReplayState {
            stage,
            first,
            last,
            current,
        }
    }

    /// Segments of these numbers are going to be read.
    pub(crate) fn begin(&self, first: u64, last: u64) {
        self.0.first.store(first, Ordering::Relaxed);
        self.0.last.store(last, Ordering::Relaxed);
        self.0.stage.store(1, Ordering::Release);
    }

    /// One more segment is read.
    pub(crate) fn segment_done(&self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    /// All is replayed.
    pub(crate) fn finish(&self) {
        self.0.stage.store(2, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_goes_from_the_first_segment_to_the_last() {
        let progress = ReplayProgress::default();
        let at = |stage, first, last, current| ReplayState {
            stage,
            first,
            last,
            current,
        };
        assert_eq!(progress.state(), at(ReplayStage::Waiting, 0, 0, 0));
        progress.begin(3, 5);
        assert_eq!(progress.state(), at(ReplayStage::Running, 3, 5, 3));
        for current in [4, 5, 5] {
            progress.segment_done();
            assert_eq!(progress.state(), at(ReplayStage::Running, 3, 5, current));
        }
        progress.finish();
        assert_eq!(progress.state(), at(ReplayStage::Done, 3, 5, 5));
    }
}
