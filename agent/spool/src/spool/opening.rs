//! Opening a spool: what earlier runs left is scanned, cut to what is whole, and indexed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use files::{FileSystem, FolderLock, Open, SharedFileSystem};
use rows::Epoch;
use tracing::{info, warn};

use super::{DESTINATIONS_MAX, Spool};
use crate::cursor::Cursor;
use crate::error::OpenError;
use crate::format::{HeaderState, Identity, Kind, SEGMENT_HEADER_BYTES};
use crate::index::Segment;
use crate::note::Note;
use crate::record::SegmentId;
use crate::report::{Damage, DamageKind, OpenReport, Stats};
use crate::segment_reader::{Item, SegmentReader};
use crate::settings::Settings;

pub(super) const GAPS_FILE: &str = "gaps";
pub(super) const NEWEST_EPOCH_FILE: &str = "newest-epoch";

/// The smallest spool that makes sense.
const BYTES_MIN: u64 = 64 << 10;
/// The smallest and the largest full segment: scanning and dropping go by whole segments.
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

impl Spool {
    /// Opens the spool in `folder` (created when missing) for a run with this epoch, a fresh random number. Reads all of it once.
    ///
    /// Name every [`destination`](Self::destination) before anything else, then [`retain_destinations`](Self::retain_destinations).
    pub fn open(
        files: SharedFileSystem,
        folder: &Path,
        settings: Settings,
        epoch: Epoch,
    ) -> Result<(Self, OpenReport), OpenError> {
        check(&settings)?;
        let failed = |attempt| io_failed(attempt, folder);
        files.create_folders(folder).map_err(failed("create"))?;
        let lock = FolderLock::take(&*files, folder)?;
        let volume = files
            .space(folder)
            .map_err(failed("measure the volume of"))?;
        let share = volume.total_bytes / 100 * u64::from(settings.volume_percent_max);
        // A tmpfs without a limit says that it has no size.
        let share = if volume.total_bytes == 0 {
            u64::MAX
        } else {
            share
        };
        let bytes_max = settings.bytes_max.min(share).max(BYTES_MIN);
        let mut spool = Self {
            files,
            folder: folder.to_owned(),
            bytes_max,
            segment_bytes: settings.segment_bytes.min(bytes_max / 4),
            settings,
            epoch,
            segments: BTreeMap::new(),
            next_segment: SegmentId(0),
            active: None,
            last_number: None,
            cursors: Vec::new(),
            cursors_written: None,
            gaps: Vec::new(),
            gaps_dirty: false,
            predecessor: None,
            epoch_noted: false,
            doomed: Vec::new(),
            counters: Stats::default(),
            scratch: Vec::new(),
            _lock: lock,
        };
        let mut report = OpenReport::default();
        spool.load(&mut report)?;
        spool.counters.damages = report.damages.len() as u64;
        report.epochs = spool.epochs();
        info!(
            folder = %folder.display(),
            bytes = spool.bytes(),
            segments = spool.segments.len(),
            epochs = report.epochs.len(),
            "opened the spool"
        );
        Ok((spool, report))
    }

    fn load(&mut self, report: &mut OpenReport) -> Result<(), OpenError> {
        let mut newest_epoch = None;
        let listed = self.files.list(&self.folder);
        for entry in listed.map_err(io_failed("list", &self.folder))? {
            let Some(name) = entry.name.to_str().filter(|_| !entry.folder) else {
                continue;
            };
            let path = self.folder.join(name);
            if let Some(identity) = Identity::from_file_name(name) {
                self.load_segment(identity, entry.len, report)?;
            } else if name.ends_with(".tmp") {
                self.doomed.push(path);
            } else if let Some(destination) = Cursor::name_from_file(name) {
                self.load_cursor(destination, &path)?;
            } else if name == GAPS_FILE {
                if let Some(Note::Gaps(gaps)) = self.note(&path)? {
                    self.gaps = gaps;
                }
            } else if name == NEWEST_EPOCH_FILE
                && let Some(Note::NewestEpoch(epoch)) = self.note(&path)?
            {
                newest_epoch = Some(epoch);
            }
        }
        self.remove_doomed();
        self.settle_epochs(newest_epoch);
        self.finish_drops();
        self.sync_newest();
        self.remove_empty();
        // The bound may be a new one, and a removal that was not synced may have been undone.
        self.make_room(0);
        Ok(())
    }

