//! Columns of summaries: what a downsampling tier has of a series.
//!
//! Each field of a summary is a column: counts, distances of the first and last sample from the ends of their bucket, and six columns of
//! values. A column of values that is, to the bit, the column of first or last values is not written again: a counter's least is its
//! first, and all four of a gauge that rests are one. The others stand behind their lengths, so that a reader decodes what it needs.
//!
//! The layout is drawn in FORMAT.md, section "Rollups".

use std::collections::HashMap;
use std::sync::Arc;

use model::TimestampMs;
use rows::Presence;
use storage::{BucketLength, BucketShape, Rollup, RollupColumn, RollupColumns, Rollups};

use super::floats::encode_floats;
use super::ints::{Differences, decode_ints, encode_ints};
use super::varint::{put_length, put_varint, take_length, take_varint};
use super::{Scratch, spread, take_floats};
use crate::bytes::{Malformed, Reader};

/// A column that another may stand for.
struct Alias {
    column: RollupColumn,
    /// Where its code is among the bits of the aliases.
    shift: u32,
    /// Codes, and what stands for it.
    others: &'static [(u8, RollupColumn)],
}

const FIRST_OR_LAST: [(u8, RollupColumn); 2] = [
    (AS_FIRST, RollupColumn::First),
    (AS_LAST, RollupColumn::Last),
];
const ALIASES: [Alias; 3] = [
    Alias {
        column: RollupColumn::Last,
        shift: 0,
        others: &[(AS_FIRST, RollupColumn::First)],
    },
    Alias {
        column: RollupColumn::Min,
        shift: 2,
        others: &FIRST_OR_LAST,
    },
    Alias {
        column: RollupColumn::Max,
        shift: 4,
        others: &FIRST_OR_LAST,
    },
];
const AS_FIRST: u8 = 1;
const AS_LAST: u8 = 2;
const RESERVED: u8 = 0b1100_0000;

/// Appends the summaries of the rows that have one, each with the end of its bucket; nothing for none.
pub(super) fn encode_rollups(
    length: BucketLength,
    rows: &[(TimestampMs, Rollup)],
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    put_varint(out, length.as_ms().unsigned_abs());
    if rows.is_empty() {
        return;
    }
    let rollups = Rollups::from_rows(length, TimestampMs::MAX, rows, RollupColumns::ALL);
    let aliases = aliases_of(&rollups);
    out.push(aliases);
    let shape = &rollups.shape;
    for column in [&shape.counts, &shape.first_after, &shape.last_before] {
        put_ints(column.iter().map(|value| i64::from(*value)), scratch, out);
    }
    let ended = rows.iter().map(|(_, rollup)| i64::from(rollup.ended));
    put_ints(ended, scratch, out);
    for column in RollupColumn::ALL {
        if alias_of(aliases, column).is_some() {
            continue;
        }
        let mut bytes = Vec::new();
        let values = rollups.column(column).unwrap_or_default();
        encode_floats(values, false, &mut scratch.floats, &mut bytes);
        put_length(out, bytes.len());
        out.extend_from_slice(&bytes);
    }
}

fn put_ints(values: impl Iterator<Item = i64>, scratch: &mut Scratch, out: &mut Vec<u8>) {
    scratch.whole.clear();
    scratch.whole.extend(values);
    encode_ints(
        &scratch.whole,
        Differences::First,
        &mut scratch.floats.ints,
        out,
    );
}

fn aliases_of(rollups: &Rollups) -> u8 {
    let same = |a: RollupColumn, b: RollupColumn| {
        let bits = |column| {
            let values = rollups.column(column).unwrap_or_default();
            values.iter().map(|value| value.to_bits())
        };
        bits(a).eq(bits(b))
    };
    ALIASES.iter().fold(0, |aliases, alias| {
        let mut others = alias.others.iter();
        let other = others.find(|(_, other)| same(alias.column, *other));
        aliases | other.map_or(0, |(code, _)| code << alias.shift)
    })
}

/// Returns the column that stands for `column`; `None`: it has a stream of its own.
fn alias_of(aliases: u8, column: RollupColumn) -> Option<RollupColumn> {
    let alias = ALIASES.iter().find(|alias| alias.column == column)?;
    let code = aliases >> alias.shift & 0b11;
    let other = alias.others.iter().find(|(other, _)| *other == code)?;
    Some(other.1)
}

fn is_known(aliases: u8) -> bool {
    let known = |alias: &Alias| {
        let code = aliases >> alias.shift & 0b11;
        code == 0 || alias.others.iter().any(|(other, _)| *other == code)
    };
    aliases & RESERVED == 0 && ALIASES.iter().all(known)
}

