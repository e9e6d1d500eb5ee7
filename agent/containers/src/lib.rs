//! Containers: what the kubelet's cAdvisor says of cgroups, in its names, types, labels and values.
//!
//! [`Containers`] knows the cgroups of a machine, of version 1 or 2, whatever runtime and driver made them. [`Containers::collect`]
//! reads them and hands each, with its names, to a [`Taker`]; who each is comes from [`Names`], which [`follow`] keeps up to date over
//! the runtime's socket. [`Containers::watch`] starts a thread that sees groups come and go and reads each a last time as it goes, so
//! that what a container used in all is known even when it lived between two collections.
//!
//! ```text
//! cgroupfs ──> tree ──> readings ──> collect ──> Taker (a cohort per group and tier)
//!     └─> watch: come, go, last readings ┘  └─ names <── follow: CRI socket
//! ```
//!
//! Invariants:
//! - A file that is missing makes its values absent; one that cannot be read or parsed costs its own values of its own group, and is
//!   counted. No content panics, and no file is read past [`FILE_BYTES_MAX`].
//! - A container is shown while something runs in it, and once more as it ends. Of two with the same name in the same pod, only the
//!   younger is shown.
//! - Groups, names, devices, interfaces, entries of folders and open descriptors have bounds; what is beyond is left out and counted.
//! - What a container makes below its own group is its own business.
//!
//! Never here: flags (the binary wires [`ContainersConfig`]), HTTP servers, rows and cohorts, the schedule.

#![forbid(unsafe_code)]

mod config;
mod containers;
mod cri;
mod devices;
mod exits;
mod families;
mod files;
mod layout;
mod metrics;
mod names;
mod network;
mod place;
mod processes;
mod reading;
mod tree;
mod watch;

pub use config::ContainersConfig;
pub use containers::{Containers, Showing, Taken, Taker, Tier};
pub use cri::{CriConfig, follow, learn_once};
pub use devices::DeviceNames;
pub use families::LABELS;
pub use files::{CgroupFile, FILE_BYTES_MAX, Files};
pub use layout::{Controller, Version};
pub use metrics::Metrics;
pub use names::{About, Exit, FilesystemUsage, Names, SnapshotError};
pub use network::Network;
pub use place::Place;
pub use reading::{
    Cpu, CpuLimits, Device, Faults, Memory, MemoryEvents, MemoryLimits, OPERATIONS, Pressure,
    Reader, Reading, Reclaim, Throttling,
};
