//! Bits in and out, lowest first.

/// Appends bits to bytes; [`finish`](BitWriter::finish) fills the last byte with zeros.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    /// Bits of `pending` in use, below 64.
    fill: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            pending: 0,
            fill: 0,
        }
    }

    /// Appends the `count` (at most 64) low bits of `value`; the others are 0.
    #[inline]
    pub(super) fn put(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 64 && value.checked_shr(count).unwrap_or(0) == 0);
        self.pending |= value << self.fill;
        let fill = self.fill + count;
        if fill < 64 {
            self.fill = fill;
            return;
        }
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        // What did not fit; nothing when `pending` was empty and took all 64 bits.
        self.pending = value.checked_shr(64 - self.fill).unwrap_or(0);
        self.fill = fill - 64;
    }

    /// Writes out what is pending, in whole bytes.
    pub(super) fn finish(self) {
        let bytes = self.fill.div_ceil(8) as usize;
        self.out
            .extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
    }
}

/// Reads bits. Past the end there are zeros: whoever reads asks [`bytes_read`](BitReader::bytes_read) at the end, once per row.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Bits that one [`BitReader::peek`] is sure to return.
pub(super) const PEEK_BITS: u32 = 57;

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the next bits, at least [`PEEK_BITS`] of them.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => self.last_word(byte),
        };
        word >> (self.at % 8)
    }

    #[cold]
    fn last_word(&self, byte: usize) -> u64 {
        let mut chunk = [0; 8];
        let rest = self.bytes.get(byte..).unwrap_or_default();
        chunk[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(chunk)
    }

    /// Goes on by `count` bits.
    #[inline]
    pub(super) const fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// Returns the next `count` (at most 64) bits.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let low = count.min(32);
        let mut value = self.peek() & mask(low);
        self.skip(low);
        if count > low {
            value |= (self.peek() & mask(count - low)) << low;
            self.skip(count - low);
        }
        value
    }

    /// Returns the number of bytes begun; more than there are when reading went past the end.
    pub(super) const fn bytes_read(&self) -> usize {
        self.at.div_ceil(8)
    }
}

/// Returns `count` (below 64) ones.
#[inline]
pub(super) const fn mask(count: u32) -> u64 {
    (1 << count) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_round_trip(values in prop::collection::vec((any::<u64>(), 0u32..=64), 0..200)) {
            let cut = |value: u64, count: u32| if count == 64 { value } else { value & mask(count) };
            let mut out = vec![7];
            let mut writer = BitWriter::new(&mut out);
            for (value, count) in &values { writer.put(cut(*value, *count), *count); }
            writer.finish();
            let mut reader = BitReader::new(&out[1..]);
            for (value, count) in &values { prop_assert_eq!(reader.take(*count), cut(*value, *count)); }
            prop_assert_eq!(reader.bytes_read(), out.len() - 1);
        }
    }

    #[test]
    fn past_the_end_there_are_zeros() {
        let mut reader = BitReader::new(&[0xff]);
        assert_eq!(reader.take(64), 0xff);
        assert_eq!(reader.take(64), 0);
        assert_eq!(reader.bytes_read(), 16);
    }
}
