//! Aggregations that make one series of each group.

use std::sync::Arc;

use model::{Histogram, Value, is_stale};

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
                    floats: floats(aggregate.op, &members, param, instants),
                    histograms: Vec::new(),
                }
            } else {
                self.mixed(aggregate, &members, param, instants)
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
    ) -> Column {
        let position = aggregate.expr.range;
        let mut column = Column::absent(instants);
        for index in 0..instants {
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
        column
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
fn floats(op: AggregateOp, members: &[&Series], param: &[f64], instants: usize) -> Vec<f64> {
    match op {
        AggregateOp::Sum => sums(members, instants),
        AggregateOp::Min | AggregateOp::Max => extremes(op == AggregateOp::Max, members, instants),
        AggregateOp::Count => counts(members, instants),
        AggregateOp::Group => counts(members, instants)
            .into_iter()
            .map(|count| if is_stale(count) { ABSENT } else { 1.0 })
            .collect(),
        op => {
            let mut values = Vec::with_capacity(members.len());
            (0..instants)
                .map(|index| {
                    values.clear();
                    values.extend(
                        members
                            .iter()
                            .map(|series| series.column.floats[index])
                            .filter(|value| !is_stale(*value)),
                    );
                    if values.is_empty() {
                        return ABSENT;
                    }
                    over(op, &values, param.get(index).copied().unwrap_or(f64::NAN))
                })
                .collect()
        }
    }
}

fn sums(members: &[&Series], instants: usize) -> Vec<f64> {
    let mut sums: Vec<Option<KahanSum>> = vec![None; instants];
    for series in members {
        for (sum, value) in sums.iter_mut().zip(&series.column.floats) {
            if !is_stale(*value) {
                *sum = Some(match sum {
                    None => KahanSum::starting_at(*value),
                    Some(sum) => sum.plus(*value),
                });
            }
        }
    }
    sums.into_iter()
        .map(|sum| sum.map_or(ABSENT, |sum| sum.sum + sum.compensation))
        .collect()
}

fn extremes(greatest: bool, members: &[&Series], instants: usize) -> Vec<f64> {
    let mut best = vec![ABSENT; instants];
    for series in members {
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
    best
}

fn counts(members: &[&Series], instants: usize) -> Vec<f64> {
    let mut counts = vec![0.0; instants];
    for series in members {
        for (count, value) in counts.iter_mut().zip(&series.column.floats) {
            if !is_stale(*value) {
                *count += 1.0;
            }
        }
    }
    counts
        .into_iter()
        .map(|count| if count == 0.0 { ABSENT } else { count })
        .collect()
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
