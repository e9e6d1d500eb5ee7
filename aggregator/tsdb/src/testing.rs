//! What the tests of the whole store share: a store on a simulated disk, agents that feed it and a twin, and the comparison.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use files::{SharedFileSystem, Simulated};
use model::{Labels, MetricType, TimeRange, TimestampMs, Value};
use rows::{
    AgentId, Batch, BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortDefinition,
    CohortId, Epoch, Presence, Row, RowCounter, SeriesDefinition, SeriesSample,
};
use storage::{AppendOutcome, Appender, Lane, Queryable, Select, Source, Unlimited};

use crate::catalogue::{self, Catalogue};
use crate::{RecoveryReport, Tsdb, TsdbConfig};

/// The wall clock at the start of every test, in the middle of a span of two hours.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

pub(crate) struct World {
    pub(crate) disk: Simulated,
    pub(crate) clock: Arc<SimulatedClock>,
    pub(crate) config: TsdbConfig,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut config = TsdbConfig::at("/data");
        config.shards = NonZeroU16::new(2);
        config.log.segment_bytes = 64 * 1024;
        // The clock stands still, so that every group would wait for all of it.
        config.log.spacing = Duration::ZERO;
        config.log.retry_after = Duration::from_millis(5);
        // Only when a test says so.
        config.merge.every = Duration::from_hours(1_000);
        let start = Duration::from_millis(START_MS.unsigned_abs());
        Self {
            disk: Simulated::new(),
            clock: Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH + start)),
            config,
        }
    }

    /// Returns what the catalogue on the disk says.
    pub(crate) fn catalogue(&self) -> catalogue::Contents {
        let disk: SharedFileSystem = Arc::new(self.disk.clone());
        let contents = Catalogue::read(&disk, &self.config.folder);
        contents.unwrap().unwrap()
    }

    pub(crate) fn open(&self) -> (Tsdb, RecoveryReport) {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<(Tsdb, RecoveryReport), crate::OpenError> {
        Tsdb::open(
            self.config.clone(),
            Arc::new(self.disk.clone()),
            Arc::<SimulatedClock>::clone(&self.clock),
        )
    }
}

/// An agent's stream: encodes as agents do, decodes as ingest does.
pub(crate) struct Agent {
    pub(crate) source: Source,
    encoder: BatchEncoder,
    decoder: BatchDecoder,
    counters: BTreeMap<u32, RowCounter>,
    pub(crate) next_number: u64,
}

impl Agent {
    pub(crate) fn new(agent: &str, epoch: u64) -> Self {
        Self {
            source: Source {
                agent: agent.parse().unwrap(),
                epoch: Epoch(epoch),
                lane: Lane::Live,
            },
            encoder: BatchEncoder::new(),
            decoder: BatchDecoder::new(),
            counters: BTreeMap::new(),
            next_number: 0,
        }
    }

    pub(crate) fn lane(mut self, lane: Lane) -> Self {
        self.source.lane = lane;
        self
    }

    pub(crate) fn id(&self) -> &AgentId {
        &self.source.agent
    }

    pub(crate) fn row(&mut self, cohort: u32, at: i64, values: &[Option<f64>]) -> Arc<Row> {
        let mut presence = Presence::filled(values.len(), true);
        for (slot, value) in values.iter().enumerate() {
            presence.set(slot, value.is_some());
        }
        let counter = self.counters.entry(cohort).or_default();
        *counter += 1;
        Arc::new(Row {
            cohort: CohortId(cohort),
            counter: *counter - 1,
            at: TimestampMs(at),
            presence,
            floats: values.iter().map(|value| value.unwrap_or(0.0)).collect(),
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        })
    }

    pub(crate) fn batch(&mut self, rows: &[Arc<Row>], samples: &[SeriesSample]) -> Arc<Batch> {
        self.batch_with(&BatchContents {
            rows,
            samples,
            metadata: &[],
        })
    }

    pub(crate) fn batch_with(&mut self, contents: &BatchContents<'_>) -> Arc<Batch> {
        let encoded = self.encoder.encode(contents).unwrap();
        let number = BatchNumber(self.next_number);
        self.next_number += 1;
        Arc::new(self.decoder.decode(number, encoded.bytes).unwrap())
    }

    /// Loses its connection: both ends begin anew with key rows.
    pub(crate) fn reconnect(&mut self) {
        self.encoder.reset();
        self.decoder.reset();
    }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

pub(crate) fn definition(cohort: u32, name: &str, series: &[Labels]) -> CohortDefinition {
    CohortDefinition {
        cohort: CohortId(cohort),
        name: Arc::from(name),
        first_slot: 0,
        series: series
            .iter()
            .map(|labels| SeriesDefinition {
                labels: labels.clone(),
                kind: MetricType::Gauge,
            })
            .collect(),
    }
}

/// Appends, trying again while busy; what becomes of the batch comes out of the receiver.
pub(crate) fn send(
    store: &dyn Appender,
    source: &Source,
    batch: &Arc<Batch>,
) -> Receiver<AppendOutcome> {
    loop {
        let (tell, told) = sync_channel(1);
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        if store.append(source, Arc::clone(batch), done).is_ok() {
            return told;
        }
        std::thread::yield_now();
    }
}

pub(crate) fn append(store: &dyn Appender, source: &Source, batch: &Arc<Batch>) -> AppendOutcome {
    send(store, source, batch)
        .recv_timeout(Duration::from_secs(20))
        .expect("every batch that was taken is answered")
}

/// Waits until a condition holds that other threads bring about.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("timed out waiting until {what}");
}

pub(crate) type Contents = BTreeMap<Labels, Vec<(i64, String)>>;

/// Returns everything that a query for all series finds; values as text that tells bits apart.
pub(crate) fn contents(store: &dyn Queryable) -> Contents {
    contents_within(store, TimeRange::ALL)
}

pub(crate) fn contents_within(store: &dyn Queryable, range: TimeRange) -> Contents {
    let select = Select {
        matchers: &[],
        range,
        hints: Default::default(),
    };
    let series = store
        .querier()
        .unwrap()
        .select(&select, &Unlimited)
        .unwrap();
    let mut found = Contents::new();
    for series in series {
        let samples: Vec<(i64, String)> = series
            .samples(range)
            .map(|sample| (sample.at.0, text_of(&sample.value)))
            .collect();
        let rising = samples.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(rising, "{} rises strictly: {samples:?}", series.labels);
        let repeated = found.insert(series.labels.clone(), samples);
        assert!(repeated.is_none(), "{} comes once", series.labels);
    }
    found
}

pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Float(value) => format!("{:016x}", value.to_bits()),
        Value::Histogram(histogram) => format!("{histogram:?}"),
    }
}

/// Returns every stored sample, repeats included, sorted.
pub(crate) fn dump(store: &Tsdb) -> Vec<(Labels, i64, String)> {
    let mut all = Vec::new();
    let summary = store
        .dump(&mut |sample| {
            all.push((sample.labels.clone(), sample.at.0, text_of(sample.value)));
        })
        .unwrap();
    assert_eq!(summary.samples, all.len() as u64);
    all.sort();
    all
}
