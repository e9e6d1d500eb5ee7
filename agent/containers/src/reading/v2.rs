//! cgroup v2: one folder, files by controller.

use super::{
    Cpu, CpuLimits, DEVICES_MAX, Device, Faults, Memory, MemoryEvents, MemoryLimits, Pressure,
    Reader, Reading, Reclaim, Throttling, device_number, fields, limit, number, processes,
};
use crate::files::{CgroupFile, Files};
use crate::layout::Controller::{Core, Cpu as CpuController, Io, Memory as MemoryController, Pids};

const CPU_STAT: CgroupFile = CgroupFile::kept(CpuController, "cpu.stat");
const MEMORY_CURRENT: CgroupFile = CgroupFile::kept(MemoryController, "memory.current");
const MEMORY_STAT: CgroupFile = CgroupFile::kept(MemoryController, "memory.stat");
const MEMORY_SWAP: CgroupFile = CgroupFile::kept(MemoryController, "memory.swap.current");
const MEMORY_PEAK: CgroupFile = CgroupFile::kept(MemoryController, "memory.peak");
const MEMORY_EVENTS: CgroupFile = CgroupFile::kept(MemoryController, "memory.events");
const IO_STAT: CgroupFile = CgroupFile::kept(Io, "io.stat");
const PRESSURE: [CgroupFile; 3] = [
    CgroupFile::opened(Core, "cpu.pressure"),
    CgroupFile::opened(Core, "memory.pressure"),
    CgroupFile::opened(Core, "io.pressure"),
];
const CPU_WEIGHT: CgroupFile = CgroupFile::opened(CpuController, "cpu.weight");
const CPU_MAX: CgroupFile = CgroupFile::opened(CpuController, "cpu.max");
const MEMORY_MAX: CgroupFile = CgroupFile::opened(MemoryController, "memory.max");
const MEMORY_MIN: CgroupFile = CgroupFile::opened(MemoryController, "memory.min");
const MEMORY_SWAP_MAX: CgroupFile = CgroupFile::opened(MemoryController, "memory.swap.max");
const PROCESSES: CgroupFile = CgroupFile::opened(Core, "cgroup.procs");
const PIDS_CURRENT: CgroupFile = CgroupFile::opened(Pids, "pids.current");
const PIDS_MAX: CgroupFile = CgroupFile::opened(Pids, "pids.max");

pub(super) fn take_often<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    take_cpu(reading, reader);
    let before = reading.memory;
    reader.update(&mut reading.memory, &MEMORY_STAT, memory_stat);
    if let Some(memory) = &mut reading.memory {
        let mut usage = before.map(|memory| memory.usage);
        reader.update(&mut usage, &MEMORY_CURRENT, number);
        // The root has no such file; what it uses is what its pages are.
        memory.usage = usage.unwrap_or_else(|| memory.rss.saturating_add(memory.cache));
        let mut swap = before.map(|memory| memory.swap);
        reader.update(&mut swap, &MEMORY_SWAP, number);
        memory.swap = swap.unwrap_or_default();
    }
    take_devices(reading, reader);
}

pub(super) fn take_seldom<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    take_peak(reading, reader);
    for (pressure, file) in reading.pressure.iter_mut().zip(&PRESSURE) {
        reader.update(pressure, file, pressure_of);
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
    let mut both = None;
    reader.update(&mut both, &CPU_STAT, cpu_stat);
    if both.is_some() || !reader.is_rest {
        reading.cpu = both.map(|(cpu, _)| cpu);
        reading.throttling = both.and_then(|(_, throttling)| throttling);
    }
}

fn take_peak<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    reader.update(&mut reading.memory_peak, &MEMORY_PEAK, number);
    let mut events = None;
    reader.update(&mut events, &MEMORY_EVENTS, memory_events);
    if events.is_some() || !reader.is_rest {
        reading.memory_events = events.map(|(events, _)| events);
        reading.oom_kills = events.map(|(_, kills)| kills);
    }
}

fn take_limits<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    let (mut weight, mut max) = (None, None);
    reader.update(&mut weight, &CPU_WEIGHT, number);
    reader.update(&mut max, &CPU_MAX, cpu_max);
    if weight.is_some() || max.is_some() || !reader.is_rest {
        reading.cpu_limits = (weight.is_some() || max.is_some()).then(|| CpuLimits {
            shares: weight.map(shares_of_weight),
            period: max.map(|(_, period)| period),
            quota: max.and_then(|(quota, _)| quota),
        });
    }
    let mut most = None;
    reader.update(&mut most, &MEMORY_MAX, limit);
    if let Some(limit_bytes) = most {
        let (mut reservation, mut swap) = (None, None);
        reader.update(&mut reservation, &MEMORY_MIN, limit);
        reader.update(&mut swap, &MEMORY_SWAP_MAX, limit);
        reading.memory_limits = Some(MemoryLimits {
            limit: limit_bytes,
            reservation: reservation.unwrap_or_default(),
            swap: swap.unwrap_or_default(),
        });
    } else if !reader.is_rest {
        reading.memory_limits = None;
    }
}