/// Reads the summaries of a page of `rows` rows, `count` of which have one; of the columns of values those that are asked for.
pub(super) fn decode_rollups(
    from: &mut Reader<'_>,
    (rows, count): (usize, usize),
    presence: Option<&Presence>,
    wanted: RollupColumns,
    scratch: &mut Scratch,
) -> Result<Rollups, Malformed> {
    let length = u32::try_from(take_varint(from, "bad length of buckets")?)
        .ok()
        .and_then(BucketLength::from_ms)
        .ok_or(Malformed("bad length of buckets"))?;
    let of_shape = |shape| Rollups::new(length, TimestampMs::MAX, shape);
    if count == 0 {
        let none = || vec![0; rows];
        let mut rollups = of_shape(Arc::new(BucketShape {
            counts: none(),
            first_after: none(),
            last_before: none(),
            ended: None,
        }));
        let zeros: Arc<[f64]> = vec![0.0; rows].into();
        for column in wanted_of(wanted) {
            rollups.set_column(column, Arc::clone(&zeros));
        }
        return Ok(rollups);
    }
    let aliases = from.u8("columns are cut off")?;
    if !is_known(aliases) {
        return Err(Malformed("unknown form of summaries"));
    }
    let shape = take_shape(from, length, (rows, count), presence, scratch)?;
    let mut rollups = of_shape(shape);
    // What stands for a column that is wanted is wanted too.
    let stands = |column: RollupColumn| {
        let once = alias_of(aliases, column)?;
        Some(alias_of(aliases, once).unwrap_or(once))
    };
    let is_needed = |column: RollupColumn| {
        wanted_of(wanted).any(|wanted| stands(wanted).unwrap_or(wanted) == column)
    };
    let mut columns: [Option<Arc<[f64]>>; 6] = Default::default();
    for column in RollupColumn::ALL {
        if alias_of(aliases, column).is_some() {
            continue;
        }
        let bytes = take_length(from, usize::MAX, "bad length of a column")?;
        let bytes = from.take(bytes, "column is cut off")?;
        if !is_needed(column) {
            continue;
        }
        let mut stream = Reader::new(bytes);
        let values = take_floats(&mut stream, rows, count, presence, scratch)?;
        if !stream.rest().is_empty() {
            return Err(Malformed("column goes on after its values"));
        }
        columns[column as usize] = Some(values);
    }
    for column in wanted_of(wanted) {
        let source = stands(column).unwrap_or(column);
        if let Some(values) = &columns[source as usize] {
            rollups.set_column(column, Arc::clone(values));
        }
    }
    Ok(rollups)
}

/// Reads the shape of buckets that are no longer than `length`.
fn take_shape(
    from: &mut Reader<'_>,
    length: BucketLength,
    (rows, count): (usize, usize),
    presence: Option<&Presence>,
    scratch: &mut Scratch,
) -> Result<Arc<BucketShape>, Malformed> {
    let bytes = from.rest();
    if presence.is_none()
        && let Some((taken, shape)) = scratch.shapes.find(length, count, bytes)
    {
        from.take(taken, "shape is cut off")?;
        return Ok(shape);
    }
    let distance = u32::try_from(length.as_ms()).unwrap_or(u32::MAX);
    let mut take = |max: u32, from: &mut Reader<'_>| {
        decode_ints(from, count, &mut scratch.floats.ints, &mut scratch.whole)?;
        let values = scratch.whole.iter().map(|value| {
            let value = u32::try_from(*value).ok();
            value.filter(|value| *value <= max)
        });
        let values: Option<Vec<u32>> = values.collect();
        let values = values.ok_or(Malformed("summary that cannot be"))?;
        Ok(spread(values, rows, presence, || 0))
    };
    let mut shape = BucketShape {
        counts: take(u32::MAX, from)?,
        first_after: take(distance, from)?,
        last_before: take(distance, from)?,
        ended: None,
    };
    let ended = take(1, from)?;
    if ended.contains(&1) {
        let mut marks = Presence::filled(rows, false);
        for (row, _) in ended.iter().enumerate().filter(|(_, ended)| **ended == 1) {
            marks.set(row, true);
        }
        shape.ended = Some(marks);
    }
    let shape = Arc::new(shape);
    if presence.is_none() {
        let taken = bytes.len() - from.rest().len();
        scratch
            .shapes
            .remember(length, count, &bytes[..taken], &shape);
    }
    Ok(shape)
}

/// Shapes that were read, by their bytes: series that are sampled together share one, and it is read once.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: HashMap<ShapeKey, Vec<KnownShape>>,
    count: usize,
}

