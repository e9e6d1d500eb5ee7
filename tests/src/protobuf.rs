//! Protocol buffers, as senders of remote write make them, and the block that they come in.

/// A message that grows field by field.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// Adds a number.
    #[must_use]
    pub fn int(mut self, field: u8, value: i64) -> Self {
        put_varint(&mut self.0, u64::from(field) << 3);
        put_varint(&mut self.0, value.cast_unsigned());
        self
    }

    /// Adds a number in zigzag.
    #[must_use]
    pub fn sint(self, field: u8, value: i64) -> Self {
        self.int(field, (value << 1) ^ (value >> 63))
    }

    /// Adds a double.
    #[must_use]
    pub fn double(mut self, field: u8, value: f64) -> Self {
        put_double(&mut self.0, field, value);
        self
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        put_bytes(&mut self.0, field, bytes);
        self
    }

    /// Adds a message.
    #[must_use]
    pub fn message(self, field: u8, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// Adds numbers, packed.
    #[must_use]
    pub fn packed(self, field: u8, numbers: &[u64]) -> Self {
        let mut packed = Vec::new();
        for number in numbers {
            put_varint(&mut packed, *number);
        }
        self.bytes(field, &packed)
    }

    /// Returns it as the body of a request.
    pub fn block(&self) -> Vec<u8> {
        uncompressed(&self.0)
    }
}

pub(crate) fn put_double(out: &mut Vec<u8>, field: u8, value: f64) {
    put_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Returns a block of snappy's that is one literal.
pub(crate) fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    put_varint(&mut out, bytes.len() as u64);
    if let Some(last) = bytes.len().checked_sub(1) {
        out.push(63 << 2);
        let last = u32::try_from(last).expect("requests have some hundred KiB");
        out.extend_from_slice(&last.to_le_bytes());
    }
    out.extend_from_slice(bytes);
    out
}
