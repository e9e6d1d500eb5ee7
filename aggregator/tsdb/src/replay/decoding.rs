//! Reading and decoding the log on several threads, for one that takes it in order.
//!
//! A **reader** thread goes through the segments, checks the records and hands batches and bases to the **decoders**: those of one source
//! always to the same one, for they lean on each other. It tells the taker, in order, what comes next and from whom. Everything between
//! them is bounded, and nobody waits for one behind: the reader waits for decoders and taker, decoders for the taker.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use files::{Open, SharedFileSystem};
use model::TimeRange;
use rows::{Batch, BatchDecoder, BatchNumber, decode_key_row};

use crate::record::{self, LogSource, Record};
use crate::segment::{RECORDS_START, Scanned, Scanner};
use crate::tsdb::OpenError;

/// Records that may wait for a decoder, and decoded batches for the taker.
const WAITING_PER_DECODER: usize = 16;
/// What the taker may be behind the reader, in records.
const TOLD_AHEAD: usize = 512;
/// More decoders than this would wait for the taker.
const DECODERS_MAX: usize = 4;

/// A segment to be read.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) salt: u64,
    pub(super) first_position: u64,
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
    /// A batch or a base: what became of it comes from this decoder.
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

/// What became of a batch or base; `None`: a base, kept.
pub(super) type Decoding = Result<Option<DecodedBatch>, String>;

/// What the taker takes.
pub(super) struct Taking {
    pub(super) told: Receiver<Told>,
    pub(super) decoded: Vec<Receiver<Decoding>>,
}

enum Job {
    /// Bases of the segment before do not count.
    NewSegment,
    Record {
        kind: u8,
        body: Part,
    },
}

/// Runs `take` on this thread with the contents of `segments`, in order; whatever it leaves is dropped.
pub(super) fn read_and_decode<T>(
    files: &SharedFileSystem,
    segments: &[Planned],
    size_max: u64,
    take: impl FnOnce(Taking) -> T,
) -> T {
    let decoders = thread::available_parallelism().map_or(1, |cores| cores.get());
    let decoders = decoders.clamp(1, DECODERS_MAX);
    thread::scope(|scope| {
        let (tell, told) = sync_channel(TOLD_AHEAD);
        let mut jobs = Vec::with_capacity(decoders);
        let mut decoded = Vec::with_capacity(decoders);
        for _ in 0..decoders {
            let (give, job) = sync_channel(WAITING_PER_DECODER);
            let (done, outcome) = sync_channel(WAITING_PER_DECODER);
            scope.spawn(move || decode_all(&job, &done));
            jobs.push(give);
            decoded.push(outcome);
        }
        let reader = Reader {
            files,
            size_max,
            tell,
            jobs,
        };
        scope.spawn(move || reader.read_all(segments));
        take(Taking { told, decoded })
    })
}

struct Reader<'a> {
    files: &'a SharedFileSystem,
    size_max: u64,
    tell: SyncSender<Told>,
    jobs: Vec<SyncSender<Job>>,
}

/// The taker is gone: there is nobody to read for.
struct Gone;

impl Reader<'_> {
    fn read_all(self, segments: &[Planned]) {
        for segment in segments {
            let went_on = match self.read(segment) {
                Ok(bytes) => self.segment(segment, bytes),
                Err(error) => self.tell(Told::Failed(error)),
            };
            if went_on.is_err() {
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

    fn segment(&self, segment: &Planned, bytes: Vec<u8>) -> Result<(), Gone> {
        let bytes = Arc::new(bytes);
        for jobs in &self.jobs {
            jobs.send(Job::NewSegment).map_err(|_| Gone)?;
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

    fn record(&self, offset: u64, kind: u8, position: u64, body: Part) -> Result<(), Gone> {
        let source = match kind {
            record::BATCH | record::BASE => match record::read(kind, body.bytes()) {
                Ok(Some(Record::Batch { source, .. } | Record::Base { source, .. })) => {
                    Some(source)
                }
                // The taker meets the same error.
                _ => None,
            },
            _ => None,
        };
        let Some(source) = source else {
            return self.tell(Told::Plain {
                offset,
                kind,
                position,
                body,
            });
        };
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let decoder = usize::try_from(hasher.finish() % self.jobs.len() as u64).unwrap_or(0);
        self.tell(Told::Decoded {
            offset,
            position,
            decoder,
        })?;
        let job = Job::Record { kind, body };
        self.jobs[decoder].send(job).map_err(|_| Gone)
    }

    fn tell(&self, what: Told) -> Result<(), Gone> {
        self.tell.send(what).map_err(|_| Gone)
    }
}

fn decode_all(jobs: &Receiver<Job>, done: &SyncSender<Decoding>) {
    let mut decoders: HashMap<LogSource, BatchDecoder> = HashMap::new();
    for job in jobs {
        match job {
            Job::NewSegment => decoders.clear(),
            Job::Record { kind, body } => {
                if done
                    .send(decode(kind, body.bytes(), &mut decoders))
                    .is_err()
                {
                    return;
                }
            }
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
            Ok(None)
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
            Ok(Some(DecodedBatch {
                source,
                taken,
                batch: Arc::new(batch),
                bytes: body.len(),
            }))
        }
        Ok(_) => Ok(None),
        Err(error) => Err(format!("a record's {error} is wrong")),
    }
}

fn lost(source: &LogSource, number: BatchNumber, error: &rows::DecodeError) -> String {
    let LogSource { agent, epoch, .. } = source;
    format!("batch {number} of {agent} in epoch {epoch} is lost: {error}")
}
