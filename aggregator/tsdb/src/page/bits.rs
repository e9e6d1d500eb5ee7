//! Fields of equal width, packed without gaps, the first in the lowest bits of the first byte.

/// Returns how many bytes `count` fields of `width` bits take.
pub(super) const fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends `fields`, each below `2^width`.
pub(super) fn pack(fields: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mut word = 0u64;
    let mut filled = 0;
    for field in fields {
        word |= field << filled;
        if filled + width >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            word = field.checked_shr(64 - filled).unwrap_or(0);
            filled = filled + width - 64;
        } else {
            filled += width;
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..packed_len(1, filled)]);
}

/// Fills `out` with `base + factor * field` (modulo 2^64). `packed` is exactly [`packed_len`] bytes.
pub(super) fn unpack(packed: &[u8], width: u32, base: i64, factor: u64, out: &mut [i64]) {
    let value = |field: u64| base.wrapping_add(field.wrapping_mul(factor).cast_signed());
    // One loop for each width up to 40: every offset, shift and mask in it is a constant.
    macro_rules! of_width {
        ($($constant:literal)*) => {
            match width {
                0 => out.fill(base),
                $($constant => unpack_of::<$constant>(packed, out, value),)*
                _ => {
                    for (index, cell) in out.iter_mut().enumerate() {
                        *cell = value(wide_field(packed, width, index));
                    }
                }
            }
        };
    }
    of_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40)
}

fn unpack_of<const WIDTH: usize>(packed: &[u8], out: &mut [i64], value: impl Fn(u64) -> i64) {
    let (eights, rest) = out.as_chunks_mut::<8>();
    let done = unpack_eights::<WIDTH>(packed, eights, &value);
    // The last fields, in fewer than `WIDTH + 8` bytes, with room behind them for the loads.
    let tail = &packed[done * WIDTH..];
    let mut padded = [0; 2 * (40 + 8)];
    padded[..tail.len()].copy_from_slice(tail);
    let more = unpack_eights::<WIDTH>(&padded, &mut eights[done..], &value);
    let mut last = [[0; 8]];
    unpack_eights::<WIDTH>(&padded[more * WIDTH..], &mut last, &value);
    rest.copy_from_slice(&last[0][..rest.len()]);
}

/// Unpacks fields eight by eight, which take `WIDTH` bytes, as long as loads of eight bytes stay inside; returns how many eights it did.
fn unpack_eights<const WIDTH: usize>(
    packed: &[u8],
    out: &mut [[i64; 8]],
    value: impl Fn(u64) -> i64,
) -> usize {
    let mut done = 0;
    let mut rest = packed;
    for eight in out {
        let Some(fields) = rest.get(..WIDTH + 8) else {
            break;
        };
        for (index, cell) in eight.iter_mut().enumerate() {
            let bit = index * WIDTH;
            *cell = value(load(&fields[bit / 8..]) >> (bit % 8) & ((1 << WIDTH) - 1));
        }
        rest = &rest[WIDTH..];
        done += 1;
    }
    done
}

/// Loads the first eight bytes; the caller gives no fewer.
#[inline]
fn load(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Reads a field that may straddle nine bytes.
fn wide_field(packed: &[u8], width: u32, index: usize) -> u64 {
    let bit = index * width as usize;
    let mut word = [0; 16];
    let bytes = &packed[bit / 8..packed.len().min(bit / 8 + 9)];
    word[..bytes.len()].copy_from_slice(bytes);
    let shifted = u128::from_le_bytes(word) >> (bit % 8);
    let low = shifted & u128::from(u64::MAX);
    u64::try_from(low).unwrap_or(u64::MAX) & u64::MAX >> (64 - width)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_of_every_width_survive(width in 0u32..=64, fields in prop::collection::vec(any::<u64>(), 0..200)) {
            let fields: Vec<u64> = fields.into_iter().map(|field| field.checked_shr(64 - width).unwrap_or(0)).collect();
            let mut packed = Vec::new();
            pack(fields.iter().copied(), width, &mut packed);
            prop_assert_eq!(packed.len(), packed_len(fields.len(), width));
            let mut values = vec![-1; fields.len()];
            unpack(&packed, width, 0, 1, &mut values);
            prop_assert_eq!(values.into_iter().map(i64::cast_unsigned).collect::<Vec<_>>(), fields);
        }
    }
}
