//! Pushes per second with 2,000 groups there.

use std::time::Duration;

use anyhow::Result;

use crate::lab::{Gateway, Lab, PushRun};
use crate::rows::Row;
use crate::server::{Engine, Given};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "pushes",
    method: "four clients PUT 20 gauges to 2,000 groups in turn, each push answered before the next; the agent delivers them meanwhile",
    measure,
};

const GROUPS: usize = 2_000;

fn measure(lab: &Lab) -> Vec<Line> {
    let within = Duration::from_secs(if lab.quick { 5 } else { 20 });
    let (ours, peer) = (ours(lab, within), peer(lab, within));
    let mut line = Line::ours(
        "pushes, 2,000 groups of 20 gauges",
        "per wall s",
        Cell::of(ours.as_ref().map(PushRun::per_second)),
    );
    line.peers[1] = Cell::of(peer.as_ref().map(PushRun::per_second));
    line.bound = Some(Bound::at_least(5_000.0, 20_000.0));
    let parts = [("ours", &ours), ("pushgateway", &peer)];
    let parts = parts.iter().filter_map(|(whose, run)| {
        let run = run.as_ref().ok()?;
        Some(format!(
            "{whose} {} pushes, {:.3} ms CPU each, {:.0} MB resident",
            run.pushes,
            run.cpu.as_secs_f64() * 1e3 / run.pushes as f64,
            run.resident as f64 / 1e6
        ))
    });
    line.note = parts.collect::<Vec<_>>().join("; ");
    vec![line]
}

fn ours(lab: &Lab, within: Duration) -> Result<PushRun> {
    let aggregator = lab.start(Engine::Promontory, Given::default())?;
    let agent = lab.start_agent(&aggregator, &aggregator.ingest().to_string(), &[])?;
    let gateway = Gateway::of_agent(&agent);
    gateway.fill(GROUPS)?;
    gateway.run(&agent.process(), GROUPS, within)
}

fn peer(lab: &Lab, within: Duration) -> Result<PushRun> {
    let (daemon, gateway) = Gateway::start_peer(lab)?;
    gateway.fill(GROUPS)?;
    gateway.run(&daemon.process(), GROUPS, within)
}
