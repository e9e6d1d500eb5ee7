//! Whole systems of real processes, on good days and bad ones.

mod alertmanager;
mod backtest;
mod blocked_udp;
mod comparison;
mod first_minute;
mod full_disk;
mod hostile;
mod import;
mod joining;
mod ledger;
mod limits;
mod notifications;
mod pair;
mod push;
mod queries;
mod reload;
mod remote_write;
mod rules;
mod scraping;
mod side_by_side;
mod snapshots;
mod strangers;
mod tools;

use tests::processes::{Agent, Aggregator, PATIENCE, wait_until};

/// What an agent collects in tests that are about something else: little, since machines are busy while tests run.
const LEAN: &[&str] = &[
    "--no-collector.arp",
    "--no-collector.bcache",
    "--no-collector.bcachefs",
    "--no-collector.bonding",
    "--no-collector.btrfs",
    "--no-collector.conntrack",
    "--no-collector.cpufreq",
    "--no-collector.diskstats",
    "--no-collector.dmi",
    "--no-collector.dmmultipath",
    "--no-collector.edac",
    "--no-collector.entropy",
    "--no-collector.fibrechannel",
    "--no-collector.hwmon",
    "--no-collector.infiniband",
    "--no-collector.ipvs",
    "--no-collector.kernel_hung",
    "--no-collector.mdadm",
    "--no-collector.meminfo",
    "--no-collector.netclass",
    "--no-collector.netdev",
    "--no-collector.netstat",
    "--no-collector.nfs",
    "--no-collector.nfsd",
    "--no-collector.nvme",
    "--no-collector.os",
    "--no-collector.powersupplyclass",
    "--no-collector.pressure",
    "--no-collector.rapl",
    "--no-collector.schedstat",
    "--no-collector.selinux",
    "--no-collector.sockstat",
    "--no-collector.softnet",
    "--no-collector.tapestats",
    "--no-collector.textfile",
    "--no-collector.thermal_zone",
    "--no-collector.timex",
    "--no-collector.udp_queues",
    "--no-collector.vmstat",
    "--no-collector.watchdog",
    "--no-collector.xfs",
    "--no-collector.zfs",
    "--no-collector.filesystem",
];

/// The flags of a lean agent, and more.
fn lean<'a>(more: &[&'a str]) -> Vec<&'a str> {
    LEAN.iter().copied().chain(more.iter().copied()).collect()
}

/// Waits until a counter of an aggregator is above a value.
#[track_caller]
fn await_counter(aggregator: &Aggregator, series: &str, above: f64) {
    wait_until(PATIENCE, &format!("{series} above {above}"), || {
        (aggregator.metric(series) > above).then_some(())
    });
}

/// Waits until rows of an agent are stored that were made after this call.
#[track_caller]
fn await_new_rows(aggregator: &Aggregator, agent: &Agent) {
    let last_row = |agent: &Agent| aggregator.agent(agent.id())?["lastRow"].as_f64();
    let before = last_row(agent).unwrap_or(0.0);
    let what = format!("new rows of {}", agent.id());
    wait_until(PATIENCE, &what, || {
        last_row(agent)
            .is_some_and(|last| last > before + 0.5)
            .then_some(())
    });
}
