//! Remote write: what Prometheus and others send by HTTP, versions 1.0 and 2.0, on its way into the store.
//!
//! 1. [`RemoteWrite::read`] decompresses a body, walks it once, and gives each series its slot ([`book`]). It is pure work for a processor, and
//!    bounded: 32 MiB decompressed, 100,000 series, 500,000 samples.
//! 2. [`RemoteWrite::write`] hands definitions and batches to the store as an agent of its own ([`REMOTE_WRITE_ID`]) and waits until they are
//!    durable. Batches are of samples in columns (`rows`, FORMAT.md), sorted by slot; numbers are of an epoch that begins with the process.
//!
//! # Invariants
//! - A request is answered after its samples are durable. Good samples of a request are stored whatever its bad ones are.
//! - A slot is defined before any batch that uses it is appended: both happen under one lock, whatever the number of requests at once.
//! - Sending a request again does no harm: the first sample at a time stands.
//!
//! Never here: HTTP, status codes; `api` has them.

mod book;
mod histogram;
mod lone_sample;
mod metrics;
mod protobuf;
mod request;

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::SharedClock;
use model::Value;
use rows::{
    AgentId, Batch, BatchNumber, Epoch, MetricMetadata, SampleContents, SeriesExemplar,
    SeriesSample, encode_samples,
};
use runtime::{Permits, Timer};
use storage::{Announced, AppendOutcome, Appender, Lane, RefusalReason, Refusals, Source};
use telemetry::Registry;
use tokio::sync::oneshot;

use self::book::{Book, Numbers, Target, WrongGuess};
use self::metrics::Metrics;
use self::request::Request;

/// The id under which samples of remote write stand in the log; no agent may join with it.
pub const REMOTE_WRITE_ID: &str = "promontory-remote-write";

/// Samples of a batch; a larger request makes several.
const BATCH_SAMPLES_MAX: usize = 16_384;
/// Requests at once between their decoding and their answer; more wait.
const REQUESTS_MAX: u32 = 32;
/// How long a request waits for room in the store's intake.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first and the longest pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// Buffers for decompressed bodies that are kept for the next requests, and the largest that is.
const BUFFERS_KEPT: usize = 8;
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Which message a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Remote write 1.0: `prometheus.WriteRequest`.
    #[default]
    V1,
    /// Remote write 2.0: `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// Returns the message's full name.
    pub const fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// Why nothing of a request is known to be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The body is no block of snappy's: the sender must drop it.
    #[error("cannot decompress the body as a snappy block: {0}")]
    Compression(String),
    /// The body is too large, decompressed.
    #[error(
        "the body has {bytes} bytes decompressed, at most {limit} are taken; send fewer samples at once"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is taken.
        limit: usize,
    },
    /// The bytes are not the message.
    #[error("cannot decode the body as {message}: {what}")]
    Malformed {
        /// The message's name.
        message: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// There is more of something than is taken.
    #[error("the request has more than {limit} {what}; send less at once")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much is taken.
        limit: usize,
    },
    /// The store's intake is full: send it again after a pause.
    #[error("the store's intake is full; send the request again later")]
    Busy,
    /// What was sent is not, or not all, durable: send it again.
    #[error("{0}")]
    NotDurable(String),
}

/// What was stored of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// What became of a request whose good samples are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// What was stored.
    pub written: Written,
    /// What was wrong with series and samples of the request; their like will be refused again.
    pub rejections: Rejections,
    /// What the store refused, by reason.
    pub refused: Refusals,
    /// The first series that the store refused a sample of.
    pub first_refused: Option<(RefusalReason, String)>,
}

/// Series and samples that are not what the protocol says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Series left out as a whole.
    pub series: u64,
    /// Samples left out, those of these series included.
    pub samples: u64,
    /// What is wrong with the first.
    pub first: Option<String>,
}

impl Rejections {
    fn series(&mut self, samples: u64, why: impl FnOnce() -> String) {
        self.series += 1;
        self.samples += samples;
        self.first.get_or_insert_with(why);
    }

    fn sample(&mut self, why: impl FnOnce() -> String) {
        self.samples += 1;
        self.first.get_or_insert_with(why);
    }
}

/// Takes requests into the store. Cloning shares it.
#[derive(Clone)]
pub struct RemoteWrite(Arc<Receiver>);

