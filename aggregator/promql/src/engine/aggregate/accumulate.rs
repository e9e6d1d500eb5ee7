//! Aggregations that make one series of each group.
//!
//! Series come one by one and go into their group's [`Accumulator`], so that what is held are the groups, whatever is aggregated.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Histogram, Labels, is_stale};

use super::group_labels;
use crate::ast::Aggregate;
use crate::engine::evaluator::{Evaluator, Scope, metric_name};
use crate::engine::value::{Evaluated, Series, without_metadata};
use crate::functions::float::{KahanSum, Mean};
use crate::functions::quantile::quantile;
use crate::histogram::{FloatHistogram, KahanHistogram, MeanHistogram, ResetsSeen};
use crate::result::ABSENT;
use crate::token::AggregateOp;
use crate::{Column, HistogramOperation, Note, QueryError, TextRange};

/// Label sets whose group is remembered: 64 KiB.
const KNOWN_SLOTS: usize = 4_096;

/// The groups of an aggregation on its way.
struct Accumulation<'a> {
    aggregate: &'a Aggregate,
    instants: usize,
    /// In order of first appearance.
    groups: Vec<Accumulator>,
    places: HashMap<Labels, usize>,
    /// Of label sets that came; all of them renamed, or none.
    known: KnownGroups,
}

/// The groups of label sets that came lately: a slot for each, found by its identity and left to the next that falls there. A set that is
/// remembered lives, so no other gets its identity.
struct KnownGroups(Box<[Option<(Labels, usize)>]>);

impl KnownGroups {
    fn new() -> Self {
        Self(vec![None; KNOWN_SLOTS].into())
    }

    fn get(&self, labels: &Labels) -> Option<usize> {
        let (known, group) = self.0[Self::slot(labels)].as_ref()?;
        (known.identity() == labels.identity()).then_some(*group)
    }

    fn insert(&mut self, labels: Labels, group: usize) {
        let slot = Self::slot(&labels);
        self.0[slot] = Some((labels, group));
    }

    /// Identities are addresses: multiplied, their differences reach the upper bits.
    fn slot(labels: &Labels) -> usize {
        let spread = (labels.identity() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (spread >> 32) as usize % KNOWN_SLOTS
    }
}

/// A group on its way.
struct Accumulator {
    labels: Labels,
    drop_name: bool,
    floats: Floats,
    /// Series that have histograms, with those alone.
    histograms: Vec<Series>,
}

impl Evaluator<'_> {
    pub(super) fn accumulate(
        &mut self,
        aggregate: &Aggregate,
        param: &[f64],
        scope: Scope,
    ) -> Result<Vec<Series>, QueryError> {
        let mut accumulation = Accumulation {
            aggregate,
            instants: scope.grid.len(),
            groups: Vec::new(),
            places: HashMap::new(),
            known: KnownGroups::new(),
        };
        self.each_aggregated(aggregate, scope, &mut |evaluator, found| {
            accumulation.add(evaluator, found)
        })?;
        let mut out = Vec::with_capacity(accumulation.groups.len());
        for group in accumulation.groups {
            self.budget.check()?;
            let mut column = Column {
                floats: group.floats.into_values(self, param)?,
                histograms: Vec::new(),
            };
            if !group.histograms.is_empty() {
                self.add_histograms(aggregate, &group.histograms, &mut column)?;
            }
            if column.has_any() {
                out.push(Series {
                    labels: group.labels,
                    drop_name: group.drop_name,
                    column,
                });
            }
        }
        Ok(out)
    }

