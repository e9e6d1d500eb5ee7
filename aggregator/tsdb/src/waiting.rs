//! Slots that a limit refused for the moment: what they are defined as, until they are decided on again.
//!
//! An agent defines a slot once per connection, and what stood against it passes: the minute of new series, a moment short of memory, other
//! series that end. So definitions of refused slots are held, packed as the log has them, and each cohort's come up a minute later; those
//! that are refused again are held again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use clock::Monotonic;
use rows::{AgentId, CohortId, SeriesDefinition, Slot};
use storage::RefusalReason;

use crate::cohorts::EpochKey;
use crate::layout::SlotState;
use crate::record::PackedSlots;

/// How long slots wait between two decisions.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_mins(1);
/// What is held of one agent, packed: some 50,000 slots. What is too much stays refused until the agent defines it again.
const AGENT_BYTES_MAX: usize = 2 << 20;
/// What is held of all agents.
const BYTES_MAX: usize = 16 << 20;
/// What a part of a cohort takes beside its slots, in map and queue.
const PART_BYTES: usize = 256;
/// That there is no room is told to operators at most this often.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// The slots that wait, by cohort.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Without slots when these were let go of.
    cohorts: HashMap<Of, Vec<PackedSlots>>,
    /// Each of `cohorts` once, in order of when it was held; that is when it is due, less [`AGAIN_AFTER`].
    queue: VecDeque<(Monotonic, Of)>,
    bytes_by_agent: HashMap<AgentId, usize>,
    bytes: usize,
    told: Option<Monotonic>,
}

/// Whose cohort, and which.
type Of = (EpochKey, CohortId);

/// A cohort's slots that have waited long enough.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) key: EpochKey,
    pub(crate) cohort: CohortId,
    /// When they were held.
    pub(crate) since: Monotonic,
    parts: Vec<PackedSlots>,
}

impl Due {
    /// Returns the slots, each as it was defined last; unpacks them.
    pub(crate) fn slots(&self) -> BTreeMap<Slot, SeriesDefinition> {
        let mut slots = BTreeMap::new();
        for part in &self.parts {
            for (slot, state) in (part.first..).zip(part.unpack()) {
                if let SlotState::Series(series) = state {
                    slots.insert(slot, series);
                }
            }
        }
        slots
    }
}

/// Returns whether what stands against a series may pass without the series being defined otherwise.
pub(crate) const fn may_pass(reason: RefusalReason) -> bool {
    matches!(
        reason,
        RefusalReason::SeriesPerAgent
            | RefusalReason::SeriesPerTenant
            | RefusalReason::SeriesPerMetric
            | RefusalReason::NewSeriesRate
            | RefusalReason::Memory
    )
}

impl Waiting {
    /// Holds slots of a cohort that were refused, in rising order. Where there is no room nothing of the cohort is held any more: what was held
    /// before may say otherwise of these slots.
    pub(crate) fn hold(
        &mut self,
        (key, cohort): (&EpochKey, CohortId),
        slots: Vec<(Slot, SeriesDefinition)>,
        now: Monotonic,
    ) {
        for part in packed(slots) {
            let bytes = weight(std::slice::from_ref(&part));
            let of_agent = self.bytes_by_agent.get(&key.0).copied().unwrap_or(0);
            if of_agent + bytes > AGENT_BYTES_MAX || self.bytes + bytes > BYTES_MAX {
                self.take(&(key.clone(), cohort));
                return self.tell(&key.0, now);
            }
            self.add(key.clone(), cohort, vec![part], now);
        }
    }

    /// Holds slots again that were not decided on, or all refused.
    pub(crate) fn put_back(&mut self, due: Due, now: Monotonic) {
        self.add(due.key, due.cohort, due.parts, now);
    }

    /// Takes out the slots that are due first.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Option<Due> {
        let due = |(since, _): &mut (Monotonic, Of)| now.saturating_since(*since) >= AGAIN_AFTER;
        while let Some((since, of)) = self.queue.pop_front_if(due) {
            let parts = self.take(&of);
            self.cohorts.remove(&of);
            if parts.is_empty() {
                continue;
            }
            let (key, cohort) = of;
            return Some(Due {
                key,
                cohort,
                since,
                parts,
            });
        }
        None
    }

    fn take(&mut self, of: &Of) -> Vec<PackedSlots> {
        let parts = self.cohorts.get_mut(of).map(std::mem::take);
        let parts = parts.unwrap_or_default();
        let bytes = weight(&parts);
        self.bytes -= bytes;
        let agent = &of.0.0;
        if let Some(of_agent) = self.bytes_by_agent.get_mut(agent) {
            *of_agent -= bytes;
            if *of_agent == 0 {
                self.bytes_by_agent.remove(agent);
            }
        }
        parts
    }

    fn add(&mut self, key: EpochKey, cohort: CohortId, parts: Vec<PackedSlots>, now: Monotonic) {
        let bytes = weight(&parts);
        self.bytes += bytes;
        *self.bytes_by_agent.entry(key.0.clone()).or_default() += bytes;
        let of = (key, cohort);
        if !self.cohorts.contains_key(&of) {
            self.queue.push_back((now, of.clone()));
        }
        self.cohorts.entry(of).or_default().extend(parts);
    }

    fn tell(&mut self, agent: &AgentId, now: Monotonic) {
        let last = self.told.replace(now);
        if last.is_some_and(|last| now.saturating_since(last) < TELL_EVERY) {
            self.told = last;
            return;
        }
        tracing::warn!(
            %agent,
            held_bytes = self.bytes,
            "more series are refused than are decided on again by themselves; once the limit allows more, restart the agent"
        );
    }
}

