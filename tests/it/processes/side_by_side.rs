//! Generated queries beside Debian's Prometheus (2.42): the same data remote-written to both, the same questions over HTTP.
//!
//! What was changed on purpose since then is left out of the grammar; `tests/PROMETHEUS-2.42.md` lists it with reasons. Samples lie at odd
//! milliseconds and questions are asked at others, so that ranges closed at their start (2.x) and open there (3.x) hold the same samples.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ::promql::generator::{
    Choices, Feature, Generator, Grammar, QueryBounds, Vocabulary, random_store,
};
use clock::{Clock as _, SystemClock};
use model::{TimeRange, TimestampMs, Value, is_stale};
use serde_json::Value as Json;
use storage::{Queryable as _, Select, Unlimited};
use tests::processes::{
    Aggregator, FloatSeries, PATIENCE, Prometheus, get, percent_encode, wait_until, write_series,
};

const QUERIES: u64 = 6_000;
/// Stores whose series are put together, the first of a name and labels.
const STORES: u64 = 12;

/// Functions, aggregations and operators that mean something else in 2.42, or do not exist there.
const WORDS_WITHOUT: &[&str] = &[
    "atan2",
    "bottomk",
    "cos",
    "count_values",
    "predict_linear",
    "sin",
    "stddev",
    "stdvar",
    "tan",
    "timestamp",
    "topk",
    "first_over_time",
    "histogram_avg",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
];

/// Parts of the language that 2.42 does not have.
const FEATURES_WITHOUT: &[Feature] = &[
    Feature::Experimental,
    Feature::ExtendedRanges,
    Feature::Fill,
    Feature::DurationExpressions,
    Feature::DurationNumbers,
    Feature::QuotedNames,
    Feature::NativeHistograms,
    Feature::NestedSubqueries,
    Feature::Underscores,
    Feature::FiltersBetweenVectors,
    Feature::RatesOfAnything,
];

fn vocabulary(base_s: i64) -> Vocabulary {
    Vocabulary {
        counters: &["c_total", "d_total"],
        gauges: &["g", "build_info"],
        buckets: &["b_bucket"],
        natives: &[],
        mixed: &[],
        labels: &[
            ("a", &["", "1", "2"]),
            ("instance", &["i", "j"]),
            ("job", &["p", "q"]),
            ("le", &["1", "+Inf"]),
        ],
        ..Vocabulary::of_random_stores(base_s)
    }
}

#[test]
fn generated_queries_agree_with_prometheus() {
    let Some(counts) = compare(0..QUERIES) else {
        println!("skipped: there is no prometheus");
        return;
    };
    println!("{counts}");
    assert!(counts.differences.is_empty(), "{}", counts.shown());
    assert!(counts.refused * 10 < QUERIES, "too many are refused");
}

#[test]
#[ignore = "takes minutes: 100,000 queries"]
fn many_generated_queries_agree_with_prometheus() {
    let Some(counts) = compare(QUERIES..QUERIES + 100_000) else {
        println!("skipped: there is no prometheus");
        return;
    };
    println!("{counts}");
    assert!(counts.differences.is_empty(), "{}", counts.shown());
}

#[derive(Debug, Default)]
struct Counts {
    queries: u64,
    /// With the same values, to a relative 1e-9.
    same: u64,
    /// Of these, without any.
    empty: u64,
    /// With values that differ by what is left of sums that cancel out.
    cancelled: u64,
    /// Refused by both, for reasons of one class.
    refused: u64,
    differences: Vec<String>,
}

impl Counts {
    fn shown(&self) -> String {
        let mut shown: Vec<_> = self.differences.iter().map(String::as_str).collect();
        // The shortest say most.
        shown.sort_by_key(|text| text.len());
        shown.truncate(200);
        shown.join("\n\n")
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} queries, {} agree ({} of them without a result, {} with nothing but rounding where sums cancel out), {} refused by both, {} differ",
            self.queries,
            self.same,
            self.empty,
            self.cancelled,
            self.refused,
            self.differences.len()
        )
    }
}

