//! The log thread: puts what agents bring in one order, decides on it, makes it durable, hands it on.
//!
//! A **group** is what came while the last one was written, and until its [pace](Pace) let it begin; and requests that were being decoded
//! by then, if another waits in it. For each group, in turn:
//! 1. numbers are checked against the durable ones and the group's own; definitions are decided on, slot by slot;
//! 2. records are made for the open segment: each batch as it was received, before it the definitions, number sets and base rows that
//!    this segment does not have yet;
//! 3. they are written and synced; on an error once more, anew, for a fresh segment;
//! 4. numbers become known, shards get their rows, `done` is called.
//!
//! When both attempts fail, the batches of the group are answered [`AppendOutcome::Failed`], their numbers stay unknown, and the next
//! group is tried after a pause, while intake fills up and says busy. Nothing of the failed group is applied. Should the process die before
//! any later group is written, replay may find records of it that reached the disk after all: then their numbers are known, and the
//! agents' second sending is answered as a duplicate. Once a later group is written, its segment says that those before it count only as
//! far as they were synced.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use model::{TimeRange, TimestampMs, Value};
use rows::{
    AgentId, Batch, BatchNumber, CohortId, Epoch, NumberSet, Row, SeriesSample, encode_key_row,
};
use storage::{AppendOutcome, Done, Lane, RefusalReason, Refusals, RefusedSample, Source};

use crate::cohorts::{Cohorts, DurableNumbers, EpochKey};
use crate::counters::Counters;
use crate::intake::{Command, Intake, OnTheirWay};
use crate::late::LateRows;
use crate::layout::Layout;
use crate::log::{Log, Target};
use crate::memory::Memory;
use crate::merge_runs::Arrival;
use crate::pace::Pace;
use crate::record::{self, LogSource};
use crate::segment::put_record;
use crate::shard::{Freezing, Samples, ShardGroup, ShardItem, ShardMessage};

/// How long the thread waits before it looks after its housekeeping.
const TICK: Duration = Duration::from_secs(1);
/// How often cohorts are looked through for idle ones.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The log thread's state.
pub(crate) struct Sequencer {
    pub(crate) intake: Arc<Intake>,
    pub(crate) clock: SharedClock,
    pub(crate) log: Log,
    pub(crate) cohorts: Cohorts,
    pub(crate) numbers: Arc<DurableNumbers>,
    pub(crate) shards: Vec<SyncSender<ShardMessage>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) late: Arc<LateRows>,
    /// The position up to which the shards were sent everything.
    pub(crate) published: Arc<AtomicU64>,
    pub(crate) retention: Duration,
    pub(crate) ahead_max: Duration,
    pub(crate) pace: Pace,
    pub(crate) retry_after: Duration,
    pub(crate) next_position: u64,
    pub(crate) swept: Monotonic,
}

/// What a group is made of, in order.
enum Item {
    Batch(Decided),
    Settle {
        key: EpochKey,
        floor: BatchNumber,
        position: u64,
    },
}

/// A batch that is new.
struct Decided {
    source: LogSource,
    batch: Arc<Batch>,
    position: u64,
    taken: TimeRange,
    refused: Refusals,
    stored: u64,
    items: Vec<(u16, ShardItem)>,
    done: Done,
}

/// A group under way.
#[derive(Default)]
struct Group {
    items: Vec<Item>,
    /// The numbers of the epochs concerned, those of this group included.
    pending: HashMap<EpochKey, NumberSet>,
    /// Those who brought a batch of this group once more.
    again: Vec<Done>,
    /// Those who want all of it frozen.
    freezes: Vec<SyncSender<Freezing>>,
}

