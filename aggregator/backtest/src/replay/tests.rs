use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use alerting::{Event, EventKind, HistoryFilter, MatcherMode};
use fastrand::Rng;
use model::{Labels, STALE_NAN, Value};
use promql::EngineConfig;
use rules::{FileOptions, MemoryRecorder};
use storage::MemoryStore;
use template::Zone;

use super::*;
use crate::StoreHistory;

const START: TimestampMs = TimestampMs(1_790_000_000_000);
const HOURS: u64 = 4;
const SAMPLE_INTERVAL: Duration = Duration::from_secs(15);
const INSTANCES: usize = 5;
const SEEDS: u64 = 12;

const ROUTES: &str = "
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 30s
  group_interval: 3m
  repeat_interval: 1h
  routes:
  - {matchers: [severity=page], receiver: pager, group_by: ['...'], group_wait: 5s, continue: true}
  - {matchers: [alertname=Busy], receiver: quiet, mute_time_intervals: [odd]}
inhibit_rules:
- {source_matchers: [alertname=Down], target_matchers: [severity=warning], equal: [instance]}
time_intervals:
- {name: odd, time_intervals: [{times: [{start_time: '13:00', end_time: '15:00'}]}]}
receivers:
- {name: ops, webhook_configs: [{url: 'http://ops.example/'}], slack_configs: [{api_url: 'http://slack.example/', channel: a}]}
- {name: pager, webhook_configs: [{url: 'http://pager.example/'}]}
- {name: quiet, webhook_configs: [{url: 'http://quiet.example/', send_resolved: false}]}
";

fn config() -> Arc<Config> {
    let path = Path::new("alertmanager.yml");
    Arc::new(Config::parse(path, ROUTES, MatcherMode::Fallback, &Zone::utc()).expect("a good file"))
}

