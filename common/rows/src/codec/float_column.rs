//! The floats of a row: which slots differ from the base, and how.
//!
//! A key row is encoded against a row with `0.0` in every slot. Against the base, a slot is *changed* when its presence differs or, if
//! present, its bits do. Bitmap and codes are drawn in FORMAT.md.

use super::bases::Seen;
use super::bits::{BitReader, BitWriter, PEEK_BITS, mask};
use super::bytes::{ByteReader, bits_apart, from_bits_apart};
use super::decimal::{Decimal, NONE, UNKNOWN, at_places};
use super::error::DecodeError;
use crate::{Presence, Row};

/// Bits of a code.
const CODE_BITS: u32 = 6;
/// Codes 0 to 38 are a distance of so many bits.
const PLAIN_BITS_MAX: u32 = 38;
/// Codes 39 to 58 are a distance of 1 to 20 bits, in units of 1,024: memory comes in pages.
const PAGES_BITS_MAX: u32 = 20;
/// Low bits that are 0 in a distance of pages.
const PAGE_BITS: u32 = 10;
/// Another distance: 6 bits say its bits, less one.
const CODE_WIDE: u64 = 59;
/// 4 bits say the decimal places; a distance at these follows.
const CODE_PLACES: u64 = 60;
/// The distance between bit patterns: 6 bits say its bits, less one.
const CODE_PATTERN: u64 = 61;
/// The slot is absent.
const CODE_ABSENT: u64 = 62;

/// Appends `row`'s presence and floats; returns the exponents of its values.
pub(super) fn encode(row: &Row, base: Option<Seen<'_>>, out: &mut Vec<u8>) -> Vec<u8> {
    let slots = row.floats.len();
    let changed = changed_words(row, base.map(|base| base.row));
    put_bitmap(&changed, out);
    let mut exponents = base.map_or_else(Vec::new, |base| base.exponents.to_vec());
    exponents.resize(slots, 0);
    let base_floats = base.map_or(&[][..], |base| &base.row.floats);
    let mut bits = BitWriter::new(out);
    for (index, word) in changed.iter().enumerate() {
        let present = row.presence.words()[index];
        let mut rest = *word;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let slot = index * 64 + bit as usize;
            if present >> bit & 1 == 1 {
                let before = base_floats.get(slot).copied().unwrap_or(0.0);
                put_value(&mut bits, row.floats[slot], before, &mut exponents[slot]);
            } else {
                bits.put(CODE_ABSENT, CODE_BITS);
                exponents[slot] = 0;
            }
        }
    }
    bits.finish();
    exponents
}

/// What a row says of its floats.
#[derive(Debug)]
pub(super) struct Floats {
    pub(super) presence: Presence,
    pub(super) values: Vec<f64>,
    pub(super) exponents: Vec<u8>,
}

/// Reads what [`encode`] wrote for a row of `slots` slots, which are at most `SLOTS_MAX` and at least those of the base.
pub(super) fn decode(
    slots: usize,
    base: Option<Seen<'_>>,
    reader: &mut ByteReader<'_>,
) -> Result<Floats, DecodeError> {
    let changed = take_bitmap(slots, reader)?;
    let mut floats = start(slots, base);
    let mut words = floats.0;
    let mut bits = BitReader::new(reader.rest());
    for (index, word) in changed.iter().enumerate() {
        let (mut rest, mut absent) = (*word, 0);
        let chunk = index * 64;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let slot = chunk + bit as usize;
            let exponent = &mut floats.2[slot];
            match take_value(&mut bits, floats.1[slot], exponent)? {
                Some(value) => floats.1[slot] = value,
                None => {
                    absent |= 1 << bit;
                    floats.1[slot] = 0.0;
                    *exponent = 0;
                }
            }
        }
        words[index] = (words[index] | word) & !absent;
    }
    reader.take(bits.bytes_read())?;
    Ok(Floats {
        presence: Presence::from_words(words, slots).ok_or(DecodeError::Malformed(
            "the bitmap reaches past the last slot",
        ))?,
        values: floats.1,
        exponents: floats.2,
    })
}

/// Returns presence, values and exponents before any change.
fn start(slots: usize, base: Option<Seen<'_>>) -> (Vec<u64>, Vec<f64>, Vec<u8>) {
    let Some(base) = base else {
        let all = Presence::filled(slots, true);
        return (all.words().to_vec(), vec![0.0; slots], vec![0; slots]);
    };
    let mut words = Vec::with_capacity(slots.div_ceil(64));
    words.extend_from_slice(base.row.presence.words());
    words.resize(slots.div_ceil(64), 0);
    let mut values = Vec::with_capacity(slots);
    values.extend_from_slice(&base.row.floats);
    values.resize(slots, 0.0);
    let mut exponents = Vec::with_capacity(slots);
    exponents.extend_from_slice(base.exponents);
    exponents.resize(slots, 0);
    (words, values, exponents)
}

