//! The collectors, one file each.

mod arp;
mod bcache;
mod bcachefs;
mod bonding;
mod btrfs;
mod conntrack;
mod cpu;
mod cpu_info;
mod cpufreq;
mod diskstats;
mod dmi;
mod dmmultipath;
mod edac;
mod entropy;
mod fibrechannel;
mod filefd;
mod filesystem;
mod human;
mod hwmon;
mod infiniband;
mod ipvs;
mod kernel_hung;
mod loadavg;
mod mdadm;
mod meminfo;
mod mountinfo;
mod netclass;
mod netdev;
mod netstat;
mod nfs;
mod nfsd;
mod nvme;
mod os;
mod powersupplyclass;
mod pressure;
mod rapl;
mod rpc;
mod schedstat;
mod selinux;
mod sockstat;
mod softnet;
mod stat;
mod statfs_pool;
mod tapestats;
mod textfile;
mod thermal_zone;
mod time;
mod timex;
mod udev;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod xfs;
mod zfs;

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
    use CollectorName as Name;
    let paths = &config.paths;
    Ok(match name {
        Name::Arp => Box::new(arp::Arp::new(config)?),
        Name::Bcache => Box::new(bcache::Bcache::new(config)),
        Name::Bcachefs => Box::new(bcachefs::Bcachefs::new(paths)),
        Name::Bonding => Box::new(bonding::Bonding::new(paths)),
        Name::Btrfs => Box::new(btrfs::Btrfs::new(paths)),
        Name::Conntrack => Box::new(conntrack::Conntrack::new(paths)),
        Name::Cpu => Box::new(cpu::Cpu::new(config)?),
        Name::Cpufreq => Box::new(cpufreq::Cpufreq::new(paths)),
        Name::Diskstats => Box::new(diskstats::Diskstats::new(config)?),
        Name::Dmi => Box::new(dmi::Dmi::new(paths)),
        Name::Dmmultipath => Box::new(dmmultipath::Dmmultipath::new(paths)),
        Name::Edac => Box::new(edac::Edac::new(paths)),
        Name::Entropy => Box::new(entropy::Entropy::new(paths)),
        Name::Fibrechannel => Box::new(fibrechannel::Fibrechannel::new(paths)),
        Name::Filefd => Box::new(filefd::Filefd::new(paths)),
        Name::Filesystem => Box::new(filesystem::Filesystem::new(config)?),
        Name::Hwmon => Box::new(hwmon::Hwmon::new(config)?),
        Name::Infiniband => Box::new(infiniband::Infiniband::new(paths)),
        Name::Ipvs => Box::new(ipvs::Ipvs::new(config)?),
        Name::KernelHung => Box::new(kernel_hung::KernelHung::new(paths)),
        Name::Loadavg => Box::new(loadavg::Loadavg::new(paths)),
        Name::Mdadm => Box::new(mdadm::Mdadm::new(paths)),
        Name::Meminfo => Box::new(meminfo::Meminfo::new(paths)),
        Name::Netclass => Box::new(netclass::Netclass::new(config)?),
        Name::Netdev => Box::new(netdev::Netdev::new(config)?),
        Name::Netstat => Box::new(netstat::Netstat::new(config)?),
        Name::Nfs => Box::new(nfs::Nfs::new(paths)),
        Name::Nfsd => Box::new(nfsd::Nfsd::new(paths)),
        Name::Nvme => Box::new(nvme::Nvme::new(paths)),
        Name::Os => Box::new(os::Os::new(paths)),
        Name::Powersupplyclass => Box::new(powersupplyclass::Powersupplyclass::new(config)?),
        Name::Pressure => Box::new(pressure::Pressure::new(paths)),
        Name::Rapl => Box::new(rapl::Rapl::new(config)),
        Name::Schedstat => Box::new(schedstat::Schedstat::new(paths)),
        Name::Selinux => Box::new(selinux::Selinux::new(paths)),
        Name::Sockstat => Box::new(sockstat::Sockstat::new(paths)),
        Name::Softnet => Box::new(softnet::Softnet::new(paths)),
        Name::Stat => Box::new(stat::Stat::new(config)),
        Name::Tapestats => Box::new(tapestats::Tapestats::new(config)?),
        Name::Textfile => Box::new(textfile::Textfile::new(config)?),
        Name::ThermalZone => Box::new(thermal_zone::ThermalZone::new(paths)),
        Name::Time => Box::new(time::Time::new(paths)),
        Name::Timex => Box::new(timex::Timex),
        Name::UdpQueues => Box::new(udp_queues::UdpQueues::new(paths)),
        Name::Uname => Box::new(uname::Uname),
        Name::Vmstat => Box::new(vmstat::Vmstat::new(config)?),
        Name::Watchdog => Box::new(watchdog::Watchdog::new(paths)),
        Name::Xfs => Box::new(xfs::Xfs::new(paths)),
        Name::Zfs => Box::new(zfs::Zfs::new(paths)),
        _ => Box::new(uname::Uname),
    })
}

#[cfg(test)]
mod tests;