fn compare(seeds: std::ops::Range<u64>) -> Option<Counts> {
    let peer = Prometheus::start()?;
    let ours = Aggregator::new(&[]);
    let now_s = TimestampMs::from(SystemClock::new().wall()).0 / 1_000;
    // Subqueries look at multiples of their steps: with a base of whole minutes each run asks the same.
    let base_s = (now_s - 900) / 60 * 60;
    let series = data(base_s);
    for web in [ours.web(), peer.web()] {
        assert!(write_series(web, &series), "{web} takes the data");
    }
    let last = percent_encode("last_over_time({__name__=~\".+\"}[1h])");
    let path = format!("/api/v1/query?query={last}&time={now_s}.25");
    wait_until(PATIENCE, "the same samples in both", || {
        let (a, b) = (ask(ours.web(), &path), ask(peer.web(), &path));
        matches!(agree(&a, &b), Verdict::Same { empty: false }).then_some(())
    });
    let grammar = Grammar::new(vocabulary(base_s))
        .without(FEATURES_WITHOUT.iter().copied())
        .without_words(WORDS_WITHOUT.iter().copied())
        .fractions(&[".25"]);
    let (next, counts) = (AtomicU64::new(seeds.start), Mutex::new(Counts::default()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let path = question(&grammar, seed, base_s);
                    let (a, b) = (ask(ours.web(), &path.0), ask(peer.web(), &path.0));
                    let verdict = agree(&a, &b);
                    let mut counts = counts.lock().expect("nobody panics with it in hand");
                    counts.queries += 1;
                    match verdict {
                        Verdict::Same { empty } => {
                            counts.same += 1;
                            counts.empty += u64::from(empty);
                        }
                        Verdict::Cancelled => {
                            counts.same += 1;
                            counts.cancelled += 1;
                        }
                        Verdict::Refused => counts.refused += 1,
                        Verdict::Different(why) => {
                            counts
                                .differences
                                .push(format!("seed {seed}: {}\n{why}", path.1));
                        }
                    }
                }
            });
        }
    });
    Some(counts.into_inner().expect("nobody panicked"))
}

/// The floats of random stores, with names and values that both take.
fn data(base_s: i64) -> Vec<FloatSeries> {
    let mut all = BTreeMap::new();
    for seed in 0..STORES {
        let store = random_store(&mut Choices::seeded(seed), base_s);
        let select = Select {
            matchers: &[],
            range: TimeRange::ALL,
            hints: Default::default(),
        };
        let series = store.querier().expect("a view").select(&select, &Unlimited);
        for series in series.expect("all series") {
            let pairs = series.labels.iter();
            let labels: Vec<_> = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let has_dots =
                |(name, value): &(String, String)| name.contains('.') || value.contains("dotted.");
            if labels.iter().any(has_dots) {
                continue;
            }
            let samples = series.samples(TimeRange::ALL);
            // So high that no rate reaches back to zero, where 3.x stops later than 2.x did.
            let counts = |(_, value): &(String, String)| {
                matches!(value.as_str(), "b_bucket" | "c_total" | "d_total")
            };
            let lift = if labels.iter().any(counts) {
                10_000.0
            } else {
                0.0
            };
            let floats: Vec<_> = samples
                .filter_map(|sample| match sample.value {
                    // So large that sums of a few are infinite or not by the order of adding.
                    Value::Float(value) if value.abs() > 1e200 && value.is_finite() => None,
                    Value::Float(value) if is_stale(value) => Some((sample.at.0, value)),
                    Value::Float(value) => Some((sample.at.0, value + lift)),
                    Value::Histogram(_) => None,
                })
                .collect();
            if !floats.is_empty() {
                all.entry(labels).or_insert(floats);
            }
        }
    }
    all.into_iter().collect()
}

/// Returns a path, and how to read it.
fn question(grammar: &Grammar, seed: u64, base_s: i64) -> (String, String) {
    let mut choices = Choices::seeded(!seed);
    let text = Generator::new(grammar, Choices::seeded(seed), QueryBounds::Written).expression();
    let start = base_s + i64::from(choices.below(420));
    let query = percent_encode(&text);
    if seed.is_multiple_of(2) {
        let path = format!("/api/v1/query?query={query}&time={start}.25");
        return (path, format!("{text} at {}.25", start - base_s));
    }
    let step = 1 + i64::from(choices.below(60));
    let end = start + 5 * step;
    let path =
        format!("/api/v1/query_range?query={query}&start={start}.25&end={end}.25&step={step}");
    let offset = start - base_s;
    (
        path,
        format!("{text} from {offset}.25, 5 steps of {step} s"),
    )
}

