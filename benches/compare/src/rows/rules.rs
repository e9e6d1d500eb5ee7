//! What rules cost.

use super::Row;
use crate::lab::{Lab, RulesRun};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "rules",
    method: "six minutes of rows by remote write, then 2,000 alerting and 1,000 recording rules every 15 s: CPU of the process for one evaluation of all, over six",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let [ours, prometheus] = [Engine::Promontory, Engine::Prometheus].map(|one| lab.rules(one));
    let cpu = |run: &RulesRun| run.round.as_secs_f64() * 1e3;
    let [own, peer] = [&ours, &prometheus].map(|run| run.as_ref().map(cpu));
    let share = own.and_then(|own| Ok(own / peer?));
    vec![
        Line {
            peers: [Cell::of(peer), Cell::absent("-")],
            note: note(&[("ours", &ours), ("prometheus", &prometheus)]),
            ..Line::ours("all rules once", "CPU ms", Cell::of(own))
        },
        Line {
            bound: Some(Bound::at_most(1.0 / 3.0, 0.2)),
            ..Line::ours("rules: CPU", "of prometheus' share", Cell::of(share))
        },
    ]
}

fn note(runs: &[(&str, &Result<RulesRun, String>)]) -> String {
    let parts = runs.iter().filter_map(|(name, run)| {
        let run = run.as_ref().ok()?;
        Some(format!(
            "{name} {} alerting and {} recording rules, {} alerts fire, {} series recorded, sum {:.9e}, {:.0} MiB resident",
            run.alerting,
            run.recording,
            run.firing,
            run.recorded,
            run.sum,
            run.resident.now as f64 / f64::from(1 << 20),
        ))
    });
    parts.collect::<Vec<_>>().join("; ")
}
