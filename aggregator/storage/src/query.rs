//! The way out.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use model::{Exemplar, Labels, Matcher, Metadata, TimeRange};

use crate::{BucketLength, Budget, BudgetExceeded, RollupColumns, Samples, SeriesData};

/// Why a store cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query may not go on.
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
    /// The store is not open yet; asking again later can succeed.
    #[error("storage is not ready: {0}")]
    NotReady(&'static str),
    /// Data is damaged or unreadable; the rest of the store is not affected.
    #[error("cannot read stored data: {0}")]
    Damaged(String),
}

/// What a reader tells the store of its purpose, so that it can read less; never changes the result of the query it describes.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// The step of a range query.
    pub step: Option<Duration>,
    /// The range of a range selector.
    pub window: Option<Duration>,
    /// The function applied to the selector.
    pub function: Option<String>,
    /// Only the newest sample of each series in the range, be it a stale mark, is looked at: others may be left out.
    pub newest: bool,
    /// How summaries of a downsampling tier may stand for samples; `None`: raw samples only.
    pub rollups: Option<RollupUse>,
}

/// What a reader can do with summaries instead of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupUse {
    /// The columns of values that it needs beside counts and times.
    pub columns: RollupColumns,
    /// A number of milliseconds that all times at which the reader looks, and the starts of its windows, are multiples of (since the Unix
    /// epoch); 0: multiples of everything.
    ///
    /// Buckets whose length divides it give what samples give. Others may stand where samples are gone: a bucket then belongs to the
    /// windows that hold all of it.
    pub aligned_to_ms: u64,
}

impl RollupUse {
    /// Returns whether buckets of this length give what samples give.
    pub const fn fits(&self, length: BucketLength) -> bool {
        self.aligned_to_ms
            .is_multiple_of(length.as_ms().unsigned_abs())
    }
}

/// One selection of series.
#[derive(Clone, Debug)]
pub struct Select<'a> {
    /// All must match.
    pub matchers: &'a [Matcher],
    /// Samples of interest lie in this closed range.
    pub range: TimeRange,
    /// What for.
    pub hints: SelectHints,
}

/// Which labels a reader wants of the series that it selects.
#[derive(Clone, Copy, Debug)]
pub enum WantedLabels<'a> {
    /// All.
    All,
    /// Those of these names: what an aggregation by them looks at. Series that differ in others bear the same labels then.
    Only(&'a [&'a str]),
}

impl WantedLabels<'_> {
    /// Returns whether labels of this name are wanted.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(&name),
        }
    }
}

/// Names or values, sorted and unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Sorted, unique.
    pub names: Vec<String>,
    /// Whether a limit cut the list.
    pub truncated: bool,
}

impl Names {
    /// Returns at most `limit` of these (0: no limit).
    pub fn of(names: BTreeSet<&str>, limit: usize) -> Self {
        let truncated = limit > 0 && names.len() > limit;
        let keep = if truncated { limit } else { names.len() };
        Self {
            names: names.into_iter().take(keep).map(str::to_owned).collect(),
            truncated,
        }
    }
}

/// A series' exemplars.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarSeries {
    /// The series.
    pub labels: Labels,
    /// In order of time.
    pub exemplars: Vec<Exemplar>,
}

/// What a metric family says of itself, each distinct saying once: targets may disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyMetadata {
    /// The family's name.
    pub metric: Arc<str>,
    /// Its sayings, in order of arrival.
    pub metadata: Vec<Metadata>,
}

/// Takes a series with its samples, and says whether it wants more.
pub type Visit<'a> = dyn FnMut(&Labels, Samples<'_>) -> ControlFlow<()> + 'a;

/// Series that were found, to be read: by several threads at once, stretch by stretch. Numbered in the order of [`Querier::select_each`].
pub trait Selection: Send + Sync {
    /// Returns how many there are.
    fn len(&self) -> usize;

    /// Returns whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a reader, for one thread.
    fn reader(&self) -> Box<dyn SelectionReader + '_>;
}

