//! Catch-up: a hundred agents come back after an hour, with live rows beside.
//!
//! The agents' own code does it: each has a spool with an hour of rows at 15 s, made by an earlier run, and an uplink that joins, opens a
//! session and drains the spool while a row comes every 15 s. The figure is an hour over the wall time until everything is acknowledged,
//! the opening of sessions included.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use benches::{Host, Shape};
use clock::{Clock as _, SharedClock, SystemClock};
use files::{Disk, SharedFileSystem};
use model::TimestampMs;
use rows::{AgentId, CohortDefinition, CohortId, Epoch, Presence, SeriesDefinition};
use runtime::{Permits, QueueSender, Tasks, Token, WhenFull, queue};
use spool::{Settings, Spool};
use transport::{Connector, ConnectorConfig, IdentityStore, JoinToken, Transports, join};
use uplink::{DeliveryConfig, Introduction, Maker, Update, Uplink, UplinkConfig, UplinkView};

use super::Row;
use crate::lab::Lab;
use crate::server::{Engine, Given, Server};
use crate::table::{Bound, Cell, Line};
use crate::waiting::Stopwatch;

pub(super) const ROW: Row = Row {
    name: "catch-up",
    method: "100 real uplinks, each an hour of ~1,000 series at 15 s in its spool, live rows beside; an hour over wall time",
    measure,
};

const AGENTS: usize = 100;
const OUTAGE: Duration = Duration::from_secs(3_600);
/// What is longer than this has failed: half of what must be.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(360);

struct Run {
    took: Duration,
    samples: u64,
    cpu: Duration,
}

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let speed = found
        .as_ref()
        .map(|run| OUTAGE.as_secs_f64() / run.took.as_secs_f64());
    let mut line = Line::ours(
        "catch-up of a 1 h outage, 100 agents",
        "x real time",
        Cell::of(speed),
    );
    line.bound = Some(Bound::at_least(20.0, 50.0));
    if let Ok(run) = &found {
        line.note = format!(
            "{} samples in {:.1} s wall, {:.0} ns CPU of the aggregator for each",
            run.samples,
            run.took.as_secs_f64(),
            run.cpu.as_nanos() as f64 / run.samples as f64
        );
    }
    vec![line]
}

fn run(lab: &Lab) -> Result<Run> {
    let agents = if lab.quick { AGENTS / 5 } else { AGENTS };
    let shape = Shape::whole();
    let rows = usize::try_from(OUTAGE.as_secs() / shape.interval.as_secs())?;
    let hosts = lab.hosts_until_now(shape, agents, rows)?;
    let server = lab.start(Engine::Promontory, Given::default())?;
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&lab.work)?;
    let mut samples = 0;
    let mut members = Vec::new();
    for host in hosts {
        let mut member = Member::new(host, folder.path());
        samples += member.fill(rows)?;
        members.push(member);
    }
    let runtime = runtime::multi_thread("compare", 2, runtime::BLOCKING_THREADS)?;
    let process = server.process()?;
    let done = runtime.block_on(async {
        let tasks = Tasks::new("uplinks");
        let identities = join_all(&server, &members, &tasks).await?;
        let stop = Token::new();
        let (before, watch) = (process.cpu()?, Stopwatch::start());
        let mut lives = Vec::new();
        for (member, identity) in members.into_iter().zip(identities) {
            lives.push(member.start(&server, identity, &tasks, &stop)?);
        }
        let took = drain(&mut lives, rows as u64, &watch).await?;
        let cpu = process.cpu()?.saturating_sub(before);
        stop.stop();
        drop(lives);
        tasks.join().await;
        anyhow::Ok(Run { took, samples, cpu })
    });
    done.context("cannot measure the catch-up")
}

