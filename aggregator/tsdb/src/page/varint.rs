//! Integers of one to ten bytes: seven bits a byte, the lowest first, the high bit says that more follow.

use crate::bytes::{Malformed, Reader};

/// Maps small magnitudes of either sign to small numbers: 0, -1, 1, -2, ...
pub(crate) const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(crate) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Returns how many bits `value` needs; 0 for 0.
pub(crate) const fn bits_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varint(out, length as u64);
}

/// Reads a varint; one that does not fit 64 bits is malformed.
pub(crate) fn take_varint(from: &mut Reader<'_>, what: &'static str) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = from.u8(what)?;
        let low = u64::from(byte & 0x7f);
        if shift == 63 && low > 1 {
            return Err(Malformed(what));
        }
        value |= low << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Malformed(what))
}

pub(crate) fn take_zigzag(from: &mut Reader<'_>, what: &'static str) -> Result<i64, Malformed> {
    take_varint(from, what).map(unzigzag)
}

/// Reads a number of things, at most `max`: the check that stands before each allocation.
pub(crate) fn take_length(
    from: &mut Reader<'_>,
    max: usize,
    what: &'static str,
) -> Result<usize, Malformed> {
    let length = usize::try_from(take_varint(from, what)?).map_err(|_| Malformed(what))?;
    if length > max {
        return Err(Malformed(what));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_and_overlong_ones_are_refused() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut from = Reader::new(&out);
            assert_eq!(take_varint(&mut from, "number"), Ok(value));
            assert!(from.rest().is_empty());
            assert_eq!(zigzag(unzigzag(value)), value);
        }
        let overlong = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(take_varint(&mut Reader::new(&overlong), "number").is_err());
        assert!(take_varint(&mut Reader::new(&[0x80]), "number").is_err());
        assert!(take_length(&mut Reader::new(&[9]), 8, "length").is_err());
    }
}
