//! Bytes of a sample on the wire, in both directions, headers of IP and UDP, acknowledgements and keep-alives included.

use crate::lab::{Lab, NodeRun, Nodes, figure};
use crate::rows::Row;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "wire",
    method: "a UDP relay between a real agent of this machine and its aggregator counts datagrams, 28 bytes of headers each",
    measure,
};

type Pick = fn(&Nodes) -> &NodeRun;

fn measure(lab: &Lab) -> Vec<Line> {
    let found = lab.nodes();
    let lines: [(u32, f64, f64, Pick); 2] = [
        (1, 2.2, 1.8, |nodes| &nodes.every_second),
        (15, 3.0, 2.5, |nodes| &nodes.every_15_seconds),
    ];
    let lines = lines.map(|(seconds, must, aim, pick)| {
        let bytes = figure(&found, |nodes| pick(nodes).bytes_per_sample());
        let mut line = Line::ours(
            format!("wire, both directions, at {seconds} s"),
            "B/sample",
            Cell::of(bytes),
        );
        line.bound = Some(Bound::at_most(must, aim));
        if let Ok(nodes) = &*found {
            let run = pick(nodes);
            let intervals = run.took.as_secs_f64() / f64::from(seconds);
            line.note = format!(
                "{:.0} samples, {:.1} datagrams and {:.0} bytes an interval, the agent's own metrics included",
                run.samples / intervals,
                run.passed.datagrams as f64 / intervals,
                run.passed.bytes as f64 / intervals,
            );
        }
        line
    });
    lines.into()
}
