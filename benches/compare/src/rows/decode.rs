//! What it costs to read samples back from partitions.

use super::Row;
use crate::lab::{Lab, figure, nanos_per};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "decode",
    method: "every series of every host selected once over two hours: CPU with look-up and labels, over samples",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let found = lab.library(false);
    let decoding = figure(&found, |run| nanos_per(run.decoding, run.decoded));
    let mut line = Line::ours(
        "decode from partitions",
        "CPU ns/sample",
        Cell::of(decoding),
    );
    line.bound = Some(Bound::at_most(4.0, 2.5));
    vec![line]
}
