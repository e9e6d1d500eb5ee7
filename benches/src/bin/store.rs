//! What a store costs: CPU time of intake, resident memory of a series, bytes of the log, time to open again, CPU time of a seal.
//!
//! Agents with four cohorts of the recording's series each send a row of each cohort in a batch, prepared beforehand; each agent's values
//! are scaled, so that no two are alike. Everything runs in this process on real files in a fresh folder: no network.
//!
//! `cargo run --release -p benches --bin store -- [--data FOLDER] [--agents N] [--rows N] [--spacing SECONDS] [--folder FOLDER]`

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use benches::{Recording, cpu_time, resident_bytes};
use clock::{Clock as _, SharedClock, SystemClock};
use files::Disk;
use model::{Labels, MetricType, TimestampMs};
use rows::{
    BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortDefinition, CohortId, Epoch,
    Presence, Row, SeriesDefinition,
};
use storage::{AppendOutcome, Appender, Lane, Source};
use tsdb::{Tsdb, TsdbConfig};

/// Cohorts of an agent: together about 2,000 series.
const COHORTS: usize = 4;

struct Options {
    data: PathBuf,
    folder: PathBuf,
    agents: usize,
    rows: usize,
    spacing_ms: i64,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let recording = Recording::load(&options.data)?;
    let agents = prepare(&recording, &options)?;
    let series = (options.agents * COHORTS * recording.series.len()) as f64;
    let samples = series * options.rows as f64;
    println!(
        "{series} series, {} rows {} ms apart: {samples} samples at most",
        options.rows, options.spacing_ms
    );
    let clock: SharedClock = Arc::new(SystemClock::new());
    let mut config = TsdbConfig::at(&options.folder);
    config.limits.series_per_agent = u64::MAX;
    let idle = resident_bytes();
    let (store, _) = Tsdb::open(config.clone(), Arc::new(Disk), Arc::clone(&clock))?;
    let (began, cpu) = (clock.monotonic(), cpu_time());
    let decoders = feed(&store, &agents, &recording, &options)?;
    let used = cpu_time() - cpu;
    let stats = store.stats();
    let stored = stats.samples_stored as f64;
    println!(
        "intake: {:.1} ns CPU/sample, {:.2} s wall, {stored} samples, {} seals; log {:.3} B/sample",
        used.as_nanos() as f64 / stored,
        clock.monotonic().saturating_since(began).as_secs_f64(),
        stats.seals,
        stats.log_bytes_written as f64 / stored
    );
    println!(
        "memory: {:.0} B/series resident ({:.1} MB), heads {:.0} B/series",
        (resident_bytes() - idle) as f64 / series,
        (resident_bytes() - idle) as f64 / 1e6,
        stats.head_bytes as f64 / series
    );
    drop((decoders, store));
    let (began, cpu) = (clock.monotonic(), cpu_time());
    let (store, report) = Tsdb::open(config, Arc::new(Disk), Arc::clone(&clock))?;
    println!(
        "opening: {:.2} s wall, {:.2} s CPU, {:.1} ns CPU/sample, {} batches",
        clock.monotonic().saturating_since(began).as_secs_f64(),
        (cpu_time() - cpu).as_secs_f64(),
        (cpu_time() - cpu).as_nanos() as f64 / report.samples.max(1) as f64,
        report.batches
    );
    println!(
        "memory: {:.1} MB resident after it",
        (resident_bytes() - idle) as f64 / 1e6
    );
    drop(store);
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        data: PathBuf::from("../shared/bench-data"),
        folder: std::env::temp_dir().join(format!("promontory-store-{}", std::process::id())),
        agents: 49,
        rows: 480,
        spacing_ms: 15_000,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{flag} has no value"))?;
        match flag.as_str() {
            "--data" => options.data = value.into(),
            "--folder" => options.folder = value.into(),
            "--agents" => options.agents = value.parse()?,
            "--rows" => options.rows = value.parse()?,
            "--spacing" => options.spacing_ms = 1_000 * value.parse::<i64>()?,
            _ => bail!(
                "usage: store [--data FOLDER] [--agents N] [--rows N] [--spacing SECONDS] [--folder FOLDER]"
            ),
        }
    }
    ensure!(
        !Path::new(&options.folder).exists(),
        "{} exists already",
        options.folder.display()
    );
    Ok(options)
}

/// An agent's batches, encoded.
struct Agent {
    source: Source,
    bodies: Vec<Arc<[u8]>>,
}

