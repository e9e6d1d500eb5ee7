//! Mounted NFS shares: `self/mountstats`.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Collector;
use crate::error::CollectError;
use crate::folder::Scale;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{Family, Paths, Sink, scan};

const MOUNT: &[&str] = &["export", "protocol", "mountaddr"];

/// A number of a mount.
macro_rules! mount {
    ($kind:ident, $name:literal, $help:literal) => {
        Family::$kind(concat!("node_mountstats_nfs_", $name), $help, MOUNT)
    };
}

/// A number of one of a mount's transports.
macro_rules! transport {
    ($kind:ident, $name:literal, $help:literal) => {
        Family::$kind(
            concat!("node_mountstats_nfs_", $name),
            $help,
            &["export", "protocol", "mountaddr", "transport"],
        )
    };
}

/// A number of an operation.
macro_rules! operation {
    ($kind:ident, $name:literal, $help:literal) => {
        Family::$kind(
            concat!("node_mountstats_nfs_", $name),
            $help,
            &["export", "protocol", "mountaddr", "operation"],
        )
    };
}

static INFO: Family = Family::gauge(
    "node_mountstats_nfs_mountpoint_info",
    "Info metric for an NFS mountpoint.",
    &["export", "protocol", "mountaddr", "mountpoint"],
);
static AGE: Family = mount!(
    counter,
    "age_seconds_total",
    "The age of the NFS mount in seconds."
);
/// In the order of the numbers after `bytes:`.
static BYTES: [Family; 8] = [
    mount!(
        counter,
        "read_bytes_total",
        "Number of bytes read using the read() syscall."
    ),
    mount!(
        counter,
        "write_bytes_total",
        "Number of bytes written using the write() syscall."
    ),
    mount!(
        counter,
        "direct_read_bytes_total",
        "Number of bytes read using the read() syscall in O_DIRECT mode."
    ),
    mount!(
        counter,
        "direct_write_bytes_total",
        "Number of bytes written using the write() syscall in O_DIRECT mode."
    ),
    mount!(
        counter,
        "total_read_bytes_total",
        "Number of bytes read from the NFS server, in total."
    ),
    mount!(
        counter,
        "total_write_bytes_total",
        "Number of bytes written to the NFS server, in total."
    ),
    mount!(
        counter,
        "read_pages_total",
        "Number of pages read directly via mmap()'d files."
    ),
    mount!(
        counter,
        "write_pages_total",
        "Number of pages written directly via mmap()'d files."
    ),
];
/// In the order of the numbers after `events:`; nothing increases the one that has no family.
static EVENTS: [Option<Family>; 27] = [
    Some(mount!(
        counter,
        "event_inode_revalidate_total",
        "Number of times cached inode attributes are re-validated from the server."
    )),
    Some(mount!(
        counter,
        "event_dnode_revalidate_total",
        "Number of times cached dentry nodes are re-validated from the server."
    )),
    Some(mount!(
        counter,
        "event_data_invalidate_total",
        "Number of times an inode cache is cleared."
    )),
    Some(mount!(
        counter,
        "event_attribute_invalidate_total",
        "Number of times cached inode attributes are invalidated."
    )),
    Some(mount!(
        counter,
        "event_vfs_open_total",
        "Number of times cached inode attributes are invalidated."
    )),
    Some(mount!(
        counter,
        "event_vfs_lookup_total",
        "Number of times a directory lookup has occurred."
    )),
    Some(mount!(
        counter,
        "event_vfs_access_total",
        "Number of times permissions have been checked."
    )),
    Some(mount!(
        counter,
        "event_vfs_update_page_total",
        "Number of updates (and potential writes) to pages."
    )),
    Some(mount!(
        counter,
        "event_vfs_read_page_total",
        "Number of pages read directly via mmap()'d files."
    )),
    Some(mount!(
        counter,
        "event_vfs_read_pages_total",
        "Number of times a group of pages have been read."
    )),
    Some(mount!(
        counter,
        "event_vfs_write_page_total",
        "Number of pages written directly via mmap()'d files."
    )),
    Some(mount!(
        counter,
        "event_vfs_write_pages_total",
        "Number of times a group of pages have been written."
    )),
    Some(mount!(
        counter,
        "event_vfs_getdents_total",
        "Number of times directory entries have been read with getdents()."
    )),
    Some(mount!(
        counter,
        "event_vfs_setattr_total",
        "Number of times directory entries have been read with getdents()."
    )),
    Some(mount!(
        counter,
        "event_vfs_flush_total",
        "Number of pending writes that have been forcefully flushed to the server."
    )),
    Some(mount!(
        counter,
        "event_vfs_fsync_total",
        "Number of times fsync() has been called on directories and files."
    )),
    Some(mount!(
        counter,
        "event_vfs_lock_total",
        "Number of times locking has been attempted on a file."
    )),
    Some(mount!(
        counter,
        "event_vfs_file_release_total",
        "Number of times files have been closed and released."
    )),
    None,
    Some(mount!(
        counter,
        "event_truncation_total",
        "Number of times files have been truncated."
    )),
    Some(mount!(
        counter,
        "event_write_extension_total",
        "Number of times a file has been grown due to writes beyond its existing end."
    )),
    Some(mount!(
        counter,
        "event_silly_rename_total",
        "Number of times a file was removed while still open by another process."
    )),
    Some(mount!(
        counter,
        "event_short_read_total",
        "Number of times the NFS server gave less data than expected while reading."
    )),
    Some(mount!(
        counter,
        "event_short_write_total",
        "Number of times the NFS server wrote less data than expected while writing."
    )),
    Some(mount!(
        counter,
        "event_jukebox_delay_total",
        "Number of times the NFS server indicated EJUKEBOX; retrieving data from offline storage."
    )),
    Some(mount!(
        counter,
        "event_pnfs_read_total",
        "Number of NFS v4.1+ pNFS reads."
    )),
    Some(mount!(
        counter,
        "event_pnfs_write_total",
        "Number of NFS v4.1+ pNFS writes."
    )),
];
/// Where in the numbers of a transport over TCP with `statvers` 1.1 each stands.
static TRANSPORT: [(usize, Family); 10] = [
    (
        1,
        transport!(
            counter,
            "transport_bind_total",
            "Number of times the client has had to establish a connection from scratch to the NFS server."
        ),
    ),
    (
        2,
        transport!(
            counter,
            "transport_connect_total",
            "Number of times the client has made a TCP connection to the NFS server."
        ),
    ),
    (
        4,
        transport!(
            gauge,
            "transport_idle_time_seconds",
            "Duration since the NFS mount last saw any RPC traffic, in seconds."
        ),
    ),
    (
        5,
        transport!(
            counter,
            "transport_sends_total",
            "Number of RPC requests for this mount sent to the NFS server."
        ),
    ),
    (
        6,
        transport!(
            counter,
            "transport_receives_total",
            "Number of RPC responses for this mount received from the NFS server."
        ),
    ),
    (
        7,
        transport!(
            counter,
            "transport_bad_transaction_ids_total",
            "Number of times the NFS server sent a response with a transaction ID unknown to this client."
        ),
    ),
    (
        9,
        transport!(
            counter,
            "transport_backlog_queue_total",
            "Total number of items added to the RPC backlog queue."
        ),
    ),
    (
        10,
        transport!(
            gauge,
            "transport_maximum_rpc_slots",
            "Maximum number of simultaneously active RPC requests ever used."
        ),
    ),
    (
        11,
        transport!(
            counter,
            "transport_sending_queue_total",
            "Total number of items added to the RPC transmission sending queue."
        ),
    ),
    (
        12,
        transport!(
            counter,
            "transport_pending_queue_total",
            "Total number of items added to the RPC transmission pending queue."
        ),
    ),
];
/// In the order of the numbers after an operation; times are in milliseconds.
static OPERATION: [(Scale, Family); 8] = [
    (
        Scale::One,
        operation!(
            counter,
            "operations_requests_total",
            "Number of requests performed for a given operation."
        ),
    ),
    (
        Scale::One,
        operation!(
            counter,
            "operations_transmissions_total",
            "Number of times an actual RPC request has been transmitted for a given operation."
        ),
    ),
    (
        Scale::One,
        operation!(
            counter,
            "operations_major_timeouts_total",
            "Number of times a request has had a major timeout for a given operation."
        ),
    ),
    (
        Scale::One,
        operation!(
            counter,
            "operations_sent_bytes_total",
            "Number of bytes sent for a given operation, including RPC headers and payload."
        ),
    ),
    (
        Scale::One,
        operation!(
            counter,
            "operations_received_bytes_total",
            "Number of bytes received for a given operation, including RPC headers and payload."
        ),
    ),
    (
        Scale::Per(1_000.0),
        operation!(
            counter,
            "operations_queue_time_seconds_total",
            "Duration all requests spent queued for transmission for a given operation before they were sent, in seconds."
        ),
    ),
    (
        Scale::Per(1_000.0),
        operation!(
            counter,
            "operations_response_time_seconds_total",
            "Duration all requests took to get a reply back after a request for a given operation was transmitted, in seconds."
        ),
    ),
    (
        Scale::Per(1_000.0),
        operation!(
            counter,
            "operations_request_time_seconds_total",
            "Duration all requests took from when a request was enqueued to when it was completely handled for a given operation, in seconds."
        ),
    ),
];

