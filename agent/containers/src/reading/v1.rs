//! cgroup v1: a hierarchy per controller.

use super::{
    Cpu, CpuLimits, DEVICES_MAX, Device, Faults, Memory, MemoryLimits, OPERATIONS, Reader, Reading,
    Throttling, device_number, fields, limit, number, processes,
};
use crate::files::{CgroupFile, Files};
use crate::layout::Controller::{
    Core, Cpu as CpuController, CpuAccounting, Io, Memory as MemoryController, Pids,
};

const USAGE: CgroupFile = CgroupFile::kept(CpuAccounting, "cpuacct.usage");
const USAGE_BY_MODE: CgroupFile = CgroupFile::kept(CpuAccounting, "cpuacct.stat");
const CPU_STAT: CgroupFile = CgroupFile::kept(CpuController, "cpu.stat");
const MEMORY_USAGE: CgroupFile = CgroupFile::kept(MemoryController, "memory.usage_in_bytes");
const MEMORY_STAT: CgroupFile = CgroupFile::kept(MemoryController, "memory.stat");
const MEMORY_PEAK: CgroupFile = CgroupFile::kept(MemoryController, "memory.max_usage_in_bytes");
const MEMORY_OOM: CgroupFile = CgroupFile::kept(MemoryController, "memory.oom_control");
const MEMORY_FAILURES: CgroupFile = CgroupFile::opened(MemoryController, "memory.failcnt");
const MEMORY_KERNEL: CgroupFile =
    CgroupFile::opened(MemoryController, "memory.kmem.usage_in_bytes");
const SHARES: CgroupFile = CgroupFile::opened(CpuController, "cpu.shares");
const PERIOD: CgroupFile = CgroupFile::opened(CpuController, "cpu.cfs_period_us");
const QUOTA: CgroupFile = CgroupFile::opened(CpuController, "cpu.cfs_quota_us");
const MEMORY_LIMIT: CgroupFile = CgroupFile::opened(MemoryController, "memory.limit_in_bytes");
const MEMORY_SOFT_LIMIT: CgroupFile =
    CgroupFile::opened(MemoryController, "memory.soft_limit_in_bytes");
const MEMORY_SWAP_LIMIT: CgroupFile =
    CgroupFile::opened(MemoryController, "memory.memsw.limit_in_bytes");
const PROCESSES: CgroupFile = CgroupFile::opened(Core, "cgroup.procs");
const PIDS_CURRENT: CgroupFile = CgroupFile::opened(Pids, "pids.current");
const PIDS_MAX: CgroupFile = CgroupFile::opened(Pids, "pids.max");

/// Bytes and operations, with the groups below, by who schedules the device: the first that has something counts.
const TRAFFIC: [(CgroupFile, CgroupFile); 3] = [
    (
        CgroupFile::opened(Io, "blkio.bfq.io_service_bytes_recursive"),
        CgroupFile::opened(Io, "blkio.bfq.io_serviced_recursive"),
    ),
    (
        CgroupFile::opened(Io, "blkio.io_service_bytes_recursive"),
        CgroupFile::opened(Io, "blkio.io_serviced_recursive"),
    ),
    (
        CgroupFile::kept(Io, "blkio.throttle.io_service_bytes_recursive"),
        CgroupFile::kept(Io, "blkio.throttle.io_serviced_recursive"),
    ),
];

/// `cpuacct.stat` counts hundredths of a second, on every machine of Linux.
const TICK_NANOSECONDS: u64 = 10_000_000;

pub(super) fn take_often<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    take_cpu(reading, reader);
    reader.update(&mut reading.throttling, &CPU_STAT, throttling);
    let before = reading.memory;
    reader.update(&mut reading.memory, &MEMORY_STAT, memory_stat);
    if let Some(memory) = &mut reading.memory {
        let mut usage = before.map(|memory| memory.usage);
        reader.update(&mut usage, &MEMORY_USAGE, number);
        memory.usage = usage.unwrap_or_default();
        memory.kernel = before.map_or(0, |memory| memory.kernel);
    }
    take_devices(reading, reader);
}

pub(super) fn take_seldom<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    take_peak(reading, reader);
    reader.update(&mut reading.memory_failures, &MEMORY_FAILURES, number);
    if let Some(memory) = &mut reading.memory {
        let mut kernel = Some(memory.kernel);
        reader.update(&mut kernel, &MEMORY_KERNEL, number);
        memory.kernel = kernel.unwrap_or_default();
    }
    take_limits(reading, reader);
    let mut list = reading.processes.zip(Some(reading.first_process));
    reader.update(&mut list, &PROCESSES, |bytes| Some(processes(bytes)));
    reading.processes = list.map(|(count, _)| count);
    reading.first_process = list.and_then(|(_, first)| first);
    reader.update(&mut reading.threads, &PIDS_CURRENT, number);
    reader.update(&mut reading.threads_max, &PIDS_MAX, limit);
}

pub(super) fn take_last<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    take_cpu(reading, reader);
    take_peak(reading, reader);
}

fn take_cpu<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    let mut usage = None;
    let mut by_mode = reading.cpu.map(|cpu| (cpu.user, cpu.system));
    reader.update(&mut usage, &USAGE, number);
    reader.update(&mut by_mode, &USAGE_BY_MODE, cpu_by_mode);
    if usage.is_some() || !reader.is_rest {
        reading.cpu = usage.map(|usage| {
            let (user, system) = by_mode.unwrap_or_default();
            Cpu {
                usage,
                user,
                system,
            }
        });
    }
}

