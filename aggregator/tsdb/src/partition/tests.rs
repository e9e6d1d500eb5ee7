use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use files::{Disk, Fault, Operation, Simulated};
use model::{Histogram, MatchOp, Matcher, MetricType, STALE_NAN, TimestampMs, Value};
use proptest::prelude::*;
use rows::Presence;
use storage::Segment;
use tempfile::TempDir;

use super::database::BlockWriter;
use super::*;
use crate::head::{Columns, OwnedValues};
use crate::index::{label_values, select};
use crate::merge_runs::{Arrival, merge_runs};
use crate::page::{Column, ColumnValues, encode_page};
use crate::seal::put_pages;

const KEY: PartitionKey = PartitionKey {
    shard: 3,
    span: TimeRange::new(TimestampMs(0), TimestampMs(7_200_000)),
};

struct Fixture {
    folder: TempDir,
    cache: Arc<Cache>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            cache: Arc::new(Cache::new(4 << 20)),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("partition")
    }

    fn writer(&self) -> PartitionWriter<'static> {
        PartitionWriter::create(&Disk, &self.path(), KEY).unwrap()
    }

    fn open(&self) -> Result<Partition, PartitionError> {
        Partition::open(&Disk, &self.path(), &self.cache)
    }
}

/// What a series has in a stretch of rows of a cohort.
#[derive(Clone, Debug)]
struct Stretch {
    cohort: usize,
    first_row: usize,
    arrival: u64,
    values: Vec<Option<f64>>,
}

fn page_of(values: &[Option<f64>]) -> Vec<u8> {
    let mut presence = Presence::filled(values.len(), true);
    for (row, value) in values.iter().enumerate() {
        presence.set(row, value.is_some());
    }
    let floats: Vec<f64> = values
        .iter()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect();
    let column = Column {
        rows: values.len(),
        presence: Some(&presence),
        values: ColumnValues::Floats(&floats),
        start_times: None,
    };
    let mut page = Vec::new();
    encode_page(&column, &mut Scratch::default(), &mut page).unwrap();
    page
}

type Samples = BTreeMap<TimestampMs, u64>;

fn samples(segments: &[Segment]) -> Vec<(TimestampMs, u64)> {
    let values = segments.iter().flat_map(|segment| {
        segment
            .times
            .as_slice()
            .iter()
            .enumerate()
            .filter_map(|(row, at)| Some((*at, segment.value(row)?)))
    });
    values
        .map(|(at, value)| {
            if let Value::Float(value) = value {
                (at, value.to_bits())
            } else {
                unreachable!()
            }
        })
        .collect()
}