/// A time may have gone below 0, and then is huge: so that it still is a whole number as a float, what is above this is cut off.
const EXACT_MAX: u64 = (1 << 53) - 1;
/// UDP has no connections: their numbers are missing from its transports.
const CONNECTION_NUMBERS: [u64; 3] = [0; 3];
const CONNECTION_NUMBERS_AT: usize = 2;

#[derive(Debug)]
pub(super) struct Mountstats {
    statistics: PathBuf,
    mounts: PathBuf,
}

impl Mountstats {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            statistics: paths.procfs.join("self/mountstats"),
            mounts: paths.procfs.join("self/mountinfo"),
        }
    }
}

impl Collector for Mountstats {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let read =
            |path: &PathBuf| read_once(path).map_err(|error| CollectError::read(path, error));
        let statistics = read(&self.statistics)?;
        let mounts = read(&self.mounts)?;
        // Both list the mounts in the same order.
        let mut addresses = scan::lines(&mounts).map(address);
        let mut seen = HashSet::new();
        let mut mount: Option<Mount> = None;
        for line in scan::lines(&statistics) {
            let taken = if line.starts_with(b"device ") {
                let address = addresses.next().flatten().unwrap_or_default();
                finish(mount.take(), &mut seen, sink);
                mount = Mount::parse(line, address);
                Some(())
            } else {
                mount.as_mut().map_or(Some(()), |mount| mount.take(line))
            };
            taken.ok_or_else(|| {
                CollectError::parse(&self.statistics, "mounts and their statistics")
            })?;
        }
        finish(mount, &mut seen, sink);
        Ok(())
    }
}

