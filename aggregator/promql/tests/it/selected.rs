//! What tests of the engine share: a view of a store that answers selections in a way of its own, and everything else as the store does.

use std::fmt;
use std::sync::Arc;

use model::{Labels, Matcher, TimeRange};
use storage::{
    Budget, ExemplarSeries, FamilyMetadata, Names, Querier, QueryError, Select, SeriesData,
};

/// How selections are answered.
pub(crate) trait Selecting: fmt::Debug + Send + Sync {
    /// Answers a selection, asking `inner` as it likes.
    fn select(
        &self,
        inner: &dyn Querier,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError>;
}

/// The view.
#[derive(Debug)]
pub(crate) struct Selected<S> {
    pub(crate) inner: Arc<dyn Querier>,
    pub(crate) by: S,
}

impl<S: Selecting> Querier for Selected<S> {
    fn select(
        &self,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError> {
        self.by.select(&*self.inner, select, budget)
    }

    fn series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError> {
        self.inner.series(matcher_sets, range, limit, budget)
    }

    fn label_names(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        self.inner.label_names(matcher_sets, range, limit, budget)
    }

    fn label_values(
        &self,
        name: &str,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        self.inner
            .label_values(name, matcher_sets, range, limit, budget)
    }

    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError> {
        self.inner.exemplars(matcher_sets, range, budget)
    }

    fn metadata(
        &self,
        metric: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FamilyMetadata>, QueryError> {
        self.inner.metadata(metric, limit)
    }
}
