//! Random data of every kind, for the names of a fixed [`Vocabulary`].

use std::sync::Arc;

use model::{
    Buckets, CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Labels, STALE_NAN, Span, TimestampMs,
    Value,
};
use storage::MemoryStore;

use super::{Choices, Vocabulary};

/// Samples of a series, as time goes.
const SAMPLES: i64 = 24;
const EVERY_MS: i64 = 15_000;
/// No sample lies on a whole second.
const ODD_MS: i64 = 7;

impl Vocabulary {
    /// Returns the names of the series that [`random_store`] makes, whose samples begin at `base_s`.
    pub const fn of_random_stores(base_s: i64) -> Self {
        Self {
            counters: &["c_total", "d_total"],
            gauges: &["g", "dotted.gauge"],
            buckets: &["b_bucket"],
            natives: &["h", "k"],
            mixed: &["x"],
            infos: &["target_info", "build_info"],
            labels: &[
                ("a", &["", "1", "2"]),
                ("instance", &["i", "j"]),
                ("job", &["p", "q"]),
                ("le", &["1", "+Inf"]),
                ("dotted.label", &["v"]),
            ],
            span: (base_s, base_s + 360),
        }
    }
}

/// Returns a store of some series for each name of [`Vocabulary::of_random_stores`], with samples for six minutes from `base_s` on: floats
/// and native histograms with gaps, stale marks, resets, and values that are no numbers.
pub fn random_store(choices: &mut Choices, base_s: i64) -> MemoryStore {
    let store = MemoryStore::new();
    let mut maker = Maker {
        choices,
        store: &store,
        base_ms: base_s * 1_000,
    };
    for name in ["c_total", "d_total"] {
        for labels in maker.label_sets() {
            maker.counter(name, &labels);
        }
    }
    for name in ["g", "dotted.gauge"] {
        for labels in maker.label_sets() {
            maker.series(name, &labels, |maker, _| Some(Value::Float(maker.gauge())));
        }
    }
    for labels in maker.label_sets() {
        maker.classic(&labels);
    }
    for name in ["h", "k"] {
        for labels in maker.label_sets() {
            maker.natives(name, &labels, name == "k");
        }
    }
    for labels in maker.label_sets() {
        maker.mixed(&labels);
    }
    for (name, label) in [("target_info", "version"), ("build_info", "a")] {
        maker.info(name, label);
    }
    store
}

type LabelSet = Vec<(&'static str, &'static str)>;

struct Maker<'a> {
    choices: &'a mut Choices,
    store: &'a MemoryStore,
    base_ms: i64,
}

impl Maker<'_> {
    /// One to three sets of labels, each another.
    fn label_sets(&mut self) -> Vec<LabelSet> {
        let all: [LabelSet; 6] = [
            vec![("a", "1"), ("instance", "i"), ("job", "p")],
            vec![("a", "2"), ("instance", "i"), ("job", "p")],
            vec![("instance", "j"), ("job", "q")],
            vec![
                ("a", "1"),
                ("dotted.label", "v"),
                ("instance", "j"),
                ("job", "p"),
            ],
            vec![],
            vec![("a", "2")],
        ];
        let count = 1 + self.choices.below(3) as usize;
        let first = self.choices.below(6) as usize;
        let chosen = all.into_iter().cycle().skip(first).take(count);
        chosen.collect()
    }

    /// A series of the values that `next` makes, with gaps and stale marks.
    fn series(
        &mut self,
        name: &str,
        labels: &LabelSet,
        mut next: impl FnMut(&mut Self, i64) -> Option<Value>,
    ) {
        let pairs = labels.iter().copied().chain([("__name__", name)]);
        let Ok(labels) = Labels::from_pairs(pairs) else {
            return;
        };
        let late = i64::from(self.choices.below(3)) * 1_000;
        let mut gap = 0;
        for index in 0..SAMPLES {
            let value = next(self, index);
            if gap == 0 && self.choices.one_in(24) {
                gap = 1 + self.choices.below(8);
            }
            if gap > 0 {
                gap -= 1;
                continue;
            }
            let value = if self.choices.one_in(24) {
                Some(Value::Float(STALE_NAN))
            } else {
                value
            };
            let Some(value) = value else { continue };
            let at = self.base_ms + index * EVERY_MS + late + ODD_MS;
            // Counters that say when they began, mostly truly.
            let start = match self.choices.below(4) {
                0 => TimestampMs(at - 40_000),
                1 => TimestampMs(self.base_ms),
                _ => TimestampMs(0),
            };
            self.store
                .insert_started(&labels, TimestampMs(at), value, start);
        }
    }

    fn counter(&mut self, name: &str, labels: &LabelSet) {
        let mut count = f64::from(self.choices.below(100));
        self.series(name, labels, |maker, _| {
            count = match maker.choices.below(48) {
                0..=2 => f64::from(maker.choices.below(3)),
                3 => f64::NAN,
                4 => f64::INFINITY,
                _ if !count.is_finite() => 1.0,
                _ => count + f64::from(maker.choices.below(40)) / 4.0,
            };
            Some(Value::Float(count))
        });
    }

    fn gauge(&mut self) -> f64 {
        match self.choices.below(40) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            3 => -0.0,
            4 => 1e300,
            5 => 0.0,
            6 => 5e-324,
            _ => f64::from(self.choices.below(80)) / 4.0 - 10.0,
        }
    }

    fn classic(&mut self, labels: &LabelSet) {
        const BOUNDS: [&str; 5] = ["0.1", "1", "10", "+Inf", "odd"];
        let steps = [1, 2, 3, 4].map(|n| n + self.choices.below(5));
        for (index, bound) in BOUNDS.iter().enumerate() {
            if self.choices.one_in(8) || (*bound == "odd" && !self.choices.one_in(4)) {
                continue;
            }
            let mut labels = labels.clone();
            labels.push(("le", *bound));
            let step: u32 = steps.iter().take(index + 1).sum();
            self.series("b_bucket", &labels, |maker, at| {
                // Not quite monotonic at times.
                let odd = if maker.choices.one_in(20) { 3.0 } else { 0.0 };
                let at = f64::from(u32::try_from(at).unwrap_or(0) % 16);
                Some(Value::Float(at * f64::from(step) - odd))
            });
        }
    }

    fn natives(&mut self, name: &str, labels: &LabelSet, custom: bool) {
        let mut shape = Shape::new(self.choices, custom);
        self.series(name, labels, |maker, _| Some(shape.next(maker.choices)));
    }

    fn mixed(&mut self, labels: &LabelSet) {
        let custom = self.choices.one_in(2);
        let mut shape = Shape::new(self.choices, custom);
        self.series("x", labels, |maker, _| {
            Some(if maker.choices.one_in(3) {
                Value::Float(maker.gauge())
            } else {
                shape.next(maker.choices)
            })
        });
    }

    /// Info metrics of two targets; a label of theirs changes in the middle.
    fn info(&mut self, name: &str, label: &'static str) {
        for target in [
            [("instance", "i"), ("job", "p")],
            [("instance", "j"), ("job", "q")],
        ] {
            let change = i64::from(self.choices.below(40));
            for (value, early) in [("1", true), ("2", false)] {
                let mut labels: LabelSet = target.to_vec();
                labels.push((label, value));
                self.series(name, &labels, |_, at| {
                    ((at < change) == early).then_some(Value::Float(1.0))
                });
            }
        }
    }
}