/// Returns the server's address, an option of the file system: the words after `-` are its type, its source and its options.
fn address(line: &[u8]) -> Option<String> {
    let mut words = line.split(|byte| *byte == b' ');
    words.by_ref().find(|word| *word == b"-")?;
    let mut options = words.nth(2)?.split(|byte| *byte == b',');
    let address = options.find_map(|option| option.strip_prefix(b"addr="))?;
    Some(scan::text(address).into_owned())
}

/// A mount of NFS.
#[derive(Debug, Default)]
struct Mount {
    export: String,
    point: String,
    address: String,
    age: u64,
    bytes: Vec<u64>,
    events: Vec<u64>,
    transports: Vec<Transport>,
    operations: Vec<(String, Vec<u64>)>,
    in_operations: bool,
}

#[derive(Debug)]
struct Transport {
    protocol: String,
    numbers: Vec<u64>,
}

impl Mount {
    /// Reads `device EXPORT mounted on POINT with fstype TYPE [statvers=V]`; other file systems have no statistics.
    fn parse(line: &[u8], address: String) -> Option<Self> {
        let mut words = scan::words(line).map(scan::text);
        let export = words.nth(1)?.into_owned();
        let point = words.nth(2)?.into_owned();
        let kind = words.nth(2)?;
        matches!(&*kind, "nfs" | "nfs4").then(|| Self {
            export,
            point,
            address,
            ..Self::default()
        })
    }

