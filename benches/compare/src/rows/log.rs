//! Bytes of log for each sample, by the aggregator's own counter; Prometheus' by the size of its `wal`.

use super::Row;
use crate::lab::{Lab, RemoteRun, figure};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "log",
    method: "bytes written to the log while the rows of `ingest` and `remote-write` came",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let mut lines = Vec::new();
    for seconds in [15, 1] {
        let found = lab.native(seconds);
        let bytes = figure(&found, |run| run.log_bytes / run.samples as f64);
        let mut line = Line::ours(
            format!("log, native, {seconds} s"),
            "B/sample",
            Cell::of(bytes),
        );
        line.bound = Some(Bound::at_most(1.5, 1.3));
        lines.push(line);
    }
    let remote = |engine| {
        let found = lab.remote(engine, false);
        let bytes = match &*found {
            Ok(RemoteRun { log_bytes, .. }) => log_bytes.ok_or_else(|| "has no log".to_owned()),
            Err(error) => Err(error.clone()),
        };
        Cell::of(bytes)
    };
    let mut line = Line {
        peers: [remote(Engine::Prometheus), remote(Engine::VictoriaMetrics)],
        ..Line::ours("log, remote write", "B/sample", remote(Engine::Promontory))
    };
    line.bound = Some(Bound::at_most(5.0, 4.0));
    lines.push(line);
    lines
}
