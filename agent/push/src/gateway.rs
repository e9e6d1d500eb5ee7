//! The whole: store, disk and counters behind one door.

use std::path::PathBuf;
use std::time::Duration;

use clock::Monotonic;
use exposition::Format;
use files::{SharedFile, SharedFileSystem};
use model::{TimestampMs, parse_duration};
use rows::CohortId;
use telemetry::Registry;

use crate::journal::{Found, Journal};
use crate::metrics::Metrics;
use crate::outlet::Harvest;
use crate::store::{Mode, Now, Part, Store, StoreConfig, StoreStats, Ttl};
use crate::{GroupKey, JournalError, PushError, Pushed, expose, json, page};

/// So many rows may wait to be taken; more pushes wait.
const ROWS_WAITING_MAX: usize = 8_192;
/// And so many slots of them; 2 MiB.
const SLOTS_WAITING_MAX: usize = 1 << 18;

/// What a push asks for beside its method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How its group is changed.
    pub mode: Mode,
    /// How long it lives then.
    pub ttl: Ttl,
}

impl PushOptions {
    /// Returns the options of a request: PUT (`replaces`) or POST, with the values of `?mode=` and of `?ttl=` where they are given.
    pub fn read(replaces: bool, mode: Option<&str>, ttl: Option<&str>) -> Result<Self, PushError> {
        let refuse = |what: String| Err(PushError::Option(what));
        let mode = match (replaces, mode) {
            (true, None | Some("replace")) => Mode::Replace,
            (false, None | Some("merge")) => Mode::Merge,
            (false, Some("sum")) => Mode::Sum,
            (true, Some("sum")) => {
                return refuse(
                    "mode=sum adds to what is there, and PUT replaces it; use POST".to_owned(),
                );
            }
            (_, Some(other)) => {
                return refuse(format!("mode {other:?} is not known; it is sum, with POST"));
            }
        };
        let ttl = match ttl {
            None => Ttl::Default,
            Some("0" | "0s") => Ttl::Endless,
            Some(text) => match parse_duration(text) {
                Ok(ttl) => Ttl::After(ttl),
                Err(error) => {
                    return refuse(format!(
                        "ttl {text:?}: {error}; write 30s, 10m or 2h, or 0 for a group that stays"
                    ));
                }
            },
        };
        Ok(Self { mode, ttl })
    }
}

/// What a gateway is opened with.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// What it may hold.
    pub store: StoreConfig,
    /// Where groups are kept on disk; `None`: only in memory.
    pub persistence: Option<PathBuf>,
}

/// What a gateway wants its owner to do.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// When it wants to be asked again at the latest.
    pub again: Option<Monotonic>,
    /// A file to sync, without the gateway's lock; whether that worked is to be [told](Gateway::synced).
    pub sync: Option<SharedFile>,
    /// Nothing is held, in memory or on disk: until the next change there is nothing to do.
    pub is_idle: bool,
}

/// Groups, in memory and on disk.
#[derive(Debug)]
pub struct Gateway {
    store: Store,
    journal: Option<Journal>,
    metrics: Metrics,
    registry: Registry,
}

impl Gateway {
    /// Opens the gateway, with the groups that are on disk.
    pub fn open(
        config: &GatewayConfig,
        files: SharedFileSystem,
        registry: &Registry,
        metrics: Metrics,
        now: Now,
    ) -> Result<Self, JournalError> {
        let mut store = Store::new(config.store);
        Metrics::reserve(&mut store);
        let journal = match &config.persistence {
            None => None,
            Some(path) => {
                let (journal, Found { groups, cut_bytes }) = Journal::open(files, path)?;
                if cut_bytes > 0 {
                    tracing::warn!(path = %path.display(), bytes = cut_bytes, "the file of pushed groups ended within a record; what was whole is restored");
                }
                tracing::info!(path = %path.display(), groups = groups.len(), "pushed groups restored");
                for group in groups {
                    store.restore(group, now);
                }
                Some(journal)
            }
        };
        let mut gateway = Self {
            store,
            journal,
            metrics,
            registry: registry.clone(),
        };
        gateway.replace_journal();
        gateway.keep();
        Ok(gateway)
    }

    /// Makes rows from now on, of cohorts counted from `first`.
    pub fn connect(&mut self, first: CohortId, now: Now) {
        self.store.open(first, now);
    }

