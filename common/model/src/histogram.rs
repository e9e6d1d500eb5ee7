//! Native histograms, as Prometheus has them: exponential buckets (schemas -4 to 8) or custom bounds (schema -53).

use crate::is_stale;

/// The lowest exponential schema.
pub const SCHEMA_MIN: i8 = -4;
/// The highest exponential schema.
pub const SCHEMA_MAX: i8 = 8;
/// The schema of histograms whose bounds are listed in `custom_bounds`.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// Buckets between the end of the span before (or index 0) and the first of this one; negative only in the first span of exponential
    /// buckets.
    pub offset: i32,
    /// Buckets in this span.
    pub length: u32,
}

/// Whether a counter was reset between the sample before and this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// Nothing is known: compare the counts.
    #[default]
    Unknown,
    /// It was reset.
    Reset,
    /// It was not.
    NotReset,
    /// The histogram is a gauge: resets mean nothing.
    Gauge,
}

/// Counts, absolute (not differences between buckets), one per bucket of the spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Buckets {
    /// Counts of observations.
    Integer {
        /// All observations.
        count: u64,
        /// Those within the zero threshold.
        zero: u64,
        /// By positive bucket.
        positive: Vec<u64>,
        /// By negative bucket.
        negative: Vec<u64>,
    },
    /// Results of arithmetic, or weighted observations.
    Float {
        /// All observations.
        count: f64,
        /// Those within the zero threshold.
        zero: f64,
        /// By positive bucket.
        positive: Vec<f64>,
        /// By negative bucket.
        negative: Vec<f64>,
    },
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What is known of counter resets before this sample.
    pub reset: CounterReset,
    /// [`SCHEMA_MIN`] to [`SCHEMA_MAX`], or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    /// The width of the zero bucket; 0 for custom bounds.
    pub zero_threshold: f64,
    /// Sum of all observations; the staleness mark stands here.
    pub sum: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<Span>,
    /// Where the negative buckets lie; empty for custom bounds.
    pub negative_spans: Vec<Span>,
    /// Upper bounds, rising, without +Inf; empty unless the schema is [`CUSTOM_BUCKETS_SCHEMA`].
    pub custom_bounds: Vec<f64>,
    /// The counts.
    pub buckets: Buckets,
}

/// Why a histogram's parts contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// Neither exponential nor custom.
    #[error(
        "histogram has an invalid schema {0}, which must be between -4 and 8, or -53 for custom buckets"
    )]
    Schema(i8),
    /// Spans and counts are of different length.
    #[error("{side} side: spans need {spans} buckets, have {counts} buckets")]
    SpanLength {
        /// `positive` or `negative`.
        side: &'static str,
        /// Buckets that the spans describe.
        spans: u64,
        /// Buckets that have a count.
        counts: u64,
    },
    /// A span after the first has a negative offset; or the first of custom buckets has.
    #[error("{side} side: span number {number} with offset {offset}: negative span offset")]
    SpanOffset {
        /// `positive` or `negative`.
        side: &'static str,
        /// Counted from 1.
        number: usize,
        /// Its offset.
        offset: i32,
    },
    /// Custom bounds are out of order, not finite, or given for an exponential schema; or a custom histogram has a zero bucket.
    #[error("histogram with schema {schema}: {what}")]
    CustomBounds {
        /// The schema.
        schema: i8,
        /// What is wrong.
        what: &'static str,
    },
    /// A float count is negative.
    #[error("{side} side: bucket number {number} has a negative count")]
    NegativeCount {
        /// `positive` or `negative`.
        side: &'static str,
        /// Counted from 1.
        number: usize,
    },
    /// The count of all observations, or that of the zero bucket, is negative.
    #[error("{what} has a negative count of {count}")]
    NegativeTotal {
        /// Which of them.
        what: &'static str,
        /// What it says.
        count: String,
    },
    /// The buckets hold more observations than there are, or fewer although none was NaN.
    #[error("{buckets} observations found in buckets, but the count is {count}")]
    Count {
        /// What all buckets hold.
        buckets: u128,
        /// What the histogram says.
        count: u64,
    },
}

impl Histogram {
    /// Returns how many buckets have a count, empty ones among them.
    pub const fn bucket_count(&self) -> usize {
        match &self.buckets {
            Buckets::Integer {
                positive, negative, ..
            } => positive.len() + negative.len(),
            Buckets::Float {
                positive, negative, ..
            } => positive.len() + negative.len(),
        }
    }

    /// Returns the bytes that it takes in memory.
    pub const fn bytes(&self) -> usize {
        let spans = self.positive_spans.len() + self.negative_spans.len();
        size_of::<Self>()
            + spans * size_of::<Span>()
            + (self.custom_bounds.len() + self.bucket_count()) * size_of::<f64>()
    }

