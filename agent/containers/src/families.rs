//! The metric families of cAdvisor, and what of a reading goes into each.
//!
//! Names, types, labels and values are cAdvisor's as the kubelet serves them, without those that it always gives as 0 there
//! (`container_cpu_load_average_10s`, `container_tasks_state`). Beyond it: `container_fs_inodes_used` and `container_exit_code`.

use rows::{Family, Sink};

use crate::devices::DeviceNames;
use crate::names::{Exit, FilesystemUsage};
use crate::network::Network;
use crate::processes::Usage;
use crate::reading::{Device, Memory, OPERATIONS, Reading, Throttling};

/// The labels of every family, before those of its own; what has no value is left out.
pub const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(static $constant: Family = Family::$kind(
            concat!("container_", $name),
            $help,
            &["container", "id", "image", "name", "namespace", "pod" $(, $label)*],
        );)*
    };
}

families! {
    CPU_USAGE: counter "cpu_usage_seconds_total" ["cpu"] "Cumulative cpu time consumed in seconds.";
    CPU_USER: counter "cpu_user_seconds_total" [] "Cumulative user cpu time consumed in seconds.";
    CPU_SYSTEM: counter "cpu_system_seconds_total" [] "Cumulative system cpu time consumed in seconds.";
    CFS_PERIODS: counter "cpu_cfs_periods_total" [] "Number of elapsed enforcement period intervals.";
    CFS_THROTTLED_PERIODS: counter "cpu_cfs_throttled_periods_total" [] "Number of throttled period intervals.";
    CFS_THROTTLED: counter "cpu_cfs_throttled_seconds_total" [] "Total time duration the container has been throttled.";
    CFS_BURST_PERIODS: counter "cpu_cfs_burst_periods_total" [] "Number of periods when burst occurs.";
    CFS_BURST: counter "cpu_cfs_burst_seconds_total" [] "Total time duration the container has been bursted.";
    MEMORY_USAGE: gauge "memory_usage_bytes" [] "Current memory usage in bytes, including all memory regardless of when it was accessed.";
    MEMORY_WORKING_SET: gauge "memory_working_set_bytes" [] "Current working set in bytes.";
    MEMORY_RSS: gauge "memory_rss" [] "Size of RSS in bytes.";
    MEMORY_CACHE: gauge "memory_cache" [] "Number of bytes of page cache memory.";
    MEMORY_SWAP: gauge "memory_swap" [] "Container swap usage in bytes.";
    MEMORY_MAX_USAGE: gauge "memory_max_usage_bytes" [] "Maximum memory usage recorded in bytes.";
    MEMORY_KERNEL: gauge "memory_kernel_usage" [] "Size of kernel memory allocated in bytes; 0 on cgroup v2.";
    MEMORY_MAPPED_FILE: gauge "memory_mapped_file" [] "Size of memory mapped files in bytes.";
    MEMORY_ACTIVE_FILE: gauge "memory_total_active_file_bytes" [] "Current total active file in bytes.";
    MEMORY_INACTIVE_FILE: gauge "memory_total_inactive_file_bytes" [] "Current total inactive file in bytes.";
    MEMORY_DIRTY: gauge "memory_file_dirty_bytes" [] "Bytes of files that wait to be written back.";
    MEMORY_WRITEBACK: gauge "memory_file_writeback_bytes" [] "Bytes of files that are being written back.";
    MEMORY_FAILCNT: counter "memory_failcnt" [] "Number of memory usage hits limits; 0 on cgroup v2.";
    MEMORY_FAILURES: counter "memory_failures_total" ["failure_type", "scope"] "Cumulative count of memory allocation failures.";
    MEMORY_EVENTS_HIGH: counter "memory_events_high_total" [] "Times that memory was reclaimed because the high boundary was exceeded.";
    MEMORY_EVENTS_MAX: counter "memory_events_max_total" [] "Times that memory was about to go over the limit.";
    MEMORY_PGSCAN: counter "memory_pgscan_total" [] "Pages scanned for reclaim.";
    MEMORY_PGSTEAL: counter "memory_pgsteal_total" [] "Pages reclaimed.";
    MEMORY_REFAULT_FILE: counter "memory_workingset_refault_file_total" [] "Refaults of evicted file pages.";
    MEMORY_REFAULT_ANON: counter "memory_workingset_refault_anon_total" [] "Refaults of evicted anonymous pages.";
    OOM_EVENTS: counter "oom_events_total" [] "Count of out of memory events observed for the container.";
    FS_READS_BYTES: counter "fs_reads_bytes_total" ["device"] "Cumulative count of bytes read.";
    FS_WRITES_BYTES: counter "fs_writes_bytes_total" ["device"] "Cumulative count of bytes written.";
    FS_READS: counter "fs_reads_total" ["device"] "Cumulative count of reads completed.";
    FS_WRITES: counter "fs_writes_total" ["device"] "Cumulative count of writes completed.";
    BLKIO: counter "blkio_device_usage_total" ["device", "major", "minor", "operation"] "Blkio device bytes usage.";
    FS_USAGE: gauge "fs_usage_bytes" ["device"] "Number of bytes that are consumed by the container on this filesystem.";
    FS_INODES_USED: gauge "fs_inodes_used" ["device"] "Number of inodes that are used by the container on this filesystem.";
    RECEIVE_BYTES: counter "network_receive_bytes_total" ["interface"] "Cumulative count of bytes received.";
    RECEIVE_PACKETS: counter "network_receive_packets_total" ["interface"] "Cumulative count of packets received.";
    RECEIVE_DROPPED: counter "network_receive_packets_dropped_total" ["interface"] "Cumulative count of packets dropped while receiving.";
    RECEIVE_ERRORS: counter "network_receive_errors_total" ["interface"] "Cumulative count of errors encountered while receiving.";
    TRANSMIT_BYTES: counter "network_transmit_bytes_total" ["interface"] "Cumulative count of bytes transmitted.";
    TRANSMIT_PACKETS: counter "network_transmit_packets_total" ["interface"] "Cumulative count of packets transmitted.";
    TRANSMIT_DROPPED: counter "network_transmit_packets_dropped_total" ["interface"] "Cumulative count of packets dropped while transmitting.";
    TRANSMIT_ERRORS: counter "network_transmit_errors_total" ["interface"] "Cumulative count of errors encountered while transmitting.";
    PRESSURE_CPU_WAITING: counter "pressure_cpu_waiting_seconds_total" [] "Total time duration tasks in the container have waited due to CPU congestion.";
    PRESSURE_CPU_STALLED: counter "pressure_cpu_stalled_seconds_total" [] "Total time duration no tasks in the container could make progress due to CPU congestion.";
    PRESSURE_MEMORY_WAITING: counter "pressure_memory_waiting_seconds_total" [] "Total time duration tasks in the container have waited due to memory congestion.";
    PRESSURE_MEMORY_STALLED: counter "pressure_memory_stalled_seconds_total" [] "Total time duration no tasks in the container could make progress due to memory congestion.";
    PRESSURE_IO_WAITING: counter "pressure_io_waiting_seconds_total" [] "Total time duration tasks in the container have waited due to IO congestion.";
    PRESSURE_IO_STALLED: counter "pressure_io_stalled_seconds_total" [] "Total time duration no tasks in the container could make progress due to IO congestion.";
    SPEC_CPU_PERIOD: gauge "spec_cpu_period" [] "CPU period of the container.";
    SPEC_CPU_QUOTA: gauge "spec_cpu_quota" [] "CPU quota of the container.";
    SPEC_CPU_SHARES: gauge "spec_cpu_shares" [] "CPU share of the container.";
    SPEC_MEMORY_LIMIT: gauge "spec_memory_limit_bytes" [] "Memory limit for the container.";
    SPEC_MEMORY_RESERVATION: gauge "spec_memory_reservation_limit_bytes" [] "Memory reservation limit for the container.";
    SPEC_MEMORY_SWAP: gauge "spec_memory_swap_limit_bytes" [] "Memory swap limit for the container.";
    PROCESSES: gauge "processes" [] "Number of processes running inside the container.";
    THREADS: gauge "threads" [] "Number of threads running inside the container.";
    THREADS_MAX: gauge "threads_max" [] "Maximum number of threads allowed inside the container; 0 without a limit.";
    FILE_DESCRIPTORS: gauge "file_descriptors" [] "Number of open file descriptors for the container.";
    SOCKETS: gauge "sockets" [] "Number of open sockets for the container.";
    ULIMITS: gauge "ulimits_soft" ["ulimit"] "Soft ulimit values for the container's first process; -1 without a limit.";
    START_TIME: gauge "start_time_seconds" [] "Start time of the container since unix epoch in seconds.";
    EXIT_CODE: gauge "exit_code" ["reason"] "Exit code of a container that has ended, by the reason that its runtime gives: Completed, Error, OOMKilled.";
    LAST_SEEN: gauge "last_seen" [] "Last time a container was seen by the exporter.";
}

