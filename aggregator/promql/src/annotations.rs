//! What a query's result does not say by itself: warnings and infos, with the place of the expression at fault.

use std::collections::BTreeMap;
use std::fmt;

use crate::TextRange;

/// How much an annotation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The result is probably not what was asked for.
    Warning,
    /// The result may surprise.
    Info,
}

/// A name to mention; none when names are removed late and may be several.
pub type MetricName = String;

/// The kinds of annotations; texts are Prometheus' own.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Note {
    /// A quantile outside 0..1.
    InvalidQuantile(f64),
    /// A ratio outside -1..1, and what it is taken for.
    InvalidRatio(f64, f64),
    /// A bucket without a readable `le`.
    BadBucketLabel(MetricName, String),
    /// Floats and histograms in one range.
    MixedFloatsHistograms(MetricName),
    /// Floats and histograms in one group of an aggregation.
    MixedFloatsHistogramsAggregation,
    /// Classic and native histograms under one name.
    MixedClassicNative(MetricName),
    /// A gauge histogram where a counter is wanted.
    NativeHistogramNotCounter(MetricName),
    /// A counter histogram where a gauge is wanted.
    NativeHistogramNotGauge(MetricName),
    /// Exponential and custom buckets in one range or group.
    MixedExponentialCustom(MetricName),
    /// Exponential and custom buckets on both sides of an operator.
    IncompatibleBucketLayout(String),
    /// `sort` in a range query.
    SortInRangeQuery,
    /// Counter resets of aggregated histograms contradict each other.
    HistogramCounterResetCollision(HistogramOperation),
    /// A start time before the sample before it.
    StartTimeOverlap(MetricName),
    /// A rate over something whose name does not say "counter".
    PossibleNonCounter(MetricName),
    /// A rate over something whose type label does not say "counter".
    PossibleNonCounterLabel(MetricName, String),
    /// Bucket counts that fall were raised.
    QuantileForcedMonotonicity {
        /// The series, when it has a name.
        metric: MetricName,
        /// The instant, in milliseconds.
        at: i64,
        /// The least bucket bound that was changed.
        bucket_min: f64,
        /// The greatest.
        bucket_max: f64,
        /// The greatest change.
        difference_max: f64,
    },
    /// An operator between types that it does not combine.
    IncompatibleTypesInBinop(&'static str, String, &'static str),
    /// An aggregation that passes over histograms.
    HistogramIgnoredInAggregation(String),
    /// A function that passes over histograms among floats.
    HistogramIgnoredInMixedRange(MetricName),
    /// A quantile in the NaN observations.
    NativeQuantileNanResult(MetricName),
    /// A quantile moved by NaN observations.
    NativeQuantileNanSkew(MetricName),
    /// A fraction that leaves NaN observations out.
    NativeFractionNans(MetricName),
    /// Custom buckets with different bounds were brought together.
    MismatchedCustomBuckets(HistogramOperation),
}

/// What was done to histograms when something had to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HistogramOperation {
    /// `+`
    Addition,
    /// `-`
    Subtraction,
    /// `sum`, `avg` and their like
    Aggregation,
}

impl fmt::Display for HistogramOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        })
    }
}

/// A note and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// What.
    pub note: Note,
    /// Where.
    pub range: TextRange,
}

impl Annotation {
    /// Returns how much it matters.
    pub const fn severity(&self) -> Severity {
        self.note.severity()
    }

    /// Returns the text of the HTTP API: prefix, message and place in `query`.
    pub fn render(&self, query: &str) -> String {
        format!("{} ({})", self.note, self.range.line_column(query))
    }
}

/// The annotations of a query, each once, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    list: Vec<Annotation>,
}

/// Distinct annotations kept per query; more would only repeat the same advice for other series.
const ANNOTATIONS_MAX: usize = 1_000;

