//! Sorting: instant queries only, since range results are ordered by labels.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::labels::text;
use crate::ast::Call;
use crate::engine::evaluator::{Evaluator, Scope};
use crate::engine::sorted::sorted;
use crate::engine::value::Series;
use crate::functions::labels::natural_order;
use crate::{Note, QueryError, TextRange};

impl Evaluator<'_> {
    pub(super) fn sort(
        &mut self,
        call: &Call,
        range: TextRange,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let name = call.function.name;
        if !self.is_instant {
            self.note(Note::SortInRangeQuery, range);
        }
        let mut series = self.vector_arg(call, 0, scope)?;
        let descending = name.ends_with("_desc");
        if name.starts_with("sort_by_label") {
            let labels = labels_to_sort_by(call, &series);
            return Ok(sorted(series, self.budget, |a, b| {
                let order = by_labels(a, b, &labels);
                if descending { order.reverse() } else { order }
            })?);
        }
        for series in &mut series {
            series.column.histograms = Vec::new();
        }
        series.retain(|series| series.column.has_any());
        if scope.grid.len() == 1 {
            series = sorted(series, self.budget, |a, b| by_value(a, b, descending))?;
        }
        Ok(series)
    }
}

/// Returns the labels that are asked for, each once, without those that no series has: they make no difference.
fn labels_to_sort_by(call: &Call, series: &[Series]) -> Vec<String> {
    let pairs = series.iter().flat_map(|series| series.labels.iter());
    let mut present: HashSet<&str> = pairs.map(|(name, _)| name).collect();
    (1..call.args.len())
        .map(|index| text(call, index))
        .filter(|name| present.remove(name.as_str()))
        .collect()
}

fn by_labels(a: &Series, b: &Series, labels: &[String]) -> Ordering {
    labels
        .iter()
        .map(|label| {
            natural_order(
                a.labels.value_or_empty(label),
                b.labels.value_or_empty(label),
            )
        })
        .find(|order| *order != Ordering::Equal)
        .unwrap_or_else(|| a.labels.cmp(&b.labels))
}

/// NaN comes last, whichever way.
fn by_value(a: &Series, b: &Series, descending: bool) -> Ordering {
    let value = |series: &Series| series.column.float(0).unwrap_or(f64::NAN);
    let (a, b) = (value(a), value(b));
    let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    a.is_nan()
        .cmp(&b.is_nan())
        .then(if descending { order.reverse() } else { order })
}