/// Waiting and stalled, by resource, in the order of a reading's.
static PRESSURES: [(&Family, &Family); 3] = [
    (&PRESSURE_CPU_WAITING, &PRESSURE_CPU_STALLED),
    (&PRESSURE_MEMORY_WAITING, &PRESSURE_MEMORY_STALLED),
    (&PRESSURE_IO_WAITING, &PRESSURE_IO_STALLED),
];

/// Who a group is: the values of [`LABELS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) container: String,
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

/// Writes samples of one group.
struct Writer<'a> {
    identity: &'a Identity,
    sink: &'a mut dyn Sink,
}

impl Writer<'_> {
    fn sample(&mut self, family: &Family, value: f64) {
        self.labelled(family, [], value);
    }

    fn labelled<const N: usize>(&mut self, family: &Family, own: [&str; N], value: f64) {
        const MOST: usize = LABELS.len() + 4;
        let Identity {
            container,
            id,
            image,
            name,
            namespace,
            pod,
        } = self.identity;
        let mut values: [&str; MOST] = [container, id, image, name, namespace, pod, "", "", "", ""];
        let own_values = values.iter_mut().skip(LABELS.len());
        own_values
            .zip(own)
            .for_each(|(place, value)| *place = value);
        let values = values.get(..LABELS.len() + N).unwrap_or_default();
        self.sink.sample(family, values, value);
    }

    fn count(&mut self, family: &Family, value: Option<u64>) {
        if let Some(value) = value {
            self.sample(family, float(value));
        }
    }

    fn seconds(&mut self, family: &Family, nanoseconds: u64) {
        self.sample(family, float(nanoseconds) / 1e9);
    }
}

