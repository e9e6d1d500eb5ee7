//! The rows of the table: a name, how it is measured, and what has to come out.

mod agent;
mod alerts;
mod catch_up;
mod churn;
mod decode;
mod disk;
mod fresh;
mod index;
mod ingest;
mod log;
mod many_agents;
mod memory;
mod million;
mod month;
mod promql;
mod remote_write;
mod restart;
mod rules;
mod sanity;
mod seal;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::{Lab, nanos_per};
use crate::table::{Line, PeerNames};

/// A row: one measurement, or a few that belong together.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) measure: fn(&Lab) -> Vec<Line>,
}

/// A command's table: its rows, in order.
pub(crate) struct Table {
    pub(crate) rows: &'static [Row],
    /// What the columns of peers are called.
    pub(crate) peers: PeerNames,
    /// What of ours has to be built.
    pub(crate) packages: &'static [&'static str],
}

const STORES: PeerNames = ["prometheus", "victoria-metrics"];

/// The table of the command `agent`.
pub(crate) const AGENT: Table = Table {
    rows: agent::ROWS,
    peers: ["node-exporter", "pushgateway"],
    packages: &["aggregator", "agent"],
};

/// The table of the command `promql`.
pub(crate) const PROMQL: Table = Table {
    rows: &[promql::WHOLE, promql::MILLION, month::ROW],
    peers: STORES,
    packages: &["aggregator"],
};

/// The table of the command `rules`.
pub(crate) const RULES: Table = Table {
    rows: &[rules::ROW, alerts::ROW],
    peers: ["prometheus", "alertmanager"],
    packages: &["aggregator"],
};

/// The table of the command `storage`.
pub(crate) const STORAGE: Table = Table {
    rows: STORAGE_ROWS,
    peers: STORES,
    packages: &["aggregator"],
};

const STORAGE_ROWS: &[Row] = &[
    ingest::ROW,
    many_agents::ROW,
    remote_write::ROW,
    disk::ROW,
    index::ROW,
    memory::ROW,
    log::ROW,
    restart::ROW,
    seal::ROW,
    fresh::ROW,
    catch_up::ROW,
    decode::ROW,
    million::ROW,
    churn::ROW,
    sanity::ROW,
];

/// Returns where CPU time went, in nanoseconds per sample, the greatest first.
fn threads(by_thread: &BTreeMap<String, Duration>, samples: u64) -> String {
    let mut shares: Vec<(f64, &str)> = by_thread
        .iter()
        .map(|(name, cpu)| (nanos_per(*cpu, samples), name.as_str()))
        .filter(|(nanos, _)| *nanos >= 0.05)
        .collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shares = shares
        .iter()
        .map(|(nanos, name)| format!("{name} {nanos:.1}"));
    shares.collect::<Vec<_>>().join(", ")
}