/// Reads series of a selection, quickest in their order.
pub trait SelectionReader {
    /// Calls `visit` with each of these series that has samples in the range, until it breaks.
    fn read(&mut self, series: Range<usize>, visit: &mut Visit<'_>) -> Result<(), QueryError>;
}

/// Something that can be asked.
pub trait Queryable: Send + Sync + fmt::Debug {
    /// Returns a view of all that was readable at this moment, whole rows only; holding it does not block ingest.
    fn querier(&self) -> Result<Arc<dyn Querier>, QueryError>;

    /// Waits until views show what was acknowledged before this call: some milliseconds, ten seconds at most. For whoever reads what it wrote.
    fn catch_up(&self) {}
}

/// A fixed view of a store.
///
/// `limit` counts results, 0 = no limit. Sets of matchers are conjunctions; several sets are unions; no set at all means "everything".
/// A series without samples in the range may be listed when its block overlaps the range, as in Prometheus.
pub trait Querier: Send + Sync + fmt::Debug {
    /// Returns the series that match, sorted by labels, each once, with their samples in the range.
    fn select(
        &self,
        select: &Select<'_>,
        budget: &dyn Budget,
    ) -> Result<Vec<SeriesData>, QueryError>;

    /// Returns the series that match, each once, with the labels that are wanted, to be read: sorted by labels when all are wanted, else in
    /// no order. Samples are given back to the budget behind each visit, so that whoever makes less of them can go through more of them
    /// than fit.
    fn selection<'a>(
        &'a self,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        budget: &'a dyn Budget,
    ) -> Result<Box<dyn Selection + 'a>, QueryError> {
        let mut series = self.select(select, budget)?;
        if let WantedLabels::Only(_) = wanted {
            for one in &mut series {
                one.labels = one.labels.filtered(|name| wanted.contains(name));
            }
        }
        Ok(Box::new(Held(series)))
    }

    /// Calls `visit` with each series of a [selection](Self::selection) that has samples in the range, until it breaks.
    fn select_each(
        &self,
        select: &Select<'_>,
        wanted: WantedLabels<'_>,
        budget: &dyn Budget,
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let selection = self.selection(select, wanted, budget)?;
        let mut reader = selection.reader();
        reader.read(0..selection.len(), visit)
    }

    /// Returns the label sets that match any of the sets, sorted; the flag tells whether `limit` cut them.
    fn series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<(Vec<Labels>, bool), QueryError>;

    /// Returns the names of labels of the series that match; without an index of its own, by going through them.
    fn label_names(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        let (series, _) = self.series(matcher_sets, range, 0, budget)?;
        let names = series.iter().flat_map(Labels::iter).map(|(name, _)| name);
        Ok(Names::of(names.collect(), limit))
    }

    /// Returns the values that the label `name` has in the series that match.
    fn label_values(
        &self,
        name: &str,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
        budget: &dyn Budget,
    ) -> Result<Names, QueryError> {
        let (series, _) = self.series(matcher_sets, range, 0, budget)?;
        let values = series.iter().filter_map(|labels| labels.get(name));
        Ok(Names::of(values.collect(), limit))
    }

    /// Returns the exemplars in the range of the series that match any of the sets, sorted by labels.
    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        budget: &dyn Budget,
    ) -> Result<Vec<ExemplarSeries>, QueryError>;

    /// Returns what metric families say of themselves, sorted by name; `metric` asks for one, `limit` bounds the families.
    fn metadata(
        &self,
        metric: Option<&str>,
        limit: usize,
    ) -> Result<Vec<FamilyMetadata>, QueryError>;
}

/// Series that are held with their samples.
struct Held(Vec<SeriesData>);

impl Selection for Held {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn reader(&self) -> Box<dyn SelectionReader + '_> {
        Box::new(HeldReader(&self.0))
    }
}

struct HeldReader<'a>(&'a [SeriesData]);

impl SelectionReader for HeldReader<'_> {
    fn read(&mut self, series: Range<usize>, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        for one in self.0.get(series).unwrap_or_default() {
            if visit(&one.labels, Samples::Segments(&one.segments)).is_break() {
                break;
            }
        }
        Ok(())
    }
}
