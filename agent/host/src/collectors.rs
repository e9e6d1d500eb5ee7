//! The collectors, one file each.

mod cpu;
mod cpu_info;
mod diskstats;
mod filefd;
mod filesystem;
mod loadavg;
mod meminfo;
mod mountinfo;
mod netdev;
mod os;
mod pressure;
mod stat;
mod statfs_pool;
mod time;
mod udev;
mod uname;
mod vmstat;

use std::fmt;

use crate::error::CollectError;
use crate::host::Moment;
use crate::{CollectorName, HostConfig, HostConfigError, Sink};

/// Reads a part of the node into samples.
pub(crate) trait Collector: fmt::Debug + Send {
    /// Runs once. What was given to `sink` before an error stands.
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError>;
}

/// Returns the collector of this name.
pub(crate) fn build(
    name: CollectorName,
    config: &HostConfig,
) -> Result<Box<dyn Collector>, HostConfigError> {
    Ok(match name {
        CollectorName::Cpu => Box::new(cpu::Cpu::new(config)?),
        CollectorName::Diskstats => Box::new(diskstats::Diskstats::new(config)?),
        CollectorName::Filefd => Box::new(filefd::Filefd::new(&config.paths)),
        CollectorName::Filesystem => Box::new(filesystem::Filesystem::new(config)?),
        CollectorName::Loadavg => Box::new(loadavg::Loadavg::new(&config.paths)),
        CollectorName::Meminfo => Box::new(meminfo::Meminfo::new(&config.paths)),
        CollectorName::Netdev => Box::new(netdev::Netdev::new(config)?),
        CollectorName::Os => Box::new(os::Os::new(&config.paths)),
        CollectorName::Pressure => Box::new(pressure::Pressure::new(&config.paths)),
        CollectorName::Stat => Box::new(stat::Stat::new(config)),
        CollectorName::Time => Box::new(time::Time::new(&config.paths)),
        CollectorName::Uname => Box::new(uname::Uname),
        CollectorName::Vmstat => Box::new(vmstat::Vmstat::new(config)?),
    })
}

#[cfg(test)]
mod tests;