fn cohorts() -> impl Strategy<Value = Vec<Vec<TimestampMs>>> {
    let column =
        (0i64..5_000_000, prop::collection::vec(1i64..40_000, 0..30)).prop_map(|(start, steps)| {
            let mut at = start;
            std::iter::once(0)
                .chain(steps)
                .map(|step| {
                    at += step;
                    TimestampMs(at)
                })
                .collect()
        });
    prop::collection::vec(column, 1..6)
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        5 => (0i64..1_000).prop_map(|m| Some(m as f64 / 8.0)),
        1 => Just(None),
        1 => Just(Some(STALE_NAN)),
        1 => any::<u64>().prop_map(|bits| Some(f64::from_bits(bits))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_partition_gives_back_what_was_written(
        cohorts in cohorts(),
        series in prop::collection::btree_map("[a-c]{1,2}", prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u64..5, prop::collection::vec(value(), 1..31)), 0..5), 0..30),
        range in (0i64..6_000_000, 0i64..3_000_000),
    ) {
        let fixture = Fixture::new();
        let mut writer = fixture.writer();
        let ids: Vec<TimesId> = cohorts.iter().map(|times| writer.add_times(times).unwrap()).collect();
        let mut expected: Vec<(Labels, Samples)> = Vec::new();
        for (name, stretches) in &series {
            let labels = Labels::from_pairs([("__name__", name.as_str()), ("job", "test")]).unwrap();
            writer.start_series(&labels).unwrap();
            let mut stood: BTreeMap<TimestampMs, ((u64, usize), u64)> = BTreeMap::new();
            for (place, (cohort, first_row, arrival, values)) in stretches.iter().enumerate() {
                let cohort = cohort.index(cohorts.len());
                let first_row = first_row.index(cohorts[cohort].len());
                let rows = values.len().min(cohorts[cohort].len() - first_row);
                let stretch = Stretch { cohort, first_row, arrival: *arrival, values: values[..rows].to_vec() };
                writer.add_page(ids[cohort], stretch.first_row, Arrival::at(stretch.arrival), &page_of(&stretch.values)).unwrap();
                for (row, value) in stretch.values.iter().enumerate() {
                    if let Some(value) = value {
                        let stands = stood.entry(cohorts[stretch.cohort][first_row + row]).or_insert_with(|| ((*arrival, place), value.to_bits()));
                        if (*arrival, place) < stands.0 {
                            *stands = ((*arrival, place), value.to_bits());
                        }
                    }
                }
            }
            expected.push((labels, stood.into_iter().map(|(at, (_, bits))| (at, bits)).collect()));
        }
        let summary = writer.finish().unwrap();
        prop_assert_eq!(summary.series, expected.len() as u64);

        let partition = fixture.open().unwrap();
        prop_assert_eq!((partition.header.key, partition.header.summary), (KEY, summary));
        let range = TimeRange::new(TimestampMs(range.0), TimestampMs(range.0 + range.1));
        for (id, (labels, samples_expected)) in (0..).zip(&expected) {
            let found = partition.labels(id).unwrap();
            prop_assert_eq!(found.as_ref(), Some(labels));
            let all = merge_runs(partition.read(id, TimeRange::ALL).unwrap());
            prop_assert_eq!(&samples(&all), &samples_expected.clone().into_iter().collect::<Vec<_>>());
            let some = samples(&merge_runs(partition.read(id, range).unwrap()));
            let in_range = |list: Vec<(TimestampMs, u64)>| list.into_iter().filter(|(at, _)| range.contains(*at)).collect::<Vec<_>>();
            prop_assert_eq!(in_range(some), in_range(samples_expected.clone().into_iter().collect()));
        }
        prop_assert!(partition.read(u32::try_from(expected.len()).unwrap(), TimeRange::ALL).unwrap().is_empty());
        let matcher = Matcher::new("__name__", MatchOp::Regex, "a.*").unwrap();
        let names: BTreeSet<&str> = series.keys().map(String::as_str).filter(|name| name.starts_with('a')).collect();
        let selected = select(partition.index(), &[matcher]).unwrap();
        prop_assert_eq!(label_values(partition.index(), "__name__", Some(&selected), 0, &storage::Unlimited).unwrap(), names.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn series_of_a_cohort_share_their_times() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer();
    let times: Vec<TimestampMs> = (0..100).map(|row| TimestampMs(row * 1_000)).collect();
    let id = writer.add_times(&times).unwrap();
    for name in ["a", "b"] {
        writer
            .start_series(&Labels::from_pairs([("__name__", name)]).unwrap())
            .unwrap();
        writer
            .add_page(id, 0, Arrival::at(1), &page_of(&[Some(1.0); 60]))
            .unwrap();
        writer
            .add_page(id, 60, Arrival::at(2), &page_of(&[Some(2.0); 40]))
            .unwrap();
    }
    writer.finish().unwrap();
    let partition = fixture.open().unwrap();
    let (a, b) = (
        partition.read(0, TimeRange::ALL).unwrap(),
        partition.read(1, TimeRange::ALL).unwrap(),
    );
    for (a, b) in a.iter().zip(&b) {
        assert!(a.segment.times.same_column(&b.segment.times));
    }
    assert_eq!(
        a.iter()
            .map(|run| (run.arrival.position(), run.segment.times.as_slice().len()))
            .collect::<Vec<_>>(),
        [(1, 60), (2, 40)]
    );
    let early = partition
        .read(0, TimeRange::new(TimestampMs(0), TimestampMs(59_999)))
        .unwrap();
    assert_eq!(early.len(), 1);
}

#[test]
fn exemplars_metadata_and_histograms_come_back() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer();
    let id = writer.add_times(&[TimestampMs(5), TimestampMs(6)]).unwrap();
    let exemplar = |at| Exemplar {
        labels: Labels::from_pairs([("trace_id", "4bf92f")]).unwrap(),
        value: 0.25,
        at: TimestampMs(at),
    };
    for number in 0..600 {
        writer
            .start_series(&Labels::from_pairs([("n", format!("{number:04}"))]).unwrap())
            .unwrap();
        if number % 300 == 7 {
            writer.add_exemplar(&exemplar(number)).unwrap();
            writer.add_exemplar(&exemplar(number + 1_000)).unwrap();
        }
    }
    let histogram = Arc::new(Histogram::stale());
    let values = [Value::Histogram(Arc::clone(&histogram)), Value::Float(4.5)];
    let column = Column {
        rows: 2,
        presence: None,
        values: ColumnValues::Mixed(&values),
        start_times: None,
    };
    let mut page = Vec::new();
    encode_page(&column, &mut Scratch::default(), &mut page).unwrap();
    writer.add_page(id, 0, Arrival::at(9), &page).unwrap();
    let metadata = Metadata {
        kind: MetricType::Counter,
        help: "Äpfel\n".to_owned(),
        unit: "seconds".to_owned(),
    };
    writer.add_metadata("apples", &metadata).unwrap();
    let summary = writer.finish().unwrap();
    assert_eq!(
        summary.times,
        TimeRange::new(TimestampMs(5), TimestampMs(6))
    );
    let partition = fixture.open().unwrap();
    assert_eq!(
        partition.exemplars(7, TimeRange::ALL).unwrap(),
        [exemplar(7), exemplar(1_007)]
    );
    assert_eq!(
        partition
            .exemplars(307, TimeRange::new(TimestampMs(0), TimestampMs(400)))
            .unwrap(),
        [exemplar(307)]
    );
    assert!(partition.exemplars(8, TimeRange::ALL).unwrap().is_empty());
    assert_eq!(
        partition.metadata().unwrap(),
        [(Arc::from("apples"), metadata)]
    );
    let runs = partition.read(599, TimeRange::ALL).unwrap();
    for (row, value) in values.iter().enumerate() {
        assert!(runs[0].segment.value(row).unwrap().same_bits(value));
    }
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer();
    let page = page_of(&[Some(1.0), Some(2.0)]);
    let id = writer.add_times(&[TimestampMs(1), TimestampMs(2)]).unwrap();
    let labels = |name| Labels::from_pairs([("__name__", name)]).unwrap();
    assert!(
        writer.add_page(id, 0, Arrival::at(0), &page).is_err(),
        "no series yet"
    );
    writer.start_series(&labels("b")).unwrap();
    let refused = writer.start_series(&labels("a")).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("series are not in order of their labels"),
        "{refused}"
    );
    assert!(
        writer.add_page(id, 1, Arrival::at(0), &page).is_err(),
        "past the end of the column"
    );
    assert!(
        writer.add_page(id, 0, Arrival::at(0), &[255]).is_err(),
        "not a page"
    );
    assert!(writer.add_times(&[]).is_err());
    assert!(writer.add_times(&[TimestampMs(2), TimestampMs(2)]).is_err());
    assert!(
        PartitionWriter::create(&Disk, &fixture.path(), KEY).is_err(),
        "the file exists"
    );
    drop(writer);
    assert!(fixture.open().is_err(), "never finished");
}

