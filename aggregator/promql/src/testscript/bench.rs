//! Runs queries and adds up what they cost.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use model::TimestampMs;
use storage::{MemoryStore, Unlimited};

use super::Cost;
use crate::ast::Expr;
use crate::{Engine, Grid, Output, QueryError, QueryOptions, parse};

/// An engine with a clock beside it.
pub(super) struct Bench<'a> {
    engine: Engine,
    now: &'a dyn Fn() -> Duration,
    cost: Cell<Cost>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(engine: Engine, now: &'a dyn Fn() -> Duration) -> Self {
        Self {
            engine,
            now,
            cost: Cell::default(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost.get()
    }

    pub(super) fn instant(
        &self,
        store: &MemoryStore,
        query: &str,
        at: TimestampMs,
    ) -> Result<Output, QueryError> {
        self.measured(query, |expr| {
            let options = QueryOptions::default();
            (self.engine).instant_expr(store, expr, at, &options, &Unlimited)
        })
    }

    pub(super) fn range(
        &self,
        store: &MemoryStore,
        query: &str,
        grid: Grid,
    ) -> Result<Output, QueryError> {
        self.measured(query, |expr| {
            let options = QueryOptions::default();
            (self.engine).range_expr(store, expr, grid, &options, &Unlimited)
        })
    }

    fn measured(
        &self,
        query: &str,
        evaluate: impl FnOnce(&Expr) -> Result<Output, QueryError>,
    ) -> Result<Output, QueryError> {
        let begun = (self.now)();
        let parsed = parse(query, self.engine.config().parser);
        let parsed_at = (self.now)();
        let output = parsed
            .map_err(QueryError::from)
            .and_then(|expr| evaluate(&expr));
        let mut cost = self.cost.get();
        cost.merge(Cost {
            queries: 1,
            parse: parsed_at.saturating_sub(begun),
            evaluate: (self.now)().saturating_sub(parsed_at),
        });
        self.cost.set(cost);
        output
    }
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("engine", &self.engine)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
