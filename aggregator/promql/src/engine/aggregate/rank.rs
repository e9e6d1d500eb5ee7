//! Aggregations that choose among the series of each group.

use model::{Labels, is_stale};

use super::Group;
use crate::ast::Aggregate;
use crate::engine::evaluator::Evaluator;
use crate::engine::value::Series;
use crate::functions::quantile::nan_first;
use crate::token::AggregateOp;
use crate::{Column, Note, QueryError, TextRange};

impl Evaluator<'_> {
    pub(super) fn rank(
        &mut self,
        aggregate: &Aggregate,
        range: TextRange,
        param: &[f64],
        input: Vec<Series>,
        groups: &[Group],
        instants: usize,
    ) -> Result<Vec<Series>, QueryError> {
        let op = aggregate.op;
        let ranked = matches!(op, AggregateOp::Topk | AggregateOp::Bottomk);
        let offsets: Vec<f64> = if op == AggregateOp::LimitRatio {
            input
                .iter()
                .map(|series| hash_offset(&series.labels))
                .collect()
        } else {
            Vec::new()
        };
        self.hold_columns(input.len(), instants)?;
        let mut kept: Vec<Column> = input.iter().map(|_| Column::absent(instants)).collect();
        let mut order: Vec<usize> = Vec::new();
        for group in groups {
            for (index, param) in param.iter().enumerate().take(instants) {
                self.budget.check()?;
                let mut chosen = match op {
                    AggregateOp::LimitRatio => within_ratio(&input, group, &offsets, *param, index),
                    _ => first_k(op, &input, group, *param, index),
                };
                if ranked && self.has_histogram(&input, group, index) && *param >= 1.0 {
                    self.note(Note::HistogramIgnoredInAggregation(op.to_string()), range);
                }
                for member in &chosen {
                    if let Some(value) = input[*member].column.value(index) {
                        kept[*member].set(index, value);
                    }
                }
                if instants == 1 {
                    order.append(&mut chosen);
                }
            }
        }
        if instants > 1 {
            order = (0..input.len()).collect();
        }
        let mut input: Vec<Option<Series>> = input.into_iter().map(Some).collect();
        let mut kept: Vec<Option<Column>> = kept.into_iter().map(Some).collect();
        Ok(order
            .into_iter()
            .filter_map(|at| {
                let column = kept[at].take().filter(Column::has_any)?;
                let series = input[at].take()?;
                Some(Series { column, ..series })
            })
            .collect())
    }

    fn has_histogram(&self, input: &[Series], group: &Group, index: usize) -> bool {
        group
            .members
            .iter()
            .any(|member| input[*member].column.histogram(index).is_some())
    }
}

/// Returns the members chosen by `topk`, `bottomk` and `limitk` at one instant, best first.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturating, and then bounded by the number of members"
)]
fn first_k(op: AggregateOp, input: &[Series], group: &Group, k: f64, index: usize) -> Vec<usize> {
    if k < 1.0 {
        return Vec::new();
    }
    let k = (k as usize).min(group.members.len());
    if op == AggregateOp::Limitk {
        return group
            .members
            .iter()
            .copied()
            .filter(|member| input[*member].column.is_present(index))
            .take(k)
            .collect();
    }
    let value = |member: &usize| input[*member].column.floats[index];
    let mut members: Vec<usize> = group
        .members
        .iter()
        .copied()
        .filter(|member| !is_stale(value(member)))
        .collect();
    // NaN comes last in both; equals keep the order of their labels' appearance.
    members.sort_by(|a, b| {
        let (a, b) = (value(a), value(b));
        if op == AggregateOp::Topk {
            nan_first(&b, &a)
        } else {
            a.is_nan().cmp(&b.is_nan()).then_with(|| nan_first(&a, &b))
        }
    });
    members.truncate(k);
    members
}

/// Returns the members whose hash falls into the ratio; a negative ratio chooses the others.
fn within_ratio(
    input: &[Series],
    group: &Group,
    offsets: &[f64],
    ratio: f64,
    index: usize,
) -> Vec<usize> {
    let ratio = ratio.clamp(-1.0, 1.0);
    if ratio == 0.0 {
        return Vec::new();
    }
    let chosen = |offset: f64| {
        if ratio >= 0.0 {
            offset < ratio
        } else {
            offset >= 1.0 + ratio
        }
    };
    group
        .members
        .iter()
        .copied()
        .filter(|member| input[*member].column.is_present(index) && chosen(offsets[*member]))
        .collect()
}

/// Returns a series' place in 0..1, by the hash that Prometheus uses: XXH64 over names and values, each behind its length.
#[expect(clippy::cast_precision_loss, reason = "a place, not a count")]
fn hash_offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.text_bytes() + 2 * labels.len());
    for (name, value) in labels.iter() {
        for part in [name, value] {
            push_length(&mut bytes, part.len());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// Appends a length: one byte, or 255 and three bytes, the lowest first.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 255 => bytes.push(short),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&length.to_le_bytes()[..3]);
        }
    }
}