/// Series of which every page is a large part of a block, beside series that compress to next to nothing.
#[test]
fn blocks_are_full_and_no_larger_whatever_their_pages_are() {
    const ROWS: usize = 2_880;
    for compressed in [false, true] {
        let fixture = Fixture::new();
        let mut writer = fixture.writer();
        if compressed {
            writer = writer.compressed();
        }
        let times: Vec<TimestampMs> = (0..)
            .take(ROWS)
            .map(|row| TimestampMs(row * 15_000))
            .collect();
        let id = writer.add_times(&times).unwrap();
        let mut random = fastrand::Rng::with_seed(5);
        let mut expected = Vec::new();
        for number in 0..400 {
            let labels = [("__name__", format!("metric_{number:03}"))];
            let labels = Labels::from_pairs(labels).unwrap();
            writer.start_series(&labels).unwrap();
            // Runs of the same kind, as metrics are.
            let values: Vec<f64> = match number / 50 % 4 {
                0 => (0..ROWS).map(|_| random.f64()).collect(),
                1 => (0..ROWS).map(|row| (row % 700 * row % 13) as f64).collect(),
                2 => (0..ROWS).map(|_| random.u16(..) as f64 / 100.0).collect(),
                _ => vec![number as f64; ROWS],
            };
            let columns = Columns {
                rows: ROWS,
                presence: None,
                values: OwnedValues::Floats(values.clone()),
                starts: None,
            };
            let place = (id, Arrival::at(1));
            put_pages(&mut writer, place, &columns, &mut Scratch::default()).unwrap();
            expected.push(values);
        }
        writer.finish().unwrap();
        let partition = fixture.open().unwrap();
        for (id, values) in (0..).zip(&expected) {
            let runs = partition.read(id, TimeRange::ALL).unwrap();
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            let found = samples(&merge_runs(runs));
            let found: Vec<u64> = found.into_iter().map(|(_, bits)| bits).collect();
            assert_eq!(found, bits, "series {id}");
        }
        let blocks = (0..partition.header.blocks).filter_map(|number| {
            let stored = partition.blocks().stored(number).unwrap();
            (stored[0] == BlockKind::Pages as u8).then_some(stored.len())
        });
        let blocks: Vec<usize> = blocks.collect();
        let (last, full) = blocks.split_last().unwrap();
        assert!(blocks.len() > 10 && *last <= 65_000, "{blocks:?}");
        let in_bounds = |bytes: &usize| (63_000..=65_000).contains(bytes);
        assert!(full.iter().all(in_bounds), "{compressed}: {blocks:?}");
    }
}

