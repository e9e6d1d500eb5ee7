//! Columns of native histograms.
//!
//! What rarely changes (schema, spans, bounds, kind) is a *shape* and stands in a dictionary; each histogram names its shape. Counts
//! are columns again: per shape, one integer (or float) stream per bucket, over the histograms of that shape, so that a bucket that
//! no observation hits costs three bytes a page. Sums are one float stream over all.
//!
//! The layout is drawn in FORMAT.md, section "Histogram column".

use std::sync::Arc;

use model::{Buckets, CounterReset, Histogram, Span};

use super::floats::{FloatScratch, decode_floats, encode_floats};
use super::ints::{Differences, decode_ints, encode_ints};
use super::varint::{put_length, put_varint, put_zigzag, take_length, take_varint, take_zigzag};
use crate::bytes::{Malformed, Reader};

/// Numbers that the histograms of one page may hold together: what decoding it allocates is bounded by some 8 bytes each.
pub(super) const CELLS_MAX: usize = 1 << 22;

const FLOAT_KIND: u8 = 1;

/// Returns how many numbers the histograms hold: counts, spans and bounds.
pub(super) fn cells<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> usize {
    histograms
        .map(|histogram| cells_of(histogram, bucket_counts(histogram)))
        .sum()
}

const fn cells_of(histogram: &Histogram, (positive, negative): (usize, usize)) -> usize {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    positive + negative + 2 + spans + histogram.custom_bounds.len()
}

/// Appends the histograms; nothing for none. The caller checked that [`cells`] is at most [`CELLS_MAX`].
pub(super) fn encode_histograms(
    histograms: &[&Histogram],
    scratch: &mut FloatScratch,
    out: &mut Vec<u8>,
) {
    if histograms.is_empty() {
        return;
    }
    let (shapes, shape_of) = shapes(histograms);
    put_length(out, shapes.len());
    for shape in &shapes {
        put_shape(shape, scratch, out);
    }
    put_ints(shape_of.iter().copied(), scratch, out);
    put_ints(
        histograms
            .iter()
            .map(|histogram| reset_code(histogram.reset)),
        scratch,
        out,
    );
    let sums: Vec<f64> = histograms.iter().map(|histogram| histogram.sum).collect();
    encode_floats(&sums, false, scratch, out);
    for (number, shape) in (0i64..).zip(&shapes) {
        let members: Vec<&Buckets> = histograms
            .iter()
            .zip(&shape_of)
            .filter(|(_, of)| **of == number)
            .map(|(histogram, _)| &histogram.buckets)
            .collect();
        put_counts(shape, &members, scratch, out);
    }
}

/// Returns the distinct shapes in order of appearance and, for each histogram, the number of its shape.
fn shapes<'a>(histograms: &[&'a Histogram]) -> (Vec<&'a Histogram>, Vec<i64>) {
    let mut shapes: Vec<&Histogram> = Vec::new();
    let mut current = 0;
    let numbers = histograms
        .iter()
        .map(|histogram| {
            if !shapes
                .get(current)
                .is_some_and(|shape| same_shape(shape, histogram))
            {
                current = shapes
                    .iter()
                    .position(|shape| same_shape(shape, histogram))
                    .unwrap_or_else(|| {
                        shapes.push(histogram);
                        shapes.len() - 1
                    });
            }
            i64::try_from(current).unwrap_or(i64::MAX)
        })
        .collect();
    (shapes, numbers)
}

fn same_shape(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    is_float(a) == is_float(b)
        && a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && bucket_counts(a) == bucket_counts(b)
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_bounds.len() == b.custom_bounds.len()
        && bits(&a.custom_bounds) == bits(&b.custom_bounds)
}

const fn is_float(histogram: &Histogram) -> bool {
    matches!(histogram.buckets, Buckets::Float { .. })
}

const fn bucket_counts(histogram: &Histogram) -> (usize, usize) {
    match &histogram.buckets {
        Buckets::Integer {
            positive, negative, ..
        } => (positive.len(), negative.len()),
        Buckets::Float {
            positive, negative, ..
        } => (positive.len(), negative.len()),
    }
}

fn put_shape(shape: &Histogram, scratch: &mut FloatScratch, out: &mut Vec<u8>) {
    out.push(if is_float(shape) { FLOAT_KIND } else { 0 });
    out.extend_from_slice(&shape.schema.to_le_bytes());
    encode_floats(&[shape.zero_threshold], false, scratch, out);
    for spans in [&shape.positive_spans, &shape.negative_spans] {
        put_length(out, spans.len());
        for span in spans {
            put_zigzag(out, i64::from(span.offset));
            put_varint(out, u64::from(span.length));
        }
    }
    // Told apart from the spans, so that even a histogram whose parts disagree comes back as it was.
    let (positive, negative) = bucket_counts(shape);
    put_length(out, positive);
    put_length(out, negative);
    put_length(out, shape.custom_bounds.len());
    encode_floats(&shape.custom_bounds, false, scratch, out);
}