/// Rules of every kind, with times and thresholds by chance.
fn rule_files(rng: &mut Rng) -> Vec<RuleFile> {
    let text = format!(
        "groups:
- name: recorded
  interval: {first}s
  rules:
  - {{record: 'job:load:avg', expr: avg by (job) (load)}}
  - {{record: 'job:load:peak', expr: 'max_over_time(job:load:avg[{range}m])'}}
  - {{alert: Busy, expr: 'job:load:peak > {threshold} and on () count(ALERTS{{alertname=\"Down\"}}) < 3', for: {hold}m, labels: {{severity: warning}}}}
- name: watched
  interval: {second}s
  query_offset: {offset}s
  rules:
  - {{alert: Down, expr: up == 0, labels: {{severity: page}}, keep_firing_for: {keep}m}}
  - {{alert: Loaded, expr: 'load > {threshold}', for: {hold}m, labels: {{severity: warning}}, annotations: {{summary: '{{{{ $value }}}}'}}}}
  - {{alert: Gone, expr: 'absent(job:load:avg offset 2m)', for: 1m}}
  - {{alert: Grown, expr: 'delta(load[10m:1m]) > {threshold} / 2', labels: {{severity: '{{{{ if gt $value 60.0 }}}}page{{{{ else }}}}info{{{{ end }}}}'}}}}
",
        first = rng.u64(10..90),
        second = rng.u64(10..90),
        offset = rng.u64(0..40),
        range = rng.u64(2..20),
        threshold = rng.u64(40..70),
        hold = rng.u64(0..8),
        keep = rng.u64(0..8),
    );
    let path = Path::new("rules.yml");
    let file = RuleFile::parse(path, &text, FileOptions::default());
    vec![file.unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"))]
}

/// Series that wander, fail, end and come again; one list of samples for each row.
fn rows(rng: &mut Rng) -> Vec<(TimestampMs, Vec<(Labels, f64)>)> {
    let labels = |metric: &str, instance: usize| {
        let (job, instance) = (format!("j{}", instance % 2), format!("i{instance}"));
        let pairs = [
            ("__name__", metric),
            ("instance", instance.as_str()),
            ("job", job.as_str()),
        ];
        Labels::from_pairs(pairs).expect("valid")
    };
    let mut loads = [30.0_f64; INSTANCES];
    let mut absent_for = [0_u32; INSTANCES];
    let count = HOURS * 3_600 / SAMPLE_INTERVAL.as_secs();
    let mut rows = Vec::new();
    for number in 0..u32::try_from(count).expect("few") {
        let mut row = Vec::new();
        for instance in 0..INSTANCES {
            let load = &mut loads[instance];
            *load = (*load + rng.f64() * 10.0 - 5.0).clamp(0.0, 100.0);
            let absent = &mut absent_for[instance];
            if *absent > 0 {
                *absent -= 1;
                continue;
            }
            if rng.u8(..) == 0 {
                *absent = rng.u32(4..80);
                row.push((labels("load", instance), STALE_NAN));
                row.push((labels("up", instance), 0.0));
                continue;
            }
            row.push((labels("load", instance), *load));
            row.push((labels("up", instance), f64::from(u8::from(rng.u8(..) > 2))));
        }
        rows.push((START.saturating_add(SAMPLE_INTERVAL * number), row));
    }
    rows
}

fn silences(rng: &mut Rng) -> Vec<SilenceRequest> {
    let silence = |rng: &mut Rng| {
        let starts_at = START.saturating_add(Duration::from_secs(rng.u64(60..HOURS * 3_600)));
        SilenceRequest {
            matcher_sets: vec![vec![Matcher::equal(
                "instance",
                format!("i{}", rng.usize(..INSTANCES)),
            )]],
            starts_at,
            ends_at: starts_at.saturating_add(Duration::from_secs(rng.u64(60..7_200))),
            created_by: "somebody".to_owned(),
            comment: "for a reason".to_owned(),
            ..SilenceRequest::default()
        }
    };
    (0..3).map(|_| silence(rng)).collect()
}

fn end() -> TimestampMs {
    START.saturating_add(Duration::from_secs(HOURS * 3_600))
}

/// What a run that was there while rows came in has written into its ledger. It stores what it records beside the rows.
fn live(
    files: Vec<RuleFile>,
    silences: &[SilenceRequest],
    rng: &mut Rng,
) -> (Vec<Event>, MemoryStore) {
    let store = MemoryStore::new();
    let engine = Engine::new(EngineConfig::default());
    let sink = Arc::new(Sink::default());
    let telling: Arc<dyn AlertSink> = Arc::<Sink>::clone(&sink);
    let rules = Rules::new(None, telling, engine.config().parser);
    rules
        .load(files, Settings::default(), START)
        .expect("no database");
    let mut pipeline = Pipeline::new(config(), String::new(), PipelineLimits::default());
    let mut rows = rows(rng).into_iter().peekable();
    let mut waiting: Vec<&SilenceRequest> = silences.iter().collect();
    let recorder = MemoryRecorder(store.clone());
    loop {
        let row = rows.peek().map(|(at, _)| *at);
        let silence = waiting.iter().map(|one| one.starts_at).min();
        let times = [row, silence, rules.next_due(), Some(pipeline.next_poll())];
        let Some(now) = times.into_iter().flatten().min().map(|at| at.max(START)) else {
            break;
        };
        if now > end() {
            break;
        }
        if let Some((at, row)) = rows.next_if(|(at, _)| *at <= now) {
            for (labels, value) in row {
                store.insert(&labels, at, Value::Float(value));
            }
        }
        let begun: Vec<_> = waiting.extract_if(.., |one| one.starts_at <= now).collect();
        for silence in begun {
            let id = format!(
                "silence-{}",
                silences
                    .iter()
                    .position(|one| one == silence)
                    .expect("one of them")
            );
            pipeline
                .set_silence(silence.clone(), id, now)
                .expect("a good silence");
        }
        let queries = DirectQueries {
            engine: &engine,
            store: &store,
        };
        for due in rules.take_due(now) {
            rules.evaluate(due, &queries, &recorder);
            pipeline.take(sink.take().iter().map(posted), now);
        }
        let mut attempts = VecDeque::from(pipeline.poll(now));
        while let Some(attempt) = attempts.pop_front() {
            let remembered = Remembered::new();
            pipeline.finished(attempt.id, Outcome::Delivered { remembered }, now);
            attempts.extend(pipeline.poll(now));
        }
    }
    (events(&pipeline), store)
}

/// The whole ledger, but for when silences were set: a replay knows them from its beginning.
fn events(pipeline: &Pipeline) -> Vec<Event> {
    let all = HistoryFilter {
        limit: usize::MAX,
        ..HistoryFilter::default()
    };
    let events = pipeline.history(&all).into_iter();
    let events = events.filter(|event| event.kind != EventKind::SilenceSet);
    let unnumbered = events.map(|event| Event { number: 0, ..event });
    unnumbered.collect()
}

fn plan(files: Vec<RuleFile>, silences: &[SilenceRequest]) -> Plan {
    Plan {
        files,
        settings: Settings::default(),
        config: config(),
        external_url: String::new(),
        silences: silences.to_vec(),
        range: TimeRange::new(START, end()),
        warm_up: Duration::ZERO,
        chunk: Duration::from_hours(1),
        samples_max: 1_000_000,
    }
}

fn replay(plan: Plan, store: &MemoryStore) -> (Backtest, Vec<Told>) {
    let mut backtest = Backtest::new(plan, Engine::new(EngineConfig::default())).expect("a plan");
    let mut told = Vec::new();
    let history = StoreHistory(store);
    let done = backtest.run(&history, &mut |one| told.push(one), &mut |_| ());
    done.expect("history can be read");
    (backtest, told)
}

#[test]
fn a_backtest_is_the_ledger_of_the_live_run() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let (files, silences) = (rule_files(&mut rng), silences(&mut rng));
        let (recorded, store) = live(files.clone(), &silences, &mut rng);
        let (backtest, told) = replay(plan(files, &silences), &store);
        let found = events(backtest.pipeline());
        let first = recorded.iter().zip(&found).find(|(a, b)| a != b);
        assert_eq!(first, None, "seed {seed}");
        assert_eq!(recorded.len(), found.len(), "seed {seed}");
        for event in &recorded {
            *kinds.entry(event.kind.name()).or_default() += 1;
        }
        let delivered = recorded
            .iter()
            .filter(|event| event.kind == EventKind::Delivered);
        assert_eq!(delivered.count(), told.len(), "seed {seed}");
    }
    // The cases are worth the name: all that can keep an alert quiet did so.
    for kind in [
        "firing",
        "resolved",
        "inhibited",
        "silenced",
        "muted",
        "released",
        "delivered",
    ] {
        assert!(
            kinds.get(kind).is_some_and(|count| *count >= 10),
            "{kinds:?}"
        );
    }
}

