//! Columns of floats without a decimal structure: each value is XORed with the one before, and the middle bits that changed are kept.
//!
//! The first value takes 64 bits. After it, per value: `0` = the same; `1 0` = changed bits inside the window of the change before;
//! `1 1`, leading zeros in 6 bits, length - 1 in 6 bits = a new window. Bits are packed from the lowest.

use super::varint::{put_length, take_length};
use crate::bytes::{Malformed, Reader};

/// The most bytes a value can take: 2 control bits, 12 of window, 64 of change.
const VALUE_BYTES_MAX: usize = 10;

/// Appends the length of the bit string in bytes and the bit string.
pub(super) fn encode_xor(values: &[f64], out: &mut Vec<u8>) {
    let mut bits = BitWriter::default();
    let mut previous = 0u64;
    let mut window: Option<(u32, u32)> = None;
    for (at, value) in values.iter().enumerate() {
        let value = value.to_bits();
        let change = value ^ previous;
        previous = value;
        if at == 0 {
            bits.put(value, 64);
        } else if change == 0 {
            bits.put(0, 1);
        } else {
            let (leading, trailing) = (change.leading_zeros(), change.trailing_zeros());
            let fits = |(first, last): &(u32, u32)| leading >= *first && trailing >= *last;
            // A window far too wide for the change costs more than naming a new one.
            let open =
                window.filter(|open| fits(open) && leading + trailing - open.0 - open.1 <= 12);
            let (first, last) = open.unwrap_or((leading, trailing));
            let length = 64 - first - last;
            if open.is_some() {
                bits.put(0b01, 2);
            } else {
                bits.put(
                    0b11 | u64::from(first) << 2 | u64::from(length - 1) << 8,
                    14,
                );
                window = Some((first, last));
            }
            bits.put(change >> last, length);
        }
    }
    let bytes = bits.finish();
    put_length(out, bytes.len());
    out.extend_from_slice(&bytes);
}

/// Reads `count` values from the front of `from` and appends them to `out`.
pub(super) fn decode_xor(
    from: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let length = take_length(
        from,
        count * VALUE_BYTES_MAX + 8,
        "bit string longer than its values",
    )?;
    let mut bits = BitReader {
        bytes: from.take(length, "bit string is cut off")?,
        at: 0,
    };
    let mut previous = 0;
    let mut window: Option<(u32, u32)> = None;
    for at in 0..count {
        if at == 0 {
            previous = bits.take(64)?;
        } else {
            let ahead = bits.ahead();
            if ahead & 0b1 == 0 {
                bits.skip(1)?;
            } else {
                bits.skip(2)?;
                if ahead & 0b10 != 0 {
                    bits.skip(12)?;
                    let (first, length) = ((ahead >> 2) & 63, ((ahead >> 8) & 63) + 1);
                    let last = 64u32
                        .checked_sub(first + length)
                        .ok_or(Malformed("window of changed bits is wider than a value"))?;
                    window = Some((last, length));
                }
                let (last, length) = window.ok_or(Malformed("change without a window"))?;
                previous ^= bits.take(length)? << last;
            }
        }
        out.push(f64::from_bits(previous));
    }
    if bits.at.div_ceil(8) == length {
        Ok(())
    } else {
        Err(Malformed("bit string goes on after its values"))
    }
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends the lowest `width` bits of `field`, which has no others; `width` is 1 to 64.
    fn put(&mut self, field: u64, width: u32) {
        self.word |= field << self.filled;
        if self.filled + width >= 64 {
            self.bytes.extend_from_slice(&self.word.to_le_bytes());
            self.word = field.checked_shr(64 - self.filled).unwrap_or(0);
            self.filled = self.filled + width - 64;
        } else {
            self.filled += width;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        let rest = self.filled.div_ceil(8) as usize;
        self.bytes
            .extend_from_slice(&self.word.to_le_bytes()[..rest]);
        self.bytes
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl BitReader<'_> {
    /// Returns at least the next 16 bits, zeros behind the end.
    fn ahead(&self) -> u32 {
        let (byte, shift) = (self.at / 8, self.at % 8);
        let word = match self.bytes.get(byte..) {
            Some([a, b, c, ..]) => u32::from_le_bytes([*a, *b, *c, 0]),
            Some([a, b]) => u32::from_le_bytes([*a, *b, 0, 0]),
            Some([a]) => u32::from(*a),
            _ => 0,
        };
        word >> shift
    }

    fn skip(&mut self, width: u32) -> Result<(), Malformed> {
        self.at += width as usize;
        if self.at > self.bytes.len() * 8 {
            return Err(Malformed("bit string ends inside a value"));
        }
        Ok(())
    }

    /// Reads `width` bits, 1 to 64.
    fn take(&mut self, width: u32) -> Result<u64, Malformed> {
        let (byte, shift) = (self.at / 8, self.at % 8);
        self.skip(width)?;
        let rest = &self.bytes[byte..];
        let mut word = [0; 9];
        match rest.first_chunk() {
            Some(inside) => word = *inside,
            None => word[..rest.len()].copy_from_slice(rest),
        }
        let [low @ .., high] = word;
        let low = u64::from_le_bytes(low) >> shift;
        // Two shifts, because there is none by 64.
        let high = u64::from(high) << (63 - shift) << 1;
        Ok((low | high) & u64::MAX >> (64 - width))
    }
}
