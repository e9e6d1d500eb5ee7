//! Native histograms: by slot, against the base's histogram in the same slot.
//!
//! Between two samples of a histogram usually nothing changes, or some counts do; only a new bucket changes its shape.

use std::sync::Arc;

use model::{Buckets, CounterReset, Histogram, Span};

use super::HISTOGRAM_PARTS_MAX;
use super::bytes::{ByteReader, put_float_near, put_signed, put_varint};
use super::error::DecodeError;
use super::weight::{Budget, of_histogram};

/// The same as in the base, to the bit.
const SAME: u8 = 0;
/// The same shape as in the base, other counts.
const MOVED: u8 = 1;
/// Complete, counts are integers.
const INTEGER: u8 = 2;
/// Complete, counts are floats.
const FLOAT: u8 = 3;

/// Appends `histogram`; `base` is the histogram that the base row has in this slot.
pub(super) fn put(out: &mut Vec<u8>, histogram: &Histogram, base: Option<&Histogram>) {
    match base {
        Some(base) if histogram.same_bits(base) => out.push(SAME),
        Some(base) if same_shape(histogram, base) => {
            out.push(MOVED);
            out.push(reset_code(histogram.reset));
            put_float_near(out, histogram.sum, base.sum);
            put_moved(out, &histogram.buckets, &base.buckets);
        }
        _ => put_complete(out, histogram),
    }
}

/// Reads what [`put`] wrote.
pub(super) fn take(
    reader: &mut ByteReader<'_>,
    base: Option<&Arc<Histogram>>,
    budget: &mut Budget,
) -> Result<Arc<Histogram>, DecodeError> {
    const NO_BASE: DecodeError =
        DecodeError::Malformed("a histogram leans on one that the base row has not got");
    budget.pay(1)?;
    let histogram = match reader.byte()? {
        SAME => {
            let base = base.ok_or(NO_BASE)?;
            budget.pay(of_histogram(base))?;
            return Ok(Arc::clone(base));
        }
        MOVED => {
            let base = base.ok_or(NO_BASE)?;
            budget.pay(of_histogram(base))?;
            Histogram {
                reset: take_reset(reader)?,
                sum: reader.float_near(base.sum)?,
                buckets: take_moved(reader, &base.buckets)?,
                ..Histogram::clone(base)
            }
        }
        kind @ (INTEGER | FLOAT) => take_complete(reader, kind, budget)?,
        _ => return Err(DecodeError::Malformed("a histogram is of no known kind")),
    };
    if histogram.validate().is_err() {
        return Err(DecodeError::Malformed("a histogram contradicts itself"));
    }
    DecodeError::check(
        "parts of a histogram",
        of_histogram(&histogram) as u64,
        HISTOGRAM_PARTS_MAX,
    )?;
    Ok(Arc::new(histogram))
}

fn same_shape(a: &Histogram, b: &Histogram) -> bool {
    let same_kind = matches!(
        (&a.buckets, &b.buckets),
        (Buckets::Integer { .. }, Buckets::Integer { .. })
            | (Buckets::Float { .. }, Buckets::Float { .. })
    );
    same_kind
        && a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_bounds.len() == b.custom_bounds.len()
        && a.custom_bounds
            .iter()
            .zip(&b.custom_bounds)
            .all(|(a, b)| a.to_bits() == b.to_bits())
}

fn put_moved(out: &mut Vec<u8>, new: &Buckets, old: &Buckets) {
    match (new, old) {
        (
            Buckets::Integer {
                count,
                zero,
                positive,
                negative,
            },
            Buckets::Integer {
                count: old_count,
                zero: old_zero,
                positive: old_positive,
                negative: old_negative,
            },
        ) => {
            put_apart(out, *count, *old_count);
            put_apart(out, *zero, *old_zero);
            let pairs = positive.iter().zip(old_positive);
            for (new, old) in pairs.chain(negative.iter().zip(old_negative)) {
                put_apart(out, *new, *old);
            }
        }
        (
            Buckets::Float {
                count,
                zero,
                positive,
                negative,
            },
            Buckets::Float {
                count: old_count,
                zero: old_zero,
                positive: old_positive,
                negative: old_negative,
            },
        ) => {
            put_float_near(out, *count, *old_count);
            put_float_near(out, *zero, *old_zero);
            let pairs = positive.iter().zip(old_positive);
            for (new, old) in pairs.chain(negative.iter().zip(old_negative)) {
                put_float_near(out, *new, *old);
            }
        }
        // `same_shape` has said that they are of one kind.
        (Buckets::Integer { .. }, Buckets::Float { .. })
        | (Buckets::Float { .. }, Buckets::Integer { .. }) => {}
    }
}

fn take_moved(reader: &mut ByteReader<'_>, old: &Buckets) -> Result<Buckets, DecodeError> {
    match old {
        Buckets::Integer {
            count,
            zero,
            positive,
            negative,
        } => {
            let mut near = |old: &u64| take_apart(reader, *old);
            Ok(Buckets::Integer {
                count: near(count)?,
                zero: near(zero)?,
                positive: positive.iter().map(&mut near).collect::<Result<_, _>>()?,
                negative: negative.iter().map(&mut near).collect::<Result<_, _>>()?,
            })
        }
        Buckets::Float {
            count,
            zero,
            positive,
            negative,
        } => {
            let mut near = |old: &f64| reader.float_near(*old);
            Ok(Buckets::Float {
                count: near(count)?,
                zero: near(zero)?,
                positive: positive.iter().map(&mut near).collect::<Result<_, _>>()?,
                negative: negative.iter().map(&mut near).collect::<Result<_, _>>()?,
            })
        }
    }
}