    /// Adds the histograms of a group to the aggregate of its floats, instant by instant.
    fn add_histograms(
        &mut self,
        aggregate: &Aggregate,
        members: &[Series],
        column: &mut Column,
    ) -> Result<(), QueryError> {
        let position = aggregate.expr.range;
        for index in 0..column.len() {
            self.budget.check()?;
            let histograms: Vec<(&Series, &Arc<Histogram>)> = members
                .iter()
                .filter_map(|series| Some((series, series.column.histogram(index)?)))
                .collect();
            if histograms.is_empty() {
                continue;
            }
            let float = column.float(index);
            match aggregate.op {
                AggregateOp::Sum | AggregateOp::Avg if float.is_some() => {
                    column.floats[index] = ABSENT;
                    self.note(Note::MixedFloatsHistogramsAggregation, position);
                }
                AggregateOp::Sum | AggregateOp::Avg => {
                    let average = aggregate.op == AggregateOp::Avg;
                    if let Some(result) = self.of_histograms(average, &histograms, position) {
                        self.set_histogram(column, index, Arc::new(result.into_model()))?;
                    }
                }
                AggregateOp::Count => {
                    #[expect(clippy::cast_precision_loss, reason = "far fewer series than 2^53")]
                    let count = histograms.len() as f64;
                    column.floats[index] = float.unwrap_or(0.0) + count;
                }
                AggregateOp::Group => column.floats[index] = 1.0,
                op => {
                    let name = op.to_string();
                    self.note(Note::HistogramIgnoredInAggregation(name), position);
                }
            }
        }
        Ok(())
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

impl Accumulation<'_> {
    fn add(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        found: Evaluated<'_>,
    ) -> Result<(), QueryError> {
        evaluator.worked(found.column.len())?;
        let place = self.place(evaluator, &found)?;
        let group = &mut self.groups[place];
        group.drop_name |= found.drop_name;
        if let Some(bytes) = group.floats.add(&found.column.floats) {
            evaluator.hold(found.column.present() as u64, bytes)?;
        }
        if !found.column.histograms.is_empty() {
            found.column.floats.fill(ABSENT);
            group.histograms.push(evaluator.kept(found)?);
        }
        Ok(())
    }

    /// Returns the group of a series.
    fn place(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        Evaluated {
            labels, renamed, ..
        }: &Evaluated<'_>,
    ) -> Result<usize, QueryError> {
        if let Some(place) = self.known.get(labels) {
            return Ok(place);
        }
        let place = if *renamed {
            self.new_place(evaluator, &without_metadata(labels))?
        } else {
            self.new_place(evaluator, labels)?
        };
        self.known.insert((*labels).clone(), place);
        Ok(place)
    }

    fn new_place(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        labels: &Labels,
    ) -> Result<usize, QueryError> {
        let Aggregate {
            grouping, without, ..
        } = self.aggregate;
        let labels = group_labels(labels, grouping, *without);
        if let Some(place) = self.places.get(&labels) {
            return Ok(*place);
        }
        let bytes = self.instants * Floats::bytes_per_instant(self.aggregate.op);
        let bytes = bytes + labels.text_bytes() + 64;
        evaluator.hold(self.instants as u64, bytes as u64)?;
        let floats = Floats::new(self.aggregate.op, self.instants);
        let place = self.groups.len();
        self.places.insert(labels.clone(), place);
        self.groups.push(Accumulator {
            labels,
            drop_name: false,
            floats,
            histograms: Vec::new(),
        });
        Ok(place)
    }
}

/// The floats of a group, instant by instant.
enum Floats {
    Sum(Sums),
    Mean(Vec<Option<Mean>>),
    /// The least (`false`) or the greatest (`true`).
    Extreme(bool, Vec<f64>),
    /// How many; or just whether any (`true`).
    Count(bool, Vec<f64>),
    /// Or its root (`true`).
    Variance(bool, Vec<Variance>),
    /// All of them, series by series.
    Quantile(usize, Vec<Vec<f64>>),
}

impl Floats {
    fn new(op: AggregateOp, instants: usize) -> Self {
        match op {
            AggregateOp::Avg => Self::Mean(vec![None; instants]),
            AggregateOp::Min => Self::Extreme(false, vec![ABSENT; instants]),
            AggregateOp::Max => Self::Extreme(true, vec![ABSENT; instants]),
            AggregateOp::Count => Self::Count(false, vec![0.0; instants]),
            AggregateOp::Group => Self::Count(true, vec![0.0; instants]),
            AggregateOp::Stdvar => Self::Variance(false, vec![Variance::default(); instants]),
            AggregateOp::Stddev => Self::Variance(true, vec![Variance::default(); instants]),
            AggregateOp::Quantile => Self::Quantile(instants, Vec::new()),
            // The others are ranks and values counted, which are not accumulated.
            _ => Self::Sum(Sums::new(instants)),
        }
    }

    /// Returns the bytes that an instant takes, before there is any value.
    const fn bytes_per_instant(op: AggregateOp) -> usize {
        match op {
            AggregateOp::Avg => size_of::<Option<Mean>>(),
            AggregateOp::Min | AggregateOp::Max | AggregateOp::Count | AggregateOp::Group => {
                size_of::<f64>()
            }
            AggregateOp::Stdvar | AggregateOp::Stddev => size_of::<Variance>(),
            AggregateOp::Quantile => 0,
            // A sum and its compensation.
            _ => 2 * size_of::<f64>(),
        }
    }

