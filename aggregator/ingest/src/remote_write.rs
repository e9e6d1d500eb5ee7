//! Remote write: what Prometheus and others send by HTTP, versions 1.0 and 2.0, on its way into the store.
//!
//! 1. [`RemoteWrite::admit`] waits for [`room`] in memory, by the length that the body claims to have decompressed.
//! 2. [`RemoteWrite::read`] decompresses a body, walks it once, gives each series its slot ([`book`]), and encodes batches ([`parts`]). It is
//!    pure work for a processor, and bounded: 32 MiB decompressed, 100,000 series, 500,000 samples, and what is copied ([`allowance`]).
//! 3. [`RemoteWrite::write`] hands definitions and batches to the store as an agent of its own ([`REMOTE_WRITE_ID`]) and waits until they
//!    are durable. Batches are of samples in columns (`rows`, FORMAT.md), sorted by slot; numbers are of an epoch that begins with the process.
//!
//! # Invariants
//! - A request is answered after its samples are durable. Good samples of a request are stored whatever its bad ones are.
//! - Memory is taken after room for it, and what requests hold together is bounded, those that wait for the store included.
//! - A slot is defined before any batch that uses it is appended: both happen under one lock, whatever the number of requests at once.
//! - Sending a request again does no harm: the first sample at a time stands.
//!
//! Never here: HTTP, status codes; `api` has them.

mod allowance;
mod book;
mod described;
mod histogram;
mod lone_sample;
mod metrics;
mod parts;
mod protobuf;
mod request;
mod room;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::{Monotonic, SharedClock};
use rows::{AgentId, Batch, BatchNumber, Epoch, SeriesExemplar, SeriesSample};
use runtime::Timer;
use storage::{Announced, AppendOutcome, Appender, Lane, RefusalReason, Refusals, Source};
use telemetry::Registry;
use tokio::sync::oneshot;

use self::book::{Book, NewMetadata, Numbers, Target, WrongGuess};
use self::described::DescriptionHash;
use self::metrics::Metrics;
use self::parts::Part;
use self::request::{Request, Series};
use self::room::{Place, Room};

/// The id under which samples of remote write stand in the log; no agent may join with it.
pub const REMOTE_WRITE_ID: &str = "promontory-remote-write";

/// How long a request waits for room in memory, and then for room in the store's intake.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first and the longest pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a sample takes between its decoding and the store, beside itself: it stands in a batch and is encoded.
const SAMPLE_BYTES_ON_THE_WAY: usize = size_of::<SeriesSample>() + 16;
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

/// How requests are taken.
#[derive(Clone, Copy, Debug)]
pub struct RemoteWriteConfig {
    /// Batches are numbered within it; no run before has had it.
    pub epoch: Epoch,
    /// Bytes that requests may hold together, decoded and not answered yet; more wait, for 10 s at most, and are then
    /// [`WriteError::Busy`]. A single large one may hold 32 MiB decompressed and 128 MiB beside that.
    pub memory_bytes_max: u64,
}

/// Why not all good samples of a request are stored.
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
    /// There is no room for it in memory, or in the store's intake: send it again after a pause.
    #[error("too much is being written, the intake is full; send the request again later")]
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

/// What became of a request that could be read.
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
    /// Why not all that is good is stored; `None`: it is.
    pub failed: Option<WriteError>,
}

/// Series and samples that are not what the protocol says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections {
    /// Series left out as a whole.
    pub series: u64,
    /// Samples left out, those of these series included.
    pub samples: u64,
    /// Exemplars left out; nobody is told what is wrong with them.
    pub exemplars: u64,
    /// What is wrong with the first series or sample.
    pub first: Option<String>,
}

impl Written {
    /// Adds what a part brought, but for what the store refused of it.
    fn add(&mut self, brought: Self, refused: &Refusals) {
        let samples = refused.samples();
        let histograms = samples.iter().filter(|sample| sample.is_histogram).count() as u64;
        let floats = samples.len() as u64 - histograms;
        self.samples += brought.samples.saturating_sub(floats);
        self.histograms += brought.histograms.saturating_sub(histograms);
        self.exemplars += brought.exemplars.saturating_sub(refused.exemplars());
    }
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
    room: Room,
    is_stopping: AtomicBool,
    book: Mutex<Book>,
    numbers: Arc<Mutex<Numbers>>,
    buffers: Mutex<Vec<Vec<u8>>>,
    metrics: Metrics,
}

/// A body that there is room for.
#[derive(Debug)]
pub struct Admitted<B> {
    body: B,
    decompressed_bytes: usize,
    place: Place,
}

