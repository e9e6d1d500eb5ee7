//! PromQL: lexer, parser, printer, engine, annotations, and a runner for Prometheus' test scripts.
//!
//! [`Engine`] evaluates a text over anything [`storage::Queryable`]: a whole range at once, per series, in columns. It is synchronous
//! and holds no data; deadline, cancellation and limits come in through [`storage::Budget`].
//!
//! Never here: HTTP, JSON, clocks, tokio, knowledge of how series are stored.

#![forbid(unsafe_code)]

mod annotations;
mod calendar;
mod engine;
mod error;
pub mod number;
mod options;
mod parse_error;
mod position;
mod result;

pub use annotations::{Annotation, Annotations, HistogramOperation, MetricName, Note, Severity};
pub use engine::{Engine, EngineConfig, POINTS_PER_SERIES_MAX, QueryOptions};
pub use error::{ErrorKind, QueryError};
pub use options::ParserOptions;
pub use parse_error::{ParseError, ParseErrors};
pub use position::{LineColumn, TextRange};
pub use result::{
    Column, Grid, GridSeries, Output, QueryResult, QueryStats, SampleSeries, VectorSample,
};
