//! The keeper thread: seals frozen heads, commits the catalogue, lets the log go, and removes what retention ends.
//!
//! A seal has three steps, each of which can fail and is tried again after a pause: the partition files are written and synced; one
//! catalogue transaction names them, the shard's position and the number sets, and with that the seal has *happened*; the view of the shard
//! changes from frozen head to partitions. A failed transaction may have happened nevertheless, so the files stay and only the
//! transaction is repeated.
//!
//! Retention is the same in reverse: the transaction first, then unlink.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use clock::SharedClock;
use files::SharedFileSystem;
use model::TimestampMs;

use crate::catalogue::{Catalogue, CatalogueError, Contents, Level, PartitionEntry, Tier};
use crate::cohorts::DurableNumbers;
use crate::counters::Counters;
use crate::intake::{Command, Intake};
use crate::partition::PartitionError;
use crate::partitions::{OpenPartitions, PartitionHandle};
use crate::seal::{SPAN_MS, Sealing};
use crate::shard::{Frozen, Shard};
use crate::snapshot::{SnapshotError, SnapshotRequest, SnapshotSummary};

/// How long the keeper waits before it looks around by itself.
const TICK: Duration = Duration::from_secs(1);
/// How often the keeper looks for what retention ends.
const RETAIN_EVERY: Duration = Duration::from_mins(1);
/// Numbers of epochs that nobody has used for this long are forgotten: far more than twice the age of anything in a spool.
const NUMBERS_KEPT: Duration = Duration::from_hours(90 * 24);

/// Requests that may wait for the keeper.
pub(crate) const REQUESTS: usize = 16;

/// What the keeper is asked for. An answer is sent when it is done; nobody need wait for it.
#[derive(Debug)]
pub(crate) enum KeeperRequest {
    /// A head froze. There is nothing to say when requests wait: after each one the keeper looks at all heads.
    Look,
    /// Copy the data folder.
    Snapshot {
        request: SnapshotRequest,
        answer: SyncSender<Result<SnapshotSummary, SnapshotError>>,
    },
    /// Do at once whatever is due, retention included, and say whether that succeeded.
    #[cfg(test)]
    Keep(SyncSender<bool>),
}

/// The keeper thread's state.
pub(crate) struct Keeper {
    pub(crate) files: SharedFileSystem,
    pub(crate) clock: SharedClock,
    pub(crate) catalogue: Catalogue,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) numbers: Arc<DurableNumbers>,
    pub(crate) partitions: Arc<OpenPartitions>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) retention: Duration,
    /// The pause before what failed is tried again.
    pub(crate) retry_after: Duration,
    /// By shard, files that are written but not committed yet.
    pub(crate) built: BTreeMap<u16, Built>,
}

/// The files of a seal that is still to happen.
pub(crate) struct Built {
    position: u64,
    files: Vec<(String, PartitionEntry)>,
}

/// Why a step did not succeed; it will be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("cannot write partition {name}: {source}")]
    Partition {
        name: String,
        #[source]
        source: PartitionError,
    },
    #[error("cannot commit the catalogue: {0}")]
    Catalogue(#[from] CatalogueError),
}

