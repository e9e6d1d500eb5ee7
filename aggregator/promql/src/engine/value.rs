//! What expressions evaluate to, over a whole grid.

use std::collections::HashMap;

use model::{Labels, METRIC_NAME};
use storage::Budget;

use super::evaluator::Evaluator;
use crate::{Column, QueryError};

/// The labels that say what a metric is; they go when its values no longer are that.
pub(crate) const METADATA_LABELS: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// So many series are gone over between two looks at the budget.
pub(crate) const SERIES_PER_LOOK: usize = 256;

/// A value at every instant of a grid.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Vec<f64>),
    Text(Vec<u8>),
    Vector(Vec<Series>),
}

/// A series of an instant vector.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// Whether the metric's name is to be removed in the end.
    pub(crate) drop_name: bool,
    pub(crate) column: Column,
}

/// A series as it comes out of an evaluation that goes series by series: lent to whoever takes it.
#[derive(Debug)]
pub(crate) struct Evaluated<'a> {
    pub(crate) labels: &'a Labels,
    /// Whether the values no longer are what the labels that name the metric say: those are to be taken off.
    pub(crate) renamed: bool,
    pub(crate) drop_name: bool,
    /// May be taken out: the next series gets another.
    pub(crate) column: &'a mut Column,
}

/// Takes series one after the other.
pub(crate) type Emit<'a, 'q> =
    dyn FnMut(&mut Evaluator<'q>, Evaluated<'_>) -> Result<(), QueryError> + 'a;

impl Value {
    pub(crate) fn into_vector(self) -> Vec<Series> {
        match self {
            Self::Vector(series) => series,
            Self::Scalar(_) | Self::Text(_) => Vec::new(),
        }
    }

    pub(crate) fn into_scalar(self) -> Vec<f64> {
        match self {
            Self::Scalar(values) => values,
            Self::Text(_) | Self::Vector(_) => Vec::new(),
        }
    }

    /// Returns how many columns it has.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::Vector(series) => series.len(),
            Self::Scalar(_) | Self::Text(_) => 1,
        }
    }

    /// Returns the points and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        match self {
            Self::Scalar(values) => (0, values.len() as u64 * 8),
            Self::Text(text) => (0, text.len() as u64),
            Self::Vector(series) => series.iter().fold((0, 0), |(points, bytes), series| {
                (
                    points + series.column.present() as u64,
                    bytes + series.bytes(),
                )
            }),
        }
    }
}

impl Series {
    /// Returns the bytes that this series holds, for budgets.
    pub(crate) fn bytes(&self) -> u64 {
        self.column.bytes() + self.labels.text_bytes() as u64 + 64
    }
}

/// Returns `labels` without those that name the metric.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    if METADATA_LABELS
        .iter()
        .all(|name| labels.get(name).is_none())
    {
        labels.clone()
    } else {
        labels.filtered(|name| !METADATA_LABELS.contains(&name))
    }
}

/// Brings series of equal labels together, which must not have values at the same instant.
pub(crate) fn merge_same_labels(
    series: Vec<Series>,
    budget: &dyn Budget,
) -> Result<Vec<Series>, QueryError> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(series.len());
    let mut merged: Vec<Series> = Vec::with_capacity(series.len());
    for (count, next) in series.into_iter().enumerate() {
        if count.is_multiple_of(SERIES_PER_LOOK) {
            budget.check()?;
        }
        match places.get(&next.labels) {
            None => {
                places.insert(next.labels.clone(), merged.len());
                merged.push(next);
            }
            Some(place) => merge_into(&mut merged[*place], &next)?,
        }
    }
    Ok(merged)
}

fn merge_into(target: &mut Series, other: &Series) -> Result<(), QueryError> {
    target.drop_name |= other.drop_name;
    for index in 0..other.column.len() {
        let Some(value) = other.column.value(index) else {
            continue;
        };
        if target.column.is_present(index) {
            return Err(same_labelset());
        }
        target.column.set(index, value);
    }
    Ok(())
}

/// The error for two values of one series at one instant.
pub(crate) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}
