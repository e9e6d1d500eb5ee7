mod model;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::model::TimestampMs;
use files::{Fault, FileSystem, Open, Operation, Simulated};
use proptest::prelude::*;
use rows::{BatchNumber, Epoch, INTERVALS_MAX, NumberSet};

use self::model::{FOLDER, Step, World};
use super::*;
use crate::{AppendError, DamageKind, NewBatch, OpenError, OpenReport, Record};

fn any_step() -> impl Strategy<Value = Step> {
    let append = (0usize..1_500, prop_oneof![9 => Just(0u64), 1 => 1u64..5]);
    let acknowledge = (0usize..2, 1usize..4, 1usize..30);
    prop_oneof![
        40 => append.prop_map(|(bytes, skip)| Step::Append { bytes, skip }),
        1 => (5_000usize..9_000).prop_map(|bytes| Step::Append { bytes, skip: 0 }),
        4 => (0u64..12).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        8 => Just(Step::Sync),
        6 => acknowledge.prop_map(|(destination, every, most)| Step::Acknowledge { destination, every, most }),
        1 => (0usize..2).prop_map(|destination| Step::AcknowledgeAll { destination }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => any::<u64>().prop_map(Step::FlipBit),
        1 => (0u64..8).prop_map(Step::Fill),
        2 => Just(Step::MakeRoom),
        1 => Just(Step::FailWrite(Fault::Short)),
        1 => Just(Step::FailWrite(Fault::Error(ErrorKind::Other))),
        1 => Just(Step::FailSync),
        1 => Just(Step::ForgetGaps),
    ]
}

fn is_calm(step: &Step) -> bool {
    !matches!(step, Step::FlipBit(_) | Step::Fill(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_every_batch_is_there_or_accounted_for(
        steps in prop::collection::vec(any_step(), 1..160),
        calm: bool,
        cut in prop::option::of((0u64..300, any::<u64>())),
    ) {
        let mut world = World::new();
        if let Some((change, _)) = cut {
            world.disk.cut_power_in(change);
        }
        for step in steps.iter().filter(|step| !calm || is_calm(step)) {
            world.make(step);
            if let (Some((_, seed)), true) = (cut, world.disk.power_is_cut()) {
                world.crash(seed);
                world.check();
            }
        }
        world.make(&Step::MakeRoom);
        world.disk.heal();
        world.check();
        // What was wrong is right again: the next batch is taken and survives.
        world.make(&Step::Append { bytes: 100, skip: 0 });
        world.make(&Step::Wait(Duration::from_secs(2)));
        world.make(&Step::Sync);
        world.make(&Step::Wait(Duration::from_secs(2)));
        world.make(&Step::Sync);
        prop_assert!(world.spool().stats().unsynced_bytes == 0 || world.spool().stats().batches == 0);
        world.make(&Step::Kill);
        world.check();
    }
}

/// A run that rotates, fills, drops, acknowledges and reports.
fn eventful_run() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..120 {
        steps.push(Step::Append {
            bytes: 1_400,
            skip: u64::from(round % 17 == 5),
        });
        steps.push(Step::Wait(Duration::from_millis(700)));
        steps.push(Step::Sync);
        match round % 20 {
            7 => steps.push(Step::Acknowledge {
                destination: 0,
                every: 2,
                most: 9,
            }),
            12 => steps.push(Step::Acknowledge {
                destination: 0,
                every: 1,
                most: 9,
            }),
            13 => steps.push(Step::Acknowledge {
                destination: 1,
                every: 1,
                most: 12,
            }),
            19 => steps.push(Step::ForgetGaps),
            _ => {}
        }
    }
    steps
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_synced() {
    let run = |cut: Option<u64>| {
        let mut world = World::new();
        if let Some(cut) = cut {
            world.disk.cut_power_in(cut);
        }
        for step in eventful_run() {
            world.make(&step);
            if world.disk.power_is_cut() {
                break;
            }
        }
        world
    };
    let mut whole = run(None);
    let stats = whole.spool().stats();
    assert!(
        stats.dropped_batches > 5 && stats.segments > 3 && stats.syncs > 10,
        "{stats:?}"
    );
    let changes = whole.disk.changes();
    assert!(changes > 150);
    for cut in 0..changes {
        let mut world = run(Some(cut));
        world.crash(cut * 31);
        world.check();
    }
}

/// A mark that found no space and whose second writing failed is still to be written when the power goes, long after there was room again.
#[test]
fn a_power_cut_may_take_a_gap_mark_that_could_not_be_written_before() {
    let append = |bytes| Step::Append { bytes, skip: 0 };
    let mut steps: Vec<Step> = [477, 413, 1_390, 961].map(append).into();
    steps.extend([
        Step::Sync,
        append(540),
        Step::Fill(1),
        append(0),
        Step::Kill,
    ]);
    steps.extend([740, 1_087].map(append));
    steps.push(Step::FailSync);
    steps.extend([143, 430, 1_017].map(append));
    steps.push(Step::Acknowledge {
        destination: 0,
        every: 1,
        most: 1,
    });
    steps.extend([append(320), Step::MakeRoom]);
    steps.extend([0, 156, 1_260, 1_318, 1_142].map(append));
    steps.extend([Step::FailWrite(Fault::Short), append(0)]);
    let mut world = World::new();
    world.disk.cut_power_in(63);
    for step in &steps {
        world.make(step);
        if world.disk.power_is_cut() {
            world.crash(7_261_246_021_857_255_114);
            world.check();
            return;
        }
    }
    panic!("the power was never cut");
}

/// A power cut may bring back the head of a batch that a full disk refused; another batch got its number.
#[test]
fn the_head_of_a_torn_record_says_nothing_of_numbers() {
    let append = |bytes| Step::Append { bytes, skip: 0 };
    let mut steps: Vec<Step> = [916, 906, 932, 662, 695].map(append).into();
    steps.push(Step::Fill(0));
    steps.extend([1_112, 892, 579, 1_007, 334, 513, 624, 232, 1_027].map(append));
    steps.extend([235, 192, 512, 62, 406, 406, 406, 406, 406].map(append));
    steps.push(Step::Append {
        bytes: 406,
        skip: 1,
    });
    steps.extend([Step::Fill(1), append(406), append(0)]);
    let mut world = World::new();
    for step in &steps {
        world.make(step);
    }
    world.make(&Step::Crash(12_206_716_546_205_218_479));
    world.check();
}

/// A spool in a small world of its own.
struct Small {
    disk: Simulated,
    spool: Spool,
    report: OpenReport,
}

fn small(disk: &Simulated, epoch: u64) -> Small {
    let settings = Settings {
        bytes_max: 64 << 10,
        segment_bytes: 4 << 10,
        ..Settings::default()
    };
    let files = Arc::new(disk.clone());
    let (spool, report) = Spool::open(files, Path::new(FOLDER), settings, Epoch(epoch)).unwrap();
    Small {
        disk: disk.clone(),
        spool,
        report,
    }
}

impl Small {
    fn append(&mut self, number: u64, bytes: usize) {
        if self.spool.will_rotate(bytes) {
            self.spool.begin_segment(["layout"]).unwrap();
        }
        self.spool
            .append(batch(number, &vec![fill(number); bytes]))
            .unwrap();
    }

    fn read(&mut self, from: ReadFrom) -> Vec<String> {
        let mut reader = self.spool.reader(from);
        let mut read = Vec::new();
        while let Some(record) = self.spool.next_record(&mut reader).unwrap() {
            read.push(match record {
                Record::Definition { body, .. } => String::from_utf8(body).unwrap(),
                Record::Batch(batch) => batch.number.to_string(),
            });
        }
        read
    }

    fn segment_paths(&self) -> Vec<PathBuf> {
        let files = self.disk.list(Path::new(FOLDER)).unwrap();
        let names = files
            .into_iter()
            .map(|entry| entry.name.into_string().unwrap());
        let segments = names.filter(|name| name.ends_with(".segment"));
        segments.map(|name| Path::new(FOLDER).join(name)).collect()
    }
}

/// What the body of a batch is made of.
fn fill(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

fn batch(number: u64, body: &[u8]) -> NewBatch<'_> {
    NewBatch {
        number: BatchNumber(number),
        created: TimestampMs(1_000 + number.cast_signed()),
        rows: 2,
        samples: 7,
        body,
    }
}

#[test]
fn reading_starts_where_it_is_told_and_goes_on_with_what_is_appended() {
    let mut small = small(&Simulated::new(), 1);
    for number in 0..6 {
        small.append(number, 1_200);
    }
    assert_eq!(small.spool.stats().segments, 2);
    let at = |number| (Epoch(1), BatchNumber(number));
    let n = |(epoch, number)| ReadFrom::Batch(epoch, number);
    assert_eq!(
        small.read(ReadFrom::Oldest),
        ["layout", "0", "1", "2", "layout", "3", "4", "5"]
    );
    assert_eq!(small.read(n(at(4))), ["layout", "4", "5"]);
    assert_eq!(
        small.read(n(at(2))),
        ["layout", "2", "layout", "3", "4", "5"]
    );
    assert_eq!(
        small.read(ReadFrom::SegmentOf(Epoch(1), BatchNumber(4))),
        ["layout", "3", "4", "5"]
    );
    assert_eq!(small.read(n(at(9))), ["layout"]);
    let mut reader = small.spool.reader(ReadFrom::End);
    assert!(matches!(
        small.spool.next_record(&mut reader),
        Ok(Some(Record::Definition { .. }))
    ));
    assert_eq!(small.spool.next_record(&mut reader).unwrap(), None);
    small.spool.append_definition(b"more").unwrap();
    small.append(6, 100);
    small.append(7, 2_000);
    let mut numbers = Vec::new();
    while let Some(record) = small.spool.next_record(&mut reader).unwrap() {
        if let Record::Batch(batch) = record {
            numbers.push(batch.number.0);
        }
    }
    assert_eq!(numbers, [6, 7]);
}

#[test]
fn a_segment_goes_when_all_destinations_have_it() {
    let mut small = small(&Simulated::new(), 1);
    let one = small.spool.destination("one").unwrap();
    let two = small.spool.destination("two").unwrap();
    for number in 0..6 {
        small.append(number, 1_200);
    }
    for number in [2, 0, 1] {
        small.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    assert_eq!(small.spool.stats().segments, 2);
    let numbers = NumberSet::from_intervals([(BatchNumber(0), BatchNumber(4))]).unwrap();
    small.spool.acknowledge_set(two, Epoch(1), &numbers);
    assert_eq!(small.spool.stats().segments, 1);
    assert_eq!(small.spool.backlog(one).batches, 3);
    assert_eq!(
        small.spool.backlog(two).oldest,
        Some((Epoch(1), BatchNumber(5)))
    );
    // What the spool still has is for a store that lost everything; the rest is below the floor.
    small.spool.forget_acknowledgements(two);
    assert_eq!(small.spool.offers(two)[0].floor, BatchNumber(3));
    small.spool.retain_destinations(&["one"]);
    small.append(6, 1_000);
    for number in 3..7 {
        small.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    assert_eq!(small.spool.stats().segments, 1, "only the one in writing");
    assert_eq!(small.spool.destinations().count(), 1);
}

#[test]
fn another_run_knows_its_predecessor_and_what_was_acknowledged() {
    let disk = Simulated::new();
    let mut first = small(&disk, 71);
    assert_eq!(first.spool.predecessor(), None);
    let one = first.spool.destination("one").unwrap();
    for number in 0..4 {
        first.append(number, 100);
    }
    first.spool.acknowledge(one, Epoch(71), BatchNumber(0));
    first.spool.acknowledge(one, Epoch(71), BatchNumber(2));
    first.spool.close();

    let mut second = small(&disk, 72);
    assert_eq!(second.report.epochs.len(), 1);
    assert_eq!(second.spool.predecessor(), Some(Epoch(71)));
    let one = second.spool.destination("one").unwrap();
    let offers = second.spool.offers(one);
    assert_eq!(
        (offers[0].epoch, offers[0].floor, offers[0].next),
        (Epoch(71), BatchNumber(1), BatchNumber(4))
    );
    assert_eq!(
        (offers[1].epoch, offers[1].floor, offers[1].next),
        (Epoch(72), BatchNumber(0), BatchNumber(0))
    );
    for number in [1, 3] {
        second
            .spool
            .acknowledge(one, Epoch(71), BatchNumber(number));
    }
    assert_eq!(second.spool.stats().segments, 0);
    drop(second);
    // It spooled nothing, so the one before it is still the newest that did.
    assert_eq!(small(&disk, 73).spool.predecessor(), Some(Epoch(71)));
}

#[test]
fn a_full_spool_drops_its_oldest_segments_and_says_so_until_it_is_reported() {
    let disk = Simulated::new();
    let mut first = small(&disk, 1);
    let one = first.spool.destination("one").unwrap();
    for number in 0..100 {
        first.append(number, 1_000);
        if number == 10 {
            first.spool.acknowledge(one, Epoch(1), BatchNumber(0));
        }
    }
    let stats = first.spool.stats();
    let present = stats.batches;
    assert!(stats.bytes <= stats.bytes_max && stats.bytes > stats.bytes_max / 2);
    assert_eq!(stats.dropped_batches, 100 - 1 - present);
    assert_eq!(stats.dropped_samples, stats.dropped_batches * 7);
    let [gap] = first.spool.gaps() else {
        panic!("{:?}", first.spool.gaps());
    };
    assert_eq!(
        (gap.first, gap.last),
        (BatchNumber(1), BatchNumber(99 - present))
    );
    assert_eq!(
        (gap.batches, gap.samples),
        (stats.dropped_batches, stats.dropped_samples)
    );
    assert_eq!(
        (gap.from, gap.to),
        (
            TimestampMs(1_001),
            TimestampMs(1_099 - present.cast_signed())
        )
    );
    assert_eq!(first.spool.offers(one)[0].floor, BatchNumber(100 - present));
    drop(first);
    let mut second = small(&disk, 2);
    let gaps = second.spool.gaps().to_vec();
    assert_eq!(gaps.len(), 1);
    second.spool.forget_gaps(&gaps);
    assert!(second.spool.gaps().is_empty());
    drop(second);
    assert!(small(&disk, 3).spool.gaps().is_empty());
}

#[test]
fn a_full_disk_costs_the_oldest_and_then_the_batch_but_not_the_spool() {
    let mut small = small(&Simulated::new(), 1);
    for number in 0..20 {
        small.append(number, 1_000);
    }
    small.disk.set_capacity(Some(small.disk.used_bytes()));
    let mut failed = 0;
    for number in 20..60 {
        let body = [1; 1_000];
        if small.spool.will_rotate(body.len()) && small.spool.begin_segment(["layout"]).is_err() {
            failed += 1;
            continue;
        }
        match small.spool.append(batch(number, &body)) {
            Ok(()) => {}
            Err(AppendError::Full { .. }) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(failed, 0, "dropping made room each time");
    assert!(small.spool.stats().dropped_batches > 20);
    // Somebody else takes all the space that dropping frees.
    small.disk.set_capacity(Some(0));
    let mut refused = 0;
    for number in 60..64 {
        let body = [1; 3_000];
        let begun =
            !small.spool.will_rotate(body.len()) || small.spool.begin_segment(["layout"]).is_ok();
        if !begun || small.spool.append(batch(number, &body)).is_err() {
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert!(small.spool.stats().full_errors > 0);
    small.disk.set_capacity(None);
    small.append(64, 1_000);
    assert_eq!(
        small.read(ReadFrom::Oldest).last().map(String::as_str),
        Some("64")
    );
}

#[test]
fn damage_costs_one_record_and_says_where_it_is() {
    let disk = Simulated::new();
    let mut first = small(&disk, 1);
    let one = first.spool.destination("one").unwrap();
    for number in 0..3 {
        first.append(number, 1_000);
    }
    let path = first.segment_paths()[0].clone();
    let record = 44 + 1_000;
    let second_record = 40 + 44 + 6 + record;
    disk.flip_bit(&path, 8 * 20).unwrap();
    disk.flip_bit(&path, 8 * (second_record + 500)).unwrap();
    // The running spool finds it while reading, and waits for it no more.
    assert_eq!(first.read(ReadFrom::Oldest), ["layout", "0", "2"]);
    assert_eq!(first.spool.stats().damaged_batches, 1);
    assert_eq!(first.spool.backlog(one).batches, 2);
    let file = disk.open(&path, Open::write()).unwrap();
    file.append(&[9; 77]).unwrap();
    drop(first);

    let mut second = small(&disk, 2);
    let found: Vec<_> = second
        .report
        .damages
        .iter()
        .map(|d| (d.kind, d.offset, d.bytes))
        .collect();
    assert_eq!(
        found,
        [
            (DamageKind::Header, 0, 40),
            (DamageKind::Middle, second_record, record),
            (DamageKind::TornTail, second_record + 2 * record, 77),
        ]
    );
    assert_eq!(second.report.damages[0].file, path);
    assert_eq!(disk.len(&path).unwrap(), second_record + 2 * record);
    assert_eq!(second.read(ReadFrom::Oldest), ["layout", "0", "2"]);
    for number in [0, 2] {
        second.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    assert_eq!(
        second.spool.stats().segments,
        1,
        "{:?}",
        second.spool.destinations().collect::<Vec<_>>()
    );
    let one = second.spool.destination("one").unwrap();
    for number in [0, 2] {
        second.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    assert_eq!(second.spool.stats().segments, 0);
}

#[test]
fn a_read_that_fails_twice_passes_what_it_cannot_read() {
    let mut small = small(&Simulated::new(), 1);
    for number in 0..6 {
        small.append(number, 1_200);
    }
    let mut reader = small.spool.reader(ReadFrom::Oldest);
    let timed_out = Fault::Error(ErrorKind::TimedOut);
    small.disk.fail(Operation::Read, 0..1, timed_out);
    assert!(small.spool.next_record(&mut reader).is_err());
    assert!(matches!(
        small.spool.next_record(&mut reader),
        Ok(Some(Record::Definition { .. }))
    ));
    small.disk.fail(Operation::Read, 0..2, timed_out);
    let mut reader = small.spool.reader(ReadFrom::Oldest);
    assert!(small.spool.next_record(&mut reader).is_err());
    assert!(matches!(
        small.spool.next_record(&mut reader),
        Ok(Some(Record::Definition { .. }))
    ));
    let Ok(Some(Record::Batch(batch))) = small.spool.next_record(&mut reader) else {
        panic!("no batch");
    };
    assert_eq!(batch.number, BatchNumber(3), "the first segment was passed");
    assert_eq!(small.spool.stats().damaged_batches, 3);
}

#[test]
fn syncs_come_by_time_or_bytes_and_not_for_what_is_delivered() {
    let mut small = small(&Simulated::new(), 1);
    let one = small.spool.destination("one").unwrap();
    let at = |ms| Monotonic::from_origin(Duration::from_millis(ms));
    small.append(0, 100);
    let due = small.spool.sync_if_due(at(0));
    assert_eq!(due, Some(at(1_000)));
    small.spool.sync_if_due(at(999));
    assert_eq!(small.spool.stats().syncs, 0);
    small.spool.sync_if_due(at(1_000));
    assert_eq!(
        (
            small.spool.stats().syncs,
            small.spool.stats().unsynced_bytes
        ),
        (1, 0)
    );
    small.append(1, 100);
    for number in 0..2 {
        small.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    let due = small.spool.sync_if_due(at(2_000));
    assert_eq!(due, Some(at(10_000)), "only the cursor is to be written");
    small.spool.sync_if_due(at(4_000));
    assert_eq!(small.spool.stats().syncs, 1);
    small.append(2, 100);
    small.spool.sync_if_due(at(4_001));
    small.spool.sync_if_due(at(5_100));
    assert_eq!(
        (
            small.spool.stats().syncs,
            small.spool.stats().unsynced_bytes
        ),
        (2, 0)
    );
}

#[test]
fn a_cursor_split_too_often_forgets_acknowledgements_but_nothing_else() {
    let mut small = small(&Simulated::new(), 1);
    let one = small.spool.destination("one").unwrap();
    for number in 0..200 {
        small.append(number, 10);
    }
    for number in (1..200).step_by(2) {
        small.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    let ignored = small.spool.stats().ignored_acknowledgements;
    assert_eq!(ignored, 100 - INTERVALS_MAX as u64);
    for number in 0..200 {
        small.spool.acknowledge(one, Epoch(1), BatchNumber(number));
    }
    assert_eq!(small.spool.backlog(one).batches, 0);
}

#[test]
fn what_cannot_be_is_refused() {
    let disk = Simulated::new();
    let mut small = small(&disk, 1);
    let files: Arc<dyn FileSystem> = Arc::new(disk);
    let open = |settings| {
        Spool::open(Arc::clone(&files), Path::new(FOLDER), settings, Epoch(2)).map(|_| ())
    };
    assert!(matches!(open(Settings::default()), Err(OpenError::Lock(_))));
    let none = Settings {
        bytes_max: 0,
        ..Settings::default()
    };
    assert!(matches!(
        open(none),
        Err(OpenError::Setting {
            name: "bytes_max",
            ..
        })
    ));
    assert!(matches!(
        small.spool.append(batch(0, b"x")),
        Err(AppendError::NeedsSegmentStart)
    ));
    small.append(5, 10);
    for number in [5, 4, u64::MAX] {
        let refused = small.spool.append(batch(number, b"x"));
        assert!(matches!(refused, Err(AppendError::NumberNotRising { .. })));
    }
    let huge = vec![0; 40_000];
    assert!(matches!(
        small.spool.append(batch(6, &huge)),
        Err(AppendError::TooLarge { .. })
    ));
    assert!(matches!(
        small.spool.append_definition(&huge),
        Err(AppendError::TooLarge { .. })
    ));
    assert!(matches!(
        small.spool.begin_segment([&huge]),
        Err(AppendError::TooLarge { .. })
    ));
    for at in 0..DESTINATIONS_MAX {
        small.spool.destination(&format!("d{at}")).unwrap();
    }
    assert!(small.spool.destination("one more").is_err());
    assert!(small.spool.destination("").is_err());
}

/// FORMAT.md, byte by byte. If this fails, files of released versions no longer open: raise the version instead.
#[test]
fn a_segment_is_what_its_format_document_says() {
    let mut small = small(&Simulated::new(), 0x0123_4567_89ab_cdef);
    small.spool.begin_segment([b"ab"]).unwrap();
    small.spool.append(batch(3, b"xyz")).unwrap();
    let path = small.segment_paths()[0].clone();
    assert_eq!(
        path,
        Path::new(FOLDER).join("0000000000000000-0123456789abcdef.segment")
    );

    let (segment, epoch) = (0u64.to_le_bytes(), 0x0123_4567_89ab_cdef_u64.to_le_bytes());
    let salt = crc32c::crc32c(&[epoch, segment].concat());
    let mut expected = Vec::new();
    expected.extend(b"promspol");
    expected.extend(1u32.to_le_bytes());
    expected.extend(segment);
    expected.extend(epoch);
    expected.extend(0u64.to_le_bytes());
    expected.extend(crc32c::crc32c(&expected).to_le_bytes());
    let mut record = |kind: u8, rows: u32, samples: u32, number: u64, created: i64, body: &[u8]| {
        let position = (expected.len() as u64).to_le_bytes();
        let mut head = vec![0xd7, 0x72, 0xec, 0x0d];
        head.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        head.extend([kind, 0, 0, 0]);
        head.extend(rows.to_le_bytes());
        head.extend(samples.to_le_bytes());
        head.extend(crc32c::crc32c_append(salt, body).to_le_bytes());
        head.extend(number.to_le_bytes());
        head.extend(created.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(salt, &position), &head);
        head.extend(checksum.to_le_bytes());
        expected.extend(head);
        expected.extend(body);
    };
    record(2, 0, 0, 0, 0, b"ab");
    record(1, 2, 7, 3, 1_003, b"xyz");
    assert_eq!(small.disk.contents(&path).unwrap(), expected);
    let golden = "70726f6d73706f6c010000000000000000000000efcdab89674523010000000000000000";
    let hex: String = expected[..36]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, golden);
}

#[test]
fn a_segment_of_a_later_version_is_left_alone_until_the_space_is_needed() {
    let disk = Simulated::new();
    let mut first = small(&disk, 1);
    first.append(0, 100);
    let path = first.segment_paths()[0].clone();
    drop(first);
    let file = disk.open(&path, Open::write()).unwrap();
    file.write_at(8, &2u32.to_le_bytes()).unwrap();
    let mut header = [0; 36];
    file.read_exact_at(0, &mut header).unwrap();
    file.write_at(36, &crc32c::crc32c(&header).to_le_bytes())
        .unwrap();
    let mut second = small(&disk, 2);
    assert_eq!(second.report.damages[0].kind, DamageKind::UnknownVersion);
    second.append(0, 100);
    assert_eq!(second.read(ReadFrom::Oldest), ["layout", "0"]);
    assert!(disk.exists(&path).unwrap());
    for number in 1..100 {
        second.append(number, 1_000);
    }
    assert!(!disk.exists(&path).unwrap());
}

#[test]
fn the_disk_of_this_machine_serves_as_well() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("a/spool");
    let open = |epoch| {
        let settings = Settings {
            segment_bytes: 64 << 10,
            ..Settings::default()
        };
        Spool::open(Arc::new(files::Disk), &folder, settings, Epoch(epoch)).unwrap()
    };
    let (mut spool, _) = open(1);
    assert!(
        Spool::open(
            Arc::new(files::Disk),
            &folder,
            Settings::default(),
            Epoch(9)
        )
        .is_err()
    );
    let body = [7; 2_500];
    for number in 0..200 {
        if spool.will_rotate(body.len()) {
            spool.begin_segment(["layout"]).unwrap();
        }
        spool.append(batch(number, &body)).unwrap();
        spool.sync_if_due(Monotonic::from_origin(Duration::from_millis(number * 100)));
    }
    drop(spool);
    let (mut spool, report) = open(2);
    assert_eq!(report.damages, []);
    assert_eq!(
        (report.epochs[0].first.0, report.epochs[0].batches),
        (0, 200)
    );
    let one = spool.destination("one").unwrap();
    let all = NumberSet::from_intervals([(BatchNumber(0), BatchNumber(199))]).unwrap();
    spool.acknowledge_set(one, Epoch(1), &all);
    assert_eq!(spool.stats().segments, 0);
    assert_eq!(spool.predecessor(), Some(Epoch(1)));
    spool.close();
}

#[test]
fn a_tenth_of_the_volume_is_the_most() {
    let disk = Simulated::new();
    disk.set_capacity(Some(40 << 20));
    let files = Arc::new(disk);
    let (spool, _) = Spool::open(files, Path::new(FOLDER), Settings::default(), Epoch(1)).unwrap();
    assert_eq!(spool.stats().bytes_max / 100, (4 << 20) / 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any bytes in any file of the folder: opening and reading come to an end, and what is read was written.
    #[test]
    fn foreign_bytes_are_passed_over(
        noise in prop::collection::vec(any::<u8>(), 0..400),
        splices in prop::collection::vec((0u64..4_000, 0u64..4_000, 1usize..300), 0..4),
        which in 0usize..4,
    ) {
        let disk = Simulated::new();
        let mut first = small(&disk, 1);
        for number in 0..8 {
            first.append(number, 400);
        }
        let segment = first.segment_paths()[0].clone();
        first.spool.destination("one").unwrap();
        first.spool.close();
        let file = disk.open(&segment, Open::write()).unwrap();
        for (from, to, length) in splices {
            let mut bytes = vec![0; length];
            let read = file.read_at(from, &mut bytes).unwrap();
            file.write_at(to, &bytes[..read]).unwrap();
        }
        let names = ["0000000000000009-0000000000000009.segment", "gaps", "cursor-6f6e65", "newest-epoch"];
        let file = disk.open(&Path::new(FOLDER).join(names[which]), Open::create()).unwrap();
        file.set_len(0).unwrap();
        file.append(&noise).unwrap();
        let mut second = small(&disk, 2);
        let mut reader = second.spool.reader(ReadFrom::Oldest);
        while let Some(record) = second.spool.next_record(&mut reader).unwrap() {
            if let Record::Batch(batch) = record {
                prop_assert_eq!(batch.body, vec![fill(batch.number.0); 400]);
            }
        }
        second.append(0, 100);
    }
}
