use std::path::Path;

use model::{Labels, Sample, Value};
use promql::testscript::{series_labels, series_samples};
use promql::{Engine, EngineConfig, QueryOptions, QueryResult};
use storage::{MemoryStore, Unlimited};

use super::*;
use crate::file::{FileOptions, RuleFile};
use crate::recorder::MemoryRecorder;
use crate::world::DirectQueries;

const MINUTE: i64 = 60_000;

/// A group over a store in memory.
struct Bench {
    store: MemoryStore,
    engine: Engine,
    settings: Settings,
    group: Group,
}

fn group(text: &str, settings: &Settings) -> Group {
    let file = RuleFile::parse(Path::new("r.yml"), text, FileOptions::default()).unwrap();
    let spec = file.groups.into_iter().next().unwrap();
    Group::new(file.path, spec, settings, ParserOptions::default())
}

impl Bench {
    fn new(series: &[(&str, &str)], group_text: &str) -> Self {
        let store = MemoryStore::new();
        for (series, values) in series {
            let labels = series_labels(series).unwrap();
            let step = Duration::from_mins(1);
            for Sample { at, value } in series_samples(values, TimestampMs(0), step).unwrap() {
                store.insert(&labels, at, value);
            }
        }
        let settings = Settings {
            external_labels: Labels::from_pairs([("cluster", "c1")]).unwrap(),
            ..Settings::default()
        };
        Self {
            group: group(group_text, &settings),
            store,
            engine: Engine::new(EngineConfig::default()),
            settings,
        }
    }

    fn evaluate(&mut self, minute: i64) -> Vec<Notice> {
        let queries = DirectQueries {
            engine: &self.engine,
            store: &self.store,
        };
        let world = World {
            queries: &queries,
            recorder: &MemoryRecorder(self.store.clone()),
            settings: &self.settings,
        };
        let at = TimestampMs(minute * MINUTE);
        self.group.evaluate(at, &world)
    }

    /// Returns what an expression comes to, as `labels value` lines.
    fn query(&self, text: &str, minute: i64) -> Vec<String> {
        let (at, options) = (TimestampMs(minute * MINUTE), QueryOptions::default());
        let output = self
            .engine
            .instant(&self.store, text, at, &options, &Unlimited)
            .unwrap();
        let QueryResult::Vector { samples, .. } = output.result else {
            panic!("{text} is a vector")
        };
        let line = |sample: promql::VectorSample| match sample.value {
            Value::Float(value) => format!("{} {value}", sample.labels),
            Value::Histogram(_) => format!("{} histogram", sample.labels),
        };
        let mut lines: Vec<String> = samples.into_iter().map(line).collect();
        lines.sort();
        lines
    }

    fn health(&self, rule: usize) -> &Health {
        &self.group.rules[rule].last.health
    }

    fn states(&self) -> Vec<(AlertState, i64)> {
        let rules = self
            .group
            .rules
            .iter()
            .flat_map(|rule| rule.alerts.values());
        rules
            .map(|tracked| (tracked.alert.state, tracked.alert.active_at.0 / MINUTE))
            .collect()
    }
}

#[test]
fn results_are_recorded_and_end_when_they_vanish() {
    let mut bench = Bench::new(
        &[("x{job=\"a\"}", "1 stale"), ("x{job=\"b\"}", "2 2 2")],
        "groups: [{name: g, labels: {team: t}, rules: [{record: 'job:x', expr: 'sum by (job) (x)', labels: {l: v}}, {record: y, expr: 'count(job:x)'}]}]",
    );
    bench.evaluate(0);
    assert_eq!(
        bench.query("job:x", 0),
        [
            "job:x{job=\"a\", l=\"v\", team=\"t\"} 1",
            "job:x{job=\"b\", l=\"v\", team=\"t\"} 2"
        ]
    );
    assert_eq!(bench.query("y", 0), ["y{team=\"t\"} 2"]);
    bench.evaluate(1);
    assert_eq!(
        bench.query("job:x", 1),
        ["job:x{job=\"b\", l=\"v\", team=\"t\"} 2"]
    );
    assert_eq!(bench.query("y", 1), ["y{team=\"t\"} 1"]);
}

