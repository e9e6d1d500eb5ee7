//! A thousand agents with 500 series each, a row a second: as it is in a cluster, each batch for itself.
//!
//! Rows come at the pace of the clock, each agent at its own place in the second, so that groups of the log are as large as they would
//! be. The figure is the CPU time of the whole process over a minute, once all series are made.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use benches::Shape;

use super::Lab;
use crate::agents::{Fleet, Pace, RowSource};
use crate::server::{Engine, Given};

const PERIOD: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct ManyAgents {
    pub(crate) agents: usize,
    pub(crate) samples: u64,
    pub(crate) cpu: Duration,
    pub(crate) by_thread: BTreeMap<String, Duration>,
    pub(crate) syncs: f64,
}

impl ManyAgents {
    pub(crate) fn run(lab: &Lab) -> Result<Self> {
        let (agents, rows) = if lab.quick { (200, 20) } else { (1_000, 60) };
        let shape = Shape {
            interval: PERIOD,
            ..Shape::node_only()
        };
        let hosts = lab.hosts_until_now(shape, agents, 0)?;
        let server = lab.start(Engine::Promontory, Given::default())?;
        let members = hosts.into_iter().map(|host| {
            let name = host.name().to_owned();
            (name, Box::new(host) as Box<dyn RowSource>)
        });
        let mut fleet = Fleet::open(&server, PERIOD, members.collect())?;
        fleet.send(1, 1, |_| Pace::Unbounded)?;
        server.await_idle()?;
        let process = server.process()?;
        let (before, threads_before) = (process.cpu()?, process.cpu_by_thread()?);
        let (sent_before, syncs_before) = (fleet.sent(), server.metric(SYNCS)?);
        let agents_u32 = u32::try_from(agents)?;
        fleet.send(rows, 1, |number| Pace::Every {
            period: PERIOD,
            first: PERIOD * u32::try_from(number).unwrap_or(0) / agents_u32,
        })?;
        let cpu = process.cpu()?.saturating_sub(before);
        let mut by_thread = process.cpu_by_thread()?;
        for (name, cpu) in &mut by_thread {
            *cpu = cpu.saturating_sub(threads_before.get(name).copied().unwrap_or_default());
        }
        let samples = fleet.sent().samples - sent_before.samples;
        ensure!(samples > 0, "nothing was sent");
        Ok(Self {
            agents,
            samples,
            cpu,
            by_thread,
            syncs: server.metric(SYNCS)? - syncs_before,
        })
    }
}

const SYNCS: &str = "promontory_storage_log_syncs_total";
