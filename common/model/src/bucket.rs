//! A histogram's buckets with their bounds.

use crate::{Buckets, Histogram, Span};

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
}

impl Histogram {
    /// Returns the number of observations.
    pub fn count(&self) -> f64 {
        match &self.buckets {
            Buckets::Integer { count, .. } => float(*count),
            Buckets::Float { count, .. } => *count,
        }
    }

    /// Returns the observations in the zero bucket.
    pub fn zero_count(&self) -> f64 {
        match &self.buckets {
            Buckets::Integer { zero, .. } => float(*zero),
            Buckets::Float { zero, .. } => *zero,
        }
    }

    /// Returns all buckets of the spans, and the zero bucket when it has observations, from the lowest bound to the highest.
    pub fn bucket_list(&self) -> Vec<Bucket> {
        let (positive, negative) = match &self.buckets {
            Buckets::Integer {
                positive, negative, ..
            } => (
                positive.iter().copied().map(float).collect(),
                negative.iter().copied().map(float).collect(),
            ),
            Buckets::Float {
                positive, negative, ..
            } => (positive.clone(), negative.clone()),
        };
        let mut list: Vec<Bucket> = indexed(&self.negative_spans, negative)
            .map(|(index, count)| {
                let (lower, upper) = self.bounds(index);
                Bucket {
                    lower: -upper,
                    upper: -lower,
                    lower_inclusive: true,
                    upper_inclusive: false,
                    count,
                }
            })
            .collect();
        list.reverse();
        if self.zero_count() != 0.0 {
            let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
            list.push(Bucket {
                lower,
                upper,
                lower_inclusive: true,
                upper_inclusive: true,
                count: self.zero_count(),
            });
        }
        list.extend(
            indexed(&self.positive_spans, positive).map(|(index, count)| {
                let (lower, upper) = self.bounds(index);
                // The first custom bucket reaches down to -Inf, which then belongs to it.
                let lower_inclusive = lower == f64::NEG_INFINITY;
                Bucket {
                    lower,
                    upper,
                    lower_inclusive,
                    upper_inclusive: true,
                    count,
                }
            }),
        );
        list
    }

    /// The bounds of the positive bucket of this index.
    fn bounds(&self, index: i32) -> (f64, f64) {
        if self.has_custom_bounds() {
            let bound = |index: i32| {
                usize::try_from(index)
                    .ok()
                    .and_then(|index| self.custom_bounds.get(index))
                    .copied()
            };
            return (
                bound(index - 1).unwrap_or(f64::NEG_INFINITY),
                bound(index).unwrap_or(f64::INFINITY),
            );
        }
        (
            exponential_bound(self.schema, index.saturating_sub(1)),
            exponential_bound(self.schema, index),
        )
    }
}

/// The upper bound of the bucket `index`: 2 to the power `index / 2^schema`. The last bucket that a double can tell from
/// infinity ends at the largest double, as in Prometheus.
fn exponential_bound(schema: i8, index: i32) -> f64 {
    let exponent = f64::from(index) * f64::from(-schema).exp2();
    if exponent == 1024.0 {
        f64::MAX
    } else {
        exponent.exp2()
    }
}

/// The index of each bucket and its count.
fn indexed(spans: &[Span], counts: Vec<f64>) -> impl Iterator<Item = (i32, f64)> + '_ {
    let mut next = 0_i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add_unsigned(span.length);
        first..next
    });
    indexes.zip(counts)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 are shown to the nearest double, as in Prometheus"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CUSTOM_BUCKETS_SCHEMA, CounterReset};

    fn histogram(schema: i8) -> Histogram {
        Histogram {
            reset: CounterReset::Unknown,
            schema,
            zero_threshold: 0.25,
            sum: 1.0,
            positive_spans: vec![
                Span {
                    offset: 0,
                    length: 1,
                },
                Span {
                    offset: 1,
                    length: 1,
                },
            ],
            negative_spans: vec![],
            custom_bounds: vec![],
            buckets: Buckets::Float {
                count: 6.0,
                zero: 1.0,
                positive: vec![2.0, 3.0],
                negative: vec![],
            },
        }
    }

    #[test]
    fn exponential_buckets_rise_around_the_zero_bucket() {
        let both = Histogram {
            negative_spans: vec![Span {
                offset: 1,
                length: 2,
            }],
            buckets: Buckets::Integer {
                count: 20,
                zero: 1,
                positive: vec![2, 3],
                negative: vec![4, 5],
            },
            ..histogram(0)
        };
        let bounds: Vec<(f64, f64, f64)> = both
            .bucket_list()
            .iter()
            .map(|b| (b.lower, b.upper, b.count))
            .collect();
        assert_eq!(
            bounds,
            [
                (-4.0, -2.0, 5.0),
                (-2.0, -1.0, 4.0),
                (-0.25, 0.25, 1.0),
                (0.5, 1.0, 2.0),
                (2.0, 4.0, 3.0)
            ]
        );
        let fine = histogram(1).bucket_list();
        assert_eq!((fine[1].lower, fine[1].upper), (0.5_f64.sqrt(), 1.0));
        let coarse = histogram(-2).bucket_list();
        assert_eq!((coarse[2].lower, coarse[2].upper), (16.0, 256.0));
    }

    #[test]
    fn custom_buckets_have_open_ends() {
        let custom = Histogram {
            zero_threshold: 0.0,
            custom_bounds: vec![1.0, 5.0],
            buckets: Buckets::Float {
                count: 5.0,
                zero: 0.0,
                positive: vec![2.0, 3.0],
                negative: vec![],
            },
            ..histogram(CUSTOM_BUCKETS_SCHEMA)
        };
        let list = custom.bucket_list();
        assert_eq!(
            (list[0].lower, list[0].upper, list[0].lower_inclusive),
            (f64::NEG_INFINITY, 1.0, true)
        );
        assert_eq!(
            (list[1].lower, list[1].upper, list[1].lower_inclusive),
            (5.0, f64::INFINITY, false)
        );
    }
}