/// A partition of several blocks of pages, what its series hold, and where its blocks lie in the file.
struct Small {
    fixture: Fixture,
    expected: Vec<Vec<(TimestampMs, u64)>>,
    file: std::fs::File,
    bytes: Vec<u8>,
}

impl Small {
    fn new() -> Self {
        let fixture = Fixture::new();
        let mut writer = fixture.writer();
        let times: Vec<TimestampMs> = (0..50)
            .map(|row| TimestampMs(row * 15_000 + row % 3))
            .collect();
        let id = writer.add_times(&times).unwrap();
        let mut expected = Vec::new();
        for number in 0..15u64 {
            writer
                .start_series(
                    &Labels::from_pairs([
                        ("__name__", format!("metric_{number:03}")),
                        ("job", "x".to_owned()),
                    ])
                    .unwrap(),
                )
                .unwrap();
            let values: Vec<f64> = (0..50u64)
                .map(|row| ((row * row * (number + 1)) % 97) as f64 / 10.0)
                .collect();
            writer
                .add_page(
                    id,
                    0,
                    Arrival::at(number),
                    &page_of(&values.iter().copied().map(Some).collect::<Vec<_>>()),
                )
                .unwrap();
            expected.push(
                times
                    .iter()
                    .copied()
                    .zip(values.iter().map(|value| value.to_bits()))
                    .collect(),
            );
        }
        writer.finish().unwrap();
        let bytes = std::fs::read(fixture.path()).unwrap();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(fixture.path())
            .unwrap();
        Self {
            fixture,
            expected,
            file,
            bytes,
        }
    }

    /// Returns where the block's content lies in the file.
    fn find(&self, stored: &[u8]) -> usize {
        self.bytes
            .windows(stored.len())
            .position(|window| window == stored)
            .unwrap()
    }

    /// Reads everything with one byte changed; whatever is not an error must be right. Returns errors met, and what a check tells.
    fn read_damaged(&self, at: usize, bit: u32) -> (Vec<PartitionError>, Vec<PartitionError>) {
        self.file
            .write_at(&[self.bytes[at] ^ 1 << bit], at as u64)
            .unwrap();
        let errors = self.read();
        self.file.write_at(&self.bytes[at..=at], at as u64).unwrap();
        errors
    }

