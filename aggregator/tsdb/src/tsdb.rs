//! The store as its users see it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clock::SharedClock;
use files::{FolderLock, FolderLockError, SharedFileSystem};
use model::{Matcher, Spans, TimeRange};
use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};
use storage::{
    Announced, Appender, Busy, Done, ProcessMemory, Querier, QueryError, Queryable, Source,
};

use crate::admission::Admission;
use crate::age_clock::AgeClock;
use crate::catalogue::{Catalogue, CatalogueError, Contents, Tier};
use crate::cohorts::{Cohorts, DurableNumbers};
use crate::config::TsdbConfig;
use crate::counters::Counters;
use crate::deletes::{Delete, DeleteError};
use crate::head::HeadWriter;
use crate::intake::{Command, Intake};
use crate::keeper::{Keeper, KeeperRequest, REQUESTS};
use crate::late::LateRows;
use crate::log::Log;
use crate::memory::Memory;
use crate::merger::{self, MergeRequest, Merger};
use crate::occupancy::Occupancy;
use crate::offline::is_set_aside;
use crate::pace::Pace;
use crate::partitions::{OpenPartitions, PartitionHandle};
use crate::querier::Snapshot;
use crate::replay::{Replay, Replayed};
use crate::report::{
    DumpSummary, DumpedSample, PartitionSpace, RecoveryReport, SeriesOwners, Stats,
};
use crate::retention::Retention;
use crate::sequencer::Sequencer;
use crate::shard::{Freezing, Shard, ShardMessage, ShardThread};
use crate::snapshot::{SnapshotError, SnapshotRequest, SnapshotSummary};
use crate::status::{self, HeadStatus, PartitionStatus};

pub(crate) const LOG_FOLDER: &str = "log";
pub(crate) const PARTITION_FOLDER: &str = "partitions";
/// Groups of log records that may wait for a shard; when they are as many, the log waits, and then intake.
const SHARD_QUEUE: usize = 16;
/// How often a delete tries to freeze all heads at one position; in between it waits up to a second for a seal that is under way.
const FREEZE_TRIES: usize = 30;
/// How often it is looked whether the shards have caught up, and the pause between.
const CATCH_UP_LOOKS: usize = 10_000;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(1);

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] FolderLockError),
    /// The operating system refused something.
    #[error("cannot {attempted} {}; check space, permissions and the disk", path.display())]
    Io {
        /// What was attempted.
        attempted: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The catalogue is damaged or of another version: nothing in the folder can be trusted without it.
    #[error(
        "cannot use the catalogue {}: {what}; check the disk, restore the data folder from a backup, or start with an empty one",
        path.display()
    )]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A segment of the log is of a later version.
    #[error("cannot read log segment {}: it was {what}", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// By whom it was written.
        what: &'static str,
    },
}

impl OpenError {
    pub(crate) fn io(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            attempted,
            path,
            source,
        }
    }
}

/// An open data folder. Dropping it closes it.
#[derive(Debug)]
pub struct Tsdb {
    store_id: StoreId,
    intake: Arc<Intake>,
    numbers: Arc<DurableNumbers>,
    late: Arc<LateRows>,
    published: Arc<AtomicU64>,
    shards: Vec<Arc<Shard>>,
    counters: Arc<Counters>,
    partitions: Arc<OpenPartitions>,
    /// Tells a merge under way to give up.
    closing: Arc<AtomicBool>,
    occupancy: Arc<Occupancy>,
    memory: Option<ProcessMemory>,
    clock: SharedClock,
    threads: Mutex<Threads>,
}

/// What closing ends, in this order.
#[derive(Debug, Default)]
struct Threads {
    log: Option<JoinHandle<()>>,
    shards: Vec<JoinHandle<()>>,
    /// Gone once the store is closing: then the merger ends.
    merging: Option<SyncSender<MergeRequest>>,
    merger: Option<JoinHandle<()>>,
    /// Gone once the store is closing: the keeper ends when all who could ask are gone.
    asking: Option<SyncSender<KeeperRequest>>,
    keeper: Option<JoinHandle<()>>,
    lock: Option<FolderLock>,
}

