//! The files of the log: one writer, groups of records made durable one after the other.
//!
//! # Failures
//! A segment whose write or sync failed is never touched again: it counts up to its last synced byte, which the header of the next
//! segment states, and the group goes to that next one. A sync is never repeated.
//!
//! Blocks are written (zeros behind the records) a step ahead, so that most syncs change no length. With [`Durability::Written`] there are
//! no syncs, and everything else is the same.

use std::io;
use std::path::{Path, PathBuf};

use files::{Open, SharedFile, SharedFileSystem};
use rows::StoreId;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{Durability, LogConfig};
use crate::counters::Counters;
use crate::segment::{RECORDS_START, SegmentHeader};
use crate::snapshot::{LinkedLog, SnapshotError, link_log};

/// Segments are extended by this part of their size at a time, within these bounds.
const STEPS_PER_SEGMENT: u64 = 64;
const STEP_BYTES_MIN: u64 = 4 * 1_024;
const STEP_BYTES_MAX: u64 = 1_024 * 1_024;
const EXTENSION: &str = "log";

/// Where the records of the next group will stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The segment: what was written to another has to be written again for this one to stand alone.
    pub(crate) segment: u64,
    pub(crate) salt: u64,
    pub(crate) offset: u64,
}

/// A segment that will not be written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedSegment {
    pub(crate) number: u64,
    pub(crate) last_position: u64,
    /// The length of its file.
    pub(crate) bytes: u64,
}

/// What the log goes on from.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogEnd {
    /// The last segment with durable records, and where they end.
    pub(crate) previous: u64,
    pub(crate) previous_end: u64,
    /// The highest segment number ever seen.
    pub(crate) last_number: u64,
    pub(crate) closed: Vec<ClosedSegment>,
}

#[derive(Debug)]
pub(crate) struct Log {
    files: SharedFileSystem,
    folder: PathBuf,
    store_id: StoreId,
    config: LogConfig,
    step_bytes: u64,
    open: Option<OpenSegment>,
    end: LogEnd,
}

#[derive(Debug)]
struct OpenSegment {
    header: SegmentHeader,
    path: PathBuf,
    /// Made by the first group.
    file: Option<SharedFile>,
    /// Behind the last durable record.
    end: u64,
    /// Bytes written, zeros included.
    written: u64,
    last_position: u64,
}