fn take_peak<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    reader.update(&mut reading.memory_peak, &MEMORY_PEAK, number);
    // Kernels before 4.13 do not count them.
    let mut kills = None;
    reader.update(&mut kills, &MEMORY_OOM, |bytes| {
        let mut kills = None;
        fields(bytes, |name, value| {
            if name == b"oom_kill" {
                kills = Some(value);
            }
        });
        Some(kills)
    });
    if kills.is_some() || !reader.is_rest {
        reading.oom_kills = kills.flatten();
    }
}

fn take_limits<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    let (mut shares, mut period, mut quota) = (None, None, None);
    reader.update(&mut shares, &SHARES, number);
    reader.update(&mut period, &PERIOD, number);
    reader.update(&mut quota, &QUOTA, limit);
    if shares.is_some() || !reader.is_rest {
        reading.cpu_limits = shares.map(|shares| CpuLimits {
            shares: Some(shares),
            period,
            quota: quota.filter(|quota| *quota > 0),
        });
    }
    let mut most = None;
    reader.update(&mut most, &MEMORY_LIMIT, limit);
    if let Some(limit_bytes) = most {
        let (mut reservation, mut swap) = (None, None);
        reader.update(&mut reservation, &MEMORY_SOFT_LIMIT, limit);
        reader.update(&mut swap, &MEMORY_SWAP_LIMIT, limit);
        reading.memory_limits = Some(MemoryLimits {
            limit: limit_bytes,
            reservation: reservation.unwrap_or_default(),
            swap: swap.unwrap_or_default(),
        });
    } else if !reader.is_rest {
        reading.memory_limits = None;
    }
}

fn cpu_by_mode(bytes: &[u8]) -> Option<(u64, u64)> {
    let (mut user, mut system) = (None, None);
    fields(bytes, |name, value| {
        let time = Some(value.saturating_mul(TICK_NANOSECONDS));
        match name {
            b"user" => user = time,
            b"system" => system = time,
            _ => {}
        }
    });
    Some((user?, system?))
}

fn throttling(bytes: &[u8]) -> Option<Throttling> {
    let mut throttling = Throttling::default();
    let found = fields(bytes, |name, value| match name {
        b"nr_periods" => throttling.periods = value,
        b"nr_throttled" => throttling.throttled_periods = value,
        b"throttled_time" => throttling.throttled = value,
        b"nr_bursts" => throttling.burst_periods = value,
        b"burst_time" => throttling.burst = value,
        _ => {}
    });
    (found > 0).then_some(throttling)
}

/// Fields `total_...` count groups below as well; where the kernel has them, they are what a container uses.
fn memory_stat(bytes: &[u8]) -> Option<Memory> {
    let (mut own, mut total) = (Memory::default(), Memory::default());
    let mut has_total = false;
    let found = fields(bytes, |name, value| {
        let (name, memory) = match name.strip_prefix(b"total_") {
            Some(name) => {
                has_total = true;
                (name, &mut total)
            }
            None => (name, &mut own),
        };
        match name {
            b"cache" => memory.cache = value,
            b"rss" => memory.rss = value,
            b"swap" => memory.swap = value,
            b"mapped_file" => memory.mapped_file = value,
            b"dirty" => memory.file_dirty = value,
            b"writeback" => memory.file_writeback = value,
            b"inactive_file" => memory.inactive_file = value,
            b"active_file" => memory.active_file = value,
            b"pgfault" => memory.faults.all = value,
            b"pgmajfault" => memory.faults.major = value,
            _ => {}
        }
    });
    if found == 0 {
        return None;
    }
    if !has_total {
        total = own;
    }
    let faults_below = Faults { ..total.faults };
    Some(Memory {
        faults: own.faults,
        faults_below,
        ..total
    })
}

fn take_devices<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    for (bytes, operations) in &TRAFFIC {
        let mut devices = Vec::new();
        take_traffic(&mut devices, bytes, bytes_of, reader);
        if devices.is_empty() {
            continue;
        }
        take_traffic(&mut devices, operations, operations_of, reader);
        reading.devices = devices;
        return;
    }
    if !reader.is_rest {
        reading.devices.clear();
    }
}

type ByOperation = [Option<u64>; OPERATIONS.len()];

const fn bytes_of(device: &mut Device) -> &mut ByOperation {
    &mut device.bytes
}

const fn operations_of(device: &mut Device) -> &mut ByOperation {
    &mut device.operations
}

/// Reads lines `MAJOR:MINOR OPERATION NUMBER`; the line `Total NUMBER` at the end is of all devices.
fn take_traffic<F: Files>(
    devices: &mut Vec<Device>,
    file: &CgroupFile,
    of: fn(&mut Device) -> &mut ByOperation,
    reader: &mut Reader<'_, F>,
) {
    let Some(bytes) = reader.read(file) else {
        return;
    };
    let mut errors = 0;
    for line in scan::lines(bytes) {
        let mut words = scan::words(line);
        let Some((major, minor)) = words.next().and_then(device_number) else {
            continue;
        };
        let operation = words.next().unwrap_or_default();
        let mut known = OPERATIONS.iter();
        let operation = known.position(|known| known.as_bytes() == operation);
        let value = words.next().and_then(scan::number);
        let (Some(operation), Some(value)) = (operation, value) else {
            errors += 1;
            continue;
        };
        let found = devices
            .iter()
            .position(|d| (d.major, d.minor) == (major, minor));
        let at = match found {
            Some(at) => at,
            None if devices.len() < DEVICES_MAX => {
                devices.push(Device {
                    major,
                    minor,
                    ..Device::default()
                });
                devices.len() - 1
            }
            None => {
                errors += 1;
                continue;
            }
        };
        if let Some(device) = devices.get_mut(at)
            && let Some(place) = of(device).get_mut(operation)
        {
            *place = Some(value);
        }
    }
    reader.errors += errors;
}
