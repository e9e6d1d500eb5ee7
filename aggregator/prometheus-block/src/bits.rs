//! Bit strings, the highest bit of a byte first, and the numbers of varying width in them.

use crate::bytes::Malformed;

/// The widths that follow a prefix of one, two, ... set bits and a clear one; the last has no clear bit.
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];
const ENDS: Malformed = Malformed("its bits end before its last sample");

/// Takes bits from the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits taken.
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns how many bits are left.
    pub(crate) const fn left(self) -> usize {
        self.bytes.len() * 8 - self.at
    }

    /// Takes up to 64 bits.
    pub(crate) fn take(&mut self, count: u32) -> Result<u64, Malformed> {
        debug_assert!(count <= 64, "a number has up to 64 bits");
        if count == 0 {
            return Ok(0);
        }
        if self.left() < count as usize {
            return Err(ENDS);
        }
        let first = self.at / 8;
        let (shift, bytes) = (self.at % 8, &self.bytes[first..]);
        // 64 bits that begin within a byte touch nine.
        let mut word = [0; 16];
        let near = &bytes[..bytes.len().min(9)];
        word[..near.len()].copy_from_slice(near);
        self.at += count as usize;
        let bits = (u128::from_be_bytes(word) << shift) >> (128 - count);
        Ok(u64::try_from(bits).unwrap_or(u64::MAX))
    }

    pub(crate) fn bit(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)? == 1)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::try_from(self.take(8)?).unwrap_or(u8::MAX))
    }

    pub(crate) fn float(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(self.take(64)?))
    }

    /// Counts set bits up to a clear one, which is taken too, or up to `max`.
    pub(crate) fn ones(&mut self, max: usize) -> Result<usize, Malformed> {
        let mut count = 0;
        while count < max && self.bit()? {
            count += 1;
        }
        Ok(count)
    }

    /// Takes a signed number of this width: what is above half of the width's range is negative.
    pub(crate) fn signed(&mut self, width: u32) -> Result<i64, Malformed> {
        let bits = self.take(width)?;
        let half = 1u64 << (width - 1);
        let value = if width < 64 && bits > half {
            bits.wrapping_sub(1 << width)
        } else {
            bits
        };
        Ok(value.cast_signed())
    }

    /// Takes a signed number behind the prefix that tells its width.
    pub(crate) fn varbit_int(&mut self) -> Result<i64, Malformed> {
        match self.ones(WIDTHS.len())? {
            0 => Ok(0),
            ones => self.signed(WIDTHS[ones - 1]),
        }
    }

    /// Takes an unsigned number behind the prefix that tells its width.
    pub(crate) fn varbit_uint(&mut self) -> Result<u64, Malformed> {
        match self.ones(WIDTHS.len())? {
            0 => Ok(0),
            ones => self.take(WIDTHS[ones - 1]),
        }
    }
}

/// A float that is stored as its difference, by XOR, to the one before, and the bits that the last difference used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct XorFloat {
    pub(crate) value: f64,
    leading: u32,
    trailing: u32,
}

impl XorFloat {
    pub(crate) const fn starting_at(value: f64) -> Self {
        Self {
            value,
            leading: 0,
            trailing: 0,
        }
    }

    /// Takes the next value.
    pub(crate) fn advance(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        if !bits.bit()? {
            return Ok(());
        }
        if bits.bit()? {
            let leading = u32::try_from(bits.take(5)?).unwrap_or(u32::MAX);
            let used = match u32::try_from(bits.take(6)?).unwrap_or(u32::MAX) {
                // 64 does not fit in six bits, and a difference of no bits does not happen.
                0 => 64,
                used => used,
            };
            let trailing = 64u32.checked_sub(leading + used);
            self.trailing = trailing.ok_or(Malformed("a value has more than 64 bits"))?;
            self.leading = leading;
        }
        let changed = bits.take(64 - self.leading - self.trailing)?;
        self.value = f64::from_bits(self.value.to_bits() ^ (changed << self.trailing));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_highest_first_and_end_with_an_error() {
        let bytes = [0b1010_0000, 0xff, 0, 0, 0, 0, 0, 0, 0, 0b1000_0001];
        let mut bits = Bits::new(&bytes);
        assert_eq!(bits.take(3), Ok(0b101));
        assert_eq!(bits.take(64), Ok(0b0_0000_1111_1111 << 51));
        assert_eq!(bits.left(), 13);
        assert_eq!(bits.take(5), Ok(0));
        assert_eq!(bits.take(8), Ok(0b1000_0001));
        assert_eq!(bits.take(0), Ok(0));
        assert_eq!(bits.take(1), Err(ENDS));
    }

    #[test]
    fn the_middle_of_a_width_is_positive() {
        // 10, then 3 bits: from -3 to 4.
        let read = |bits: u8| Bits::new(&[0b1000_0000 | bits << 3]).varbit_int();
        assert_eq!(read(0b100), Ok(4));
        assert_eq!(read(0b101), Ok(-3));
        assert_eq!(read(0b111), Ok(-1));
        let mut least = vec![0xff, 0x80];
        least.extend([0; 7]);
        assert_eq!(Bits::new(&least).varbit_int(), Ok(i64::MIN));
        assert_eq!(Bits::new(&least).varbit_uint(), Ok(1 << 63));
    }

    #[test]
    fn a_value_of_more_than_64_bits_is_malformed() {
        // Changed, a window of its own, 31 leading zeros, 63 bits.
        let bytes = [0b1111_1111, 0b1111_1000, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut value = XorFloat::default();
        assert!(value.advance(&mut Bits::new(&bytes)).is_err());
    }
}
