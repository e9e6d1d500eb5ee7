//! Rules over a cluster: thirty of each host and ninety of all hosts together, evaluated by each engine on the same rows.
//!
//! 1. Six minutes of rows that end now, by remote write, the same requests to each engine.
//! 2. Only then the rules are loaded: one group for each host and one for the cluster, every [`INTERVAL`].
//! 3. All groups are evaluated once, which finds out what stays in caches. The figure is the CPU time of the whole process over the
//!    rounds that follow, by the engine's own count of evaluated groups.
//! 4. Results are counted and added up at the time of the last row and the last but one round, so that an engine that is quick because
//!    it finds nothing shows.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::Shape;

use super::Lab;
use crate::agents::now;
use crate::http::Client;
use crate::proc::Resident;
use crate::remote_write::Feeder;
use crate::server::{Engine, Given, Server};
use crate::waiting::wait_until;

/// Rows before the rules are loaded.
const ROWS: usize = 24;
/// How often groups are evaluated.
const INTERVAL: Duration = Duration::from_secs(15);
/// Evaluations of each group that are measured: rows are seen for five minutes.
const ROUNDS: f64 = 6.0;
/// How long the rounds may take.
const WITHIN: Duration = Duration::from_secs(280);

const CONFIG: &str = "rule_files: [rules.yml]\n";
const NO_RULES: &str = "groups: []\n";

/// What rules cost, and what they found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RulesRun {
    /// Of the process, for one evaluation of every rule.
    pub(crate) round: Duration,
    pub(crate) alerting: usize,
    pub(crate) recording: usize,
    pub(crate) resident: Resident,
    pub(crate) firing: f64,
    pub(crate) recorded: f64,
    /// The sum of what was recorded.
    pub(crate) sum: f64,
}