/// Returns a bit per slot that differs from the base.
fn changed_words(row: &Row, base: Option<&Row>) -> Vec<u64> {
    let everywhere;
    let (base_words, base_floats) = match base {
        Some(base) => (base.presence.words(), &base.floats[..]),
        None => {
            everywhere = Presence::filled(row.floats.len(), true);
            (everywhere.words(), &[][..])
        }
    };
    let chunks = row.floats.chunks(64).zip(row.presence.words()).enumerate();
    chunks
        .map(|(index, (values, present))| {
            let start = (index * 64).min(base_floats.len());
            let before = &base_floats[start..base_floats.len().min(start + 64)];
            let differing = differing(values, before);
            let present_before = base_words.get(index).copied().unwrap_or(0);
            (present ^ present_before) | (differing & present)
        })
        .collect()
}

/// Returns a bit per value, of at most 64, whose bits differ from those of the one before, which is `0.0` where there is none.
#[inline]
fn differing(values: &[f64], before: &[f64]) -> u64 {
    let mut word = 0;
    if let (Ok(values), Ok(before)) = (
        <&[f64; 64]>::try_from(values),
        <&[f64; 64]>::try_from(before),
    ) {
        // Of known length, so that it becomes vector instructions.
        for (bit, (value, before)) in values.iter().zip(before).enumerate() {
            word |= u64::from(value.to_bits() != before.to_bits()) << bit;
        }
        return word;
    }
    let zeros = std::iter::repeat(&0.0);
    for (bit, (value, before)) in values.iter().zip(before.iter().chain(zeros)).enumerate() {
        word |= u64::from(value.to_bits() != before.to_bits()) << bit;
    }
    word
}

/// Appends, for each word, a byte that tells which bytes of it are not zero, then these bytes.
fn put_bitmap(words: &[u64], out: &mut Vec<u8>) {
    out.extend(words.iter().map(|word| {
        (0..8).fold(0u8, |summary, byte| {
            summary | u8::from(word >> (8 * byte) & 0xff != 0) << byte
        })
    }));
    for word in words {
        out.extend(word.to_le_bytes().into_iter().filter(|byte| *byte != 0));
    }
}

fn take_bitmap(slots: usize, reader: &mut ByteReader<'_>) -> Result<Vec<u64>, DecodeError> {
    let summaries = reader.take(slots.div_ceil(64))?;
    let mut words = Vec::with_capacity(summaries.len());
    for summary in summaries {
        let mut word = 0;
        let mut rest = *summary;
        let bytes = reader.take(rest.count_ones() as usize)?;
        for byte in bytes {
            word |= u64::from(*byte) << (8 * rest.trailing_zeros());
            rest &= rest - 1;
        }
        words.push(word);
    }
    match (words.last(), slots % 64) {
        (Some(last), rest @ 1..) if last >> rest != 0 => Err(DecodeError::Malformed(
            "the bitmap reaches past the last slot",
        )),
        _ => Ok(words),
    }
}

/// Appends the code of `value`, whose slot had the value `before`; `exponent` is that of `before` and becomes that of `value`.
pub(super) fn put_value(bits: &mut BitWriter<'_>, value: f64, before: f64, exponent: &mut u8) {
    let base = Decimal::of_base(before, *exponent);
    if let Some(mantissa) = at_places(value, base.places) {
        put_distance(bits, mantissa - base.mantissa);
        let places = base.places;
        *exponent = Decimal { mantissa, places }.exponent();
    } else if let Some(decimal) = Decimal::of(value) {
        bits.put(
            CODE_PLACES | u64::from(decimal.places) << CODE_BITS,
            CODE_BITS + 4,
        );
        put_distance(bits, decimal.mantissa - base.rescaled(decimal.places));
        *exponent = decimal.places;
    } else {
        let apart = bits_apart(value, before);
        bits.put(CODE_PATTERN, CODE_BITS);
        put_wide(bits, apart);
        *exponent = NONE;
    }
}

