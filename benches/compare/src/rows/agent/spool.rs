//! A day in the spool: what an aggregator that is away for 24 hours costs on the agent's disk.
//!
//! The agent's own code makes batches of recorded rows and spools them, in this process and as fast as it goes; nothing is
//! acknowledged. A batch is what a tick makes: the rows of four cohorts of some 500 series.

use std::sync::Arc;

use anyhow::{Result, ensure};
use benches::{Host, Shape};
use files::Disk;
use rows::{CohortDefinition, CohortId, Epoch, Presence, SeriesDefinition};
use spool::{Settings, Spool};
use uplink::{Maker, Update};

use crate::lab::Lab;
use crate::proc::folder_bytes;
use crate::rows::Row;
use crate::table::{Bound, Cell, Line};

pub(super) const ROW: Row = Row {
    name: "spool",
    method: "24 h of four recorded nodes at 15 s, batches made and spooled by the agent's own code, accelerated; bytes of the folder",
    measure,
};

const HOSTS: usize = 4;
/// Of a day at 15 s.
const ROWS: usize = 24 * 3_600 / 15;
/// Of which the bounds are.
const SERIES: f64 = 2_000.0;

struct Spooled {
    series: usize,
    samples: u64,
    bytes: u64,
}

fn measure(lab: &Lab) -> Vec<Line> {
    let found = run(lab);
    let megabytes = |run: &Spooled| run.bytes as f64 / 1e6 * SERIES / run.series as f64;
    let mut line = Line::ours(
        "spool, 24 h of 2,000 series at 15 s",
        "MB",
        Cell::of(found.as_ref().map(megabytes)),
    );
    line.bound = Some(Bound::at_most(32.0, 20.0));
    if let Ok(run) = &found {
        line.note = format!(
            "{} samples of {} series in {} bytes, {:.2} B/sample; the figure is that of 2,000 series",
            run.samples,
            run.series,
            run.bytes,
            run.bytes as f64 / run.samples as f64
        );
    }
    vec![line]
}

fn run(lab: &Lab) -> Result<Spooled> {
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&lab.work)?;
    let epoch = Epoch(fastrand::u64(..));
    let settings = Settings::default();
    let (mut spool, _) = Spool::open(Arc::new(Disk), folder.path(), settings, epoch)?;
    spool.destination("away")?;
    let mut maker = Maker::new(&spool);
    let mut hosts = lab.hosts_until_now(Shape::node_only(), HOSTS, ROWS)?;
    for counter in 0..ROWS {
        let mut update = Update::default();
        for (cohort, host) in (0..).map(CohortId).zip(&mut hosts) {
            if counter == 0 {
                update.definitions.push(definition(cohort, host));
            }
            update
                .rows
                .push(Arc::new(row(cohort, counter as u64, host)));
        }
        let at = update.rows[0].at;
        maker.make(&mut spool, &update, at)?;
    }
    let stats = spool.stats();
    ensure!(stats.batches == maker.stats().batches, "the spool is full");
    spool.close();
    Ok(Spooled {
        series: hosts.iter().map(|host| host.series().len()).sum(),
        samples: maker.stats().samples,
        bytes: folder_bytes(folder.path()),
    })
}

fn definition(cohort: CohortId, host: &Host) -> CohortDefinition {
    let series = host.series().iter().map(|series| SeriesDefinition {
        labels: series.labels.clone(),
        kind: series.kind,
    });
    CohortDefinition {
        cohort,
        name: Arc::from(host.name()),
        first_slot: 0,
        series: series.collect(),
    }
}

fn row(cohort: CohortId, counter: u64, host: &mut Host) -> rows::Row {
    let mut floats = Vec::with_capacity(host.series().len());
    let at = host.next_row(&mut floats);
    rows::Row {
        cohort,
        counter,
        at,
        presence: Presence::filled(floats.len(), true),
        floats,
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    }
}
