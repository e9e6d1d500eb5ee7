//! A cohort whose values follow from who made them and when, to prove that nothing is lost, doubled or bent on the way.
//!
//! Whoever reads a store back needs no second copy of what was sent: [`ledger_value`] says what must be there.

use model::TimestampMs;
use rows::{AgentId, CohortBuilder, CohortId, Collected, Epoch, Family, Sink};

/// The label `job` of the ledger's series.
pub const LEDGER_JOB: &str = "ledger";

const COHORT: &str = "ledger";

static VALUE: Family = Family::gauge(
    "promontory_ledger",
    "A value that follows from agent, epoch, row and slot; slot 0 holds the number of the row.",
    &["epoch", "slot"],
);

/// Returns what a slot of a row holds; `None`: nothing.
///
/// Slot 0 holds the number of the row. The others take turns: small integers, full mantissas, a counter that is absent in every
/// fifth row, and a value that seldom changes and is sometimes odd (NaN, infinite, minus zero).
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers of rows, and 53 bits of a mantissa"
)]
pub fn ledger_value(agent: &AgentId, epoch: Epoch, row: u64, slot: u16) -> Option<f64> {
    if slot == 0 {
        return Some(row as f64);
    }
    let seed = (agent.as_str().bytes()).fold(epoch.0, |hash, byte| mix(hash ^ u64::from(byte)));
    let hash = |row: u64| mix(mix(seed ^ u64::from(slot)) ^ row);
    match slot % 4 {
        1 => Some((hash(row) % 1_000) as f64),
        2 => Some((hash(row) >> 11) as f64 / (1_u64 << 53) as f64),
        3 => {
            let is_absent = row.wrapping_add(u64::from(slot)).is_multiple_of(5);
            (!is_absent).then(|| row.wrapping_mul(u64::from(slot)) as f64)
        }
        _ => Some(match hash(row / 16) % 16 {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            small => small as f64,
        }),
    }
}

/// The finalizer of splitmix64: each bit of the input changes half of the output's.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Makes the rows of the ledger, one with each collection.
#[derive(Debug)]
pub(crate) struct Ledger {
    agent: AgentId,
    epoch: Epoch,
    epoch_label: String,
    slots: Vec<(u16, String)>,
    next_row: u64,
    builder: CohortBuilder,
}

impl Ledger {
    pub(crate) fn new(agent: &AgentId, epoch: Epoch, series: u16, cohort: CohortId) -> Self {
        let labels = [("job", LEDGER_JOB), ("instance", agent.as_str())];
        Self {
            builder: CohortBuilder::new(cohort, COHORT.into(), &labels),
            agent: agent.clone(),
            epoch,
            epoch_label: epoch.to_string(),
            slots: (0..series).map(|slot| (slot, slot.to_string())).collect(),
            next_row: 0,
        }
    }

    pub(crate) fn collect(&mut self, at: TimestampMs) -> Collected {
        let row = self.next_row;
        self.next_row += 1;
        let mut sink = self.builder.begin(at);
        for (slot, label) in &self.slots {
            if let Some(value) = ledger_value(&self.agent, self.epoch, row, *slot) {
                sink.sample(&VALUE, &[&self.epoch_label, label], value);
            }
        }
        sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_what_is_derived_and_nothing_else() {
        let (agent, epoch) = ("a".parse().expect("an id"), Epoch(7));
        let mut ledger = Ledger::new(&agent, epoch, 24, CohortId(3));
        let mut absent = 0;
        for number in 0..50 {
            let made = ledger.collect(TimestampMs(number));
            let row = u64::try_from(number).expect("small");
            assert_eq!((made.row.counter, made.duplicates), (row, 0));
            let present = (0..24).filter(|slot| ledger_value(&agent, epoch, row, *slot).is_some());
            assert_eq!(made.row.presence.count(), present.count());
            absent += 24 - made.row.presence.count();
            assert_eq!(made.row.floats.first(), Some(&(number as f64)));
        }
        assert_eq!(absent, 60, "six slots, each fifth row");
    }

    #[test]
    fn values_depend_on_everything() {
        let value = |agent: &str, epoch, row, slot| {
            let agent = agent.parse().expect("an id");
            ledger_value(&agent, Epoch(epoch), row, slot).map(f64::to_bits)
        };
        let one = value("a", 1, 1, 2);
        for other in [
            value("b", 1, 1, 2),
            value("a", 2, 1, 2),
            value("a", 1, 2, 2),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(one, value("a", 1, 1, 6));
    }
}
