//! Bytes in and out: unsigned LEB128, zigzag for signed numbers, length-prefixed texts.

use super::TEXT_BYTES_MAX;
use super::error::DecodeError;

/// Appends `value`, 7 bits a byte, lowest first; at most 10 bytes.
#[expect(clippy::cast_possible_truncation, reason = "7 bits at a time")]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` with its sign in the lowest bit.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Appends `text` after its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends the distance from `base` to `value`, as bit patterns: short when they are near each other.
pub(super) fn put_float_near(out: &mut Vec<u8>, value: f64, base: f64) {
    put_signed(out, bits_apart(value, base));
}

/// Returns how far the bit pattern of `value` lies above that of `base`, wrapping.
#[expect(clippy::cast_possible_wrap, reason = "wraps on purpose")]
pub(super) fn bits_apart(value: f64, base: f64) -> i64 {
    value.to_bits().wrapping_sub(base.to_bits()) as i64
}

/// Returns the value whose bit pattern lies `apart` above that of `base`.
#[expect(clippy::cast_sign_loss, reason = "wraps on purpose")]
pub(super) fn from_bits_apart(base: f64, apart: i64) -> f64 {
    f64::from_bits(base.to_bits().wrapping_add(apart as u64))
}

#[expect(clippy::cast_sign_loss, reason = "the sign moves to the lowest bit")]
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "the sign comes from the lowest bit"
)]
pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads what the functions above wrote; every length is checked against what is left.
#[derive(Clone, Debug)]
pub(super) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns whether nothing is left.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if index == 9 && part > 1 {
                return Err(DecodeError::Malformed("a number has more than 64 bits"));
            }
            value |= part << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 {
            CUT
        } else {
            DecodeError::Malformed("a number has more than 10 bytes")
        })
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    /// Returns a number that must be at most `limit`; nothing has been allocated for it yet.
    pub(super) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        DecodeError::check(what, self.varint()?, limit)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::Malformed(what))
    }

    pub(super) fn float_near(&mut self, base: f64) -> Result<f64, DecodeError> {
        self.signed().map(|apart| from_bits_apart(base, apart))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.count("bytes of text", TEXT_BYTES_MAX)?;
        std::str::from_utf8(self.take(bytes)?)
            .map_err(|_| DecodeError::Malformed("a text is not UTF-8"))
    }
}

/// The bytes end in the middle of something.
pub(super) const CUT: DecodeError = DecodeError::Malformed("it ends too early");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for value in [0, 1, -1, 63, 64, -65, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            let mut reader = ByteReader::new(&out);
            assert_eq!(reader.signed(), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn endless_and_cut_numbers_are_refused() {
        assert_eq!(ByteReader::new(&[0x80; 3]).varint(), Err(CUT));
        assert!(ByteReader::new(&[0xff; 11]).varint().is_err());
        let mut too_large = [0xff; 10];
        too_large[9] = 2;
        assert!(ByteReader::new(&too_large).varint().is_err());
        too_large[9] = 1;
        assert_eq!(ByteReader::new(&too_large).varint(), Ok(u64::MAX));
    }
}
