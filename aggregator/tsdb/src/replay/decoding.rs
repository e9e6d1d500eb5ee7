//! Reading and decoding the log on several threads, for one that takes it in order.
//!
//! A **reader** thread goes through the segments, checks the records and hands batches, bases and definitions to the **decoders**: batches
//! and bases of one source always to the same one, for they lean on each other. It tells the taker, in order, what comes next and from whom. All of it goes in
//! groups: waking a thread for each batch took a third of replay. Everything between
//! them is bounded, and nobody waits for one behind: the reader waits for decoders and taker, decoders for the taker, and what the taker
//! is told of has gone to the decoders before.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use files::{Open, SharedFileSystem};
use model::TimeRange;
use rows::{Batch, BatchDecoder, BatchNumber, decode_key_row};

use crate::record::{self, Definition, LogSource, Record};
use crate::segment::{RECORDS_START, Scanned, Scanner};
use crate::tsdb::OpenError;

/// A group of records ends when it has so many, or so many bytes.
const GROUP_RECORDS: usize = 64;
const GROUP_BYTES: usize = 32 << 10;
/// Groups that may wait for a decoder, and decoded ones for the taker.
const WAITING_PER_DECODER: usize = 2;
/// What the taker may be behind the reader, in groups.
const TOLD_AHEAD: usize = 16;
/// More decoders than this would wait for the taker.
const DECODERS_MAX: usize = 4;

/// A segment to be read.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    pub(super) first_position: u64,
    /// The length of its file.
    pub(super) bytes: u64,
    /// Bytes that count; `u64::MAX`: all.
    pub(super) limit: u64,
}

/// What comes next in the log.
pub(super) enum Told {
    /// Bytes that are no record.
    Hole { offset: u64, bytes: u64 },
    /// A record, as it stands, of a kind that needs no decoding.
    Plain {
        offset: u64,
        kind: u8,
        position: u64,
        body: Part,
    },
    /// A batch, a base or a definition: what became of it comes from this decoder.
    Decoded {
        offset: u64,
        position: u64,
        decoder: usize,
    },
    /// A segment is over.
    End { scan_end: u64, torn_bytes: u64 },
    /// A segment cannot be read.
    Failed(OpenError),
}

/// A part of a segment.
pub(super) struct Part {
    segment: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.segment[self.range.clone()]
    }
}

/// A batch, decoded.
pub(super) struct DecodedBatch {
    pub(super) source: LogSource,
    pub(super) taken: TimeRange,
    pub(super) batch: Arc<Batch>,
    /// Its length in the log.
    pub(super) bytes: usize,
}

/// What became of a record.
pub(super) enum Decoded {
    /// A base, kept for batches to come.
    Base,
    Batch(DecodedBatch),
    Definition(Definition),
}

/// What became of a record, or why it is lost.
pub(super) type Decoding = Result<Decoded, String>;

/// What the taker takes.
pub(super) struct Taking {
    told: Incoming<Told>,
    decoded: Vec<Incoming<Decoding>>,
}

impl Taking {
    /// Returns what comes next in the log; `None` when the reader has ended.
    pub(super) fn next(&mut self) -> Option<Told> {
        self.told.next()
    }

    /// Returns what this decoder made of the next of its records; `None` when it has ended.
    pub(super) fn decoded(&mut self, decoder: usize) -> Option<Decoding> {
        self.decoded[decoder].next()
    }
}

/// What comes in groups, taken singly.
struct Incoming<T> {
    groups: Receiver<Vec<T>>,
    group: VecDeque<T>,
}

impl<T> Incoming<T> {
    fn new(groups: Receiver<Vec<T>>) -> Self {
        Self {
            groups,
            group: VecDeque::new(),
        }
    }

    fn next(&mut self) -> Option<T> {
        while self.group.is_empty() {
            self.group = self.groups.recv().ok()?.into();
        }
        self.group.pop_front()
    }
}

enum Job {
    /// Bases of the segment before do not count.
    NewSegment,
    Record {
        kind: u8,
        body: Part,
    },
}

/// Returns how many decoders this machine is best served with.
pub(super) fn decoders() -> usize {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    cores.clamp(1, DECODERS_MAX)
}

