//! What waits for the log thread: bounded in bytes, taken as a whole.
//!
//! The queue is one of two buffers: while the log thread writes and syncs one group, the next gathers here. Both together are bounded in
//! bytes received, and, with what the shards have not applied yet, in bytes decoded; when they are full, [`Intake::offer`] says [`Busy`]
//! and takes nothing.

use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rows::{AgentId, Batch, BatchNumber, CohortDefinition, Epoch};
use storage::{Busy, Done, Source};

use crate::pace::Rest;
use crate::shard::Freezing;
use crate::snapshot::{LinkedLog, SnapshotError};

/// Decoded rows, until the shards have applied them, may take this many times the bytes that may wait for their sync. Rows take some ten
/// times what they were received in, so this is the bound that a flood meets, and what it costs in memory.
const DECODED_PER_RECEIVED: usize = 3;

/// Something for the log thread to do, in order.
pub(crate) enum Command {
    Define {
        source: Source,
        definition: CohortDefinition,
    },
    Append {
        source: Source,
        batch: Arc<Batch>,
        done: Done,
    },
    Settle {
        agent: AgentId,
        epoch: Epoch,
        floor: BatchNumber,
    },
    /// Every shard's rows up to this position are in partitions that the catalogue names.
    Sealed { position: u64 },
    /// Close the open segment and link all live ones into this folder.
    Link {
        into: PathBuf,
        answer: SyncSender<Result<LinkedLog, SnapshotError>>,
    },
    /// Takes a position behind everything before it, at which every shard freezes its head and answers.
    Freeze { answers: SyncSender<Freezing> },
}

/// Bytes held: as received, and decoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) received: usize,
    pub(crate) decoded: usize,
}

impl Command {
    fn cost(&self) -> Cost {
        let fixed = size_of::<Self>();
        match self {
            Self::Define { definition, .. } => {
                let labels: usize = definition
                    .series
                    .iter()
                    .map(|series| series.labels.text_bytes() + series.labels.len() * 8 + 64)
                    .sum();
                Cost {
                    received: fixed + labels,
                    decoded: fixed + labels,
                }
            }
            Self::Append { batch, .. } => Cost {
                received: fixed + batch.bytes.len(),
                decoded: fixed + batch.bytes.len() + decoded_bytes(batch),
            },
            Self::Settle { .. } => Cost {
                received: fixed,
                decoded: fixed,
            },
            Self::Sealed { .. } | Self::Link { .. } | Self::Freeze { .. } => Cost::default(),
        }
    }

    /// Returns whether it came in a request, whose sender waits: of rows, agents send the next before the last is acknowledged.
    fn presses(&self) -> bool {
        matches!(self, Self::Append { batch, .. } if batch.rows.is_empty())
    }
}

fn decoded_bytes(batch: &Batch) -> usize {
    let rows: usize = batch
        .rows
        .iter()
        .map(|decoded| {
            let row = &decoded.row;
            row.floats.len() * 9 + row.histograms.len() * 512 + row.exemplars.len() * 256 + 128
        })
        .sum();
    rows + batch.samples.len() * 64 + batch.exemplars.len() * 256 + batch.metadata.len() * 256
}

#[derive(Debug)]
pub(crate) struct Intake {
    state: Mutex<State>,
    arrived: Condvar,
    received_max: usize,
}

#[derive(Default)]
struct State {
    waiting: Vec<Command>,
    /// Of what waits.
    gathered: Cost,
    /// Of what waits and what was taken but not released.
    held: Cost,
    /// Whether somebody who sends nothing more meanwhile waits for the fate of what waits here: requests do, agents' streams do not.
    pressing: bool,
    /// Batches that were announced and have not come, by number; and the next number.
    announced: BTreeSet<u64>,
    next_announced: u64,
    /// What the log thread waits for.
    awaited: Awaited,
    closed: bool,
}

/// What the log thread waits for: it is not woken for less, for that is two switches of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    /// A command.
    #[default]
    Command,
    /// That half of what may wait does.
    Enough,
    /// The same, or a command that presses.
    Pressing,
    /// That batches announced before this one have come.
    Announced(u64),
    /// The end.
    Close,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("held", &self.held)
            .field("pressing", &self.pressing)
            .field("closed", &self.closed)
            .finish()
    }
}

