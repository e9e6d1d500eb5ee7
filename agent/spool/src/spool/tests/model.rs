//! A spool on a simulated disk beside a plain list of what was put into it. Whatever happens, each batch that is not in the spool any more
//! must have a reason, and each that is there must be as it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::model::TimestampMs;
use clock::Monotonic;
use files::{Fault, FileSystem, Operation, Simulated};
use rows::{BatchNumber, Epoch, NumberSet};

use crate::{AppendError, Gap, NewBatch, OpenReport, ReadFrom, Record, Settings, Spool, Stats};

pub(super) const FOLDER: &str = "spool";
pub(super) const DESTINATIONS: [&str; 2] = ["one", "two"];

type Key = (Epoch, BatchNumber);

/// What becomes of the machine and the spool in it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Append {
        bytes: usize,
        skip: u64,
    },
    Wait(Duration),
    Sync,
    /// The destination acknowledges every n-th of what it has still to get.
    Acknowledge {
        destination: usize,
        every: usize,
        most: usize,
    },
    AcknowledgeAll {
        destination: usize,
    },
    /// The run ends and another begins.
    Close,
    Kill,
    Crash(u64),
    FlipBit(u64),
    /// The disk has room for this many more blocks.
    Fill(u64),
    MakeRoom,
    FailWrite(Fault),
    FailSync,
    ForgetGaps,
}

#[derive(Debug)]
struct Made {
    body: Vec<u8>,
    created: TimestampMs,
    definition: Vec<u8>,
    /// A sync covered it.
    durable: bool,
    /// All destinations of then had it.
    released: bool,
}

