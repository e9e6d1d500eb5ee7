//! Columns of integers: differences, then a frame of reference.
//!
//! A column is reduced to *residuals* (the values, their differences, or the differences of those), and most residuals to a
//! narrow *frame*: `minimum + divisor * field`, with fields of one width, packed. Residuals outside the frame are *exceptions* and stand
//! in a list, so that one counter reset or one spike does not widen the whole column. A *sparse* column keeps a bitmap of the
//! residuals that are not 0 and frames only those. All arithmetic is modulo 2^64, so that every column of `i64` survives and no
//! input of the decoder can overflow.
//!
//! The layout is drawn in FORMAT.md, section "Integer stream".

use super::bits::{pack, packed_len, unpack};
use super::frame::Frame;
use super::varint::{
    bits_of, put_length, put_varint, put_zigzag, take_length, take_varint, take_zigzag,
};
use crate::bytes::{Malformed, Reader};

const ORDER_MASK: u8 = 0b11;
const SPARSE: u8 = 1 << 2;
const EXCEPTIONS: u8 = 1 << 3;
const DIVISOR: u8 = 1 << 4;
const CONSTANT: u8 = 1 << 5;
const RESERVED: u8 = 0b1100_0000;

/// The highest order of differences that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differences {
    /// Values and differences: for measurements.
    First,
    /// Differences of differences as well: for clocks.
    Second,
}

/// How much is done for size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effort {
    /// As much as pays for what is kept.
    #[default]
    Full,
    /// Outliers are not looked for: half the time and some 15 % more bytes, for what is soon encoded again.
    Quick,
}

/// Buffers that encoding and decoding reuse, and how hard encoding tries.
#[derive(Debug, Default)]
pub(crate) struct IntScratch {
    pub(crate) effort: Effort,
    first: Vec<i64>,
    second: Vec<i64>,
    nonzero: Vec<i64>,
}

/// Appends `values` to `out`; nothing for no values. Returns the stream's anchor (see [`peek`]).
pub(crate) fn encode_ints(
    values: &[i64],
    differences: Differences,
    scratch: &mut IntScratch,
    out: &mut Vec<u8>,
) -> i64 {
    let Some((&head, tail)) = values.split_first() else {
        return 0;
    };
    if tail.iter().all(|value| *value == head) {
        encode_constant(head, out);
        return head;
    }
    let IntScratch {
        effort,
        first,
        second,
        nonzero,
        ..
    } = scratch;
    let narrow = |frame: Frame, residuals: &[i64]| match effort {
        Effort::Full => frame.narrow(residuals),
        Effort::Quick => frame,
    };
    differentiate(values, first);
    let (whole_values, whole_first) = (Frame::whole(values), Frame::whole(first));
    let mut best = (1, &**first, narrow(whole_first, first));
    // A column that only rises or only falls is no frame with some outliers: its differences are.
    let monotone = whole_first.low >= 0 || whole_first.high <= 0;
    if !monotone || whole_values.bits < best.2.bits {
        let candidate = narrow(whole_values, values);
        if candidate.bits <= best.2.bits {
            best = (0, values, candidate);
        }
    }
    if differences == Differences::Second && values.len() > 2 {
        differentiate(first, second);
        let candidate = narrow(Frame::whole(second), second);
        if candidate.bits < best.2.bits {
            best = (2, second, candidate);
        }
    }
    let (order, residuals, frame) = best;
    let starts: &[i64] = match order {
        0 => &[],
        1 => &[head],
        _ => &[head, first[0]],
    };
    match sparse_frame(residuals, &frame, nonzero, narrow) {
        Some(sparse) => put_framed(
            order | SPARSE,
            starts,
            &sparse,
            nonzero,
            Some(residuals),
            out,
        ),
        None => put_framed(order, starts, &frame, residuals, None, out),
    }
}

