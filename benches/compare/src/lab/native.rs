//! The aggregator, fed by agents over QUIC: one agent per host, batches of two rows (about 2,000 samples) as fast as they are taken.
//!
//! 1. Agents join and define their series; one row makes the series. What that costs is counted apart.
//! 2. The rest of the rows. CPU time is that of the whole process less that of the threads that seal and merge, which is given beside.
//! 3. Memory, once everything is applied; bytes of log by the aggregator's own counter.
//! 4. SIGKILL, start, and the time until the last acknowledged row is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use benches::Shape;

use super::{Lab, Restart, Witness, restart, selector};
use crate::agents::{Fleet, Pace, RowSource};
use crate::proc::Resident;
use crate::server::{Engine, Given};

/// Rows of a batch: two of a thousand series.
const ROWS_PER_BATCH: usize = 2;
/// Rows at 1 s: more than a head takes before it is sealed, so that memory is what it stays at.
const ROWS_AT_1_S: usize = 1_800;
/// Threads whose work is not ingest.
const SEALING_THREADS: &[&str] = &["tsdb-keeper", "tsdb-merge"];

#[derive(Clone, Debug)]
pub(crate) struct NativeRun {
    pub(crate) series: u64,
    /// Samples of the second step.
    pub(crate) samples: u64,
    /// CPU time of the first step, joining excluded.
    pub(crate) making_series: Duration,
    pub(crate) ingest: Duration,
    pub(crate) sealing: Duration,
    /// Of the second step, by thread.
    pub(crate) by_thread: BTreeMap<String, Duration>,
    pub(crate) log_bytes: f64,
    pub(crate) body_bytes: u64,
    pub(crate) seals: f64,
    /// Before there were series, with all sessions open; and at the end.
    pub(crate) resident_before: Resident,
    pub(crate) resident: Resident,
    pub(crate) restart: Result<Restart, String>,
}

pub(super) fn run(lab: &Lab, seconds: u64) -> Result<NativeRun> {
    let shape = Shape {
        interval: Duration::from_secs(seconds),
        ..Shape::whole()
    };
    let rows = match (seconds, lab.quick) {
        (15, _) => lab.rows(),
        (_, true) => ROWS_AT_1_S / 4,
        (_, false) => ROWS_AT_1_S,
    };
    let hosts = lab.hosts_until_now(shape, lab.hosts(), rows + 1)?;
    let witness = hosts[0]
        .series()
        .last()
        .map(|series| selector(&series.labels));
    let series: usize = hosts.iter().map(|host| host.series().len()).sum();
    let mut server = lab.start(Engine::Promontory, Given::default())?;
    let members = hosts.into_iter().map(|host| {
        let name = host.name().to_owned();
        (name, Box::new(host) as Box<dyn RowSource>)
    });
    let mut fleet = Fleet::open(&server, shape.interval, members.collect())?;
    server.await_idle()?;
    let process = server.process()?;
    let resident_before = process.resident()?;
    let before = process.cpu()?;
    fleet.send(1, 1, |_| Pace::Unbounded)?;
    server.await_idle()?;
    let making_series = process.cpu()?.saturating_sub(before);

    let (sent_before, log_before) = (fleet.sent(), server.metric(LOG_BYTES)?);
    let (before, threads_before) = (process.cpu()?, process.cpu_by_thread()?);
    fleet.send(rows / ROWS_PER_BATCH, ROWS_PER_BATCH, |_| Pace::Unbounded)?;
    server.await_idle()?;
    let ingest = process.cpu()?.saturating_sub(before);
    let mut by_thread = process.cpu_by_thread()?;
    for (name, cpu) in &mut by_thread {
        *cpu = cpu.saturating_sub(threads_before.get(name).copied().unwrap_or_default());
    }
    let sealing = by_thread
        .iter()
        .filter(|(name, _)| SEALING_THREADS.contains(&name.as_str()));
    let sealing = sealing.map(|(_, cpu)| *cpu).sum();
    let (sent, log_bytes) = (fleet.sent(), server.metric(LOG_BYTES)? - log_before);
    let seals = server.metric("promontory_storage_seals_total")?;
    let resident = process.resident()?;
    let last = fleet.last();
    drop(fleet);
    let restarted = restart(
        &mut server,
        &Witness {
            selector: witness.unwrap_or_default(),
            last,
        },
    );
    Ok(NativeRun {
        series: series as u64,
        samples: sent.samples - sent_before.samples,
        making_series,
        ingest: ingest.saturating_sub(sealing),
        sealing,
        by_thread,
        log_bytes,
        body_bytes: sent.body_bytes - sent_before.body_bytes,
        seals,
        resident_before,
        resident,
        restart: restarted.map_err(|error| format!("{error:#}")),
    })
}

const LOG_BYTES: &str = "promontory_storage_log_written_bytes_total";