impl Keeper {
    /// Works until all who could ask are gone.
    pub(crate) fn run(mut self, requests: &Receiver<KeeperRequest>) {
        let mut retained = self.clock.monotonic();
        let mut patience = TICK;
        loop {
            let answer: Option<SyncSender<bool>> = match requests.recv_timeout(patience) {
                Ok(KeeperRequest::Look) | Err(RecvTimeoutError::Timeout) => None,
                Ok(KeeperRequest::Snapshot { request, answer }) => {
                    answer.send(self.snapshot(&request)).unwrap_or_default();
                    None
                }
                #[cfg(test)]
                Ok(KeeperRequest::Keep(answer)) => Some(answer),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.clock.monotonic();
            let due = answer.is_some() || now.saturating_since(retained) >= RETAIN_EVERY;
            let mut kept = self.seal_all();
            if kept.is_ok() && due {
                retained = now;
                kept = self.retain();
            }
            patience = if kept.is_ok() { TICK } else { self.retry_after };
            if let Some(answer) = answer {
                answer.send(kept.is_ok()).unwrap_or_default();
            }
            if let Err(error) = kept {
                self.counters.seal_failures.add(1);
                tracing::error!(%error, "cannot seal, trying again; check space and health of the disk");
            }
        }
    }

    pub(crate) fn seal_all(&mut self) -> Result<(), KeepError> {
        for shard in self.shards.clone() {
            let (view, _) = shard.view();
            if let Some(frozen) = &view.frozen {
                self.seal(&shard, frozen)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, shard: &Arc<Shard>, frozen: &Frozen) -> Result<(), KeepError> {
        let built = self.built.get(&shard.number);
        if built.is_none_or(|built| built.position != frozen.position) {
            let built = self.build(shard.number, frozen)?;
            self.built.insert(shard.number, built);
        }
        let Some(built) = self.built.get(&shard.number) else {
            return Ok(());
        };
        let mut contents = self.present();
        contents.partitions.extend(built.files.iter().cloned());
        contents.sealed[usize::from(shard.number)] = frozen.position;
        self.catalogue.commit(contents)?;

        let files = self
            .built
            .remove(&shard.number)
            .map_or_else(Vec::new, |built| built.files);
        let new = files.into_iter().map(|(name, entry)| {
            let open = Arc::clone(&self.partitions);
            Arc::new(PartitionHandle::new(name, entry, open))
        });
        let new: Vec<Arc<PartitionHandle>> = new.collect();
        shard.change(|view| {
            view.frozen = None;
            view.partitions = view
                .partitions
                .iter()
                .cloned()
                .chain(new)
                .collect::<Vec<_>>()
                .into();
        });
        self.counters.seals.add(1);
        tracing::info!(shard = shard.number, position = frozen.position, "sealed");
        self.let_log_go();
        Ok(())
    }

    /// Returns what the catalogue is to say now, apart from what is being sealed.
    pub(crate) fn present(&self) -> Contents {
        let wall = TimestampMs::from(self.clock.wall());
        self.numbers.expire(wall.saturating_sub(NUMBERS_KEPT));
        // The positions before the numbers: whatever is sealed up to a position has its number in the sets.
        let mut sealed = self.catalogue.contents().sealed.clone();
        for (sealed, shard) in sealed.iter_mut().zip(&self.shards) {
            let (view, _) = shard.view();
            if view.frozen.is_none() {
                *sealed = (*sealed).max(view.active.after());
            }
        }
        Contents {
            sealed,
            numbers: self.numbers.all(),
            ..self.catalogue.contents().clone()
        }
    }

    /// Writes the partition files of a frozen head.
    fn build(&self, shard: u16, frozen: &Frozen) -> Result<Built, KeepError> {
        let mut files = Vec::new();
        let mut sealing = Sealing::new(Arc::clone(&frozen.head));
        for span in sealing.spans().to_vec() {
            let start = span.saturating_mul(SPAN_MS);
            let name = format!("{shard:05}-{start}-{:016}.redb", frozen.position);
            let path = self.partitions.folder().join(&name);
            self.remove(&path);
            match sealing.write(&*self.files, &path, shard, span) {
                Ok(summary) => {
                    let entry = PartitionEntry {
                        shard,
                        times: summary.times,
                        bytes: summary.bytes,
                        samples: summary.samples,
                        until: frozen.position,
                        level: Level::Sealed,
                        tier: Tier::Raw,
                        class: String::new(),
                        deleted: 0,
                    };
                    files.push((name, entry));
                }
                Err(source) => {
                    self.remove(&path);
                    for (name, _) in &files {
                        self.remove(&self.partitions.folder().join(name));
                    }
                    return Err(KeepError::Partition { name, source });
                }
            }
        }
        Ok(Built {
            position: frozen.position,
            files,
        })
    }

    fn remove(&self, path: &Path) {
        match self.files.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a file; the next start will");
            }
            _ => {}
        }
    }

    fn let_log_go(&self) {
        let sealed = &self.catalogue.contents().sealed;
        if let Some(position) = sealed.iter().min().copied() {
            // Refused only when the store is closing.
            self.intake
                .offer(Command::Sealed { position })
                .unwrap_or_default();
        }
    }

    /// Removes partitions all of whose samples are older than retention.
    fn retain(&mut self) -> Result<(), KeepError> {
        let wall = TimestampMs::from(self.clock.wall());
        let bound = wall.saturating_sub(self.retention);
        let expired: Vec<String> = self
            .catalogue
            .contents()
            .partitions
            .iter()
            .filter(|(_, entry)| entry.times.end < bound)
            .map(|(name, _)| name.clone())
            .collect();
        if expired.is_empty() {
            return Ok(());
        }
        let mut contents = self.present();
        contents
            .partitions
            .retain(|name, _| !expired.contains(name));
        self.catalogue.commit(contents)?;
        for shard in &self.shards {
            let (view, _) = shard.view();
            let gone = view
                .partitions
                .iter()
                .filter(|handle| expired.contains(&handle.name));
            for handle in gone {
                handle.expire();
                self.remove(&handle.path());
                self.counters.partitions_expired.add(1);
            }
            shard.change(|view| {
                let left = view
                    .partitions
                    .iter()
                    .filter(|handle| !expired.contains(&handle.name));
                view.partitions = left.cloned().collect::<Vec<_>>().into();
            });
        }
        self.let_log_go();
        Ok(())
    }
}