pub(super) fn run(lab: &Lab, engine: Engine) -> Result<RulesRun> {
    let hosts = lab.hosts_until_now(Shape::whole(), lab.hosts(), ROWS)?;
    let names: Vec<String> = hosts.iter().map(|host| host.name().to_owned()).collect();
    let server = lab.start(
        engine,
        Given {
            flags: match engine {
                Engine::Promontory => &["--web.enable-lifecycle", "--config.file=prometheus.yml"],
                _ => &["--web.enable-lifecycle"],
            },
            files: &[("prometheus.yml", CONFIG), ("rules.yml", NO_RULES)],
        },
    )?;
    Feeder::new(hosts).send(server.web(), ROWS)?;
    server.write("rules.yml", &rules(&names))?;
    let mut client = Client::new(server.web());
    client.post("/-/reload", "", &[])?.success()?;
    let groups = (names.len() + 1) as f64;
    await_iterations(&server, groups)?;
    let process = server.process()?;
    let (before, begun) = (process.cpu()?, iterations(&server));
    await_iterations(&server, begun + groups * ROUNDS)?;
    let (cpu, ended) = (process.cpu()?.saturating_sub(before), iterations(&server));
    let resident = process.resident()?;
    let mut found = |expression: &str| -> Result<f64> {
        let found = server.query(&mut client, expression, now())?;
        found.first().copied().context("no result of rules")
    };
    Ok(RulesRun {
        round: cpu.mul_f64(groups / (ended - begun)),
        alerting: names.len() * ALERTS_OF_HOST.len() + ALERTS_OF_ALL.len() * THRESHOLDS.len(),
        recording: names.len() * RECORDINGS_OF_HOST.len() + RECORDINGS_OF_ALL.len(),
        resident,
        firing: found(r#"count(ALERTS{alertstate="firing"})"#)?,
        recorded: found(r#"count({__name__=~"(host|cluster):.*"})"#)?,
        sum: found(r#"sum({__name__=~"(host|cluster):.*"} < 1e6)"#)?,
    })
}

fn await_iterations(server: &Server, wanted: f64) -> Result<()> {
    wait_until("rules", Duration::from_millis(100), WITHIN, || {
        Ok((iterations(server) >= wanted).then_some(()))
    })
}

/// Returns how often groups have been evaluated.
fn iterations(server: &Server) -> f64 {
    // An engine shows a group once it is loaded.
    let count = |name: &str| server.metric(name).unwrap_or_default();
    match server.engine() {
        Engine::Promontory => count("promontory_rule_group_iterations_total"),
        // Prometheus counts evaluations that were due, missed ones among them.
        _ => {
            count("prometheus_rule_group_iterations_total")
                - count("prometheus_rule_group_iterations_missed_total")
        }
    }
}

/// Returns a rule file: a group for each host, and one for all.
fn rules(hosts: &[String]) -> String {
    let mut out = String::from("groups:\n");
    let interval = INTERVAL.as_secs();
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    for host in hosts {
        line(format!("- {{name: {host}, interval: {interval}s, rules: ["));
        for (name, expression) in RECORDINGS_OF_HOST {
            let expression = of_host(expression, host);
            line(format!(
                "  {{record: 'host:{name}', expr: '{expression}'}},"
            ));
        }
        for (name, expression) in ALERTS_OF_HOST {
            let expression = of_host(expression, host);
            line(format!("  {},", alert(name, &expression)));
        }
        line("]}".to_owned());
    }
    line(format!(
        "- {{name: cluster, interval: {interval}s, rules: ["
    ));
    for (name, expression) in RECORDINGS_OF_ALL {
        line(format!(
            "  {{record: 'cluster:{name}', expr: '{expression}'}},"
        ));
    }
    for (name, expression) in ALERTS_OF_ALL {
        for threshold in THRESHOLDS {
            let expression = format!("{expression} > {threshold}");
            let name = format!("{name}{threshold}");
            line(format!("  {},", alert(&name, &expression)));
        }
    }
    line("]}".to_owned());
    out
}

fn of_host(expression: &str, host: &str) -> String {
    expression.replace("HOST", &format!(r#"node="{host}""#))
}

fn alert(name: &str, expression: &str) -> String {
    format!(
        "{{alert: {name}, expr: '{expression}', for: 20s, labels: {{severity: warning}}, annotations: {{summary: '{{{{ $labels.instance }}}} is at {{{{ $value | humanize }}}}'}}}}"
    )
}

/// Each alert of all hosts comes with so many thresholds.
const THRESHOLDS: [&str; 5] = ["1e3", "1e4", "1e5", "1e6", "1e7"];

/// What is recorded of a host.
const RECORDINGS_OF_HOST: &[(&str, &str)] = &[
    (
        "cpu:rate5m",
        r#"sum by (node) (rate(node_cpu_seconds_total{mode!="idle",HOST}[5m]))"#,
    ),
    (
        "cpu_mode:rate5m",
        "sum by (node, mode) (rate(node_cpu_seconds_total{HOST}[5m]))",
    ),
    (
        "memory:used",
        "1 - node_memory_MemAvailable_bytes{HOST} / node_memory_MemTotal_bytes{HOST}",
    ),
    (
        "disk_io:rate5m",
        "sum by (node) (rate(node_disk_io_time_seconds_total{HOST}[5m]))",
    ),
    (
        "network_received:rate5m",
        "sum by (node) (rate(node_network_receive_bytes_total{HOST}[5m]))",
    ),
    (
        "network_sent:rate5m",
        "sum by (node) (rate(node_network_transmit_bytes_total{HOST}[5m]))",
    ),
    (
        "container_cpu:rate5m",
        "sum by (node, container) (rate(container_cpu_usage_seconds_total{HOST}[5m]))",
    ),
    (
        "container_memory:sum",
        "sum by (node, container) (container_memory_working_set_bytes{HOST})",
    ),
    (
        "requests:rate5m",
        "sum by (node, handler) (rate(http_request_duration_seconds_count{HOST}[5m]))",
    ),
    (
        "latency:p99",
        "histogram_quantile(0.99, sum by (le, node) (rate(http_request_duration_seconds_bucket{HOST}[5m])))",
    ),
];

/// What is watched of a host. Two of them hold: a host that runs, and one that has memory.
const ALERTS_OF_HOST: &[(&str, &str)] = &[
    ("HostRuns", "node_load15{HOST} >= 0"),
    ("HostHasMemory", "node_memory_MemTotal_bytes{HOST} > 0"),
    (
        "HostLoad",
        r#"node_load5{HOST} > 4 * scalar(count(node_cpu_seconds_total{mode="idle",HOST}))"#,
    ),
    (
        "HostCpu",
        r#"sum by (node) (rate(node_cpu_seconds_total{mode!="idle",HOST}[5m])) > 100"#,
    ),
    (
        "HostWaits",
        r#"sum by (node) (rate(node_cpu_seconds_total{mode="iowait",HOST}[5m])) > 100"#,
    ),
    (
        "HostMemory",
        "node_memory_MemAvailable_bytes{HOST} / node_memory_MemTotal_bytes{HOST} < 0.001",
    ),
    (
        "HostFilesystem",
        r#"node_filesystem_avail_bytes{fstype!="tmpfs",HOST} / node_filesystem_size_bytes{fstype!="tmpfs",HOST} < 0.0001"#,
    ),
    (
        "HostFilesystemFills",
        "predict_linear(node_filesystem_avail_bytes{HOST}[5m], 3600) < -1e15",
    ),
    ("HostFaults", "rate(node_vmstat_pgmajfault{HOST}[5m]) > 1e6"),
    (
        "HostKills",
        "increase(node_vmstat_oom_kill{HOST}[5m]) > 1e6",
    ),
    (
        "HostReceivesErrors",
        "rate(node_network_receive_errs_total{HOST}[5m]) > 1e6",
    ),
    (
        "HostSendsErrors",
        "rate(node_network_transmit_errs_total{HOST}[5m]) > 1e6",
    ),
    (
        "HostConnections",
        "node_nf_conntrack_entries{HOST} / node_nf_conntrack_entries_limit{HOST} > 0.99",
    ),
    ("HostClock", "abs(node_timex_offset_seconds{HOST}) > 1000"),
    (
        "HostFiles",
        "node_filefd_allocated{HOST} / node_filefd_maximum{HOST} > 0.99",
    ),
    (
        "ContainerCpu",
        "rate(container_cpu_usage_seconds_total{HOST}[5m]) > 1000",
    ),
    (
        "ContainerThrottled",
        "rate(container_cpu_cfs_throttled_periods_total{HOST}[5m]) / rate(container_cpu_cfs_periods_total{HOST}[5m]) > 1000",
    ),
    (
        "ContainerMemory",
        "container_memory_working_set_bytes{HOST} / container_spec_memory_limit_bytes{HOST} > 1e6",
    ),
    (
        "ContainerRestarts",
        "changes(container_start_time_seconds{HOST}[5m]) > 1000",
    ),
    (
        "Slow",
        "histogram_quantile(0.99, sum by (le, node) (rate(http_request_duration_seconds_bucket{HOST}[5m]))) > 1000",
    ),
];

/// What is recorded of all hosts.
const RECORDINGS_OF_ALL: &[(&str, &str)] = &[
    (
        "cpu:rate5m",
        r#"sum(rate(node_cpu_seconds_total{mode!="idle"}[5m]))"#,
    ),
    (
        "cpu_mode:rate5m",
        "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
    ),
    ("cpu:count", r#"count(node_cpu_seconds_total{mode="idle"})"#),
    ("cpu:ratio", "cluster:cpu:rate5m / cluster:cpu:count"),
    ("load1:sum", "sum(node_load1)"),
    ("load5:max", "max(node_load5)"),
    ("load15:avg", "avg(node_load15)"),
    ("memory:total", "sum(node_memory_MemTotal_bytes)"),
    ("memory:available", "sum(node_memory_MemAvailable_bytes)"),
    (
        "memory:ratio",
        "cluster:memory:available / cluster:memory:total",
    ),
    (
        "disk_read:rate5m",
        "sum by (device) (rate(node_disk_read_bytes_total[5m]))",
    ),
    (
        "disk_written:rate5m",
        "sum by (device) (rate(node_disk_written_bytes_total[5m]))",
    ),
    (
        "disk_io:rate5m",
        "sum by (node) (rate(node_disk_io_time_seconds_total[5m]))",
    ),
    (
        "network_received:rate5m",
        "sum by (node) (rate(node_network_receive_bytes_total[5m]))",
    ),
    (
        "network_sent:rate5m",
        "sum by (node) (rate(node_network_transmit_bytes_total[5m]))",
    ),
    (
        "network_dropped:rate5m",
        "sum(rate(node_network_receive_drop_total[5m]))",
    ),
    (
        "filesystem:available",
        "sum by (mountpoint) (node_filesystem_avail_bytes)",
    ),
    (
        "container_cpu:rate5m",
        "sum by (namespace, container) (rate(container_cpu_usage_seconds_total[5m]))",
    ),
    (
        "container_system:rate5m",
        "sum by (container) (rate(container_cpu_system_seconds_total[5m]))",
    ),
    (
        "container_throttled:rate5m",
        "sum by (container) (rate(container_cpu_cfs_throttled_periods_total[5m]))",
    ),
    (
        "container_memory:sum",
        "sum by (namespace, container) (container_memory_working_set_bytes)",
    ),
    (
        "container_memory:max",
        "max by (container) (container_memory_working_set_bytes)",
    ),
    (
        "container_rss:sum",
        "sum by (container) (container_memory_rss)",
    ),
    (
        "container_received:rate5m",
        "sum by (pod) (rate(container_network_receive_bytes_total[5m]))",
    ),
    (
        "container_sent:rate5m",
        "sum by (pod) (rate(container_network_transmit_bytes_total[5m]))",
    ),
    (
        "requests:rate5m",
        "sum by (handler) (rate(http_request_duration_seconds_count[5m]))",
    ),
    (
        "requests_node:rate5m",
        "sum by (node) (rate(http_request_duration_seconds_count[5m]))",
    ),
    (
        "latency:p99",
        "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    (
        "latency_handler:p99",
        "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    (
        "latency_node:p50",
        "histogram_quantile(0.5, sum by (le, node) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
];

/// What is watched of all hosts.
const ALERTS_OF_ALL: &[(&str, &str)] = &[
    (
        "Cpu",
        r#"sum by (node) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))"#,
    ),
    (
        "Waits",
        r#"sum by (node) (rate(node_cpu_seconds_total{mode="iowait"}[5m]))"#,
    ),
    ("Load", "node_load1"),
    ("Switches", "rate(node_context_switches_total[5m]) / 1e9"),
    (
        "Errors",
        "rate(node_network_receive_errs_total[5m]) + rate(node_network_transmit_errs_total[5m])",
    ),
    (
        "ContainerCpu",
        "sum by (namespace, pod) (rate(container_cpu_usage_seconds_total[5m]))",
    ),
    ("ContainerThreads", "container_threads"),
    (
        "ContainerFails",
        "rate(container_memory_failures_total[5m])",
    ),
    (
        "ContainerRatio",
        "container_memory_working_set_bytes / container_spec_memory_limit_bytes",
    ),
    (
        "Requests",
        "sum by (node) (rate(http_request_duration_seconds_count[5m])) / 1e3",
    ),
    (
        "Latency",
        "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    (
        "Writes",
        "sum by (node) (rate(node_disk_written_bytes_total[5m])) / 1e9",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_the_rules_of_the_goal() {
        let hosts: Vec<String> = (0..benches::HOSTS).map(|n| format!("host-{n}")).collect();
        let text = rules(&hosts);
        assert_eq!(text.matches("{alert: ").count(), 2_000);
        assert_eq!(text.matches("{record: ").count(), 1_000);
    }
}
