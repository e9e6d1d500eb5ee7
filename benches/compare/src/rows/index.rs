//! Bytes of the index on disk, for each series of two hours.

use super::Row;
use crate::lab::{Lab, RemoteRun, figure};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "index",
    method: "labels, symbols, postings of the files of `disk` (aligned): Prometheus' `index`, VictoriaMetrics' `indexdb`",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let ours = lab.span(false);
    let peer = |engine| {
        let found = lab.remote(engine, false);
        let index = match &*found {
            Ok(RemoteRun {
                disk: Ok(disk),
                series,
                ..
            }) => Ok(disk.index_bytes as f64 / *series as f64),
            Ok(RemoteRun {
                disk: Err(error), ..
            })
            | Err(error) => Err(error.clone()),
        };
        Cell::of(index)
    };
    let mut line = Line {
        peers: [peer(Engine::Prometheus), peer(Engine::VictoriaMetrics)],
        ..Line::ours(
            "index on disk",
            "B/series",
            Cell::of(figure(&ours, |run| {
                run.space.index_bytes as f64 / run.space.series as f64
            })),
        )
    };
    line.bound = Some(Bound::at_most(80.0, 60.0));
    vec![line]
}