/// Length and number of the buckets, and the bytes that even the shortest shape has: four streams of constants.
type ShapeKey = (BucketLength, usize, [u8; 8]);

#[derive(Debug)]
struct KnownShape {
    bytes: Vec<u8>,
    shape: Arc<BucketShape>,
}

/// Shapes that are remembered, some 4 KB each for a day of five minutes.
const SHAPES_MAX: usize = 512;

impl Shapes {
    fn key(length: BucketLength, count: usize, bytes: &[u8]) -> Option<ShapeKey> {
        Some((length, count, *bytes.first_chunk()?))
    }

    /// Returns the shape that `bytes` begin with, and how many of them it takes.
    fn find(
        &self,
        length: BucketLength,
        count: usize,
        bytes: &[u8],
    ) -> Option<(usize, Arc<BucketShape>)> {
        let known = self.known.get(&Self::key(length, count, bytes)?)?;
        let found = known.iter().find(|known| bytes.starts_with(&known.bytes))?;
        Some((found.bytes.len(), Arc::clone(&found.shape)))
    }

    fn remember(
        &mut self,
        length: BucketLength,
        count: usize,
        bytes: &[u8],
        shape: &Arc<BucketShape>,
    ) {
        let Some(key) = Self::key(length, count, bytes) else {
            return;
        };
        if self.count >= SHAPES_MAX {
            self.known.clear();
            self.count = 0;
        }
        self.count += 1;
        self.known.entry(key).or_default().push(KnownShape {
            bytes: bytes.to_vec(),
            shape: Arc::clone(shape),
        });
    }
}

