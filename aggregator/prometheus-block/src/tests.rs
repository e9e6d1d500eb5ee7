//! The reader against blocks made by hand, whole and damaged.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use files::Simulated;
use model::{
    Buckets, CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Labels, STALE_NAN, Sample, Span,
    TimeRange, TimestampMs, Value,
};
use proptest::prelude::*;

use crate::testing::{BlockSeries, FOLDER, encode, put, write};
use crate::{
    Block, BlockError, CELLS_MAX, ChunkError, Damage, Encoding, Visited, Visitor, decode_chunk,
};

fn float(at: i64, value: f64) -> Sample {
    Sample {
        at: TimestampMs(at),
        value: Value::Float(value),
    }
}

fn histogram(at: i64, histogram: Histogram) -> Sample {
    Sample {
        at: TimestampMs(at),
        value: Value::Histogram(Arc::new(histogram)),
    }
}

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

fn integers(reset: CounterReset, base: u64) -> Histogram {
    Histogram {
        reset,
        schema: 3,
        zero_threshold: 2f64.powi(-128),
        sum: f64::from(u32::try_from(base).unwrap()) * 0.37,
        positive_spans: vec![span(-2, 2), span(3, 1)],
        negative_spans: vec![span(1, 1)],
        custom_bounds: vec![],
        buckets: Buckets::Integer {
            count: base * 4,
            zero: base / 2,
            positive: vec![base, 0, base * base],
            negative: vec![base + 7],
        },
    }
}

fn floats(base: f64) -> Histogram {
    Histogram {
        reset: CounterReset::Gauge,
        zero_threshold: 0.001,
        buckets: Buckets::Float {
            count: base,
            zero: -0.0,
            positive: vec![base, f64::INFINITY, 0.1],
            negative: vec![base / 3.0],
        },
        ..integers(CounterReset::Gauge, 3)
    }
}

fn custom(base: u64) -> Histogram {
    Histogram {
        reset: CounterReset::Unknown,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: -1.5,
        positive_spans: vec![span(0, 4)],
        negative_spans: vec![],
        custom_bounds: vec![-2.0, 0.005, 0.1 + 0.2, 1e9],
        buckets: Buckets::Integer {
            count: base,
            zero: 0,
            positive: vec![base, 1, 2, 3],
            negative: vec![],
        },
    }
}

type Series = Vec<(String, Vec<Sample>)>;

#[derive(Default)]
struct Found {
    series: Series,
    damages: Vec<Damage>,
}

impl Visitor for Found {
    type Error = Infallible;

    fn series(&mut self, labels: &Labels, samples: Vec<Sample>) -> Result<(), Infallible> {
        self.series.push((labels.to_string(), samples));
        Ok(())
    }

    fn damaged(&mut self, damage: Damage) {
        self.damages.push(damage);
    }
}

/// Reads all of a block: series, damages, and what was visited.
fn read(disk: &Simulated) -> (Series, Vec<Damage>, Visited) {
    read_within(disk, TimeRange::ALL)
}

fn read_within(disk: &Simulated, range: TimeRange) -> (Series, Vec<Damage>, Visited) {
    let mut block = Block::open(disk, Path::new(FOLDER)).unwrap();
    let mut found = Found {
        damages: block.damages().to_vec(),
        ..Found::default()
    };
    let visited = block.visit(range, &mut found).unwrap();
    (found.series, found.damages, visited)
}

#[track_caller]
fn assert_same(found: &[Sample], expected: &[Sample]) {
    assert_eq!(found.len(), expected.len(), "{found:?}\n{expected:?}");
    for (found, expected) in found.iter().zip(expected) {
        let same = found.at == expected.at && found.value.same_bits(&expected.value);
        assert!(same, "{found:?}\n{expected:?}");
    }
}