fn weight(parts: &[PackedSlots]) -> usize {
    parts.iter().map(|part| part.bytes() + PART_BYTES).sum()
}

/// Packs slots, with gaps where there are none.
fn packed(slots: Vec<(Slot, SeriesDefinition)>) -> Vec<PackedSlots> {
    let Some(first) = slots.first().map(|(slot, _)| *slot) else {
        return Vec::new();
    };
    let mut states = Vec::new();
    for (slot, series) in slots {
        states.resize(usize::from(slot - first), SlotState::Undefined);
        states.push(SlotState::Series(series));
    }
    PackedSlots::pack_all(first, &states)
}

#[cfg(test)]
mod tests {
    use model::{Labels, MetricType};
    use rows::Epoch;

    use super::*;

    fn series(id: usize) -> SeriesDefinition {
        SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "m"), ("id", &id.to_string())]).unwrap(),
            kind: MetricType::Counter,
        }
    }

    fn of(agent: usize) -> EpochKey {
        (format!("agent-{agent}").parse().unwrap(), Epoch(1))
    }

    /// Slots that do not compress well.
    fn slots(count: u16, random: &mut fastrand::Rng) -> Vec<(Slot, SeriesDefinition)> {
        let mut of_slot = |slot| {
            let value: String = (0..256).map(|_| random.alphanumeric()).collect();
            let labels = Labels::from_pairs([("__name__", "m"), ("id", &value)]).unwrap();
            let kind = MetricType::Counter;
            (slot, SeriesDefinition { labels, kind })
        };
        (0..count).map(&mut of_slot).collect()
    }

    const START: Monotonic = Monotonic::ORIGIN;
    const COHORT: CohortId = CohortId(3);

    #[test]
    fn slots_come_up_after_a_minute_as_they_were_defined_last() {
        let mut waiting = Waiting::default();
        let key = of(0);
        let first = vec![(2, series(2)), (700, series(700)), (9_000, series(9))];
        waiting.hold((&key, COHORT), first, START);
        let later = START + AGAIN_AFTER / 2;
        waiting.hold((&key, COHORT), vec![(700, series(1))], later);
        waiting.hold((&key, COHORT), Vec::new(), later);
        assert!(waiting.take_due(later).is_none());
        let due = waiting.take_due(START + AGAIN_AFTER).expect("the first");
        assert_eq!((&due.key, due.cohort, due.since), (&key, COHORT, START));
        let expected = [(2, series(2)), (700, series(1)), (9_000, series(9))];
        assert_eq!(due.slots(), expected.clone().into());
        assert!(waiting.take_due(START + AGAIN_AFTER).is_none());
        assert_eq!((waiting.bytes, waiting.bytes_by_agent.len()), (0, 0));

        waiting.put_back(due, START + AGAIN_AFTER);
        assert!(waiting.take_due(START + AGAIN_AFTER * 3 / 2).is_none());
        let due = waiting.take_due(START + AGAIN_AFTER * 2).expect("again");
        assert_eq!(due.slots(), expected.into());
    }

    #[test]
    fn where_there_is_no_room_nothing_of_the_cohort_is_held() {
        let mut random = fastrand::Rng::with_seed(4);
        let mut waiting = Waiting::default();
        let key = of(0);
        waiting.hold((&key, COHORT), vec![(0, series(0))], START);
        for cohort in 100..124 {
            let held = slots(500, &mut random);
            waiting.hold((&key, CohortId(cohort)), held, START);
        }
        waiting.hold((&key, COHORT), slots(500, &mut random), START);
        let due = std::iter::from_fn(|| waiting.take_due(START + AGAIN_AFTER));
        let of_cohort = |due: &Due| due.cohort == COHORT;
        let left: usize = due.filter(of_cohort).map(|due| due.slots().len()).sum();
        assert_eq!(left, 0, "slot 0 is defined otherwise by now");
        assert_eq!((waiting.bytes, waiting.bytes_by_agent.len()), (0, 0));
    }

    #[test]
    fn what_is_held_is_bounded_by_agent_and_over_all() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut waiting = Waiting::default();
        for agent in 0..10 {
            let key = of(agent);
            for cohort in 0..24 {
                let held = slots(500, &mut random);
                waiting.hold((&key, CohortId(cohort)), held, START);
                let of_agent = waiting.bytes_by_agent.get(&key.0).copied().unwrap_or(0);
                assert!(of_agent <= AGENT_BYTES_MAX && waiting.bytes <= BYTES_MAX);
            }
            let share = waiting.bytes_by_agent.get(&key.0).copied().unwrap_or(0);
            let is_used = share > AGENT_BYTES_MAX * 9 / 10 || waiting.bytes > BYTES_MAX * 9 / 10;
            assert!(is_used, "agent {agent} has {share} bytes");
        }
        let mut cohorts = 0;
        while let Some(due) = waiting.take_due(START + AGAIN_AFTER) {
            assert_eq!(due.slots().len(), 500);
            cohorts += 1;
        }
        assert!(cohorts > 100, "{cohorts}");
        assert_eq!((waiting.bytes, waiting.bytes_by_agent.len()), (0, 0));
        assert!(waiting.cohorts.is_empty() && waiting.queue.is_empty());
    }
}
