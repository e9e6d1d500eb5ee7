//! The vocabulary of monitoring data: labels, samples, native histograms, staleness, matchers, time.
//!
//! Every other crate speaks in these types. They are values: bad ones cannot be built ([`Labels`] exist only sorted, unique and
//! without empty parts; a [`Matcher`]'s regular expression is compiled and bounded), and nothing here does IO, reads a clock or
//! knows how anything is stored, sent or shown.

#![forbid(unsafe_code)]

mod duration;
mod exemplar;
mod histogram;
mod labels;
mod matcher;
mod metadata;
mod re2;
mod sample;
mod spans;
mod time;

pub use duration::{DurationError, format_duration, parse_duration};
pub use exemplar::Exemplar;
pub use histogram::{
    Buckets, CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, HistogramError, SCHEMA_MAX,
    SCHEMA_MIN, Span,
};
pub use labels::{Labels, LabelsBuilder, LabelsError, METRIC_NAME};
pub use matcher::{
    AnchoredRegex, MatchOp, Matcher, MatcherError, REGEX_BYTES_MAX, REGEX_COMPILED_BYTES_MAX,
    unanchored_regex,
};
pub use metadata::{Metadata, MetricType};
pub use sample::{STALE_NAN, Sample, VOID_NAN, Value, is_stale, is_void};
pub use spans::Spans;
pub use time::{TimeRange, TimestampMs};
