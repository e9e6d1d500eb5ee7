//! Chunks of native histograms: one layout of buckets for all samples, then the samples.
//!
//! Layouts are short and samples repeat them, so what a chunk may grow to is bounded by [`CELLS_MAX`], not by its length.

use std::sync::Arc;

use model::{
    Buckets, CUSTOM_BUCKETS_SCHEMA, Histogram, HistogramError, Sample, Span, Value, is_stale,
};

use super::{CELLS_MAX, Time, reset_of};
use crate::bits::{Bits, XorFloat};
use crate::bytes::{Malformed, Reader};

/// Exponents of zero thresholds that are powers of two are stored with this added.
const EXPONENT_BIAS: i32 = 243;
/// Custom bounds that are whole thousandths are stored as those, plus one.
const THOUSANDTHS: f64 = 1_000.0;

/// What stands before the samples.
struct Head {
    count: usize,
    flags: u8,
    layout: Layout,
}

/// What all histograms of a chunk have in common.
struct Layout {
    schema: i8,
    zero_threshold: f64,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    custom_bounds: Vec<f64>,
    positive: usize,
    negative: usize,
}

/// A whole number that is stored as the difference of its difference to the one before.
#[derive(Clone, Copy)]
struct Tracked {
    value: i64,
    delta: i64,
}

impl Tracked {
    const fn starting_at(value: i64) -> Self {
        Self { value, delta: 0 }
    }

    fn advance(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        self.delta = self.delta.wrapping_add(bits.varbit_int()?);
        self.value = self.value.wrapping_add(self.delta);
        Ok(())
    }
}

/// Appends histograms with integer counts; returns how many numbers they hold.
pub(super) fn decode_integers(data: &[u8], out: &mut Vec<Sample>) -> Result<usize, Malformed> {
    let Some((head, mut bits)) = Head::take(data)? else {
        return Ok(0);
    };
    let bits = &mut bits;
    let mut time = Time {
        at: bits.varbit_int()?,
        delta: 0,
    };
    let mut count = Tracked::starting_at(bits.varbit_uint()?.cast_signed());
    let mut zero = Tracked::starting_at(bits.varbit_uint()?.cast_signed());
    let mut sum = XorFloat::starting_at(bits.float()?);
    let mut take_first = |buckets: usize| -> Result<Vec<Tracked>, Malformed> {
        (0..buckets)
            .map(|_| Ok(Tracked::starting_at(bits.varbit_int()?)))
            .collect()
    };
    let mut positive = take_first(head.layout.positive)?;
    let mut negative = take_first(head.layout.negative)?;
    let mut cells = 0;
    for row in 0..head.count {
        if row > 0 {
            time.advance(bits.varbit_int()?);
            count.advance(bits)?;
            zero.advance(bits)?;
            sum.advance(bits)?;
        }
        if is_stale(sum.value) {
            cells += head.push_stale(time, out);
            continue;
        }
        if row > 0 {
            for bucket in positive.iter_mut().chain(&mut negative) {
                bucket.advance(bits)?;
            }
        }
        let buckets = Buckets::Integer {
            count: count.value.cast_unsigned(),
            zero: zero.value.cast_unsigned(),
            positive: absolute(&positive)?,
            negative: absolute(&negative)?,
        };
        cells += head.push(row, time, sum.value, buckets, out)?;
        check_size(cells)?;
    }
    Ok(cells)
}

/// Appends histograms with float counts; returns how many numbers they hold.
pub(super) fn decode_floats(data: &[u8], out: &mut Vec<Sample>) -> Result<usize, Malformed> {
    let Some((head, mut bits)) = Head::take(data)? else {
        return Ok(0);
    };
    let bits = &mut bits;
    let mut time = Time {
        at: bits.varbit_int()?,
        delta: 0,
    };
    let mut take_first = |count: usize| -> Result<Vec<XorFloat>, Malformed> {
        (0..count)
            .map(|_| Ok(XorFloat::starting_at(bits.float()?)))
            .collect()
    };
    // Count, zero count, sum.
    let mut totals = take_first(3)?;
    let mut positive = take_first(head.layout.positive)?;
    let mut negative = take_first(head.layout.negative)?;
    let mut cells = 0;
    for row in 0..head.count {
        if row > 0 {
            time.advance(bits.varbit_int()?);
            for total in &mut totals {
                total.advance(bits)?;
            }
        }
        let sum = totals[2].value;
        if is_stale(sum) {
            cells += head.push_stale(time, out);
            continue;
        }
        if row > 0 {
            for bucket in positive.iter_mut().chain(&mut negative) {
                bucket.advance(bits)?;
            }
        }
        let values = |floats: &[XorFloat]| floats.iter().map(|float| float.value).collect();
        let buckets = Buckets::Float {
            count: totals[0].value,
            zero: totals[1].value,
            positive: values(&positive),
            negative: values(&negative),
        };
        cells += head.push(row, time, sum, buckets, out)?;
        check_size(cells)?;
    }
    Ok(cells)
}

