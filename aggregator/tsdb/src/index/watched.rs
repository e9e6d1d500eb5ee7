//! An index that is asked no more when the query is over: thousands of matchers, and scans over many values, take seconds.

use std::ops::ControlFlow;

use model::Labels;
use roaring::RoaringBitmap;
use storage::Budget;

use super::{IndexRead, SeriesId, ValueId};

/// Values between two looks at the budget: a regular expression takes microseconds for each, at worst a hundred times that.
const VALUES_PER_LOOK: usize = 64;

/// Reads an index for a query. When its budget refuses, scans over values end early, and sets of series are empty: what was found is worth nothing then, and whoever
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

    fn is_over(&self) -> bool {
        self.budget.check().is_err()
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
            if count.is_multiple_of(VALUES_PER_LOOK) && self.is_over() {
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
        if self.is_over() {
            return Ok(());
        }
        self.index.union(name, values, out)
    }

    fn with_name(&self, name: &str) -> Result<RoaringBitmap, Self::Error> {
        if self.is_over() {
            return Ok(RoaringBitmap::new());
        }
        self.index.with_name(name)
    }

    fn labels(&self, series: SeriesId) -> Result<Option<Labels>, Self::Error> {
        self.index.labels(series)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use model::{MatchOp, Matcher};
    use storage::{BudgetExceeded, Unlimited};

    use super::*;

    /// Counts how often it is asked for sets of series.
    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl IndexRead for Counting {
        type Error = Infallible;

        fn all(&self) -> RoaringBitmap {
            [1, 2].into()
        }

        fn names(&self) -> Result<Vec<String>, Infallible> {
            Ok(Vec::new())
        }

        fn find_value(&self, _: &str, _: &str) -> Result<Option<ValueId>, Infallible> {
            Ok(None)
        }

        fn visit_values(
            &self,
            _: &str,
            _: &str,
            _: &mut dyn FnMut(&str, ValueId) -> ControlFlow<()>,
        ) -> Result<(), Infallible> {
            Ok(())
        }

        fn union(&self, _: &str, _: &[ValueId], _: &mut RoaringBitmap) -> Result<(), Infallible> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }

        fn with_name(&self, _: &str) -> Result<RoaringBitmap, Infallible> {
            self.0.set(self.0.get() + 1);
            Ok(self.all())
        }

        fn labels(&self, _: SeriesId) -> Result<Option<Labels>, Infallible> {
            Ok(None)
        }
    }

    #[derive(Debug)]
    struct Over;

    impl Budget for Over {
        fn charge(&self, _: u64, _: u64) -> Result<(), BudgetExceeded> {
            self.check()
        }

        fn release(&self, _: u64) {}

        fn check(&self) -> Result<(), BudgetExceeded> {
            Err(BudgetExceeded::Cancelled { phase: "a test" })
        }
    }

    #[test]
    fn matchers_are_not_answered_for_a_query_that_is_over() {
        let matchers: Vec<Matcher> = (0..1_000)
            .flat_map(|_| ["", "x"])
            .map(|value| Matcher::new("pod", MatchOp::NotEqual, value).unwrap())
            .collect();
        let asked = |budget: &dyn Budget| {
            let index = Counting::default();
            let Ok(_) = crate::index::select(&Watched::new(&index, budget), &matchers);
            index.0.get()
        };
        assert_eq!(asked(&Unlimited), 2_000);
        assert_eq!(asked(&Over), 0);
    }
}
