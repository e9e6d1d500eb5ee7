//! The keeper thread: seals frozen heads, commits the catalogue, lets the log go, and removes what retention ends.
//!
//! A seal has three steps, each of which can fail and is tried again after a pause: the partition files are written and synced; one
//! catalogue transaction names them, the shard's position and the number sets, and with that the seal has *happened*; the view of the shard
//! changes from frozen head to partitions. A failed transaction may have happened nevertheless, so the files stay and only the
//! transaction is repeated.
//!
//! What merges make of partitions, deletes, and what retention ends are committed here too: nobody else changes the catalogue. The
//! transaction comes first, then the views change, and a file that is no longer named is removed when nobody reads it any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use clock::SharedClock;
use files::SharedFileSystem;
use model::{TimeRange, TimestampMs};

use crate::age_clock::AgeClock;
use crate::catalogue::{Catalogue, CatalogueError, Contents, Level, PartitionEntry, Tier};
use crate::cohorts::DurableNumbers;
use crate::counters::Counters;
use crate::deletes::{DELETES_MAX, Delete, DeleteError};
use crate::intake::{Command, Intake};
use crate::partition::PartitionError;
use crate::partitions::{OpenPartitions, PartitionHandle, hitting, remove};
use crate::retention::Retention;
use crate::seal::{SPAN_MS, Sealing};
use crate::shard::{Frozen, Shard};
use crate::snapshot::{SnapshotError, SnapshotRequest, SnapshotSummary};
use crate::tier::bereave;

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
    /// Let these files stand in the place of those, if the catalogue still names all of those, and no delete hits them that was not
    /// taken out of what was read.
    Replace {
        old: Vec<ReadFile>,
        new: Vec<(String, PartitionEntry)>,
        /// Whether something of the old ones is lost.
        lossy: bool,
        answer: SyncSender<Replaced>,
    },
    /// Seal what is frozen, which is all that the shards had at `position`; then commit this delete.
    Delete {
        position: u64,
        delete: Delete,
        answer: SyncSender<Result<(), DeleteError>>,
    },
    /// Do at once whatever is due, retention included, and say whether that succeeded.
    #[cfg(test)]
    Keep(SyncSender<bool>),
}

impl KeeperRequest {
    /// Returns whether everything is to be looked at, due or not.
    const fn wants_all(&self) -> bool {
        match self {
            #[cfg(test)]
            Self::Keep(_) => true,
            Self::Look | Self::Snapshot { .. } | Self::Replace { .. } | Self::Delete { .. } => {
                false
            }
        }
    }
}

/// A partition as a merge read it.
#[derive(Clone, Debug)]
pub(crate) struct ReadFile {
    pub(crate) name: String,
    /// What the catalogue said of it.
    pub(crate) entry: PartitionEntry,
    /// Positions of the deletes that were taken out of what was read.
    pub(crate) deletes: Vec<u64>,
}

impl ReadFile {
    /// Returns whether the catalogue still says what it said when the file was read. A delete may be committed while a merge is under way,
    /// and what the merge writes may have later rows too, which the delete does not hit: nobody would take its samples out any more.
    fn is_up_to_date(&self, contents: &Contents) -> bool {
        let hitting = hitting(&self.entry, &contents.deletes);
        let positions = hitting.iter().map(|(position, _)| position);
        contents.partitions.get(&self.name) == Some(&self.entry) && positions.eq(&self.deletes)
    }
}

/// What became of files that were to replace others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    Done,
    /// One of the old ones is not there any more, or not as it was read; the new ones are the caller's to remove.
    Gone,
    /// The catalogue cannot be written. The new files may be named by it nevertheless; the keeper sees to them.
    Failed,
}

