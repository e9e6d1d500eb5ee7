//! The aggregator's machine: its disk, and the store that runs on it, the twin or the real one.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use files::{FileSystem as _, Open, Simulated};
use model::{TimestampMs, Value};
use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch, NumberSet, StoreId};
use storage::{Appender, Busy, Done, Source};
use tsdb::{Tsdb, TsdbConfig};

use super::ledger::StoredSample;
use super::twin::{Durable, Lie, Twin};

const FOLDER: &str = "/data";
/// Real time that the real store may take to answer before it counts as stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Which store.
#[derive(Debug)]
pub(crate) enum Host {
    Twin {
        durable: Durable,
        running: Option<Arc<Twin>>,
        waiting_max: usize,
        full: bool,
        lie: Option<Lie>,
    },
    Real {
        disk: Simulated,
        clock: Arc<SimulatedClock>,
        config: Box<TsdbConfig>,
        running: Option<Arc<Watched>>,
    },
}

/// A copy of the data folder.
#[derive(Clone, Debug)]
pub(crate) enum Backup {
    Twin(Durable),
    Real(Vec<(PathBuf, Vec<u8>)>),
}

impl Host {
    pub(crate) fn twin(waiting_max: usize, lie: Option<Lie>) -> Self {
        Self::Twin {
            durable: Durable::default(),
            running: None,
            waiting_max,
            full: false,
            lie,
        }
    }

    pub(crate) fn real(wall: SystemTime) -> Self {
        let mut config = TsdbConfig::at(FOLDER);
        config.shards = NonZeroU16::new(2);
        config.log.segment_bytes = 16 * 1024;
        config.log.spacing = Duration::ZERO;
        config.log.retry_after = Duration::from_millis(1);
        config.seal.head_bytes = 64 * 1024;
        config.seal.age = Duration::from_secs(150);
        Self::Real {
            disk: Simulated::new(),
            clock: Arc::new(SimulatedClock::starting_at(wall)),
            config: Box::new(config),
            running: None,
        }
    }

    /// Starts the store; what it found damaged is an error.
    pub(crate) fn start(&mut self) -> Result<Arc<dyn Appender>, String> {
        match self {
            Self::Twin {
                durable,
                running,
                waiting_max,
                full,
                lie,
            } => {
                let twin = Arc::new(Twin::new(durable.clone(), *waiting_max, *lie));
                twin.set_full(*full);
                *running = Some(Arc::clone(&twin));
                Ok(twin)
            }
            Self::Real {
                disk,
                clock,
                config,
                running,
            } => {
                let clock: Arc<SimulatedClock> = Arc::clone(clock);
                let (store, report) = Tsdb::open((**config).clone(), Arc::new(disk.clone()), clock)
                    .map_err(|error| format!("the store does not open: {error}"))?;
                if report.damage_count > 0 {
                    return Err(format!("the store found damage: {:?}", report.damages));
                }
                let watched = Arc::new(Watched {
                    store,
                    unanswered: Arc::default(),
                });
                *running = Some(Arc::clone(&watched));
                Ok(watched)
            }
        }
    }

    /// Ends the process; a power cut besides takes what was not synced. `seed` decides what else had reached the disk.
    pub(crate) fn crash(&mut self, power: bool, seed: u64) {
        match self {
            Self::Twin {
                durable, running, ..
            } => {
                if let Some(twin) = running.take() {
                    let waiting = twin.waiting() as u64 + 1;
                    *durable = twin.crash(usize::try_from(seed % waiting).unwrap_or(0));
                }
            }
            Self::Real { disk, running, .. } => {
                if power {
                    disk.crash(seed);
                } else {
                    disk.kill();
                }
                *running = None;
            }
        }
    }

    /// Waits until the real store has answered everything; the twin answers when it is told to sync.
    pub(crate) fn settle(&self) -> Result<(), String> {
        match self {
            Self::Real {
                running: Some(watched),
                ..
            } => watched.wait(),
            _ => Ok(()),
        }
    }

    /// Lets the twin sync; returns whether anything waited.
    pub(crate) fn sync(&self) -> bool {
        match self {
            Self::Twin {
                running: Some(twin),
                ..
            } => twin.sync(),
            _ => false,
        }
    }