fn put_ints(values: impl Iterator<Item = i64>, scratch: &mut FloatScratch, out: &mut Vec<u8>) {
    scratch.whole.clear();
    scratch.whole.extend(values);
    encode_ints(&scratch.whole, Differences::First, &mut scratch.ints, out);
}

fn put_counts(
    shape: &Histogram,
    members: &[&Buckets],
    scratch: &mut FloatScratch,
    out: &mut Vec<u8>,
) {
    let (positive, negative) = bucket_counts(shape);
    let mut floats = Vec::new();
    for cell in 0..2 + positive + negative {
        if is_float(shape) {
            floats.clear();
            floats.extend(
                members
                    .iter()
                    .map(|buckets| float_cell(buckets, positive, cell)),
            );
            encode_floats(&floats, false, scratch, out);
        } else {
            put_ints(
                members
                    .iter()
                    .map(|buckets| integer_cell(buckets, positive, cell)),
                scratch,
                out,
            );
        }
    }
}

/// Cells are count, zero, positive buckets, negative buckets.
fn integer_cell(buckets: &Buckets, positives: usize, cell: usize) -> i64 {
    let Buckets::Integer {
        count,
        zero,
        positive,
        negative,
    } = buckets
    else {
        return 0;
    };
    cell_of((*count, *zero), positive, negative, positives, cell)
        .unwrap_or(0)
        .cast_signed()
}

fn float_cell(buckets: &Buckets, positives: usize, cell: usize) -> f64 {
    let Buckets::Float {
        count,
        zero,
        positive,
        negative,
    } = buckets
    else {
        return 0.0;
    };
    cell_of((*count, *zero), positive, negative, positives, cell).unwrap_or(0.0)
}

fn cell_of<T: Copy>(
    front: (T, T),
    positive: &[T],
    negative: &[T],
    positives: usize,
    cell: usize,
) -> Option<T> {
    match cell {
        0 => Some(front.0),
        1 => Some(front.1),
        at if at < 2 + positives => positive.get(at - 2).copied(),
        at => negative.get(at - 2 - positives).copied(),
    }
}

const fn reset_code(reset: CounterReset) -> i64 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn reset_of(code: i64) -> Result<CounterReset, Malformed> {
    Ok(match code {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return Err(Malformed("unknown counter reset hint")),
    })
}

struct Shape {
    /// The histogram without counts.
    template: Histogram,
    positive: usize,
    negative: usize,
}

/// Reads `count` histograms from the front of `from`; the caller bounds `count`.
pub(super) fn decode_histograms(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
) -> Result<Vec<Arc<Histogram>>, Malformed> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let shape_count = take_length(from, count, "more shapes than histograms")?;
    let mut shapes = Vec::new();
    // A stream of many bounds can be a few bytes long, so all shapes together share what a page may hold.
    let mut bounds_left = CELLS_MAX;
    for _ in 0..shape_count {
        let shape = take_shape(from, bounds_left, scratch)?;
        bounds_left -= shape.template.custom_bounds.len();
        shapes.push(shape);
    }
    decode_ints(from, count, &mut scratch.ints, &mut scratch.whole)?;
    let mut members = vec![Vec::new(); shapes.len()];
    for (at, number) in scratch.whole.iter().enumerate() {
        usize::try_from(*number)
            .ok()
            .and_then(|number| members.get_mut(number))
            .ok_or(Malformed("histogram of an unknown shape"))?
            .push(at);
    }
    let all_cells: usize = shapes
        .iter()
        .zip(&members)
        .map(|(shape, of)| cells_of(&shape.template, (shape.positive, shape.negative)) * of.len())
        .sum();
    if all_cells > CELLS_MAX {
        return Err(Malformed("larger histograms than a page may hold"));
    }
    let mut resets = Vec::new();
    decode_ints(from, count, &mut scratch.ints, &mut resets)?;
    let mut sums = Vec::new();
    decode_floats(from, count, scratch, &mut sums)?;
    let mut out: Vec<Option<Histogram>> = vec![None; count];
    for (shape, of) in shapes.iter().zip(&members) {
        let buckets = take_counts(from, shape, of.len(), scratch)?;
        for (at, buckets) in of.iter().zip(buckets) {
            out[*at] = Some(Histogram {
                reset: reset_of(resets[*at])?,
                sum: sums[*at],
                buckets,
                ..shape.template.clone()
            });
        }
    }
    out.into_iter()
        .map(|histogram| {
            histogram
                .map(Arc::new)
                .ok_or(Malformed("histogram of an unknown shape"))
        })
        .collect()
}