impl Annotations {
    /// Returns all, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.list.iter()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the texts of one severity, at most `limit` (0: no limit) and then a line that counts the rest.
    pub fn render(&self, severity: Severity, query: &str, limit: usize) -> Vec<String> {
        let mut texts: Vec<String> = self
            .list
            .iter()
            .filter(|annotation| annotation.severity() == severity)
            .map(|annotation| annotation.render(query))
            .collect();
        texts.sort();
        texts.dedup();
        if limit > 0 && texts.len() > limit {
            let more = texts.len() - limit;
            texts.truncate(limit);
            let word = match severity {
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            texts.push(format!("{more} more {word} annotations omitted"));
        }
        texts
    }

    /// Adds a note, unless it is there already.
    pub(crate) fn add(&mut self, note: Note, range: TextRange) {
        if let Note::QuantileForcedMonotonicity { .. } = note {
            return self.add_forced_monotonicity(note, range);
        }
        if self.list.len() >= ANNOTATIONS_MAX {
            return;
        }
        let known = self
            .list
            .iter()
            .any(|annotation| annotation.range == range && annotation.note.same(&note));
        if !known {
            self.list.push(Annotation { note, range });
        }
    }

    /// Keeps one such note per metric and place: the one with the earliest instant and widest bounds.
    fn add_forced_monotonicity(&mut self, note: Note, range: TextRange) {
        let Note::QuantileForcedMonotonicity {
            metric: name,
            at: instant,
            bucket_min: low,
            bucket_max: high,
            difference_max: difference,
        } = &note
        else {
            return;
        };
        for annotation in &mut self.list {
            if let Note::QuantileForcedMonotonicity {
                metric,
                at,
                bucket_min,
                bucket_max,
                difference_max,
            } = &mut annotation.note
                && annotation.range == range
                && metric == name
            {
                *at = (*at).min(*instant);
                *bucket_min = bucket_min.min(*low);
                *bucket_max = bucket_max.max(*high);
                *difference_max = difference_max.max(*difference);
                return;
            }
        }
        if self.list.len() < ANNOTATIONS_MAX {
            self.list.push(Annotation { note, range });
        }
    }

    /// Returns how often each text occurs; for tests and tools.
    pub fn counts(&self, query: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for annotation in &self.list {
            *counts.entry(annotation.render(query)).or_default() += 1;
        }
        counts
    }
}

impl Note {
    const fn severity(&self) -> Severity {
        match self {
            Self::InvalidQuantile(_)
            | Self::InvalidRatio(..)
            | Self::BadBucketLabel(..)
            | Self::MixedFloatsHistograms(_)
            | Self::MixedFloatsHistogramsAggregation
            | Self::MixedClassicNative(_)
            | Self::NativeHistogramNotCounter(_)
            | Self::NativeHistogramNotGauge(_)
            | Self::MixedExponentialCustom(_)
            | Self::IncompatibleBucketLayout(_)
            | Self::SortInRangeQuery
            | Self::HistogramCounterResetCollision(_)
            | Self::StartTimeOverlap(_) => Severity::Warning,
            Self::PossibleNonCounter(_)
            | Self::PossibleNonCounterLabel(..)
            | Self::QuantileForcedMonotonicity { .. }
            | Self::IncompatibleTypesInBinop(..)
            | Self::HistogramIgnoredInAggregation(_)
            | Self::HistogramIgnoredInMixedRange(_)
            | Self::NativeQuantileNanResult(_)
            | Self::NativeQuantileNanSkew(_)
            | Self::NativeFractionNans(_)
            | Self::MismatchedCustomBuckets(_) => Severity::Info,
        }
    }

    /// Equality that takes NaN for equal to itself.
    fn same(&self, other: &Self) -> bool {
        let bits = |a: &f64, b: &f64| a.to_bits() == b.to_bits();
        match (self, other) {
            (Self::InvalidQuantile(a), Self::InvalidQuantile(b)) => bits(a, b),
            (Self::InvalidRatio(a, _), Self::InvalidRatio(b, _)) => bits(a, b),
            _ => self == other,
        }
    }
}

fn of_metric(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" for metric name {name:?}")
    }
}

