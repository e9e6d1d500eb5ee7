//! A shard: one thread that applies rows to a head, and what others see of it.
//!
//! The thread owns the head it writes and hands full ones over **frozen**; the keeper makes partitions of them. Others see a
//! [`ShardView`]: the head that is written, the frozen one, the partitions. It is replaced as a whole, so whoever holds one misses nothing
//! and sees nothing twice, whatever is sealed meanwhile.
//!
//! Heads are frozen whole: series that have ended are not sealed before the others. What they hold in memory is their closed pages, for the
//! open rows of idle cohorts are closed in idle moments, and a head's bytes bound both. With a tenth of 97,000 series replaced every ten
//! minutes, memory of the seventh and eighth hour is 1.06 times that of the third and fourth (`compare storage --only churn`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use model::TimestampMs;
use rows::{Batch, MetricMetadata, Row, SeriesExemplar, SeriesSample, Slot};

use crate::config::{LOOSE_PER_SERIES, SealConfig};
use crate::head::{Head, HeadWriter};
use crate::intake::OnTheirWay;
use crate::keeper::KeeperRequest;
use crate::layout::Layout;
use crate::memory::Memory;
use crate::merge_runs::Arrival;
use crate::partitions::PartitionHandle;
use crate::turns::is_full;

/// How long a shard waits for rows before it looks at the age of its head.
const TICK: Duration = Duration::from_secs(1);

/// How often cohorts that have had no row since are looked for.
const IDLE_LOOK_EVERY: Duration = Duration::from_mins(10);

/// A head of less is sealed whenever it is full, whatever of it that frees.
const SMALL_HEAD_BYTES: u64 = 1024 * 1024;

/// What a shard is told.
pub(crate) enum ShardMessage {
    Group(ShardGroup),
    /// Answered when everything before it is applied.
    Barrier(SyncSender<()>),
    /// All rows that come after it have later positions: freeze the head now.
    Freeze {
        position: u64,
        answers: SyncSender<Freezing>,
    },
}

/// What becomes of a request that all shards freeze their heads at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freezing {
    /// A shard's head is frozen at this position.
    Frozen(u64),
    /// A shard is still sealing the one before.
    Sealing,
    /// The log thread gives no position, for this reason.
    Refused(String),
}

/// What a group of log records means for a shard; sent even when it means nothing, for the position.
pub(crate) struct ShardGroup {
    /// The position of the group's last record.
    pub(crate) position: u64,
    /// What the group took in the log.
    pub(crate) log_bytes: u64,
    pub(crate) items: Vec<ShardItem>,
    /// Dropped when the items are applied.
    pub(crate) on_their_way: Option<Arc<OnTheirWay>>,
}

pub(crate) enum ShardItem {
    Row {
        layout: Arc<Layout>,
        row: Arc<Row>,
        position: u64,
    },
    /// Of one cohort.
    Samples {
        layout: Arc<Layout>,
        samples: Samples,
        arrival: Arrival,
    },
    /// Of a series that has loose samples.
    Exemplar {
        layout: Arc<Layout>,
        exemplar: SeriesExemplar,
    },
    Metadata {
        metadata: MetricMetadata,
    },
    /// Since when counters of a cohort count: replay says it, for the rows that said so may be sealed.
    Starts {
        layout: Arc<Layout>,
        starts: Vec<(Slot, TimestampMs)>,
    },
}

impl ShardItem {
    /// Returns the log position of samples.
    const fn position(&self) -> Option<u64> {
        match self {
            Self::Row { position, .. } => Some(*position),
            Self::Samples { arrival, .. } => Some(arrival.position()),
            Self::Exemplar { .. } | Self::Metadata { .. } | Self::Starts { .. } => None,
        }
    }
}

/// Samples with times of their own that go to a shard together.
pub(crate) enum Samples {
    /// Some that stand together in a batch, all of them taken.
    Whole {
        batch: Arc<Batch>,
        from: usize,
        to: usize,
    },
    /// Those that were left when others were refused.
    Picked(Vec<SeriesSample>),
}

impl Samples {
    pub(crate) fn as_slice(&self) -> &[SeriesSample] {
        match self {
            Self::Whole { batch, from, to } => &batch.samples[*from..*to],
            Self::Picked(samples) => samples,
        }
    }
}

