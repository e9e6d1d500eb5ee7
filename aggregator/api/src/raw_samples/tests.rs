use fastrand::Rng;
use model::{Buckets, CounterReset, Histogram, STALE_NAN, Span};
use storage::{MemoryStore, Queryable, Unlimited};

use super::*;

const SERIES: usize = 40;

fn labels(number: usize) -> Labels {
    let number = number.to_string();
    let metric = ["m", "a.b c"][number.len() % 2];
    Labels::from_pairs([
        ("__name__", metric),
        ("n", &*number),
        ("x", "\"\u{1f600}\n"),
    ])
    .unwrap()
}

fn histogram(rng: &mut Rng) -> Histogram {
    Histogram {
        schema: rng.i8(-4..=8),
        zero_threshold: rng.f64(),
        sum: rng.f64() * 1e9,
        reset: CounterReset::Unknown,
        positive_spans: vec![Span {
            offset: rng.i32(-9..9),
            length: 3,
        }],
        negative_spans: Default::default(),
        custom_bounds: Default::default(),
        buckets: Buckets::Integer {
            count: 7,
            zero: 1,
            positive: vec![1, 2, 3],
            negative: Default::default(),
        },
    }
}

fn value(rng: &mut Rng) -> Value {
    let floats = [
        0.0,
        -0.0,
        f64::NAN,
        STALE_NAN,
        f64::INFINITY,
        f64::MIN_POSITIVE,
    ];
    match rng.u8(..10) {
        0 => Value::Histogram(Arc::new(histogram(rng))),
        1..3 => Value::Float(floats[rng.usize(..floats.len())]),
        3..5 => Value::Float(f64::from_bits(rng.u64(..))),
        _ => Value::Float(f64::from(rng.u32(..1_000)) / 10.0),
    }
}

fn store(rng: &mut Rng) -> MemoryStore {
    let store = MemoryStore::new();
    for number in 0..SERIES {
        let mut at = rng.i64(-1_000..1_000);
        for _ in 0..rng.usize(..60) {
            at += rng.i64(1..60_000);
            store.insert(&labels(number), TimestampMs(at), value(rng));
        }
    }
    store
}

/// A sample so that bits are compared: the series, the time, and the value as it is written.
type Seen = (String, i64, String);

fn seen(labels: &Labels, at: TimestampMs, value: &Value) -> Seen {
    let value = match value {
        Value::Float(value) => format!("{:x}", value.to_bits()),
        Value::Histogram(histogram) => format!("{histogram:?}"),
    };
    (format!("{labels:?}"), at.0, value)
}

fn written(store: &MemoryStore, selectors: &[Vec<Matcher>], range: TimeRange) -> Vec<u8> {
    let mut writer = Writer::default();
    let querier = store.querier().unwrap();
    let done = write_selected(&*querier, selectors, range, &Unlimited, &mut writer);
    done.unwrap_or_else(|error| panic!("{}", error.message));
    writer
        .finish()
        .unwrap_or_else(|error| panic!("{}", error.message))
}

fn read(answer: &[u8]) -> Result<Vec<Seen>, String> {
    let mut all = Vec::new();
    read_samples(answer, &mut |labels, at, value| {
        all.push(seen(labels, at, value))
    })?;
    Ok(all)
}

#[test]
fn samples_come_out_as_they_are_stored() {
    for seed in 0..30 {
        let mut rng = Rng::with_seed(seed);
        let store = store(&mut rng);
        let range = TimeRange::new(
            TimestampMs(rng.i64(..200_000)),
            TimestampMs(rng.i64(200_000..2_000_000)),
        );
        // What two of them select comes once.
        let selectors = [
            vec![Matcher::new("n", model::MatchOp::Regex, "1.*").unwrap()],
            vec![Matcher::equal("__name__", "m")],
            vec![Matcher::new("n", model::MatchOp::Regex, ".*5").unwrap()],
        ];
        let mut found = read(&written(&store, &selectors, range)).unwrap();
        let querier = store.querier().unwrap();
        let mut expected = BTreeSet::new();
        for matchers in &selectors {
            let select = Select {
                matchers,
                range,
                hints: Default::default(),
            };
            for series in querier.select(&select, &Unlimited).unwrap() {
                let samples = series.samples(range);
                expected
                    .extend(samples.map(|sample| seen(&series.labels, sample.at, &sample.value)));
            }
        }
        assert!(expected.len() > 100);
        found.sort_unstable();
        assert_eq!(
            found,
            expected.into_iter().collect::<Vec<_>>(),
            "seed {seed}"
        );
    }
}

#[test]
fn there_may_be_more_series_than_a_cohort_has_slots() {
    let store = MemoryStore::new();
    let count = SLOTS_MAX + 10;
    for number in 0..count {
        store.insert(&labels(number), TimestampMs(5), Value::Float(1.0));
    }
    let everything = [vec![
        Matcher::new("n", model::MatchOp::Regex, ".+").unwrap(),
    ]];
    let answer = written(&store, &everything, TimeRange::ALL);
    let found: BTreeSet<Seen> = read(&answer).unwrap().into_iter().collect();
    assert_eq!(found.len(), count);
    assert!(answer.len() < count * 64, "{} bytes", answer.len());
}

#[test]
fn nothing_is_an_answer_of_no_bytes() {
    let answer = written(
        &MemoryStore::new(),
        &[vec![Matcher::equal("a", "b")]],
        TimeRange::ALL,
    );
    assert_eq!((answer.len(), read(&answer)), (0, Ok(Vec::new())));
}

#[test]
fn what_is_no_answer_is_refused_and_never_more_than_that() {
    let mut rng = Rng::with_seed(7);
    let everything = [vec![
        Matcher::new("n", model::MatchOp::Regex, ".+").unwrap(),
    ]];
    let answer = written(&store(&mut rng), &everything, TimeRange::ALL);
    let whole = read(&answer).unwrap();
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut damaged = answer.clone();
        if rng.bool() {
            damaged.truncate(rng.usize(..answer.len()));
        } else {
            let place = rng.usize(..answer.len());
            damaged[place] ^= 1 << rng.u8(..8);
        }
        match read(&damaged) {
            Err(why) => {
                assert!(!why.is_empty());
                refused += 1;
            }
            // Between two frames it can be cut, and not every bit is checked.
            Ok(found) => assert!(found.len() <= whole.len()),
        }
    }
    assert!(refused > 1_000, "{refused}");
}