fn differentiate(values: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.extend(values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
}

/// Collects the residuals that are not 0 and returns their frame when that and a bitmap are smaller than `frame` over all.
fn sparse_frame(
    residuals: &[i64],
    frame: &Frame,
    nonzero: &mut Vec<i64>,
    narrow: impl Fn(Frame, &[i64]) -> Frame,
) -> Option<Frame> {
    if frame.bits <= residuals.len() {
        return None;
    }
    nonzero.clear();
    nonzero.extend(residuals.iter().copied().filter(|residual| *residual != 0));
    if nonzero.len() > residuals.len() / 8 * 7 {
        return None;
    }
    let sparse = narrow(Frame::whole(nonzero), nonzero);
    (sparse.bits + residuals.len() < frame.bits).then_some(sparse)
}

/// Writes flags, width, divisor, minimum, starts, exceptions, bitmap and fields. `with_zeros` are the residuals that a sparse column's
/// bitmap is made of. Returns the anchor.
fn put_framed(
    flags: u8,
    starts: &[i64],
    frame: &Frame,
    residuals: &[i64],
    with_zeros: Option<&[i64]>,
    out: &mut Vec<u8>,
) -> i64 {
    let divisor = frame.divisor(residuals);
    let width = bits_of(frame.high.wrapping_sub(frame.low).cast_unsigned() / divisor);
    let flags = flags
        | if frame.exceptions > 0 { EXCEPTIONS } else { 0 }
        | if divisor > 1 { DIVISOR } else { 0 };
    out.push(flags);
    out.push(u8::try_from(width).unwrap_or(64));
    if divisor > 1 {
        put_varint(out, divisor);
    }
    put_zigzag(out, frame.low);
    for start in starts {
        put_zigzag(out, *start);
    }
    if frame.exceptions > 0 {
        put_length(out, frame.exceptions);
        let mut next = 0;
        for (at, residual) in residuals.iter().enumerate() {
            if !frame.holds(*residual) {
                put_length(out, at - next);
                put_zigzag(out, residual.wrapping_sub(frame.low));
                next = at + 1;
            }
        }
    }
    if let Some(all) = with_zeros {
        pack(all.iter().map(|residual| u64::from(*residual != 0)), 1, out);
    }
    let field = |residual: &i64| {
        let offset = residual.wrapping_sub(frame.low).cast_unsigned();
        if frame.holds(*residual) { offset } else { 0 }
    };
    // Division costs 20 cycles: most columns need none, many only a shift.
    if divisor == 1 {
        pack(residuals.iter().map(field), width, out);
    } else if divisor.is_power_of_two() {
        let shift = divisor.trailing_zeros();
        pack(
            residuals.iter().map(|residual| field(residual) >> shift),
            width,
            out,
        );
    } else {
        pack(
            residuals.iter().map(|residual| field(residual) / divisor),
            width,
            out,
        );
    }
    starts.first().copied().unwrap_or(frame.low)
}

/// What stands before an integer stream's fields.
#[derive(Debug)]
struct Head {
    order: u8,
    sparse: bool,
    exceptions: bool,
    width: u32,
    divisor: u64,
    minimum: i64,
    starts: [i64; 2],
}

/// What the first bytes of a stream tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peek {
    /// A value of the column's neighbourhood: the constant, the first value, or the frame's minimum.
    pub(crate) anchor: i64,
    /// Whether all values are the anchor.
    pub(crate) constant: bool,
}

/// Appends the stream of a constant column.
pub(crate) fn encode_constant(value: i64, out: &mut Vec<u8>) {
    out.push(CONSTANT);
    put_zigzag(out, value);
}

/// Reads a stream from the front of `from` if it is that of a constant column, and returns the constant.
pub(crate) fn take_constant(from: &mut Reader<'_>) -> Result<Option<i64>, Malformed> {
    if from.rest().first() != Some(&CONSTANT) {
        return Ok(None);
    }
    from.u8("integer stream ends in its head")?;
    take_zigzag(from, "bad constant").map(Some)
}

/// Reads what the first bytes of a stream of at least one value tell.
pub(crate) fn peek(mut from: Reader<'_>) -> Result<Peek, Malformed> {
    match take_head(&mut from)? {
        Ok(head) => Ok(Peek {
            anchor: if head.order == 0 {
                head.minimum
            } else {
                head.starts[0]
            },
            constant: false,
        }),
        Err(constant) => Ok(Peek {
            anchor: constant,
            constant: true,
        }),
    }
}

/// Reads a head, or the value of a constant column.
fn take_head(from: &mut Reader<'_>) -> Result<Result<Head, i64>, Malformed> {
    let flags = from.u8("integer stream ends in its head")?;
    if flags == CONSTANT {
        return Ok(Err(take_zigzag(from, "bad constant")?));
    }
    let order = flags & ORDER_MASK;
    if flags & (RESERVED | CONSTANT) != 0 || order > 2 {
        return Err(Malformed("unknown form of integer stream"));
    }
    let width = u32::from(from.u8("integer stream ends in its head")?);
    if width > 64 {
        return Err(Malformed("fields wider than 64 bits"));
    }
    let divisor = if flags & DIVISOR != 0 {
        take_varint(from, "bad divisor")?
    } else {
        1
    };
    let minimum = take_zigzag(from, "bad minimum")?;
    let mut starts = [0; 2];
    for start in starts.iter_mut().take(usize::from(order)) {
        *start = take_zigzag(from, "bad start")?;
    }
    Ok(Ok(Head {
        order,
        sparse: flags & SPARSE != 0,
        exceptions: flags & EXCEPTIONS != 0,
        width,
        divisor,
        minimum,
        starts,
    }))
}