    fn read(&self) -> (Vec<PartitionError>, Vec<PartitionError>) {
        let partition = match self.fixture.open() {
            Ok(partition) => partition,
            Err(error) => return (vec![error], Vec::new()),
        };
        let (mut errors, mut told) = (Vec::new(), Vec::new());
        for (id, expected) in (0..).zip(&self.expected) {
            match partition.labels(id) {
                Ok(labels) => assert_eq!(
                    labels.unwrap().metric_name(),
                    Some(format!("metric_{id:03}").as_str())
                ),
                Err(error) => errors.push(error),
            }
            match partition.read(id, TimeRange::ALL) {
                Ok(runs) => assert_eq!(&samples(&merge_runs(runs)), expected),
                Err(error) => errors.push(error),
            }
        }
        match select(
            partition.index(),
            &[Matcher::new("__name__", MatchOp::Regex, "metric_00.").unwrap()],
        ) {
            Ok(found) => assert_eq!(found.len(), 10),
            Err(error) => errors.push(error),
        }
        let verified = partition.verify(&mut |error| told.push(error));
        if errors.is_empty() {
            assert_eq!(verified.samples, partition.summary().samples);
        }
        (errors, told)
    }
}

#[test]
fn every_damaged_byte_of_a_block_is_reported_and_costs_pages_alone() {
    let small = Small::new();
    assert!(small.read().0.is_empty());
    let partition = small.fixture.open().unwrap();
    let mut kinds = BTreeMap::new();
    for number in 0..partition.header.blocks {
        let block = partition.blocks().stored(number).unwrap();
        let kind = block[0];
        let start = small.find(&block);
        for (offset, bit) in (0..block.len()).zip((0..8).cycle()) {
            let (errors, told) = small.read_damaged(start + offset, bit);
            let costs = kind == BlockKind::Pages as u8;
            assert_eq!(!errors.is_empty(), costs, "byte {offset} of block {number}");
            for error in errors.iter().chain(&told) {
                let text = error.to_string();
                // What does not say that it is this block may be another one, in the place of this.
                let misplaced = offset < block::HEADER_BYTES && text.contains("not where it says");
                let named = text.contains(&format!("block {number}:"));
                assert!(
                    named || misplaced,
                    "byte {offset} of block {number}: {text}"
                );
                let mended = matches!(error, PartitionError::Mended { .. });
                let lasting = costs || kind == BlockKind::Parity as u8;
                assert_eq!(error.is_damage(), lasting && !mended, "{text}");
            }
            assert!(!told.is_empty(), "byte {offset} of block {number}");
        }
        *kinds.entry(kind).or_insert(0) += block.len();
    }
    assert!(
        kinds.len() == 4 && kinds.values().sum::<usize>() > 1_000,
        "{kinds:?}"
    );
}

#[test]
fn damage_outside_blocks_costs_nothing() {
    let small = Small::new();
    let blocks = small.fixture.open().unwrap().places_of_blocks();
    let pages = blocks.into_iter().find(|(pages, _)| *pages).unwrap().1;
    let mut random = fastrand::Rng::with_seed(11);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut told_of = 0;
        for trial in 0..600 {
            let at = match trial {
                // The database's header, byte by byte, then the pages behind it, and the whole.
                0..320 => trial,
                320..460 => random.usize(..small.bytes.len().min(32_768)),
                _ => random.usize(..small.bytes.len()),
            };
            if pages.contains(&(at as u64)) {
                continue;
            }
            let (errors, told) = small.read_damaged(at, random.u32(..8));
            assert!(errors.is_empty(), "byte {at}: {}", errors[0]);
            told_of += usize::from(!told.is_empty());
        }
        told_of
    }));
    std::panic::set_hook(hook);
    let told_of = outcome.unwrap();
    assert!(told_of > 20, "only {told_of} of them hit anything");
    assert!(small.read().0.is_empty());
}

/// The database around the blocks may be gone altogether.
#[test]
fn a_file_whose_database_is_gone_is_read_all_the_same() {
    let small = Small::new();
    small.file.write_at(&[0; 4_096], 0).unwrap();
    let (errors, told) = small.read();
    assert!(errors.is_empty(), "{}", errors[0]);
    assert!(
        told.iter()
            .any(|error| error.to_string().contains("database structure")),
        "{told:?}"
    );
    let partition = small.fixture.open().unwrap();
    let repaired = small.fixture.folder.path().join("repaired");
    let summary = partition.salvage(&Disk, &repaired, &mut |error| panic!("{error}"));
    assert_eq!(
        summary.unwrap().unwrap().samples,
        partition.summary().samples
    );
}

