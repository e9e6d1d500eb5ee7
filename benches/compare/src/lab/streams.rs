//! Hosts as agents' streams of batches, straight into the library: rows are encoded and decoded as on the way over the network.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use benches::Host;
use model::TimestampMs;
use rows::{
    AgentId, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortDefinition, CohortId,
    Epoch, Presence, Row, SeriesDefinition,
};
use storage::{AppendOutcome, Appender, Lane, Source};
use tsdb::Tsdb;

use crate::waiting::wait_until;

/// Batches that may wait for their sync.
const ON_THEIR_WAY: usize = 64;

/// Streams that are fed in turn, oldest first.
pub(crate) struct Streams {
    streams: VecDeque<Stream>,
    done: SyncSender<AppendOutcome>,
    answers: Receiver<AppendOutcome>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        let (done, answers) = sync_channel(2 * ON_THEIR_WAY);
        Self {
            streams: VecDeque::new(),
            done,
            answers,
        }
    }

    pub(crate) fn push(&mut self, stream: Stream) {
        self.streams.push_back(stream);
    }

    pub(crate) fn drop_oldest(&mut self, count: usize) {
        self.streams.drain(..count.min(self.streams.len()));
    }

    /// Appends one row of each, waits until all are durable, and returns the number of samples.
    pub(crate) fn append_all(&mut self, store: &Tsdb) -> Result<u64> {
        let (mut samples, mut on_their_way) = (0, 0);
        for stream in &mut self.streams {
            samples += stream.append(store, &self.done)?;
            on_their_way += 1;
            if on_their_way >= ON_THEIR_WAY {
                await_one(&self.answers)?;
                on_their_way -= 1;
            }
        }
        for _ in 0..on_their_way {
            await_one(&self.answers)?;
        }
        Ok(samples)
    }
}

fn await_one(answers: &Receiver<AppendOutcome>) -> Result<()> {
    match answers.recv()? {
        AppendOutcome::Stored(refused) if refused.iter().next().is_none() => Ok(()),
        other => bail!("a batch was not stored whole: {other:?}"),
    }
}

/// One host's stream.
pub(crate) struct Stream {
    host: Host,
    source: Source,
    encoder: BatchEncoder,
    decoder: BatchDecoder,
    counter: u64,
}

impl Stream {
    /// Defines the series of a host.
    pub(crate) fn define(store: &Tsdb, host: Host) -> Result<Self> {
        let source = Source {
            agent: host.name().parse::<AgentId>()?,
            epoch: Epoch(1),
            lane: Lane::Live,
        };
        let series = host.series().iter().map(|series| SeriesDefinition {
            labels: series.labels.clone(),
            kind: series.kind,
        });
        let definition = CohortDefinition {
            cohort: CohortId(0),
            name: Arc::from("all"),
            first_slot: 0,
            series: series.collect(),
        };
        patiently(|| store.define(&source, definition.clone()).is_ok())?;
        Ok(Self {
            host,
            source,
            encoder: BatchEncoder::new(),
            decoder: BatchDecoder::new(),
            counter: 0,
        })
    }

    /// Appends the next row, and returns how many samples it has.
    fn append(&mut self, store: &Tsdb, done: &SyncSender<AppendOutcome>) -> Result<u64> {
        let mut floats = Vec::new();
        let at = self.host.next_row(&mut floats);
        let row = Row {
            cohort: CohortId(0),
            counter: self.counter,
            at,
            presence: Presence::filled(floats.len(), true),
            floats,
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        };
        let contents = BatchContents {
            rows: &[Arc::new(row)],
            ..BatchContents::default()
        };
        let encoded = self.encoder.encode(&contents)?;
        let batch = self
            .decoder
            .decode(BatchNumber(self.counter), encoded.bytes)?;
        let batch = Arc::new(batch);
        patiently(|| {
            let done = done.clone();
            let answer = Box::new(move |outcome| done.send(outcome).unwrap_or_default());
            store
                .append(&self.source, Arc::clone(&batch), answer)
                .is_ok()
        })?;
        self.counter += 1;
        Ok(encoded.samples as u64)
    }
}

/// Offers again what a busy store did not take.
fn patiently(mut offer: impl FnMut() -> bool) -> Result<()> {
    wait_until(
        "the store to take a batch",
        Duration::from_millis(2),
        Duration::from_secs(60),
        || Ok(offer().then_some(())),
    )
}

/// Returns a timestamp as wall time.
pub(crate) fn wall(at: TimestampMs) -> Result<SystemTime> {
    Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0)?))
}
