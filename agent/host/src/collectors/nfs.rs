//! The NFS client: `net/rpc/nfs`.

use super::Collector;
use super::rpc::{self, Procedures};
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

static PACKETS: Family = Family::counter(
    "node_nfs_packets_total",
    "Total NFSd network packets (sent+received) by protocol type.",
    &["protocol"],
);
static CONNECTIONS: Family = Family::counter(
    "node_nfs_connections_total",
    "Total number of NFSd TCP connections.",
    &[],
);
static RPCS: Family = Family::counter(
    "node_nfs_rpcs_total",
    "Total number of RPCs performed.",
    &[],
);
static RETRANSMISSIONS: Family = Family::counter(
    "node_nfs_rpc_retransmissions_total",
    "Number of RPC transmissions performed.",
    &[],
);
static AUTHENTICATION_REFRESHES: Family = Family::counter(
    "node_nfs_rpc_authentication_refreshes_total",
    "Number of RPC authentication refreshes performed.",
    &[],
);
static REQUESTS: Family = Family::counter(
    "node_nfs_requests_total",
    "Number of NFS procedures invoked.",
    &["proto", "method"],
);

/// In the kernel's order; an older kernel knows fewer.
const V4: Procedures<'_> = &[
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

#[derive(Debug)]
pub(super) struct Nfs {
    file: KeptFile,
}

impl Nfs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("net/rpc/nfs")),
        }
    }
}

impl Collector for Nfs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("there is no NFS client"))?;
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
        b"net" => {
            let [_, udp, tcp, connections] = rpc::numbers(numbers)?;
            sink.sample(&PACKETS, &["udp"], udp);
            sink.sample(&PACKETS, &["tcp"], tcp);
            sink.sample(&CONNECTIONS, &[], connections);
        }
        b"rpc" => {
            let [calls, retransmissions, refreshes] = rpc::numbers(numbers)?;
            sink.sample(&RPCS, &[], calls);
            sink.sample(&RETRANSMISSIONS, &[], retransmissions);
            sink.sample(&AUTHENTICATION_REFRESHES, &[], refreshes);
        }
        b"proc2" => rpc::sample_all(&REQUESTS, "2", &rpc::V2, numbers, sink)?,
        b"proc3" => rpc::sample_all(&REQUESTS, "3", &rpc::V3, numbers, sink)?,
        b"proc4" => rpc::sample_known(&REQUESTS, "4", V4, numbers, sink)?,
        _ => {}
    }
    Some(())
}