struct Receiver {
    store: Arc<dyn Appender>,
    source: Source,
    clock: SharedClock,
    timer: Timer,
    permits: Permits,
    book: Mutex<Book>,
    numbers: Arc<Mutex<Numbers>>,
    buffers: Mutex<Vec<Vec<u8>>>,
    metrics: Metrics,
}

/// A request that was read: its samples have their slots.
#[derive(Debug)]
pub struct Readied {
    announced: Announced,
    request: Request,
    targets: Vec<Option<Target>>,
    samples: Vec<SeriesSample>,
    exemplars: Vec<SeriesExemplar>,
    metadata: Vec<MetricMetadata>,
}

/// Samples that go to the store together, encoded.
struct Part {
    bytes: Arc<[u8]>,
    samples: Vec<SeriesSample>,
    exemplars: Vec<SeriesExemplar>,
    metadata: Vec<MetricMetadata>,
}

impl RemoteWrite {
    /// Returns a receiver that numbers its batches within `epoch`, which no run before has had.
    ///
    /// # Panics
    /// Never: the id is one.
    pub fn new(
        store: Arc<dyn Appender>,
        epoch: Epoch,
        clock: SharedClock,
        registry: &Registry,
        metrics: crate::Metrics,
    ) -> Self {
        let agent: AgentId = REMOTE_WRITE_ID.parse().expect("the id is well formed");
        Self(Arc::new(Receiver {
            store,
            source: Source {
                agent,
                epoch,
                lane: Lane::Live,
            },
            timer: Timer::new(Arc::clone(&clock)),
            permits: Permits::new("remote writes", REQUESTS_MAX),
            book: Mutex::new(Book::new(clock.monotonic())),
            numbers: Arc::default(),
            clock,
            buffers: Mutex::default(),
            metrics: Metrics::register(registry, metrics),
        }))
    }

    /// Decompresses and decodes a body and finds the slots of its series; takes some hundred ns a sample.
    pub fn read(&self, body: &[u8], protocol: Protocol) -> Result<Readied, WriteError> {
        let receiver = &*self.0;
        let announced = receiver.store.announce();
        let buffer = lock(&receiver.buffers).pop().unwrap_or_default();
        let mut request = Request::read(body, protocol, buffer)?;
        receiver.metrics.received(body.len(), request.body_bytes());
        let (targets, mut book) = loop {
            let mut book = receiver.book();
            match book.resolve(&mut request, receiver.clock.monotonic()) {
                Ok(targets) => break (targets, book),
                Err(WrongGuess) => drop(book),
            }
            request.walk_all()?;
        };
        let mut metadata = std::mem::take(&mut request.metadata);
        book.keep_new(&mut metadata);
        receiver.metrics.series(book.len());
        drop(book);
        let samples = placed(&mut request, &targets);
        let exemplars = std::mem::take(&mut request.exemplars)
            .into_iter()
            .filter_map(|one| {
                let Target { cohort, slot } = targets[one.series]?;
                let exemplar = one.exemplar;
                Some(SeriesExemplar {
                    cohort,
                    slot,
                    exemplar,
                })
            })
            .collect();
        Ok(Readied {
            announced,
            request,
            targets,
            samples,
            exemplars,
            metadata,
        })
    }

    /// Stores what was read, and returns when it is durable. Dropping the future leaves what the store has taken already.
    pub async fn write(&self, readied: Readied) -> Result<WriteOutcome, WriteError> {
        let receiver = &*self.0;
        let Readied {
            announced,
            mut request,
            targets,
            samples,
            exemplars,
            metadata,
        } = readied;
        let mut outcome = WriteOutcome {
            written: written_of(&samples, &exemplars),
            ..WriteOutcome::default()
        };
        let described = !metadata.is_empty();
        let parts = parts(samples, exemplars, metadata, &mut request.rejections);
        let stored = receiver.store(parts, announced).await;
        if stored.is_err() && described {
            receiver.book().forget_metadata();
        }
        outcome.refused = stored?;
        receiver.note_refusals(&mut outcome, &request, &targets)?;
        outcome.rejections = std::mem::take(&mut request.rejections);
        let rejected = outcome.rejections.samples;
        receiver
            .metrics
            .written(&outcome.written, &outcome.refused, rejected);
        receiver.keep_buffer(request.into_buffer());
        Ok(outcome)
    }
}