#[test]
fn the_chunk_does_not_matter_and_the_window_stays_small() {
    let mut rng = Rng::with_seed(7);
    let files = rule_files(&mut rng);
    let (_, store) = live(files.clone(), &[], &mut rng);
    let (whole, expected) = replay(plan(files.clone(), &[]), &store);
    for minutes in [1, 7, 600] {
        let plan = Plan {
            chunk: Duration::from_mins(minutes),
            ..plan(files.clone(), &[])
        };
        let (_, told) = replay(plan, &store);
        assert_eq!(told, expected, "chunks of {minutes} minutes");
    }
    assert!(
        whole.window.samples() < 10_000,
        "{}",
        whole.window.samples()
    );
    let plan = Plan {
        samples_max: 100,
        ..plan(files, &[])
    };
    let mut backtest = Backtest::new(plan, Engine::default()).expect("a plan");
    let refused = backtest.run(&StoreHistory(&store), &mut |_| (), &mut |_| ());
    assert!(matches!(
        refused,
        Err(BacktestError::TooMuch { limit: 100, .. })
    ));
}

#[test]
fn after_a_warm_up_only_what_is_new_is_told() {
    let mut rng = Rng::with_seed(3);
    let files = rule_files(&mut rng);
    let (_, store) = live(files.clone(), &[], &mut rng);
    let (_, all) = replay(plan(files.clone(), &[]), &store);
    let from = START.saturating_add(Duration::from_hours(2));
    let warm = Plan {
        range: TimeRange::new(from, end()),
        warm_up: Duration::from_hours(2),
        ..plan(files, &[])
    };
    let (_, told) = replay(warm, &store);
    let expected: Vec<Told> = all.into_iter().filter(|one| one.at >= from).collect();
    assert!(!expected.is_empty());
    assert_eq!(told, expected);
}
