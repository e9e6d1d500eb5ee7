use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use files::{SharedFileSystem, Simulated};
use model::{Labels, TimeRange, Value};
use promql::{Engine, EngineConfig};
use proptest::prelude::*;
use storage::MemoryStore;

use storage::Queryable;

use super::*;
use crate::alert::{AlertState, Amendment, Notice};
use crate::file::FileOptions;
use crate::recorder::MemoryRecorder;
use crate::world::DirectQueries;

const MINUTE: i64 = 60_000;
const RULES: &str = "groups:
  - name: g
    rules:
      - {alert: Slow, expr: x > 0, for: 30m}
      - {alert: Kept, expr: x > 1, keep_firing_for: 20m}
";

/// Remembers what it was told, and what came late.
#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<Notice>>, Mutex<Vec<Amendment>>);

impl AlertSink for Ledger {
    fn notify(&self, notices: Vec<Notice>) {
        lock(&self.0).extend(notices);
    }

    fn amend(&self, amendments: Vec<Amendment>) {
        lock(&self.1).extend(amendments);
    }
}

/// What stays when the process dies: the disk, the samples, and what people were told.
struct Machine {
    disk: Simulated,
    store: MemoryStore,
    ledger: Arc<Ledger>,
}

impl Machine {
    fn new() -> Self {
        Self {
            disk: Simulated::new(),
            store: MemoryStore::new(),
            ledger: Arc::default(),
        }
    }

    fn set(&self, minute: i64, value: f64) {
        let labels = Labels::from_pairs([("__name__", "x")]).unwrap();
        let at = TimestampMs(minute * MINUTE);
        self.store.insert(&labels, at, Value::Float(value));
    }

    fn start(&self, minute: i64) -> Option<Rules> {
        self.start_with(RULES, minute)
    }

    fn start_with(&self, text: &str, minute: i64) -> Option<Rules> {
        let files: SharedFileSystem = Arc::new(self.disk.clone());
        let database = KeyValue::open(files, Path::new("rules.redb")).ok()?;
        let sink = Arc::<Ledger>::clone(&self.ledger);
        let rules = Rules::new(Some(Arc::new(database)), sink, ParserOptions::default());
        load(&rules, text, minute).ok()?;
        Some(rules)
    }

    fn evaluate(&self, rules: &Rules, minute: i64) {
        let engine = Engine::new(EngineConfig::default());
        let queries = DirectQueries {
            engine: &engine,
            store: &self.store,
        };
        let recorder = MemoryRecorder(self.store.clone());
        for due in rules.take_due(TimestampMs(minute * MINUTE)) {
            rules.evaluate(due, &queries, &recorder);
        }
    }

    /// Takes so many steps of a pass, or those that there are; returns how many.
    fn walk(&self, pass: &mut LatePass, steps_max: usize) -> usize {
        let engine = Engine::new(EngineConfig::default());
        let queries = DirectQueries {
            engine: &engine,
            store: &self.store,
        };
        let recorder = MemoryRecorder(self.store.clone());
        let mut steps = 0;
        while steps < steps_max && pass.step(&queries, &recorder).unwrap() {
            steps += 1;
        }
        steps
    }

    /// Returns all samples, by series and time.
    fn stored(&self) -> Vec<(Labels, Vec<(i64, String)>)> {
        let select = storage::Select {
            matchers: &[],
            range: TimeRange::ALL,
            hints: storage::SelectHints::default(),
        };
        let querier = self.store.querier().unwrap();
        let found = querier.select(&select, &storage::Unlimited).unwrap();
        let samples = |series: storage::SeriesData| {
            let samples = series.samples(TimeRange::ALL);
            let shown = samples.map(|sample| (sample.at.0, format!("{:?}", sample.value)));
            (series.labels.clone(), shown.collect())
        };
        let series = found.into_iter().map(samples);
        series
            .filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty())
            .collect()
    }

    /// Returns what came late of the alert `Slow`: minute, state, and whether it was in that.
    fn amended(&self) -> BTreeSet<(i64, AlertState, bool)> {
        let all = lock(&self.ledger.1);
        let slow = all
            .iter()
            .filter(|one| one.labels.get("alertname") == Some("Slow"));
        slow.map(|one| {
            assert_eq!(one.until.0 - one.at.0, MINUTE);
            (one.at.0 / MINUTE, one.state, one.holds)
        })
        .collect()
    }

    fn told(&self) -> usize {
        lock(&self.ledger.0).len()
    }
}

fn load(rules: &Rules, text: &str, minute: i64) -> Result<(), KeyValueError> {
    let file = RuleFile::parse(Path::new("r.yml"), text, FileOptions::default()).unwrap();
    rules.load(
        vec![file],
        Settings::default(),
        TimestampMs(minute * MINUTE),
    )
}