/// What others see of a shard.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u16,
    /// The last position whose rows are all in a head or a partition. Read under the lock of `view`, it fits the view.
    applied: AtomicU64,
    view: Mutex<Arc<ShardView>>,
    sealed: Condvar,
}

/// Heads and partitions of a shard at one moment.
#[derive(Clone, Debug)]
pub(crate) struct ShardView {
    pub(crate) active: Arc<Head>,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) partitions: Arc<Vec<Arc<PartitionHandle>>>,
}

/// A head that is not written any more, with all rows up to this position.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    pub(crate) head: Arc<Head>,
    pub(crate) position: u64,
}

impl Shard {
    pub(crate) fn new(
        number: u16,
        sealed: u64,
        active: Arc<Head>,
        partitions: Vec<Arc<PartitionHandle>>,
    ) -> Self {
        Self {
            number,
            applied: AtomicU64::new(sealed),
            view: Mutex::new(Arc::new(ShardView {
                active,
                frozen: None,
                partitions: Arc::new(partitions),
            })),
            sealed: Condvar::new(),
        }
    }

    /// Returns the present view, and the position up to which it is to be read.
    pub(crate) fn view(&self) -> (Arc<ShardView>, u64) {
        let view = self.lock();
        (Arc::clone(&view), self.applied.load(Ordering::Acquire))
    }

    /// Replaces the view by a changed one.
    pub(crate) fn change(&self, change: impl FnOnce(&mut ShardView)) {
        let mut view = self.lock();
        let mut new = ShardView::clone(&view);
        change(&mut new);
        *view = Arc::new(new);
        drop(view);
        self.sealed.notify_all();
    }

    pub(crate) fn head_bytes(&self) -> u64 {
        let (view, _) = self.view();
        let frozen = view.frozen.as_ref().map_or(0, |frozen| frozen.head.bytes());
        view.active.bytes() + frozen
    }