#[test]
fn every_kind_of_chunk_comes_out_to_the_bit() {
    let numbers: Vec<Sample> = [
        1.5,
        1.5,
        -0.0,
        f64::NAN,
        STALE_NAN,
        f64::MIN_POSITIVE,
        1e300,
    ]
    .into_iter()
    .enumerate()
    .map(|(row, value)| {
        let row = i64::try_from(row).unwrap();
        float(-5 + row * 15_000 + row * row * row * 400_000, value)
    })
    .collect();
    let integer = [
        histogram(10, integers(CounterReset::Reset, 5)),
        histogram(25, integers(CounterReset::NotReset, 9)),
        histogram(4_000, integers(CounterReset::NotReset, 100)),
        histogram(5_000, Histogram::stale()),
        histogram(6_000, Histogram::stale()),
    ];
    let float_counts = [
        histogram(10, floats(2.5)),
        histogram(20, floats(f64::NAN)),
        histogram(30, floats(1e-9)),
    ];
    let bounds = [
        histogram(1, custom(1)),
        histogram(
            2,
            Histogram {
                reset: CounterReset::NotReset,
                ..custom(2)
            },
        ),
    ];
    let stale_first = [histogram(7, Histogram::stale())];
    let series = [
        BlockSeries::new(
            &[("__name__", "a")],
            &[&numbers, &[float(1_000_000_000, f64::INFINITY)]],
        ),
        BlockSeries::new(&[("__name__", "b"), ("job", "x")], &[&integer]),
        BlockSeries::new(&[("__name__", "c")], &[&float_counts]),
        BlockSeries::new(&[("__name__", "d")], &[&bounds]),
        BlockSeries::new(&[("__name__", "e")], &[&stale_first]),
    ];
    let (found, damages, visited) = read(&write(&series, None).0);
    assert_eq!(damages, []);
    let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b{job=\"x\"}", "c", "d", "e"]);
    assert_same(&found[0].1[..7], &numbers);
    assert_same(&found[0].1[7..], &[float(1_000_000_000, f64::INFINITY)]);
    assert_same(&found[1].1, &integer);
    assert_same(&found[2].1, &float_counts);
    assert_same(&found[3].1, &bounds);
    assert_same(&found[4].1, &stale_first);
    assert_eq!((visited.series, visited.samples), (5, 19));
}

#[test]
fn ranges_partition_the_samples() {
    let all: Vec<Sample> = (0..100)
        .map(|row: i32| float(i64::from(row) * 10, f64::from(row)))
        .collect();
    let series = [BlockSeries::new(
        &[("a", "b")],
        &[&all[..33], &all[33..34], &all[34..]],
    )];
    let (disk, _) = write(&series, None);
    let mut found = Vec::new();
    for start in (0..1_000).step_by(70) {
        let range = TimeRange::new(TimestampMs(start), TimestampMs(start + 69));
        for (_, samples) in read_within(&disk, range).0 {
            found.extend(samples);
        }
    }
    assert_same(&found, &all);
}

#[test]
fn spans_are_those_that_have_samples() {
    let far = 50_000_000;
    let chunks: [&[Sample]; 2] = [
        &[float(-5, 0.0), float(25, 1.0)],
        &[float(26, 1.0), float(far, 2.0)],
    ];
    let (disk, _) = write(&[BlockSeries::new(&[("a", "b")], &chunks)], None);
    let mut block = Block::open(&disk, Path::new(FOLDER)).unwrap();
    let spans: Vec<i64> = block.spans(10, 100).unwrap().into_iter().collect();
    assert_eq!(spans, [-1, 0, 1, 2, far / 10]);
    assert_eq!(block.spans(10, 3), None);
}

#[test]
fn what_tombstones_cover_is_left_out_and_resets_after_it_are_unknown() {
    let series = [
        BlockSeries::new(
            &[("a", "1")],
            &[&[float(1, 1.0), float(2, 2.0), float(3, 3.0), float(4, 4.0)]],
        ),
        BlockSeries::new(
            &[("a", "2")],
            &[&[
                histogram(1, integers(CounterReset::Unknown, 1)),
                histogram(2, integers(CounterReset::NotReset, 2)),
                histogram(3, integers(CounterReset::NotReset, 3)),
            ]],
        ),
        BlockSeries::new(&[("a", "3")], &[&[float(1, 1.0)]]),
    ];
    let stones = [
        (0, 4, i64::MAX),
        (0, 2, 2),
        (1, 2, 2),
        (2, i64::MIN, i64::MAX),
    ];
    let (found, damages, visited) = read(&write(&series, Some(&stones)).0);
    assert_eq!(damages, []);
    assert_eq!(found.len(), 2, "a series without samples does not come");
    assert_same(&found[0].1, &[float(1, 1.0), float(3, 3.0)]);
    let expected = [
        histogram(1, integers(CounterReset::Unknown, 1)),
        histogram(3, integers(CounterReset::Unknown, 3)),
    ];
    assert_same(&found[1].1, &expected);
    assert_eq!((visited.deleted, visited.samples), (4, 4));
}

