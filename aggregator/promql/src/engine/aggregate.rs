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
use crate::{Note, QueryError, TextRange};

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
        let refused = |message: String| Err(QueryError::Execution(message));
        let position = aggregate
            .param
            .as_ref()
            .map_or(aggregate.expr.range, |param| param.range);
        let has_nan = param.iter().any(|value| value.is_nan());
        let least = param.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = param.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let written = crate::number::format;
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => {
                if has_nan {
                    return refused("Parameter value is NaN".to_owned());
                }
                if least <= INTEGER_MIN {
                    return refused(format!("Scalar value {} underflows int64", written(least)));
                }
                if greatest >= INTEGER_MAX {
                    return refused(format!(
                        "Scalar value {} overflows int64",
                        written(greatest)
                    ));
                }
            }
            AggregateOp::LimitRatio => {
                if has_nan {
                    return refused("Ratio value is NaN".to_owned());
                }
                if greatest > 1.0 {
                    self.note(Note::InvalidRatio(greatest, 1.0), position);
                }
                if least < -1.0 {
                    self.note(Note::InvalidRatio(least, -1.0), position);
                }
            }
            AggregateOp::Quantile => {
                let outside = [
                    has_nan.then_some(f64::NAN),
                    (greatest > 1.0).then_some(greatest),
                    (least < 0.0).then_some(least),
                ];
                for quantile in outside.into_iter().flatten() {
                    self.note(Note::InvalidQuantile(quantile), position);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The least and greatest doubles that 64-bit integers are taken to hold.
const INTEGER_MIN: f64 = -9_223_372_036_854_775_808.0;
const INTEGER_MAX: f64 = 9_223_372_036_854_774_784.0;

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