    /// Finds out who ran before, and where this epoch's numbers stand should it have run before.
    fn settle_epochs(&mut self, newest_epoch: Option<Epoch>) {
        let last = self.segments.values().next_back();
        let newest = newest_epoch.or_else(|| last.map(|segment| segment.identity.epoch));
        self.predecessor = newest.filter(|epoch| *epoch != self.epoch);
        self.epoch_noted = newest_epoch == Some(self.epoch);
        let ranges = self.epochs().into_iter();
        let own = ranges.filter(|range| range.epoch == self.epoch);
        self.last_number = own.map(|range| range.last).max();
    }

    /// Settled segments stay for now: a destination whose cursor was never written is known only once the caller has named it.
    fn remove_empty(&mut self) {
        let segments = self.segments.iter();
        let empty: Vec<SegmentId> = segments
            .filter(|(_, segment)| segment.readable && segment.numbers.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in empty {
            self.remove_segment(id);
        }
    }

    /// A run that was killed left its last segment unsynced, where a power cut could still take it.
    fn sync_newest(&mut self) {
        let Some(newest) = self.segments.values().next_back() else {
            return;
        };
        let file = self.files.open(&self.path(newest), Open::write());
        let synced = file
            .and_then(|file| file.sync_data())
            .and_then(|()| self.files.sync_folder(&self.folder));
        match synced {
            Ok(()) => self.counters.syncs += 1,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot sync what the last run spooled"
                );
                self.counters.sync_errors += 1;
            }
        }
    }

    /// Segments are dropped whole, so one that has any number of a gap was being dropped when the run ended.
    fn finish_drops(&mut self) {
        let segments = self.segments.iter();
        let dropped: Vec<SegmentId> = segments
            .filter(|(_, segment)| {
                let mut gaps = self.gaps.iter();
                gaps.any(|gap| {
                    gap.epoch == segment.identity.epoch
                        && segment
                            .numbers
                            .is_some_and(|(first, last)| gap.first.0 <= last && first <= gap.last.0)
                })
            })
            .map(|(id, _)| *id)
            .collect();
        for id in dropped {
            self.remove_segment(id);
        }
    }

    fn load_cursor(&mut self, destination: String, path: &Path) -> Result<(), OpenError> {
        if self.cursors.len() == DESTINATIONS_MAX {
            warn!(
                destination,
                "passed over the cursor of one destination too many"
            );
            return Ok(());
        }
        let mut cursor = Cursor::new(destination);
        if let Some(Note::Cursor(acknowledged)) = self.note(path)? {
            cursor.acknowledged = acknowledged;
            cursor.dirty = false;
        }
        self.cursors.push(Some(cursor));
        Ok(())
    }

    /// Reads a note; a damaged one is as good as none: what it said is sent, or counted, once more.
    fn note(&self, path: &Path) -> Result<Option<Note>, OpenError> {
        let note = Note::read(&*self.files, path).map_err(io_failed("read", path))?;
        if note.is_none() {
            warn!(file = %path.display(), "passed over a damaged file of the spool");
        }
        Ok(note)
    }

    fn load_segment(
        &mut self,
        identity: Identity,
        length: u64,
        report: &mut OpenReport,
    ) -> Result<(), OpenError> {
        let next = SegmentId(identity.segment.0.saturating_add(1));
        self.next_segment = self.next_segment.max(next);
        let path = self.folder.join(identity.file_name());
        let scan =
            Scan::run(&*self.files, &path, identity, length).map_err(io_failed("read", &path))?;
        let torn = scan
            .damages
            .iter()
            .find(|damage| damage.kind == DamageKind::TornTail);
        let cut = torn.map(|damage| damage.offset);
        for damage in &scan.damages {
            warn!(
                file = %damage.file.display(),
                offset = damage.offset,
                bytes = damage.bytes,
                kind = ?damage.kind,
                "found damage in the spool"
            );
        }
        report.damages.extend(scan.damages);
        self.segments.insert(identity.segment, scan.segment);
        if let Some(end) = cut {
            let file = self.files.open(&path, Open::write());
            // The index knows where the segment ends: the cut only saves the next run from finding this tail again.
            if file.and_then(|file| file.set_len(end)).is_err() {
                self.counters.upkeep_errors += 1;
            }
        }
        Ok(())
    }
}