/// The keeper thread's state.
pub(crate) struct Keeper {
    pub(crate) files: SharedFileSystem,
    pub(crate) clock: SharedClock,
    pub(crate) ages: AgeClock,
    pub(crate) catalogue: Catalogue,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) numbers: Arc<DurableNumbers>,
    pub(crate) partitions: Arc<OpenPartitions>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) retention: Arc<Retention>,
    /// The pause before what failed is tried again.
    pub(crate) retry_after: Duration,
    /// By shard, files that are written but not committed yet.
    pub(crate) built: BTreeMap<u16, Built>,
    /// Files of replacements whose transaction failed: removed once another one has happened that does not name them.
    pub(crate) doubtful: Vec<String>,
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
            let request = match requests.recv_timeout(patience) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = self.clock.monotonic();
            let seals = self.counters.seals.get();
            let asked = request.as_ref().is_some_and(KeeperRequest::wants_all);
            let due = asked || now.saturating_since(retained) >= RETAIN_EVERY;
            // First: what goes makes room for what is to be sealed.
            let ended = if due { self.retain() } else { Ok(()) };
            if due {
                retained = now;
            }
            let sealed = self.seal_all();
            let kept = ended.and(sealed);
            patience = if kept.is_ok() { TICK } else { self.retry_after };
            let failure = kept.as_ref().err().map(ToString::to_string);
            if let Some(request) = request {
                self.answer(request, failure);
            }
            if self.counters.seals.get() > seals {
                heap::give_back();
            }
            if let Err(error) = kept {
                self.counters.seal_failures.add(1);
                tracing::error!(%error, "cannot seal, trying again; check space and health of the disk");
            }
        }
    }

    /// Does what was asked for; `failure` is why heads could not be sealed just now.
    fn answer(&mut self, request: KeeperRequest, failure: Option<String>) {
        match request {
            KeeperRequest::Look => {}
            KeeperRequest::Snapshot { request, answer } => {
                answer.send(self.snapshot(&request)).unwrap_or_default();
            }
            KeeperRequest::Replace {
                old,
                new,
                lossy,
                answer,
            } => {
                let replaced = self.replace(&old, new, lossy);
                answer.send(replaced).unwrap_or_default();
            }
            KeeperRequest::Delete {
                position,
                delete,
                answer,
            } => {
                let deleted = match failure {
                    Some(failure) => Err(DeleteError::Failed(failure)),
                    None => self.delete(position, delete),
                };
                answer.send(deleted).unwrap_or_default();
            }
            #[cfg(test)]
            KeeperRequest::Keep(answer) => answer.send(failure.is_none()).unwrap_or_default(),
        }
    }

    /// Makes `contents` the truth, and removes the files of which it was not known whether they are part of it.
    fn commit(&mut self, mut contents: Contents) -> Result<(), CatalogueError> {
        let Contents {
            partitions,
            deletes,
            ..
        } = &mut contents;
        deletes.retain(|position, delete| {
            let mut entries = partitions.values();
            entries.any(|entry| entry.is_hit_by(*position, delete))
        });
        self.catalogue.commit(contents)?;
        for name in std::mem::take(&mut self.doubtful) {
            if !self.catalogue.contents().partitions.contains_key(&name) {
                remove(&*self.files, &self.partitions.folder().join(name));
            }
        }
        Ok(())
    }

    fn handle(&self, (name, entry): (String, PartitionEntry)) -> Arc<PartitionHandle> {
        let deletes = &self.catalogue.contents().deletes;
        let open = Arc::clone(&self.partitions);
        Arc::new(PartitionHandle::new(name, entry, deletes, open))
    }

    fn replace(
        &mut self,
        old: &[ReadFile],
        new: Vec<(String, PartitionEntry)>,
        lossy: bool,
    ) -> Replaced {
        let present = self.catalogue.contents();
        if !old.iter().all(|file| file.is_up_to_date(present)) {
            return Replaced::Gone;
        }
        let mut contents = self.present();
        for file in old {
            let gone = contents.partitions.remove(&file.name).filter(|_| lossy);
            gone.iter()
                .for_each(|gone| bereave(contents.partitions.values_mut(), gone));
        }
        contents.partitions.extend(new.iter().cloned());
        if let Err(error) = self.commit(contents) {
            tracing::error!(%error, "cannot commit a merge, it is made again later");
            self.doubtful.extend(new.into_iter().map(|(name, _)| name));
            return Replaced::Failed;
        }
        let new: Vec<_> = new.into_iter().map(|new| self.handle(new)).collect();
        self.change_views(&new);
        Replaced::Done
    }

    /// Lets the views show what the catalogue says: partitions that it does not name any more go out of them, `new` ones come in, and the
    /// others are taken as it has them now. Returns how many went.
    fn change_views(&self, new: &[Arc<PartitionHandle>]) -> u64 {
        let Contents {
            partitions,
            deletes,
            ..
        } = self.catalogue.contents();
        let mut count = 0;
        for shard in &self.shards {
            let (view, _) = shard.view();
            let (mut ended, mut shown) = (Vec::new(), Vec::new());
            for handle in view.partitions.iter() {
                match partitions.get(&handle.name) {
                    Some(entry) => shown.push(handle.renewed(entry, deletes)),
                    None => ended.push(handle),
                }
            }
            let own = new.iter().filter(|new| new.entry.shard == shard.number);
            shown.extend(own.cloned());
            let same = |(one, other): (_, &Arc<_>)| Arc::ptr_eq(one, other);
            if shown.len() == view.partitions.len() && view.partitions.iter().zip(&shown).all(same)
            {
                continue;
            }
            // Nobody but the keeper changes them.
            shard.change(|view| view.partitions = shown.into());
            count += ended.len() as u64;
            // After the view has changed: nobody new can come to hold them.
            ended.iter().for_each(|handle| handle.end());
        }
        count
    }

    /// Commits a delete of what came up to `position`, all of which is sealed.
    fn delete(&mut self, position: u64, delete: Delete) -> Result<(), DeleteError> {
        let mut contents = self.present();
        if contents.sealed.iter().any(|sealed| *sealed < position) {
            return Err(DeleteError::Failed("a shard is not sealed yet".to_owned()));
        }
        if contents.deletes.len() >= DELETES_MAX {
            return Err(DeleteError::Invalid(format!(
                "{DELETES_MAX} deletes wait to be carried out in the files, which is the most; clean them first"
            )));
        }
        contents.deletes.insert(position, Arc::new(delete));
        self.commit(contents)
            .map_err(|error| DeleteError::Failed(error.to_string()))?;
        self.change_views(&[]);
        self.counters.deletes.add(1);
        tracing::info!(position, "deleted");
        Ok(())
    }

    /// Seals all frozen heads, each whether or not others can be; tells the first failure.
    pub(crate) fn seal_all(&mut self) -> Result<(), KeepError> {
        let mut sealed = Ok(());
        for shard in self.shards.clone() {
            let (view, _) = shard.view();
            if let Some(frozen) = &view.frozen {
                let of_shard = self.seal(&shard, frozen);
                sealed = sealed.and(of_shard);
            }
        }
        sealed
    }

    fn seal(&mut self, shard: &Arc<Shard>, frozen: &Frozen) -> Result<(), KeepError> {
        let built = self.built.get(&shard.number);
        if built.is_none_or(|built| built.position != frozen.position) {
            let built = self.build(shard.number, frozen)?;
            self.built.insert(shard.number, built);
        }
        let mut contents = self.present();
        let Some(built) = self.built.get(&shard.number) else {
            return Ok(());
        };
        contents.partitions.extend(built.files.iter().cloned());
        contents.sealed[usize::from(shard.number)] = frozen.position;
        self.commit(contents)?;

        let files = self
            .built
            .remove(&shard.number)
            .map_or_else(Vec::new, |built| built.files);
        let new: Vec<_> = files.into_iter().map(|new| self.handle(new)).collect();
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
    pub(crate) fn present(&mut self) -> Contents {
        let now = self.now();
        self.numbers.expire(now.saturating_sub(NUMBERS_KEPT));
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
            split_by: self.retention.split_by(),
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
            remove(&*self.files, &path);
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
                    remove(&*self.files, &path);
                    for (name, _) in &files {
                        remove(&*self.files, &self.partitions.folder().join(name));
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

    fn let_log_go(&self) {
        let sealed = &self.catalogue.contents().sealed;
        if let Some(position) = sealed.iter().min().copied() {
            // Refused only when the store is closing.
            self.intake
                .offer(Command::Sealed { position })
                .unwrap_or_default();
        }
    }

    /// Returns the time from which ages count.
    fn now(&mut self) -> TimestampMs {
        let newest = self.catalogue.contents().newest();
        self.ages.now(newest, &*self.clock)
    }

    /// Removes partitions that retention ends.
    fn retain(&mut self) -> Result<(), KeepError> {
        let now = self.now();
        let log_bytes = self.counters.log_bytes.get();
        let heads: Vec<(u16, TimeRange)> = (self.shards.iter())
            .flat_map(|shard| {
                let (view, _) = shard.view();
                let frozen = view.frozen.as_ref().map(|frozen| &frozen.head);
                let heads = frozen.into_iter().chain([&view.active]);
                let times = heads.filter_map(|head| Some((shard.number, head.times()?)));
                times.collect::<Vec<_>>()
            })
            .collect();
        let partitions = self.catalogue.contents().partitions.iter();
        let ended = self.retention.ended(partitions, &heads, now, log_bytes);
        if ended.is_empty() {
            return Ok(());
        }
        let mut contents = self.present();
        for name in &ended {
            if let Some(gone) = contents.partitions.remove(name) {
                bereave(contents.partitions.values_mut(), &gone);
            }
        }
        self.commit(contents)?;
        let gone = self.change_views(&[]);
        self.counters.partitions_expired.add(gone);
        self.let_log_go();
        Ok(())
    }
}
