//! Bytes of a sample on disk, index excluded, when timestamps are aligned and when scrapes jitter.
//!
//! Ours: partition files of two hours, and those of a whole day of a tenth of the hosts, less their index; everything else in the file counts, directories of pages and the database's own bytes included.
//! Prometheus: the `chunks` of blocks. VictoriaMetrics: `data` after the final merge.

use super::Row;
use crate::lab::{Lab, RemoteRun, figure};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "disk",
    method: "two hours of rows, sealed (ours), as a block of the snapshot route (Prometheus), after the final merge (VictoriaMetrics)",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let mut lines = Vec::new();
    for (jitter, what) in [(false, "aligned"), (true, "jittered")] {
        let ours = lab.span(jitter);
        let mut line = Line {
            peers: [
                peer(lab, Engine::Prometheus, jitter),
                peer(lab, Engine::VictoriaMetrics, jitter),
            ],
            ..Line::ours(
                format!("2 h partitions, {what}"),
                "B/sample",
                Cell::of(figure(&ours, |run| {
                    (run.space.bytes - run.space.index_bytes) as f64 / run.space.samples as f64
                })),
            )
        };
        line.bound = Some(Bound::at_most(0.80, 0.75));
        if let Ok(run) = &*ours {
            line.note = format!(
                "{} samples in {} files; {:.3} B/sample with the index",
                run.samples,
                run.space.files,
                run.space.bytes as f64 / run.samples as f64
            );
        }
        lines.push(line);
    }
    let ours = lab.day();
    let mut merged = Line::ours(
        "after the daily merge",
        "B/sample",
        Cell::of(figure(&ours, |run| {
            (run.space.bytes - run.space.index_bytes) as f64 / run.space.samples as f64
        })),
    );
    if let Ok(run) = &*ours {
        merged.note = format!(
            "{} samples of a day of {} series in {} files; {:.3} B/sample with the index",
            run.samples,
            run.space.series,
            run.space.files,
            run.space.bytes as f64 / run.samples as f64
        );
    }
    merged.bound = Some(Bound::at_most(0.68, 0.62));
    lines.push(merged);
    lines
}

/// Returns what a sample takes at a peer.
pub(super) fn peer(lab: &Lab, engine: Engine, jitter: bool) -> Cell {
    let found = lab.remote(engine, jitter);
    let disk = match &*found {
        Ok(RemoteRun { disk: Ok(disk), .. }) => Ok(disk.sample_bytes as f64 / disk.samples),
        Ok(RemoteRun {
            disk: Err(error), ..
        })
        | Err(error) => Err(error.clone()),
    };
    Cell::of(disk)
}
