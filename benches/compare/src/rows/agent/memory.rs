//! Resident memory of the agent: on a bare node, and where much runs and much is pushed.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Result;

use crate::lab::{GROUPS_OF_A_NODE, Gateway, Lab, MadeContainers, PushRun, figure};
use crate::rows::Row;
use crate::server::{Engine, Given};
use crate::table::{Bound, Cell, Line};
use crate::waiting::pause;

pub(super) const ROW: Row = Row {
    name: "memory",
    method: "VmRSS of real agents after minutes at 1 s: this node alone; with a made tree of 50 containers and 1,000 groups of 20 gauges",
    measure,
};

const CONTAINERS: usize = 50;
/// How long containers live and jobs push.
const MINUTES: u64 = 2;

fn measure(lab: &Lab) -> Vec<Line> {
    let nodes = lab.nodes();
    let mut bare = Line::ours(
        "resident memory, node only",
        "MB",
        Cell::of(figure(&nodes, |nodes| nodes.every_second.resident_mb())),
    );
    bare.bound = Some(Bound::at_most(14.0, 12.0));
    if let Ok(nodes) = &*nodes {
        let peer = nodes.node_exporter.as_ref();
        bare.peers[0] = Cell::of(peer.map(|run| run.resident_mb()));
        bare.note = format!(
            "{:.1} MB at 15 s; {:.1} MB with this machine's own cgroups",
            nodes.every_15_seconds.resident_mb(),
            nodes.with_cgroups.resident_mb()
        );
    }
    let found = full(lab);
    let mut full = Line::ours(
        "+ 50 containers + 1,000 push groups",
        "MB",
        Cell::of(found.as_ref().map(resident_mb)),
    );
    full.bound = Some(Bound::at_most(28.0, 24.0));
    full.peers[1] = Cell::of(peer(lab).as_ref().map(resident_mb));
    if let Ok(run) = &found {
        full.note = format!(
            "the containers are a made tree of cgroups v2, half of them at work; {} pushes in {:.0} s; the Pushgateway has groups only",
            run.pushes,
            run.took.as_secs_f64()
        );
    }
    vec![bare, full]
}

fn resident_mb(run: &PushRun) -> f64 {
    run.resident as f64 / 1e6
}

/// Runs an agent with everything.
fn full(lab: &Lab) -> Result<PushRun> {
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&lab.work)?;
    let mut containers = MadeContainers::make(folder.path(), CONTAINERS)?;
    containers.live()?;
    let aggregator = lab.start(Engine::Promontory, Given::default())?;
    let flags: [OsString; 4] = [
        "--path.cgroupfs".into(),
        containers.cgroupfs.clone().into(),
        "--cri.snapshot".into(),
        containers.snapshot.clone().into(),
    ];
    let agent = lab.start_agent(&aggregator, &aggregator.ingest().to_string(), &flags)?;
    let gateway = Gateway::of_agent(&agent);
    gateway.fill(GROUPS_OF_A_NODE)?;
    let mut all = PushRun {
        pushes: 0,
        took: Duration::ZERO,
        cpu: Duration::ZERO,
        resident: 0,
    };
    let seconds = if lab.quick { 20 } else { MINUTES * 60 };
    for _ in 0..seconds {
        containers.live()?;
        let some = Duration::from_millis(20);
        let run = gateway.run(&agent.process(), GROUPS_OF_A_NODE, some)?;
        let rest = Duration::from_secs(1).saturating_sub(run.took);
        pause(rest);
        all.pushes += run.pushes;
        all.took += run.took + rest;
        all.cpu += run.cpu;
        all.resident = run.resident;
    }
    Ok(all)
}

/// Runs a Pushgateway with as many groups.
fn peer(lab: &Lab) -> Result<PushRun> {
    let (daemon, gateway) = Gateway::start_peer(lab)?;
    gateway.fill(GROUPS_OF_A_NODE)?;
    gateway.run(&daemon.process(), GROUPS_OF_A_NODE, Duration::from_secs(5))
}
