//! Replicated block devices: `drbd`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::Scale;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

const DEVICE: &[&str] = &["device"];
const KILOBYTES: Scale = Scale::Times(1_024.0);

/// By what stands before the colon.
static NUMBERS: [(&str, Scale, Family); 12] = [
    (
        "ns",
        KILOBYTES,
        Family::counter(
            "node_drbd_network_sent_bytes_total",
            "Total number of bytes sent via the network.",
            DEVICE,
        ),
    ),
    (
        "nr",
        Scale::One,
        Family::counter(
            "node_drbd_network_received_bytes_total",
            "Total number of bytes received via the network.",
            DEVICE,
        ),
    ),
    (
        "dw",
        KILOBYTES,
        Family::counter(
            "node_drbd_disk_written_bytes_total",
            "Net data written on local hard disk; in bytes.",
            DEVICE,
        ),
    ),
    (
        "dr",
        KILOBYTES,
        Family::counter(
            "node_drbd_disk_read_bytes_total",
            "Net data read from local hard disk; in bytes.",
            DEVICE,
        ),
    ),
    (
        "al",
        Scale::One,
        Family::counter(
            "node_drbd_activitylog_writes_total",
            "Number of updates of the activity log area of the meta data.",
            DEVICE,
        ),
    ),
    (
        "bm",
        Scale::One,
        Family::counter(
            "node_drbd_bitmap_writes_total",
            "Number of updates of the bitmap area of the meta data.",
            DEVICE,
        ),
    ),
    (
        "lo",
        Scale::One,
        Family::gauge(
            "node_drbd_local_pending",
            "Number of open requests to the local I/O sub-system.",
            DEVICE,
        ),
    ),
    (
        "pe",
        Scale::One,
        Family::gauge(
            "node_drbd_remote_pending",
            "Number of requests sent to the peer, but that have not yet been answered by the latter.",
            DEVICE,
        ),
    ),
    (
        "ua",
        Scale::One,
        Family::gauge(
            "node_drbd_remote_unacknowledged",
            "Number of requests received by the peer via the network connection, but that have not yet been answered.",
            DEVICE,
        ),
    ),
    (
        "ap",
        Scale::One,
        Family::gauge(
            "node_drbd_application_pending",
            "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.",
            DEVICE,
        ),
    ),
    (
        "ep",
        Scale::One,
        Family::gauge(
            "node_drbd_epochs",
            "Number of Epochs currently on the fly.",
            DEVICE,
        ),
    ),
    (
        "oos",
        KILOBYTES,
        Family::gauge(
            "node_drbd_out_of_sync_bytes",
            "Amount of data known to be out of sync; in bytes.",
            DEVICE,
        ),
    ),
];
/// By what stands before the colon: what the local and the remote side are compared with.
static PAIRS: [(&str, &str, Family); 2] = [
    (
        "ro",
        "Primary",
        Family::gauge(
            "node_drbd_node_role_is_primary",
            "Whether the role of the node is in the primary state.",
            &["device", "node"],
        ),
    ),
    (
        "ds",
        "UpToDate",
        Family::gauge(
            "node_drbd_disk_state_is_up_to_date",
            "Whether the disk of the node is up to date.",
            &["device", "node"],
        ),
    ),
];
static CONNECTED: Family = Family::gauge(
    "node_drbd_connected",
    "Whether DRBD is connected to the peer.",
    DEVICE,
);

#[derive(Debug)]
pub(super) struct Drbd {
    file: KeptFile,
}

impl Drbd {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("drbd")),
        }
    }
}

impl Collector for Drbd {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self
            .file
            .read()
            .map_err(|error| error.missing_as("there is no DRBD"))?;
        let mut device = String::new();
        for word in scan::words(content.bytes) {
            let Some((name, value)) = scan::split_once(word, b':') else {
                continue;
            };
            let (name, value) = (scan::text(name), scan::text(value));
            if value.is_empty() && scan::number(name.as_bytes()).is_some() {
                device = format!("drbd{name}");
            } else if !device.is_empty() {
                sample(&device, &name, &value, sink)
                    .ok_or_else(|| content.without("numbers and pairs of states"))?;
            }
        }
        Ok(())
    }
}

/// What has an unknown name is passed over.
fn sample(device: &str, name: &str, value: &str, sink: &mut dyn Sink) -> Option<()> {
    let is = |equal: bool| f64::from(u8::from(equal));
    if let Some((_, scale, family)) = NUMBERS.iter().find(|(word, ..)| *word == name) {
        let number = scan::number(value.as_bytes())? as f64;
        sink.sample(family, &[device], scale.of(number));
    } else if let Some((_, good, family)) = PAIRS.iter().find(|(word, ..)| *word == name) {
        let (local, remote) = value.split_once('/')?;
        sink.sample(family, &[device, "local"], is(local == *good));
        sink.sample(family, &[device, "remote"], is(remote == *good));
    } else if name == "cs" {
        sink.sample(&CONNECTED, &[device], is(value == "Connected"));
    }
    Some(())
}
