//! What it costs to read samples back from partitions.

use super::Row;
use crate::lab::{Lab, figure, nanos_per};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "decode",
    method: "every metric selected once over a merged day: CPU with look-up and labels, over samples",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let (day, span) = (lab.day(), lab.span(false));
    let decoding = figure(&day, |run| nanos_per(run.decoding, run.samples));
    let mut line = Line::ours(
        "decode from partitions",
        "CPU ns/sample",
        Cell::of(decoding),
    );
    line.bound = Some(Bound::at_most(4.0, 2.5));
    if let Ok(span) = &*span {
        let of_span = nanos_per(span.decoding, span.samples);
        line.note = format!("{of_span:.1} ns from files of two hours, 480 samples a series");
    }
    vec![line]
}