impl Sequencer {
    /// Works until the intake is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            if self.intake.wait(TICK) {
                if let Some(rest) = self.pace.rest(self.clock.monotonic()) {
                    self.intake.gather(rest);
                }
                self.intake.join(self.pace.pressed());
                self.pace.begin(self.clock.monotonic());
            }
            let Some((commands, cost)) = self.intake.take() else {
                self.log.end();
                return;
            };
            self.cohorts
                .decide_again(self.clock.monotonic(), || self.memory.full());
            let on_their_way = OnTheirWay::new(&self.intake, cost.decoded);
            let outcome = self.process(commands, &on_their_way);
            self.intake.release_received(cost.received);
            if outcome.is_err() {
                self.intake.pause(self.retry_after);
            }
            let now = self.clock.monotonic();
            if now.saturating_since(self.swept) >= SWEEP_EVERY {
                self.swept = now;
                self.cohorts.sweep(now, self.log.open_number());
            }
        }
    }

    /// Takes a group through all steps; fails when it cannot be made durable, with everybody told.
    fn process(
        &mut self,
        commands: Vec<Command>,
        on_their_way: &Arc<OnTheirWay>,
    ) -> io::Result<()> {
        let mut group = self.decide(commands);
        let freezes = std::mem::take(&mut group.freezes);
        let written = self.make_durable(group, on_their_way);
        // Behind whatever of the group is durable.
        for answers in freezes {
            self.freeze(answers);
        }
        written
    }

    fn make_durable(&mut self, group: Group, on_their_way: &Arc<OnTheirWay>) -> io::Result<()> {
        if group.items.is_empty() {
            answer_all(group.again, &AppendOutcome::Duplicate);
            return Ok(());
        }
        match self.write(&group) {
            Ok(bytes) => {
                self.counters.log_bytes_written.add(bytes);
                self.counters.set_log_failing(None);
                self.publish(group, bytes, on_their_way);
                Ok(())
            }
            Err(error) => {
                let why = format!(
                    "cannot write the log: {error}; free space on its volume or repair the disk, intake resumes by itself"
                );
                tracing::error!(%error, "cannot write the log, nothing is acknowledged until it can be");
                self.counters.set_log_failing(Some(why.clone()));
                self.fail(group, &why);
                Err(error)
            }
        }
    }

    fn decide(&mut self, commands: Vec<Command>) -> Group {
        let mut group = Group::default();
        let now = self.clock.monotonic();
        let wall = TimestampMs::from(self.clock.wall());
        let taken = TimeRange::new(
            wall.saturating_sub(self.retention),
            wall.saturating_add(self.ahead_max),
        );
        for command in commands {
            match command {
                Command::Define { source, definition } => {
                    let key = (source.agent, source.epoch);
                    let full = self.memory.full();
                    self.cohorts.define(&key, definition, now, full);
                }
                Command::Append {
                    source,
                    batch,
                    done,
                } => self.take_batch(&mut group, source, batch, done, taken),
                Command::Settle {
                    agent,
                    epoch,
                    floor,
                } => self.take_settle(&mut group, agent, epoch, floor),
                Command::Sealed { position } => {
                    self.log.retire_until(position);
                    self.log.count(&self.counters);
                }
                Command::Link { into, answer } => {
                    // Nobody waits any more when the store is closing.
                    answer.send(self.log.link(&into)).unwrap_or_default();
                }
                Command::Freeze { answers } => group.freezes.push(answers),
            }
        }
        group
    }

    fn take_settle(&mut self, group: &mut Group, agent: AgentId, epoch: Epoch, floor: BatchNumber) {
        let key = (agent, epoch);
        let numbers = group.pending_of(&key, &self.numbers);
        let before = numbers.clone();
        numbers.settle_below(floor);
        if *numbers != before {
            let position = self.take_position();
            group.items.push(Item::Settle {
                key,
                floor,
                position,
            });
        }
    }

    fn take_batch(
        &mut self,
        group: &mut Group,
        source: Source,
        batch: Arc<Batch>,
        done: Done,
        taken: TimeRange,
    ) {
        let key = (source.agent.clone(), source.epoch);
        let durable = self.numbers.contains(&key, batch.number);
        match group.pending_of(&key, &self.numbers).insert(batch.number) {
            Some(true) => {}
            Some(false) => {
                self.counters.batches_duplicate.add(1);
                if durable {
                    done(AppendOutcome::Duplicate);
                } else {
                    group.again.push(done);
                }
                return;
            }
            None => {
                self.counters.batches_failed.add(1);
                done(AppendOutcome::Failed(format!(
                    "batch {} of epoch {} would leave more gaps between batch numbers than are kept ({}); send the missing ones first",
                    batch.number,
                    source.epoch,
                    rows::INTERVALS_MAX
                )));
                return;
            }
        }
        let position = self.take_position();
        let mut decided = Decided {
            source: LogSource {
                agent: source.agent,
                epoch: source.epoch,
                lane: source.lane,
            },
            batch,
            position,
            taken,
            refused: Refusals::default(),
            stored: 0,
            items: Vec::new(),
            done,
        };
        let now = self.clock.monotonic();
        let batch = Arc::clone(&decided.batch);
        let mut place = |cohort: CohortId| {
            let cohort = self.cohorts.used(&key, cohort, now)?;
            Some(Arc::clone(&cohort.layout))
        };
        let (items, refused, stored) =
            shard_items(&batch, (position, decided.source.lane), taken, &mut place);
        decided.items = items;
        decided.refused = refused;
        decided.stored = stored;
        group.items.push(Item::Batch(decided));
    }

    /// Has all shards freeze their heads. Not behind a group that failed: a seal up to such a position would say of its batches, which replay
    /// may find after all, that their rows are in partitions.
    fn freeze(&mut self, answers: SyncSender<Freezing>) {
        if let Some(why) = self.counters.log_failing() {
            answers.send(Freezing::Refused(why)).unwrap_or_default();
            return;
        }
        let position = self.take_position();
        for shard in &self.shards {
            let answers = answers.clone();
            // A shard that is gone drops its sender, which is an answer too.
            shard
                .send(ShardMessage::Freeze { position, answers })
                .unwrap_or_default();
        }
    }

    fn take_position(&mut self) -> u64 {
        self.next_position += 1;
        self.next_position - 1
    }

    /// Makes the group durable, in the open segment or else in a fresh one; returns the bytes written.
    fn write(&mut self, group: &Group) -> io::Result<u64> {
        let mut result = self.write_once(group);
        if let Err(error) = &result {
            tracing::warn!(%error, "cannot write a log segment, going on with another");
            self.counters.log_failures.add(1);
            result = self.write_once(group);
        }
        if result.is_err() {
            self.counters.log_failures.add(1);
        }
        self.log.count(&self.counters);
        result
    }

    fn write_once(&mut self, group: &Group) -> io::Result<u64> {
        let (Some(first), Some(last)) = (group.items.first(), group.items.last()) else {
            return Ok(0);
        };
        let target = self.log.target(first.position());
        let mut out = RecordBuffer {
            bytes: Vec::new(),
            target,
        };
        for item in &group.items {
            match item {
                Item::Batch(decided) => self.put_batch(&mut out, decided),
                Item::Settle {
                    key,
                    floor,
                    position,
                } => out.put(record::SETTLE, *position, |out| {
                    record::put_settle(out, &key.0, key.1, *floor);
                }),
            }
        }
        self.counters.log_syncs.add(1);
        self.log.commit(out.bytes, last.position())
    }

    /// Appends a batch, and before it what this segment lacks to replay it.
    fn put_batch(&mut self, out: &mut RecordBuffer, decided: &Decided) {
        let Decided {
            source,
            batch,
            position,
            ..
        } = decided;
        let key = (source.agent.clone(), source.epoch);
        let segment = out.target.segment;
        let epoch = self.cohorts.epoch(&key);
        if epoch.numbers_in != segment {
            epoch.numbers_in = segment;
            // The durable ones only: a torn group must not lend its numbers to those of its records that survive.
            let numbers = self.numbers.of(&key);
            out.put(record::NUMBERS, *position, |out| {
                record::put_numbers(out, &key.0, key.1, &numbers);
            });
        }
        epoch.begin_batch(source.lane, segment);
        let of_rows = batch.rows.iter().map(|row| row.row.cohort);
        let of_samples = batch.samples.iter().map(|sample| sample.cohort);
        let mut last = None;
        for cohort in of_rows.chain(of_samples) {
            if last.replace(cohort) == Some(cohort) {
                continue;
            }
            if let Some(cohort) = epoch.cohort(cohort) {
                out.define(*position, cohort);
            }
        }
        for row in &batch.rows {
            if epoch.needs_base(source.lane, row)
                && let Some(base) = &row.base
            {
                match encode_key_row(base) {
                    Ok(encoded) => out.put(record::BASE, *position, |out| {
                        record::put_base(out, source);
                        out.extend_from_slice(&encoded);
                    }),
                    // It was decoded from what an agent sent, so it can be encoded.
                    Err(error) => tracing::error!(%error, "cannot write a base row to the log"),
                }
            }
        }
        out.put(record::BATCH, *position, |out| {
            record::put_batch(out, source, batch.number, decided.taken, &batch.bytes);
        });
        for row in &batch.rows {
            let Row {
                cohort,
                start_times,
                ..
            } = &*row.row;
            if !start_times.is_empty() && source.lane == Lane::Live {
                self.cohorts.learn_starts(&key, *cohort, start_times);
            }
        }
    }

    /// The group is durable: says so.
    fn publish(&self, group: Group, bytes: u64, on_their_way: &Arc<OnTheirWay>) {
        let now = TimestampMs::from(self.clock.wall());
        for (key, numbers) in group.pending {
            self.numbers.put(key, numbers, now);
        }
        let position = self.next_position - 1;
        let mut by_shard: Vec<Vec<ShardItem>> = self.shards.iter().map(|_| Vec::new()).collect();
        let mut answers = Vec::with_capacity(group.items.len());
        let mut late = Vec::new();
        for item in group.items {
            let Item::Batch(decided) = item else { continue };
            self.counters.batches_stored.add(1);
            self.counters.samples_stored.add(decided.stored);
            self.counters.refused(&decided.refused);
            let Decided {
                source,
                batch,
                taken,
                ..
            } = &decided;
            late.extend(self.late.span_of(source, batch, *taken));
            for (shard, item) in decided.items {
                if let Some(items) = by_shard.get_mut(usize::from(shard)) {
                    items.push(item);
                }
            }
            answers.push((decided.done, AppendOutcome::Stored(decided.refused)));
        }
        for (shard, items) in self.shards.iter().zip(by_shard) {
            let group = ShardGroup {
                position,
                log_bytes: bytes,
                items,
                on_their_way: Some(Arc::clone(on_their_way)),
            };
            if shard.send(ShardMessage::Group(group)).is_err() {
                // Only when it panicked. Its rows are in the log; the next start brings them back.
                tracing::error!(
                    "a shard's thread is gone, its rows are not seen until the next start"
                );
            }
        }
        self.published.store(position, Ordering::Release);
        // Behind that: who is told of them can wait for the shards to come to them.
        self.late.note(late);
        for (done, outcome) in answers {
            done(outcome);
        }
        answer_all(group.again, &AppendOutcome::Duplicate);
    }

    fn fail(&self, group: Group, why: &str) {
        let failed = AppendOutcome::Failed(why.to_owned());
        for item in group.items {
            if let Item::Batch(decided) = item {
                self.counters.batches_failed.add(1);
                (decided.done)(failed.clone());
            }
        }
        answer_all(group.again, &failed);
    }
}