    /// Changes a group as a push says; `pushed` is its body, read or refused. When it returns, the change is written (not synced) to
    /// disk, if there is one, and its row waits.
    pub fn push(
        &mut self,
        key: &GroupKey,
        pushed: Result<&Pushed, PushError>,
        options: PushOptions,
        now: Now,
    ) -> Result<(), PushError> {
        let done = match pushed {
            Ok(pushed) => {
                let done = self.store.push(key, pushed, options.mode, options.ttl, now);
                if done.is_ok() {
                    self.metrics.taken(pushed.samples());
                }
                done
            }
            Err(PushError::Inconsistent(why)) => self
                .store
                .fail(key, now)
                .and(Err(PushError::Inconsistent(why))),
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            self.metrics.refused(error);
        }
        self.keep();
        done
    }

    /// Ends a group; returns whether there was one.
    pub fn delete(&mut self, key: &GroupKey, now: Now) -> bool {
        let was_there = self.store.delete(key, now);
        self.keep();
        was_there
    }

    /// Ends all groups.
    pub fn wipe(&mut self, now: Now) {
        self.store.wipe(now);
        self.keep();
    }

    /// Makes a row of each group of a part that has made none since `before`: as a scrape of a Pushgateway does, but not of all at once.
    pub fn sample(&mut self, part: Part, before: TimestampMs, now: Now) {
        self.store.sample(part, before, now);
    }

    /// Returns whether rows wait to be taken.
    pub fn has_rows(&self) -> bool {
        self.store.waiting().0 > 0
    }

    /// Returns whether so many rows wait that pushes should as well.
    pub fn is_crowded(&self) -> bool {
        let (rows, slots) = self.store.waiting();
        rows >= ROWS_WAITING_MAX || slots >= SLOTS_WAITING_MAX
    }

    /// Takes the rows.
    pub fn harvest(&mut self) -> Harvest {
        self.store.harvest()
    }

    /// Ends groups whose time is over, and replaces a file that is mostly history.
    pub fn upkeep(&mut self, now: Now) -> Upkeep {
        let again = self.store.expire(now);
        self.keep();
        if self.journal.as_ref().is_some_and(Journal::is_due) {
            self.replace_journal();
        }
        let stats = self.store.stats();
        self.metrics.show(stats, self.is_broken());
        Upkeep {
            again,
            sync: self.journal.as_mut().and_then(Journal::unsynced),
            is_idle: self.journal.is_none() && stats.groups == 0,
        }
    }

    /// Returns whether groups are kept on disk: then [`upkeep`](Self::upkeep) may write all of them.
    pub const fn is_on_disk(&self) -> bool {
        self.journal.is_some()
    }

    /// Takes note of how a sync went.
    pub fn synced(&mut self, outcome: std::io::Result<()>) {
        if let (Err(error), Some(journal)) = (outcome, &mut self.journal) {
            tracing::error!(%error, "cannot sync --persistence.file; it is written anew");
            self.metrics.disk_failed();
            journal.sync_failed();
        }
    }

    /// For a process that stops: with a disk, everything is on it afterwards; without one, all series are marked as ended.
    pub fn close(&mut self, now: Now) {
        match self.journal {
            Some(_) => self.replace_journal(),
            None => self.store.mark_all_ended(now),
        }
    }

    /// Returns why pushes are not safe; `None` when all is well.
    pub fn unhealthy(&self) -> Option<&'static str> {
        if self.is_broken() {
            return Some("pushes are not kept on disk: --persistence.file cannot be written");
        }
        let why = "more rows wait for the uplink than fit: pushes wait as well";
        self.is_crowded().then_some(why)
    }

    /// Returns what is held.
    pub fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// Returns the exposition of everything.
    pub fn expose(&self, format: Format) -> String {
        self.metrics.show(self.store.stats(), self.is_broken());
        expose::expose(&self.store, &self.registry, format)
    }

    /// Returns the answer to `/api/v1/metrics`.
    pub fn metrics_json(&self) -> String {
        json::metrics(&self.store)
    }

    /// Returns the page that lists groups.
    pub fn page(&self, now: Now) -> String {
        page::page(&self.store, now.wall)
    }

    fn is_broken(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_broken)
    }

    /// Writes what has changed.
    fn keep(&mut self) {
        let changes = self.store.take_changes();
        let Some(journal) = &mut self.journal else {
            return;
        };
        if let Err(error) = journal.append(&changes, |id| self.store.group(id)) {
            tracing::error!(%error, "cannot write to --persistence.file; it is written anew once that works");
            self.metrics.disk_failed();
        }
    }

    fn replace_journal(&mut self) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let groups = self.store.numbered();
        if let Err(error) = journal.replace(groups.into_iter()) {
            tracing::error!(%error, "cannot write --persistence.file; trying again");
            self.metrics.disk_failed();
        }
    }
}

/// How long a change may wait for its sync, by default.
pub const SYNC_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
