//! Aggregations that make one series of each group.

use std::sync::Arc;

use model::{Histogram, Value, is_stale};
use storage::Budget;

use super::Group;
use crate::ast::Aggregate;
use crate::engine::evaluator::{Evaluator, metric_name};
use crate::engine::value::Series;
use crate::functions::float::{KahanSum, Mean};
use crate::functions::quantile::quantile;
use crate::histogram::{FloatHistogram, KahanHistogram, MeanHistogram, ResetsSeen};
use crate::result::ABSENT;
use crate::token::AggregateOp;
use crate::{Column, HistogramOperation, Note, QueryError, TextRange};

impl Evaluator<'_> {
    pub(super) fn accumulate(
        &mut self,
        aggregate: &Aggregate,
        param: &[f64],
        input: &[Series],
        groups: Vec<Group>,
        instants: usize,
    ) -> Result<Vec<Series>, QueryError> {
        let mut out = Vec::with_capacity(groups.len());
        for group in groups {
            self.budget.check()?;
            let members: Vec<&Series> = group.members.iter().map(|at| &input[*at]).collect();
            let only_floats = members
                .iter()
                .all(|series| series.column.histograms.is_empty());
            let column = if only_floats {
                Column {
                    floats: floats(aggregate.op, &members, param, instants, self.budget)?,
                    histograms: Vec::new(),
                }
            } else {
                self.mixed(aggregate, &members, param, instants)?
            };
            if column.has_any() {
                out.push(Series {
                    labels: group.labels,
                    drop_name: members.iter().any(|series| series.drop_name),
                    column,
                });
            }
        }
        Ok(out)
    }

    /// Aggregates a group that has histograms, instant by instant.
    fn mixed(
        &mut self,
        aggregate: &Aggregate,
        members: &[&Series],
        param: &[f64],
        instants: usize,
    ) -> Result<Column, QueryError> {
        let position = aggregate.expr.range;
        let mut column = Column::absent(instants);
        for index in 0..instants {
            self.budget.check()?;
            let mut numbers = Vec::new();
            let mut histograms: Vec<(&Series, &Arc<Histogram>)> = Vec::new();
            for series in members {
                if let Some(histogram) = series.column.histogram(index) {
                    histograms.push((series, histogram));
                } else if let Some(value) = series.column.float(index) {
                    numbers.push(value);
                }
            }
            let count = numbers.len() + histograms.len();
            if count == 0 {
                continue;
            }
            match aggregate.op {
                AggregateOp::Sum | AggregateOp::Avg if histograms.is_empty() => {
                    column.floats[index] = over(aggregate.op, &numbers, f64::NAN);
                }
                AggregateOp::Sum | AggregateOp::Avg if !numbers.is_empty() => {
                    self.note(Note::MixedFloatsHistogramsAggregation, position);
                }
                AggregateOp::Sum | AggregateOp::Avg => {
                    let average = aggregate.op == AggregateOp::Avg;
                    if let Some(result) = self.of_histograms(average, &histograms, position) {
                        column.set(index, Value::Histogram(Arc::new(result.into_model())));
                    }
                }
                AggregateOp::Count => {
                    #[expect(clippy::cast_precision_loss, reason = "far fewer series than 2^53")]
                    let count = count as f64;
                    column.floats[index] = count;
                }
                AggregateOp::Group => column.floats[index] = 1.0,
                op => {
                    if !histograms.is_empty() {
                        let name = op.to_string();
                        self.note(Note::HistogramIgnoredInAggregation(name), position);
                    }
                    if !numbers.is_empty() {
                        let q = param.get(index).copied().unwrap_or(f64::NAN);
                        column.floats[index] = over(op, &numbers, q);
                    }
                }
            }
        }
        Ok(column)
    }

    /// Returns sum or average of histograms; `None` when their buckets do not go together.
    fn of_histograms(
        &mut self,
        average: bool,
        histograms: &[(&Series, &Arc<Histogram>)],
        position: TextRange,
    ) -> Option<FloatHistogram> {
        let ((_, first), rest) = histograms.split_first()?;
        let mut seen = ResetsSeen::default();
        seen.see(first.reset);
        let first = FloatHistogram::from_model(first);
        let mut sum = KahanHistogram::starting_at(first.clone());
        let mut mean = MeanHistogram::starting_at(first);
        for (series, histogram) in rest {
            seen.see(histogram.reset);
            let histogram = FloatHistogram::from_model(histogram);
            let combined = if average {
                mean.add(&histogram)
            } else {
                sum.add(&histogram)
            };
            let Ok(combined) = combined else {
                let name = metric_name(&series.labels);
                self.note(Note::MixedExponentialCustom(name), position);
                return None;
            };
            if combined.bounds_reconciled {
                let operation = HistogramOperation::Aggregation;
                self.note(Note::MismatchedCustomBuckets(operation), position);
            }
        }
        if seen.collide() {
            let operation = HistogramOperation::Aggregation;
            self.note(Note::HistogramCounterResetCollision(operation), position);
        }
        let mut result = if average { mean.value() } else { sum.total() };
        result.compact();
        Some(result)
    }
}