fn answer_all(all: Vec<Done>, outcome: &AppendOutcome) {
    for done in all {
        done(outcome.clone());
    }
}

impl Item {
    const fn position(&self) -> u64 {
        match self {
            Self::Batch(decided) => decided.position,
            Self::Settle { position, .. } => *position,
        }
    }
}

impl Group {
    fn pending_of(&mut self, key: &EpochKey, durable: &DurableNumbers) -> &mut NumberSet {
        self.pending
            .entry(key.clone())
            .or_insert_with(|| durable.of(key))
    }
}

/// Records of a group, made for one place of the log.
struct RecordBuffer {
    bytes: Vec<u8>,
    target: Target,
}

impl RecordBuffer {
    fn put(&mut self, kind: u8, position: u64, body: impl FnOnce(&mut Vec<u8>)) {
        let Target { salt, offset, .. } = self.target;
        put_record(&mut self.bytes, offset, salt, kind, position, body);
    }

    /// Appends the definition of those slots of a cohort that the segment does not have.
    fn define(&mut self, position: u64, cohort: &mut crate::cohorts::CohortState) {
        let layout = Arc::clone(&cohort.layout);
        let (slots, changes) = cohort.defined;
        let same = cohort.defined_in == self.target.segment && changes == layout.changes;
        let from = if same { slots } else { 0 };
        let new_here = cohort.defined_in != self.target.segment;
        cohort.defined_in = self.target.segment;
        cohort.defined = (layout.len(), layout.changes);
        let of = (
            &layout.key.agent,
            layout.epoch,
            layout.cohort,
            &*layout.key.name,
        );
        for slots in layout.packed_from(from) {
            self.put(record::DEFINITION, position, |out| {
                record::put_definition(out, of, slots);
            });
        }
        // Behind the definition: replay may not know the cohort before.
        if new_here && !cohort.starts.is_empty() {
            let of = (&layout.key.agent, layout.epoch, layout.cohort);
            self.put(record::STARTS, position, |out| {
                record::put_starts(out, of, cohort.starts.iter());
            });
        }
    }
}

