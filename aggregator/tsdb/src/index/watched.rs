//! An index whose long scans end when the query does.

use std::ops::ControlFlow;

use model::Labels;
use roaring::RoaringBitmap;
use storage::Budget;

use super::{IndexRead, SeriesId, ValueId};

/// Values between two looks at the budget: a regular expression takes microseconds for each, at worst a hundred times that.
const VALUES_PER_LOOK: usize = 64;

/// Reads an index for a query. When its budget refuses, scans over values end early: what they found is worth nothing then, and whoever
/// asked looks at the budget before using it.
#[derive(Debug)]
pub(crate) struct Watched<'a, I> {
    index: &'a I,
    budget: &'a dyn Budget,
}

impl<'a, I> Watched<'a, I> {
    pub(crate) const fn new(index: &'a I, budget: &'a dyn Budget) -> Self {
        Self { index, budget }
    }
}

impl<I: IndexRead> IndexRead for Watched<'_, I> {
    type Error = I::Error;

    fn all(&self) -> RoaringBitmap {
        self.index.all()
    }

    fn names(&self) -> Result<Vec<String>, Self::Error> {
        self.index.names()
    }

    fn find_value(&self, name: &str, value: &str) -> Result<Option<ValueId>, Self::Error> {
        self.index.find_value(name, value)
    }

    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, ValueId) -> ControlFlow<()>,
    ) -> Result<(), Self::Error> {
        let mut count = 0_usize;
        self.index.visit_values(name, prefix, &mut |text, value| {
            if count.is_multiple_of(VALUES_PER_LOOK) && self.budget.check().is_err() {
                return ControlFlow::Break(());
            }
            count += 1;
            visit(text, value)
        })
    }

    fn union(
        &self,
        name: &str,
        values: &[ValueId],
        out: &mut RoaringBitmap,
    ) -> Result<(), Self::Error> {
        self.index.union(name, values, out)
    }

    fn with_name(&self, name: &str) -> Result<RoaringBitmap, Self::Error> {
        self.index.with_name(name)
    }

    fn labels(&self, series: SeriesId) -> Result<Option<Labels>, Self::Error> {
        self.index.labels(series)
    }
}