pub(super) struct World {
    pub(super) disk: Simulated,
    settings: Settings,
    spool: Option<Spool>,
    now: Monotonic,
    epoch: u64,
    next: u64,
    definitions: u64,
    made: BTreeMap<Key, Made>,
    /// Appended and not yet covered by a sync of the file they are in.
    unsynced: Vec<Key>,
    /// What an interrupted call may have left.
    in_doubt: BTreeSet<Key>,
    acknowledged: [BTreeSet<Key>; 2],
    gaps: Vec<Gap>,
    flips: usize,
    full: bool,
    /// A gap mark was still to be written when the step began.
    mark_owed: bool,
    /// Faults that had hit when the step began.
    faults_hit: u64,
    /// A gap mark that could not be written (the disk was full, say) when the run ended is lost.
    mark_lost: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let settings = Settings {
            bytes_max: 64 << 10,
            segment_bytes: 8 << 10,
            sync_bytes: 6 << 10,
            ..Settings::default()
        };
        let mut world = Self {
            disk: Simulated::new(),
            settings,
            spool: None,
            now: Monotonic::ORIGIN,
            epoch: 0,
            next: 0,
            definitions: 0,
            made: BTreeMap::new(),
            unsynced: Vec::new(),
            in_doubt: BTreeSet::new(),
            acknowledged: Default::default(),
            gaps: Vec::new(),
            flips: 0,
            full: false,
            mark_owed: false,
            faults_hit: 0,
            mark_lost: false,
        };
        world.open();
        world
    }

    pub(super) fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    pub(super) fn open(&mut self) -> OpenReport {
        let report = self.try_open();
        report.unwrap()
    }

    /// Begins another run; planned faults must not keep it from starting.
    fn open_again(&mut self) {
        if self.try_open().is_none() && !self.disk.power_is_cut() {
            self.disk.heal();
            self.open();
        }
        // Opening syncs what the run before left unsynced.
        self.note_syncs(&Stats::default());
    }

    /// Begins another run.
    fn try_open(&mut self) -> Option<OpenReport> {
        self.spool = None;
        self.epoch += 1;
        self.next = 0;
        let files = Arc::new(self.disk.clone());
        let opened = Spool::open(
            files,
            Path::new(FOLDER),
            self.settings.clone(),
            Epoch(self.epoch),
        );
        let (mut spool, report) = opened.ok()?;
        for name in DESTINATIONS {
            spool.destination(name).unwrap();
        }
        self.spool = Some(spool);
        Some(report)
    }

    /// Makes the step; what it does to a spool without power is no matter.
    pub(super) fn make(&mut self, step: &Step) {
        let before = self.stats();
        if !self.disk.power_is_cut() {
            self.mark_owed = self.spool.as_ref().is_some_and(|spool| spool.gaps_dirty);
            self.faults_hit = self.disk.faults_hit();
        }
        match *step {
            Step::Append { bytes, skip } => return self.append(bytes, skip),
            Step::Wait(time) => self.now = self.now + time,
            Step::Sync => {
                let now = self.now;
                self.spool().sync_if_due(now);
            }
            Step::Acknowledge {
                destination,
                every,
                most,
            } => {
                self.acknowledge(destination, every, most);
            }
            Step::AcknowledgeAll { destination } => self.acknowledge_all(destination),
            Step::Close => {
                // A sync that failed while closing would tell nobody.
                self.disk.heal();
                self.note_lost_marks();
                if let Some(spool) = self.spool.take() {
                    spool.close();
                }
                self.open_again();
                return;
            }
            Step::Kill => {
                self.note_lost_marks();
                self.disk.kill();
                self.open_again();
                return;
            }
            Step::Crash(seed) => return self.crash(seed),
            Step::FlipBit(at) => self.flip_bit(at),
            Step::Fill(blocks) => {
                self.full = true;
                let used = self.disk.used_bytes();
                self.disk.set_capacity(Some(used + blocks * 4096));
            }
            Step::MakeRoom => {
                self.full = false;
                self.disk.set_capacity(None);
            }
            Step::FailWrite(fault) => self.disk.fail(Operation::Write, 0..1, fault),
            Step::FailSync => {
                let fault = Fault::Error(std::io::ErrorKind::Other);
                self.disk.fail(Operation::SyncData, 0..1, fault);
            }
            Step::ForgetGaps => {
                let reported = self.spool().gaps().to_vec();
                self.gaps.extend(&reported);
                self.spool().forget_gaps(&reported);
            }
        }
        self.note_syncs(&before);
    }

    fn append(&mut self, bytes: usize, skip: u64) {
        let number = BatchNumber(self.next + skip);
        let key = (Epoch(self.epoch), number);
        if self.spool().will_rotate(bytes) {
            self.definitions += 1;
            let definition = self.definition();
            let before = self.stats();
            let begun = self.spool().begin_segment([definition]);
            self.note_syncs(&before);
            if begun.is_err() {
                return;
            }
        }
        let body: Vec<u8> = (0..bytes)
            .map(|at| (at as u64 * 7 + number.0).to_le_bytes()[0])
            .collect();
        let created = TimestampMs((self.epoch * 1_000_000 + number.0).cast_signed());
        let batch = NewBatch {
            number,
            created,
            rows: 1,
            samples: 10,
            body: &body,
        };
        let made = Made {
            definition: self.definition(),
            created,
            durable: false,
            released: false,
            body: body.clone(),
        };
        let before = self.stats();
        let appended = self.spool().append(batch);
        self.note_syncs(&before);
        match appended {
            Ok(()) => {
                self.next = number.0 + 1;
                self.unsynced.push(key);
                self.made.insert(key, made);
            }
            Err(
                AppendError::NeedsSegmentStart | AppendError::Full { .. } | AppendError::Io { .. },
            ) => {
                if self.disk.power_is_cut() {
                    self.in_doubt.insert(key);
                    self.made.insert(key, made);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn definition(&self) -> Vec<u8> {
        format!("definition {}", self.definitions).into_bytes()
    }

    fn acknowledge(&mut self, destination: usize, every: usize, most: usize) {
        let id = self.spool().destination(DESTINATIONS[destination]).unwrap();
        let mut reader = self.spool().reader(ReadFrom::Oldest).unacknowledged_by(id);
        let (mut seen, mut keys) = (0, Vec::new());
        while let Ok(Some(record)) = self.spool().next_record(&mut reader) {
            if let Record::Batch(batch) = record {
                if seen % every == 0 && keys.len() < most {
                    keys.push((batch.epoch, batch.number));
                }
                seen += 1;
            }
        }
        for key in keys {
            self.acknowledged[destination].insert(key);
            self.release();
            self.spool().acknowledge(id, key.0, key.1);
        }
    }

    fn acknowledge_all(&mut self, destination: usize) {
        let id = self.spool().destination(DESTINATIONS[destination]).unwrap();
        for range in self.spool().epochs() {
            let intervals = [(BatchNumber(0), range.last)];
            let numbers = NumberSet::from_intervals(intervals).unwrap();
            let keys = self
                .made
                .keys()
                .filter(|key| key.0 == range.epoch && key.1 <= range.last);
            self.acknowledged[destination].extend(keys.copied());
            self.release();
            self.spool().acknowledge_set(id, range.epoch, &numbers);
        }
    }

    fn release(&mut self) {
        for (key, made) in &mut self.made {
            made.released |= self
                .acknowledged
                .iter()
                .all(|numbers| numbers.contains(key));
        }
    }

    fn stats(&self) -> Stats {
        self.spool.as_ref().map(Spool::stats).unwrap_or_default()
    }

    /// What a sync that happened since `before` made durable.
    fn note_syncs(&mut self, before: &Stats) {
        let now = self.stats();
        if now.sync_errors > before.sync_errors {
            self.unsynced.clear();
        } else if now.syncs > before.syncs {
            for key in self.unsynced.drain(..) {
                self.made.get_mut(&key).unwrap().durable = true;
            }
        }
    }

    pub(super) fn crash(&mut self, seed: u64) {
        self.note_lost_marks();
        self.disk.crash(seed);
        self.unsynced.clear();
        let durable = |made: &Made| made.durable;
        self.in_doubt.extend(
            self.made
                .iter()
                .filter(|(_, made)| !durable(made))
                .map(|(key, _)| *key),
        );
        self.open();
    }

    fn note_lost_marks(&mut self) {
        // In a power cut the mark and the removal fail together, unless the mark had failed before: there was no space for it, a fault hit
        // it in the step that was cut short, or it was left over from a step before.
        let unwritten = self.spool.as_ref().is_some_and(|spool| spool.gaps_dirty);
        let failed_before = self.full || self.mark_owed || self.disk.faults_hit() > self.faults_hit;
        self.mark_lost |= unwritten && (failed_before || !self.disk.power_is_cut());
    }

    fn flip_bit(&mut self, at: u64) {
        let files = self.disk.list(Path::new(FOLDER)).unwrap();
        let segments: Vec<(PathBuf, u64)> = files
            .into_iter()
            .filter(|entry| entry.name.to_str().unwrap().ends_with(".segment") && entry.len > 0)
            .map(|entry| (Path::new(FOLDER).join(entry.name), entry.len * 8))
            .collect();
        let chosen = at % segments.len().max(1) as u64;
        if let Some((path, bits)) = segments.get(usize::try_from(chosen).unwrap()) {
            self.disk.flip_bit(path, at / 7 % bits).unwrap();
            self.flips += 1;
        }
    }

    /// Reads all and compares.
    pub(super) fn check(&mut self) {
        // Reading finds damage, and with it segments of which nobody needs the rest.
        self.read_all();
        let present = self.read_all();
        let mut gaps = self.gaps.clone();
        gaps.extend(self.spool().gaps());
        let in_gap = |key: &Key| {
            gaps.iter()
                .any(|gap| gap.epoch == key.0 && (gap.first..=gap.last).contains(&key.1))
        };
        let mut unexplained = Vec::new();
        for (key, made) in &self.made {
            if !present.contains(key)
                && !made.released
                && !in_gap(key)
                && !self.in_doubt.contains(key)
            {
                unexplained.push(*key);
            }
        }
        if !self.mark_lost {
            assert!(
                unexplained.len() <= self.flips,
                "{unexplained:?} are lost, {} flips",
                self.flips
            );
        }
        for key in &present {
            assert!(!in_gap(key), "{key:?} was declared dropped");
        }
        let stats = self.stats();
        assert!(stats.bytes <= stats.bytes_max, "{stats:?}");
        assert_eq!(stats.batches, present.len() as u64);
        if self.flips == 0 {
            // The index does not look again when the first batch of a segment rots.
            let oldest = present.first().map(|key| self.made[key].created);
            assert_eq!(stats.oldest, oldest);
        }
        self.check_destinations(&present);
    }

    fn check_destinations(&mut self, present: &BTreeSet<Key>) {
        for (at, name) in DESTINATIONS.into_iter().enumerate() {
            let id = self.spool().destination(name).unwrap();
            let pending: BTreeSet<Key> = present
                .iter()
                .filter(|key| {
                    !self
                        .spool
                        .as_ref()
                        .unwrap()
                        .is_acknowledged(id, key.0, key.1)
                })
                .copied()
                .collect();
            for key in present.difference(&pending) {
                assert!(
                    self.acknowledged[at].contains(key),
                    "{key:?} was never acknowledged"
                );
            }
            let backlog = self.spool().backlog(id);
            assert_eq!(backlog.batches, pending.len() as u64);
            assert_eq!(backlog.oldest, pending.first().copied());
            for offer in self.spool().offers(id) {
                let mut of_epoch = pending.iter().filter(|key| key.0 == offer.epoch);
                let floor = of_epoch.next().map_or(offer.next, |key| key.1);
                assert_eq!(offer.floor, floor, "{offer:?}");
            }
            let mut reader = self.spool().reader(ReadFrom::Oldest).unacknowledged_by(id);
            let mut sent = BTreeSet::new();
            while let Some(record) = self.spool().next_record(&mut reader).unwrap() {
                if let Record::Batch(batch) = record {
                    sent.insert((batch.epoch, batch.number));
                }
            }
            assert_eq!(sent, pending);
        }
    }

    pub(super) fn read_all(&mut self) -> BTreeSet<Key> {
        let mut present = BTreeSet::new();
        let mut reader = self.spool().reader(ReadFrom::Oldest);
        let (mut segment, mut definitions) = (None, Vec::new());
        while let Some(record) = self.spool().next_record(&mut reader).unwrap() {
            let place = match &record {
                Record::Definition { segment, .. } => *segment,
                Record::Batch(batch) => batch.segment,
            };
            if segment != Some(place) {
                definitions.clear();
                segment = Some(place);
            }
            match record {
                Record::Definition { body, .. } => definitions.push(body),
                Record::Batch(batch) => {
                    let key = (batch.epoch, batch.number);
                    let made = &self.made[&key];
                    assert_eq!((&batch.body, batch.created), (&made.body, made.created));
                    assert_eq!((batch.rows, batch.samples), (1, 10));
                    assert!(
                        definitions.contains(&made.definition)
 || self.flips > 0
 // What was not synced may survive a crash without what it leans on.
 || self.in_doubt.contains(&key),
                        "{key:?}"
                    );
                    assert!(present.last() < Some(&key), "{key:?} comes too late");
                    present.insert(key);
                }
            }
        }
        present
    }
}