    fn take(&mut self, line: &[u8]) -> Option<()> {
        let Some((word, rest)) = scan::split_once(line.trim_ascii(), b':') else {
            self.in_operations |= line.trim_ascii() == b"per-op statistics";
            return Some(());
        };
        let numbers = |text| {
            scan::words(text)
                .map(scan::number)
                .collect::<Option<Vec<u64>>>()
        };
        if self.in_operations {
            let name = scan::text(word).into_owned();
            self.operations.push((name, numbers(rest)?));
            return Some(());
        }
        match word {
            b"age" => self.age = scan::number(rest.trim_ascii())?,
            b"bytes" => self.bytes = numbers(rest)?,
            b"events" => self.events = numbers(rest)?,
            b"xprt" => {
                let (protocol, rest) = scan::split_once(rest.trim_ascii(), b' ')?;
                let mut numbers = numbers(rest)?;
                if protocol == b"udp" {
                    let at = CONNECTION_NUMBERS_AT.min(numbers.len());
                    numbers.splice(at..at, CONNECTION_NUMBERS);
                }
                self.transports.push(Transport {
                    protocol: scan::text(protocol).into_owned(),
                    numbers,
                });
            }
            _ => {}
        }
        Some(())
    }

    /// What the kernel does not count is 0.
    fn sample(&self, protocol: &str, sink: &mut dyn Sink) {
        let labels = [&*self.export, protocol, &*self.address];
        let at =
            |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or_default() as f64;
        sink.sample(&AGE, &labels, self.age as f64);
        for (index, family) in BYTES.iter().enumerate() {
            sink.sample(family, &labels, at(&self.bytes, index));
        }
        for (index, family) in EVENTS.iter().enumerate() {
            if let Some(family) = family {
                sink.sample(family, &labels, at(&self.events, index));
            }
        }
        for (number, transport) in self.transports.iter().enumerate() {
            let number = number.to_string();
            let [export, _, address] = labels;
            let labels = [export, protocol, address, &*number];
            for (index, family) in &TRANSPORT {
                sink.sample(family, &labels, at(&transport.numbers, *index));
            }
        }
        for (name, numbers) in &self.operations {
            let [export, _, address] = labels;
            let labels = [export, protocol, address, &**name];
            for (number, (scale, family)) in numbers.iter().zip(&OPERATION) {
                let number = match scale {
                    Scale::One => *number,
                    Scale::Times(_) | Scale::Per(_) => *number % (EXACT_MAX + 1),
                };
                sink.sample(family, &labels, scale.of(number as f64));
            }
        }
    }
}

/// Samples a mount that was read whole. Mounts of one export share their numbers, so only the first of them shows those.
fn finish(mount: Option<Mount>, seen: &mut HashSet<[String; 3]>, sink: &mut dyn Sink) {
    let Some(mount) = mount else {
        return;
    };
    for transport in &mount.transports {
        let protocol = &*transport.protocol;
        let info = [&*mount.export, protocol, &*mount.address, &*mount.point];
        sink.sample(&INFO, &info, 1.0);
        let identity = [&*mount.export, protocol, &*mount.address].map(str::to_owned);
        if !seen.insert(identity) {
            break;
        }
        mount.sample(protocol, sink);
    }
}