/// Runs `take` on this thread with the contents of `segments`, in order; whatever it leaves is dropped.
pub(super) fn read_and_decode<T>(
    files: &SharedFileSystem,
    segments: &[Planned],
    size_max: u64,
    decoders: usize,
    take: impl FnOnce(Taking) -> T,
) -> T {
    thread::scope(|scope| {
        let (tell, told) = sync_channel(TOLD_AHEAD);
        let mut jobs = Vec::with_capacity(decoders);
        let mut decoded = Vec::with_capacity(decoders);
        for _ in 0..decoders {
            let (give, job) = sync_channel(WAITING_PER_DECODER);
            let (done, outcome) = sync_channel(WAITING_PER_DECODER);
            scope.spawn(move || decode_all(&job, &done));
            jobs.push((give, Vec::new()));
            decoded.push(Incoming::new(outcome));
        }
        let reader = Reader {
            files,
            size_max,
            tell: (tell, Vec::new()),
            jobs,
            group_bytes: 0,
        };
        scope.spawn(move || reader.read_all(segments));
        let told = Incoming::new(told);
        take(Taking { told, decoded })
    })
}

struct Reader<'a> {
    files: &'a SharedFileSystem,
    size_max: u64,
    /// Where what is told goes, and each decoder's work; with what is gathered of the group.
    tell: (SyncSender<Vec<Told>>, Vec<Told>),
    jobs: Vec<(SyncSender<Vec<Job>>, Vec<Job>)>,
    group_bytes: usize,
}

/// The taker is gone: there is nobody to read for.
struct Gone;

impl Reader<'_> {
    fn read_all(mut self, segments: &[Planned]) {
        for segment in segments {
            let went_on = match self.read(segment) {
                Ok(bytes) => self.segment(segment, bytes),
                Err(error) => self.tell(Told::Failed(error)),
            };
            if went_on.and_then(|()| self.flush()).is_err() {
                return;
            }
        }
    }

    fn read(&self, segment: &Planned) -> Result<Vec<u8>, OpenError> {
        let failed = || OpenError::io("read log segment", &segment.path);
        let file = self.files.open(&segment.path, Open::read());
        let file = file.map_err(failed())?;
        let max = segment.limit.min(self.size_max);
        let bytes = file.len().map_err(failed())?.min(max);
        let mut out = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut out).map_err(failed())?;
        out.truncate(read);
        Ok(out)
    }

    fn segment(&mut self, segment: &Planned, bytes: Vec<u8>) -> Result<(), Gone> {
        let bytes = Arc::new(bytes);
        for (_, jobs) in &mut self.jobs {
            jobs.push(Job::NewSegment);
        }
        let mut scanner = Scanner::new(&bytes, segment.salt);
        for scanned in &mut scanner {
            match scanned {
                Scanned::Hole { offset, bytes } => self.tell(Told::Hole { offset, bytes })?,
                Scanned::Record {
                    offset,
                    kind,
                    position,
                    body,
                } => {
                    let start = body.as_ptr().addr() - bytes.as_ptr().addr();
                    let body = Part {
                        segment: Arc::clone(&bytes),
                        range: start..start + body.len(),
                    };
                    self.record(offset, kind, position, body)?;
                }
            }
        }
        self.tell(Told::End {
            scan_end: scanner.end().max(RECORDS_START as u64),
            torn_bytes: scanner.trailing_bytes(),
        })
    }

    fn record(&mut self, offset: u64, kind: u8, position: u64, body: Part) -> Result<(), Gone> {
        self.group_bytes += body.range.len();
        let decoders = self.jobs.len() as u64;
        let decoder = match kind {
            record::BATCH | record::BASE => match record::read(kind, body.bytes()) {
                Ok(Some(Record::Batch { source, .. } | Record::Base { source, .. })) => {
                    let mut hasher = DefaultHasher::new();
                    source.hash(&mut hasher);
                    Some(hasher.finish() % decoders)
                }
                // The taker meets the same error.
                _ => None,
            },
            // They lean on nothing. Records begin at multiples of 8.
            record::DEFINITION => Some((offset >> 5) % decoders),
            _ => None,
        };
        let Some(decoder) = decoder else {
            return self.tell(Told::Plain {
                offset,
                kind,
                position,
                body,
            });
        };
        let decoder = usize::try_from(decoder).unwrap_or(0);
        self.jobs[decoder].1.push(Job::Record { kind, body });
        self.tell(Told::Decoded {
            offset,
            position,
            decoder,
        })
    }

    fn tell(&mut self, what: Told) -> Result<(), Gone> {
        let (_, told) = &mut self.tell;
        told.push(what);
        if told.len() >= GROUP_RECORDS || self.group_bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends off the group, first to the decoders.
    fn flush(&mut self) -> Result<(), Gone> {
        self.group_bytes = 0;
        for (decoder, jobs) in &mut self.jobs {
            if !jobs.is_empty() {
                decoder.send(mem::take(jobs)).map_err(|_| Gone)?;
            }
        }
        let (taker, told) = &mut self.tell;
        taker.send(mem::take(told)).map_err(|_| Gone)
    }
}

