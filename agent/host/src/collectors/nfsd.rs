//! The NFS server: `net/rpc/nfsd`.

use super::Collector;
use super::rpc::{self, Procedures};
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static REPLY_CACHE: [Family; 3] = [
    Family::counter(
        "node_nfsd_reply_cache_hits_total",
        "Total number of NFSd Reply Cache hits (client lost server response).",
        &[],
    ),
    Family::counter(
        "node_nfsd_reply_cache_misses_total",
        "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
        &[],
    ),
    Family::counter(
        "node_nfsd_reply_cache_nocache_total",
        "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/\u{2026}).",
        &[],
    ),
];
static STALE_HANDLES: Family = Family::counter(
    "node_nfsd_file_handles_stale_total",
    "Total number of NFSd stale file handles",
    &[],
);
static DISK_BYTES: [Family; 2] = [
    Family::counter(
        "node_nfsd_disk_bytes_read_total",
        "Total NFSd bytes read.",
        &[],
    ),
    Family::counter(
        "node_nfsd_disk_bytes_written_total",
        "Total NFSd bytes written.",
        &[],
    ),
];
static THREADS: Family = Family::gauge(
    "node_nfsd_server_threads",
    "Total number of NFSd kernel threads that are running.",
    &[],
);
static READ_AHEAD_SIZE: Family = Family::gauge(
    "node_nfsd_read_ahead_cache_size_blocks",
    "How large the read ahead cache is in blocks.",
    &[],
);
static READ_AHEAD_NOT_FOUND: Family = Family::counter(
    "node_nfsd_read_ahead_cache_not_found_total",
    "Total number of NFSd read ahead cache not found.",
    &[],
);
static PACKETS: Family = Family::counter(
    "node_nfsd_packets_total",
    "Total NFSd network packets (sent+received) by protocol type.",
    &["proto"],
);
static CONNECTIONS: Family = Family::counter(
    "node_nfsd_connections_total",
    "Total number of NFSd TCP connections.",
    &[],
);
static RPCS: Family = Family::counter(
    "node_nfsd_server_rpcs_total",
    "Total number of NFSd RPCs.",
    &[],
);
static RPC_ERRORS: Family = Family::counter(
    "node_nfsd_rpc_errors_total",
    "Total number of NFSd RPC errors by error type.",
    &["error"],
);
static REQUESTS: Family = Family::counter(
    "node_nfsd_requests_total",
    "Total number NFSd Requests by method and protocol.",
    &["proto", "method"],
);

const V2: [&str; 18] = rpc::without_null(rpc::V2);
const V3: [&str; 22] = rpc::without_null(rpc::V3);
/// Operations of NFS 4 by number; the first three are none.
const V4: Procedures<'_> = &[
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];
/// The oldest kernels end with `Write`.
const V4_MIN: usize = 39;

#[derive(Debug)]
pub(super) struct Nfsd {
    file: KeptFile,
}

impl Nfsd {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("net/rpc/nfsd")),
        }
    }
}

impl Collector for Nfsd {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("there is no NFS server"))?;
        for line in content.lines() {
            sample_line(line, sink)
                .ok_or_else(|| content.without("lines of a word and its numbers"))?;
        }
        Ok(())
    }
}

fn sample_line(line: &[u8], sink: &mut dyn Sink) -> Option<()> {
    let (word, numbers) = scan::split_once(line, b' ')?;
    match word {
        b"rc" => sample_each(&REPLY_CACHE, rpc::numbers::<3>(numbers)?, sink),
        b"fh" => {
            let [stale, ..] = rpc::numbers::<5>(numbers)?;
            sink.sample(&STALE_HANDLES, &[], stale);
        }
        b"io" => sample_each(&DISK_BYTES, rpc::numbers::<2>(numbers)?, sink),
        b"th" => {
            // A histogram with fractions follows.
            let threads = scan::number(scan::words(numbers).next()?)?;
            sink.sample(&THREADS, &[], threads as f64);
        }
        b"ra" => {
            let [size, .., not_found] = rpc::numbers::<12>(numbers)?;
            sink.sample(&READ_AHEAD_SIZE, &[], size);
            sink.sample(&READ_AHEAD_NOT_FOUND, &[], not_found);
        }
        b"net" => {
            let [_, udp, tcp, connections] = rpc::numbers(numbers)?;
            sink.sample(&PACKETS, &["udp"], udp);
            sink.sample(&PACKETS, &["tcp"], tcp);
            sink.sample(&CONNECTIONS, &[], connections);
        }
        b"rpc" => {
            let [calls, _, format, authentication, client] = rpc::numbers(numbers)?;
            sink.sample(&RPCS, &[], calls);
            sink.sample(&RPC_ERRORS, &["fmt"], format);
            sink.sample(&RPC_ERRORS, &["auth"], authentication);
            sink.sample(&RPC_ERRORS, &["cInt"], client);
        }
        b"proc2" => rpc::sample_all(&REQUESTS, "2", &V2, numbers, sink)?,
        b"proc3" => rpc::sample_all(&REQUESTS, "3", &V3, numbers, sink)?,
        b"proc4ops" => {
            (scan::words(numbers).count() > V4_MIN).then_some(())?;
            rpc::sample_known(&REQUESTS, "4", V4, numbers, sink)?;
        }
        b"wdeleg_getattr" => {
            let [count] = rpc::numbers(numbers)?;
            sink.sample(&REQUESTS, &["4", "WdelegGetattr"], count);
        }
        _ => {}
    }
    Some(())
}

fn sample_each<const N: usize>(families: &[Family; N], numbers: [f64; N], sink: &mut dyn Sink) {
    for (family, number) in families.iter().zip(numbers) {
        sink.sample(family, &[], number);
    }
}
