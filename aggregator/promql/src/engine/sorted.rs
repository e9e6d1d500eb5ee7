//! Sorting that notices when nobody waits for it any more.

use std::cmp::Ordering;

use storage::{Budget, BudgetExceeded};

/// So many are sorted at once, in a few milliseconds.
const RUN: usize = 4_096;

/// Returns the items in order; equal ones stay as they are.
///
/// Runs are sorted one by one, then merged two by two, with a look at the budget in between. Short lists take one run.
pub(crate) fn sorted<T>(
    items: Vec<T>,
    budget: &dyn Budget,
    order: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, BudgetExceeded> {
    let mut runs: Vec<Vec<T>> = Vec::with_capacity(items.len().div_ceil(RUN));
    let mut items = items.into_iter();
    while items.len() > 0 {
        budget.check()?;
        let mut run: Vec<T> = items.by_ref().take(RUN).collect();
        run.sort_by(&order);
        runs.push(run);
    }
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            merged.push(match pairs.next() {
                Some(right) => merge(left, right, budget, &order)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merge<T>(
    left: Vec<T>,
    right: Vec<T>,
    budget: &dyn Budget,
    order: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, BudgetExceeded> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        if out.len().is_multiple_of(RUN) {
            budget.check()?;
        }
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if order(b, a) == Ordering::Less => right.next(),
            (Some(_), _) => left.next(),
            (None, _) => right.next(),
        };
        match next {
            Some(item) => out.push(item),
            None => return Ok(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::Unlimited;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn they_come_as_a_stable_sort_has_them(keys in prop::collection::vec(0_u8..50, 0..20_000)) {
            let items: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            let found = sorted(items, &Unlimited, |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(found, Ok(expected));
        }
    }
}
