//! Node collectors: what node_exporter 1.12 says of a machine, in its names, types, help texts, labels and values.
//!
//! A [`Host`] owns the collectors, one file each under `collectors/`. [`Host::collect`] runs those of one [`Tier`] and hands their
//! samples, one by one, to a [`Sink`]; [`Host::expose`] runs all of them once and returns [`MetricFamily`]s for a text form. Two
//! sinks are here: [`RowSink`], which turns a collection into a row of a cohort (by [`CohortBuilder`], which other samplers use
//! too), and [`Snapshot`].
//!
//! Invariants:
//! - Every path starts at one of [`Paths`], so that a folder of fixtures, or a container's view of its node, stands in for
//!   `/proc`, `/sys`, `/` and udev's data.
//! - A file that is missing or unreadable, or holds what no parser expects, costs its collector only: the others run, and
//!   `node_scrape_collector_success` says 0. No content panics, and no file is read past [`FILE_BYTES_MAX`].
//! - In the steady state (no series comes or goes) a collection of [`Tier::Fast`] allocates per collection, never per sample: files
//!   are kept open and read from the start into kept buffers, text is parsed as bytes, label values are borrowed. One of
//!   [`Tier::Slow`] walks folders, opens what it finds, and allocates per file.
//! - A mount that does not answer `statfs` holds a thread, never a collection; the number of such threads is bounded.
//!
//! Never here: flags (the binary wires [`HostConfig`]), HTTP, text formats, the schedule.

#![deny(unsafe_code)]

mod adjtimex;
mod collector_name;
mod collectors;
mod config;
mod dbus;
mod error;
mod family_cache;
mod filter;
mod folder;
mod host;
mod kept_file;
mod netlink;
mod paths;
mod refresh;
mod snapshot;
mod timezone;

use ::scan;

pub use collector_name::{CollectorName, UnknownCollector};
pub use config::{
    ArpOptions, CpuOptions, DeviceOptions, FilesystemOptions, HostConfig, InterruptsOptions,
    NetclassOptions, NetdevOptions, SysctlOptions, SystemdOptions, Tier,
};
pub use error::HostConfigError;
pub use host::Host;
pub use kept_file::FILE_BYTES_MAX;
pub use paths::Paths;
pub use rows::{CohortBuilder, Collected, Family, RowSink, Sink};
pub use snapshot::{MetricFamily, MetricSample, Snapshot};
