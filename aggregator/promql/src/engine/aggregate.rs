//! Aggregations: series in groups by their labels, then each group over all instants.

mod accumulate;
mod count_values;
mod rank;

use std::collections::HashMap;

use model::{Labels, METRIC_NAME, MatchOp};
use storage::{Budget, WantedLabels};

use super::evaluator::{Evaluator, Scope};
use super::select::Take;
use super::value::{Emit, Evaluated, METADATA_LABELS, SERIES_PER_LOOK, Series};
use crate::ast::{Aggregate, Expr, ExprKind, LabelMatcher, VectorSelector};
use crate::token::AggregateOp;
use crate::{Note, QueryError, TextRange};

/// The series that are aggregated into one.
#[derive(Debug)]
pub(super) struct Group {
    /// Indexes of the input, rising.
    pub(super) members: Vec<usize>,
}

impl<'q> Evaluator<'q> {
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
        match aggregate.op {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => {
                let input = self.eval(&aggregate.expr, scope)?.into_vector();
                let groups = group(&input, &aggregate.grouping, aggregate.without, self.budget)?;
                self.rank(aggregate, range, &param, input, &groups, scope.grid.len())
            }
            _ => self.accumulate(aggregate, &param, scope),
        }
    }

    /// Emits the series to aggregate, one by one: without holding them, and with no more labels than are looked at, where that can be told
    /// to the store.
    fn each_aggregated(
        &mut self,
        aggregate: &Aggregate,
        scope: Scope,
        emit: &mut Emit<'_, 'q>,
    ) -> Result<(), QueryError> {
        let inner = aggregate.expr.unwrap_parens();
        let Some(names) = self.names_of_groups(aggregate, inner, scope) else {
            let input = self.eval(&aggregate.expr, scope)?.into_vector();
            return input.into_iter().try_for_each(|mut series| {
                let found = Evaluated {
                    labels: &series.labels,
                    renamed: false,
                    drop_name: series.drop_name,
                    column: &mut series.column,
                };
                emit(self, found)
            });
        };
        let wanted = WantedLabels::Only(&names);
        let node = self.begin_node(inner);
        let (mut series, mut points, explains) = (0, 0, node.is_some());
        let mut counted = |evaluator: &mut Self, found: Evaluated<'_>| {
            if explains {
                series += 1;
                points += found.column.present() as u64;
            }
            emit(evaluator, found)
        };
        match &inner.kind {
            ExprKind::Vector(selector) => {
                self.each_instant_sample(selector, scope, Take::Value, wanted, &mut counted)?;
            }
            ExprKind::Call(call) => {
                let range_arg = call.range_arg().unwrap_or_default();
                self.each_of_range_call(call, range_arg, scope, wanted, &mut counted)?;
            }
            _ => {}
        }
        self.end_node(node, || (series, points, 0));
        Ok(())
    }

    /// Returns the names of the labels that an aggregation and what it aggregates look at: those it groups by, and the metric's name for
    /// notes. `None` when they are more: it tells series apart, or a function that takes the name from series of several metrics has to see
    /// whether they become the same.
    fn names_of_groups<'e>(
        &self,
        aggregate: &'e Aggregate,
        inner: &Expr,
        scope: Scope,
    ) -> Option<Vec<&'e str>> {
        let accumulates = !matches!(
            aggregate.op,
            AggregateOp::Topk
                | AggregateOp::Bottomk
                | AggregateOp::Limitk
                | AggregateOp::LimitRatio
                | AggregateOp::CountValues
        );
        let of_one_name = |selector: &VectorSelector| {
            let equal = |matcher: &LabelMatcher| {
                matcher.name == METRIC_NAME
                    && matcher.op == MatchOp::Equal
                    && !matcher.value.is_empty()
            };
            selector.name.is_some() || selector.matchers.iter().any(equal)
        };
        let can = match &inner.kind {
            ExprKind::Vector(selector) => selector.extended.is_none(),
            ExprKind::Call(call) => {
                call.range_arg()
                    .is_some_and(|arg| match &call.args[arg].unwrap_parens().kind {
                        ExprKind::Matrix(matrix) => of_one_name(&matrix.selector),
                        _ => false,
                    })
                    && call.function.name != "absent_over_time"
            }
            _ => false,
        };
        let plain = !self.config.delayed_name_removal && !self.config.type_and_unit_labels;
        if !can || !plain || !accumulates || aggregate.without {
            return None;
        }
        if self.is_evaluated_once(&aggregate.expr, scope) {
            return None;
        }
        let mut names: Vec<&str> = aggregate.grouping.iter().map(String::as_str).collect();
        names.push(METRIC_NAME);
        Some(names)
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
        let written = gofloat::format_g;
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
fn group(
    input: &[Series],
    grouping: &[String],
    without: bool,
    budget: &dyn Budget,
) -> Result<Vec<Group>, QueryError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    // Series that share their labels share their group.
    let mut known: HashMap<usize, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    // What a series costs grows with the list of labels.
    let per_look = (SERIES_PER_LOOK / (1 + grouping.len() / SERIES_PER_LOOK)).max(1);
    for (index, series) in input.iter().enumerate() {
        if index.is_multiple_of(per_look) {
            budget.check()?;
        }
        let place = *known.entry(series.labels.identity()).or_insert_with(|| {
            let labels = group_labels(&series.labels, grouping, without);
            *places.entry(labels).or_insert_with(|| {
                groups.push(Group {
                    members: Vec::new(),
                });
                groups.len() - 1
            })
        });
        groups[place].members.push(index);
    }
    Ok(groups)
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
