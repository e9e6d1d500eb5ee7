//! Sets of series, encoded: a list, a list of runs, or a bitmap, whichever is smallest.
//!
//! Series of a partition are numbered in order of their labels, so a metric name is one run and most other labels are lists of small
//! distances. The layout is drawn in FORMAT.md, section "Postings".

use roaring::RoaringBitmap;

use super::SeriesId;
use crate::bytes::{Malformed, Reader};
use crate::page::ints::{Differences, IntScratch, decode_ints, encode_ints};
use crate::page::varint::{put_length, put_varint, take_length, take_varint};

const KIND_LIST: u8 = 0;
const KIND_RUNS: u8 = 1;
const KIND_BITMAP: u8 = 2;

/// Buffers that encoding and decoding reuse.
#[derive(Debug, Default)]
pub(super) struct PostingScratch {
    pub(super) ints: IntScratch,
    pub(super) numbers: Vec<i64>,
    more: Vec<i64>,
    candidate: Vec<u8>,
}

/// Appends `series`, which rise strictly, to `out`.
pub(super) fn encode_posting(series: &[SeriesId], scratch: &mut PostingScratch, out: &mut Vec<u8>) {
    let start = out.len();
    let PostingScratch {
        ints,
        numbers,
        more,
        candidate,
    } = scratch;
    numbers.clear();
    numbers.extend(series.iter().copied().map(i64::from));
    out.push(KIND_LIST);
    put_length(out, numbers.len());
    encode_ints(numbers, Differences::First, ints, out);

    let is_start = |at: &usize| *at == 0 || numbers[*at] != numbers[at - 1] + 1;
    let starts: Vec<usize> = (0..numbers.len()).filter(is_start).collect();
    if starts.len() * 2 <= numbers.len() {
        candidate.clear();
        candidate.push(KIND_RUNS);
        put_length(candidate, starts.len());
        more.clear();
        more.extend(starts.iter().map(|at| numbers[*at]));
        encode_ints(more, Differences::First, ints, candidate);
        let ends = starts.iter().skip(1).copied().chain([numbers.len()]);
        more.clear();
        more.extend(
            starts
                .iter()
                .zip(ends)
                .map(|(from, to)| i64::try_from(to - from).unwrap_or(i64::MAX)),
        );
        encode_ints(more, Differences::First, ints, candidate);
        replace_if_smaller(candidate, start, out);
    }
    let (Some(min), Some(max)) = (series.first(), series.last()) else {
        return;
    };
    let bytes = (max / 8 - min / 8) as usize + 1;
    if bytes < out.len() - start {
        candidate.clear();
        candidate.push(KIND_BITMAP);
        put_varint(candidate, u64::from(min / 8));
        put_length(candidate, bytes);
        let bits = candidate.len();
        candidate.resize(bits + bytes, 0);
        for series in series {
            candidate[bits + (series / 8 - min / 8) as usize] |= 1 << (series % 8);
        }
        replace_if_smaller(candidate, start, out);
    }
}

fn replace_if_smaller(candidate: &[u8], start: usize, out: &mut Vec<u8>) {
    if candidate.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(candidate);
    }
}

/// Adds the series in `src`, each below `universe`, to `out`.
pub(super) fn decode_posting(
    src: &[u8],
    universe: SeriesId,
    scratch: &mut PostingScratch,
    out: &mut RoaringBitmap,
) -> Result<(), Malformed> {
    let mut from = Reader::new(src);
    let PostingScratch {
        ints,
        numbers,
        more,
        ..
    } = scratch;
    let series_of = |number: i64| {
        u32::try_from(number)
            .ok()
            .filter(|series| *series < universe)
            .ok_or(Malformed("posting of a series that is not there"))
    };
    match from.u8("posting is empty")? {
        KIND_LIST => {
            let count = take_length(&mut from, universe as usize, "more postings than series")?;
            decode_ints(&mut from, count, ints, numbers)?;
            for number in numbers {
                out.insert(series_of(*number)?);
            }
        }
        KIND_RUNS => {
            let count = take_length(&mut from, universe as usize, "more runs than series")?;
            decode_ints(&mut from, count, ints, numbers)?;
            decode_ints(&mut from, count, ints, more)?;
            for (first, length) in numbers.iter().zip(more) {
                let last = length
                    .checked_sub(1)
                    .and_then(|more| first.checked_add(more))
                    .unwrap_or(-1);
                let (first, last) = (series_of(*first)?, series_of(last)?);
                if first > last {
                    return Err(Malformed("run of series has no length"));
                }
                out.insert_range(first..=last);
            }
        }
        KIND_BITMAP => {
            let base = take_varint(&mut from, "bad start of a bitmap")?;
            let bytes = take_length(&mut from, src.len(), "bitmap longer than its bytes")?;
            let bits = from.take(bytes, "bitmap is cut off")?;
            let base = base
                .checked_mul(8)
                .and_then(|base| u32::try_from(base).ok())
                .ok_or(Malformed("bad start of a bitmap"))?;
            let past_end = u64::from(base) + bytes as u64 * 8;
            if past_end > u64::from(universe).next_multiple_of(8) {
                return Err(Malformed("posting of a series that is not there"));
            }
            let set = RoaringBitmap::from_lsb0_bytes(base, bits);
            if set.max().is_some_and(|max| max >= universe) {
                return Err(Malformed("posting of a series that is not there"));
            }
            *out |= set;
        }
        _ => return Err(Malformed("unknown kind of posting")),
    }
    if from.rest().is_empty() {
        Ok(())
    } else {
        Err(Malformed("posting goes on after its end"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(series: &RoaringBitmap) -> usize {
        let (mut out, mut back) = (Vec::new(), RoaringBitmap::new());
        let list: Vec<SeriesId> = series.iter().collect();
        encode_posting(&list, &mut PostingScratch::default(), &mut out);
        let universe = series.max().map_or(1, |max| max + 1);
        decode_posting(&out, universe, &mut PostingScratch::default(), &mut back).unwrap();
        assert_eq!(&back, series);
        assert!(
            series.is_empty()
                || decode_posting(
                    &out,
                    universe - 1,
                    &mut PostingScratch::default(),
                    &mut back
                )
                .is_err()
        );
        out.len()
    }

    #[test]
    fn each_kind_is_small_where_it_should_be() {
        assert!(round_trip(&(0..100_000).collect()) <= 10);
        assert!(round_trip(&(0..100_000).step_by(7).collect()) <= 12);
        assert!(round_trip(&RoaringBitmap::from_iter([70_000])) <= 6);
        let mut random = fastrand::Rng::with_seed(1);
        let half: RoaringBitmap = (0..80_000).filter(|_| random.bool()).collect();
        assert!(round_trip(&half) <= 10_020);
    }

    proptest! {
        #[test]
        fn sets_survive(list in prop::collection::vec((0u32..30_000, 1u32..40), 0..50)) {
            let mut set = RoaringBitmap::new();
            for (start, length) in list {
                set.insert_range(start..start + length);
            }
            round_trip(&set);
        }

        #[test]
        fn damaged_postings_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0u8..3) {
            let bytes: Vec<u8> = std::iter::once(kind).chain(bytes).collect();
            let mut out = RoaringBitmap::new();
            if decode_posting(&bytes, 5_000, &mut PostingScratch::default(), &mut out).is_ok() {
                prop_assert!(out.max().is_none_or(|max| max < 5_000));
            }
        }
    }
}
