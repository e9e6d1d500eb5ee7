//! What a store of samples offers: [`Appender`] for those who bring data, [`Queryable`] for those who ask, and nothing of how.
//!
//! `ingest` writes through [`Appender`], `promql`, `rules` and `api` read through [`Queryable`]; `tsdb` implements both, and so does
//! the in-memory [`MemoryStore`] that tests use as a twin. Data moves in columns: a series is a list of [`Segment`]s that share
//! their [`Times`] with the other series of the cohort, so that whoever evaluates computes window bounds once per cohort.
//!
//! Never here: files, threads, clocks, query languages.

#![forbid(unsafe_code)]

mod append;
mod budget;
mod memory;
mod process_memory;
mod query;
mod refusal;
mod rollup;
mod segment;

pub use append::{Announced, AppendOutcome, Appender, Busy, Done, Lane, Source};
pub use budget::{Budget, BudgetExceeded, Unlimited};
pub use memory::MemoryStore;
pub use process_memory::ProcessMemory;
pub use query::{
    ExemplarSeries, FamilyMetadata, Names, Querier, QueryError, Queryable, RollupUse, Select,
    SelectHints, Selection, SelectionReader, Visit, WantedLabels,
};
pub use refusal::{RefusalCounts, RefusalReason, Refusals, RefusedSample};
pub use rollup::{
    BucketLength, BucketShape, Rollup, RollupBuilder, RollupColumn, RollupColumns, Rollups,
};
pub use segment::{Samples, Segment, SegmentValues, SeriesData, Times};
