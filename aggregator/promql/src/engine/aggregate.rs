//! Aggregations: series in groups by their labels, then each group over all instants.

mod accumulate;
mod count_values;
mod rank;

use std::collections::HashMap;

use model::Labels;

use super::evaluator::{Evaluator, Scope};
use super::value::{METADATA_LABELS, Series};
use crate::ast::Aggregate;
use crate::token::AggregateOp;
use crate::{QueryError, TextRange};

/// The series that are aggregated into one.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) labels: Labels,
    /// Indexes of the input, rising.
    pub(super) members: Vec<usize>,
}

impl Evaluator<'_> {
    pub(crate) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        range: TextRange,
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, scope);
        }
        let param = match &aggregate.param {
            Some(param) => self.eval(param, scope)?.into_scalar(),
            None => Vec::new(),
        };
        self.check_param(aggregate, &param)?;
        let input = self.eval(&aggregate.expr, scope)?.into_vector();
        let groups = group(&input, &aggregate.grouping, aggregate.without);
        match aggregate.op {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => {
                self.rank(aggregate, range, &param, input, &groups, scope.grid.len())
            }
            _ => self.accumulate(aggregate, &param, &input, groups, scope.grid.len()),
        }
    }

    fn check_param(&mut self, aggregate: &Aggregate, param: &[f64]) -> Result<(), QueryError> {
        let refused = |message: &str| Err(QueryError::Execution(message.to_owned()));
        let position = aggregate
            .param
            .as_ref()
            .map_or(aggregate.expr.range, |param| param.range);
        for value in param {
            match aggregate.op {
                AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                    if value.is_nan() {
                        return refused("Parameter value is NaN");
                    }
                    // The bounds of 64-bit integers, as doubles.
                    if *value >= 9_223_372_036_854_775_807.0 {
                        return refused(&format!(
                            "Scalar value {} overflows int64",
                            crate::number::format(*value)
                        ));
                    }
                    if *value <= -9_223_372_036_854_775_808.0 {
                        return refused(&format!(
                            "Scalar value {} underflows int64",
                            crate::number::format(*value)
                        ));
                    }
                }
                AggregateOp::LimitRatio => {
                    if value.is_nan() {
                        return refused("Ratio value is NaN");
                    }
                    if !(-1.0..=1.0).contains(value) {
                        let capped = value.clamp(-1.0, 1.0);
                        self.note(crate::Note::InvalidRatio(*value, capped), position);
                    }
                }
                AggregateOp::Quantile if !(0.0..=1.0).contains(value) => {
                    self.note(crate::Note::InvalidQuantile(*value), position);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns the groups, in order of first appearance.
fn group(input: &[Series], grouping: &[String], without: bool) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, series) in input.iter().enumerate() {
        let labels = group_labels(&series.labels, grouping, without);
        let next = groups.len();
        let place = *places.entry(labels.clone()).or_insert(next);
        if place == next {
            groups.push(Group {
                labels,
                members: Vec::new(),
            });
        }
        groups[place].members.push(index);
    }
    groups
}

/// Returns the labels of the group that a series belongs to.
pub(super) fn group_labels(labels: &Labels, grouping: &[String], without: bool) -> Labels {
    let listed = |name: &str| grouping.iter().any(|label| label == name);
    if without {
        labels.filtered(|name| !listed(name) && !METADATA_LABELS.contains(&name))
    } else if grouping.is_empty() {
        Labels::empty()
    } else {
        labels.filtered(listed)
    }
}
