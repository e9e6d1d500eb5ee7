//! A container's series, as cAdvisor has them.

use std::time::Duration;

use fastrand::Rng;
use model::MetricType;

use super::{HostSeries, Names, labels, log_normal, normal, round_by_chance, text};

const PAGE_BYTES: i64 = 4_096;
const NANOS: f64 = 1e9;

/// The series of a container, in their order.
const COUNTERS: &[&str] = &[
    "container_cpu_usage_seconds_total",
    "container_cpu_user_seconds_total",
    "container_cpu_system_seconds_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_memory_failures_total",
    "container_network_receive_bytes_total",
    "container_network_receive_packets_total",
    "container_network_transmit_bytes_total",
    "container_network_transmit_packets_total",
    "container_fs_reads_bytes_total",
    "container_fs_writes_bytes_total",
];
const GAUGES: &[&str] = &[
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_memory_rss",
    "container_memory_cache",
    "container_memory_mapped_file",
    "container_threads",
    "container_spec_memory_limit_bytes",
    "container_start_time_seconds",
];

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    busy: bool,
    seconds: f64,
    /// CPUs used, and packets a second, on average.
    cpus: f64,
    packets: f64,
    counters: Counters,
    memory: Memory,
    threads: i64,
    limit: f64,
    started: f64,
}

/// In whole units: nanoseconds, periods, bytes, packets.
#[derive(Debug, Default)]
struct Counters {
    user: i64,
    system: i64,
    periods: i64,
    throttled: i64,
    failures: i64,
    received: Traffic,
    sent: Traffic,
    read: i64,
    written: i64,
}

#[derive(Debug, Default)]
struct Traffic {
    bytes: i64,
    packets: i64,
}

/// In pages.
#[derive(Debug)]
struct Memory {
    rss: i64,
    cache: i64,
    inactive: i64,
    mapped: i64,
}

impl Container {
    pub(super) fn new(
        ordinal: usize,
        names: &Names,
        interval: Duration,
        rng: &mut Rng,
        series: &mut Vec<HostSeries>,
    ) -> Self {
        describe(ordinal, names, rng, series);
        let scale = log_normal(rng, 0.7);
        Self {
            busy: ordinal % 5 < 3,
            seconds: interval.as_secs_f64(),
            cpus: 0.04 * scale,
            packets: 20.0 * scale,
            counters: Counters {
                user: rng.i64(1_000_000_000..4_000_000_000_000),
                system: rng.i64(1_000_000_000..1_000_000_000_000),
                ..Counters::default()
            },
            memory: Memory {
                rss: rng.i64(2_000..60_000),
                cache: rng.i64(500..30_000),
                inactive: rng.i64(0..500),
                mapped: rng.i64(100..4_000),
            },
            threads: rng.i64(1..40),
            limit: (rng.i64(1..32) * (128 << 20)) as f64,
            started: 1_790_000_000.0 + rng.i64(0..4_000_000) as f64,
        }
    }

    pub(super) fn put(&mut self, rng: &mut Rng, values: &mut Vec<f64>) {
        if self.busy {
            self.work(rng);
        } else if rng.u8(..8) > 0 {
            // An idle container still wakes up.
            self.counters.user += rng.i64(20_000..400_000);
            self.counters.system += rng.i64(10_000..200_000);
        }
        let Counters {
            user,
            system,
            periods,
            throttled,
            failures,
            ref received,
            ref sent,
            read,
            written,
        } = self.counters;
        values.extend([user + system, user, system].map(|nanos| nanos as f64 / NANOS));
        let counts = [
            periods,
            throttled,
            failures,
            received.bytes,
            received.packets,
            sent.bytes,
            sent.packets,
            read,
            written,
        ];
        values.extend(counts.map(|count| count as f64));
        let Memory {
            rss,
            cache,
            inactive,
            mapped,
        } = self.memory;
        let pages = [rss + cache, rss + cache - inactive, rss, cache, mapped];
        values.extend(pages.map(|pages| (pages * PAGE_BYTES) as f64));
        values.extend([self.threads as f64, self.limit, self.started]);
    }

    fn work(&mut self, rng: &mut Rng) {
        let nanos = self.cpus * log_normal(rng, 0.3) * self.seconds * NANOS;
        let share = (0.7 + 0.05 * normal(rng)).clamp(0.3, 0.95);
        let counters = &mut self.counters;
        counters.user += round_by_chance(rng, nanos * share);
        counters.system += round_by_chance(rng, nanos * (1.0 - share));
        counters.periods += round_by_chance(rng, self.seconds * 10.0 * self.cpus.min(0.1) * 10.0);
        if rng.u8(..20) == 0 {
            counters.throttled += rng.i64(1..5);
        }
        for traffic in [&mut counters.received, &mut counters.sent] {
            let packets = self.packets * log_normal(rng, 0.3) * self.seconds;
            let packets = round_by_chance(rng, packets);
            let bytes = packets as f64 * 180.0 * log_normal(rng, 0.2);
            traffic.packets += packets;
            traffic.bytes += round_by_chance(rng, bytes);
        }
        if rng.u8(..10) == 0 {
            counters.written += rng.i64(1..64) * PAGE_BYTES;
        }
        if rng.u8(..50) == 0 {
            counters.read += rng.i64(1..64) * PAGE_BYTES;
        }
        self.allocate(rng);
    }

    fn allocate(&mut self, rng: &mut Rng) {
        let memory = &mut self.memory;
        if rng.u8(..2) == 0 {
            let pages = rng.i64(-40..=40);
            memory.rss = (memory.rss + pages).max(1_000);
            self.counters.failures += pages.max(0);
        }
        if rng.u8(..8) == 0 {
            memory.cache += rng.i64(0..16);
        }
        if rng.u8(..16) == 0 {
            memory.inactive = rng.i64(0..500);
        }
        if rng.u8(..64) == 0 {
            self.threads = (self.threads + rng.i64(-1..=1)).max(1);
        }
    }
}

/// Lists the series of a container.
fn describe(ordinal: usize, names: &Names, rng: &mut Rng, series: &mut Vec<HostSeries>) {
    const APPLICATIONS: &[&str] = &[
        "checkout", "cart", "payment", "search", "web", "mail", "ledger", "session", "image",
        "report", "queue",
    ];
    let application = APPLICATIONS[ordinal % APPLICATIONS.len()];
    let hexadecimal = |rng: &mut Rng, length| text(rng, b"0123456789abcdef", length);
    let (pod_id, container_id) = (hexadecimal(rng, 32), hexadecimal(rng, 64));
    let pod = format!(
        "{application}-{}-{}",
        hexadecimal(rng, 9),
        text(rng, b"bcdfghjklmnpqrstvwxz2456789", 5)
    );
    let id = format!("/kubepods/burstable/pod{pod_id}/{container_id}");
    let image = format!("registry.example/shop/{application}:v1.4.{ordinal}");
    let instance = format!("{}:10250", names.address);
    let common = [
        ("container", application),
        ("id", id.as_str()),
        ("image", image.as_str()),
        ("instance", instance.as_str()),
        ("job", "kubelet"),
        ("metrics_path", "/metrics/cadvisor"),
        ("namespace", "shop"),
        ("node", names.node.as_str()),
        ("pod", pod.as_str()),
    ];
    let kinds = [(COUNTERS, MetricType::Counter), (GAUGES, MetricType::Gauge)];
    for (names, kind) in kinds {
        series.extend(names.iter().map(|name| HostSeries {
            labels: labels(name, &[], &common),
            kind,
        }));
    }
}