impl Receiver {
    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Brings all parts to the store, and waits for their fate.
    async fn store(&self, parts: Vec<Part>, announced: Announced) -> Result<Refusals, WriteError> {
        let mut refused = Refusals::default();
        if parts.is_empty() {
            return Ok(refused);
        }
        let mut announced = Some(announced);
        let mut waiting = pin!(tokio::time::timeout(PATIENCE, self.permits.acquire(1)));
        let permit = poll_fn(|cx| {
            let permit = waiting.as_mut().poll(cx);
            // The store is not to wait for who waits.
            announced.take_if(|_| permit.is_pending());
            permit
        });
        let _permit = permit.await.map_err(|_| self.busy())?;
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            answers.push(self.append(part, &mut announced).await?);
        }
        drop(announced);
        let mut failed = None;
        for answer in answers {
            match answer.await {
                Ok(AppendOutcome::Stored(of_part)) => refused.merge(&of_part),
                Ok(AppendOutcome::Failed(why)) => failed = Some(why),
                // Its number was durable: an attempt before, that was said to have failed, was none. These samples are not stored.
                Ok(AppendOutcome::Duplicate) => {
                    failed = Some("the log had failed; send the request again".to_owned());
                }
                Err(_) => failed = Some("the store is closing".to_owned()),
            }
        }
        failed.map_or(Ok(refused), |why| Err(WriteError::NotDurable(why)))
    }

    /// Appends a part, after all definitions that wait; tries for a while when intake is full.
    async fn append(
        &self,
        part: Part,
        announced: &mut Option<Announced>,
    ) -> Result<oneshot::Receiver<AppendOutcome>, WriteError> {
        let give_up = self.clock.monotonic() + PATIENCE;
        let mut pause = PAUSE_MIN;
        let unused = Unused {
            numbers: &self.numbers,
            number: Some(lock(&self.numbers).take()),
        };
        let Some(number) = unused.number else {
            return Err(self.busy());
        };
        let batch = Arc::new(Batch {
            number,
            bytes: part.bytes,
            rows: Vec::new(),
            samples: part.samples,
            exemplars: part.exemplars,
            metadata: part.metadata,
        });
        loop {
            let (said, answer) = oneshot::channel();
            if self.offer(&batch, said) {
                unused.used();
                return Ok(answer);
            }
            if self.clock.monotonic() >= give_up {
                return Err(self.busy());
            }
            *announced = None;
            self.timer.sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn offer(&self, batch: &Arc<Batch>, said: oneshot::Sender<AppendOutcome>) -> bool {
        let mut book = self.book();
        if book.hand_over(&*self.store, &self.source).is_err() {
            return false;
        }
        let (numbers, number) = (Arc::clone(&self.numbers), batch.number);
        let done = Box::new(move |outcome| {
            if matches!(outcome, AppendOutcome::Failed(_)) {
                lock(&numbers).give_back(number);
            }
            // Nobody waits any more when the client went away.
            drop(said.send(outcome));
        });
        self.store
            .append(&self.source, Arc::clone(batch), done)
            .is_ok()
    }

    #[cold]
    fn busy(&self) -> WriteError {
        self.metrics.busy();
        WriteError::Busy
    }

    /// Names the first series that was refused, sees to it that refused slots are tried again, and takes refused samples off what was written.
    fn note_refusals(
        &self,
        outcome: &mut WriteOutcome,
        request: &Request,
        targets: &[Option<Target>],
    ) -> Result<(), WriteError> {
        let total = outcome.refused.total();
        let Some((cohort, slot, reason)) = outcome.refused.first_sample() else {
            return Ok(());
        };
        if outcome
            .refused
            .iter()
            .any(|(reason, _)| reason == RefusalReason::Undefined)
        {
            // The store has forgotten a cohort: all are defined anew.
            self.book().forget();
            let why = "series were unknown to the store; send the request again".to_owned();
            return Err(WriteError::NotDurable(why));
        }
        if !matches!(reason, RefusalReason::TooOld | RefusalReason::TooNew) {
            self.book().refused(cohort, self.clock.monotonic());
        }
        let floats = total.min(outcome.written.samples);
        outcome.written.samples -= floats;
        outcome.written.histograms = outcome.written.histograms.saturating_sub(total - floats);
        let at = targets
            .iter()
            .position(|target| *target == Some(Target { cohort, slot }));
        let name = at.map_or_else(String::new, |at| request.name_of(&request.series[at]));
        outcome.first_refused = Some((reason, name));
        Ok(())
    }

    fn keep_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffers.len() < BUFFERS_KEPT && buffer.capacity() <= BUFFER_BYTES_KEPT {
            buffers.push(buffer);
        }
    }
}