    /// Takes the floats of a series; returns the bytes that it keeps of them.
    fn add(&mut self, values: &[f64]) -> Option<u64> {
        match self {
            Self::Sum(sums) => sums.add(values),
            Self::Mean(means) => {
                for (mean, value) in present(means, values) {
                    match mean {
                        Some(mean) => mean.add(value),
                        None => *mean = Some(Mean::starting_at(value)),
                    }
                }
            }
            Self::Extreme(greatest, best) => {
                for (best, value) in present(best, values) {
                    let better = if *greatest {
                        *best < value
                    } else {
                        *best > value
                    };
                    // NaN, and absence, give way to anything.
                    if better || best.is_nan() {
                        *best = value;
                    }
                }
            }
            Self::Count(_, counts) => {
                for (count, _) in present(counts, values) {
                    *count += 1.0;
                }
            }
            Self::Variance(_, variances) => {
                for (variance, value) in present(variances, values) {
                    variance.add(value);
                }
            }
            Self::Quantile(_, all) => {
                all.push(values.to_vec());
                return Some(size_of_val(values) as u64);
            }
        }
        None
    }

    /// Returns the aggregate of each instant. `param`: that of the aggregation, by instant.
    fn into_values(
        self,
        evaluator: &mut Evaluator<'_>,
        param: &[f64],
    ) -> Result<Vec<f64>, QueryError> {
        Ok(match self {
            Self::Sum(sums) => sums.into_values(),
            Self::Mean(means) => {
                let value = |mean: Option<Mean>| mean.map_or(ABSENT, Mean::value);
                means.into_iter().map(value).collect()
            }
            Self::Extreme(_, best) => best,
            Self::Count(just_any, mut counts) => {
                for count in &mut counts {
                    if *count == 0.0 {
                        *count = ABSENT;
                    } else if just_any {
                        *count = 1.0;
                    }
                }
                counts
            }
            Self::Variance(root, variances) => {
                let value = |variance: Variance| {
                    let value = variance.value();
                    if root && !is_stale(value) {
                        value.sqrt()
                    } else {
                        value
                    }
                };
                variances.into_iter().map(value).collect()
            }
            Self::Quantile(instants, all) => {
                let mut values = Vec::with_capacity(all.len());
                let at = |index: usize| {
                    evaluator.worked(all.len())?;
                    values.clear();
                    let here = all.iter().map(|series| series[index]);
                    values.extend(here.filter(|value| !is_stale(*value)));
                    if values.is_empty() {
                        return Ok(ABSENT);
                    }
                    let q = param.get(index).copied().unwrap_or(f64::NAN);
                    Ok(quantile(q, &mut values))
                };
                (0..instants).map(at).collect::<Result<_, QueryError>>()?
            }
        })
    }
}

/// Returns the cells of instants at which there is a value, with it.
fn present<'a, T>(cells: &'a mut [T], values: &'a [f64]) -> impl Iterator<Item = (&'a mut T, f64)> {
    let pairs = cells.iter_mut().zip(values.iter().copied());
    pairs.filter(|(_, value)| !is_stale(*value))
}

/// Sums, instant by instant.
struct Sums {
    /// Absent before the first value.
    totals: Vec<f64>,
    compensations: Vec<f64>,
}

impl Sums {
    fn new(instants: usize) -> Self {
        Self {
            totals: vec![ABSENT; instants],
            compensations: vec![0.0; instants],
        }
    }

    fn add(&mut self, values: &[f64]) {
        // Absence is NaN, and nearly always there is none: then several instants are added at a time.
        let any_nan = |values: &[f64]| values.iter().fold(false, |any, value| any | value.is_nan());
        let all_there = !any_nan(values) && !any_nan(&self.totals);
        let cells = self.totals.iter_mut().zip(&mut self.compensations);
        let cells = cells.zip(values.iter().copied());
        let plus = |total: &mut f64, compensation: &mut f64, value: f64| {
            let sum = KahanSum {
                sum: *total,
                compensation: *compensation,
            };
            let sum = sum.plus(value);
            (*total, *compensation) = (sum.sum, sum.compensation);
        };
        if all_there {
            for ((total, compensation), value) in cells {
                plus(total, compensation, value);
            }
            return;
        }
        for ((total, compensation), value) in cells {
            if is_stale(value) {
                continue;
            }
            if is_stale(*total) {
                *total = value;
            } else {
                plus(total, compensation, value);
            }
        }
    }

    fn into_values(self) -> Vec<f64> {
        let mut values = self.totals;
        for (total, compensation) in values.iter_mut().zip(self.compensations) {
            if !is_stale(*total) {
                *total += compensation;
            }
        }
        values
    }
}

/// A variance on its way, by Welford's recurrence.
#[derive(Clone, Copy, Debug, Default)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Variance {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    /// Returns the variance; absent without values.
    fn value(self) -> f64 {
        if self.count == 0.0 {
            ABSENT
        } else {
            self.squares / self.count
        }
    }
}