#[test]
fn overlapping_chunks_are_merged_and_the_first_stands() {
    let chunks: [&[Sample]; 2] = [
        &[float(10, 1.0), float(30, 3.0)],
        &[float(20, 2.0), float(30, 9.0), float(40, 4.0)],
    ];
    let series = [BlockSeries::new(&[("a", "b")], &chunks)];
    let (found, damages, visited) = read(&write(&series, None).0);
    assert_eq!(damages, []);
    let expected = [10, 20, 30, 40].map(|at: i32| float(i64::from(at), f64::from(at / 10)));
    assert_same(&found[0].1, &expected);
    assert_eq!(visited.repeated, 1);
}

fn three_series() -> [BlockSeries; 3] {
    ["1", "2", "3"].map(|value| {
        let chunks: [&[Sample]; 2] = [&[float(1, 1.0), float(2, 2.0)], &[float(3, 3.0)]];
        BlockSeries::new(&[("a", value)], &chunks)
    })
}

#[test]
fn any_flipped_bit_costs_what_it_hits_and_is_reported() {
    for name in ["index", "chunks/000001"] {
        let (disk, _) = write(&three_series(), None);
        let path = Path::new(FOLDER).join(name);
        let bits = disk.contents(&path).unwrap().len() as u64 * 8;
        let whole = read(&disk).0;
        let mut reported = 0;
        for bit in 0..bits {
            disk.flip_bit(&path, bit).unwrap();
            if Block::open(&disk, Path::new(FOLDER)).is_ok() {
                let (found, damages, _) = read(&disk);
                for (labels, samples) in &found {
                    let of = whole.iter().find(|(own, _)| own == labels).unwrap();
                    for sample in samples {
                        let known = of
                            .1
                            .iter()
                            .any(|own| own.at == sample.at && own.value.same_bits(&sample.value));
                        assert!(known, "{name} bit {bit}: {labels} {sample:?}");
                    }
                }
                let count = |all: &[(String, Vec<Sample>)]| -> usize {
                    all.iter().map(|(_, samples)| samples.len()).sum()
                };
                let lost = count(&found) < count(&whole);
                assert!(!lost || !damages.is_empty(), "{name} bit {bit}");
                reported += usize::from(!damages.is_empty());
            }
            disk.flip_bit(&path, bit).unwrap();
        }
        assert!(reported > 0, "{name}");
    }
}

#[test]
fn a_damaged_list_of_series_is_replaced_by_looking() {
    let (disk, references) = write(&three_series(), None);
    let path = Path::new(FOLDER).join("index");
    let index = disk.contents(&path).unwrap();
    let contents = index.len() - 52;
    let table = u64::from_be_bytes(index[contents + 40..contents + 48].try_into().unwrap());
    disk.flip_bit(&path, (table + 5) * 8).unwrap();
    let (found, damages, _) = read(&disk);
    assert_eq!(found.len(), references.len());
    assert!(
        damages[0].what.contains("list of all series"),
        "{damages:?}"
    );
    assert_eq!(damages[0].offset, table);
}

#[test]
fn damage_names_file_and_offset() {
    let (disk, _) = write(&three_series(), None);
    // The first chunk begins at byte 8: length, encoding, data.
    let path = Path::new(FOLDER).join("chunks/000001");
    disk.flip_bit(&path, 12 * 8).unwrap();
    let (found, damages, _) = read(&disk);
    assert_same(&found[0].1, &[float(3, 3.0)]);
    let text = damages[0].to_string();
    assert!(
        text.contains("chunks/000001 at byte 8: chunk 8 is left out") && text.contains("checksum"),
        "{text}"
    );
}