fn wanted_of(wanted: RollupColumns) -> impl Iterator<Item = RollupColumn> {
    RollupColumn::ALL
        .into_iter()
        .filter(move |column| wanted.contains(*column))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::{RollupBuilder, Segment, SegmentValues, Times};

    use super::super::{
        Column, ColumnValues, decode_page, decode_page_of, encode_page, page_summary,
    };
    use super::*;

    const LENGTH: BucketLength = BucketLength::FIVE_MINUTES;

    type Rows = Vec<(TimestampMs, Rollup)>;

    /// Summaries as the builder makes them.
    fn built() -> impl Strategy<Value = Rows> {
        let value = prop_oneof![
            6 => (-500_i32..500).prop_map(|value| f64::from(value) / 10.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(model::STALE_NAN),
        ];
        prop::collection::vec(
            (prop_oneof![Just(15_000_i64), 1_i64..900_000], value),
            1..400,
        )
        .prop_map(|steps| {
            let mut builder = RollupBuilder::new(LENGTH);
            let mut at = 0;
            let mut rows: Rows = steps
                .into_iter()
                .filter_map(|(gap, value)| {
                    at += gap;
                    builder.push(TimestampMs(at), value)
                })
                .collect();
            rows.extend(builder.finish());
            rows
        })
    }

    /// Any that a reader takes.
    fn wild() -> impl Strategy<Value = Rows> {
        let bits = || any::<u64>().prop_map(f64::from_bits);
        let rollup = (
            any::<u32>(),
            prop::collection::vec(bits(), 6),
            0_i64..=300_000,
            0_i64..=300_000,
            any::<bool>(),
        );
        prop::collection::vec(rollup, 1..60).prop_map(|rows| {
            (1_i64..)
                .zip(rows)
                .map(|(bucket, (count, values, first, last, ended))| {
                    let end = bucket * LENGTH.as_ms();
                    let rollup = Rollup {
                        count,
                        sum: values[0],
                        min: values[1],
                        max: values[2],
                        lost: values[3],
                        first: (TimestampMs(end - LENGTH.as_ms() + first), values[4]),
                        last: (TimestampMs(end - last), values[5]),
                        ended,
                    };
                    (TimestampMs(end), rollup)
                })
                .collect()
        })
    }

    fn encode(rows: &Rows, presence: Option<&Presence>) -> Vec<u8> {
        let column = Column {
            rows: rows.len(),
            presence,
            values: ColumnValues::Rollups(LENGTH, rows),
            start_times: None,
        };
        let mut out = Vec::new();
        encode_page(&column, &mut Scratch::default(), &mut out).unwrap();
        out
    }

    fn decode(bytes: &[u8], rows: &Rows, wanted: RollupColumns) -> Segment {
        let page = decode_page_of(bytes, wanted, &mut Scratch::default()).unwrap();
        assert_eq!(page.rows(), rows.len());
        let ends: Vec<TimestampMs> = rows.iter().map(|(end, _)| *end).collect();
        page.into_segment(Times::new(ends))
    }

    fn rollups_of(segment: &Segment) -> &Rollups {
        let SegmentValues::Rollup(rollups) = &segment.values else {
            panic!("summaries");
        };
        rollups
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_summary_survives_to_the_bit(rows in prop_oneof![built(), wild()], absent in prop::option::of(any::<u64>())) {
            let presence = absent.map(|seed| {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut presence = Presence::filled(rows.len(), false);
                (0..rows.len()).for_each(|row| presence.set(row, random.u8(0..4) > 0));
                presence
            });
            let present = |row: usize| presence.as_ref().is_none_or(|presence| presence.contains(row));
            let bytes = encode(&rows, presence.as_ref());
            let summary = page_summary(&bytes).unwrap();
            prop_assert_eq!((summary.rows, summary.count), (rows.len(), (0..rows.len()).filter(|row| present(*row)).count()));
            let segment = decode(&bytes, &rows, RollupColumns::ALL);
            let rollups = rollups_of(&segment);
            prop_assert_eq!(rollups.length, LENGTH);
            for (row, (end, rollup)) in rows.iter().enumerate() {
                prop_assert_eq!(segment.is_present(row), present(row));
                if present(row) {
                    let back = rollups.row(row, *end).unwrap();
                    prop_assert_eq!((back.count, back.first.0, back.last.0, back.ended), (rollup.count, rollup.first.0, rollup.last.0, rollup.ended));
                    for column in RollupColumn::ALL {
                        prop_assert_eq!(column.of(&back).to_bits(), column.of(rollup).to_bits(), "{:?} of row {}", column, row);
                    }
                }
            }
            // One column at a time is the same column.
            for column in RollupColumn::ALL {
                let wanted = RollupColumns::of(&[column]);
                let one = decode(&bytes, &rows, wanted);
                prop_assert_eq!(rollups_of(&one).columns(), wanted);
                let bits = |rollups: &Rollups| rollups.column(column).unwrap().iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(rollups_of(&one)), bits(rollups));
            }
            let none = decode(&bytes, &rows, RollupColumns::NONE);
            prop_assert_eq!(rollups_of(&none).columns(), RollupColumns::NONE);
        }

        #[test]
        fn damaged_summaries_never_panic(rows in built(), hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
            let mut bytes = encode(&rows, None);
            for (at, to) in hits {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
            page_summary(&bytes).ok();
            decode_page(&bytes, &mut Scratch::default()).ok();
        }
    }

    #[test]
    fn series_sampled_together_share_their_shape() {
        let rows = |step: f64, last: f64| {
            let mut builder = RollupBuilder::new(LENGTH);
            let mut rows: Rows = (1_i32..=100)
                .filter_map(|tick| {
                    let at = i64::from(tick) * 15_000 + i64::from(tick % 7);
                    builder.push(TimestampMs(at), f64::from(tick) * step)
                })
                .collect();
            rows.extend(builder.push(TimestampMs(1_600_000), last));
            rows.extend(builder.finish());
            rows
        };
        let mut scratch = Scratch::default();
        let mut shape = |rows: &Rows| {
            let page = decode_page(&encode(rows, None), &mut scratch).unwrap();
            let SegmentValues::Rollup(rollups) = page.values else {
                panic!("summaries");
            };
            rollups.shape
        };
        let one = shape(&rows(1.0, 3.0));
        assert!(Arc::ptr_eq(&one, &shape(&rows(0.37, 1e9))));
        // A stale mark is another shape, though it begins with the same bytes.
        let other = shape(&rows(1.0, model::STALE_NAN));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(other.has_ended(other.counts.len() - 1));
        assert!(Arc::ptr_eq(&one, &shape(&rows(-2.0, 0.0))));
    }

    #[test]
    fn what_rests_or_counts_evenly_costs_little() {
        let bytes = |value: &dyn Fn(i64) -> f64| {
            let mut builder = RollupBuilder::new(LENGTH);
            let mut rows: Rows = (1..=288 * 20)
                .filter_map(|tick| builder.push(TimestampMs(tick * 15_000), value(tick)))
                .collect();
            rows.extend(builder.finish());
            assert_eq!(rows.len(), 288);
            encode(&rows, None).len()
        };
        let (resting, counter) = (
            bytes(&|_| 4096.0),
            bytes(&|tick| f64::from(i32::try_from(tick).unwrap()) * 7.0),
        );
        assert!(resting <= 40, "a gauge that rests: {resting} bytes a day");
        assert!(
            counter <= 80,
            "a counter that counts evenly: {counter} bytes a day"
        );
    }
}
