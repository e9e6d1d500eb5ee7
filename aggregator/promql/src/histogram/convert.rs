//! To and from the form that is stored and shown.

use model::{Buckets, Histogram, Span};

use super::{Counts, FloatHistogram};

impl FloatHistogram {
    pub(crate) fn from_model(histogram: &Histogram) -> Self {
        let (count, zero, positive, negative) = match &histogram.buckets {
            Buckets::Integer {
                count,
                zero,
                positive,
                negative,
            } => (
                float(*count),
                float(*zero),
                indexed(
                    &histogram.positive_spans,
                    positive.iter().map(|count| float(*count)),
                ),
                indexed(
                    &histogram.negative_spans,
                    negative.iter().map(|count| float(*count)),
                ),
            ),
            Buckets::Float {
                count,
                zero,
                positive,
                negative,
            } => (
                *count,
                *zero,
                indexed(&histogram.positive_spans, positive.iter().copied()),
                indexed(&histogram.negative_spans, negative.iter().copied()),
            ),
        };
        Self {
            reset: histogram.reset,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            zero_count: zero,
            count,
            sum: histogram.sum,
            positive,
            negative,
            bounds: histogram.custom_bounds.clone(),
        }
    }

    pub(crate) fn into_model(self) -> Histogram {
        let (positive_spans, positive) = spans(&self.positive);
        let (negative_spans, negative) = spans(&self.negative);
        Histogram {
            reset: self.reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            positive_spans,
            negative_spans,
            custom_bounds: self.bounds,
            buckets: Buckets::Float {
                count: self.count,
                zero: self.zero_count,
                positive,
                negative,
            },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "PromQL computes in doubles")]
fn float(count: u64) -> f64 {
    count as f64
}

fn indexed(spans: &[Span], counts: impl Iterator<Item = f64>) -> Counts {
    let mut next: i32 = 0;
    let indexes = spans.iter().flat_map(|span| {
        let start = next.saturating_add(span.offset);
        let length = i32::try_from(span.length).unwrap_or(i32::MAX);
        next = start.saturating_add(length);
        start..next
    });
    indexes.zip(counts).collect()
}

fn spans(counts: &Counts) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut next: i32 = 0;
    for (index, _) in counts {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span {
                offset: index.saturating_sub(next),
                length: 1,
            }),
        }
        next = index.saturating_add(1);
    }
    (spans, counts.iter().map(|(_, count)| *count).collect())
}
