//! What sealing and merging cost.

use super::Row;
use crate::lab::{Lab, figure, nanos_per};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "seal",
    method: "CPU of the keeper's thread while heads of two hours become partition files, and of the merging thread while a day of them becomes one, tiers included, in this process",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let found = lab.span(false);
    let sealing = figure(&found, |run| nanos_per(run.sealing, run.samples));
    let mut seal = Line::ours("sealing", "CPU ns/sample", Cell::of(sealing));
    seal.bound = Some(Bound::at_most(40.0, 25.0));
    let found = lab.day();
    let merging = figure(&found, |run| nanos_per(run.merging, run.samples));
    let mut merge = Line::ours("merging", "CPU ns/sample", Cell::of(merging));
    merge.bound = Some(Bound::at_most(40.0, 30.0));
    vec![seal, merge]
}
