use std::collections::HashMap;
use std::io;

use proptest::prelude::*;

use super::*;

/// Files in memory.
#[derive(Debug, Default)]
struct Twin(HashMap<&'static str, Vec<u8>>);

impl Files for Twin {
    fn read<'a>(&mut self, file: &CgroupFile, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        match self.0.get(file.name).map(Vec::as_slice) {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(b"EACCES") => Err(io::ErrorKind::PermissionDenied.into()),
            Some(bytes) => {
                buffer.clear();
                buffer.extend_from_slice(bytes);
                Ok(buffer)
            }
        }
    }
}

fn files(all: &[(&'static str, &str)]) -> Twin {
    let all = all
        .iter()
        .map(|(name, text)| (*name, text.as_bytes().to_vec()));
    Twin(all.collect())
}

/// Reads everything; returns it and how many files were wrong.
fn read(version: Version, files: &mut Twin) -> (Reading, u64) {
    let (mut reading, mut buffer) = (Reading::default(), Vec::new());
    let mut reader = Reader::new(files, &mut buffer);
    reading.take_often(version, &mut reader);
    reading.take_seldom(version, &mut reader);
    (reading, reader.errors())
}

#[test]
fn v2_reads_every_file() {
    let mut files = files(&[
        (
            "cpu.stat",
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\nthrottled_usec 9\nnr_bursts 4\nburst_usec 8\n",
        ),
        ("cpu.weight", "100\n"),
        ("cpu.max", "50000 100000\n"),
        ("memory.current", "4096\n"),
        ("memory.peak", "8192\n"),
        (
            "memory.stat",
            "anon 1000\nfile 2000\ninactive_file 5000\npgfault 6\npgmajfault 1\npgscan 3\n",
        ),
        ("memory.swap.current", "12\n"),
        ("memory.max", "536870912\n"),
        ("memory.min", "0\n"),
        ("memory.swap.max", "max\n"),
        ("memory.events", "low 0\nhigh 2\nmax 3\noom 1\noom_kill 1\n"),
        (
            "io.stat",
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n253:7 \n8:16 cost.usage=1\n",
        ),
        (
            "cpu.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=17\n",
        ),
        ("memory.pressure", "some total=1\nfull avg10=0.00 total=2\n"),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        ("cgroup.procs", "0\n12\n13\n"),
    ]);
    let (reading, errors) = read(Version::V2, &mut files);
    assert_eq!(errors, 0);
    let cpu = Cpu {
        usage: 5_000,
        user: 3_000,
        system: 2_000,
    };
    assert_eq!(reading.cpu, Some(cpu));
    assert_eq!(
        reading
            .throttling
            .map(|t| (t.periods, t.throttled, t.burst)),
        Some((7, 9_000, 8_000))
    );
    let limits = CpuLimits {
        shares: Some(2 + 99 * 262_142 / 9_999),
        period: Some(100_000),
        quota: Some(50_000),
    };
    assert_eq!(reading.cpu_limits, Some(limits));
    let memory = reading.memory.unwrap();
    assert_eq!(
        (memory.usage, memory.rss, memory.cache, memory.swap),
        (4_096, 1_000, 2_000, 12)
    );
    assert_eq!(memory.working_set(), 0, "never below");
    assert_eq!(memory.faults_below, Faults { all: 6, major: 1 });
    assert_eq!(
        (reading.memory_peak, reading.oom_kills),
        (Some(8_192), Some(1))
    );
    assert_eq!(
        reading.memory_limits.map(|l| (l.limit, l.swap)),
        Some((536_870_912, 0))
    );
    assert_eq!(reading.devices.len(), 1);
    let device = reading.devices[0];
    assert_eq!(device.bytes[..3], [Some(1), Some(2), None]);
    assert_eq!(device.operations[..2], [Some(3), Some(4)]);
    let [cpu, memory, io] = reading.pressure;
    assert_eq!(
        cpu,
        Some(Pressure {
            some: 17,
            full: None
        })
    );
    assert_eq!((memory.and_then(|m| m.full), io), (Some(2), None));
    assert_eq!(
        (reading.processes, reading.first_process),
        (Some(3), Some(12))
    );
    assert_eq!((reading.threads, reading.threads_max), (Some(3), Some(0)));
}

#[test]
fn v1_reads_every_file() {
    let mut files = files(&[
        ("cpuacct.usage", "7000000001\n"),
        ("cpuacct.stat", "user 300\nsystem 400\n"),
        (
            "cpu.stat",
            "nr_periods 5\nnr_throttled 2\nthrottled_time 11\n",
        ),
        ("cpu.shares", "1024\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("memory.usage_in_bytes", "9000\n"),
        ("memory.max_usage_in_bytes", "10000\n"),
        ("memory.failcnt", "4\n"),
        ("memory.kmem.usage_in_bytes", "77\n"),
        (
            "memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        ),
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory.soft_limit_in_bytes", "4096\n"),
        (
            "memory.stat",
            "cache 1\nrss 2\npgfault 3\npgmajfault 1\ntotal_cache 10\ntotal_rss 20\ntotal_swap 5\ntotal_inactive_file 600\ntotal_pgfault 30\ntotal_pgmajfault 2\n",
        ),
        (
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 10\n8:0 Write 20\n8:0 Sync 5\n8:0 Async 25\n8:0 Discard 0\n8:0 Total 30\nTotal 30\n",
        ),
        (
            "blkio.throttle.io_serviced_recursive",
            "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
        ),
        ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
        ("pids.current", "2\n"),
        ("cgroup.procs", "5\n"),
    ]);
    let (reading, errors) = read(Version::V1, &mut files);
    assert_eq!(errors, 0);
    let cpu = reading.cpu.unwrap();
    assert_eq!(
        (cpu.usage, cpu.user, cpu.system),
        (7_000_000_001, 3_000_000_000, 4_000_000_000)
    );
    let limits = reading.cpu_limits.unwrap();
    assert_eq!((limits.shares, limits.quota), (Some(1_024), None));
    let memory = reading.memory.unwrap();
    assert_eq!(
        (memory.usage, memory.cache, memory.rss, memory.swap),
        (9_000, 10, 20, 5)
    );
    assert_eq!((memory.kernel, memory.working_set()), (77, 8_400));
    assert_eq!((memory.faults.all, memory.faults_below.all), (3, 30));
    assert_eq!(
        (
            reading.memory_peak,
            reading.memory_failures,
            reading.oom_kills
        ),
        (Some(10_000), Some(4), Some(3))
    );
    assert_eq!(
        reading
            .memory_limits
            .map(|l| (l.limit, l.reservation, l.swap)),
        Some((0, 4_096, 0))
    );
    let device = reading.devices[0];
    assert_eq!(device.bytes, [10, 20, 5, 25, 0, 30].map(Some));
    assert_eq!(device.operations[..2], [Some(1), Some(2)]);
}

#[test]
fn a_bad_file_costs_its_own_values_only() {
    let mut broken = files(&[
        ("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"),
        ("memory.stat", "EACCES"),
        ("memory.peak", "lots"),
        ("io.stat", "8 rbytes=1\n8:0 rbytes=1\n"),
        ("cpu.max", "max"),
        ("cpu.pressure", "some total=\n"),
    ]);
    let (reading, errors) = read(Version::V2, &mut broken);
    assert_eq!(errors, 5);
    assert_eq!(reading.cpu.map(|cpu| cpu.usage), Some(5_000));
    assert_eq!(
        (reading.memory, reading.memory_peak, reading.cpu_limits),
        (None, None, None)
    );
    assert_eq!(reading.devices.len(), 1);
}

#[test]
fn a_last_reading_keeps_what_cannot_be_read_any_more() {
    let mut files = files(&[
        ("cpu.stat", "usage_usec 5\n"),
        ("memory.peak", "10\n"),
        ("memory.stat", "anon 1\n"),
        ("memory.current", "9\n"),
        ("memory.swap.current", "3\n"),
        ("cgroup.procs", "41\n42\n"),
    ]);
    let (mut reading, _) = read(Version::V2, &mut files);
    files.0.remove("memory.swap.current");
    files.0.insert("cpu.stat", b"usage_usec 6\n".to_vec());
    files.0.insert("memory.peak", b"11\n".to_vec());
    files.0.remove("memory.stat");
    let mut buffer = Vec::new();
    let last = Reading::last(Version::V2, &mut Reader::new(&mut files, &mut buffer));
    assert!(reading.end_with(last));
    assert_eq!(
        (reading.cpu.map(|cpu| cpu.usage), reading.memory_peak),
        (Some(6_000), Some(11))
    );
    files.0.insert("memory.current", b"8\n".to_vec());
    let of_memory = |reading: &Reading| {
        let memory = reading.memory.unwrap();
        (memory.rss, memory.usage, memory.swap)
    };
    assert_eq!(of_memory(&reading), (1, 9, 3));
    reading.take_rest(Version::V2, &mut Reader::new(&mut files, &mut buffer));
    assert_eq!(of_memory(&reading), (1, 8, 3));
    // Of what is read in several files, each may be the one that is left.
    for left in ["memory.stat", "memory.swap.current"] {
        files.0.clear();
        files.0.insert(left, b"anon 2\n".to_vec());
        reading.take_rest(Version::V2, &mut Reader::new(&mut files, &mut buffer));
    }
    assert_eq!(of_memory(&reading), (2, 8, 3));
    assert_eq!(
        (reading.processes, reading.first_process),
        (Some(2), Some(41))
    );
    files.0.clear();
    let before = reading.clone();
    for mut any in [reading.clone(), Reading::default()] {
        let last = Reading::last(Version::V1, &mut Reader::new(&mut files, &mut buffer));
        assert!(!any.end_with(last));
    }
    reading.take_rest(Version::V2, &mut Reader::new(&mut files, &mut buffer));
    assert_eq!(reading, before);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), seed in 0_usize..20) {
        const NAMES: [&str; 20] = [
            "cpu.stat", "cpu.max", "cpu.weight", "memory.stat", "memory.current", "memory.max", "memory.events", "io.stat",
            "cpu.pressure", "cgroup.procs", "cpuacct.usage", "cpuacct.stat", "memory.oom_control", "cpu.shares",
            "memory.limit_in_bytes", "blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive",
            "pids.max", "memory.swap.max", "memory.peak",
        ];
        let mut files = Twin(HashMap::from([(NAMES[seed], bytes)]));
        read(Version::V1, &mut files);
        read(Version::V2, &mut files);
    }
}