/// The places of a file that redb's own pages name are all put to the test: a branch page, too, has more than one leaf below it.
#[test]
fn no_flipped_bit_of_a_branch_page_costs_anything() {
    flip_bits_of_a_branch_page(150);
}

/// Flips so many bits of the pages that lead to the leaves.
pub(crate) fn flip_bits_of_a_branch_page(trials: usize) {
    const BLOCKS: u32 = 400;
    let fixture = Fixture::new();
    let writer = BlockWriter::create(&Disk, &fixture.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut contents = Vec::new();
    for number in 0..BLOCKS {
        let content: Vec<u8> = (0..1_500).map(|_| random.u8(..)).collect();
        let mut block = block::begin(BlockKind::Pages, number);
        block.extend_from_slice(&content);
        writer.put(number, &mut block).unwrap();
        contents.push(content);
    }
    let mut header = Small::new().fixture.open().unwrap().header.clone();
    (header.blocks, header.parity_blocks) = (BLOCKS + 1, 1);
    let mut parity = block::begin(BlockKind::Parity, BLOCKS);
    parity.push(0);
    writer.put(BLOCKS, &mut parity).unwrap();
    writer.finish(&Disk, &header.encode()).unwrap();
    let bytes = std::fs::read(fixture.path()).unwrap();
    let children = |page: usize| usize::from(bytes[page + 2]) + 1;
    // All children of a page of redb's that has some lie in the first region of the file.
    let is_branch = |page: &usize| {
        let start = page + 8 + children(*page) * 16;
        let places = bytes.get(start..start + children(*page) * 8);
        let is_place = |place: &[u8]| place[3..7] == [0; 4] && place[7] < 0x20;
        bytes[*page] == 2 && places.is_some_and(|places| places.chunks(8).all(is_place))
    };
    let pages = (4_096..bytes.len()).step_by(4_096).filter(is_branch);
    let pages: Vec<usize> = pages.collect();
    assert!(!pages.is_empty(), "the table has one leaf");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.path())
        .unwrap();
    let read = || {
        let cache = Arc::new(Cache::new(0));
        let blocks = Blocks::open(&Disk, &fixture.path(), cache, None).unwrap();
        for (number, content) in (0..).zip(&contents) {
            assert_eq!(*blocks.read(BlockKind::Pages, number).unwrap(), *content);
        }
        blocks.take_mended().len()
    };
    assert_eq!(read(), 0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut told = 0;
        for trial in 0..trials {
            let page = pages[trial % pages.len()];
            // The places of children, then their keys.
            let start = 8 + children(page) * 16;
            let bit = match trial % 4 {
                // The order, whose highest bit makes 4 GiB of a page.
                0 => (start + random.usize(..children(page)) * 8 + 7) * 8 + random.usize(3..8),
                _ => random.usize(..(start + children(page) * 12) * 8),
            };
            let at = page + bit / 8;
            let flipped = [bytes[at] ^ (1 << (bit % 8))];
            file.write_at(&flipped, at as u64).unwrap();
            told += read();
            file.write_at(&bytes[at..=at], at as u64).unwrap();
        }
        told
    }));
    std::panic::set_hook(hook);
    let told = outcome.unwrap();
    assert!(told > trials / 4, "{told} of {trials} hit anything");
}

