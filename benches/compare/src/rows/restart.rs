//! From SIGKILL to the answer: how long the last acknowledged sample is away, with everything of two hours still in head and log.

use super::Row;
use crate::lab::{Lab, RemoteRun, Restart};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "restart",
    method: "SIGKILL after the last acknowledgement, start, wall time until ready and the last sample is answered",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let mut lines = Vec::new();
    for seconds in [15, 1] {
        let found = lab.native(seconds);
        let restart = match &*found {
            Ok(run) => run.restart.clone(),
            Err(error) => Err(error.clone()),
        };
        let mut line = Line::ours(
            format!("ready after SIGKILL, rows at {seconds} s"),
            "wall s",
            Cell::of(restart.as_ref().map(seconds_of)),
        );
        line.bound = Some(Bound::at_most(2.0, 1.0));
        if let Ok(restart) = restart {
            line.note = format!("{:.2} s CPU", restart.cpu.as_secs_f64());
        }
        lines.push(line);
    }
    let remote = |engine| {
        let found = lab.remote(engine, false);
        let restart = match &*found {
            Ok(RemoteRun { restart, .. }) => restart.clone(),
            Err(error) => Err(error.clone()),
        };
        Cell::of(restart.as_ref().map(seconds_of))
    };
    lines.push(Line {
        peers: [remote(Engine::Prometheus), remote(Engine::VictoriaMetrics)],
        ..Line::ours(
            "ready after SIGKILL, remote write, 15 s",
            "wall s",
            remote(Engine::Promontory),
        )
    });
    lines
}

fn seconds_of(restart: &Restart) -> f64 {
    restart.took.as_secs_f64()
}
