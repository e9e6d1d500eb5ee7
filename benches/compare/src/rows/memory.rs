//! Resident memory of the whole process, for each active series, with two hours of rows behind it.

use super::Row;
use crate::lab::{Found, Lab, NativeRun, RemoteRun, figure};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "memory",
    method: "VmRSS of the process after the last row, sessions and all, over the number of series; default settings",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let mut lines = Vec::new();
    for (seconds, what) in [(15, "row path, 15 s"), (1, "row path, 1 s")] {
        let found = lab.native(seconds);
        let mut line = Line::ours(format!("memory, {what}"), "KB/series", native(&found));
        line.bound = Some(Bound::at_most(1.2, 1.0));
        if let Ok(run) = &*found {
            line.note = format!(
                "{} series; {:.0} MB after {} samples and {} seals, peak {:.0} MB, {:.0} MB before the first series",
                run.series,
                run.resident.now as f64 / 1e6,
                run.samples,
                run.seals,
                run.resident.peak as f64 / 1e6,
                run.resident_before.now as f64 / 1e6,
            );
        }
        lines.push(line);
    }
    let ours = lab.remote(Engine::Promontory, false);
    let mut line = Line {
        peers: [
            remote(&lab.remote(Engine::Prometheus, false)),
            remote(&lab.remote(Engine::VictoriaMetrics, false)),
        ],
        ..Line::ours("memory, per-series path, 15 s", "KB/series", remote(&ours))
    };
    line.bound = Some(Bound::at_most(1.6, 1.3));
    let engines = [
        Engine::Promontory,
        Engine::Prometheus,
        Engine::VictoriaMetrics,
    ];
    let before = engines.iter().filter_map(|engine| {
        let found = lab.remote(*engine, false);
        let run = found.as_ref().as_ref().ok()?;
        let before = run.resident_before.now as f64 / 1e6;
        Some(format!("{} {before:.0} MB", engine.name()))
    });
    line.note = format!(
        "before the first series: {}",
        before.collect::<Vec<_>>().join(", ")
    );
    lines.push(line);
    lines
}

fn native(found: &Found<NativeRun>) -> Cell {
    Cell::of(figure(found, |run| {
        run.resident.now as f64 / 1e3 / run.series as f64
    }))
}

fn remote(found: &Found<RemoteRun>) -> Cell {
    Cell::of(figure(found, |run| {
        run.resident.now as f64 / 1e3 / run.series as f64
    }))
}