/// Sorts a batch's contents by shard, leaving out and counting what is refused; also returns how many samples stay.
pub(crate) fn shard_items(
    batch: &Arc<Batch>,
    (position, lane): (u64, Lane),
    taken: TimeRange,
    layout_of: &mut dyn FnMut(CohortId) -> Option<Arc<Layout>>,
) -> (Vec<(u16, ShardItem)>, Refusals, u64) {
    let mut refused = Refusals::default();
    let mut stored = 0;
    let mut items = Vec::with_capacity(batch.rows.len());
    for decoded in &batch.rows {
        let row = &decoded.row;
        let present = row.presence.count() as u64;
        if let Some(reason) = refused_for_time(row.at, taken) {
            refused.add(reason, present);
            continue;
        }
        let Some(layout) = layout_of(row.cohort) else {
            refused.add(RefusalReason::Undefined, present);
            continue;
        };
        let mut left = present;
        if !layout.takes_all(row.presence.slots()) {
            for slot in row.presence.iter() {
                if let Some(reason) = layout.refusal(slot) {
                    refused.add(reason, 1);
                    left -= 1;
                }
            }
        }
        stored += left;
        if left > 0 {
            let row = Arc::clone(row);
            items.push((
                layout.shard,
                ShardItem::Row {
                    layout,
                    row,
                    position,
                },
            ));
        }
    }
    let mut from = 0;
    for run in batch.samples.chunk_by(|a, b| a.cohort == b.cohort) {
        let to = from + run.len();
        let Some(first) = run.first() else { continue };
        let layout = layout_of(first.cohort);
        let whole = Samples::Whole {
            batch: Arc::clone(batch),
            from,
            to,
        };
        let taken_of_run = taken_samples(run, layout.as_deref(), taken, &mut refused);
        from = to;
        let (Some(layout), left) = (layout, taken_of_run.as_ref().map_or(run.len(), Vec::len))
        else {
            continue;
        };
        stored += left as u64;
        if left > 0 {
            let samples = taken_of_run.map_or(whole, Samples::Picked);
            items.push((
                layout.shard,
                ShardItem::Samples {
                    layout,
                    samples,
                    arrival: match lane {
                        Lane::Live | Lane::CatchUp => Arrival::at(position),
                        Lane::Correction => Arrival::of_correction(position),
                    },
                },
            ));
        }
    }
    for exemplar in &batch.exemplars {
        let layout = layout_of(exemplar.cohort)
            .filter(|layout| layout.refusal(usize::from(exemplar.slot)).is_none())
            .filter(|_| refused_for_time(exemplar.exemplar.at, taken).is_none());
        let Some(layout) = layout else {
            refused.add_exemplar();
            continue;
        };
        let exemplar = exemplar.clone();
        items.push((layout.shard, ShardItem::Exemplar { layout, exemplar }));
    }
    // With the rows beside them, so that they get into the same partitions.
    let shard = items.first().map_or(0, |(shard, _)| *shard);
    for metadata in &batch.metadata {
        let metadata = metadata.clone();
        items.push((shard, ShardItem::Metadata { metadata }));
    }
    (items, refused, stored)
}

/// Returns those samples of one cohort that are taken, when they are not all; counts the others.
fn taken_samples(
    run: &[SeriesSample],
    layout: Option<&Layout>,
    taken: TimeRange,
    refused: &mut Refusals,
) -> Option<Vec<SeriesSample>> {
    let refusal = |sample: &SeriesSample| {
        refused_for_time(sample.at, taken).or_else(|| {
            layout.map_or(Some(RefusalReason::Undefined), |layout| {
                layout.refusal(usize::from(sample.slot))
            })
        })
    };
    let first = run.iter().position(|sample| refusal(sample).is_some())?;
    let mut left = run[..first].to_vec();
    for sample in &run[first..] {
        match refusal(sample) {
            Some(reason) => refused.add_sample(RefusedSample {
                cohort: sample.cohort,
                slot: sample.slot,
                is_histogram: matches!(sample.value, Value::Histogram(_)),
                reason,
            }),
            None => left.push(sample.clone()),
        }
    }
    Some(left)
}

fn refused_for_time(at: TimestampMs, taken: TimeRange) -> Option<RefusalReason> {
    if at < taken.start {
        Some(RefusalReason::TooOld)
    } else if at > taken.end {
        Some(RefusalReason::TooNew)
    } else {
        None
    }
}
