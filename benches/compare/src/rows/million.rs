//! A million active series: a hundred agents with ten thousand each, rows every 15 s, default settings.

use std::time::Duration;

use anyhow::Result;
use benches::Shape;

use super::{Row, threads};
use crate::agents::{Fleet, Pace, RowSource};
use crate::lab::{Lab, nanos_per};
use crate::proc::Resident;
use crate::server::{Engine, Given};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "million",
    method: "100 agents x 10,000 series at 15 s, two hours of rows as fast as taken; peak VmRSS (VmHWM), CPU of the process",
    measure,
};

const AGENTS: usize = 100;
/// With a node of some 570 series, about 10,000.
const CONTAINERS: usize = 470;

struct Run {
    series: u64,
    samples: u64,
    making_series: Duration,
    ingest: Duration,
    by_thread: String,
    resident: Resident,
    seals: f64,
}

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let figure = |pick: fn(&Run) -> f64| Cell::of(found.as_ref().map(pick));
    let mut memory = Line::ours(
        "1 M series, peak memory",
        "MiB",
        figure(|run| run.resident.peak as f64 / f64::from(1 << 20)),
    );
    memory.bound = Some(Bound::at_most(2_048.0, 1_229.0));
    let mut ingest = Line::ours(
        "1 M series, ingest and sealing",
        "CPU ns/sample",
        figure(|run| nanos_per(run.ingest, run.samples)),
    );
    if let Ok(run) = &found {
        memory.note = format!(
            "{} series, {} samples, {} seals; {:.0} MiB at the end",
            run.series,
            run.samples,
            run.seals,
            run.resident.now as f64 / f64::from(1 << 20)
        );
        ingest.note = format!("by thread: {}", run.by_thread);
    }
    let new_series = Line::ours(
        "1 M series, a new series",
        "CPU us",
        figure(|run| nanos_per(run.making_series, run.series) / 1e3),
    );
    vec![memory, ingest, new_series]
}

fn run(lab: &Lab) -> Result<Run> {
    let shape = Shape {
        containers: CONTAINERS,
        ..Shape::whole()
    };
    let (agents, rows) = if lab.quick {
        (AGENTS / 5, 40)
    } else {
        (AGENTS, 480)
    };
    let hosts = lab.hosts_until_now(shape, agents, rows + 1)?;
    let series: usize = hosts.iter().map(|host| host.series().len()).sum();
    let server = lab.start(Engine::Promontory, Given::default())?;
    let members = hosts.into_iter().map(|host| {
        let name = host.name().to_owned();
        (name, Box::new(host) as Box<dyn RowSource>)
    });
    let mut fleet = Fleet::open(&server, shape.interval, members.collect())?;
    server.await_idle()?;
    let process = server.process()?;
    let before = process.cpu()?;
    fleet.send(1, 1, |_| Pace::Unbounded)?;
    server.await_idle()?;
    let making_series = process.cpu()?.saturating_sub(before);
    let (before, sent_before, threads_before) =
        (process.cpu()?, fleet.sent(), process.cpu_by_thread()?);
    fleet.send(rows, 1, |_| Pace::Unbounded)?;
    server.await_idle()?;
    let ingest = process.cpu()?.saturating_sub(before);
    let samples = fleet.sent().samples - sent_before.samples;
    let mut by_thread = process.cpu_by_thread()?;
    for (name, cpu) in &mut by_thread {
        *cpu = cpu.saturating_sub(threads_before.get(name).copied().unwrap_or_default());
    }
    Ok(Run {
        series: series as u64,
        samples,
        making_series,
        ingest,
        by_thread: threads(&by_thread, samples),
        resident: process.resident()?,
        seals: server.metric("promontory_storage_seals_total")?,
    })
}