fn minutes(first: i64, last: i64) -> Spans {
    let mut spans = Spans::default();
    let at = |minute: i64| TimestampMs(minute * MINUTE);
    spans.add(TimeRange::new(at(first), at(last)));
    spans
}

fn active(rules: &Rules, rule: usize) -> Vec<(AlertState, i64)> {
    let views = rules.views();
    let alert = views[0].rules[rule].alert.as_ref().unwrap();
    let active = alert.active.iter();
    active
        .map(|alert| (alert.state, alert.active_at.0 / MINUTE))
        .collect()
}

#[test]
fn alerts_survive_the_death_of_the_process() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    for minute in 1..10 {
        machine.set(minute, 2.0);
        machine.evaluate(&rules, minute);
    }
    let before = (active(&rules, 0), active(&rules, 1));
    drop(rules);
    machine.disk.crash(7);
    let rules = machine.start(9).unwrap();
    assert_eq!((active(&rules, 0), active(&rules, 1)), before);
    let told = machine.told();
    // The condition of the one is gone; it keeps firing, across another death.
    machine.set(10, 0.5);
    machine.evaluate(&rules, 10);
    drop(rules);
    machine.disk.crash(8);
    let rules = machine.start(10).unwrap();
    for minute in 11..40 {
        machine.set(minute, 0.5);
        machine.evaluate(&rules, minute);
    }
    assert_eq!(active(&rules, 0)[0].0, AlertState::Firing);
    assert_eq!(active(&rules, 1), []);
    let told = lock(&machine.ledger.0)[told..].to_vec();
    let resolved = told.iter().find(|notice| notice.resolved).unwrap();
    assert_eq!(resolved.labels.get("alertname"), Some("Kept"));
    let since_gone = resolved.ends_at.0 / MINUTE;
    assert!((30..=31).contains(&since_gone), "{since_gone}");
}

#[test]
fn what_the_death_of_the_process_swallowed_is_told_at_once_after_it() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    let mut minute = 0;
    while machine.told() == 0 {
        minute += 1;
        machine.set(minute, 2.0);
        machine.evaluate(&rules, minute);
    }
    drop(rules);
    lock(&machine.ledger.0).clear();
    let rules = machine.start(minute).unwrap();
    machine.set(minute + 1, 2.0);
    machine.evaluate(&rules, minute + 1);
    assert_eq!(machine.told(), 1);
}

#[test]
fn time_in_which_nobody_looked_does_not_count() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    for minute in 1..=10 {
        machine.set(minute, 1.0);
        machine.evaluate(&rules, minute);
    }
    drop(rules);
    let rules = machine.start(100).unwrap();
    machine.set(100, 1.0);
    for minute in 101..=119 {
        machine.set(minute, 1.0);
        machine.evaluate(&rules, minute);
    }
    assert_eq!(active(&rules, 0)[0].0, AlertState::Pending);
    for minute in 120..=123 {
        machine.set(minute, 1.0);
        machine.evaluate(&rules, minute);
    }
    assert_eq!(active(&rules, 0)[0].0, AlertState::Firing);
}

#[test]
fn an_outage_that_is_backfilled_counts_for_an_alert_and_pages_nobody() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    for minute in 1..=20 {
        if !(5..=14).contains(&minute) {
            machine.set(minute, 1.0);
        }
        machine.evaluate(&rules, minute);
    }
    let since = active(&rules, 0)[0].1;
    assert!((14..=16).contains(&since), "{since}: nobody knew better");
    (5..=14).for_each(|minute| machine.set(minute, 1.0));
    rules.note_late(&minutes(5, 14), TimestampMs(20 * MINUTE));
    // What is owed survives.
    drop(rules);
    machine.disk.crash(3);
    let rules = machine.start(20).unwrap();
    machine.set(21, 1.0);
    machine.evaluate(&rules, 21);
    let mut pass = rules.begin_late(TimestampMs(21 * MINUTE)).unwrap();
    machine.walk(&mut pass, usize::MAX);
    rules.end_late(&pass, true, TimestampMs(21 * MINUTE));
    let counts = rules.late_counts();
    assert_eq!((counts.owed, counts.passes, counts.failures), (0, 1, 0));
    assert!(rules.begin_late(TimestampMs(99 * MINUTE)).is_none());
    let said = lock(&machine.ledger.1).clone();
    assert!(!said.is_empty() && said.iter().all(|one| one.holds));
    for minute in 22..=29 {
        machine.set(minute, 1.0);
        machine.evaluate(&rules, minute);
    }
    assert_eq!(machine.told(), 0, "nothing was to be told");
    for minute in 30..=32 {
        machine.set(minute, 1.0);
        machine.evaluate(&rules, minute);
    }
    let (state, since) = active(&rules, 0)[0];
    assert_eq!(state, AlertState::Firing);
    assert!(since <= 1, "{since}: it has held all the time");
    assert!(machine.told() > 0);
}

