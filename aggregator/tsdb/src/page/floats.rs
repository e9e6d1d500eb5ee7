//! Columns of floats: decimals where there are decimals, XOR elsewhere, bit-exact always.
//!
//! The layout is drawn in FORMAT.md, section "Float stream".

use std::iter;
use std::sync::Arc;

use super::decimal::{
    POWERS, SCALE_MAX, common_scale, scale_of, starting_scale, to_float, to_whole,
};
use super::ints::{
    Differences, IntScratch, Numbers, decode_numbers, encode_constant, encode_ints, peek,
    take_constant,
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
    values: Vec<f64>,
    constants: Constants,
    bytes: Vec<u8>,
    xor: Vec<u8>,
}

/// The constant columns decoded last: most columns of zeros, and many others, are shared by all series that have them.
#[derive(Debug, Default)]
struct Constants([Arc<[f64]>; 4]);

impl Constants {
    fn column(&mut self, value: f64, count: usize) -> Arc<[f64]> {
        // 0, 1 and 2 have places of their own.
        let place = (value.to_bits() >> 52) as usize % self.0.len();
        let held = &mut self.0[place];
        let same = |first: &f64| first.to_bits() == value.to_bits();
        if held.len() != count || !held.first().is_some_and(same) {
            *held = iter::repeat_n(value, count).collect();
        }
        Arc::clone(held)
    }
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

/// Where decoded floats go.
trait Floats {
    /// Takes the values, and returns them where they stay.
    fn take(&mut self, values: impl Iterator<Item = f64>) -> &mut [f64];

    /// Takes one value so many times.
    fn take_constant(&mut self, value: f64, count: usize, constants: &mut Constants);
}

/// Behind those that are there.
impl Floats for Vec<f64> {
    fn take(&mut self, values: impl Iterator<Item = f64>) -> &mut [f64] {
        let start = self.len();
        self.extend(values);
        &mut self[start..]
    }

    fn take_constant(&mut self, value: f64, count: usize, _: &mut Constants) {
        self.extend(iter::repeat_n(value, count));
    }
}

/// In place of those that are there: written once, to where they are shared.
impl Floats for Arc<[f64]> {
    fn take(&mut self, values: impl Iterator<Item = f64>) -> &mut [f64] {
        *self = values.collect();
        Self::get_mut(self).unwrap_or_default()
    }

    fn take_constant(&mut self, value: f64, count: usize, constants: &mut Constants) {
        *self = constants.column(value, count);
    }
}

/// Reads `count` values from the front of `from` and appends them to `out`. What `out` and `from` hold after an error means nothing.
/// Callers bound `count`.
pub(super) fn decode_floats(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    decode_to(out, from, count, scratch)
}

/// The same, shared.
pub(super) fn decode_shared_floats(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
) -> Result<Arc<[f64]>, Malformed> {
    let mut values = Arc::default();
    decode_to(&mut values, from, count, scratch)?;
    Ok(values)
}

fn decode_to(
    out: &mut impl Floats,
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut FloatScratch,
) -> Result<(), Malformed> {
    if count == 0 {
        return Ok(());
    }
    let FloatScratch {
        ints,
        whole,
        values,
        constants,
        ..
    } = scratch;
    let head = take_head(from)?;
    let scale = match head.form {
        FORM_XOR => {
            values.clear();
            decode_xor(from, count, values)?;
            out.take(values.iter().copied());
            return Ok(());
        }
        FORM_SAME => {
            let value = f64::from_bits(from.u64("constant is cut off")?);
            out.take_constant(value, count, constants);
            return Ok(());
        }
        scale => scale,
    };
    let exceptions_at = *from;
    let exceptions = if head.exceptions {
        skip_exceptions(from, count)?
    } else {
        0
    };
    let power = POWERS[usize::from(scale)];
    let values = match take_constant(from)? {
        Some(constant) if exceptions == 0 => {
            out.take_constant(to_float(constant, power), count, constants);
            return Ok(());
        }
        Some(constant) => out.take(iter::repeat_n(to_float(constant, power), count)),
        None => {
            let numbers = decode_numbers(from, count, ints, whole)?;
            take_decimals(out, whole, numbers, power)
        }
    };
    patch((exceptions_at, exceptions), values)
}

fn take_decimals<'a>(
    out: &'a mut impl Floats,
    whole: &[i64],
    numbers: Numbers,
    power: f64,
) -> &'a mut [f64] {
    let values = match numbers {
        Numbers::Values => out.take(whole.iter().map(|m| to_float(*m, 1.0))),
        Numbers::Differences => {
            let mut sum = 0i64;
            out.take(whole.iter().map(|difference| {
                sum = sum.wrapping_add(*difference);
                to_float(sum, 1.0)
            }))
        }
    };
    // A second time through, because divisions go two by two then, and most columns have none.
    if power != 1.0 {
        for value in &mut *values {
            *value /= power;
        }
    }
    values
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
