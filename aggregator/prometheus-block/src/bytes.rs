//! Big-endian reading, every read checked.

/// Why bytes are not what they should be; says which part is missing or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes bytes from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed(what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        self.take(N, what)?.try_into().map_err(|_| Malformed(what))
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// Reads a number of seven bits a byte, the lowest first.
    pub(crate) fn uvarint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed(what));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed(what))
    }

    /// Reads a signed number, mapped 0, -1, 1, -2, ... to 0, 1, 2, 3, ...
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<i64, Malformed> {
        let value = self.uvarint(what)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads bytes behind their length.
    pub(crate) fn counted(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let bytes = self.uvarint(what)?;
        self.take(usize::try_from(bytes).map_err(|_| Malformed(what))?, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_the_format() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint("number");
        assert_eq!(read(&[0x01]), Ok(-1));
        assert_eq!(read(&[0x80, 0x01]), Ok(64));
        let mut least = [0xff; 10];
        least[9] = 0x01;
        assert_eq!(read(&least), Ok(i64::MIN));
        least[9] = 0x02;
        assert_eq!(read(&least), Err(Malformed("number")), "65 bits");
        assert_eq!(read(&[0x80; 11]), Err(Malformed("number")), "endless");
        assert_eq!(read(&[0x80]), Err(Malformed("number")), "cut off");
    }
}