impl Intake {
    pub(crate) fn new(received_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            received_max,
        }
    }

    /// Takes a command, unless as many bytes wait as may; one command is taken whatever its size when nothing waits.
    pub(crate) fn offer(&self, command: Command) -> Result<(), Busy> {
        let cost = command.cost();
        let mut state = self.state();
        let received = state.held.received + cost.received;
        let decoded = state.held.decoded + cost.decoded;
        let over = received > self.received_max
            || decoded > self.received_max.saturating_mul(DECODED_PER_RECEIVED);
        let idle = state.held.received == 0 && state.held.decoded == 0;
        if state.closed || (over && !idle && cost.received > 0) {
            return Err(Busy);
        }
        state.held = Cost { received, decoded };
        state.pressing |= command.presses();
        state.gathered.received += cost.received;
        state.gathered.decoded += cost.decoded;
        state.waiting.push(command);
        let has_come = match state.awaited {
            Awaited::Command => true,
            Awaited::Enough => self.is_enough(&state),
            Awaited::Pressing => state.pressing || self.is_enough(&state),
            Awaited::Announced(_) => self.is_enough(&state),
            Awaited::Close => false,
        };
        drop(state);
        if has_come {
            self.arrived.notify_one();
        }
        Ok(())
    }

    const fn is_enough(&self, state: &State) -> bool {
        state.held.received >= self.received_max / 2
    }

    /// Waits up to `patience` for commands; returns whether there are any.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let empty = |state: &State| state.waiting.is_empty();
        let state = self.wait_while(self.state(), Awaited::Command, patience, empty);
        !state.waiting.is_empty()
    }

    /// Lets commands gather for as long as that is due, less when one of them presses, unless half of what may wait does, or no more can
    /// come.
    pub(crate) fn gather(&self, rest: Rest) {
        let more = |state: &State| !self.is_enough(state);
        let state = self.wait_while(self.state(), Awaited::Enough, rest.pressed, more);
        let unpressed = rest.pause.saturating_sub(rest.pressed);
        let more = |state: &State| !self.is_enough(state) && !state.pressing;
        drop(self.wait_while(state, Awaited::Pressing, unpressed, more));
    }

    /// Notes that a batch is being decoded, until what is returned is dropped.
    pub(crate) fn announce(intake: &Arc<Self>) -> UnderWay {
        let mut state = intake.state();
        let number = state.next_announced;
        state.next_announced += 1;
        state.announced.insert(number);
        UnderWay {
            intake: Arc::clone(intake),
            number,
        }
    }

    /// When somebody waits for the fate of what waits here, lets those join that are under way by now, or as many of them as come within
    /// `patience`: one write and sync are then for all.
    pub(crate) fn join(&self, patience: Duration) {
        let state = self.state();
        if !state.pressing {
            return;
        }
        let before = state.next_announced;
        let more = |state: &State| !self.is_enough(state) && state.is_announced(before);
        drop(self.wait_while(state, Awaited::Announced(before), patience, more));
    }

    /// Waits until the condition is over, closed, or `patience` has passed. `awaited` is what ends the condition.
    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        awaited: Awaited,
        patience: Duration,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        state.awaited = awaited;
        let (state, _) = self
            .arrived
            .wait_timeout_while(state, patience, |state| !state.closed && condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        state
    }

    /// Takes all commands there are, with what they cost; `None` once closed and empty.
    pub(crate) fn take(&self) -> Option<(Vec<Command>, Cost)> {
        let mut state = self.state();
        if state.waiting.is_empty() && state.closed {
            return None;
        }
        let taken = mem::take(&mut state.waiting);
        state.pressing = false;
        Some((taken, mem::take(&mut state.gathered)))
    }

    /// Waits for `pause` or until closed, whichever comes first.
    pub(crate) fn pause(&self, pause: Duration) {
        drop(self.wait_while(self.state(), Awaited::Close, pause, |_| true));
    }

    /// Gives back bytes received of a group, once its fate is known.
    pub(crate) fn release_received(&self, bytes: usize) {
        let mut state = self.state();
        state.held.received = state.held.received.saturating_sub(bytes);
    }

    /// Takes nothing more; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Returns the received bytes that are not yet durable.
    pub(crate) fn unsynced_bytes(&self) -> u64 {
        self.state().held.received as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counters and a list: a panicking holder cannot leave them half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns whether a batch is under way that was announced before the one of this number.
    fn is_announced(&self, before: u64) -> bool {
        self.announced.first().is_some_and(|first| *first < before)
    }
}

