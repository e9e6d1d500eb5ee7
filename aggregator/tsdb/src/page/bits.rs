//! Fields of equal width, packed without gaps, the first in the lowest bits of the first byte.

/// The widest field that one unaligned 64-bit load holds whatever bit it starts at.
const ONE_LOAD_WIDTH_MAX: u32 = 57;

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

/// Appends `count` values `base + factor * field` (modulo 2^64) to `out`. `packed` is exactly [`packed_len`] bytes.
pub(super) fn unpack(
    packed: &[u8],
    width: u32,
    count: usize,
    base: i64,
    factor: u64,
    out: &mut Vec<i64>,
) {
    let value = |field: u64| base.wrapping_add(field.wrapping_mul(factor).cast_signed());
    if width == 0 {
        out.resize(out.len() + count, base);
    } else if width <= ONE_LOAD_WIDTH_MAX {
        let mask = (1 << width) - 1;
        let step = width as usize;
        // Loads of 8 bytes as long as they stay inside, the rest from a padded copy.
        let inside = packed
            .len()
            .checked_sub(8)
            .map_or(0, |last| last * 8 / step + 1)
            .min(count);
        out.reserve(count);
        out.extend((0..inside).map(|index| {
            let bit = index * step;
            value(load(packed, bit / 8) >> (bit % 8) & mask)
        }));
        let tail_start = inside * step / 8;
        let mut tail = [0; 24];
        let rest = packed.get(tail_start..).unwrap_or_default();
        tail[..rest.len()].copy_from_slice(rest);
        out.extend((inside..count).map(|index| {
            let bit = index * step - tail_start * 8;
            value(load(&tail, bit / 8) >> (bit % 8) & mask)
        }));
    } else {
        out.extend((0..count).map(|index| value(wide_field(packed, width, index))));
    }
}

#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
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
            let mut values = Vec::new();
            unpack(&packed, width, fields.len(), 0, 1, &mut values);
            prop_assert_eq!(values.into_iter().map(i64::cast_unsigned).collect::<Vec<_>>(), fields);
        }
    }
}