#[test]
fn what_has_seen_late_rows_is_not_evaluated_again() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    (1..=10).for_each(|minute| machine.evaluate(&rules, minute));
    (1..=10).for_each(|minute| machine.set(minute, 0.0));
    rules.note_late(&minutes(1, 10), TimestampMs(10 * MINUTE));
    for minute in 11..=14 {
        machine.set(minute, 0.0);
        machine.evaluate(&rules, minute);
    }
    let mut pass = rules.begin_late(TimestampMs(14 * MINUTE)).unwrap();
    // Nine had missed the rows, and one goes on from the last of these; four have looked back at them, too, but when they were there.
    assert_eq!(machine.walk(&mut pass, usize::MAX), 10);
    rules.end_late(&pass, true, TimestampMs(14 * MINUTE));
    assert_eq!(rules.late_counts().failures, 0);
}

#[test]
fn of_the_time_before_a_group_was_loaded_first_nothing_is_made() {
    let machine = Machine::new();
    let rules = machine.start(5).unwrap();
    (6..=10).for_each(|minute| machine.evaluate(&rules, minute));
    (1..=10).for_each(|minute| machine.set(minute, 1.0));
    rules.note_late(&minutes(1, 10), TimestampMs(10 * MINUTE));
    drop(rules);
    machine.disk.crash(5);
    let rules = machine.start(10).unwrap();
    let mut pass = rules.begin_late(TimestampMs(11 * MINUTE)).unwrap();
    assert_eq!(machine.walk(&mut pass, usize::MAX), 5);
    let of_rules = |(labels, _): &(Labels, Vec<_>)| labels.get("alertname").is_some();
    let stored = machine.stored().into_iter().filter(of_rules);
    let times: Vec<i64> = (stored.flat_map(|(_, samples)| samples))
        .map(|(at, _)| at)
        .collect();
    assert!(
        !times.is_empty() && times.iter().all(|at| *at >= 5 * MINUTE),
        "{times:?}"
    );
}

/// What is far behind the outage here depends on it by what was recorded alone: an alert that would fire, who looks back, and an alert that
/// fires on without its condition.
const CHAINS: &str = "groups:
  - {name: g, rules: [{alert: Slow, expr: x > 0, for: 30m}, {record: level, expr: x}]}
  - {name: h, rules: [{record: before, expr: level offset 12m}]}
  - {name: k, rules: [{alert: Kept, expr: x > 1, keep_firing_for: 20m}]}
";

/// Evaluates a run of 45 minutes, in which `x` is there up to minute `last`, but for those of an outage.
fn run(last: i64, outage: RangeInclusive<i64>) -> (Machine, Rules) {
    let machine = Machine::new();
    let rules = machine.start_with(CHAINS, 0).unwrap();
    for minute in 1..=45 {
        if minute <= last && !outage.contains(&minute) {
            machine.set(minute, level(minute));
        }
        machine.evaluate(&rules, minute);
    }
    (machine, rules)
}

/// Evaluates such a run, and backfills its outage: at the end of it a pass is due.
fn run_and_backfill(last: i64) -> (Machine, Rules) {
    let (machine, rules) = run(last, 10..=20);
    (10..=20).for_each(|minute| machine.set(minute, level(minute)));
    rules.note_late(&minutes(10, 20), TimestampMs(45 * MINUTE));
    (machine, rules)
}

fn level(minute: i64) -> f64 {
    if minute <= 20 { 2.0 } else { 1.0 }
}

/// Walks a pass to its end.
fn correct(machine: &Machine, rules: &Rules, minute: i64) {
    let mut pass = rules.begin_late(TimestampMs(minute * MINUTE)).unwrap();
    machine.walk(&mut pass, usize::MAX);
    rules.end_late(&pass, true, TimestampMs(minute * MINUTE));
}