fn decode_all(jobs: &Receiver<Vec<Job>>, done: &SyncSender<Vec<Decoding>>) {
    let mut decoders: HashMap<LogSource, BatchDecoder> = HashMap::new();
    for group in jobs {
        let mut decoded = Vec::with_capacity(group.len());
        for job in group {
            match job {
                Job::NewSegment => decoders.clear(),
                Job::Record { kind, body } => {
                    decoded.push(decode(kind, body.bytes(), &mut decoders));
                }
            }
        }
        // The taker asks this decoder when it was told of a record: of nothing it would never ask, and this would wait for ever.
        if !decoded.is_empty() && done.send(decoded).is_err() {
            return;
        }
    }
}

fn decode(kind: u8, body: &[u8], decoders: &mut HashMap<LogSource, BatchDecoder>) -> Decoding {
    match record::read(kind, body) {
        Ok(Some(Record::Base { source, row })) => {
            let row = decode_key_row(row)
                .map_err(|error| format!("a base row is unreadable: {error}"))?;
            let decoder = decoders.entry(source).or_default();
            decoder
                .install_base(Arc::new(row))
                .map_err(|error| format!("a base row is not one: {error}"))?;
            Ok(Decoded::Base)
        }
        Ok(Some(Record::Batch {
            source,
            number,
            taken,
            body,
        })) => {
            let decoder = decoders.entry(source.clone()).or_default();
            let batch = decoder
                .decode(number, Arc::from(body))
                .map_err(|error| lost(&source, number, &error))?;
            Ok(Decoded::Batch(DecodedBatch {
                source,
                taken,
                batch: Arc::new(batch),
                bytes: body.len(),
            }))
        }
        Ok(Some(Record::Definition(definition))) => Ok(Decoded::Definition(definition)),
        Ok(_) => Err(format!("a record of kind {kind} is none that is decoded")),
        Err(error) => Err(format!("a record's {error} is wrong")),
    }
}

fn lost(source: &LogSource, number: BatchNumber, error: &rows::DecodeError) -> String {
    let LogSource { agent, epoch, .. } = source;
    format!("batch {number} of {agent} in epoch {epoch} is lost: {error}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use files::{FileSystem as _, Simulated};
    use model::TimestampMs;
    use rows::Epoch;
    use storage::Lane;

    use super::*;
    use crate::segment::put_record;

    /// The disk with segments of one batch each, of one source: whatever their number, most decoders have nothing to do.
    fn segments(number: u64) -> (SharedFileSystem, Vec<Planned>) {
        let disk = Simulated::new();
        let folder = Path::new("/log");
        disk.create_folders(folder).unwrap();
        let source = LogSource {
            agent: "node-1".parse().unwrap(),
            epoch: Epoch(1),
            lane: Lane::Live,
        };
        let planned = (0..number).map(|number| {
            let mut bytes = vec![0; RECORDS_START];
            put_record(&mut bytes, 0, 7, record::BATCH, number, |out| {
                let taken = TimeRange::new(TimestampMs(0), TimestampMs(1));
                record::put_batch(out, &source, BatchNumber(number), taken, b"no batch");
            });
            let path = folder.join(number.to_string());
            let file = disk.open(&path, Open::create_new()).unwrap();
            file.write_at(0, &bytes).unwrap();
            Planned {
                number,
                path,
                salt: 7,
                first_position: number,
                bytes: bytes.len() as u64,
                limit: u64::MAX,
            }
        });
        let planned = planned.collect();
        (Arc::new(disk), planned)
    }

    #[test]
    fn decoders_without_work_hold_nobody_up() {
        for decoders in 1..=DECODERS_MAX {
            let (tell, told) = sync_channel(1);
            thread::spawn(move || {
                let (files, planned) = segments(40);
                let (mut ends, mut batches) = (0, 0);
                read_and_decode(&files, &planned, 1 << 20, decoders, |mut taking| {
                    while let Some(told) = taking.next() {
                        match told {
                            Told::End { .. } => ends += 1,
                            Told::Decoded { decoder, .. } => {
                                assert!(taking.decoded(decoder).unwrap().is_err());
                                batches += 1;
                            }
                            _ => panic!("a segment has a batch and an end"),
                        }
                    }
                });
                tell.send((ends, batches)).unwrap();
            });
            let found = told.recv_timeout(Duration::from_secs(20));
            assert_eq!(found, Ok((40, 40)), "{decoders} decoders");
        }
    }
}