    /// Returns the mark that a histogram series has ended.
    pub fn stale() -> Self {
        Self {
            reset: CounterReset::Unknown,
            schema: 0,
            zero_threshold: 0.0,
            sum: crate::STALE_NAN,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            custom_bounds: Vec::new(),
            buckets: Buckets::Integer {
                count: 0,
                zero: 0,
                positive: Vec::new(),
                negative: Vec::new(),
            },
        }
    }

    /// Returns whether the bounds are listed rather than computed.
    pub const fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Returns whether all parts agree, and the counts of buckets with that of all observations, as Prometheus asks of what it takes:
    /// whoever takes histograms from outside asks this once. Results of arithmetic need not pass, nor does what was stored before.
    pub fn validate_observed(&self) -> Result<(), HistogramError> {
        self.validate()?;
        if self.has_custom_bounds() {
            self.validate_observed_custom()?;
        }
        let negative = |what, count: f64| {
            let count = count.to_string();
            Err(HistogramError::NegativeTotal { what, count })
        };
        match &self.buckets {
            // Floats do not add up to the last digit.
            Buckets::Float { count, .. } if *count < 0.0 => negative("the histogram", *count),
            Buckets::Float { zero, .. } if *zero < 0.0 => negative("the zero bucket", *zero),
            Buckets::Float { .. } => Ok(()),
            Buckets::Integer {
                count,
                zero,
                positive,
                negative,
            } => {
                let counts = positive.iter().chain(negative).chain([zero]);
                let buckets: u128 = counts.map(|count| u128::from(*count)).sum();
                let all = u128::from(*count);
                // A NaN is in no bucket, and makes the sum one.
                if buckets == all || (self.sum.is_nan() && buckets < all) {
                    return Ok(());
                }
                let count = *count;
                Err(HistogramError::Count { buckets, count })
            }
        }
    }