/// Labels are anybody's bytes: what looks like a block in them is none, even when the database around the blocks is gone.
#[test]
fn a_block_inside_a_label_is_none() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer();
    let id = writer.add_times(&[TimestampMs(1), TimestampMs(2)]).unwrap();
    let page = page_of(&[Some(1.0), Some(2.0)]);
    let mut forged = block::begin(BlockKind::Pages, 1);
    forged.extend_from_slice(&page_of(&[Some(666.0), Some(667.0)]));
    block::seal(&mut forged);
    // A label is text; the metadata's help is stored as it is, and goes unchecked until somebody asks for it.
    writer
        .start_series(&Labels::from_pairs([("__name__", "a")]).unwrap())
        .unwrap();
    writer.add_page(id, 0, Arrival::at(1), &page).unwrap();
    writer.forge_metadata(&forged);
    writer.finish().unwrap();
    let read = || {
        let partition = fixture.open().unwrap();
        let runs = partition.read(0, TimeRange::ALL).unwrap();
        samples(&merge_runs(runs))
    };
    let expected = [
        (TimestampMs(1), 1.0_f64.to_bits()),
        (TimestampMs(2), 2.0_f64.to_bits()),
    ];
    assert_eq!(read(), expected);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.path())
        .unwrap();
    file.write_at(&[0; 4_096], 0).unwrap();
    assert_eq!(read(), expected);
}

/// Returns a block as versions up to 2 had it: without its length.
fn block_without_length(block: &[u8]) -> Vec<u8> {
    let mut old = block[..8].to_vec();
    old[1] = 1 + block[2];
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    hasher.update(&old);
    hasher.update(&block[block::HEADER_BYTES..]);
    old.extend_from_slice(&hasher.digest().to_le_bytes());
    old.extend_from_slice(&block[block::HEADER_BYTES..]);
    old
}

/// Files of versions 1 to 3 had one header, no parity blocks, and blocks that do not say how long they are.
#[test]
fn files_of_earlier_versions_are_read() {
    let small = Small::new();
    let partition = small.fixture.open().unwrap();
    let mut header = partition.header.clone();
    header.blocks -= header.parity_blocks;
    let packed = partition.blocks().stored(1).unwrap();
    let packed = block::Compressor::new().unwrap().compress(&packed).unwrap();
    let blocks: Vec<Vec<u8>> = (0..header.blocks)
        .map(|number| block_without_length(&partition.blocks().stored(number).unwrap()))
        .collect();
    drop(partition);
    for version in 1..=3 {
        let blocks: Vec<Vec<u8>> = match version {
            // Since version 2, blocks of pages may be compressed.
            2.. => {
                let mut blocks = blocks.clone();
                blocks[1] = block_without_length(&packed);
                blocks
            }
            _ => blocks.clone(),
        };
        let mut content = header.encode_version(version);
        let mut block = block::begin(BlockKind::Header, 0);
        block.append(&mut content);
        std::fs::remove_file(small.fixture.path()).unwrap();
        let database = redb::Database::create(small.fixture.path()).unwrap();
        let mut transaction = database.begin_write().unwrap();
        transaction.set_quick_repair(true);
        let table = |name| redb::TableDefinition::<u32, &[u8]>::new(name);
        let header_block = block_without_length(&block);
        let mut headers = transaction.open_table(table("header.v1")).unwrap();
        headers.insert(0, &header_block[..]).unwrap();
        drop(headers);
        let mut stored = transaction.open_table(table("blocks.v1")).unwrap();
        for (number, block) in (0..).zip(&blocks) {
            stored.insert(number, &block[..]).unwrap();
        }
        drop(stored);
        transaction.commit().unwrap();
        drop(database);
        let (errors, told) = small.read();
        assert!(errors.is_empty() && told.is_empty(), "{errors:?} {told:?}");
        // Without parity blocks, a damaged one is lost.
        let bytes = std::fs::read(small.fixture.path()).unwrap();
        let times = &blocks[0];
        let at = bytes
            .windows(times.len())
            .position(|window| window == times);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(small.fixture.path())
            .unwrap();
        file.write_at(&[!times[9]], at.unwrap() as u64 + 9).unwrap();
        let (errors, told) = small.read();
        assert_eq!(errors.len(), small.expected.len());
        assert!(told.iter().all(PartitionError::is_damage), "{told:?}");
    }
}