#[test]
fn a_pass_that_the_death_of_the_process_cuts_short_is_made_good_wherever_that_is() {
    let (whole, _) = run(45, 99..=99);
    let amended: BTreeSet<(i64, AlertState, bool)> = {
        let pending = (14..=20).map(|minute| (minute, AlertState::Pending, true));
        let fires = (31..=44).flat_map(|minute| {
            [
                (minute, AlertState::Firing, true),
                (minute, AlertState::Pending, false),
            ]
        });
        pending.chain(fires).collect()
    };
    for steps in (0..).step_by(3) {
        let (machine, rules) = run_and_backfill(45);
        let mut pass = rules.begin_late(TimestampMs(46 * MINUTE)).unwrap();
        let is_cut_short = machine.walk(&mut pass, steps) == steps;
        drop((pass, rules));
        machine.disk.crash(steps as u64);
        let rules = machine.start_with(CHAINS, 45).unwrap();
        correct(&machine, &rules, 46);
        assert_eq!(machine.stored(), whole.stored(), "after {steps} steps");
        assert_eq!(machine.amended(), amended, "after {steps} steps");
        // What the alert has learned is kept, although it was not evaluated.
        drop(rules);
        machine.disk.crash(7);
        let rules = machine.start_with(CHAINS, 45).unwrap();
        machine.set(46, 1.0);
        machine.evaluate(&rules, 46);
        let (state, since) = active(&rules, 0)[0];
        assert_eq!(state, AlertState::Firing, "after {steps} steps");
        assert!(since <= 1, "{since}");
        if !is_cut_short {
            break;
        }
    }
}

#[test]
fn a_pass_whose_groups_a_reload_has_replaced_is_owed_again() {
    let (whole, _) = run(45, 99..=99);
    let (machine, rules) = run_and_backfill(45);
    let mut pass = rules.begin_late(TimestampMs(46 * MINUTE)).unwrap();
    machine.walk(&mut pass, 9);
    load(&rules, CHAINS, 45).unwrap();
    machine.walk(&mut pass, usize::MAX);
    rules.end_late(&pass, true, TimestampMs(46 * MINUTE));
    assert_eq!(rules.late_counts().broken, 1);
    correct(&machine, &rules, 47);
    assert_eq!(rules.late_counts().owed, 0);
    assert_eq!(machine.stored(), whole.stored());
    machine.set(46, 1.0);
    machine.evaluate(&rules, 46);
    assert!(active(&rules, 0)[0].1 <= 1);
}

#[test]
fn an_alert_is_kept_firing_from_when_its_condition_ceased_in_truth() {
    let (whole, _) = run(20, 99..=99);
    let (machine, rules) = run_and_backfill(20);
    correct(&machine, &rules, 46);
    assert_eq!(machine.stored(), whole.stored());
}

#[test]
fn a_reload_forgets_rules_that_are_gone_and_nothing_else() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    machine.set(1, 2.0);
    machine.evaluate(&rules, 1);
    machine.set(2, 2.0);
    machine.evaluate(&rules, 2);
    load(
        &rules,
        "groups: [{name: g, rules: [{alert: Kept, expr: x > 1, keep_firing_for: 20m}]}]",
        2,
    )
    .unwrap();
    assert_eq!(active(&rules, 0)[0].0, AlertState::Firing);
    load(&rules, RULES, 2).unwrap();
    assert_eq!(active(&rules, 0), []);
    assert_eq!(active(&rules, 1)[0].0, AlertState::Firing);
    // Groups that are gone end their series.
    load(&rules, "", 3).unwrap();
    let recorder = MemoryRecorder(machine.store.clone());
    rules
        .end_abandoned(TimestampMs(3 * MINUTE), &recorder)
        .unwrap();
    assert_eq!(rules.next_due(), None);
}

#[test]
fn a_group_is_evaluated_once_at_a_time_and_skips_what_it_missed() {
    let machine = Machine::new();
    let rules = machine.start(0).unwrap();
    let due = rules.take_due(TimestampMs(MINUTE));
    assert_eq!(due.len(), 1);
    assert_eq!(rules.next_due(), None);
    assert!(rules.take_due(TimestampMs(9 * MINUTE)).is_empty());
    drop(due);
    let late = rules.take_due(TimestampMs(9 * MINUTE));
    assert!(late[0].at() > TimestampMs(8 * MINUTE));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Wherever the power is cut: an alert that people were told of is known after the start, as it was told.
    #[test]
    fn nobody_is_told_of_what_a_power_cut_forgets(cut in 0u64..400, seed: u64) {
        let machine = Machine::new();
        machine.disk.cut_power_in(cut);
        let mut minute = 0;
        if let Some(rules) = machine.start(0) {
            while minute < 45 {
                minute += 1;
                machine.set(minute, if minute % 11 == 0 { 0.0 } else { 2.0 });
                let before = lock(&machine.ledger.0).len();
                machine.evaluate(&rules, minute);
                if machine.disk.power_is_cut() {
                    // What this evaluation said, it said although it could not be kept.
                    lock(&machine.ledger.0).truncate(before);
                    minute -= 1;
                    break;
                }
            }
        }
        machine.disk.crash(seed);
        let rules = machine.start(minute).unwrap();
        let last = lock(&machine.ledger.0).iter().rev().find(|notice| notice.labels.get("alertname") == Some("Kept")).cloned();
        if let Some(notice) = last {
            let known = active(&rules, 1);
            prop_assert_eq!(known.len(), usize::from(!notice.resolved), "{:?}", notice);
        }
    }
}