/// A group without the controller has the first three fields only.
fn cpu_stat(bytes: &[u8]) -> Option<(Cpu, Option<Throttling>)> {
    let (mut cpu, mut usage, mut throttling, mut periods) =
        (Cpu::default(), None, Throttling::default(), None);
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1_000);
    fields(bytes, |name, value| match name {
        b"usage_usec" => usage = Some(nanoseconds(value)),
        b"user_usec" => cpu.user = nanoseconds(value),
        b"system_usec" => cpu.system = nanoseconds(value),
        b"nr_periods" => periods = Some(value),
        b"nr_throttled" => throttling.throttled_periods = value,
        b"throttled_usec" => throttling.throttled = nanoseconds(value),
        b"nr_bursts" => throttling.burst_periods = value,
        b"burst_usec" => throttling.burst = nanoseconds(value),
        _ => {}
    });
    cpu.usage = usage?;
    throttling.periods = periods.unwrap_or_default();
    Some((cpu, periods.map(|_| throttling)))
}

fn memory_stat(bytes: &[u8]) -> Option<Memory> {
    let (mut memory, mut reclaim) = (Memory::default(), Reclaim::default());
    let found = fields(bytes, |name, value| match name {
        b"anon" => memory.rss = value,
        b"file" => memory.cache = value,
        b"file_mapped" => memory.mapped_file = value,
        b"file_dirty" => memory.file_dirty = value,
        b"file_writeback" => memory.file_writeback = value,
        b"inactive_file" => memory.inactive_file = value,
        b"active_file" => memory.active_file = value,
        b"pgfault" => memory.faults.all = value,
        b"pgmajfault" => memory.faults.major = value,
        b"pgscan" => reclaim.scanned = value,
        b"pgsteal" => reclaim.stolen = value,
        b"workingset_refault_file" => reclaim.refault_file = value,
        b"workingset_refault_anon" => reclaim.refault_anon = value,
        _ => {}
    });
    memory.faults_below = Faults { ..memory.faults };
    memory.reclaim = Some(reclaim);
    (found > 0).then_some(memory)
}

fn memory_events(bytes: &[u8]) -> Option<(MemoryEvents, u64)> {
    let (mut events, mut kills) = (MemoryEvents::default(), 0);
    let found = fields(bytes, |name, value| match name {
        b"high" => events.high = value,
        b"max" => events.max = value,
        b"oom_kill" => kills = value,
        _ => {}
    });
    (found > 0).then_some((events, kills))
}

/// v1's measure, as the kubelet and cAdvisor convert it.
const fn shares_of_weight(weight: u64) -> u64 {
    2 + weight.saturating_sub(1).saturating_mul(262_142) / 9_999
}

/// Reads `QUOTA PERIOD`, with `max` for no quota.
fn cpu_max(bytes: &[u8]) -> Option<(Option<u64>, u64)> {
    let mut words = scan::words(bytes);
    let quota = match words.next()? {
        b"max" => None,
        word => Some(scan::number(word)?),
    };
    Some((quota, scan::number(words.next()?)?))
}

fn pressure_of(bytes: &[u8]) -> Option<Pressure> {
    let (mut some, mut full) = (None, None);
    for line in scan::lines(bytes) {
        let mut words = scan::words(line);
        let total = match words.next() {
            Some(b"some") => &mut some,
            Some(b"full") => &mut full,
            _ => continue,
        };
        let mut totals = words.filter_map(|word| word.strip_prefix(b"total="));
        *total = totals.next().and_then(scan::number);
    }
    Some(Pressure { some: some?, full })
}

/// Reads lines `MAJOR:MINOR rbytes=1 wbytes=2 ...`; a line without values is of a device that was never used.
fn take_devices<F: Files>(reading: &mut Reading, reader: &mut Reader<'_, F>) {
    let devices = &mut reading.devices;
    let is_rest = reader.is_rest;
    let Some(bytes) = reader.read(&IO_STAT) else {
        if !is_rest {
            devices.clear();
        }
        return;
    };
    devices.clear();
    let mut errors = 0;
    for line in scan::lines(bytes) {
        let mut words = scan::words(line);
        let Some((major, minor)) = words.next().and_then(device_number) else {
            errors += 1;
            continue;
        };
        let (mut device, mut found) = (
            Device {
                major,
                minor,
                ..Device::default()
            },
            false,
        );
        for word in words {
            let Some((name, value)) = scan::split_once(word, b'=') else {
                continue;
            };
            let [bytes_read, bytes_written, ..] = &mut device.bytes;
            let [reads, writes, ..] = &mut device.operations;
            let place = match name {
                b"rbytes" => bytes_read,
                b"wbytes" => bytes_written,
                b"rios" => reads,
                b"wios" => writes,
                _ => continue,
            };
            *place = scan::number(value);
            found |= place.is_some();
        }
        if !found {
            continue;
        }
        if devices.len() < DEVICES_MAX {
            devices.push(device);
        } else {
            errors += 1;
        }
    }
    reader.errors += errors;
}
