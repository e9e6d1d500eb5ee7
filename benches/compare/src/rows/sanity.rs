//! Whether the data are as hard as real ones: Debian's prometheus is known to take about 1.9 B/sample, and about 3.6 with scrape jitter.

use super::{Row, disk};
use crate::lab::Lab;
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "sanity",
    method: "Prometheus' blocks of `disk`: less than expected would mean that the data are too easy",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let lines = [(false, "aligned", 1.85, 1.9), (true, "jittered", 3.5, 3.6)];
    let lines = lines.map(|(jitter, what, must, aim)| Line {
        peers: [
            disk::peer(lab, Engine::Prometheus, jitter),
            Cell::absent("-"),
        ],
        bound: Some(Bound::at_least(must, aim)),
        of_peers: true,
        ..Line::ours(
            format!("data are hard enough, {what}"),
            "B/sample",
            Cell::absent("-"),
        )
    });
    lines.into()
}