/// Gives what is read often.
pub(crate) fn give_often(
    identity: &Identity,
    reading: &Reading,
    network: Option<&Network>,
    names: &DeviceNames,
    sink: &mut dyn Sink,
) {
    let mut writer = Writer { identity, sink };
    if let Some(cpu) = &reading.cpu {
        writer.labelled(&CPU_USAGE, ["total"], float(cpu.usage) / 1e9);
    }
    if let Some(throttling) = with_quota(reading) {
        writer.sample(&CFS_PERIODS, float(throttling.periods));
        writer.sample(&CFS_THROTTLED_PERIODS, float(throttling.throttled_periods));
    }
    if let Some(memory) = &reading.memory {
        writer.sample(&MEMORY_USAGE, float(memory.usage));
        writer.sample(&MEMORY_WORKING_SET, float(memory.working_set()));
        writer.sample(&MEMORY_RSS, float(memory.rss));
        writer.sample(&MEMORY_CACHE, float(memory.cache));
        writer.sample(&MEMORY_SWAP, float(memory.swap));
    }
    for device in &reading.devices {
        give_traffic(&mut writer, device, names);
    }
    for interface in network.into_iter().flat_map(Network::interfaces) {
        let (received, sent) = (&interface.received, &interface.sent);
        for (family, value) in [
            (&RECEIVE_BYTES, received.bytes),
            (&RECEIVE_PACKETS, received.packets),
            (&RECEIVE_DROPPED, received.dropped),
            (&RECEIVE_ERRORS, received.errors),
            (&TRANSMIT_BYTES, sent.bytes),
            (&TRANSMIT_PACKETS, sent.packets),
            (&TRANSMIT_DROPPED, sent.dropped),
            (&TRANSMIT_ERRORS, sent.errors),
        ] {
            writer.labelled(family, [interface.name.as_str()], float(value));
        }
    }
}

