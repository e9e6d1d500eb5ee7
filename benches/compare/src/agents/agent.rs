//! One agent's session.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clock::{Clock as _, SystemClock};
use model::TimestampMs;
use rows::{
    BatchContents, BatchEncoder, BatchNumber, CohortDefinition, CohortId, Epoch, Presence, Row,
    SeriesDefinition,
};
use tokio::time::Instant;
use transport::{Connection, Connector};
use wire::{
    AgentHello, AgentMessage, EpochOffer, StoreMessage, StreamId, encode_message, split_definition,
};

/// Makes the rows of one cohort.
pub(crate) trait RowSource: Send + 'static {
    /// Returns what the cohort's series are, slot by slot.
    fn series(&self) -> Vec<SeriesDefinition>;
    /// Puts the next row into `values`, and returns its time.
    fn next_row(&mut self, values: &mut Vec<f64>) -> TimestampMs;
}

impl RowSource for benches::Host {
    fn series(&self) -> Vec<SeriesDefinition> {
        let series = self.series().iter().map(|series| SeriesDefinition {
            labels: series.labels.clone(),
            kind: series.kind,
        });
        series.collect()
    }

    fn next_row(&mut self, values: &mut Vec<f64>) -> TimestampMs {
        self.next_row(values)
    }
}

/// When batches are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the window has room.
    Unbounded,
    /// One per period, the first after this long.
    Every { period: Duration, first: Duration },
}

/// An open session.
pub(crate) struct Agent {
    connection: Connection,
    epoch: Epoch,
    window: u32,
    encoder: BatchEncoder,
    next: BatchNumber,
    on_their_way: u64,
    source: Box<dyn RowSource>,
    slots: usize,
    next_counter: u64,
    /// The time of the last row that was made.
    pub(crate) last: TimestampMs,
    pub(crate) samples: u64,
    pub(crate) body_bytes: u64,
}

impl Agent {
    /// Opens a session and defines the cohort of `source`.
    pub(crate) async fn open(
        connector: &Connector,
        target: &str,
        name: &str,
        interval: Duration,
        source: Box<dyn RowSource>,
    ) -> Result<Self> {
        let connection = connector.connect(target).await?;
        let epoch = Epoch(fastrand::u64(..));
        let offer = EpochOffer {
            epoch,
            floor: BatchNumber(0),
            next: BatchNumber(0),
        };
        let hello = AgentHello {
            node: name.to_owned(),
            version: "compare".to_owned(),
            epoch,
            predecessor: None,
            interval,
            epochs: vec![offer],
            wall: now(),
        };
        connection
            .send_message(StreamId::Session, &AgentMessage::Hello(hello))
            .await?;
        let window = match connection.receive::<StoreMessage>().await?.1 {
            StoreMessage::Welcome(welcome) => welcome.window_batches,
            other => bail!("the session was not opened: {other:?}"),
        };
        let mut agent = Self {
            connection,
            epoch,
            window,
            encoder: BatchEncoder::new(),
            next: BatchNumber(0),
            on_their_way: 0,
            slots: 0,
            source,
            next_counter: 0,
            last: TimestampMs::default(),
            samples: 0,
            body_bytes: 0,
        };
        agent.define(name).await?;
        Ok(agent)
    }

    async fn define(&mut self, name: &str) -> Result<()> {
        let series = self.source.series();
        self.slots = series.len();
        let whole = CohortDefinition {
            cohort: CohortId(0),
            name: Arc::from(format!("{name}/all")),
            first_slot: 0,
            series,
        };
        for definition in split_definition(whole) {
            let epoch = self.epoch;
            let message = AgentMessage::Define { epoch, definition };
            self.connection
                .send_message(StreamId::Session, &message)
                .await?;
        }
        Ok(())
    }

    /// Makes and sends `batches` batches of `rows` rows each.
    pub(crate) async fn send(&mut self, batches: usize, rows: usize, pace: Pace) -> Result<()> {
        let begin = Instant::now();
        for ordinal in 0..batches {
            if let Pace::Every { period, first } = pace {
                let ordinal = u32::try_from(ordinal)?;
                let due = begin + first + period * ordinal;
                self.settle_until(due).await?;
            }
            let rows: Vec<Arc<Row>> = (0..rows).map(|_| Arc::new(self.make_row())).collect();
            self.send_rows(&rows).await?;
        }
        Ok(())
    }

    /// Sends rows as one batch, once the window has room.
    async fn send_rows(&mut self, rows: &[Arc<Row>]) -> Result<()> {
        while self.on_their_way >= u64::from(self.window) {
            self.receive().await?;
        }
        let contents = BatchContents {
            rows,
            ..BatchContents::default()
        };
        let encoded = self.encoder.encode(&contents)?;
        self.samples += encoded.samples as u64;
        self.body_bytes += encoded.bytes.len() as u64;
        let message = AgentMessage::Batch {
            epoch: self.epoch,
            number: self.next,
            body: encoded.bytes,
        };
        let mut frame = Vec::new();
        encode_message(&message, &mut frame)?;
        self.connection
            .send(StreamId::Session, Bytes::from(frame))
            .await?;
        self.next = self.next.next();
        self.on_their_way += 1;
        Ok(())
    }

    /// Waits until everything sent is durable.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while self.on_their_way > 0 {
            self.receive().await?;
        }
        Ok(())
    }

    /// Takes acknowledgements until then.
    async fn settle_until(&mut self, due: Instant) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => return Ok(()),
                received = self.connection.receive::<StoreMessage>() => self.take(received?.1)?,
            }
        }
    }

    async fn receive(&mut self) -> Result<()> {
        let (_, message) = self.connection.receive::<StoreMessage>().await?;
        self.take(message)
    }

    fn take(&mut self, message: StoreMessage) -> Result<()> {
        match message {
            StoreMessage::Acknowledged {
                numbers, refused, ..
            } => {
                ensure!(refused.is_empty(), "samples were refused: {refused:?}");
                let count: u64 = numbers
                    .intervals()
                    .map(|(first, last)| last.0 - first.0 + 1)
                    .sum();
                let left = self.on_their_way.checked_sub(count);
                self.on_their_way = left.context("more was acknowledged than was sent")?;
                Ok(())
            }
            other => bail!("a batch was not taken: {other:?}"),
        }
    }

    fn make_row(&mut self) -> Row {
        let mut floats = Vec::with_capacity(self.slots);
        let at = self.source.next_row(&mut floats);
        let counter = self.next_counter;
        self.next_counter += 1;
        self.last = at;
        Row {
            cohort: CohortId(0),
            counter,
            at,
            presence: Presence::filled(floats.len(), true),
            floats,
            histograms: Vec::new(),
            start_times: Vec::new(),
            exemplars: Vec::new(),
        }
    }
}

/// Returns the wall time.
pub(crate) fn now() -> TimestampMs {
    let wall: SystemTime = SystemClock::default().wall();
    TimestampMs::from(wall)
}