#[test]
fn alerts_go_from_pending_to_firing_to_resolved() {
    let mut bench = Bench::new(
        &[("up{job=\"a\"}", "0 0 0 1 1 1 1")],
        "groups: [{name: g, rules: [{alert: Down, expr: 'up == 0', for: 2m, labels: {severity: '{{ $labels.job }}!'}, annotations: {s: 'is {{ $value }} in {{ $externalLabels.cluster }}'}}]}]",
    );
    assert_eq!(bench.evaluate(0), []);
    assert_eq!(
        bench.query("ALERTS", 0),
        ["ALERTS{alertname=\"Down\", alertstate=\"pending\", job=\"a\", severity=\"a!\"} 1"]
    );
    assert_eq!(bench.evaluate(1), []);
    let fired = bench.evaluate(2);
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].labels.get("cluster"), Some("c1"));
    assert_eq!(fired[0].annotations.get("s"), Some("is 0 in c1"));
    assert_eq!(
        (fired[0].starts_at, fired[0].ends_at, fired[0].resolved),
        (TimestampMs(2 * MINUTE), TimestampMs(6 * MINUTE), false)
    );
    assert_eq!(
        fired[0].generator_url,
        "/graph?g0.expr=up+%3D%3D+0&g0.tab=1"
    );
    assert_eq!(
        bench.query("ALERTS", 2),
        ["ALERTS{alertname=\"Down\", alertstate=\"firing\", job=\"a\", severity=\"a!\"} 1"]
    );
    assert_eq!(
        bench.query("ALERTS_FOR_STATE", 2),
        ["ALERTS_FOR_STATE{alertname=\"Down\", job=\"a\", severity=\"a!\"} 0"]
    );
    let resolved = bench.evaluate(3);
    assert_eq!(
        (resolved[0].resolved, resolved[0].ends_at),
        (true, TimestampMs(3 * MINUTE))
    );
    assert_eq!(bench.query("ALERTS", 3), [""; 0]);
    // It is told again for a quarter of an hour, and then forgotten.
    assert_eq!(bench.evaluate(5).len(), 1);
    assert_eq!(bench.evaluate(18).len(), 1);
    assert_eq!(bench.evaluate(19), []);
    assert_eq!(bench.states(), []);
}

#[test]
fn what_keeps_firing_resolves_later() {
    let mut bench = Bench::new(
        &[("up", "0 1 0 1 1 1 1")],
        "groups: [{name: g, rules: [{alert: Down, expr: 'up == 0', keep_firing_for: 2m}]}]",
    );
    let mut states = |minute| {
        bench.evaluate(minute);
        bench.states()
    };
    let firing = vec![(AlertState::Firing, 0)];
    for minute in 0..=4 {
        assert_eq!(states(minute), firing, "{minute}");
    }
    assert_eq!(states(5), [(AlertState::Inactive, 0)]);
}

#[test]
fn too_many_and_equal_results_are_refused_and_said() {
    let mut bench = Bench::new(
        &[("x{a=\"1\"}", "1 1"), ("x{a=\"2\"}", "1 1")],
        "groups: [{name: g, limit: 1, rules: [
            {record: many, expr: x}, {record: same, expr: x, labels: {a: z}}, {alert: Many, expr: x},
            {alert: Same, expr: x, labels: {a: z}}, {record: one, expr: 'count(x)'}, {record: bad, expr: 'x * on() x'}]}]",
    );
    bench.evaluate(0);
    for (rule, message) in [
        (0, "exceeded limit of 1 with 2 series"),
        (
            1,
            "vector contains metrics with the same labelset after applying rule labels",
        ),
        (2, "exceeded limit of 1 with 2 alerts"),
        (
            3,
            "vector contains metrics with the same labelset after applying alert labels",
        ),
    ] {
        assert_eq!(bench.health(rule), &Health::Bad(message.to_owned()));
    }
    assert_eq!(bench.health(4), &Health::Good);
    assert!(matches!(bench.health(5), Health::Bad(_)));
    assert_eq!(
        bench.query("{__name__=~\"many|same|ALERTS|bad\"}", 0),
        [""; 0]
    );
    assert_eq!(
        (bench.group.counts.evaluations, bench.group.counts.failures),
        (6, 5)
    );
}

#[test]
fn templates_ask_and_a_failing_one_leaves_its_error() {
    let mut bench = Bench::new(
        &[("x", "3"), ("y{job=\"j\"}", "7")],
        "groups: [{name: g, rules: [{alert: A, expr: x, annotations: {q: '{{ query \"y\" | first | label \"job\" }}', e: '{{ query \"absent_metric\" | first | value }}'}}]}]",
    );
    let fired = bench.evaluate(0);
    assert_eq!(fired[0].annotations.get("q"), Some("j"));
    let error = fired[0].annotations.get("e").unwrap();
    assert!(
        error.starts_with("<error expanding template: error executing template __alert_A: "),
        "{error}"
    );
}

