//! CPU time of the agent: for what it collects, encodes and sends, and as a share of a core.

use crate::lab::{Lab, NodeRun, figure};
use crate::rows::Row;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "cpu",
    method: "user and system time of a real agent of this machine at 1 s, QUIC and all; the peer collects and is scraped only",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let found = lab.nodes();
    let line = |what: &str, unit, pick: fn(&NodeRun) -> f64| {
        let mut line = Line::ours(
            what,
            unit,
            Cell::of(figure(&found, |nodes| pick(&nodes.every_second))),
        );
        if let Ok(nodes) = &*found {
            line.peers[0] = Cell::of(nodes.node_exporter.as_ref().map(pick));
        }
        line
    };
    let mut each = line(
        "collected, encoded and sent",
        "CPU ms/1,000 samples",
        NodeRun::cpu_ms_per_thousand,
    );
    each.bound = Some(Bound::at_most(4.0, 3.0));
    let mut share = line("default collectors at 1 s", "% of a core", NodeRun::share);
    share.bound = Some(Bound::at_most(0.3, 0.15));
    if let Ok(nodes) = &*found {
        let run = nodes.every_second;
        each.note = format!(
            "{:.0} samples, {:.0} ms CPU in {:.0} s; {:.2} ms/1,000 at 15 s",
            run.samples,
            run.cpu.as_secs_f64() * 1e3,
            run.took.as_secs_f64(),
            nodes.every_15_seconds.cpu_ms_per_thousand()
        );
        share.note = format!(
            "{:.3} % with this machine's cgroups as well, {:.0} samples a second",
            nodes.with_cgroups.share(),
            nodes.with_cgroups.samples / nodes.with_cgroups.took.as_secs_f64()
        );
    }
    vec![each, share]
}