#[test]
fn newer_encodings_are_refused_by_name() {
    let mut series = three_series();
    series[1].chunks[0].0 = 4;
    let (found, damages, _) = read(&write(&series, None).0);
    assert_eq!(
        found
            .iter()
            .map(|(_, samples)| samples.len())
            .sum::<usize>(),
        7
    );
    let text = damages[0].to_string();
    assert!(
        text.contains("XOR2") && text.contains("chunks/000001 at byte"),
        "{text}"
    );
    assert_eq!(
        Encoding::from_number(0),
        Err(ChunkError::Encoding { number: 0 })
    );
}

#[test]
fn samples_outside_of_the_times_of_their_chunk_are_damage() {
    let mut series = three_series();
    series[0].chunks[0].3 = 1;
    let (found, damages, _) = read(&write(&series, None).0);
    assert_same(&found[0].1, &[float(3, 3.0)]);
    assert!(damages[0].what.contains("outside"), "{damages:?}");
}

#[test]
fn blocks_that_cannot_be_trusted_are_refused() {
    let refused = |change: &dyn Fn(&Simulated)| {
        let (disk, _) = write(&three_series(), Some(&[(0, 1, 2)]));
        change(&disk);
        match Block::open(&disk, Path::new(FOLDER)) {
            Err(error @ BlockError::Unreadable { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let tombstones = Path::new(FOLDER).join("tombstones");
    let text = refused(&|disk| disk.flip_bit(&tombstones, 50).unwrap());
    assert!(text.contains("would come back"), "{text}");
    let text = refused(&|disk| put(disk, "tombstones", &[1, 2]));
    assert!(text.contains("cut off"), "{text}");
    let index = Path::new(FOLDER).join("index");
    let with_version = |version: u8| {
        let index = &index;
        move |disk: &Simulated| {
            let mut bytes = disk.contents(index).unwrap();
            bytes[4] = version;
            put(disk, "index", &bytes);
        }
    };
    assert!(refused(&with_version(1)).contains("format 1"));
    assert!(refused(&with_version(3)).contains("format 3"));
    assert!(refused(&|disk| put(disk, "index", b"x")).contains("cut off"));
    assert!(refused(&|disk| put(disk, "meta.json", b"{}")).contains("meta.json"));
}

#[test]
fn no_chunk_grows_beyond_its_bound() {
    // 65,535 samples that say nothing new, and a layout of half a million spans of no buckets.
    let mut bits = crate::testing::BitWriter::default();
    bits.put(0, 8);
    bits.varbit_int(0);
    bits.varbit_uint(500_000);
    for _ in 0..500_000 {
        bits.put(0, 2);
    }
    let data = [&[0xff, 0xff, 0][..], &bits.bytes, &[0; 65_535]].concat();
    let mut out = Vec::new();
    let error = decode_chunk(Encoding::Histogram, &data, &mut out).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    assert!(out.is_empty() && CELLS_MAX > 0);
}

fn arbitrary_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (0u32..5_000).prop_map(f64::from),
        (0u32..5_000).prop_map(|tenths| f64::from(tenths) / 10.0),
    ]
}

proptest! {
    #[test]
    fn floats_round_trip(
        start in -1_000_000_000_000i64..2_000_000_000_000,
        steps in prop::collection::vec((1i64..5_000_000_000, arbitrary_value()), 1..130),
    ) {
        let mut at = start;
        let samples: Vec<Sample> = steps.into_iter().map(|(step, value)| {
            at += step;
            float(at, value)
        }).collect();
        let (number, data) = encode(&samples);
        let mut out = Vec::new();
        decode_chunk(Encoding::from_number(number).unwrap(), &data, &mut out).unwrap();
        assert_same(&out, &samples);
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        encoding in 1u8..4,
        count in 0u16..200,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let data = [&count.to_be_bytes()[..], &bytes].concat();
        let mut out = vec![float(0, 0.0)];
        let decoded = decode_chunk(Encoding::from_number(encoding).unwrap(), &data, &mut out);
        prop_assert!(decoded.is_ok() || out.len() == 1);
    }
}
