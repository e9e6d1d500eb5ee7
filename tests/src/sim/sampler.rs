//! Rows whose every value can be derived again from (host, cohort, slot, run, counter).
//!
//! No two samples of a host share series and time, whatever its clock does, so that a dump of the store tells which row each sample
//! belongs to.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Labels, MetricType, TimestampMs, Value};
use rows::{
    CohortDefinition, CohortId, Presence, Row, RowCounter, SeriesDefinition, SeriesSample, Slot,
};
use uplink::Update;

/// Slots of a cohort; it begins with fewer.
const SLOTS_MAX: usize = 10;

/// A sample that the store must have, as it must have it.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) labels: Labels,
    pub(crate) at: TimestampMs,
    pub(crate) bits: u64,
}

/// The times of a host's rows so far.
pub(crate) type UsedTimes = BTreeSet<i64>;

/// The collectors of one run of an agent.
#[derive(Debug)]
pub(crate) struct Sampler {
    rng: fastrand::Rng,
    host: usize,
    node: String,
    run: u64,
    cohorts: Vec<Cohort>,
    cohorts_made: u32,
}

#[derive(Debug)]
struct Cohort {
    id: CohortId,
    name: Arc<str>,
    counter: RowCounter,
    /// By slot, as the agent says it and as the store must have it.
    series: Vec<(Labels, Labels)>,
    absent: BTreeSet<usize>,
}

impl Sampler {
    pub(crate) fn new(seed: u64, host: usize, node: &str, run: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            host,
            node: node.to_owned(),
            run,
            cohorts: Vec::new(),
            cohorts_made: 0,
        }
    }

    /// Samples all cohorts: what goes to the maker, and what must arrive.
    pub(crate) fn sample(
        &mut self,
        wall: TimestampMs,
        used: &mut UsedTimes,
    ) -> (Update, Vec<Expected>) {
        let mut update = Update::default();
        let mut expected = Vec::new();
        self.change_cohorts(&mut update);
        for at in 0..self.cohorts.len() {
            self.sample_cohort(at, unused(wall, used), &mut update, &mut expected);
        }
        if self.rng.u8(..10) == 0 {
            let late = wall.0 - self.rng.i64(1_000..120_000);
            self.late_sample(unused(TimestampMs(late), used), &mut update, &mut expected);
        }
        (update, expected)
    }

    fn change_cohorts(&mut self, update: &mut Update) {
        let begins = self.cohorts.is_empty() || (self.cohorts.len() < 4 && self.rng.u8(..40) == 0);
        if begins {
            self.begin_cohort();
        }
        if self.cohorts.len() > 1 && self.rng.u8(..80) == 0 {
            let ended = self
                .cohorts
                .swap_remove(self.rng.usize(..self.cohorts.len()));
            update.ended.push(ended.id);
        }
        for cohort in &mut self.cohorts {
            let before = cohort.series.len();
            let grows = before == 0 || (before < SLOTS_MAX && self.rng.u8(..30) == 0);
            if grows {
                let slots = self.rng.usize(1..=3) + if before == 0 { 2 } else { 0 };
                for slot in before..(before + slots).min(SLOTS_MAX) {
                    cohort
                        .series
                        .push(series(&self.node, self.host, &cohort.name, slot));
                }
                update.definitions.push(cohort.definition(before));
            }
            if self.rng.u8(..20) == 0 {
                let slot = self.rng.usize(..cohort.series.len());
                if !cohort.absent.remove(&slot) {
                    cohort.absent.insert(slot);
                }
            }
        }
    }

    fn begin_cohort(&mut self) {
        self.cohorts_made += 1;
        self.cohorts.push(Cohort {
            id: CohortId(self.cohorts_made),
            name: Arc::from(format!("cohort/{}", self.cohorts_made)),
            counter: 0,
            series: Vec::new(),
            absent: BTreeSet::new(),
        });
    }

    fn sample_cohort(
        &mut self,
        at: usize,
        time: TimestampMs,
        update: &mut Update,
        expected: &mut Vec<Expected>,
    ) {
        let cohort = &mut self.cohorts[at];
        let slots = cohort.series.len();
        let mut presence = Presence::filled(slots, true);
        let mut floats = vec![0.0; slots];
        for (slot, (_, stored)) in cohort.series.iter().enumerate() {
            if cohort.absent.contains(&slot) {
                presence.set(slot, false);
                continue;
            }
            floats[slot] = value(self.host, cohort.id, slot, self.run, cohort.counter);
            expected.push(Expected {
                labels: stored.clone(),
                at: time,
                bits: floats[slot].to_bits(),
            });
        }
        update.rows.push(Arc::new(Row {
            cohort: cohort.id,
            counter: cohort.counter,
            at: time,
            presence,
            floats,
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        }));
        cohort.counter += 1;
    }

    fn late_sample(&mut self, at: TimestampMs, update: &mut Update, expected: &mut Vec<Expected>) {
        let cohort = &self.cohorts[self.rng.usize(..self.cohorts.len())];
        let slot = self.rng.usize(..cohort.series.len());
        let float = value(
            self.host,
            cohort.id,
            slot,
            self.run,
            cohort.counter + 1_000_000,
        );
        update.samples.push(SeriesSample {
            cohort: cohort.id,
            slot: Slot::try_from(slot).unwrap_or(0),
            at,
            value: Value::Float(float),
            start: TimestampMs(0),
        });
        expected.push(Expected {
            labels: cohort.series[slot].1.clone(),
            at,
            bits: float.to_bits(),
        });
    }
}