/// A batch that is being decoded.
#[derive(Debug)]
pub(crate) struct UnderWay {
    intake: Arc<Intake>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.intake.state();
        state.announced.remove(&self.number);
        let have_come =
            matches!(state.awaited, Awaited::Announced(before) if !state.is_announced(before));
        drop(state);
        if have_come {
            self.intake.arrived.notify_one();
        }
    }
}

/// The decoded rows of a group on their way to the shards: their bytes are given back when the last shard has applied its part.
#[derive(Debug)]
pub(crate) struct OnTheirWay {
    intake: Arc<Intake>,
    decoded: usize,
}

impl OnTheirWay {
    pub(crate) fn new(intake: &Arc<Intake>, decoded: usize) -> Arc<Self> {
        Arc::new(Self {
            intake: Arc::clone(intake),
            decoded,
        })
    }
}

impl Drop for OnTheirWay {
    fn drop(&mut self) {
        let mut state = self.intake.state();
        state.held.decoded = state.held.decoded.saturating_sub(self.decoded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle() -> Command {
        Command::Settle {
            agent: "a".parse().unwrap(),
            epoch: Epoch(1),
            floor: BatchNumber(1),
        }
    }

    #[test]
    fn a_full_intake_is_busy_until_a_group_is_released() {
        let one = settle().cost().received;
        let intake = Arc::new(Intake::new(one * 2));
        assert!(intake.offer(settle()).is_ok() && intake.offer(settle()).is_ok());
        assert_eq!(intake.offer(settle()), Err(Busy));
        let (taken, cost) = intake.take().unwrap();
        assert_eq!(taken.len(), 2);
        // Taken, but not durable yet: the bytes are still held.
        assert_eq!(intake.offer(settle()), Err(Busy));
        let on_their_way = OnTheirWay::new(&intake, cost.decoded);
        intake.release_received(cost.received);
        assert_eq!(intake.offer(settle()), Ok(()));
        assert_eq!(intake.state().held.decoded, one * 3);
        drop(on_their_way);
        assert_eq!(intake.state().held.decoded, one);
        intake.close();
        assert_eq!(intake.offer(settle()), Err(Busy));
        assert_eq!(intake.take().unwrap().0.len(), 1);
        assert!(intake.take().is_none());
    }

    fn append() -> Command {
        let batch = Arc::new(Batch {
            number: BatchNumber(0),
            bytes: Arc::from([]),
            rows: Vec::new(),
            samples: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        });
        Command::Append {
            source: Source {
                agent: "a".parse().unwrap(),
                epoch: Epoch(1),
                lane: storage::Lane::Live,
            },
            batch,
            done: Box::new(|_| {}),
        }
    }

    #[test]
    fn a_request_ends_the_gathering() {
        let intake = Intake::new(1 << 20);
        assert!(intake.offer(settle()).is_ok() && intake.offer(append()).is_ok());
        // Not in an hour.
        intake.gather(Rest {
            pause: Duration::from_hours(1),
            pressed: Duration::ZERO,
        });
        assert_eq!(intake.take().unwrap().0.len(), 2);
        assert!(!intake.state().pressing);
    }

    #[test]
    fn a_group_waits_for_what_was_announced_and_comes() {
        let within = Duration::from_hours(1);
        let intake = Arc::new(Intake::new(1 << 20));
        let first = Intake::announce(&intake);
        // Agents do not wait for one another.
        assert!(intake.offer(settle()).is_ok());
        intake.join(within);
        assert!(intake.offer(append()).is_ok());
        // One that does not come holds nobody up for ever.
        intake.join(Duration::ZERO);
        assert_eq!(intake.state().announced.len(), 1);
        assert!(intake.wait(within));
        std::thread::scope(|scope| {
            let joining = scope.spawn(|| intake.join(within));
            while intake.state().awaited != Awaited::Announced(1) {
                std::thread::yield_now();
            }
            // This one came too late for the group.
            let second = Intake::announce(&intake);
            assert!(intake.offer(append()).is_ok());
            assert!(!joining.is_finished());
            drop(first);
            joining.join().unwrap();
            drop(second);
        });
        assert_eq!(intake.take().unwrap().0.len(), 3);
        // Alone, nobody waits.
        assert!(intake.offer(append()).is_ok());
        intake.join(within);
        assert!(intake.state().announced.is_empty());
    }

    #[test]
    fn one_oversized_command_passes_an_idle_intake() {
        let intake = Intake::new(1);
        assert_eq!(intake.offer(settle()), Ok(()));
        assert_eq!(intake.offer(settle()), Err(Busy));
    }
}
