//! The collector's thread: ticks, and updates into the queue.

use std::time::Duration;

use clock::{Monotonic, SharedClock};
use runtime::{QueueSender, Token};
use telemetry::Condition;
use uplink::Update;

use crate::collection::Collection;
use crate::metrics::Metrics;
use crate::run_of_rows::RunOfRows;
use crate::schedule::{Schedule, Tick};

/// A row that is this much late, in parts of the interval, still has the time of its tick: regular times cost next to nothing.
const PUNCTUAL_PART: u32 = 100;
/// The same, at least and at most: what timers and a busy machine cost.
const PUNCTUAL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(10));

/// Collects by schedule until told to stop.
#[derive(Debug)]
pub(crate) struct Collector {
    collection: Collection,
    interval: Duration,
    clock: SharedClock,
    updates: QueueSender<Update>,
    metrics: Metrics,
    schedule: Schedule,
    run: RunOfRows,
}

impl Collector {
    pub(crate) fn new(
        collection: Collection,
        interval: Duration,
        clock: SharedClock,
        updates: QueueSender<Update>,
        metrics: Metrics,
    ) -> Self {
        Self {
            schedule: Schedule::new(clock.monotonic(), interval),
            run: RunOfRows::new(&*clock, interval),
            collection,
            interval,
            clock,
            updates,
            metrics,
        }
    }

    /// Collects until `stop`, on this thread, which it blocks.
    pub(crate) fn run(mut self, stop: &Token, ready: &Condition) {
        loop {
            let wait = self
                .schedule
                .next_due()
                .saturating_since(self.clock.monotonic());
            if stop.stopped_within(wait) || !self.tick() {
                return;
            }
            ready.met();
        }
    }

    /// Does what is due now; returns whether anybody still takes updates.
    pub(crate) fn tick(&mut self) -> bool {
        let now = self.clock.monotonic();
        let Some(tick) = self.schedule.take(now) else {
            return true;
        };
        self.metrics.missed.add(tick.missed);
        if !self.has_room() {
            self.metrics.dropped.inc();
            tracing::debug!("a tick is dropped: the queue to the uplink is full");
            return true;
        }
        let time = self.run.next(&*self.clock, self.instant(tick, now));
        if time.stepped != 0 {
            self.metrics.clock_steps.inc();
            tracing::warn!(milliseconds = time.stepped, "the wall clock stepped");
        }
        let update = self.collection.collect(&self.clock, time.at, tick.slow);
        self.metrics.ticks.inc();
        self.updates.try_send(update).is_ok()
    }

    /// Asked before collecting, not after: rows that nobody takes would leave a gap in their counters. The only other sender, the
    /// push API's, leaves half of the queue alone, so room that is there stays.
    fn has_room(&self) -> bool {
        let stats = self.updates.stats();
        stats.length < stats.capacity
    }

    /// The instant that the rows of a tick stand for.
    fn instant(&self, tick: Tick, now: Monotonic) -> Monotonic {
        let punctual = (self.interval / PUNCTUAL_PART).clamp(PUNCTUAL.0, PUNCTUAL.1);
        if now.saturating_since(tick.due) <= punctual {
            tick.due
        } else {
            now
        }
    }
}

#[cfg(test)]
mod tests;