/// Sends live rows until everything is acknowledged.
async fn drain(lives: &mut [Live], backlog: u64, watch: &Stopwatch) -> Result<Duration> {
    let interval = Shape::whole().interval;
    let mut next = interval;
    loop {
        let settled = lives.iter().all(|live| live.is_settled(backlog));
        if settled {
            return Ok(watch.elapsed());
        }
        ensure!(
            watch.elapsed() < GIVEN_UP_AFTER,
            "not caught up after {} s: {} of {} agents are",
            GIVEN_UP_AFTER.as_secs(),
            lives.iter().filter(|live| live.is_settled(backlog)).count(),
            lives.len()
        );
        if watch.elapsed() >= next {
            next += interval;
            for live in lives.iter_mut() {
                live.send_row()?;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn join_all(
    server: &Server,
    members: &[Member],
    tasks: &Tasks,
) -> Result<Vec<IdentityStore>> {
    let token: JoinToken = server.token()?.parse()?;
    let permits = Permits::new("joining", 16);
    let joining: Vec<_> = members
        .iter()
        .map(|member| {
            let (token, target, permits) =
                (token.clone(), server.ingest().to_string(), permits.clone());
            let (name, folder) = (
                member.host.name().to_owned(),
                member.folder.join("identity"),
            );
            tasks.spawn("join", async move {
                let _permit = permits.acquire(1).await;
                let id: AgentId = name.parse()?;
                let clock: SharedClock = Arc::new(SystemClock::default());
                let joined = join(
                    &connector(),
                    &target,
                    &token,
                    &id,
                    Arc::new(Disk),
                    &folder,
                    clock,
                )
                .await?;
                anyhow::Ok(joined)
            })
        })
        .collect();
    let mut identities = Vec::new();
    for joining in joining {
        identities.push(joining.await??);
    }
    Ok(identities)
}

fn connector() -> ConnectorConfig {
    ConnectorConfig {
        transports: Transports::QuicOnly,
        ..ConnectorConfig::default()
    }
}

/// An agent that is away.
struct Member {
    host: Host,
    folder: std::path::PathBuf,
}

impl Member {
    fn new(host: Host, folder: &Path) -> Self {
        Self {
            folder: folder.join(host.name()),
            host,
        }
    }

    /// Fills the spool with rows of the past, and returns the number of samples.
    fn fill(&mut self, rows: usize) -> Result<u64> {
        let mut spool = self.open_spool()?;
        let mut maker = Maker::new(&spool);
        let mut definitions = vec![definition(&self.host)];
        for counter in 0..rows {
            let row = make_row(&mut self.host, counter as u64);
            let at = row.at;
            let update = Update {
                definitions: std::mem::take(&mut definitions),
                rows: vec![Arc::new(row)],
                ..Update::default()
            };
            maker.make(&mut spool, &update, at)?;
        }
        spool.close();
        Ok(maker.stats().samples)
    }

    fn open_spool(&self) -> Result<Spool> {
        let files: SharedFileSystem = Arc::new(Disk);
        let epoch = Epoch(fastrand::u64(..));
        let (spool, _) = Spool::open(
            files,
            &self.folder.join("spool"),
            Settings::default(),
            epoch,
        )?;
        Ok(spool)
    }

    fn start(
        self,
        server: &Server,
        identity: IdentityStore,
        tasks: &Tasks,
        stop: &Token,
    ) -> Result<Live> {
        let spool = self.open_spool()?;
        let (updates, received) = queue("updates", 64, WhenFull::Reject);
        let config = UplinkConfig {
            aggregator: server.ingest().to_string(),
            introduction: Introduction {
                node: self.host.name().to_owned(),
                version: "compare".to_owned(),
                interval: Shape::whole().interval,
            },
            delivery: DeliveryConfig::default(),
            quarantine: self.folder.join("quarantine"),
        };
        let connector = Connector::new(&connector(), &identity)?;
        let clock: SharedClock = Arc::new(SystemClock::default());
        let away = (Arc::new(identity), connector);
        let uplink = Uplink::new(config, spool, Arc::new(Disk), away, received, clock)?;
        let view = uplink.view();
        let stop = stop.clone();
        tasks
            .spawn("uplink", async move { uplink.run(stop).await })
            .detach();
        let mut live = Live {
            host: self.host,
            updates,
            view,
            sent: 0,
        };
        live.send_row()?;
        Ok(live)
    }
}

/// An agent that is back.
struct Live {
    host: Host,
    updates: QueueSender<Update>,
    view: UplinkView,
    sent: u64,
}

impl Live {
    fn send_row(&mut self) -> Result<()> {
        let mut row = make_row(&mut self.host, self.sent);
        row.at = TimestampMs::from(SystemClock::default().wall());
        let definitions = if self.sent == 0 {
            vec![definition(&self.host)]
        } else {
            Vec::new()
        };
        let update = Update {
            definitions,
            rows: vec![Arc::new(row)],
            ..Update::default()
        };
        let sent = self.updates.try_send(update);
        ensure!(sent.is_ok(), "an uplink does not take live rows");
        self.sent += 1;
        Ok(())
    }

    fn is_settled(&self, backlog: u64) -> bool {
        self.view.stats().delivered.batches_acknowledged >= backlog + self.sent
    }
}

fn definition(host: &Host) -> CohortDefinition {
    let series = host.series().iter().map(|series| SeriesDefinition {
        labels: series.labels.clone(),
        kind: series.kind,
    });
    CohortDefinition {
        cohort: CohortId(0),
        name: Arc::from("all"),
        first_slot: 0,
        series: series.collect(),
    }
}

fn make_row(host: &mut Host, counter: u64) -> rows::Row {
    let mut floats = Vec::with_capacity(host.series().len());
    let at = host.next_row(&mut floats);
    rows::Row {
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