fn take_shape(
    from: &mut Reader<'_>,
    bounds_max: usize,
    scratch: &mut FloatScratch,
) -> Result<Shape, Malformed> {
    let kind = from.u8("shape is cut off")?;
    if kind > FLOAT_KIND {
        return Err(Malformed("unknown kind of histogram"));
    }
    let schema = i8::from_le_bytes([from.u8("shape is cut off")?]);
    let mut zero_threshold = Vec::with_capacity(1);
    decode_floats(from, 1, scratch, &mut zero_threshold)?;
    let positive_spans = take_spans(from)?;
    let negative_spans = take_spans(from)?;
    // Each count is a stream of two bytes at least.
    let bytes_left = from.rest().len();
    let positive = take_length(from, bytes_left, "more buckets than bytes")?;
    let negative = take_length(from, bytes_left, "more buckets than bytes")?;
    let bounds = take_length(from, bounds_max, "too many custom bounds")?;
    let mut custom_bounds = Vec::new();
    decode_floats(from, bounds, scratch, &mut custom_bounds)?;
    let buckets = if kind == FLOAT_KIND {
        Buckets::Float {
            count: 0.0,
            zero: 0.0,
            positive: vec![],
            negative: vec![],
        }
    } else {
        Buckets::Integer {
            count: 0,
            zero: 0,
            positive: vec![],
            negative: vec![],
        }
    };
    let template = Histogram {
        reset: CounterReset::Unknown,
        schema,
        zero_threshold: zero_threshold.first().copied().unwrap_or(0.0),
        sum: 0.0,
        positive_spans,
        negative_spans,
        custom_bounds,
        buckets,
    };
    Ok(Shape {
        template,
        positive,
        negative,
    })
}

fn take_spans(from: &mut Reader<'_>) -> Result<Vec<Span>, Malformed> {
    let count = take_length(from, from.rest().len() / 2, "more spans than bytes")?;
    (0..count)
        .map(|_| {
            let offset =
                i32::try_from(take_zigzag(from, "bad span")?).map_err(|_| Malformed("bad span"))?;
            let length =
                u32::try_from(take_varint(from, "bad span")?).map_err(|_| Malformed("bad span"))?;
            Ok(Span { offset, length })
        })
        .collect()
}

/// Reads the counts of `members` histograms of one shape.
fn take_counts(
    from: &mut Reader<'_>,
    shape: &Shape,
    members: usize,
    scratch: &mut FloatScratch,
) -> Result<Vec<Buckets>, Malformed> {
    let empty = match &shape.template.buckets {
        Buckets::Integer { .. } => Buckets::Integer {
            count: 0,
            zero: 0,
            positive: Vec::with_capacity(shape.positive),
            negative: Vec::with_capacity(shape.negative),
        },
        Buckets::Float { .. } => Buckets::Float {
            count: 0.0,
            zero: 0.0,
            positive: Vec::with_capacity(shape.positive),
            negative: Vec::with_capacity(shape.negative),
        },
    };
    let mut all = vec![empty; members];
    let (mut whole, mut floats) = (Vec::new(), Vec::new());
    for cell in 0..2 + shape.positive + shape.negative {
        let side = if cell < 2 + shape.positive {
            Side::Positive
        } else {
            Side::Negative
        };
        match &shape.template.buckets {
            Buckets::Integer { .. } => decode_ints(from, members, &mut scratch.ints, &mut whole)?,
            Buckets::Float { .. } => {
                floats.clear();
                decode_floats(from, members, scratch, &mut floats)?;
            }
        }
        for (at, buckets) in all.iter_mut().enumerate() {
            match buckets {
                Buckets::Integer {
                    count,
                    zero,
                    positive,
                    negative,
                } => {
                    set_cell(
                        (count, zero),
                        (positive, negative),
                        side,
                        cell,
                        whole[at].cast_unsigned(),
                    );
                }
                Buckets::Float {
                    count,
                    zero,
                    positive,
                    negative,
                } => {
                    set_cell((count, zero), (positive, negative), side, cell, floats[at]);
                }
            }
        }
    }
    Ok(all)
}

#[derive(Clone, Copy)]
enum Side {
    Positive,
    Negative,
}

fn set_cell<T>(
    front: (&mut T, &mut T),
    sides: (&mut Vec<T>, &mut Vec<T>),
    side: Side,
    cell: usize,
    value: T,
) {
    match (cell, side) {
        (0, _) => *front.0 = value,
        (1, _) => *front.1 = value,
        (_, Side::Positive) => sides.0.push(value),
        (_, Side::Negative) => sides.1.push(value),
    }
}
