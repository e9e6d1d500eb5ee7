//! PromQL: lexer, parser, printer, engine, annotations, and a runner for Prometheus' test scripts.
//!
//! [`Engine`] evaluates a text over anything [`storage::Queryable`]: a whole range at once, per series, in columns. It is synchronous
//! and holds no data; deadline, cancellation and limits come in through [`storage::Budget`].
//!
//! Never here: HTTP, JSON, clocks, tokio, knowledge of how series are stored.

#![forbid(unsafe_code)]

mod annotations;
pub mod ast;
mod calendar;
mod check;
mod engine;
mod error;
mod functions;
pub mod generator;
mod histogram;
mod lexer;
pub mod number;
mod options;
mod parse_error;
mod parser;
mod plan;
mod position;
mod printer;
mod reach;
mod result;
mod selector;
pub mod testscript;
mod token;
mod unquote;

pub use annotations::{Annotation, Annotations, HistogramOperation, MetricName, Note, Severity};
pub use engine::{Engine, EngineConfig, POINTS_PER_SERIES_MAX, QueryOptions, related};
pub use error::{ErrorKind, QueryError};
pub use functions::{Function, Variadic};
pub use histogram::{BucketView, HistogramView, histogram_text};
pub use options::ParserOptions;
pub use parse_error::{ParseError, ParseErrors};
pub use parser::{EXPRESSION_HEIGHT_MAX, NESTING_MAX, parse, parse_selector, parse_within};
pub use plan::PlanNode;
pub use position::{LineColumn, TextRange};
pub use printer::prettify;
pub use reach::Reach;
pub use result::{
    Column, Grid, GridSeries, Outcome, Output, QueryResult, QueryStats, SampleSeries, VectorSample,
};
pub use selector::{earliest, selectors};
pub use token::{AggregateOp, Modifier, Operator};