    pub(crate) fn has_waiting(&self) -> bool {
        match self {
            Self::Twin {
                running: Some(twin),
                ..
            } => twin.waiting() > 0,
            _ => false,
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        if let Self::Real { clock, .. } = self {
            clock.advance(by);
        }
    }

    pub(crate) fn set_full(&mut self, now_full: bool) {
        match self {
            Self::Twin { running, full, .. } => {
                *full = now_full;
                if let Some(twin) = running {
                    twin.set_full(now_full);
                }
            }
            Self::Real { disk, .. } => {
                disk.set_capacity(now_full.then(|| disk.used_bytes()));
            }
        }
    }

    /// Cuts the power some changes of the disk ahead, in the midst of an append; only the real store has such changes.
    pub(crate) fn cut_power_in(&self, changes: u64) {
        if let Self::Real { disk, .. } = self {
            disk.cut_power_in(changes);
        }
    }

    /// Forgets a power cut that is still to come.
    pub(crate) fn keep_power(&self) {
        if let Self::Real { disk, .. } = self {
            disk.heal();
        }
    }

    pub(crate) fn power_is_cut(&self) -> bool {
        matches!(self, Self::Real { disk, .. } if disk.power_is_cut())
    }

    /// Copies the data folder of the stopped store.
    pub(crate) fn back_up(&self) -> Result<Backup, String> {
        match self {
            Self::Twin { durable, .. } => Ok(Backup::Twin(durable.clone())),
            Self::Real { disk, .. } => {
                let mut files = Vec::new();
                copy_folder(disk, Path::new(FOLDER), &mut files)
                    .map_err(|error| format!("cannot copy the data folder: {error}"))?;
                Ok(Backup::Real(files))
            }
        }
    }

    /// Puts a copy in place of the stopped store's folder.
    pub(crate) fn restore(&mut self, backup: &Backup) -> Result<(), String> {
        match (self, backup) {
            (Self::Twin { durable, .. }, Backup::Twin(copy)) => durable.clone_from(copy),
            (Self::Real { disk, .. }, Backup::Real(files)) => {
                let fresh = Simulated::new();
                write_files(&fresh, files)
                    .map_err(|error| format!("cannot restore the data folder: {error}"))?;
                *disk = fresh;
            }
            _ => return Err("a backup of another kind of store".to_owned()),
        }
        Ok(())
    }

    /// Returns every stored sample, repeats included; the store must be running.
    pub(crate) fn dump(&self) -> Result<Vec<StoredSample>, String> {
        match self {
            Self::Twin {
                durable, running, ..
            } => Ok(running
                .as_ref()
                .map_or_else(|| Durable::samples(durable), |twin| twin.samples())),
            Self::Real { running, .. } => {
                let store = running.as_ref().ok_or("the store is not running")?;
                dump(&store.store)
            }
        }
    }
}

fn dump(store: &Tsdb) -> Result<Vec<StoredSample>, String> {
    let mut samples = Vec::new();
    let summary = store
        .dump(&mut |sample| {
            let bits = match sample.value {
                Value::Float(float) => float.to_bits(),
                // Nobody makes any here: it cannot be one of ours.
                Value::Histogram(_) => u64::MAX,
            };
            samples.push(StoredSample {
                labels: sample.labels.clone(),
                at: TimestampMs(sample.at.0),
                bits,
            });
        })
        .map_err(|error| format!("the store cannot be dumped: {error}"))?;
    if summary.damages.is_empty() {
        Ok(samples)
    } else {
        Err(format!("the dump found damage: {:?}", summary.damages))
    }
}

fn copy_folder(
    disk: &Simulated,
    folder: &Path,
    files: &mut Vec<(PathBuf, Vec<u8>)>,
) -> std::io::Result<()> {
    for entry in disk.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.folder {
            copy_folder(disk, &path, files)?;
        } else {
            let bytes = disk.contents(&path)?;
            files.push((path, bytes));
        }
    }
    Ok(())
}

fn write_files(disk: &Simulated, files: &[(PathBuf, Vec<u8>)]) -> std::io::Result<()> {
    for (path, bytes) in files {
        let folder = path.parent().unwrap_or_else(|| Path::new(FOLDER));
        disk.create_folders(folder)?;
        let file = disk.open(path, Open::create_new())?;
        file.write_at(0, bytes)?;
        file.sync_data()?;
        disk.sync_folder(folder)?;
    }
    Ok(())
}

/// The real store, with its answers counted, so that virtual time can stand still until they have come.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Tsdb,
    unanswered: Arc<Unanswered>,
}

#[derive(Debug, Default)]
struct Unanswered {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Unanswered {
    fn change(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// Counts an answer when it is given, or dropped ungiven.
struct Owed(Arc<Unanswered>);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.change(|count| *count -= 1);
    }
}

impl Watched {
    fn wait(&self) -> Result<(), String> {
        let count = self.unanswered.count.lock();
        let (count, _) = self
            .unanswered
            .changed
            .wait_timeout_while(
                count.unwrap_or_else(PoisonError::into_inner),
                ANSWER_WITHIN,
                |count| *count > 0,
            )
            .unwrap_or_else(PoisonError::into_inner);
        if *count == 0 {
            Ok(())
        } else {
            Err(format!(
                "the store has not answered {count} batches for {} s of real time",
                ANSWER_WITHIN.as_secs()
            ))
        }
    }
}

impl Appender for Watched {
    fn store_id(&self) -> StoreId {
        self.store.store_id()
    }

    fn known(&self, agent: &AgentId, epoch: Epoch) -> NumberSet {
        self.store.known(agent, epoch)
    }

    fn settle(&self, agent: &AgentId, epoch: Epoch, floor: BatchNumber) -> Result<(), Busy> {
        self.store.settle(agent, epoch, floor)
    }

    fn define(&self, source: &Source, definition: CohortDefinition) -> Result<(), Busy> {
        self.store.define(source, definition)
    }

    fn append(&self, source: &Source, batch: Arc<Batch>, done: Done) -> Result<(), Busy> {
        self.unanswered.change(|count| *count += 1);
        let owed = Owed(Arc::clone(&self.unanswered));
        self.store.append(
            source,
            batch,
            Box::new(move |outcome| {
                done(outcome);
                drop(owed);
            }),
        )
    }
}
