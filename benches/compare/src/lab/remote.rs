//! An engine fed by remote write 1.0: 2,000 series with one sample each in a request, two connections, two hours of rows.
//!
//! 1. One row makes the series; what that costs is counted apart.
//! 2. The rest of the rows; the figure is the CPU time of the whole process, compactions of its own included, until it is idle.
//! 3. Memory after the last row.
//! 4. SIGKILL, start, and the time until the last acknowledged row is answered. VictoriaMetrics has no log: it is given half a minute
//!    before, since it loses what is younger than its flush.
//! 5. Bytes on disk: Prometheus makes blocks of its head by the snapshot route; VictoriaMetrics flushes and merges to the end.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::Shape;

use super::{Lab, Restart, Witness, restart, selector};
use crate::http::Client;
use crate::proc::{Resident, folder_bytes};
use crate::remote_write::Feeder;
use crate::server::{Engine, Given, Server};
use crate::waiting::{pause, wait_until};

/// How long VictoriaMetrics needs to have everything on disk.
const FLUSHED_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct RemoteRun {
    pub(crate) series: u64,
    pub(crate) samples: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) making_series: Duration,
    pub(crate) ingest: Duration,
    /// Bytes of log of all samples; `None` where there is no log.
    pub(crate) log_bytes: Option<f64>,
    pub(crate) resident_before: Resident,
    pub(crate) resident: Resident,
    pub(crate) restart: Result<Restart, String>,
    pub(crate) disk: Result<OnDisk, String>,
}

/// What samples and their index take on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnDisk {
    pub(crate) samples: f64,
    pub(crate) sample_bytes: u64,
    pub(crate) index_bytes: u64,
}

pub(super) fn run(lab: &Lab, engine: Engine, jitter: bool) -> Result<RemoteRun> {
    let shape = Shape {
        jitter,
        ..Shape::whole()
    };
    let rows = lab.rows();
    let hosts = lab.hosts_until_now(shape, lab.hosts(), rows)?;
    let witness = hosts[0]
        .series()
        .last()
        .map(|series| selector(&series.labels));
    let mut feeder = Feeder::new(hosts);
    let mut server = lab.start(engine, Given::default())?;
    let process = server.process()?;
    let resident_before = process.resident()?;
    let before = process.cpu()?;
    feeder.send(server.web(), 1)?;
    server.await_idle()?;
    let making_series = process.cpu()?.saturating_sub(before);
    let before = process.cpu()?;
    let sent = feeder.send(server.web(), rows - 1)?;
    let resident = process.resident()?;
    server.await_idle()?;
    let ingest = process.cpu()?.saturating_sub(before);
    let all_samples = sent.samples + feeder.series() as u64;
    let log_bytes = match engine {
        Engine::Promontory => Some(server.metric("promontory_storage_log_written_bytes_total")?),
        Engine::Prometheus => Some(server.data_bytes("wal") as f64),
        Engine::VictoriaMetrics | Engine::Alertmanager => None,
    };
    if engine == Engine::VictoriaMetrics {
        pause(FLUSHED_AFTER);
    }
    let restarted = restart(
        &mut server,
        &Witness {
            selector: witness.unwrap_or_default(),
            last: sent.last,
        },
    );
    let disk = on_disk(&server, all_samples);
    Ok(RemoteRun {
        series: feeder.series() as u64,
        samples: sent.samples,
        sent_bytes: sent.bytes,
        making_series,
        ingest,
        log_bytes: log_bytes.map(|bytes| bytes / all_samples as f64),
        resident_before,
        resident,
        restart: restarted.map_err(|error| format!("{error:#}")),
        disk: disk.map_err(|error| format!("{error:#}")),
    })
}

fn on_disk(server: &Server, samples: u64) -> Result<OnDisk> {
    match server.engine() {
        Engine::Prometheus => prometheus_snapshot(server),
        Engine::VictoriaMetrics => victoria_merged(server, samples),
        Engine::Promontory => anyhow::bail!("measured in the library"),
        Engine::Alertmanager => anyhow::bail!("it stores no samples"),
    }
}

/// Lets Prometheus write its head as blocks, and adds them up.
fn prometheus_snapshot(server: &Server) -> Result<OnDisk> {
    let answer = Client::new(server.web()).post("/api/v1/admin/tsdb/snapshot", "", &[])?;
    let answer = answer.success()?.json()?;
    let name = answer["data"]["name"]
        .as_str()
        .context("a snapshot without a name")?;
    let folder = server.data().join("snapshots").join(name);
    let mut found = OnDisk {
        samples: 0.0,
        sample_bytes: 0,
        index_bytes: 0,
    };
    for block in
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let block = block?.path();
        let meta: serde_json::Value = serde_json::from_slice(&fs::read(block.join("meta.json"))?)?;
        found.samples += meta["stats"]["numSamples"]
            .as_f64()
            .context("a block without samples")?;
        found.sample_bytes += folder_bytes(&block.join("chunks"));
        found.index_bytes += fs::metadata(block.join("index"))?.len();
    }
    ensure!(found.samples > 0.0, "the snapshot has no samples");
    Ok(found)
}

fn victoria_merged(server: &Server, samples: u64) -> Result<OnDisk> {
    let mut client = Client::new(server.web());
    client.get("/internal/force_flush")?.success()?;
    client.get("/internal/force_merge")?.success()?;
    wait_until(
        "the final merge",
        Duration::from_secs(1),
        Duration::from_secs(900),
        || {
            let merges = server.metric("vm_active_merges")?;
            Ok((merges == 0.0).then_some(()))
        },
    )?;
    server.await_idle()?;
    let sizes: [PathBuf; 2] = ["data", "indexdb"].map(|part| server.data().join(part));
    let [sample_bytes, index_bytes] = sizes.map(|folder| folder_bytes(&folder));
    Ok(OnDisk {
        samples: samples as f64,
        sample_bytes,
        index_bytes,
    })
}
