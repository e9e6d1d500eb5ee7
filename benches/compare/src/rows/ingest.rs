//! Native ingest: CPU time of the whole aggregator per sample, full batches over QUIC, without sealing and merging.

use super::{Row, threads};
use crate::lab::{Lab, figure, nanos_per};
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "ingest",
    method: "97 agents over QUIC, batches of ~2,000 samples as fast as taken; CPU of the process less its sealing threads",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let found = lab.native(15);
    let mut line = Line::ours(
        "native ingest, full batches",
        "CPU ns/sample",
        Cell::of(figure(&found, |run| nanos_per(run.ingest, run.samples))),
    );
    line.bound = Some(Bound::at_most(120.0, 80.0));
    line.peers = [(); 2].map(|()| Cell::absent("remote write"));
    if let Ok(run) = &*found {
        line.note = format!(
            "{} samples of {} series; by thread: {}; {} seals meanwhile, {:.1} ns/sample apart; new series {:.1} us each; {:.2} B/sample in bodies",
            run.samples,
            run.series,
            threads(&run.by_thread, run.samples),
            run.seals,
            nanos_per(run.sealing, run.samples),
            nanos_per(run.making_series, run.series) / 1e3,
            run.body_bytes as f64 / run.samples as f64,
        );
    }
    vec![line]
}