#[test]
fn damage_costs_one_block() {
    let fixture = Fixture::new();
    let mut writer = fixture.writer();
    let times: Vec<TimestampMs> = (0..1_000).map(TimestampMs).collect();
    let id = writer.add_times(&times).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for number in 0..30 {
        writer
            .start_series(&Labels::from_pairs([("n", format!("{number:02}"))]).unwrap())
            .unwrap();
        let values: Vec<Option<f64>> = (0..1_000).map(|_| Some(random.f64())).collect();
        writer
            .add_page(id, 0, Arrival::at(0), &page_of(&values))
            .unwrap();
    }
    writer.finish().unwrap();
    let bytes = std::fs::read(fixture.path()).unwrap();
    let partition = fixture.open().unwrap();
    let damaged_block = partition.pages_of(12).unwrap().iter().next().unwrap().block;
    let content = partition
        .blocks()
        .read(BlockKind::Pages, damaged_block)
        .unwrap();
    drop(partition);
    let at = bytes
        .windows(64)
        .position(|window| window == &content[1_000..1_064])
        .unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(fixture.path())
        .unwrap();
    file.write_at(&[bytes[at] ^ 4], at as u64).unwrap();
    let partition = fixture.open().unwrap();
    let mut lost = 0;
    for id in 0..30 {
        let in_block = partition
            .pages_of(id)
            .unwrap()
            .iter()
            .any(|page| page.block == damaged_block);
        assert_eq!(partition.read(id, TimeRange::ALL).is_err(), in_block);
        lost += usize::from(in_block);
    }
    assert!(lost > 0 && lost < 15, "{lost} of 30");
}

/// Writes a partition of three series on a simulated disk.
fn write_simulated(disk: &Simulated) -> Result<PartitionSummary, PartitionError> {
    let mut writer = PartitionWriter::create(disk, Path::new("/partition"), KEY)?;
    let times: Vec<TimestampMs> = (0..500).map(TimestampMs).collect();
    let id = writer.add_times(&times)?;
    let mut random = fastrand::Rng::with_seed(3);
    for name in ["a", "b", "c"] {
        writer.start_series(&Labels::from_pairs([("__name__", name)]).unwrap())?;
        let values: Vec<Option<f64>> = (0..500).map(|_| Some(random.f64())).collect();
        writer.add_page(id, 0, Arrival::at(0), &page_of(&values))?;
    }
    writer.finish()
}

fn check_simulated(disk: &Simulated) {
    let partition = Partition::open(
        disk,
        Path::new("/partition"),
        &Arc::new(Cache::new(1 << 20)),
    )
    .unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for id in 0..3 {
        let found = samples(&merge_runs(partition.read(id, TimeRange::ALL).unwrap()));
        assert!(
            found
                .iter()
                .all(|(_, bits)| *bits == random.f64().to_bits())
                && found.len() == 500
        );
    }
}

#[test]
fn a_finished_partition_survives_a_power_cut() {
    let disk = Simulated::new();
    write_simulated(&disk).unwrap();
    let changes = disk.changes();
    for cut in 0..changes + 2 {
        let disk = Simulated::new();
        disk.cut_power_in(cut);
        let written = write_simulated(&disk);
        assert_eq!(
            written.is_ok(),
            cut >= changes,
            "cut at change {cut} of {changes}"
        );
        disk.crash(cut);
        if written.is_ok() {
            check_simulated(&disk);
        }
    }
}

#[test]
fn failing_and_full_disks_give_errors() {
    let disk = Simulated::new();
    let bytes = write_simulated(&disk).unwrap().bytes;
    for operation in [
        Operation::Write,
        Operation::SetLen,
        Operation::SyncData,
        Operation::SyncFolder,
        Operation::Open,
    ] {
        for which in 0..24 {
            for fault in [Fault::Error(std::io::ErrorKind::StorageFull), Fault::Short] {
                let disk = Simulated::new();
                disk.fail(operation, which..which + 1, fault);
                match write_simulated(&disk) {
                    Ok(_) => {
                        disk.heal();
                        check_simulated(&disk);
                    }
                    Err(error) => assert!(matches!(error, PartitionError::File { .. }), "{error}"),
                }
            }
        }
    }
    for capacity in (0..bytes).step_by(65_536) {
        let disk = Simulated::new();
        disk.set_capacity(Some(capacity));
        let error = write_simulated(&disk).unwrap_err();
        assert!(matches!(error, PartitionError::File { .. }), "{error}");
    }
}