impl Cohort {
    fn definition(&self, from: usize) -> CohortDefinition {
        let new = self.series[from..].iter();
        CohortDefinition {
            cohort: self.id,
            name: Arc::clone(&self.name),
            first_slot: Slot::try_from(from).unwrap_or(0),
            series: new
                .map(|(labels, _)| SeriesDefinition {
                    labels: labels.clone(),
                    kind: MetricType::Gauge,
                })
                .collect(),
        }
    }
}

/// The labels of a slot, as the agent says them (some lie about the node) and as the store must have them.
fn series(node: &str, host: usize, cohort: &str, slot: usize) -> (Labels, Labels) {
    let (host, slot_text) = (host.to_string(), slot.to_string());
    let said = [
        ("__name__", "sim_value"),
        ("host", &*host),
        ("cohort", cohort),
        ("slot", &*slot_text),
    ];
    let lies = slot % 4 == 3;
    let claimed = lies.then_some(("node", "somebody-else"));
    let moved = lies.then_some(("exported_node", "somebody-else"));
    let labels = |pairs: Vec<(&str, &str)>| Labels::from_pairs(pairs).expect("valid labels");
    (
        labels(said.into_iter().chain(claimed).collect()),
        labels(
            said.into_iter()
                .chain(moved)
                .chain([("node", node)])
                .collect(),
        ),
    )
}

/// The time, or the first later one that no row of this host has.
fn unused(wall: TimestampMs, used: &mut UsedTimes) -> TimestampMs {
    let mut at = wall.0;
    while !used.insert(at) {
        at += 1;
    }
    TimestampMs(at)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "any float will do, if it always is the same"
)]
fn value(host: usize, cohort: CohortId, slot: usize, run: u64, counter: RowCounter) -> f64 {
    const SPECIAL: [u64; 8] = [
        0x7ff0_0000_0000_0002, // the stale mark
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x8000_0000_0000_0000,
        0,
        1,
        0x7fef_ffff_ffff_ffff,
        0x7ff8_0000_0000_0001,
    ];
    let bits = [host as u64, u64::from(cohort.0), slot as u64, run, counter]
        .into_iter()
        .fold(0, |seed, part| mix(seed ^ part));
    match slot % 6 {
        0 => (run * 1_000_000 + counter * 3) as f64,
        1 => (bits % 2_000_000) as f64 / 100.0 - 10_000.0,
        2 => f64::from_bits(bits),
        3 => (counter / 10) as f64 * 0.1,
        4 => f64::from_bits(SPECIAL[usize::try_from(bits % 8).unwrap_or(0)]),
        _ => (bits % 7) as f64,
    }
}

/// SplitMix64's last step.
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