impl Tsdb {
    /// Opens the data folder, making it when there is none, and replays its log; returns when all durable samples can be queried.
    pub fn open(
        config: TsdbConfig,
        files: SharedFileSystem,
        clock: SharedClock,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let began = clock.monotonic();
        let mut report = RecoveryReport::default();
        let lock = take_folder(&config, &files)?;
        let catalogue = open_catalogue(&config, &files, &mut report)?;
        remove_unnamed(&config, &files, &catalogue, &mut report)?;
        let catalogue = adopt_classes(&config, catalogue)?;
        let opening = Opening {
            config,
            files,
            clock: Arc::clone(&clock),
        };
        let tsdb = opening.start(lock, catalogue, &mut report)?;
        report.took = clock.monotonic().saturating_since(began);
        tsdb.counters.damages.add(report.damage_count);
        tracing::info!(
            took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            batches = report.batches,
            damages = report.damage_count,
            torn_bytes = report.torn_bytes,
            "data folder is open"
        );
        Ok((tsdb, report))
    }

    /// Stops taking batches, makes durable what was taken, answers every `done`, and ends the threads. Queries go on working.
    /// Later appends are [`Busy`], and [`failing`](Appender::failing) says why. Closing again does nothing.
    pub fn close(&self) {
        self.intake.close();
        self.closing.store(true, Ordering::Relaxed);
        let mut threads = self.threads();
        let log = threads.log.take();
        threads.asking = None;
        threads.merging = None;
        // The shards end when the log thread has dropped their senders, the keeper when shards and merger have dropped theirs to it.
        let rest = std::mem::take(&mut threads.shards)
            .into_iter()
            .chain(threads.merger.take())
            .chain(threads.keeper.take());
        join_all(log.into_iter().chain(rest));
        self.partitions.close();
        threads.lock = None;
    }

