//! Protocol buffers, as far as remote write needs them: a walk over fields in place.

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) &'static str);

const CUT: Malformed = Malformed("a field ends too early");

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Returns how many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Steps over the fields of this number, 1 to 15, that come next and are bytes.
    #[inline]
    pub(super) fn skip_bytes(&mut self, number: u8) -> Result<(), Malformed> {
        let tag = number << 3 | 2;
        while let Some((first, mut rest)) = self.rest.split_first()
            && *first == tag
        {
            let length = usize::try_from(take_varint(&mut rest)?).map_err(|_| CUT)?;
            self.rest = rest.get(length..).ok_or(CUT)?;
        }
        Ok(())
    }

    /// Returns the next field's number and value; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = take_varint(&mut self.rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.rest)?),
            1 => {
                let (bits, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
                self.rest = rest;
                Value::Fixed64(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = take_varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| CUT)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => {
                self.rest = self.rest.split_at_checked(4).ok_or(CUT)?.1;
                Value::Fixed32
            }
            _ => return Err(Malformed("a field has a wire type that is not in use")),
        };
        match tag >> 3 {
            0 => Err(Malformed("a field has the number 0")),
            number => Ok(Some((number, value))),
        }
    }
}

/// Takes a number, at most 10 bytes; bits past 64 are dropped, as other readers do.
#[inline]
pub(super) fn take_varint(from: &mut &[u8]) -> Result<u64, Malformed> {
    let bytes = *from;
    if let Some((first, rest)) = bytes.split_first()
        && *first < 0x80
    {
        *from = rest;
        return Ok(u64::from(*first));
    }
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *from = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() < 10 {
        CUT
    } else {
        Malformed("a number has more than 10 bytes")
    })
}

/// Calls `each` for the numbers of a repeated field: one, or many packed.
pub(super) fn numbers(
    value: Value<'_>,
    mut each: impl FnMut(u64) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    match value {
        Value::Varint(one) | Value::Fixed64(one) => each(one),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                each(take_varint(&mut packed)?)?;
            }
            Ok(())
        }
        Value::Fixed32 => Err(Malformed("a field has the wrong type")),
    }
}

/// Calls `each` for the doubles of a repeated field: one, or many packed.
pub(super) fn doubles(value: Value<'_>, mut each: impl FnMut(f64)) -> Result<(), Malformed> {
    match value {
        Value::Fixed64(bits) => each(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (whole, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(CUT);
            }
            for bits in whole {
                each(f64::from_bits(u64::from_le_bytes(*bits)));
            }
        }
        Value::Varint(_) | Value::Fixed32 => return Err(Malformed("a field has the wrong type")),
    }
    Ok(())
}

impl<'a> Value<'a> {
    pub(super) const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed("a field has the wrong type")),
        }
    }

    pub(super) const fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(Malformed("a field has the wrong type")),
        }
    }

    pub(super) const fn int64(self) -> Result<i64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(Malformed("a field has the wrong type")),
        }
    }

    pub(super) const fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(Malformed("a field has the wrong type")),
        }
    }
}

/// Undoes zigzag.
pub(super) const fn signed(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
