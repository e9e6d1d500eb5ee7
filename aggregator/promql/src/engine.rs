//! The engine: parses, evaluates a whole range per series in columns, returns columns.

use std::time::Duration;

use model::TimestampMs;
use storage::{Budget, Queryable};

use crate::{Grid, Output, ParserOptions, QueryError};

/// Points per series that the HTTP API allows in one range query.
pub const POINTS_PER_SERIES_MAX: usize = 11_000;

/// What an engine is set to; the defaults are Prometheus'.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// How long a sample stands for its series (5 minutes).
    pub lookback: Duration,
    /// The step of subqueries that do not name one (1 minute, as Prometheus' default evaluation interval).
    pub subquery_step: Duration,
    /// Samples that one query may hold at once (50 million).
    pub samples_max: u64,
    /// Remove `__name__` at the end of a query instead of in each function (off).
    pub delayed_name_removal: bool,
    /// Let rates use the start times of counters (off).
    pub start_timestamps: bool,
    /// Treat `__type__` and `__unit__` as parts of a metric's name (off).
    pub type_and_unit_labels: bool,
    /// What the parser accepts.
    pub parser: ParserOptions,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            subquery_step: Duration::from_secs(60),
            samples_max: 50_000_000,
            delayed_name_removal: false,
            start_timestamps: false,
            type_and_unit_labels: false,
            parser: ParserOptions::default(),
        }
    }
}

/// What one query may have of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Replaces [`EngineConfig::lookback`] (parameter `lookback_delta`).
    pub lookback: Option<Duration>,
}

/// Evaluates PromQL over anything [`Queryable`]. Holds no data, no threads and no clock; share it freely.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// Returns an engine with these settings.
    pub fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// Returns the settings.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Evaluates `text` at one instant.
    pub fn instant(
        &self,
        store: &dyn Queryable,
        text: &str,
        at: TimestampMs,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        let _ = (store, text, at, options, budget);
        Err(QueryError::Execution(
            "evaluation is not built yet".to_owned(),
        ))
    }

    /// Evaluates `text` at all instants of `grid`.
    pub fn range(
        &self,
        store: &dyn Queryable,
        text: &str,
        grid: Grid,
        options: &QueryOptions,
        budget: &dyn Budget,
    ) -> Result<Output, QueryError> {
        let _ = (store, text, grid, options, budget);
        Err(QueryError::Execution(
            "evaluation is not built yet".to_owned(),
        ))
    }
}
