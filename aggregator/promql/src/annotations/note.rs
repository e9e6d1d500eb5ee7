//! The kinds of annotations and their texts, which are Prometheus' own.

use std::fmt;

use super::Severity;

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
        /// The first instant, in milliseconds.
        first: i64,
        /// The last.
        last: i64,
        /// How often.
        times: u64,
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

impl Note {
    pub(super) const fn severity(&self) -> Severity {
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
    pub(super) fn same(&self, other: &Self) -> bool {
        let bits = |a: &f64, b: &f64| a.to_bits() == b.to_bits();
        match (self, other) {
            (Self::InvalidQuantile(a), Self::InvalidQuantile(b)) => bits(a, b),
            (Self::InvalidRatio(a, _), Self::InvalidRatio(b, _)) => bits(a, b),
            _ => self == other,
        }
    }
}

/// Names the metric where there is a name.
fn of_metric(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" for metric name {}", quoted(name))
    }
}

fn quoted(text: &str) -> String {
    crate::unquote::quote(text.as_bytes())
}

/// Writes a number as Go's `%g` does, as far as quantiles and ratios go.
fn number(value: f64) -> String {
    gofloat::format_g(value)
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
                "bucket label \"le\" is missing or has a malformed value of {}{}",
                quoted(label),
                of_metric(name)
            ),
            Self::MixedFloatsHistograms(name) => write!(
                f,
                "encountered a mix of histograms and floats for metric name {}",
                quoted(name)
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
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                quoted(name)
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
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                quoted(name)
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
            first,
            last,
            times,
            bucket_min,
            bucket_max,
            difference_max,
        } = self
        else {
            return Ok(());
        };
        write!(
            f,
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets {} to {}, with a max diff of {}, ",
            of_metric(metric),
            number(*bucket_min),
            number(*bucket_max),
            crate::number::format_two_digits(*difference_max),
        )?;
        // Whole seconds, as Prometheus shows them.
        let time = |ms: i64| crate::number::rfc3339(ms.div_euclid(1_000).saturating_mul(1_000));
        if first < last {
            write!(
                f,
                "over {times} samples from {} to {}",
                time(*first),
                time(*last)
            )
        } else {
            write!(f, "at {}", time(*first))
        }
    }
}
