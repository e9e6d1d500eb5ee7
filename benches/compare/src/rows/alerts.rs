//! What many firing alerts cost.

use super::Row;
use crate::lab::{AlertsRun, Lab};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "alerts",
    method: "20,000 firing alerts four times within a minute by API v2, grouped, routed, told to a webhook: CPU of the process over all, resident memory at the end",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let [ours, peer] = [Engine::Promontory, Engine::Alertmanager].map(|one| lab.alerts(one));
    let cpu = |run: &AlertsRun| run.cpu.as_secs_f64() * 1e3;
    let memory = |run: &AlertsRun| run.resident.now as f64 / f64::from(1 << 20);
    let lines = |what: &str, unit, pick: &dyn Fn(&AlertsRun) -> f64| {
        let [own, other] = [&ours, &peer].map(|run| run.as_ref().map(pick));
        let share = own.and_then(|own| Ok(own / other?));
        [
            Line {
                peers: [Cell::absent("-"), Cell::of(other)],
                note: note(&[("ours", &ours), ("alertmanager", &peer)]),
                ..Line::ours(format!("20,000 alerts: {what}"), unit, Cell::of(own))
            },
            Line {
                bound: Some(Bound::at_most(1.0 / 3.0, 0.2)),
                ..Line::ours(
                    format!("alerts: {what}"),
                    "of alertmanager's share",
                    Cell::of(share),
                )
            },
        ]
    };
    let [cpu, cpu_share] = lines("CPU", "ms", &cpu);
    let [memory, memory_share] = lines("memory", "MiB", &memory);
    vec![cpu, cpu_share, memory, memory_share]
}

fn note(runs: &[(&str, &Result<AlertsRun, String>)]) -> String {
    let parts = runs.iter().filter_map(|(name, run)| {
        let run = run.as_ref().ok()?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Some(format!(
            "{name} {} alerts told in {} webhooks, {:.0} MiB resident before, {:.0} at most",
            run.told,
            run.webhooks,
            mib(run.resident_before.now),
            mib(run.resident.peak),
        ))
    });
    parts.collect::<Vec<_>>().join("; ")
}
