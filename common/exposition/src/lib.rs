//! Prometheus text 0.0.4, OpenMetrics 1.0 and delimited protobuf: streaming parsers that borrow their input, and a streaming writer
//! of the two text formats; text becomes protobuf by [`to_protobuf`].
//!
//! **Reading.** [`TextParser`] and [`OpenMetricsParser`] are iterators over [`Entry`]s. An entry borrows the input; labels are
//! checked once and decoded lazily ([`Series::labels`]), so a caller that remembers a target's layout looks a series up by its
//! bytes ([`Series::raw`]) and never decodes it. Text 0.0.4 is read as leniently as Prometheus reads it. OpenMetrics is strict:
//! above its lexer sits a layer with state (order and grouping of families, suffixes and labels per type, histogram buckets),
//! whose memory is at most a few dozen bytes per sample of the input. [`ProtobufParser`] yields whole families, decoded as they are
//! asked for.
//!
//! **Writing.** A [`Writer`] takes a family's header, then its samples, and appends to a `String`; it knows what each
//! [`Format`] calls a counter's or a histogram's samples.
//!
//! Invariants:
//! - Foreign bytes never panic. Every line is at most [`LINE_BYTES_MAX`] long and has at most [`LABELS_MAX`] labels; the length
//!   of the input is its owner's to bound. Nothing recurses.
//! - An error says line, column, what was expected and what was there ([`ParseError`]); after an error a parser ends.
//! - Text 0.0.4 is a format of lines: a raw line feed inside a quoted string is refused, where Prometheus lets it pass.
//!
//! Never here: HTTP, compression, limits per target, staleness (those are `scrape`'s).

#![forbid(unsafe_code)]

mod bound;
mod cursor;
mod entry;
mod error;
mod format;
mod lines;
mod media;
mod number;
mod openmetrics;
mod protobuf;
mod series;
mod text;
mod writer;

pub use bound::canonical_bound;
pub use entry::{Entry, ExemplarEntry, SampleEntry};
pub use error::ParseError;
pub use format::Format;
pub use lines::LINE_BYTES_MAX;
pub use media::Media;
pub use number::{format_openmetrics, parse_float, write_openmetrics};
pub use openmetrics::{EXEMPLAR_CHARS_MAX, OpenMetricsParser};
pub use protobuf::{
    FamilyMessage, HistogramMessage, MetricMessage, MetricValue, ProtobufError, ProtobufParser,
    SummaryMessage, to_protobuf,
};
pub use series::{LABELS_MAX, LabelPairs, Series, Text, is_label_name, is_metric_name};
pub use text::TextParser;
pub use writer::{Family, Part, Point, Writer};
