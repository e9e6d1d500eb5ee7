//! This machine as a node: real agents that collect, encode and send what they find, each through a relay that counts.
//!
//! Three agents run side by side for five minutes, once each has sent for half a minute: every second and every 15 s with the
//! collectors that node_exporter has on by default, and every second with this machine's cgroups as well. Debian's node exporter runs
//! beside them and is scraped every second.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Found, Lab, once};
use crate::daemon::{Daemon, Program};
use crate::http::Client;
use crate::relay::{Passed, Relay};
use crate::server::{Engine, Given, Server};
use crate::waiting::{Stopwatch, pause};

/// Definitions, the first full rows and everything that is set up once have passed by then.
const WARM_UP: Duration = Duration::from_secs(30);

/// What one program did while it was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeRun {
    pub(crate) took: Duration,
    /// Collected; of an agent, put into batches as well.
    pub(crate) samples: f64,
    pub(crate) cpu: Duration,
    /// At the end.
    pub(crate) resident: u64,
    /// Of an agent: what went over the wire.
    pub(crate) passed: Passed,
}

/// The three agents, and their peer.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) every_second: NodeRun,
    pub(crate) every_15_seconds: NodeRun,
    pub(crate) with_cgroups: NodeRun,
    pub(crate) node_exporter: Result<NodeRun, String>,
}

impl Lab {
    /// Returns what agents of this machine did.
    pub(crate) fn nodes(&self) -> Found<Nodes> {
        once(&self.nodes, (), || run(self))
    }

    /// Starts an agent that sends to `aggregator`, which is reached at `target`.
    pub(crate) fn start_agent(
        &self,
        aggregator: &Server,
        target: &str,
        flags: &[OsString],
    ) -> Result<Daemon> {
        let token = aggregator.token()?;
        let path = Program::Agent.path(&self.programs.ours)?;
        Daemon::start(Program::Agent, &path, &self.work, |folder| {
            let mut arguments: Vec<OsString> =
                ["run", "--log.level", "warn", "--aggregator", target]
                    .map(OsString::from)
                    .into();
            arguments.extend(["--token".into(), token.into(), "--spool.path".into()]);
            arguments.push(folder.join("spool").into());
            // Several agents of one machine are several nodes.
            arguments.extend([
                "--agent.id".into(),
                format!("node-{:x}", fastrand::u32(..)).into(),
            ]);
            arguments.extend_from_slice(flags);
            arguments
        })
    }

    /// Starts a peer of the agent's.
    pub(crate) fn start_peer(&self, program: Program, flags: &[&str]) -> Result<Daemon> {
        ensure!(self.programs.peers, "{} is left out", program.name());
        let path = program.path(&self.programs.ours)?;
        Daemon::start(program, &path, &self.work, |_| {
            flags.iter().map(OsString::from).collect()
        })
    }
}

/// An agent, the way to its aggregator, and how it stood when it was first looked at.
struct Watched {
    agent: Daemon,
    relay: Relay,
    before: Mark,
}

/// How an agent stands.
#[derive(Clone, Copy, Default)]
struct Mark {
    samples: f64,
    cpu: Duration,
    passed: Passed,
}

impl Watched {
    fn start(lab: &Lab, aggregator: &Server, flags: &[&str]) -> Result<Self> {
        let relay = Relay::start(aggregator.ingest())?;
        let mut all = vec!["--transport", "quic"];
        all.extend(flags);
        let flags: Vec<OsString> = all.iter().map(OsString::from).collect();
        let agent = lab.start_agent(aggregator, &relay.address().to_string(), &flags)?;
        Ok(Self {
            agent,
            relay,
            before: Mark::default(),
        })
    }

    fn mark(&self) -> Result<Mark> {
        Ok(Mark {
            samples: self
                .agent
                .own_metric("promontory_agent_samples_made_total")?,
            cpu: self.agent.process().cpu()?,
            passed: self.relay.passed(),
        })
    }

    fn finish(self, watch: &Stopwatch) -> Result<NodeRun> {
        let (took, after) = (watch.elapsed(), self.mark()?);
        let samples = after.samples - self.before.samples;
        ensure!(samples > 0.0, "nothing was collected");
        Ok(NodeRun {
            took,
            samples,
            cpu: after.cpu.saturating_sub(self.before.cpu),
            resident: self.agent.process().resident()?.now,
            passed: after.passed.since(self.before.passed),
        })
    }
}

fn run(lab: &Lab) -> Result<Nodes> {
    let (warm_up, within) = if lab.quick {
        (WARM_UP / 2, Duration::from_secs(60))
    } else {
        (WARM_UP, Duration::from_secs(300))
    };
    let aggregator = lab.start(Engine::Promontory, Given::default())?;
    let node_only = "--no-collector.containers";
    let mut agents = Vec::new();
    for flags in [
        &["--interval", "1s", node_only][..],
        &["--interval", "15s", node_only],
        &["--interval", "1s"],
    ] {
        agents.push(Watched::start(lab, &aggregator, flags)?);
    }
    pause(warm_up);
    let watch = Stopwatch::start();
    for watched in &mut agents {
        watched.before = watched.mark()?;
    }
    let node_exporter = scrape_peer(lab, within).map_err(|error| format!("{error:#}"));
    pause(within.saturating_sub(watch.elapsed()));
    let mut runs = agents.into_iter().map(|watched| watched.finish(&watch));
    let mut next = || runs.next().context("as many as were started")?;
    Ok(Nodes {
        every_second: next()?,
        every_15_seconds: next()?,
        with_cgroups: next()?,
        node_exporter,
    })
}

/// Scrapes Debian's node exporter every second.
fn scrape_peer(lab: &Lab, within: Duration) -> Result<NodeRun> {
    let flags = ["--log.level=error", "--web.disable-exporter-metrics"];
    let peer = lab.start_peer(Program::NodeExporter, &flags)?;
    let mut client = Client::new(peer.web());
    let mut scrape = || -> Result<f64> {
        let text = client.get("/metrics")?.success()?.text();
        Ok(text.lines().filter(|line| !line.starts_with('#')).count() as f64)
    };
    scrape()?;
    let (before, watch) = (peer.process().cpu()?, Stopwatch::start());
    let (mut samples, mut due) = (0.0, Duration::ZERO);
    while due < within {
        pause(due.saturating_sub(watch.elapsed()));
        samples += scrape()?;
        due += Duration::from_secs(1);
    }
    pause(due.saturating_sub(watch.elapsed()));
    Ok(NodeRun {
        took: watch.elapsed(),
        samples,
        cpu: peer.process().cpu()?.saturating_sub(before),
        resident: peer.process().resident()?.now,
        passed: Passed::default(),
    })
}

impl NodeRun {
    pub(crate) fn cpu_ms_per_thousand(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / (self.samples / 1e3)
    }

    /// Percent of a core.
    pub(crate) fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.took.as_secs_f64() * 100.0
    }

    pub(crate) fn resident_mb(&self) -> f64 {
        self.resident as f64 / 1e6
    }

    pub(crate) fn bytes_per_sample(&self) -> f64 {
        self.passed.bytes as f64 / self.samples
    }
}