/// The scan of one segment.
struct Scan {
    segment: Segment,
    damages: Vec<Damage>,
}

impl Scan {
    fn run(
        files: &dyn FileSystem,
        path: &Path,
        identity: Identity,
        length: u64,
    ) -> io::Result<Self> {
        let file = files.open(path, Open::read())?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(0, &mut header)?;
        let mut scan = Self {
            segment: Segment::new(identity),
            damages: Vec::new(),
        };
        match identity.judge_header(&header[..read]) {
            HeaderState::Good => {}
            HeaderState::Damaged => {
                scan.damage(path, DamageKind::Header, 0, SEGMENT_HEADER_BYTES as u64);
            }
            HeaderState::UnknownVersion => {
                scan.damage(path, DamageKind::UnknownVersion, 0, length);
                scan.segment.bytes = length;
                scan.segment.readable = false;
                return Ok(scan);
            }
        }
        scan.segment.bytes = length;
        let mut records = SegmentReader::new(file, identity);
        loop {
            let offset = records.offset();
            match scan.step(&mut records, path, length) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    warn!(
                        file = %path.display(),
                        offset,
                        error = &error as &dyn std::error::Error,
                        "cannot read on in a spool segment"
                    );
                    scan.damage(path, DamageKind::Middle, offset, length - offset);
                    scan.segment.bytes = offset;
                    return Ok(scan);
                }
            }
        }
        scan.find_torn_tail(length);
        Ok(scan)
    }

    /// Looks at one more record; `false` at the end.
    fn step(&mut self, records: &mut SegmentReader, path: &Path, length: u64) -> io::Result<bool> {
        match records.peek(length)? {
            Item::End => return Ok(false),
            Item::Damage { offset, bytes } => self.damage(path, DamageKind::Middle, offset, bytes),
            Item::Record(head) => {
                let offset = records.offset();
                let whole = records.body(&head)?.is_some();
                let taken = match head.kind {
                    Kind::Batch {
                        created, samples, ..
                    } => whole && self.segment.add_batch(head.number, created, samples),
                    Kind::Definition => whole,
                };
                if !taken {
                    self.damage(path, DamageKind::Middle, offset, head.record_bytes());
                }
            }
        }
        Ok(true)
    }

    /// Notes damage, as part of the one before when it follows it directly.
    fn damage(&mut self, path: &Path, kind: DamageKind, offset: u64, bytes: u64) {
        match self.damages.last_mut() {
            Some(last) if last.kind == kind && last.offset + last.bytes == offset => {
                last.bytes += bytes;
            }
            _ => self.damages.push(Damage {
                file: path.to_owned(),
                offset,
                bytes,
                kind,
            }),
        }
    }

    fn find_torn_tail(&mut self, length: u64) {
        if let Some(last) = self.damages.last_mut()
            && last.kind == DamageKind::Middle
            && last.offset + last.bytes == length
        {
            last.kind = DamageKind::TornTail;
            self.segment.bytes = last.offset;
        }
    }
}

fn check(settings: &Settings) -> Result<(), OpenError> {
    let wrong = |name, value, must| Err(OpenError::Setting { name, value, must });
    if settings.bytes_max < BYTES_MIN {
        return wrong("bytes_max", settings.bytes_max, "at least 64 KiB");
    }
    if !(1..=100).contains(&settings.volume_percent_max) {
        return wrong(
            "volume_percent_max",
            settings.volume_percent_max.into(),
            "1 to 100",
        );
    }
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&settings.segment_bytes) {
        return wrong("segment_bytes", settings.segment_bytes, "4 KiB to 64 MiB");
    }
    Ok(())
}

fn io_failed<'a>(
    attempt: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> OpenError + Copy + 'a {
    move |source| OpenError::Io {
        attempt,
        path: path.to_owned(),
        source,
    }
}