/// What is known of a group beyond its cgroup's files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Besides {
    pub(crate) usage: Option<Usage>,
    pub(crate) filesystem: Option<FilesystemUsage>,
    /// In seconds since the epoch.
    pub(crate) started: Option<f64>,
    /// In seconds since the epoch.
    pub(crate) seen: f64,
}

/// Gives how a container ended.
pub(crate) fn give_exit(identity: &Identity, exit: &Exit, sink: &mut dyn Sink) {
    Writer { identity, sink }.labelled(&EXIT_CODE, [&exit.reason], exit.code.into());
}

/// Gives what is read seldom.
pub(crate) fn give_seldom(
    identity: &Identity,
    reading: &Reading,
    besides: &Besides,
    names: &DeviceNames,
    sink: &mut dyn Sink,
) {
    let mut writer = Writer { identity, sink };
    if let Some(cpu) = &reading.cpu {
        writer.seconds(&CPU_USER, cpu.user);
        writer.seconds(&CPU_SYSTEM, cpu.system);
    }
    if let Some(throttling) = with_quota(reading) {
        writer.seconds(&CFS_THROTTLED, throttling.throttled);
        writer.sample(&CFS_BURST_PERIODS, float(throttling.burst_periods));
        writer.seconds(&CFS_BURST, throttling.burst);
    }
    if let Some(memory) = &reading.memory {
        give_memory(&mut writer, memory);
        let failures = reading.memory_failures.unwrap_or_default();
        writer.sample(&MEMORY_FAILCNT, float(failures));
    }
    writer.count(&MEMORY_MAX_USAGE, reading.memory_peak);
    if let Some(events) = &reading.memory_events {
        writer.sample(&MEMORY_EVENTS_HIGH, float(events.high));
        writer.sample(&MEMORY_EVENTS_MAX, float(events.max));
    }
    writer.count(&OOM_EVENTS, reading.oom_kills);
    for ((waiting, stalled), pressure) in PRESSURES.iter().zip(&reading.pressure) {
        if let Some(pressure) = pressure {
            writer.sample(waiting, float(pressure.some) / 1e6);
            if let Some(full) = pressure.full {
                writer.sample(stalled, float(full) / 1e6);
            }
        }
    }
    for device in &reading.devices {
        give_usage(&mut writer, device, names);
    }
    if let Some(limits) = &reading.cpu_limits {
        writer.count(&SPEC_CPU_PERIOD, limits.period);
        writer.count(&SPEC_CPU_QUOTA, limits.quota);
        writer.count(&SPEC_CPU_SHARES, limits.shares);
    }
    if let Some(limits) = &reading.memory_limits {
        writer.sample(&SPEC_MEMORY_LIMIT, float(limits.limit));
        writer.sample(&SPEC_MEMORY_RESERVATION, float(limits.reservation));
        writer.sample(&SPEC_MEMORY_SWAP, float(limits.swap));
    }
    writer.count(&THREADS, reading.threads);
    writer.count(&THREADS_MAX, reading.threads_max);
    give_besides(&mut writer, reading, besides);
}