    /// Waits until there is no frozen head, or for a tick.
    pub(crate) fn await_seal(&self) {
        let view = self.lock();
        drop(
            self.sealed
                .wait_timeout_while(view, TICK, |view| view.frozen.is_some())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ShardView>> {
        // A reference is replaced as a whole.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard's thread.
pub(crate) struct ShardThread {
    shard: Arc<Shard>,
    memory: Arc<Memory>,
    shards: u64,
    writer: HeadWriter,
    clock: SharedClock,
    seal: SealConfig,
    keeper: SyncSender<KeeperRequest>,
    /// Bytes of log since the head began, and when its first rows came.
    log_bytes: u64,
    /// Samples of the head that came one by one.
    loose_samples: u64,
    began: Monotonic,
    /// When idle cohorts were looked for last.
    looked: Monotonic,
    /// Until the first barrier.
    replaying: bool,
}

impl ShardThread {
    pub(crate) fn new(
        shard: Arc<Shard>,
        memory: Arc<Memory>,
        writer: HeadWriter,
        clock: SharedClock,
        (seal, shards): (SealConfig, u16),
        keeper: SyncSender<KeeperRequest>,
    ) -> Self {
        let began = clock.monotonic();
        Self {
            shard,
            memory,
            shards: u64::from(shards.max(1)),
            writer,
            clock,
            seal,
            keeper,
            log_bytes: 0,
            loose_samples: 0,
            began,
            looked: began,
            replaying: true,
        }
    }

    /// Works until all senders are gone and all messages are applied.
    pub(crate) fn run(mut self, messages: &Receiver<ShardMessage>) {
        loop {
            match self.next_message(messages) {
                Ok(ShardMessage::Group(group)) => self.apply(group),
                Ok(ShardMessage::Barrier(done)) => {
                    self.replaying = false;
                    done.send(()).unwrap_or_default();
                }
                Ok(ShardMessage::Freeze { position, answers }) => {
                    let answer = if self.shard.view().0.frozen.is_some() {
                        Freezing::Sealing
                    } else {
                        self.freeze(position);
                        Freezing::Frozen(position)
                    };
                    answers.send(answer).unwrap_or_default();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.freeze_if_due();
            self.look_for_idle_if_due();
        }
    }

    /// Waits for a message; while there is none, tidies up, but not in replay, where others wait for the processor.
    fn next_message(
        &mut self,
        messages: &Receiver<ShardMessage>,
    ) -> Result<ShardMessage, RecvTimeoutError> {
        while !self.replaying && self.writer.is_untidy() {
            match messages.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => self.writer.tidy(),
            }
        }
        messages.recv_timeout(TICK)
    }

    fn apply(&mut self, group: ShardGroup) {
        self.log_bytes += group.log_bytes;
        if self.writer.head().is_empty() {
            self.began = self.clock.monotonic();
        }
        let mut under_way = 0;
        for item in group.items {
            if let Some(position) = item.position().filter(|position| *position > under_way) {
                // Batch by batch: a large group must not keep its first rows from sight until its last.
                if under_way > 0 {
                    self.shard.applied.store(under_way, Ordering::Release);
                }
                under_way = position;
            }
            self.push(item);
        }
        if self.writer.head().is_empty() {
            self.writer.head().set_after(group.position);
            (self.log_bytes, self.loose_samples) = (0, 0);
        }
        self.shard.applied.store(group.position, Ordering::Release);
        drop(group.on_their_way);
    }

    fn push(&mut self, item: ShardItem) {
        match item {
            ShardItem::Row {
                layout,
                row,
                position,
            } => self.writer.push_row(&layout, &row, position),
            ShardItem::Samples {
                layout,
                samples,
                arrival,
            } => {
                let samples = samples.as_slice();
                self.loose_samples += samples.len() as u64;
                self.writer.push_samples(&layout, samples, arrival);
            }
            ShardItem::Exemplar { layout, exemplar } => {
                let SeriesExemplar { slot, exemplar, .. } = exemplar;
                self.writer.push_loose_exemplar(&layout, slot, &exemplar);
            }
            ShardItem::Starts { layout, starts } => self.writer.push_starts(&layout, &starts),
            ShardItem::Metadata { metadata } => {
                self.writer
                    .push_metadata(&metadata.metric, &metadata.metadata);
            }
        }
    }

    fn freeze_if_due(&mut self) {
        if !self.is_due() {
            return;
        }
        if self.shard.view().0.frozen.is_some() {
            // One is being sealed. When memory is short, rows wait in the log's queue, and then at the agents.
            if self.memory.full().is_some() {
                self.shard.await_seal();
            }
            return;
        }
        self.freeze(self.shard.applied.load(Ordering::Acquire));
    }

    fn look_for_idle_if_due(&mut self) {
        let now = self.clock.monotonic();
        if !self.replaying && now.saturating_since(self.looked) >= IDLE_LOOK_EVERY {
            self.looked = now;
            self.writer.look_for_idle();
        }
    }

    /// Hands the head over, which has all rows up to `position`, and begins another.
    fn freeze(&mut self, position: u64) {
        if self.writer.head().is_empty() {
            self.writer.head().set_after(position);
            return;
        }
        let now = self.clock.monotonic();
        let frozen = self.writer.freeze(now);
        self.writer.head().set_after(position);
        (self.log_bytes, self.loose_samples) = (0, 0);
        let active = Arc::clone(self.writer.head());
        self.shard.change(|view| {
            view.active = active;
            view.frozen = Some(Frozen {
                head: frozen,
                position,
            });
        });
        // Full: it is about to look anyway.
        self.keeper
            .try_send(KeeperRequest::Look)
            .unwrap_or_default();
    }

    fn is_due(&self) -> bool {
        let head = self.writer.head();
        if head.is_empty() {
            return false;
        }
        let bytes = head.bytes();
        let helps = bytes < SMALL_HEAD_BYTES || head.frees_much();
        if self.replaying {
            // A seal would take the processor from replay, which a start waits for: only for want of memory.
            let large = bytes / 2 >= self.seal.head_bytes;
            return (large && helps) || self.memory.wants_seal(bytes);
        }
        let age = self.clock.monotonic().saturating_since(self.began);
        // While its last head is being sealed, it is no shard's turn that it could take.
        let held = || (self.shard.view().0.frozen.is_none()).then(|| self.memory.held());
        let loose_enough = head.index.len() as u64 * LOOSE_PER_SERIES;
        (helps && is_full(bytes, self.seal.head_bytes, held))
            || self.loose_samples >= self.seal.loose_samples.max(loose_enough)
            || self.log_bytes / self.shards >= self.seal.log_bytes
            || age >= self.seal.age
            || self.memory.wants_seal(bytes)
    }
}