/// What the numbers of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Its values.
    Values,
    /// Its first value and the differences: each value is the sum of the numbers up to it.
    Differences,
}

/// Reads a stream of `count` values from the front of `from` and puts them in place of `out`'s content. What `out` and `from` hold after
/// an error means nothing. Callers bound `count`.
pub(crate) fn decode_ints(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut IntScratch,
    out: &mut Vec<i64>,
) -> Result<(), Malformed> {
    if decode_numbers(from, count, scratch, out)? == Numbers::Differences {
        integrate(out);
    }
    Ok(())
}

/// The same for whoever goes through the values once and can add up on the way: puts the numbers there and tells what they are.
pub(crate) fn decode_numbers(
    from: &mut Reader<'_>,
    count: usize,
    scratch: &mut IntScratch,
    out: &mut Vec<i64>,
) -> Result<Numbers, Malformed> {
    // What is in the buffer already is written over, so it is not cleared.
    out.resize(count, 0);
    if count == 0 {
        return Ok(Numbers::Values);
    }
    let head = match take_head(from)? {
        Ok(head) => head,
        Err(constant) => {
            out.fill(constant);
            return Ok(Numbers::Values);
        }
    };
    let order = usize::from(head.order);
    let (starts, residuals) = out
        .split_at_mut_checked(order)
        .ok_or(Malformed("more starts than values"))?;
    starts.copy_from_slice(&head.starts[..order]);
    if head.sparse {
        take_sparse(from, &head, &mut scratch.nonzero, residuals)?;
    } else {
        take_fields(from, &head, residuals)?;
    }
    if order == 2 {
        integrate(&mut out[1..]);
    }
    Ok(if order == 0 {
        Numbers::Values
    } else {
        Numbers::Differences
    })
}

/// Steps over exceptions; returns where they stand.
fn skip_exceptions<'a>(
    from: &mut Reader<'a>,
    head: &Head,
    count: usize,
) -> Result<Reader<'a>, Malformed> {
    let at = *from;
    if head.exceptions {
        for _ in 0..take_length(from, count, "more exceptions than values")? {
            take_varint(from, "bad gap of an exception")?;
            take_varint(from, "bad exception")?;
        }
    }
    Ok(at)
}

/// Reads exceptions and as many fields as `out` has room for.
fn take_fields(from: &mut Reader<'_>, head: &Head, out: &mut [i64]) -> Result<(), Malformed> {
    let exceptions = skip_exceptions(from, head, out.len())?;
    unpack_fields(from, head, out)?;
    patch(exceptions, head, out)
}

fn unpack_fields(from: &mut Reader<'_>, head: &Head, out: &mut [i64]) -> Result<(), Malformed> {
    let packed = from.take(packed_len(out.len(), head.width), "fields are cut off")?;
    unpack(packed, head.width, head.minimum, head.divisor, out);
    Ok(())
}

/// Writes the exceptions in their places.
fn patch(mut from: Reader<'_>, head: &Head, out: &mut [i64]) -> Result<(), Malformed> {
    if !head.exceptions {
        return Ok(());
    }
    let outside = "exception outside the column";
    let mut next = 0usize;
    for _ in 0..take_varint(&mut from, "more exceptions than values")? {
        let at = take_length(&mut from, out.len(), outside)?.saturating_add(next);
        let residual = take_zigzag(&mut from, "bad exception")?;
        *out.get_mut(at).ok_or(Malformed(outside))? = head.minimum.wrapping_add(residual);
        next = at + 1;
    }
    Ok(())
}