fn give_memory(writer: &mut Writer<'_>, memory: &Memory) {
    for (family, value) in [
        (&MEMORY_KERNEL, memory.kernel),
        (&MEMORY_MAPPED_FILE, memory.mapped_file),
        (&MEMORY_ACTIVE_FILE, memory.active_file),
        (&MEMORY_INACTIVE_FILE, memory.inactive_file),
        (&MEMORY_DIRTY, memory.file_dirty),
        (&MEMORY_WRITEBACK, memory.file_writeback),
    ] {
        writer.sample(family, float(value));
    }
    for (scope, faults) in [
        ("container", &memory.faults),
        ("hierarchy", &memory.faults_below),
    ] {
        writer.labelled(&MEMORY_FAILURES, ["pgfault", scope], float(faults.all));
        writer.labelled(&MEMORY_FAILURES, ["pgmajfault", scope], float(faults.major));
    }
    if let Some(reclaim) = &memory.reclaim {
        writer.sample(&MEMORY_PGSCAN, float(reclaim.scanned));
        writer.sample(&MEMORY_PGSTEAL, float(reclaim.stolen));
        writer.sample(&MEMORY_REFAULT_FILE, float(reclaim.refault_file));
        writer.sample(&MEMORY_REFAULT_ANON, float(reclaim.refault_anon));
    }
}

fn give_traffic(writer: &mut Writer<'_>, device: &Device, names: &DeviceNames) {
    let name = names.name(device.major, device.minor);
    let [bytes_read, bytes_written, ..] = device.bytes;
    let [reads, writes, ..] = device.operations;
    for (family, value) in [
        (&FS_READS_BYTES, bytes_read),
        (&FS_WRITES_BYTES, bytes_written),
        (&FS_READS, reads),
        (&FS_WRITES, writes),
    ] {
        if let Some(value) = value {
            writer.labelled(family, [&*name], float(value));
        }
    }
}

fn give_usage(writer: &mut Writer<'_>, device: &Device, names: &DeviceNames) {
    let name = names.name(device.major, device.minor);
    let (major, minor) = (
        scan::Decimal::new(device.major.into()),
        scan::Decimal::new(device.minor.into()),
    );
    for (operation, bytes) in OPERATIONS.iter().zip(device.bytes) {
        if let Some(bytes) = bytes {
            let own = [&*name, major.as_str(), minor.as_str(), operation];
            writer.labelled(&BLKIO, own, float(bytes));
        }
    }
}

fn give_besides(writer: &mut Writer<'_>, reading: &Reading, besides: &Besides) {
    match &besides.usage {
        Some(usage) => {
            writer.sample(&PROCESSES, float(usage.processes));
            writer.sample(&FILE_DESCRIPTORS, float(usage.descriptors));
            writer.sample(&SOCKETS, float(usage.sockets));
            if let Some(limit) = usage.descriptors_max {
                writer.labelled(&ULIMITS, ["max_open_files"], limit);
            }
        }
        None => writer.count(&PROCESSES, reading.processes),
    }
    if let Some(filesystem) = &besides.filesystem {
        let device = [filesystem.device.as_str()];
        writer.labelled(&FS_USAGE, device, float(filesystem.bytes));
        if let Some(inodes) = filesystem.inodes {
            writer.labelled(&FS_INODES_USED, device, float(inodes));
        }
    }
    if let Some(started) = besides.started {
        writer.sample(&START_TIME, started);
    }
    writer.sample(&LAST_SEEN, besides.seen);
}

/// Throttling means something only where there is a quota.
fn with_quota(reading: &Reading) -> Option<&Throttling> {
    let has_quota = reading
        .cpu_limits
        .is_some_and(|limits| limits.quota.is_some());
    reading.throttling.as_ref().filter(|_| has_quota)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are doubles; above 2^53 a count is rounded"
)]
const fn float(count: u64) -> f64 {
    count as f64
}
