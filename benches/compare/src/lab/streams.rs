//! Hosts as agents' streams of batches, straight into the library: rows are encoded and decoded as on the way over the network.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use benches::{Host, HostSeries};
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

    /// Appends a batch of so many rows of each, waits until all are durable, and returns the number of samples.
    pub(crate) fn append_all(&mut self, store: &Tsdb, rows: usize) -> Result<u64> {
        let (mut samples, mut on_their_way) = (0, 0);
        for stream in &mut self.streams {
            samples += stream.append(store, rows, &self.done)?;
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
    /// Which of the host's series it has.
    kept: Vec<usize>,
    source: Source,
    encoder: BatchEncoder,
    decoder: BatchDecoder,
    rows: u64,
    batches: u64,
}

impl Stream {
    /// Defines those series of a host that are to be kept.
    pub(crate) fn define(
        store: &Tsdb,
        host: Host,
        keep: impl Fn(&HostSeries) -> bool,
    ) -> Result<Self> {
        let source = Source {
            agent: host.name().parse::<AgentId>()?,
            epoch: Epoch(1),
            lane: Lane::Live,
        };
        let all = host.series().iter().enumerate();
        let kept: Vec<usize> = all
            .filter(|(_, series)| keep(series))
            .map(|(slot, _)| slot)
            .collect();
        let series = kept.iter().map(|slot| SeriesDefinition {
            labels: host.series()[*slot].labels.clone(),
            kind: host.series()[*slot].kind,
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
            kept,
            source,
            encoder: BatchEncoder::new(),
            decoder: BatchDecoder::new(),
            rows: 0,
            batches: 0,
        })
    }

    /// Appends the next rows as one batch, and returns how many samples they have.
    fn append(
        &mut self,
        store: &Tsdb,
        rows: usize,
        done: &SyncSender<AppendOutcome>,
    ) -> Result<u64> {
        let rows: Vec<Arc<Row>> = (0..rows).map(|_| Arc::new(self.next_row())).collect();
        let contents = BatchContents {
            rows: &rows,
            ..BatchContents::default()
        };
        let encoded = self.encoder.encode(&contents)?;
        let batch = self
            .decoder
            .decode(BatchNumber(self.batches), encoded.bytes)?;
        let batch = Arc::new(batch);
        patiently(|| {
            let done = done.clone();
            let answer = Box::new(move |outcome| done.send(outcome).unwrap_or_default());
            store
                .append(&self.source, Arc::clone(&batch), answer)
                .is_ok()
        })?;
        self.batches += 1;
        Ok(encoded.samples as u64)
    }

    fn next_row(&mut self) -> Row {
        let mut all = Vec::new();
        let at = self.host.next_row(&mut all);
        let counter = self.rows;
        self.rows += 1;
        Row {
            cohort: CohortId(0),
            counter,
            at,
            presence: Presence::filled(self.kept.len(), true),
            floats: self.kept.iter().map(|slot| all[*slot]).collect(),
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        }
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