/// By labels, the values by time.
type Answered = BTreeMap<String, Vec<(String, f64)>>;

enum Reply {
    Values(Answered),
    Refused { status: u16, why: String },
}

fn ask(web: &str, path: &str) -> Reply {
    let answer = wait_until(PATIENCE, path, || get(web, path));
    let json = answer.json();
    if answer.status != 200 {
        let why = json["error"].as_str().unwrap_or_default().to_owned();
        let status = answer.status;
        return Reply::Refused { status, why };
    }
    let data = &json["data"];
    let point = |point: &Json| {
        let value: f64 = point[1]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN);
        (point[0].to_string(), value)
    };
    let mut values = Answered::new();
    if data["resultType"] == "scalar" {
        values.insert("scalar".to_owned(), vec![point(&data["result"])]);
        return Reply::Values(values);
    }
    for series in data["result"].as_array().into_iter().flatten() {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(series["metric"].clone()).unwrap_or_default();
        let points = match series["values"].as_array() {
            Some(points) => points.iter().map(point).collect(),
            None => vec![point(&series["value"])],
        };
        values.insert(format!("{labels:?}"), points);
    }
    Reply::Values(values)
}

enum Verdict {
    Same { empty: bool },
    Cancelled,
    Refused,
    Different(String),
}

fn agree(ours: &Reply, theirs: &Reply) -> Verdict {
    let (ours, theirs) = match (ours, theirs) {
        (Reply::Values(ours), Reply::Values(theirs)) => (ours, theirs),
        (
            Reply::Refused {
                status: a,
                why: ours,
            },
            Reply::Refused {
                status: b,
                why: theirs,
            },
        ) => {
            return if a == b && class(ours) == class(theirs) {
                Verdict::Refused
            } else {
                Verdict::Different(format!("ours {a}: {ours}\ntheirs {b}: {theirs}"))
            };
        }
        (Reply::Refused { why, .. }, Reply::Values(values)) => {
            return Verdict::Different(format!("ours refused: {why}\ntheirs {values:?}"));
        }
        (Reply::Values(values), Reply::Refused { why, .. }) => {
            return Verdict::Different(format!("ours {values:?}\ntheirs refused: {why}"));
        }
    };
    let different = || Verdict::Different(format!("ours   {ours:?}\ntheirs {theirs:?}"));
    if !ours.keys().eq(theirs.keys()) {
        return different();
    }
    let mut cancelled = false;
    for (ours, theirs) in ours.values().zip(theirs.values()) {
        if ours.len() != theirs.len() {
            return different();
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            match closeness(ours.1, theirs.1) {
                _ if ours.0 != theirs.0 => return different(),
                Closeness::Same => {}
                Closeness::Cancelled => cancelled = true,
                Closeness::Different => return different(),
            }
        }
    }
    if cancelled {
        return Verdict::Cancelled;
    }
    Verdict::Same {
        empty: ours.is_empty(),
    }
}

enum Closeness {
    Same,
    Cancelled,
    Different,
}

fn closeness(a: f64, b: f64) -> Closeness {
    if a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) {
        return Closeness::Same;
    }
    // Values are of the order of 1 to 1,000: what is left of them after a subtraction is nothing but rounding below this.
    if a.abs().max(b.abs()) < 1e-10 {
        return Closeness::Cancelled;
    }
    Closeness::Different
}

/// The class of a reason: its words have changed, not what it is about.
fn class(why: &str) -> &'static str {
    const CLASSES: [(&str, &str); 7] = [
        // Which of two sides is found wanting first is no matter.
        ("many-to-many", "matching"),
        ("multiple matches for labels", "matching"),
        ("duplicate series", "matching"),
        ("same labelset", "same labelset"),
        ("int64", "number of series"),
        ("Parameter value is NaN", "number of series"),
        ("label name", "label name"),
    ];
    let known = CLASSES.iter().find(|(words, _)| why.contains(words));
    known.map_or("other", |(_, class)| class)
}