/// Aggregates columns of floats; member by member where the order of values allows it, since that runs along memory.
fn floats(
    op: AggregateOp,
    members: &[&Series],
    param: &[f64],
    instants: usize,
    budget: &dyn Budget,
) -> Result<Vec<f64>, QueryError> {
    match op {
        AggregateOp::Sum => sums(members, instants, budget),
        AggregateOp::Min => extremes(false, members, instants, budget),
        AggregateOp::Max => extremes(true, members, instants, budget),
        AggregateOp::Count => counts(members, instants, budget),
        AggregateOp::Group => {
            let mut counts = counts(members, instants, budget)?;
            for count in counts.iter_mut().filter(|count| !is_stale(**count)) {
                *count = 1.0;
            }
            Ok(counts)
        }
        op => {
            let mut values = Vec::with_capacity(members.len());
            let mut out = Vec::with_capacity(instants);
            for index in 0..instants {
                budget.check()?;
                values.clear();
                values.extend(
                    members
                        .iter()
                        .map(|series| series.column.floats[index])
                        .filter(|value| !is_stale(*value)),
                );
                out.push(if values.is_empty() {
                    ABSENT
                } else {
                    over(op, &values, param.get(index).copied().unwrap_or(f64::NAN))
                });
            }
            Ok(out)
        }
    }
}

fn sums(members: &[&Series], instants: usize, budget: &dyn Budget) -> Result<Vec<f64>, QueryError> {
    let mut sums = vec![KahanSum::starting_at(ABSENT); instants];
    for series in members {
        budget.check()?;
        for (sum, value) in sums.iter_mut().zip(&series.column.floats) {
            if is_stale(*value) {
                continue;
            }
            *sum = if is_stale(sum.sum) {
                KahanSum::starting_at(*value)
            } else {
                sum.plus(*value)
            };
        }
    }
    Ok(sums
        .into_iter()
        .map(|sum| {
            if is_stale(sum.sum) {
                ABSENT
            } else {
                sum.sum + sum.compensation
            }
        })
        .collect())
}

fn extremes(
    greatest: bool,
    members: &[&Series],
    instants: usize,
    budget: &dyn Budget,
) -> Result<Vec<f64>, QueryError> {
    let mut best = vec![ABSENT; instants];
    for series in members {
        budget.check()?;
        for (best, value) in best.iter_mut().zip(&series.column.floats) {
            let better = if greatest {
                *best < *value
            } else {
                *best > *value
            };
            // NaN, and absence, give way to anything.
            if !is_stale(*value) && (better || best.is_nan()) {
                *best = *value;
            }
        }
    }
    Ok(best)
}

fn counts(
    members: &[&Series],
    instants: usize,
    budget: &dyn Budget,
) -> Result<Vec<f64>, QueryError> {
    let mut counts = vec![0.0; instants];
    for series in members {
        budget.check()?;
        for (count, value) in counts.iter_mut().zip(&series.column.floats) {
            if !is_stale(*value) {
                *count += 1.0;
            }
        }
    }
    for count in counts.iter_mut().filter(|count| **count == 0.0) {
        *count = ABSENT;
    }
    Ok(counts)
}

/// Aggregates the values of one instant, of which there is at least one.
fn over(op: AggregateOp, values: &[f64], q: f64) -> f64 {
    let Some((first, rest)) = values.split_first() else {
        return ABSENT;
    };
    match op {
        AggregateOp::Sum => {
            let sum = rest
                .iter()
                .copied()
                .fold(KahanSum::starting_at(*first), KahanSum::plus);
            sum.sum + sum.compensation
        }
        AggregateOp::Avg => {
            let mut mean = Mean::starting_at(*first);
            for value in rest {
                mean.add(*value);
            }
            mean.value()
        }
        AggregateOp::Min => rest.iter().copied().fold(*first, |best, value| {
            if best > value || best.is_nan() {
                value
            } else {
                best
            }
        }),
        AggregateOp::Max => rest.iter().copied().fold(*first, |best, value| {
            if best < value || best.is_nan() {
                value
            } else {
                best
            }
        }),
        AggregateOp::Stdvar => variance(*first, rest),
        AggregateOp::Stddev => variance(*first, rest).sqrt(),
        AggregateOp::Quantile => quantile(q, &mut values.to_vec()),
        _ => f64::NAN,
    }
}

fn variance(first: f64, rest: &[f64]) -> f64 {
    let (mut count, mut mean) = (1.0, first);
    let mut squares = if first.is_finite() { 0.0 } else { f64::NAN };
    for value in rest {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}