/// Reads exceptions, the bitmap of a sparse column, whose population is the number of fields, and these.
fn take_sparse(
    from: &mut Reader<'_>,
    head: &Head,
    nonzero: &mut Vec<i64>,
    out: &mut [i64],
) -> Result<(), Malformed> {
    let exceptions = skip_exceptions(from, head, out.len())?;
    let bitmap = from.take(packed_len(out.len(), 1), "bitmap is cut off")?;
    let used = out.len() % 8;
    if used != 0 && bitmap.last().is_some_and(|last| last >> used != 0) {
        return Err(Malformed("bitmap has bits past its end"));
    }
    let population = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
    nonzero.resize(population, 0);
    unpack_fields(from, head, nonzero)?;
    patch(exceptions, head, nonzero)?;
    out.fill(0);
    let mut fields = nonzero.iter();
    for (cells, byte) in out.chunks_mut(8).zip(bitmap) {
        let mut bits = *byte;
        while bits != 0 {
            if let Some((cell, field)) = cells
                .get_mut(bits.trailing_zeros() as usize)
                .zip(fields.next())
            {
                *cell = *field;
            }
            bits &= bits - 1;
        }
    }
    Ok(())
}

/// Replaces each number by the sum of those up to it.
fn integrate(numbers: &mut [i64]) {
    let mut sum = 0i64;
    for number in numbers {
        sum = sum.wrapping_add(*number);
        *number = sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64], differences: Differences) -> usize {
        let mut scratch = IntScratch::default();
        let mut out = Vec::new();
        let anchor = encode_ints(values, differences, &mut scratch, &mut out);
        let mut from = Reader::new(&out);
        if !values.is_empty() {
            assert_eq!(peek(from).unwrap().anchor, anchor);
        }
        let mut back = Vec::new();
        decode_ints(&mut from, values.len(), &mut scratch, &mut back).unwrap();
        assert!(from.rest().is_empty());
        assert_eq!(back, values);
        out.len()
    }

    #[test]
    fn columns_take_what_they_should() {
        let check = |what: &str, bytes_max: usize, values: Vec<i64>| {
            let bytes = round_trip(&values, Differences::Second);
            assert!(bytes <= bytes_max, "{what}: {bytes} bytes");
        };
        check("constant", 3, vec![1_000; 120]);
        check(
            "a clock",
            12,
            (0..120).map(|i| 1_700_000_000_000 + i * 15_000).collect(),
        );
        check(
            "multiples of 4096",
            55,
            (0..120).map(|i| (i * 7 % 8) * 4_096 + 1_000_000).collect(),
        );
        let mut reset: Vec<i64> = (0..120).map(|i| 900_000_000 + i * 10 + i % 3).collect();
        for value in &mut reset[60..] {
            *value -= 900_000_500;
        }
        check("a counter with one reset", 55, reset);
        let mut spike = vec![5; 120];
        spike[70] = 1 << 40;
        check("one spike", 16, spike);
        let step = |i: i64| if i % 10 == 0 { 1_000 + i * 77 % 511 } else { 0 };
        let steps = (0..120)
            .scan(0, |sum, i| {
                *sum += step(i);
                Some(*sum)
            })
            .collect();
        check("few steps", 45, steps);
    }

    fn column() -> impl Strategy<Value = Vec<i64>> {
        let width = 0u32..64;
        prop_oneof![
            prop::collection::vec(any::<i64>(), 0..150),
            (width, prop::collection::vec(any::<u64>(), 0..150)).prop_map(|(width, values)| values
                .into_iter()
                .map(|value| (value >> width).cast_signed())
                .collect()),
            (
                any::<i64>(),
                1i64..5_000,
                prop::collection::vec((0i64..4, prop::bool::weighted(0.02), any::<i64>()), 0..300)
            )
                .prop_map(|(start, factor, steps)| {
                    let mut value = start;
                    steps
                        .into_iter()
                        .map(|(step, jump, to)| {
                            value = if jump {
                                to
                            } else {
                                value.wrapping_add(step * factor)
                            };
                            value
                        })
                        .collect()
                }),
        ]
    }

    proptest! {
        #[test]
        fn every_column_survives(values in column(), second in any::<bool>()) {
            round_trip(&values, if second { Differences::Second } else { Differences::First });
        }

        #[test]
        fn damaged_streams_never_panic(values in column(), at in any::<prop::sample::Index>(), to in any::<u8>(), count in 0usize..400) {
            let mut scratch = IntScratch::default();
            let mut out = Vec::new();
            encode_ints(&values, Differences::Second, &mut scratch, &mut out);
            if !out.is_empty() {
                let at = at.index(out.len());
                out[at] = to;
            }
            let mut back = Vec::new();
            if decode_ints(&mut Reader::new(&out), count, &mut scratch, &mut back).is_ok() {
                prop_assert_eq!(back.len(), count);
            }
        }
    }
}