    fn validate_observed_custom(&self) -> Result<(), HistogramError> {
        let has_zero = match &self.buckets {
            Buckets::Integer { zero, .. } => *zero != 0,
            Buckets::Float { zero, .. } => *zero != 0.0,
        };
        if has_zero {
            return Err(HistogramError::CustomBounds {
                schema: self.schema,
                what: "custom buckets: must have a zero count of 0",
            });
        }
        match self.positive_spans.first() {
            Some(first) if first.offset < 0 => Err(HistogramError::SpanOffset {
                side: "positive",
                number: 1,
                offset: first.offset,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether all parts agree, so that whoever reads it finds each bucket's bounds and count.
    pub fn validate(&self) -> Result<(), HistogramError> {
        if self.has_custom_bounds() {
            self.validate_custom()?;
        } else if !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(HistogramError::Schema(self.schema));
        } else if !self.custom_bounds.is_empty() {
            return Err(HistogramError::CustomBounds {
                schema: self.schema,
                what: "exponential schema with custom bounds",
            });
        }
        let (positive, negative) = match &self.buckets {
            Buckets::Integer {
                positive, negative, ..
            } => (positive.len(), negative.len()),
            Buckets::Float {
                positive, negative, ..
            } => (positive.len(), negative.len()),
        };
        validate_spans("positive", &self.positive_spans, positive)?;
        validate_spans("negative", &self.negative_spans, negative)?;
        if let Buckets::Float {
            positive, negative, ..
        } = &self.buckets
        {
            for (side, counts) in [("positive", positive), ("negative", negative)] {
                if let Some(at) = counts.iter().position(|count| *count < 0.0) {
                    return Err(HistogramError::NegativeCount {
                        side,
                        number: at + 1,
                    });
                }
            }
        }
        Ok(())
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let bad = |what| {
            Err(HistogramError::CustomBounds {
                schema: self.schema,
                what,
            })
        };
        if self.custom_bounds.iter().any(|bound| !bound.is_finite()) {
            return bad("custom bounds must be finite");
        }
        if self.custom_bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
            return bad("custom bounds must rise");
        }
        if self.zero_threshold != 0.0 || !self.negative_spans.is_empty() {
            return bad("custom buckets: must have neither zero bucket nor negative buckets");
        }
        let covered: i64 = self
            .positive_spans
            .iter()
            .map(|span| i64::from(span.offset) + i64::from(span.length))
            .sum();
        if covered > i64::try_from(self.custom_bounds.len()).unwrap_or(i64::MAX) + 1 {
            return bad("spans reach past the last custom bound");
        }
        Ok(())
    }

    /// Returns whether both are the same to the bit.
    pub fn same_bits(&self, other: &Self) -> bool {
        let bits = |values: &[f64], others: &[f64]| {
            values.len() == others.len()
                && values
                    .iter()
                    .zip(others)
                    .all(|(a, b)| a.to_bits() == b.to_bits())
        };
        let counts = match (&self.buckets, &other.buckets) {
            (
                Buckets::Float {
                    count: c1,
                    zero: z1,
                    positive: p1,
                    negative: n1,
                },
                Buckets::Float {
                    count: c2,
                    zero: z2,
                    positive: p2,
                    negative: n2,
                },
            ) => bits(&[*c1, *z1], &[*c2, *z2]) && bits(p1, p2) && bits(n1, n2),
            (integer, other_integer) => integer == other_integer,
        };
        counts
            && (self.reset, self.schema) == (other.reset, other.schema)
            && bits(
                &[self.zero_threshold, self.sum],
                &[other.zero_threshold, other.sum],
            )
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && bits(&self.custom_bounds, &other.custom_bounds)
    }

    /// Returns whether this marks the end of a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }
}

fn validate_spans(side: &'static str, spans: &[Span], counts: usize) -> Result<(), HistogramError> {
    if let Some(at) = spans.iter().skip(1).position(|span| span.offset < 0) {
        return Err(HistogramError::SpanOffset {
            side,
            number: at + 2,
            offset: spans[at + 1].offset,
        });
    }
    let described: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if described != counts as u64 {
        return Err(HistogramError::SpanLength {
            side,
            spans: described,
            counts: counts as u64,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_buckets() -> Histogram {
        Histogram {
            positive_spans: vec![
                Span {
                    offset: -2,
                    length: 1,
                },
                Span {
                    offset: 3,
                    length: 1,
                },
            ],
            sum: 1.0,
            buckets: Buckets::Integer {
                count: 3,
                zero: 0,
                positive: vec![1, 2],
                negative: vec![],
            },
            ..Histogram::stale()
        }
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        assert_eq!(two_buckets().validate(), Ok(()));
        let mut lengths = two_buckets();
        lengths.positive_spans.pop();
        assert_eq!(
            lengths.validate(),
            Err(HistogramError::SpanLength {
                side: "positive",
                spans: 1,
                counts: 2
            })
        );
        let mut offsets = two_buckets();
        offsets.positive_spans[1].offset = -1;
        assert_eq!(
            offsets.validate(),
            Err(HistogramError::SpanOffset {
                side: "positive",
                number: 2,
                offset: -1
            })
        );
        let schema = Histogram {
            schema: 9,
            ..two_buckets()
        };
        assert_eq!(schema.validate(), Err(HistogramError::Schema(9)));
        let custom = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: vec![1.0, 1.0],
            ..two_buckets()
        };
        assert!(matches!(
            custom.validate(),
            Err(HistogramError::CustomBounds { .. })
        ));
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused_from_outside() {
        let observed = |count, sum| Histogram {
            sum,
            buckets: Buckets::Integer {
                count,
                zero: 1,
                positive: vec![1, 2],
                negative: vec![],
            },
            ..two_buckets()
        };
        let of = |count| Err(HistogramError::Count { buckets: 4, count });
        for (count, sum, expected) in [
            (4, 1.0, Ok(())),
            (5, 1.0, of(5)),
            (3, 1.0, of(3)),
            (5, f64::NAN, Ok(())),
            (3, f64::NAN, of(3)),
        ] {
            let histogram = observed(count, sum);
            assert_eq!(histogram.validate_observed(), expected, "{count} {sum}");
            assert_eq!(histogram.validate(), Ok(()));
        }
        assert_eq!(Histogram::stale().validate_observed(), Ok(()));
        let huge = Histogram {
            buckets: Buckets::Integer {
                count: 0,
                zero: 1,
                positive: vec![u64::MAX, 0],
                negative: vec![],
            },
            ..two_buckets()
        };
        assert!(huge.validate_observed().is_err(), "nothing overflows");
    }

    #[test]
    fn float_counts_need_not_add_up_but_are_not_negative() {
        let float = |count, zero| Histogram {
            buckets: Buckets::Float {
                count,
                zero,
                positive: vec![0.1, 0.2],
                negative: vec![],
            },
            ..two_buckets()
        };
        assert_eq!(float(0.3, 0.0).validate_observed(), Ok(()));
        for bad in [float(-1.0, 0.0), float(1.0, -1.0)] {
            let refused = bad.validate_observed();
            assert!(
                matches!(refused, Err(HistogramError::NegativeTotal { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn custom_buckets_have_neither_a_zero_bucket_nor_one_below_the_first() {
        let custom = |zero, offset| Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: vec![1.0, 2.0],
            positive_spans: vec![Span { offset, length: 2 }],
            buckets: Buckets::Integer {
                count: 3 + zero,
                zero,
                positive: vec![1, 2],
                negative: vec![],
            },
            ..two_buckets()
        };
        assert_eq!(custom(0, 0).validate_observed(), Ok(()));
        assert!(matches!(
            custom(1, 0).validate_observed(),
            Err(HistogramError::CustomBounds { .. })
        ));
        assert!(matches!(
            custom(0, -1).validate_observed(),
            Err(HistogramError::SpanOffset { number: 1, .. })
        ));
    }

    #[test]
    fn sameness_is_of_bits() {
        let negative_zero = Histogram {
            zero_threshold: -0.0,
            ..two_buckets()
        };
        assert!(two_buckets().same_bits(&two_buckets()));
        assert!(!two_buckets().same_bits(&negative_zero));
        assert!(Histogram::stale().is_stale() && Histogram::stale().same_bits(&Histogram::stale()));
    }
}