fn check_size(cells: usize) -> Result<(), Malformed> {
    if cells > CELLS_MAX {
        return Err(Malformed("its histograms hold too many numbers"));
    }
    Ok(())
}

/// Sums up the differences between buckets.
fn absolute(differences: &[Tracked]) -> Result<Vec<u64>, Malformed> {
    let mut count = 0i64;
    differences
        .iter()
        .map(|difference| {
            count = count.wrapping_add(difference.value);
            u64::try_from(count).map_err(|_| Malformed("a bucket has a negative count"))
        })
        .collect()
}

impl Head {
    /// Reads what stands before the first sample; `None` when there are none.
    fn take(data: &[u8]) -> Result<Option<(Self, Bits<'_>)>, Malformed> {
        let mut head = Reader::new(data);
        let count = usize::from(head.u16("it has no number of samples")?);
        let flags = head.u8("it has no flags")?;
        if count == 0 {
            return Ok(None);
        }
        let mut bits = Bits::new(head.rest());
        let layout = Layout::take(&mut bits)?;
        let head = Self {
            count,
            flags,
            layout,
        };
        Ok(Some((head, bits)))
    }

    fn push_stale(&self, time: Time, out: &mut Vec<Sample>) -> usize {
        out.push(time.sample(Value::Histogram(Arc::new(Histogram::stale()))));
        1
    }

    /// Appends a histogram; returns how many numbers it holds.
    fn push(
        &self,
        row: usize,
        time: Time,
        sum: f64,
        buckets: Buckets,
        out: &mut Vec<Sample>,
    ) -> Result<usize, Malformed> {
        let layout = &self.layout;
        let histogram = Histogram {
            reset: reset_of(self.flags, row == 0),
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            sum,
            positive_spans: layout.positive_spans.clone(),
            negative_spans: layout.negative_spans.clone(),
            custom_bounds: layout.custom_bounds.clone(),
            buckets,
        };
        // They share a layout, so one stands for all. Negative counts are results of arithmetic that Prometheus stores too.
        if row == 0 {
            match histogram.validate() {
                Ok(()) | Err(HistogramError::NegativeCount { .. }) => {}
                Err(_) => return Err(Malformed("its layout of buckets contradicts itself")),
            }
        }
        out.push(time.sample(Value::Histogram(Arc::new(histogram))));
        let spans = layout.positive_spans.len() + layout.negative_spans.len();
        Ok(1 + layout.positive + layout.negative + spans + layout.custom_bounds.len())
    }
}

impl Layout {
    fn take(bits: &mut Bits<'_>) -> Result<Self, Malformed> {
        let zero_threshold = take_zero_threshold(bits)?;
        let schema = i8::try_from(bits.varbit_int()?)
            .map_err(|_| Malformed("the schema of its histograms is not known"))?;
        let (positive_spans, positive) = take_spans(bits)?;
        let (negative_spans, negative) = take_spans(bits)?;
        let custom_bounds = if schema == CUSTOM_BUCKETS_SCHEMA {
            take_bounds(bits)?
        } else {
            Vec::new()
        };
        // Each bucket takes a bit of the first sample at least.
        if positive.saturating_add(negative) > bits.left() {
            return Err(Malformed("it has more buckets than bits"));
        }
        Ok(Self {
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            custom_bounds,
            positive,
            negative,
        })
    }
}

/// Takes a zero threshold: 0, a power of two by its exponent, or any other in full.
fn take_zero_threshold(bits: &mut Bits<'_>) -> Result<f64, Malformed> {
    match bits.byte()? {
        0 => Ok(0.0),
        255 => bits.float(),
        // As Go has exponents: the fraction is one half, not one.
        exponent => Ok(2f64.powi(i32::from(exponent) - EXPONENT_BIAS - 1)),
    }
}

/// Takes spans, and sums up their buckets.
fn take_spans(bits: &mut Bits<'_>) -> Result<(Vec<Span>, usize), Malformed> {
    let count = bits.varbit_uint()?;
    let mut spans = Vec::new();
    let mut buckets = 0usize;
    // Each takes two bits at least, so that the bits bound them.
    for _ in 0..count {
        let too_far = |_| Malformed("a span of its buckets is too long or too far");
        let length = u32::try_from(bits.varbit_uint()?).map_err(too_far)?;
        let offset = i32::try_from(bits.varbit_int()?).map_err(too_far)?;
        buckets = buckets.saturating_add(length as usize);
        spans.push(Span { offset, length });
    }
    Ok((spans, buckets))
}

fn take_bounds(bits: &mut Bits<'_>) -> Result<Vec<f64>, Malformed> {
    let count = bits.varbit_uint()?;
    let mut bounds = Vec::new();
    for _ in 0..count {
        bounds.push(match bits.varbit_uint()? {
            0 => bits.float()?,
            thousandths => {
                let whole = u32::try_from(thousandths - 1)
                    .map_err(|_| Malformed("a bound of its buckets is out of range"))?;
                f64::from(whole) / THOUSANDTHS
            }
        });
    }
    Ok(bounds)
}