/// Appends a distance: code, sign, and the magnitude without its leading one.
#[inline]
fn put_distance(bits: &mut BitWriter<'_>, distance: i64) {
    let magnitude = distance.unsigned_abs();
    let sign = u64::from(distance < 0) << CODE_BITS;
    if magnitude == 0 {
        return bits.put(0, CODE_BITS);
    }
    let width = 64 - magnitude.leading_zeros();
    let in_pages = magnitude >> PAGE_BITS;
    if magnitude & mask(PAGE_BITS) == 0 && width - PAGE_BITS <= PAGES_BITS_MAX {
        let width = width - PAGE_BITS;
        let code = u64::from(PLAIN_BITS_MAX + width);
        let rest = (in_pages & mask(width - 1)) << (CODE_BITS + 1);
        bits.put(code | sign | rest, CODE_BITS + width);
    } else if width <= PLAIN_BITS_MAX {
        let rest = (magnitude & mask(width - 1)) << (CODE_BITS + 1);
        bits.put(u64::from(width) | sign | rest, CODE_BITS + width);
    } else {
        bits.put(CODE_WIDE, CODE_BITS);
        put_wide(bits, distance);
    }
}

/// Appends the number of bits, less one, the sign, and all bits of the magnitude, which is not 0.
fn put_wide(bits: &mut BitWriter<'_>, distance: i64) {
    let magnitude = distance.unsigned_abs();
    let width = (64 - magnitude.leading_zeros()).max(1);
    bits.put(u64::from(width - 1) | u64::from(distance < 0) << 6, 7);
    bits.put(magnitude, width);
}

/// Reads the code of a value whose slot had the value `before`; `None` is absence. `exponent` as in [`put_value`].
#[inline]
pub(super) fn take_value(
    bits: &mut BitReader<'_>,
    before: f64,
    exponent: &mut u8,
) -> Result<Option<f64>, DecodeError> {
    let mut window = bits.peek();
    let mut code = window & mask(CODE_BITS);
    match code {
        CODE_ABSENT => {
            bits.skip(CODE_BITS);
            return Ok(None);
        }
        CODE_PATTERN => {
            bits.skip(CODE_BITS);
            *exponent = UNKNOWN;
            return Ok(Some(from_bits_apart(before, take_wide(bits))));
        }
        _ => {}
    }
    let mut base = Decimal::of_base(before, *exponent);
    if code == CODE_PLACES {
        let places = low_bits(window >> CODE_BITS, 4);
        bits.skip(CODE_BITS + 4);
        base = Decimal {
            mantissa: base.rescaled(places),
            places,
        };
        window = bits.peek();
        code = window & mask(CODE_BITS);
    }
    let distance = take_distance(bits, code, window)?;
    let decimal = Decimal {
        mantissa: base.mantissa.wrapping_add(distance),
        places: base.places,
    };
    *exponent = decimal.exponent();
    let value = decimal.value();
    value
        .map(Some)
        .ok_or(DecodeError::Malformed("a mantissa is out of range"))
}

#[inline]
#[expect(clippy::cast_possible_wrap, reason = "magnitudes have at most 38 bits")]
fn take_distance(bits: &mut BitReader<'_>, code: u64, window: u64) -> Result<i64, DecodeError> {
    const { assert!(CODE_BITS + PLAIN_BITS_MAX <= PEEK_BITS) };
    let (width, shift) = match u32::from(low_bits(code, CODE_BITS)) {
        0 => {
            bits.skip(CODE_BITS);
            return Ok(0);
        }
        width @ 1..=PLAIN_BITS_MAX => (width, 0),
        code @ 39..=58 => (code - PLAIN_BITS_MAX, PAGE_BITS),
        59 => {
            bits.skip(CODE_BITS);
            return Ok(take_wide(bits));
        }
        _ => return Err(DecodeError::Malformed("a value has no such code")),
    };
    bits.skip(CODE_BITS + width);
    let magnitude = (1 << (width - 1)) | (window >> (CODE_BITS + 1) & mask(width - 1));
    let magnitude = (magnitude << shift) as i64;
    let negative = window >> CODE_BITS & 1 == 1;
    Ok(if negative { -magnitude } else { magnitude })
}

#[expect(clippy::cast_possible_wrap, reason = "wraps on purpose")]
fn take_wide(bits: &mut BitReader<'_>) -> i64 {
    let head = bits.take(7);
    let magnitude = bits.take(u32::from(low_bits(head, 6)) + 1) as i64;
    if head >> 6 == 1 {
        magnitude.wrapping_neg()
    } else {
        magnitude
    }
}

/// Returns the `count` (at most 8) low bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "that is the point")]
const fn low_bits(word: u64, count: u32) -> u8 {
    (word & mask(count)) as u8
}