fn prepare(recording: &Recording, options: &Options) -> anyhow::Result<Vec<Agent>> {
    let now = TimestampMs::from(SystemClock::new().wall()).0;
    let start = now - i64::try_from(options.rows)? * options.spacing_ms;
    (0..options.agents)
        .map(|number| {
            let mut encoder = BatchEncoder::new();
            let bodies = (0..options.rows)
                .map(|at| {
                    let rows = (0..COHORTS)
                        .map(|cohort| {
                            let scrape = &recording.scrapes[at % recording.scrapes.len()];
                            let jitter = i64::try_from((at * 7 + number) % 5)?;
                            let millis = start + i64::try_from(at)? * options.spacing_ms + jitter;
                            Ok(Arc::new(row(
                                cohort,
                                at,
                                millis,
                                scrape,
                                1.0 + number as f64 * 0.013 + cohort as f64 * 0.003,
                            )))
                        })
                        .collect::<anyhow::Result<Vec<Arc<Row>>>>()?;
                    let contents = BatchContents {
                        rows: &rows,
                        ..BatchContents::default()
                    };
                    Ok(encoder.encode(&contents)?.bytes)
                })
                .collect::<anyhow::Result<_>>()?;
            Ok(Agent {
                source: Source {
                    agent: format!("node-{number:04}.example.internal").parse()?,
                    epoch: Epoch(7),
                    lane: Lane::Live,
                },
                bodies,
            })
        })
        .collect()
}

/// Returns a row of the recording, scaled; whole numbers stay whole.
fn row(cohort: usize, counter: usize, millis: i64, scrape: &[Option<f64>], scale: f64) -> Row {
    let mut presence = Presence::filled(scrape.len(), false);
    let mut floats = Vec::with_capacity(scrape.len());
    for (slot, value) in scrape.iter().enumerate() {
        presence.set(slot, value.is_some());
        floats.push(value.map_or(0.0, |value| scaled(value, scale)));
    }
    Row {
        cohort: CohortId(u32::try_from(cohort).unwrap_or(0)),
        counter: counter as u64,
        at: TimestampMs(millis),
        presence,
        floats,
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    }
}

fn scaled(value: f64, scale: f64) -> f64 {
    if value.abs() < 16.0 && value.fract() == 0.0 {
        return value;
    }
    let unit = [1.0, 100.0, 1e4, 1e9]
        .into_iter()
        .find(|unit| (value * unit).fract() == 0.0);
    unit.map_or(value * scale, |unit| (value * scale * unit).round() / unit)
}

/// Feeds all batches, a round of all agents at a time; returns the decoders, which a session would hold.
fn feed(
    store: &Tsdb,
    agents: &[Agent],
    recording: &Recording,
    options: &Options,
) -> anyhow::Result<Vec<BatchDecoder>> {
    for agent in agents {
        for cohort in 0..COHORTS {
            let series = recording
                .series
                .iter()
                .map(|raw| definition(raw, agent.source.agent.as_str(), cohort));
            let definition = CohortDefinition {
                cohort: CohortId(u32::try_from(cohort)?),
                name: format!("cohort-{cohort}").into(),
                first_slot: 0,
                series: series.collect::<anyhow::Result<_>>()?,
            };
            while store.define(&agent.source, definition.clone()).is_err() {
                std::thread::yield_now();
            }
        }
    }
    let mut decoders: Vec<BatchDecoder> = agents.iter().map(|_| BatchDecoder::new()).collect();
    let done = Arc::new(AtomicU64::new(0));
    let mut sent = 0;
    for at in 0..options.rows {
        for (agent, decoder) in agents.iter().zip(&mut decoders) {
            let batch = decoder.decode(BatchNumber(at as u64), Arc::clone(&agent.bodies[at]))?;
            let batch = Arc::new(batch);
            loop {
                let done = Arc::clone(&done);
                let tell = Box::new(move |outcome| {
                    if matches!(outcome, AppendOutcome::Stored(_)) {
                        done.fetch_add(1, Ordering::Release);
                    }
                });
                if store
                    .append(&agent.source, Arc::clone(&batch), tell)
                    .is_ok()
                {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            sent += 1;
        }
        // One round at a time, as agents have windows: what waits is memory too.
        while done.load(Ordering::Acquire) < sent {
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
    Ok(decoders)
}

/// Makes a definition of a series as the recording has it, with labels as a cluster has them.
fn definition(raw: &str, agent: &str, cohort: usize) -> anyhow::Result<SeriesDefinition> {
    let (name, rest) = raw.split_once('{').unwrap_or((raw, ""));
    let mut pairs = vec![
        ("__name__".to_owned(), name.to_owned()),
        ("node".to_owned(), agent.to_owned()),
        ("instance".to_owned(), format!("{agent}:{}", 9100 + cohort)),
        ("job".to_owned(), "node-exporter".to_owned()),
        ("cluster".to_owned(), "production-eu-west-1".to_owned()),
        ("namespace".to_owned(), "monitoring".to_owned()),
    ];
    for pair in rest.trim_end_matches('}').split("\",") {
        if let Some((name, value)) = pair.split_once('=') {
            pairs.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    Ok(SeriesDefinition {
        labels: Labels::from_pairs(pairs)?,
        kind: MetricType::Gauge,
    })
}
