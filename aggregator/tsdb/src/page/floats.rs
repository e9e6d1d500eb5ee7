//! Columns of floats: decimals where there are decimals, XOR elsewhere, bit-exact always.
//!
//! The layout is drawn in FORMAT.md, section "Float stream".

use std::sync::Arc;

use super::decimal::{
    POWERS, SCALE_MAX, common_scale, scale_of, starting_scale, to_float, to_whole,
};
use super::ints::{
    Differences, IntScratch, decode_ints, encode_constant, encode_ints, peek, take_constant,
};
use super::varint::{put_length, put_varint, put_zigzag, take_length, take_varint, take_zigzag};
use super::xor::{decode_xor, encode_xor};
use crate::bytes::{Malformed, Reader};

const FORM_MASK: u8 = 0b0001_1111;
/// All values have the same bits, and no decimal form.
const FORM_SAME: u8 = 30;
const FORM_XOR: u8 = 31;
const EXCEPTIONS: u8 = 1 << 5;
const BOUNDS_RAW: u8 = 1 << 6;
const BOUNDS_WHOLE: u8 = 1 << 7;

/// Above this many bytes a value, XOR is tried as well.
const XOR_TRIED_ABOVE: usize = 4;

/// Buffers that encoding and decoding reuse.
#[derive(Debug, Default)]
pub(crate) struct FloatScratch {
    pub(super) ints: IntScratch,
    pub(super) whole: Vec<i64>,
    bytes: Vec<u8>,
    xor: Vec<u8>,
}

/// Least and greatest of the values that are numbers; `None` when none is.
pub(crate) type Bounds = Option<(f64, f64)>;

/// Appends `values`; nothing for no values. `with_bounds`: the stream tells its bounds without being decoded.
pub(super) fn encode_floats(
    values: &[f64],
    with_bounds: bool,
    scratch: &mut FloatScratch,
    out: &mut Vec<u8>,
) {
    let Some(head) = values.first() else {
        return;
    };
    if values.iter().all(|value| value.to_bits() == head.to_bits()) {
        put_same(*head, out);
        return;
    }
    if !encode_decimals(values, with_bounds, scratch, out) {
        put_xor(values, with_bounds, scratch, out);
    }
}