fn put_complete(out: &mut Vec<u8>, histogram: &Histogram) {
    out.push(match histogram.buckets {
        Buckets::Integer { .. } => INTEGER,
        Buckets::Float { .. } => FLOAT,
    });
    out.push(reset_code(histogram.reset));
    put_signed(out, i64::from(histogram.schema));
    put_float_near(out, histogram.zero_threshold, 0.0);
    put_float_near(out, histogram.sum, 0.0);
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_signed(out, i64::from(span.offset));
            put_varint(out, u64::from(span.length));
        }
    }
    put_floats(out, &histogram.custom_bounds);
    match &histogram.buckets {
        Buckets::Integer {
            count,
            zero,
            positive,
            negative,
        } => {
            put_varint(out, *count);
            put_varint(out, *zero);
            for counts in [positive, negative] {
                put_varint(out, counts.len() as u64);
                let mut before = 0;
                for count in counts {
                    put_apart(out, *count, before);
                    before = *count;
                }
            }
        }
        Buckets::Float {
            count,
            zero,
            positive,
            negative,
        } => {
            put_float_near(out, *count, 0.0);
            put_float_near(out, *zero, 0.0);
            put_floats(out, positive);
            put_floats(out, negative);
        }
    }
}

fn take_complete(
    reader: &mut ByteReader<'_>,
    kind: u8,
    budget: &mut Budget,
) -> Result<Histogram, DecodeError> {
    Ok(Histogram {
        reset: take_reset(reader)?,
        schema: i8::try_from(reader.signed()?)
            .map_err(|_| DecodeError::Malformed("a histogram's schema is out of range"))?,
        zero_threshold: reader.float_near(0.0)?,
        sum: reader.float_near(0.0)?,
        positive_spans: take_spans(reader, budget)?,
        negative_spans: take_spans(reader, budget)?,
        custom_bounds: take_floats(reader, budget)?,
        buckets: if kind == INTEGER {
            Buckets::Integer {
                count: reader.varint()?,
                zero: reader.varint()?,
                positive: take_counts(reader, budget)?,
                negative: take_counts(reader, budget)?,
            }
        } else {
            Buckets::Float {
                count: reader.float_near(0.0)?,
                zero: reader.float_near(0.0)?,
                positive: take_floats(reader, budget)?,
                negative: take_floats(reader, budget)?,
            }
        },
    })
}

fn take_spans(reader: &mut ByteReader<'_>, budget: &mut Budget) -> Result<Vec<Span>, DecodeError> {
    let count = take_length(reader, budget)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        spans.push(Span {
            offset: i32::try_from(reader.signed()?)
                .map_err(|_| DecodeError::Malformed("a span's offset is out of range"))?,
            length: reader.u32("a span's length is out of range")?,
        });
    }
    Ok(spans)
}

fn take_counts(reader: &mut ByteReader<'_>, budget: &mut Budget) -> Result<Vec<u64>, DecodeError> {
    let count = take_length(reader, budget)?;
    let mut counts = Vec::with_capacity(count);
    let mut before = 0;
    for _ in 0..count {
        before = take_apart(reader, before)?;
        counts.push(before);
    }
    Ok(counts)
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    put_varint(out, values.len() as u64);
    let mut before = 0.0;
    for value in values {
        put_float_near(out, *value, before);
        before = *value;
    }
}

fn take_floats(reader: &mut ByteReader<'_>, budget: &mut Budget) -> Result<Vec<f64>, DecodeError> {
    let count = take_length(reader, budget)?;
    let mut values = Vec::with_capacity(count);
    let mut before = 0.0;
    for _ in 0..count {
        before = reader.float_near(before)?;
        values.push(before);
    }
    Ok(values)
}

/// Returns the length of a list, paid for.
fn take_length(reader: &mut ByteReader<'_>, budget: &mut Budget) -> Result<usize, DecodeError> {
    let count = reader.count("parts of a histogram", HISTOGRAM_PARTS_MAX)?;
    budget.pay(count)?;
    Ok(count)
}

#[expect(clippy::cast_possible_wrap, reason = "wraps on purpose")]
fn put_apart(out: &mut Vec<u8>, new: u64, old: u64) {
    put_signed(out, new.wrapping_sub(old) as i64);
}

#[expect(clippy::cast_sign_loss, reason = "wraps on purpose")]
fn take_apart(reader: &mut ByteReader<'_>, old: u64) -> Result<u64, DecodeError> {
    reader.signed().map(|apart| old.wrapping_add(apart as u64))
}

const fn reset_code(reset: CounterReset) -> u8 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn take_reset(reader: &mut ByteReader<'_>) -> Result<CounterReset, DecodeError> {
    match reader.byte()? {
        0 => Ok(CounterReset::Unknown),
        1 => Ok(CounterReset::Reset),
        2 => Ok(CounterReset::NotReset),
        3 => Ok(CounterReset::Gauge),
        _ => Err(DecodeError::Malformed(
            "a counter reset is of no known kind",
        )),
    }
}