impl<B> Admitted<B> {
    /// Returns the length that the body claims to have decompressed: what reading it costs goes by that.
    pub const fn decompressed_bytes(&self) -> usize {
        self.decompressed_bytes
    }
}

/// A request that was read: its samples have their slots, and are encoded.
#[derive(Debug)]
pub struct Readied {
    announced: Announced,
    request: Request,
    targets: Vec<Option<Target>>,
    parts: Vec<Part>,
    /// Of the metadata in its parts.
    described: Vec<DescriptionHash>,
    place: Place,
}

impl RemoteWrite {
    /// Returns a receiver that brings requests to a store.
    ///
    /// # Panics
    /// Never: the id is one.
    pub fn new(
        store: Arc<dyn Appender>,
        config: RemoteWriteConfig,
        clock: SharedClock,
        registry: &Registry,
        metrics: crate::Metrics,
    ) -> Self {
        let agent: AgentId = REMOTE_WRITE_ID.parse().expect("the id is well formed");
        Self(Arc::new(Receiver {
            store,
            source: Source {
                agent,
                epoch: config.epoch,
                lane: Lane::Live,
            },
            timer: Timer::new(Arc::clone(&clock)),
            room: Room::new(config.memory_bytes_max),
            is_stopping: AtomicBool::new(false),
            book: Mutex::new(Book::new(clock.monotonic())),
            numbers: Arc::default(),
            clock,
            buffers: Mutex::default(),
            metrics: Metrics::register(registry, metrics),
        }))
    }

    /// Waits until there is room for what may become of a body, some seconds at most; it is held until the request is answered.
    pub async fn admit<B: AsRef<[u8]>>(&self, body: B) -> Result<Admitted<B>, WriteError> {
        let receiver = &*self.0;
        if receiver.is_stopping.load(Ordering::Relaxed) {
            let why = "this process is stopping; send the request again later";
            return Err(WriteError::NotDurable(why.to_owned()));
        }
        let decompressed_bytes = request::decompressed_bytes(body.as_ref())?;
        let place = receiver.room.take(decompressed_bytes, PATIENCE).await;
        Ok(Admitted {
            body,
            decompressed_bytes,
            place: place.ok_or_else(|| receiver.busy())?,
        })
    }

    /// Decompresses and decodes a body, finds the slots of its series, and encodes it for the log; takes some hundred ns a sample.
    pub fn read<B: AsRef<[u8]>>(
        &self,
        admitted: Admitted<B>,
        protocol: Protocol,
    ) -> Result<Readied, WriteError> {
        self.0
            .read(admitted.body.as_ref(), protocol, admitted.place)
    }

    /// Stores what was read, and returns when it is durable. Dropping the future leaves what the store has taken already.
    pub async fn write(&self, readied: Readied) -> WriteOutcome {
        let receiver = &*self.0;
        let Readied {
            announced,
            mut request,
            targets,
            parts,
            described,
            place: _place,
        } = readied;
        let mut outcome = receiver.store(parts, announced).await;
        outcome.rejections = std::mem::take(&mut request.rejections);
        // Who goes away before this sends it again, and so it is stored again.
        if outcome.failed.is_none() && !described.is_empty() {
            receiver.book().note_described(&described);
        }
        receiver.note_refusals(&mut outcome, &request, &targets);
        receiver.metrics.written(&outcome);
        receiver.keep_buffer(request.into_buffer());
        outcome
    }

    /// Takes no more requests, and returns when those that were taken are answered by the store.
    pub async fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
        self.0.room.empty().await;
    }
}