    /// Returns counters and gauges.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        let views: Vec<_> = self.shards.iter().map(|shard| shard.view().0).collect();
        let heads = || {
            let frozen = views.iter().filter_map(|view| view.frozen.as_ref());
            let frozen = frozen.map(|frozen| &frozen.head);
            views.iter().map(|view| &view.active).chain(frozen)
        };
        let partitions = || views.iter().flat_map(|view| view.partitions.iter());
        let times = heads()
            .filter_map(|head| head.times())
            .chain(partitions().map(|partition| partition.times()));
        Stats {
            store_id: self.store_id,
            shards: u16::try_from(self.shards.len()).unwrap_or(u16::MAX),
            batches_stored: counters.batches_stored.get(),
            batches_duplicate: counters.batches_duplicate.get(),
            batches_failed: counters.batches_failed.get(),
            samples_stored: counters.samples_stored.get(),
            samples_refused: counters.refusals(),
            unsynced_bytes: self.intake.unsynced_bytes(),
            log_segments: counters.log_segments.get(),
            log_bytes: counters.log_bytes.get(),
            log_bytes_written: counters.log_bytes_written.get(),
            log_syncs: counters.log_syncs.get(),
            log_failures: counters.log_failures.get(),
            log_failing: counters.log_failing(),
            limits_used: self.occupancy.limits_used(self.clock.monotonic()),
            memory: (self.memory.as_ref()).map(|memory| (memory.used_bytes(), memory.limit_bytes)),
            head_series: heads().map(|head| head.index.len() as u64).sum(),
            head_bytes: heads().map(|head| head.bytes()).sum(),
            seals: counters.seals.get(),
            seal_failures: counters.seal_failures.get(),
            partitions: partitions().count() as u64,
            partition_bytes: partitions().map(|partition| partition.entry.bytes).sum(),
            partitions_expired: counters.partitions_expired.get(),
            tiers: partitions()
                .filter(|partition| partition.entry.tier != Tier::Raw)
                .fold((0, 0), |(files, bytes), partition| {
                    (files + 1, bytes + partition.entry.bytes)
                }),
            tiers_made: counters.tiers_made.get(),
            merges: counters.merges.get(),
            merge_failures: counters.merge_failures.get(),
            merge_time: Duration::from_nanos(counters.merge_nanos.get()),
            merged_files: counters.merged_files.get(),
            merged_samples: counters.merged_samples.get(),
            merged_bytes: (
                counters.merged_bytes_read.get(),
                counters.merged_bytes_written.get(),
            ),
            deletes: counters.deletes.get(),
            partitions_hit: partitions().filter(|partition| partition.is_hit()).count() as u64,
            damages: counters.damages.get(),
            damages_listed: counters.damages_listed(),
            time_range: times
                .map(|range| (range.start, range.end))
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))),
        }
    }

    /// Returns who has most active series, at most `limit` of each kind.
    pub fn series_owners(&self, limit: usize) -> SeriesOwners {
        self.occupancy.owners(limit)
    }

    /// Returns what the heads hold, with the `limit` largest of each list. Reads all label values: some 100 ms per million.
    pub fn head_status(&self, limit: usize) -> HeadStatus {
        status::head_status(&self.shards, limit)
    }

    /// Returns the partition files, the oldest first.
    pub fn partition_status(&self) -> Vec<PartitionStatus> {
        let views = self.shards.iter().map(|shard| shard.view().0);
        let mut all: Vec<PartitionStatus> = views
            .flat_map(|view| {
                let partitions = view.partitions.iter();
                partitions
                    .map(|handle| status::partition_status(handle))
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort_by(|a, b| (a.times.start, &a.file).cmp(&(b.times.start, &b.file)));
        all
    }

    /// Calls `visit` with every stored sample, before queries merge equal timestamps, in no particular order.
    pub fn dump(&self, visit: &mut dyn FnMut(DumpedSample<'_>)) -> Result<DumpSummary, QueryError> {
        let numbers = self.numbers.all();
        let mut summary = self.view().dump(visit)?;
        summary.numbers = numbers
            .into_iter()
            .map(|((agent, epoch), known)| (agent, epoch, known.numbers))
            .collect();
        Ok(summary)
    }

    /// Makes a copy of the data folder, by hard links where the volume has them, while ingest and queries go on: it holds every batch
    /// that was acknowledged before this call. To restore it, open the copy. Blocks until it is made.
    pub fn snapshot(&self, request: SnapshotRequest) -> Result<SnapshotSummary, SnapshotError> {
        let asked = |answer| KeeperRequest::Snapshot { request, answer };
        self.ask_keeper(asked)
            .unwrap_or(Err(SnapshotError::Closing))
    }

    /// Returns the spans of which late rows have come ([`LateConfig`](crate::LateConfig)) since the last call, or since opening, with those
    /// of all that opening had to replay; of any series. Waits until queries that begin later find the rows: some milliseconds, ten seconds
    /// at most; what they do not find by then is told another time.
    pub fn take_late(&self) -> Spans {
        let late = self.late.take();
        if late.is_empty() || self.catches_up() {
            return late;
        }
        self.late.note(late.as_slice().iter().copied());
        Spans::default()
    }

    /// Waits until views show all that was published before this call; returns whether they do.
    fn catches_up(&self) -> bool {
        let published = self.published.load(Ordering::Acquire);
        let is_behind = || (self.shards.iter()).any(|shard| shard.view().1 < published);
        // Shards are some milliseconds behind, unless one of them waits for a seal, or its thread is gone.
        for _ in 0..CATCH_UP_LOOKS {
            if !is_behind() {
                return true;
            }
            thread::park_timeout(CATCH_UP_PAUSE);
        }
        false
    }

    /// Deletes the samples within `range` of all series that satisfy every matcher of any set (no set: of all series), as far as they came
    /// before this call. Queries that begin after it has returned do not find them, nor labels of series of which nothing is left; the
    /// space is freed by merges, or by [`clean_deletes`](Self::clean_deletes). Heads are sealed first, so it takes about a second.
    /// Of days of which tiers alone are left, a summary goes as a whole when the range touches it: at either end of the range up to 5 minutes
    /// or an hour more than was asked for.
    ///
    /// After an error nothing is deleted, except when the catalogue could not be written: then it shows at the next start at the latest.
    pub fn delete(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<(), DeleteError> {
        let delete = Delete::new(matcher_sets, range)?;
        let position = self.freeze()?;
        self.ask_keeper(|answer| KeeperRequest::Delete {
            position,
            delete,
            answer,
        })
        .unwrap_or(Err(DeleteError::Closed))
    }

    /// Carries out all deletes in the files now, one file after the other, tiers of which the samples are gone included. An error says that
    /// some are not carried out everywhere.
    pub fn clean_deletes(&self) -> Result<(), DeleteError> {
        match self.merge_now(true) {
            None => Err(DeleteError::Closed),
            Some(false) => Err(DeleteError::Failed(
                "a file could not be read or written; the log of the program says why".to_owned(),
            )),
            Some(true) => Ok(()),
        }
    }

    /// Freezes all heads at one log position, behind everything that is applied, and returns it.
    pub(crate) fn freeze(&self) -> Result<u64, DeleteError> {
        for _ in 0..FREEZE_TRIES {
            let (answers, answered) = sync_channel(self.shards.len());
            if self.intake.offer(Command::Freeze { answers }).is_err() {
                return Err(DeleteError::Closed);
            }
            let mut frozen = Vec::with_capacity(self.shards.len());
            let mut sealing = false;
            for answer in answered {
                match answer {
                    Freezing::Frozen(position) => frozen.push(position),
                    Freezing::Sealing => sealing = true,
                    Freezing::Refused(why) => return Err(DeleteError::Failed(why)),
                }
            }
            match frozen.first() {
                _ if sealing => self.shards.iter().for_each(|shard| shard.await_seal()),
                Some(position) if frozen.len() == self.shards.len() => return Ok(*position),
                // A shard did not answer: it is gone, or the log thread is.
                _ => return Err(DeleteError::Closed),
            }
        }
        Err(DeleteError::Failed(
            "what was in memory cannot be written".to_owned(),
        ))
    }

    /// Has the merger do at once whatever is due; `None` when the store is closed.
    fn merge_now(&self, clean: bool) -> Option<bool> {
        let merging = self.threads().merging.clone()?;
        let (answer, answered) = sync_channel(1);
        merging.send(MergeRequest::Now { clean, answer }).ok()?;
        drop(merging);
        answered.recv().ok()
    }

    /// Has the keeper do something and waits for its answer; `None` when the store is closed.
    ///
    /// Nothing is held while waiting, so closing goes on: what was asked is done before the keeper ends.
    pub(crate) fn ask_keeper<T>(
        &self,
        request: impl FnOnce(SyncSender<T>) -> KeeperRequest,
    ) -> Option<T> {
        let asking = self.threads().asking.clone()?;
        let (answer, answered) = sync_channel(1);
        asking.send(request(answer)).ok()?;
        drop(asking);
        answered.recv().ok()
    }

    /// Has keeper and merger do at once whatever is due; tells whether it succeeded.
    #[cfg(test)]
    pub(crate) fn keep(&self) -> bool {
        self.ask_keeper(KeeperRequest::Keep) == Some(true) && self.merge_now(false) == Some(true)
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        // Handles that are taken out one by one.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the partition files hold and take; opens each of them.
    pub fn partition_space(&self) -> Result<PartitionSpace, QueryError> {
        let mut space = PartitionSpace::default();
        for shard in &self.shards {
            for handle in shard.view().0.partitions.iter() {
                let partition = handle.get();
                let partition =
                    partition.map_err(|error| QueryError::Damaged(error.to_string()))?;
                space.files += 1;
                space.bytes += handle.entry.bytes;
                space.index_bytes += partition.index_bytes();
                space.series += partition.series();
                space.samples += handle.entry.samples;
            }
        }
        Ok(space)
    }

    fn view(&self) -> Snapshot {
        Snapshot::new(&self.shards, Arc::clone(&self.counters))
    }
}

impl Drop for Tsdb {
    fn drop(&mut self) {
        self.close();
    }
}

impl Appender for Tsdb {
    fn store_id(&self) -> StoreId {
        self.store_id
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        self.numbers.of(&(agent.clone(), epoch))
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        self.intake.offer(Command::Settle {
            agent: agent.clone(),
            epoch,
            floor,
        })
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        self.intake.offer(Command::Define {
            source: source.clone(),
            definition,
        })
    }

    fn announce(&self) -> Announced {
        Box::new(Intake::announce(&self.intake))
    }

    fn failing(&self) -> Option<String> {
        if self.intake.is_closed() {
            return Some("the store is closing".to_owned());
        }
        self.counters.log_failing()
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        self.intake.offer(Command::Append {
            source: source.clone(),
            batch,
            done,
        })
    }
}

impl Queryable for Tsdb {
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError> {
        Ok(Arc::new(self.view()))
    }

    fn catch_up(&self) {
        self.catches_up();
    }
}

pub(crate) fn take_folder(
    config: &TsdbConfig,
    files: &SharedFileSystem,
) -> Result<FolderLock, OpenError> {
    for folder in ["", LOG_FOLDER, PARTITION_FOLDER] {
        let folder = config.folder.join(folder);
        files
            .create_folders(&folder)
            .map_err(OpenError::io("make folder", &folder))?;
    }
    Ok(FolderLock::take(&**files, &config.folder)?)
}

pub(crate) fn open_catalogue(
    config: &TsdbConfig,
    files: &SharedFileSystem,
    report: &mut RecoveryReport,
) -> Result<Catalogue, OpenError> {
    let path = Catalogue::path(&config.folder);
    let catalogue_path = path.clone();
    let failed = |error: CatalogueError| OpenError::Catalogue {
        path: catalogue_path.clone(),
        what: error.to_string(),
    };
    let folder = config.folder.clone();
    if let Some(catalogue) = Catalogue::open(Arc::clone(files), folder.clone()).map_err(failed)? {
        return Ok(catalogue);
    }
    for used in [LOG_FOLDER, PARTITION_FOLDER] {
        let used = config.folder.join(used);
        let entries = files.list(&used);
        if !entries
            .map_err(OpenError::io("read folder", &used))?
            .is_empty()
        {
            // To begin anew here would remove what the lost catalogue names.
            return Err(OpenError::Catalogue {
                path,
                what: format!("it is missing, but {} is not empty", used.display()),
            });
        }
    }
    report.created = true;
    let shards = config
        .shards
        .map_or_else(default_shards, |shards| shards.get());
    let contents = Contents::empty(new_store_id(), shards);
    Catalogue::create(Arc::clone(files), folder, contents).map_err(failed)
}

/// Makes the catalogue that of a store with these retention classes.
fn adopt_classes(config: &TsdbConfig, mut catalogue: Catalogue) -> Result<Catalogue, OpenError> {
    let mut contents = catalogue.contents().clone();
    let split_otherwise = Retention::new(config).adopt(&mut contents);
    if contents.partitions != catalogue.contents().partitions {
        let failed = |error: CatalogueError| OpenError::Catalogue {
            path: Catalogue::path(&config.folder),
            what: error.to_string(),
        };
        catalogue.commit(contents).map_err(failed)?;
    }
    if split_otherwise > 0 {
        tracing::warn!(
            files = split_otherwise,
            "retention classes are not those that files are split by; until merges have split them anew, all of them are kept as long as the longest retention"
        );
    }
    Ok(catalogue)
}

/// Returns an identity that no other store has.
pub(crate) fn new_store_id() -> StoreId {
    let high = u128::from(crate::random::random_u64());
    StoreId(high << 64 | u128::from(crate::random::random_u64()))
}

fn default_shards() -> u16 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    u16::try_from(cores).unwrap_or(u16::MAX)
}

/// Removes partition files that no committed seal names, but for those that a repair set aside.
pub(crate) fn remove_unnamed(
    config: &TsdbConfig,
    files: &SharedFileSystem,
    catalogue: &Catalogue,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let folder = config.folder.join(PARTITION_FOLDER);
    let entries = files
        .list(&folder)
        .map_err(OpenError::io("read folder", &folder))?;
    for entry in entries {
        let named = entry
            .name
            .to_str()
            .is_some_and(|name| catalogue.contents().partitions.contains_key(name));
        let path = folder.join(&entry.name);
        if !named && !entry.folder && !is_set_aside(&path) {
            files
                .remove(&path)
                .map_err(OpenError::io("remove file", &path))?;
            report.files_removed += 1;
        }
    }
    Ok(())
}

/// How to reach each shard's thread, and how to wait for its end.
type StartedShards = (Vec<SyncSender<ShardMessage>>, Vec<JoinHandle<()>>);

/// A data folder on its way to being open.
struct Opening {
    config: TsdbConfig,
    files: SharedFileSystem,
    clock: SharedClock,
}

impl Opening {
    /// Starts shards and keeper, replays the log through them, then starts the log thread.
    fn start(
        self,
        lock: FolderLock,
        catalogue: Catalogue,
        report: &mut RecoveryReport,
    ) -> Result<Tsdb, OpenError> {
        let Contents {
            store_id,
            sealed,
            numbers,
            ..
        } = catalogue.contents().clone();
        let shard_count = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
        let intake = Arc::new(Intake::new(self.config.log.unsynced_bytes_max));
        let counters = Arc::new(Counters::default());
        let numbers = Arc::new(DurableNumbers::new(numbers));
        let partitions = Arc::new(OpenPartitions::new(
            Arc::clone(&self.files),
            self.config.folder.join(PARTITION_FOLDER),
            (self.config.open_partitions_max, self.config.cache_bytes),
            Arc::clone(&counters),
            Arc::clone(&self.clock),
        ));
        let (shards, writers) = make_shards(&catalogue, &partitions);
        let memory = Arc::new(Memory::new(
            shards.clone(),
            self.config.limits.head_bytes_max,
            self.config.memory.clone(),
        ));
        // The threads end when their senders are dropped, also when something below fails.
        let retention = Arc::new(Retention::new(&self.config));
        let closing = Arc::new(AtomicBool::new(false));
        let serial = next_serial(&catalogue);
        let (asking, requests) = sync_channel(REQUESTS);
        let (senders, shard_threads) = self.start_shards(&shards, writers, &memory, &asking)?;
        let keeper = Keeper {
            files: Arc::clone(&self.files),
            clock: Arc::clone(&self.clock),
            ages: AgeClock::new(catalogue.contents().newest(), &*self.clock),
            catalogue,
            shards: shards.clone(),
            numbers: Arc::clone(&numbers),
            partitions: Arc::clone(&partitions),
            intake: Arc::clone(&intake),
            counters: Arc::clone(&counters),
            retention: Arc::clone(&retention),
            retry_after: self.config.log.retry_after,
            built: Default::default(),
            doubtful: Vec::new(),
        };
        // Among usual threads: what comes in is to fill the heads no faster than they are sealed.
        let keeper = spawn("tsdb-keeper".to_owned(), move || keeper.run(&requests))?;
        let exceptions = self.config.limits.exceptions.keys().cloned();
        let occupancy = Arc::new(Occupancy::new(exceptions));
        let admission = Admission::new(self.config.limits.clone(), Arc::clone(&occupancy));
        let mut cohorts = Cohorts::new(shard_count, admission);
        let log_folder = self.config.folder.join(LOG_FOLDER);
        let unsealed = sealed.iter().min().copied().unwrap_or(0);
        let late = Arc::new(LateRows::new(
            self.config.late.clone(),
            self.config.ahead_max,
        ));
        let published = Arc::new(AtomicU64::new(0));
        let replayed = Replay {
            files: Arc::clone(&self.files),
            folder: log_folder.clone(),
            store_id,
            clock: Arc::clone(&self.clock),
            sealed,
            cohorts: &mut cohorts,
            numbers: &numbers,
            shards: &senders,
            report,
            progress: &self.config.progress,
            late: &late,
        }
        .run();
        let Replayed { end, next_position } = match replayed {
            Ok(replayed) => replayed,
            Err(error) => {
                // Nobody works in the folder once its lock is released.
                drop((senders, asking));
                join_all(shard_threads.into_iter().chain([keeper]));
                drop(lock);
                return Err(error);
            }
        };
        await_shards(&senders);
        let merge_files = Arc::clone(&self.files);
        self.config.progress.finish();
        let mut log = Log::new(self.files, log_folder, store_id, self.config.log, end);
        log.remove_until(unsealed);
        let merger = Merger {
            files: Arc::clone(&merge_files),
            clock: Arc::clone(&self.clock),
            shards: shards.clone(),
            partitions: Arc::clone(&partitions),
            counters: Arc::clone(&counters),
            retention: Arc::clone(&retention),
            config: self.config.merge,
            retry_after: self.config.log.retry_after,
            keeper: asking.clone(),
            closing: Arc::clone(&closing),
            serial,
            seen: Default::default(),
            barred: Default::default(),
            blank: Default::default(),
        };
        let (merging, merge_requests) = sync_channel(merger::REQUESTS);
        let merger = spawn("tsdb-merge".to_owned(), move || {
            precedence::give_way();
            merger.run(&merge_requests);
        })?;
        log.count(&counters);
        let sequencer = Sequencer {
            intake: Arc::clone(&intake),
            log,
            cohorts,
            numbers: Arc::clone(&numbers),
            shards: senders,
            counters: Arc::clone(&counters),
            memory,
            late: Arc::clone(&late),
            published: Arc::clone(&published),
            retention: retention.longest(),
            ahead_max: self.config.ahead_max,
            pace: Pace::new(self.config.log.spacing),
            retry_after: self.config.log.retry_after,
            next_position,
            swept: self.clock.monotonic(),
            clock: Arc::clone(&self.clock),
        };
        let log = spawn("tsdb-log".to_owned(), move || sequencer.run())?;
        Ok(Tsdb {
            store_id,
            intake,
            numbers,
            late,
            published,
            shards,
            counters,
            partitions,
            closing,
            occupancy,
            memory: self.config.memory,
            clock: self.clock,
            threads: Mutex::new(Threads {
                log: Some(log),
                shards: shard_threads,
                merging: Some(merging),
                merger: Some(merger),
                asking: Some(asking),
                keeper: Some(keeper),
                lock: Some(lock),
            }),
        })
    }

    fn start_shards(
        &self,
        shards: &[Arc<Shard>],
        writers: Vec<HeadWriter>,
        memory: &Arc<Memory>,
        keeper: &SyncSender<KeeperRequest>,
    ) -> Result<StartedShards, OpenError> {
        let mut senders = Vec::new();
        let mut threads = Vec::new();
        let shard_count = u16::try_from(shards.len()).unwrap_or(u16::MAX);
        for (shard, writer) in shards.iter().zip(writers) {
            let (sender, receiver): (_, Receiver<ShardMessage>) = sync_channel(SHARD_QUEUE);
            let thread = ShardThread::new(
                Arc::clone(shard),
                Arc::clone(memory),
                writer,
                Arc::clone(&self.clock),
                (self.config.seal, shard_count),
                keeper.clone(),
            );
            let name = format!("tsdb-shard-{}", shard.number);
            threads.push(spawn(name, move || thread.run(&receiver))?);
            senders.push(sender);
        }
        Ok((senders, threads))
    }
}

fn make_shards(
    catalogue: &Catalogue,
    open: &Arc<OpenPartitions>,
) -> (Vec<Arc<Shard>>, Vec<HeadWriter>) {
    let contents = catalogue.contents();
    let of_shard = |number: u16| {
        let entries = contents.partitions.iter();
        let own = entries.filter(move |(_, entry)| entry.shard == number);
        own.map(|(name, entry)| {
            let (name, entry) = (name.clone(), entry.clone());
            let handle = PartitionHandle::new(name, entry, &contents.deletes, Arc::clone(open));
            Arc::new(handle)
        })
        .collect()
    };
    (0u16..)
        .zip(&contents.sealed)
        .map(|(number, sealed)| {
            let writer = HeadWriter::new(*sealed);
            let active = Arc::clone(writer.head());
            let shard = Shard::new(number, *sealed, active, of_shard(number));
            (Arc::new(shard), writer)
        })
        .unzip()
}

/// Returns a number behind those in all names of partitions.
fn next_serial(catalogue: &Catalogue) -> AtomicU64 {
    // Behind it there may be the tier, and that the file was repaired.
    let last = |name: &String| {
        let mut parts = name.trim_end_matches(".redb").rsplit('-');
        parts.find_map(|part| part.parse::<u64>().ok())
    };
    let names = catalogue.contents().partitions.keys();
    AtomicU64::new(names.filter_map(last).max().unwrap_or(0) + 1)
}

/// Waits until the shards have applied everything that they were sent.
fn await_shards(senders: &[SyncSender<ShardMessage>]) {
    for sender in senders {
        let (done, applied) = sync_channel(1);
        if sender.send(ShardMessage::Barrier(done)).is_ok() {
            // An error means that the shard's thread is gone, which is reported where rows are sent to it.
            applied.recv().unwrap_or_default();
        }
    }
}

fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    let own = thread::current().id();
    // A `done` that held the last reference to the store drops it on one of these threads, which cannot wait for itself.
    for thread in threads
        .into_iter()
        .filter(|thread| thread.thread().id() != own)
    {
        if thread.join().is_err() {
            tracing::error!("a storage thread ended by a panic");
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let path = PathBuf::from(&name);
    thread::Builder::new()
        .name(name)
        .spawn(work)
        .map_err(OpenError::io("start thread", &path))
}
