//! Float chunks.

use model::{Sample, Value};

use super::Time;
use crate::bits::{Bits, XorFloat};
use crate::bytes::{Malformed, Reader};

/// The widths of a difference of differences behind one, two, ... set bits; the last prefix has no clear bit.
const WIDTHS: [u32; 4] = [14, 17, 20, 64];

/// Appends the samples; returns how many there are.
pub(super) fn decode(data: &[u8], out: &mut Vec<Sample>) -> Result<usize, Malformed> {
    let mut head = Reader::new(data);
    let count = usize::from(head.u16("it has no number of samples")?);
    if count == 0 {
        return Ok(0);
    }
    let mut time = Time {
        at: head.varint("it has no first timestamp")?,
        delta: 0,
    };
    let mut value = XorFloat::starting_at(f64::from_bits(head.u64("it has no first value")?));
    out.push(time.sample(Value::Float(value.value)));
    if count == 1 {
        return Ok(1);
    }
    let delta = head.uvarint("it has no second timestamp")?;
    time.advance(delta.cast_signed());
    let mut bits = Bits::new(head.rest());
    value.advance(&mut bits)?;
    out.push(time.sample(Value::Float(value.value)));
    for _ in 2..count {
        time.advance(match bits.ones(WIDTHS.len())? {
            0 => 0,
            ones => bits.signed(WIDTHS[ones - 1])?,
        });
        value.advance(&mut bits)?;
        out.push(time.sample(Value::Float(value.value)));
    }
    Ok(count)
}