impl Log {
    pub(crate) fn new(
        files: SharedFileSystem,
        folder: PathBuf,
        store_id: StoreId,
        config: LogConfig,
        end: LogEnd,
    ) -> Self {
        let segment_bytes = config.segment_bytes;
        Self {
            files,
            folder,
            store_id,
            config,
            step_bytes: (segment_bytes / STEPS_PER_SEGMENT).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX),
            open: None,
            end,
        }
    }

    /// Returns where the next group goes; `position` is that of its first record.
    pub(crate) fn target(&mut self, position: u64) -> Target {
        let full = |open: &OpenSegment| open.end >= self.config.segment_bytes;
        if self.open.as_ref().is_some_and(full) {
            self.close();
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.next_segment(position),
        };
        let open = self.open.insert(open);
        Target {
            segment: open.header.number,
            salt: open.header.salt,
            offset: open.end,
        }
    }

    fn next_segment(&mut self, position: u64) -> OpenSegment {
        self.end.last_number += 1;
        let number = self.end.last_number;
        OpenSegment {
            header: SegmentHeader {
                store_id: self.store_id,
                number,
                salt: salt(self.store_id, number),
                first_position: position,
                previous: self.end.previous,
                previous_end: self.end.previous_end,
            },
            path: segment_path(&self.folder, number),
            file: None,
            end: RECORDS_START as u64,
            written: 0,
            last_position: position,
        }
    }

    /// Writes a group at the place that [`target`](Self::target) named and makes it durable; returns the bytes of its records. After an error the segment is given up and the next
    /// target is another one, for which the group has to be made anew.
    pub(crate) fn commit(&mut self, records: Vec<u8>, last_position: u64) -> io::Result<u64> {
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("no segment is open"));
        };
        match open.commit(
            &*self.files,
            records,
            self.step_bytes,
            self.config.durability,
        ) {
            Ok(bytes) => {
                open.last_position = last_position;
                Ok(bytes)
            }
            Err(error) => {
                self.close();
                Err(error)
            }
        }
    }

    /// Says where the log ends, in the header of a segment without records: what is then found behind the last record that checks was damaged,
    /// and not cut off by a loss of power.
    pub(crate) fn end(&mut self) {
        self.close();
        let Some(last) = self.end.closed.last() else {
            return;
        };
        let mut end = self.next_segment(last.last_position);
        let step = RECORDS_START as u64;
        let written = end.commit(&*self.files, Vec::new(), step, self.config.durability);
        if let Err(error) = written {
            tracing::warn!(path = %end.path.display(), %error, "cannot write where the log ends");
        }
    }

    /// Ends the open segment at its last durable record; one without any is removed.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.end > RECORDS_START as u64 {
            self.end.previous = open.header.number;
            self.end.previous_end = open.end;
            self.end.closed.push(ClosedSegment {
                number: open.header.number,
                last_position: open.last_position,
                bytes: open.written,
            });
            return;
        }
        if open.file.is_some() {
            // Whether it goes or stays, the next segment's header says that it does not count.
            if let Err(error) = self.files.remove(&open.path) {
                tracing::warn!(path = %open.path.display(), %error, "cannot remove an empty log segment");
            }
        }
    }

    /// Removes the closed segments whose records all have this position or an earlier one.
    pub(crate) fn remove_until(&mut self, position: u64) {
        let removable = |segment: &ClosedSegment| segment.last_position <= position;
        let count = self
            .end
            .closed
            .iter()
            .take_while(|segment| removable(segment))
            .count();
        for segment in self.end.closed.drain(..count) {
            let path = segment_path(&self.folder, segment.number);
            match self.files.remove(&path) {
                // What stays is skipped by its positions at the next start, and removed then.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a log segment");
                }
                _ => {}
            }
        }
    }

    /// Closes the open segment when all its records have this position or an earlier one, so that an idle store keeps no old log.
    pub(crate) fn retire_until(&mut self, position: u64) {
        let done =
            |open: &OpenSegment| open.end > RECORDS_START as u64 && open.last_position <= position;
        if self.open.as_ref().is_some_and(done) {
            self.close();
        }
        self.remove_until(position);
    }

    /// Closes the open segment and links all segments that are still needed into a folder. What is linked is never written again.
    pub(crate) fn link(&mut self, into: &Path) -> Result<LinkedLog, SnapshotError> {
        self.close();
        let closed = self.end.closed.iter();
        let paths: Vec<PathBuf> = closed
            .map(|segment| segment_path(&self.folder, segment.number))
            .collect();
        link_log(&*self.files, &paths, into)
    }

    /// Returns the number of the segment that is written to, or was last.
    pub(crate) const fn open_number(&self) -> u64 {
        self.end.last_number
    }

    /// Says how many segments there are, the open one included, and what their files take.
    pub(crate) fn count(&self, counters: &Counters) {
        let closed = &self.end.closed;
        let bytes: u64 = closed.iter().map(|segment| segment.bytes).sum();
        let open = self.open.as_ref();
        counters
            .log_segments
            .set(closed.len() as u64 + u64::from(open.is_some()));
        counters
            .log_bytes
            .set(bytes + open.map_or(0, |open| open.written));
    }
}

impl OpenSegment {
    /// Returns the bytes of the records.
    fn commit(
        &mut self,
        files: &dyn files::FileSystem,
        mut bytes: Vec<u8>,
        step: u64,
        durability: Durability,
    ) -> io::Result<u64> {
        let records = bytes.len() as u64;
        let end = self.end + records;
        let mut at = self.end;
        let new = self.file.is_none();
        if new {
            let mut first = self.header.encode();
            first.append(&mut bytes);
            bytes = first;
            at = 0;
        }
        if end > self.written {
            let ahead = end.next_multiple_of(step);
            bytes.resize(usize::try_from(ahead - at).unwrap_or(bytes.len()), 0);
        }
        let file = match &self.file {
            Some(file) => file,
            None => self
                .file
                .insert(files.open(&self.path, Open::create_new())?),
        };
        file.write_at(at, &bytes)?;
        if durability == Durability::Synced {
            file.sync_data()?;
        }
        if new {
            files.sync_folder(self.path.parent().unwrap_or_else(|| Path::new("")))?;
        }
        self.end = end;
        self.written = self.written.max(at + bytes.len() as u64);
        Ok(records)
    }
}

/// Drawn anew for each segment; nobody outside can know it.
fn salt(store_id: StoreId, number: u64) -> u64 {
    let mut seed = store_id.0.to_le_bytes().to_vec();
    seed.extend_from_slice(&number.to_le_bytes());
    seed.extend_from_slice(&crate::random::random_u64().to_le_bytes());
    xxh3_64(&seed)
}

pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.{EXTENSION}"))
}

/// Returns the number in a segment's file name; `None` for other files.
pub(crate) fn segment_number(name: &std::ffi::OsStr) -> Option<u64> {
    let (number, extension) = name.to_str()?.split_once('.')?;
    (extension == EXTENSION)
        .then(|| number.parse().ok())
        .flatten()
        .filter(|number| *number > 0)
}
