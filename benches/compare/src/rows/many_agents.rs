//! Native ingest as a cluster sends it: a thousand agents, a small batch each second.

use super::{Row, threads};
use crate::lab::{Lab, ManyAgents, nanos_per};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "many-agents",
    method: "1,000 agents x 500 series at 1 s by the clock, one minute; CPU of the whole process",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let found = ManyAgents::run(lab);
    let cpu = found.as_ref().map(|run| nanos_per(run.cpu, run.samples));
    let mut line = Line::ours(
        "native ingest, 1,000 agents at 1 s",
        "CPU ns/sample",
        Cell::of(cpu),
    );
    line.bound = Some(Bound::at_most(500.0, 400.0));
    if let Ok(run) = &found {
        line.note = format!(
            "{} agents, {} samples; by thread: {}; {:.0} syncs",
            run.agents,
            run.samples,
            threads(&run.by_thread, run.samples),
            run.syncs
        );
    }
    vec![line]
}