/// Appends a column whose values all have the bits of this one.
fn put_same(value: f64, out: &mut Vec<u8>) {
    match scale_of(value, 0).and_then(|scale| Some((scale, to_whole(value, scale)?))) {
        Some((scale, whole)) => {
            out.push(scale);
            encode_constant(whole, out);
        }
        None => {
            out.push(FORM_SAME);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

/// Puts the column as whole numbers into `whole` and returns their scale and how many values have no decimal form there. Those get the
/// number before them, which costs the frame nothing. `None` when they are too many.
fn to_wholes(values: &[f64], whole: &mut Vec<i64>) -> Option<(u8, usize)> {
    let scale = starting_scale(values);
    whole.clear();
    whole.resize(values.len(), 0);
    let all = whole.iter_mut().zip(values).all(|(cell, value)| {
        let found = to_whole(*value, scale);
        *cell = found.unwrap_or(0);
        found.is_some()
    });
    if all {
        return Some((scale, 0));
    }
    let scale = common_scale(values, scale)?;
    let mut exceptions = 0;
    let mut last = values.iter().find_map(|value| to_whole(*value, scale))?;
    whole.clear();
    whole.extend(values.iter().map(|value| {
        match to_whole(*value, scale) {
            Some(m) => last = m,
            None => exceptions += 1,
        }
        last
    }));
    (exceptions <= values.len() / 4 + 1).then_some((scale, exceptions))
}

/// Appends the decimal form, or something shorter; `false` when too many values have none and nothing was written.
fn encode_decimals(
    values: &[f64],
    with_bounds: bool,
    scratch: &mut FloatScratch,
    out: &mut Vec<u8>,
) -> bool {
    let FloatScratch {
        ints, whole, bytes, ..
    } = scratch;
    let Some((scale, exceptions)) = to_wholes(values, whole) else {
        return false;
    };
    bytes.clear();
    let anchor = encode_ints(whole, Differences::First, ints, bytes);
    let constant = whole.iter().all(|m| *m == anchor);

    let start = out.len();
    out.push(scale);
    let mut flags = 0;
    if with_bounds && exceptions > 0 {
        if let Some((min, max)) = bounds_of(values) {
            flags |= BOUNDS_RAW;
            out.extend_from_slice(&min.to_bits().to_le_bytes());
            out.extend_from_slice(&max.to_bits().to_le_bytes());
        }
    } else if with_bounds && !constant {
        let (min, max) = whole
            .iter()
            .fold((anchor, anchor), |(min, max), m| (min.min(*m), max.max(*m)));
        flags |= BOUNDS_WHOLE;
        put_zigzag(out, min.wrapping_sub(anchor));
        put_varint(out, max.wrapping_sub(min).cast_unsigned());
    }
    if exceptions > 0 {
        flags |= EXCEPTIONS;
        put_exceptions(values, scale, exceptions, out);
    }
    out[start] |= flags;
    out.extend_from_slice(&scratch.bytes);

    let decimal_len = out.len() - start;
    if decimal_len > values.len() * XOR_TRIED_ABOVE {
        scratch.xor.clear();
        encode_xor(values, &mut scratch.xor);
        if scratch.xor.len() + 17 < decimal_len {
            out.truncate(start);
            return false;
        }
    }
    true
}

/// Appends positions and bits of the values without a decimal form. The lowest bit of a gap tells that the bits are those of the
/// exception before.
fn put_exceptions(values: &[f64], scale: u8, count: usize, out: &mut Vec<u8>) {
    put_length(out, count);
    let mut next = 0;
    let mut previous = None;
    for (at, value) in values.iter().enumerate() {
        if to_whole(*value, scale).is_some() {
            continue;
        }
        let repeats = previous == Some(value.to_bits());
        put_length(out, (at - next) << 1 | usize::from(repeats));
        if !repeats {
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        previous = Some(value.to_bits());
        next = at + 1;
    }
}

fn put_xor(values: &[f64], with_bounds: bool, scratch: &mut FloatScratch, out: &mut Vec<u8>) {
    match bounds_of(values).filter(|_| with_bounds) {
        Some((min, max)) => {
            out.push(FORM_XOR | BOUNDS_RAW);
            out.extend_from_slice(&min.to_bits().to_le_bytes());
            out.extend_from_slice(&max.to_bits().to_le_bytes());
        }
        None => out.push(FORM_XOR),
    }
    scratch.xor.clear();
    encode_xor(values, &mut scratch.xor);
    out.extend_from_slice(&scratch.xor);
}

fn bounds_of(values: &[f64]) -> Bounds {
    values
        .iter()
        .filter(|value| !value.is_nan())
        .fold(None, |bounds, value| {
            let (min, max) = bounds.unwrap_or((*value, *value));
            Some((min.min(*value), max.max(*value)))
        })
}

/// What stands before the numbers of a float stream.
struct Head {
    form: u8,
    exceptions: bool,
    raw_bounds: Bounds,
    whole_bounds: Option<(i64, u64)>,
}

fn take_head(from: &mut Reader<'_>) -> Result<Head, Malformed> {
    let first = from.u8("float stream ends in its head")?;
    let form = first & FORM_MASK;
    if form > SCALE_MAX && form < FORM_SAME {
        return Err(Malformed("unknown form of float stream"));
    }
    let decimal = form <= SCALE_MAX;
    if !decimal && first & (EXCEPTIONS | BOUNDS_WHOLE) != 0
        || form == FORM_SAME && first != FORM_SAME
    {
        return Err(Malformed(
            "flags that the form of the float stream does not have",
        ));
    }
    let raw_bounds = if first & BOUNDS_RAW != 0 {
        let (min, max) = (from.u64("bad bounds")?, from.u64("bad bounds")?);
        Some((f64::from_bits(min), f64::from_bits(max)))
    } else {
        None
    };
    let whole_bounds = if first & BOUNDS_WHOLE != 0 {
        Some((
            take_zigzag(from, "bad bounds")?,
            take_varint(from, "bad bounds")?,
        ))
    } else {
        None
    };
    Ok(Head {
        form,
        exceptions: first & EXCEPTIONS != 0,
        raw_bounds,
        whole_bounds,
    })
}

/// Returns the bounds of a stream written with them; reads its head only.
pub(super) fn peek_bounds(mut from: Reader<'_>) -> Result<Bounds, Malformed> {
    let head = take_head(&mut from)?;
    if head.form == FORM_SAME {
        let value = f64::from_bits(from.u64("constant is cut off")?);
        return Ok((!value.is_nan()).then_some((value, value)));
    }
    if head.form == FORM_XOR || head.raw_bounds.is_some() || head.exceptions {
        return Ok(head.raw_bounds);
    }
    let power = POWERS[usize::from(head.form)];
    let anchor = peek(from)?.anchor;
    let (below, distance) = head.whole_bounds.unwrap_or((0, 0));
    let min = anchor.wrapping_add(below);
    let max = min.wrapping_add(distance.cast_signed());
    Ok(Some((to_float(min, power), to_float(max, power))))
}

/// What a float stream turned out to be, but for its exceptions.
enum Body<'a> {
    /// Nothing more is in the stream.
    Xor,
    Same(f64),
    /// Whole numbers over a power of ten.
    Decimal(&'a [i64], f64),
}

/// A float stream up to its body.
struct Stream<'a, 'b> {
    body: Body<'a>,
    /// Where the exceptions stand, and how many there are.
    exceptions: (Reader<'b>, usize),
}

/// Reads all of a stream of at least one value but the body of one in XOR.
fn take_stream<'a, 'b>(
    from: &mut Reader<'b>,
    count: usize,
    scratch: &'a mut FloatScratch,
) -> Result<Stream<'a, 'b>, Malformed> {
    let head = take_head(from)?;
    let exceptions_at = *from;
    let mut exceptions = 0;
    let body = match head.form {
        FORM_XOR => Body::Xor,
        FORM_SAME => Body::Same(f64::from_bits(from.u64("constant is cut off")?)),
        scale => {
            if head.exceptions {
                exceptions = skip_exceptions(from, count)?;
            }
            let power = POWERS[usize::from(scale)];
            if let Some(constant) = take_constant(from)? {
                Body::Same(to_float(constant, power))
            } else {
                decode_ints(from, count, &mut scratch.ints, &mut scratch.whole)?;
                Body::Decimal(&scratch.whole, power)
            }
        }
    };
    Ok(Stream {
        body,
        exceptions: (exceptions_at, exceptions),
    })
}

/// Reads `count` values from the front of `from` and appends them to `out`. What `out` and `from` hold after an error means nothing.
/// Callers bound `count`.
pub(super) fn decode_floats(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    if count == 0 {
        return Ok(());
    }
    let start = out.len();
    let Stream { body, exceptions } = take_stream(from, count, scratch)?;
    match body {
        Body::Xor => return decode_xor(from, count, out),
        Body::Same(value) => out.resize(start + count, value),
        // The division by 1 is left out where the compiler knows of it.
        Body::Decimal(whole, 1.0) => out.extend(whole.iter().map(|m| to_float(*m, 1.0))),
        Body::Decimal(whole, power) => out.extend(whole.iter().map(|m| to_float(*m, power))),
    }
    patch(exceptions, &mut out[start..])
}

/// The same, shared: the values are written once, to where they stay.
pub(super) fn decode_shared_floats(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
) -> Result<Arc<[f64]>, Malformed> {
    if count == 0 {
        return Ok(Arc::default());
    }
    let Stream { body, exceptions } = take_stream(from, count, scratch)?;
    let mut values: Arc<[f64]> = match body {
        Body::Xor => {
            let mut values = Vec::with_capacity(count);
            decode_xor(from, count, &mut values)?;
            return Ok(values.into());
        }
        Body::Same(value) => std::iter::repeat_n(value, count).collect(),
        Body::Decimal(whole, 1.0) => whole.iter().map(|m| to_float(*m, 1.0)).collect(),
        Body::Decimal(whole, power) => whole.iter().map(|m| to_float(*m, power)).collect(),
    };
    if let Some(values) = Arc::get_mut(&mut values) {
        patch(exceptions, values)?;
    }
    Ok(values)
}

/// Steps over the exceptions and returns how many there are.
fn skip_exceptions(from: &mut Reader<'_>, count: usize) -> Result<usize, Malformed> {
    let exceptions = take_length(from, count, "more exceptions than values")?;
    for _ in 0..exceptions {
        if take_varint(from, "bad gap of an exception")? & 1 == 0 {
            from.u64("exception is cut off")?;
        }
    }
    Ok(exceptions)
}

fn patch((mut from, exceptions): (Reader<'_>, usize), values: &mut [f64]) -> Result<(), Malformed> {
    if exceptions == 0 {
        return Ok(());
    }
    take_varint(&mut from, "more exceptions than values")?;
    let mut next = 0usize;
    let mut bits = 0;
    for _ in 0..exceptions {
        let gap = take_length(
            &mut from,
            values.len() * 2 + 1,
            "exception outside the column",
        )?;
        if gap & 1 == 0 {
            bits = from.u64("exception is cut off")?;
        }
        let at = next + (gap >> 1);
        *values
            .get_mut(at)
            .ok_or(Malformed("exception outside the column"))? = f64::from_bits(bits);
        next = at + 1;
    }
    Ok(())
}