#[test]
fn a_query_offset_moves_what_is_looked_at_and_what_is_written() {
    let mut bench = Bench::new(
        &[("x", "1 2 3")],
        "groups: [{name: g, query_offset: 1m, rules: [{record: y, expr: x}]}]",
    );
    bench.evaluate(2);
    assert_eq!(bench.query("timestamp(y)", 2), ["{} 60"]);
    assert_eq!(bench.query("y", 2), ["y 2"]);
}

#[test]
fn groups_spread_over_their_interval_the_same_each_time() {
    let settings = Settings::default();
    let one = |name: &str| group(&format!("groups: [{{name: {name}}}]"), &settings);
    let (a, b) = (one("a"), one("b"));
    let now = TimestampMs(1_700_000_000_000);
    assert_ne!(a.due_before(now).0 % MINUTE, b.due_before(now).0 % MINUTE);
    for at in [now, TimestampMs(now.0 + 12_345), TimestampMs(-1)] {
        let (before, after) = (a.due_before(at), a.due_after(at));
        assert!(
            before <= at && at < after && after.0 - before.0 == MINUTE,
            "{at:?}"
        );
        assert_eq!(a.due_before(before), before);
    }
}

#[test]
fn missed_evaluations_are_counted() {
    let mut bench = Bench::new(
        &[("x", "1x20")],
        "groups: [{name: g, rules: [{record: y, expr: x}]}]",
    );
    for minute in [0, 1, 4, 5] {
        bench.evaluate(minute);
    }
    let counts = bench.group.counts;
    assert_eq!((counts.iterations, counts.missed), (4, 2));
}

#[test]
fn a_reload_keeps_state_and_ends_what_is_gone() {
    let rules = |extra: &str| {
        format!("groups: [{{name: g, rules: [{extra}{{alert: A, expr: x, for: 5m}}]}}]")
    };
    let mut bench = Bench::new(&[("x", "1x20")], &rules("{record: y, expr: x}, "));
    bench.evaluate(0);
    let mut next = group(&rules("{record: z, expr: x}, "), &bench.settings);
    std::mem::swap(&mut bench.group, &mut next);
    bench.group.inherit(next);
    bench.evaluate(5);
    assert_eq!(bench.states(), [(AlertState::Firing, 0)]);
    assert_eq!(bench.query("y", 5), [""; 0]);
    assert_eq!(bench.query("z", 5), ["z 1"]);
}

#[test]
fn a_wave_that_is_not_stored_fails_and_wakes_people_all_the_same() {
    #[derive(Debug)]
    struct Full;
    impl crate::world::Recorder for Full {
        fn record(&self, _samples: &[RecordedSample]) -> Result<u64, String> {
            Err("disk full".to_owned())
        }
        fn recorded(
            &self,
            _matchers: &[model::Matcher],
            _at: TimestampMs,
        ) -> Result<Vec<RecordedSample>, String> {
            Ok(Vec::new())
        }
        fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String> {
            self.record(samples)
        }
    }
    let mut bench = Bench::new(
        &[("x", "1")],
        "groups: [{name: g, rules: [{alert: A, expr: x}]}]",
    );
    let queries = DirectQueries {
        engine: &bench.engine,
        store: &bench.store,
    };
    let world = World {
        queries: &queries,
        recorder: &Full,
        settings: &bench.settings,
    };
    let notices = bench.group.evaluate(TimestampMs(0), &world);
    assert_eq!(notices.len(), 1);
    assert_eq!(bench.health(0), &Health::Bad("disk full".to_owned()));
}

#[test]
fn a_rule_with_far_too_many_results_is_refused_before_it_costs() {
    #[derive(Debug)]
    struct Many;
    impl crate::world::Queries for Many {
        fn answer(&self, questions: Vec<Question>) -> Vec<crate::world::Answer> {
            let element = promql::VectorSample {
                labels: Labels::empty(),
                value: Value::Float(1.0),
            };
            let answer = |_| crate::world::Answer {
                result: Ok(vec![element.clone(); 1_000_000]),
                took: Duration::ZERO,
            };
            questions.into_iter().map(answer).collect()
        }
    }
    let settings = Settings::default();
    let text = "groups: [{name: g, rules: [{alert: A, expr: x}, {record: r, expr: x}]}]";
    let mut group = group(text, &settings);
    let world = World {
        queries: &Many,
        recorder: &MemoryRecorder(MemoryStore::new()),
        settings: &settings,
    };
    assert_eq!(group.evaluate(TimestampMs(0), &world), []);
    for (rule, bound) in [(0, "50000"), (1, "500000")] {
        let Health::Bad(why) = &group.rules[rule].last.health else {
            panic!("rule {rule} is refused")
        };
        assert!(
            why.starts_with(&format!("1000000 results are more than the {bound} ")),
            "{why}"
        );
    }
}
