//! Walking over the log as replay does, without a store: records are decoded and handed out, damage is told of, nothing is changed.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use files::{Open, SharedFileSystem};
use model::TimeRange;
use rows::{Batch, BatchDecoder, StoreId, decode_key_row};

use crate::log::{segment_number, segment_path};
use crate::record::{self, Definition, LogSource, Record};
use crate::replay::{SEGMENT_BYTES_MAX, limit_of};
use crate::report::Damage;
use crate::segment::{RECORDS_START, Scanned, Scanner, SegmentHeader};
use crate::tsdb::OpenError;

/// What is found in a log, in order.
pub(super) enum Found<'a> {
    /// A segment begins.
    Segment {
        path: &'a Path,
        bytes: u64,
    },
    /// Something of it is not what was written.
    Damage(Damage),
    /// Bytes behind the last record of the last segment that were never acknowledged.
    Torn(u64),
    Definition(Definition),
    Batch {
        source: &'a LogSource,
        position: u64,
        taken: TimeRange,
        batch: &'a Arc<Batch>,
    },
    /// Any other record.
    Other,
    /// The segment ends; its records have these positions, when it has any.
    End(Option<(u64, u64)>),
}

/// A log to be walked over.
pub(super) struct LogWalk<'a> {
    pub(super) files: &'a SharedFileSystem,
    pub(super) folder: PathBuf,
    /// Segments of another store do not count; `None`: those of any do.
    pub(super) store_id: Option<StoreId>,
}

impl LogWalk<'_> {
    /// Calls `visit` with all there is.
    pub(super) fn run(
        &self,
        visit: &mut dyn FnMut(Found<'_>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let numbers = self.segments()?;
        let mut headers: BTreeMap<u64, SegmentHeader> = BTreeMap::new();
        for number in &numbers {
            if let Some(header) = self.header(*number)? {
                headers.insert(*number, header);
            }
        }
        for number in numbers {
            let limit = limit_of(number, &headers);
            if limit > 0 {
                self.segment(number, (headers.get(&number), limit), visit)?;
            }
        }
        Ok(())
    }

    /// Returns the identity of the store that wrote the newest readable segment.
    pub(super) fn written_by(&self) -> Result<Option<StoreId>, OpenError> {
        for number in self.segments()?.into_iter().rev() {
            if let Some(header) = self.header(number)? {
                return Ok(Some(header.store_id));
            }
        }
        Ok(None)
    }

    fn segments(&self) -> Result<Vec<u64>, OpenError> {
        let entries = self
            .files
            .list(&self.folder)
            .map_err(OpenError::io("read the log folder", &self.folder))?;
        let files = entries.into_iter().filter(|entry| !entry.folder);
        let mut numbers: Vec<u64> = files
            .filter_map(|entry| segment_number(&entry.name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn header(&self, number: u64) -> Result<Option<SegmentHeader>, OpenError> {
        let bytes = self.read(&segment_path(&self.folder, number), RECORDS_START as u64)?;
        let header = SegmentHeader::decode(&bytes).ok();
        Ok(header.filter(|header| {
            header.number == number && self.store_id.is_none_or(|id| header.store_id == id)
        }))
    }

    fn read(&self, path: &Path, max: u64) -> Result<Vec<u8>, OpenError> {
        let failed = || OpenError::io("read log segment", path);
        let file = self.files.open(path, Open::read()).map_err(failed())?;
        let bytes = file.len().map_err(failed())?.min(max);
        let mut out = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut out).map_err(failed())?;
        out.truncate(read);
        Ok(out)
    }

    fn segment(
        &self,
        number: u64,
        (header, limit): (Option<&SegmentHeader>, u64),
        visit: &mut dyn FnMut(Found<'_>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let path = segment_path(&self.folder, number);
        let bytes = self.read(&path, limit.min(SEGMENT_BYTES_MAX))?;
        visit(Found::Segment {
            path: &path,
            bytes: bytes.len() as u64,
        })?;
        let damage = |offset: u64, what: String| {
            Found::Damage(Damage {
                file: path.clone(),
                offset,
                what,
            })
        };
        let Some(header) = header else {
            // Zeros alone at the end of the log: its first write was torn, so nothing in it was acknowledged.
            let unborn = limit == u64::MAX && bytes.iter().all(|byte| *byte == 0);
            if !unborn {
                let what = "the segment has no header of this store; all of it is lost";
                visit(damage(0, what.to_owned()))?;
            }
            return visit(Found::End(None));
        };
        let mut decoders = HashMap::new();
        let mut positions: Option<(u64, u64)> = None;
        let mut scanner = Scanner::new(&bytes, header.salt);
        for scanned in &mut scanner {
            let (offset, kind, position, body) = match scanned {
                Scanned::Hole { offset, bytes } => {
                    let what = format!("{bytes} bytes are no record; what stood there is lost");
                    visit(damage(offset, what))?;
                    continue;
                }
                Scanned::Record {
                    offset,
                    kind,
                    position,
                    body,
                } => (offset, kind, position, body),
            };
            let (first, last) = positions.unwrap_or((position, position));
            positions = Some((first.min(position), last.max(position)));
            if let Err(what) = decoded(kind, position, body, &mut decoders, visit)? {
                visit(damage(offset, what))?;
            }
        }
        let end = scanner.end();
        if limit == u64::MAX {
            visit(Found::Torn(scanner.trailing_bytes()))?;
        } else if end < limit {
            let lost = limit - end;
            let what = format!("{lost} bytes are no record; what stood there is lost");
            visit(damage(end, what))?;
        }
        visit(Found::End(positions))
    }
}

/// Decodes a record and hands it out; the inner error is damage.
fn decoded(
    kind: u8,
    position: u64,
    body: &[u8],
    decoders: &mut HashMap<LogSource, BatchDecoder>,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), OpenError>,
) -> Result<Result<(), String>, OpenError> {
    let record = match record::read(kind, body) {
        Ok(Some(record)) => record,
        Ok(None) => {
            return Ok(Err(format!(
                "a record of kind {kind}, which this version does not know, is left out"
            )));
        }
        Err(error) => return Ok(Err(format!("a record's {error} is wrong"))),
    };
    match record {
        Record::Batch {
            source,
            number,
            taken,
            body,
        } => {
            let decoder = decoders.entry(source.clone()).or_default();
            match decoder.decode(number, Arc::from(body)) {
                Ok(batch) => visit(Found::Batch {
                    source: &source,
                    position,
                    taken,
                    batch: &Arc::new(batch),
                })?,
                Err(error) => {
                    return Ok(Err(format!(
                        "batch {number} of {} in epoch {} is lost: {error}",
                        source.agent, source.epoch
                    )));
                }
            }
        }
        Record::Base { source, row } => {
            let row = match decode_key_row(row) {
                Ok(row) => row,
                Err(error) => return Ok(Err(format!("a base row is unreadable: {error}"))),
            };
            let decoder = decoders.entry(source).or_default();
            if let Err(error) = decoder.install_base(Arc::new(row)) {
                return Ok(Err(format!("a base row is not one: {error}")));
            }
            visit(Found::Other)?;
        }
        Record::Definition(definition) => visit(Found::Definition(definition))?,
        Record::Settle { .. } | Record::Starts { .. } | Record::Numbers { .. } => {
            visit(Found::Other)?;
        }
    }
    Ok(Ok(()))
}