impl Receiver {
    fn read(
        &self,
        body: &[u8],
        protocol: Protocol,
        mut place: Place,
    ) -> Result<Readied, WriteError> {
        let announced = self.store.announce();
        let buffer = lock(&self.buffers).pop().unwrap_or_default();
        let mut request = Request::read(body, protocol, buffer)?;
        self.metrics.received(body.len(), request.body_bytes());
        let (targets, book) = loop {
            let mut book = self.book();
            if book.is_full() && book.hand_over(&*self.store, &self.source).is_err() {
                return Err(self.not_taken());
            }
            match book.resolve(&mut request, self.clock.monotonic()) {
                Ok(targets) => break (targets, book),
                Err(WrongGuess) => drop(book),
            }
            request.walk_all()?;
        };
        let NewMetadata { metadata, hashes } = book.new_metadata(&mut request);
        self.metrics.series(book.len());
        drop(book);
        let kept = request.bytes()
            + targets.capacity() * size_of::<Option<Target>>()
            + request.samples.len() * SAMPLE_BYTES_ON_THE_WAY;
        let samples = placed(&mut request, &targets);
        let exemplars = placed_exemplars(&mut request, &targets);
        let parts = parts::cut(samples, exemplars, metadata, &mut request.rejections);
        place.keep(kept);
        Ok(Readied {
            announced,
            request,
            targets,
            parts,
            described: hashes,
            place,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    /// Brings all parts to the store, until it takes no more, and waits for their fate.
    async fn store(&self, parts: Vec<Part>, announced: Announced) -> WriteOutcome {
        let mut outcome = WriteOutcome::default();
        let mut announced = Some(announced);
        let give_up = self.clock.monotonic() + PATIENCE;
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            let brought = part.contents();
            match self.append(part, &mut announced, give_up).await {
                Ok(answer) => answers.push((brought, answer)),
                Err(error) => {
                    outcome.failed = Some(error);
                    break;
                }
            }
        }
        drop(announced);
        for (brought, answer) in answers {
            let why = match answer.await {
                Ok(AppendOutcome::Stored(refused)) => {
                    outcome.written.add(brought, &refused);
                    outcome.refused.merge(&refused);
                    continue;
                }
                Ok(AppendOutcome::Failed(why)) => why,
                // Its number was durable: an attempt before, that was said to have failed, was none. These samples are not stored.
                Ok(AppendOutcome::Duplicate) => {
                    "the log had failed; send the request again".to_owned()
                }
                Err(_) => "the store is closing".to_owned(),
            };
            outcome.failed.get_or_insert(WriteError::NotDurable(why));
        }
        outcome
    }

    /// Appends a part, after all definitions that wait; tries for a while when intake is full, unless the store says that this is not all.
    async fn append(
        &self,
        part: Part,
        announced: &mut Option<Announced>,
        give_up: Monotonic,
    ) -> Result<oneshot::Receiver<AppendOutcome>, WriteError> {
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
            if self.clock.monotonic() >= give_up || self.store.failing().is_some() {
                return Err(self.not_taken());
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

    /// Says why the store does not take a request.
    #[cold]
    fn not_taken(&self) -> WriteError {
        match self.store.failing() {
            Some(why) => WriteError::NotDurable(why),
            None => self.busy(),
        }
    }

    #[cold]
    fn busy(&self) -> WriteError {
        self.metrics.busy();
        WriteError::Busy
    }

    /// Names the first series that was refused, and sees to it that refused slots are tried again.
    fn note_refusals(
        &self,
        outcome: &mut WriteOutcome,
        request: &Request,
        targets: &[Option<Target>],
    ) {
        let refused = outcome.refused.samples();
        let Some(first) = refused.first() else {
            return;
        };
        let is_unknown = |(reason, _)| reason == RefusalReason::Undefined;
        if outcome.refused.iter().any(is_unknown) {
            // The store has forgotten a cohort: all are defined anew.
            self.book().forget();
            let why = "series were unknown to the store; send the request again".to_owned();
            outcome.failed = Some(WriteError::NotDurable(why));
            return;
        }
        self.book().note_refused(refused, self.clock.monotonic());
        let of_first = Some(Target {
            cohort: first.cohort,
            slot: first.slot,
        });
        let at = targets.iter().position(|target| *target == of_first);
        let name = at.map_or_else(String::new, |at| request.name_of(&request.series[at]));
        outcome.first_refused = Some((first.reason, name));
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
    let range_of = |series: &Series| series.samples.start as usize..series.samples.end as usize;
    let (mut last, mut sorted) = (None, true);
    for (series, target) in request.series.iter().zip(targets) {
        let Some(target) = target else {
            sorted &= series.samples.is_empty();
            continue;
        };
        sorted &= last <= Some(*target);
        last = Some(*target);
        for sample in &mut samples[range_of(series)] {
            sample.cohort = target.cohort;
            sample.slot = target.slot;
        }
    }
    if sorted {
        return samples;
    }
    let placed = request.series.iter().zip(targets);
    let mut order: Vec<(Target, &Series)> = placed
        .filter_map(|(series, target)| target.map(|target| (target, series)))
        .collect();
    // Samples of a series that comes twice stay in the order in which they came.
    order.sort_by_key(|(target, _)| *target);
    let mut out = Vec::with_capacity(samples.len());
    for (_, series) in order {
        out.extend_from_slice(&samples[range_of(series)]);
    }
    out
}

/// Returns the exemplars with the slots of their series; counts those of series that are left out.
fn placed_exemplars(request: &mut Request, targets: &[Option<Target>]) -> Vec<SeriesExemplar> {
    let exemplars = std::mem::take(&mut request.exemplars);
    let brought = exemplars.len();
    let placed: Vec<SeriesExemplar> = exemplars
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
    request.rejections.exemplars += (brought - placed.len()) as u64;
    placed
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