/// Writes a number as Go's `%g` does, as far as quantiles and ratios go.
fn number(value: f64) -> String {
    crate::number::format(value)
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity() {
            Severity::Warning => "PromQL warning: ",
            Severity::Info => "PromQL info: ",
        })?;
        match self {
            Self::InvalidQuantile(q) => write!(
                f,
                "quantile value should be between 0 and 1, got {}",
                number(*q)
            ),
            Self::InvalidRatio(ratio, capped) => write!(
                f,
                "ratio value should be between -1 and 1, got {}, capping to {}",
                number(*ratio),
                number(*capped)
            ),
            Self::BadBucketLabel(name, label) => write!(
                f,
                "bucket label \"le\" is missing or has a malformed value of {label:?}{}",
                of_metric(name)
            ),
            Self::MixedFloatsHistograms(name) => write!(
                f,
                "encountered a mix of histograms and floats{}",
                of_metric(name)
            ),
            Self::MixedFloatsHistogramsAggregation => {
                f.write_str("encountered a mix of histograms and floats for aggregation")
            }
            Self::MixedClassicNative(name) => write!(
                f,
                "vector contains a mix of classic and native histograms{}",
                of_metric(name)
            ),
            Self::NativeHistogramNotCounter(name) => {
                write!(f, "this native histogram metric is not a counter: {name:?}")
            }
            Self::NativeHistogramNotGauge(name) => {
                write!(f, "this native histogram metric is not a gauge: {name:?}")
            }
            Self::MixedExponentialCustom(name) => write!(
                f,
                "vector contains a mix of histograms with exponential and custom buckets schemas{}",
                of_metric(name)
            ),
            Self::IncompatibleBucketLayout(operator) => write!(
                f,
                "incompatible bucket layout encountered for binary operator {operator}"
            ),
            Self::SortInRangeQuery => f.write_str(
                "sort is ineffective for range queries since results are always ordered by labels",
            ),
            Self::HistogramCounterResetCollision(operation) => {
                write!(f, "conflicting counter resets during histogram {operation}")
            }
            Self::StartTimeOverlap(name) => write!(
                f,
                "sample has start time that overlaps with previous sample timestamp for metric {name:?}"
            ),
            Self::PossibleNonCounter(name) => write!(
                f,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            ),
            Self::PossibleNonCounterLabel(name, kind) => write!(
                f,
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind:?}: {name:?}"
            ),
            Self::QuantileForcedMonotonicity { .. } => self.write_forced_monotonicity(f),
            Self::IncompatibleTypesInBinop(left, operator, right) => write!(
                f,
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            Self::HistogramIgnoredInAggregation(name) => {
                write!(f, "ignored histogram in {name} aggregation")
            }
            Self::HistogramIgnoredInMixedRange(name) => write!(
                f,
                "ignored histograms in a range containing both floats and histograms{}",
                of_metric(name)
            ),
            Self::NativeQuantileNanResult(name) => write!(
                f,
                "input to histogram_quantile has NaN observations, result is NaN{}",
                of_metric(name)
            ),
            Self::NativeQuantileNanSkew(name) => write!(
                f,
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                of_metric(name)
            ),
            Self::NativeFractionNans(name) => write!(
                f,
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                of_metric(name)
            ),
            Self::MismatchedCustomBuckets(operation) => write!(
                f,
                "mismatched custom buckets were reconciled during {operation}"
            ),
        }
    }
}

impl Note {
    fn write_forced_monotonicity(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::QuantileForcedMonotonicity {
            metric,
            at,
            bucket_min,
            bucket_max,
            difference_max,
        } = self
        else {
            return Ok(());
        };
        write!(
            f,
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets {} to {}, with a max diff of {}, at {}",
            of_metric(metric),
            number(*bucket_min),
            number(*bucket_max),
            number(*difference_max),
            crate::number::rfc3339(*at)
        )
    }
}