/// A number that goes back when it is not used, whatever happens meanwhile.
struct Unused<'a> {
    numbers: &'a Mutex<Numbers>,
    number: Option<BatchNumber>,
}

impl Unused<'_> {
    fn used(mut self) {
        self.number = None;
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(self.numbers).give_back(number);
        }
    }
}

/// Returns the samples with their slots, in the order of these; those of series that are refused are left out.
fn placed(request: &mut Request, targets: &[Option<Target>]) -> Vec<SeriesSample> {
    let mut samples = std::mem::take(&mut request.samples);
    let mut order: Vec<(Target, u32)> = Vec::with_capacity(targets.len());
    let mut sorted = true;
    for (index, target) in (0_u32..).zip(targets) {
        let Some(target) = target else {
            sorted = false;
            continue;
        };
        sorted &= order.last().is_none_or(|(last, _)| last <= target);
        order.push((*target, index));
        let range = &request.series[index as usize].samples;
        for sample in &mut samples[range.start as usize..range.end as usize] {
            sample.cohort = target.cohort;
            sample.slot = target.slot;
        }
    }
    if sorted {
        return samples;
    }
    order.sort_unstable();
    let mut out = Vec::with_capacity(samples.len());
    for (_, index) in order {
        let range = &request.series[index as usize].samples;
        out.extend_from_slice(&samples[range.start as usize..range.end as usize]);
    }
    out
}

fn written_of(samples: &[SeriesSample], exemplars: &[SeriesExemplar]) -> Written {
    let histograms = samples
        .iter()
        .filter(|sample| matches!(sample.value, Value::Histogram(_)))
        .count() as u64;
    Written {
        samples: samples.len() as u64 - histograms,
        histograms,
        exemplars: exemplars.len() as u64,
    }
}

/// Cuts a request into batches that the store takes.
fn parts(
    mut samples: Vec<SeriesSample>,
    exemplars: Vec<SeriesExemplar>,
    metadata: Vec<MetricMetadata>,
    rejections: &mut Rejections,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = Vec::new();
    while samples.len() > BATCH_SAMPLES_MAX {
        let tail = samples.split_off(BATCH_SAMPLES_MAX);
        rest.push(std::mem::replace(&mut samples, tail));
    }
    rest.push(samples);
    let (mut exemplars, mut metadata) = (exemplars, metadata);
    let last = rest.len() - 1;
    for (index, samples) in rest.into_iter().enumerate() {
        // Exemplars stand behind the samples of their series.
        let with = if index == last {
            (
                std::mem::take(&mut exemplars),
                std::mem::take(&mut metadata),
            )
        } else {
            (Vec::new(), Vec::new())
        };
        encode(samples, with, rejections, &mut parts);
    }
    parts
}

/// Encodes what goes together, in several parts when it is too heavy for one.
fn encode(
    mut samples: Vec<SeriesSample>,
    (mut exemplars, mut metadata): (Vec<SeriesExemplar>, Vec<MetricMetadata>),
    rejections: &mut Rejections,
    out: &mut Vec<Part>,
) {
    if samples.is_empty() && exemplars.is_empty() && metadata.is_empty() {
        return;
    }
    let contents = SampleContents {
        samples: &samples,
        exemplars: &exemplars,
        metadata: &metadata,
    };
    let error = match encode_samples(&contents) {
        Ok(bytes) => {
            out.push(Part {
                bytes,
                samples,
                exemplars,
                metadata,
            });
            return;
        }
        Err(error) => error,
    };
    let kinds = [
        samples.is_empty(),
        exemplars.is_empty(),
        metadata.is_empty(),
    ];
    if kinds.iter().filter(|empty| !**empty).count() > 1 {
        // Each kind on its own first.
        encode(samples, (Vec::new(), Vec::new()), rejections, out);
        encode(Vec::new(), (exemplars, Vec::new()), rejections, out);
        encode(Vec::new(), (Vec::new(), metadata), rejections, out);
    } else if samples.len().max(exemplars.len()).max(metadata.len()) > 1 {
        let tails = (
            exemplars.split_off(exemplars.len() / 2),
            metadata.split_off(metadata.len() / 2),
        );
        let tail = samples.split_off(samples.len() / 2);
        encode(samples, (exemplars, metadata), rejections, out);
        encode(tail, tails, rejections, out);
    } else {
        rejections.sample(|| error.to_string());
    }
}

impl fmt::Debug for RemoteWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteWrite")
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is held is a list of buffers, or maps whose every change leaves them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
