//! A long range over samples, and over their summaries.

use super::Row;
use crate::lab::{Lab, figure};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "month",
    method: "our library in this process: thirty days of 1,024 series at 15 s, sum by (mode) of rate, every 5 min; CPU of the thread",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let month = lab.month();
    let seconds = |pick: fn(&crate::lab::MonthRun) -> std::time::Duration| {
        Cell::of(figure(&month, |run| pick(run).as_secs_f64()))
    };
    let mut raw = Line::ours(
        "range 30 d / 5 min, 1,024 series, from samples",
        "CPU s",
        seconds(|run| run.raw),
    );
    raw.bound = Some(Bound::at_most(1.5, 1.0));
    let mut tiers = Line::ours(
        "range 30 d / 5 min, 1,024 series, from summaries",
        "CPU s",
        seconds(|run| run.tiers),
    );
    tiers.bound = Some(Bound::at_most(0.1, 0.05));
    if let Ok(run) = &*month {
        raw.note = format!("{} series, {} samples", run.series, run.samples);
    }
    vec![raw, tiers]
}