/// How a series of native histograms goes on.
struct Shape {
    custom: bool,
    gauge: bool,
    integer: bool,
    schema: i8,
    counts: [u32; 4],
}

impl Shape {
    fn new(choices: &mut Choices, custom: bool) -> Self {
        Self {
            custom,
            gauge: choices.one_in(4),
            integer: choices.one_in(2),
            schema: *choices.of(&[0, 1, 2, -1]),
            counts: [0, 1, 2, 3].map(|_| choices.below(6)),
        }
    }

    fn next(&mut self, choices: &mut Choices) -> Value {
        let mut reset = *choices.of(&[
            CounterReset::Unknown,
            CounterReset::Unknown,
            CounterReset::NotReset,
        ]);
        for count in &mut self.counts {
            *count += choices.below(5);
        }
        if choices.one_in(14) {
            self.counts = [0, 1, 2, 3].map(|_| choices.below(3));
            reset = *choices.of(&[CounterReset::Reset, CounterReset::Unknown]);
        }
        if choices.one_in(14) {
            self.schema = *choices.of(&[0, 1, 2, -1, 3]);
        }
        if choices.one_in(24) {
            self.custom = !self.custom;
        }
        if self.gauge {
            reset = CounterReset::Gauge;
        }
        let sum = if choices.one_in(40) {
            f64::NAN
        } else {
            f64::from(self.counts.iter().sum::<u32>()) * 1.25
        };
        let histogram = if self.custom {
            self.custom(choices, sum)
        } else {
            self.exponential(choices, sum)
        };
        Value::Histogram(Arc::new(Histogram { reset, ..histogram }))
    }

    fn custom(&self, choices: &mut Choices, sum: f64) -> Histogram {
        let bounds: &[f64] = match choices.below(12) {
            0 => &[1.0, 4.0],
            1 => &[0.5, 1.0, 2.0, 8.0],
            _ => &[-1.0, 1.0, 2.0],
        };
        let [_, positive @ ..] = self.counts;
        let buckets = positive.len().min(bounds.len() + 1);
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            sum,
            positive_spans: vec![span(0, buckets)],
            custom_bounds: bounds.to_vec(),
            buckets: self.buckets(0, &positive[..buckets], &[]),
            ..Histogram::stale()
        }
    }

    fn exponential(&self, choices: &mut Choices, sum: f64) -> Histogram {
        let [zero, negative, positive @ ..] = self.counts;
        let negative: &[u32] = if choices.one_in(3) { &[] } else { &[negative] };
        let gap = *choices.of(&[0, 0, 2]);
        let positive_spans = vec![span(-1, 1), span(gap, 1)];
        Histogram {
            schema: self.schema,
            zero_threshold: *choices.of(&[0.001, 0.001, 0.25]),
            sum,
            positive_spans,
            negative_spans: if negative.is_empty() {
                Vec::new()
            } else {
                vec![span(0, 1)]
            },
            buckets: self.buckets(zero, &positive, negative),
            ..Histogram::stale()
        }
    }

    fn buckets(&self, zero: u32, positive: &[u32], negative: &[u32]) -> Buckets {
        let count: u32 = zero + positive.iter().sum::<u32>() + negative.iter().sum::<u32>();
        if self.integer {
            let whole = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).collect();
            return Buckets::Integer {
                count: u64::from(count),
                zero: u64::from(zero),
                positive: whole(positive),
                negative: whole(negative),
            };
        }
        let halves = |counts: &[u32]| counts.iter().map(|count| f64::from(*count) / 2.0).collect();
        Buckets::Float {
            count: f64::from(count) / 2.0,
            zero: f64::from(zero) / 2.0,
            positive: halves(positive),
            negative: halves(negative),
        }
    }
}

fn span(offset: i32, length: usize) -> Span {
    Span {
        offset,
        length: u32::try_from(length).unwrap_or(0),
    }
}
