//! Remote write 1.0, the same requests to everybody.

use super::Row;
use crate::lab::{Found, Lab, RemoteRun, figure, nanos_per};
use crate::server::Engine;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "remote-write",
    method: "2,000 one-sample series per request, 2 connections, two hours of rows; CPU of the process until it is idle",
    measure,
};

fn measure(lab: &Lab) -> Vec<Line> {
    let ours = lab.remote(Engine::Promontory, false);
    let [prometheus, victoria] = Engine::PEERS.map(|peer| lab.remote(peer, false));
    let line = |what: &str, unit, pick: fn(&RemoteRun) -> f64| {
        let cell = |found: &Found<RemoteRun>| Cell::of(figure(found, pick));
        Line {
            peers: [cell(&prometheus), cell(&victoria)],
            ..Line::ours(what, unit, cell(&ours))
        }
    };
    let mut ingest = line("remote write 1.0", "CPU ns/sample", |run| {
        nanos_per(run.ingest, run.samples)
    });
    ingest.bound = Some(Bound::at_most(500.0, 400.0));
    if let Some(run) = [&ours, &prometheus, &victoria]
        .iter()
        .find_map(|found| found.as_ref().as_ref().ok())
    {
        ingest.note = format!(
            "{} samples of {} series, {:.1} B/sample on the wire",
            run.samples,
            run.series,
            run.sent_bytes as f64 / run.samples as f64
        );
    }
    let new_series = line("new series by remote write", "CPU us/series", |run| {
        nanos_per(run.making_series, run.series) / 1e3
    });
    vec![ingest, new_series]
}
