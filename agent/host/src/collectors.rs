//! The collectors, one file each.

mod arp;
mod bcache;
mod bcachefs;
mod bonding;
mod btrfs;
mod buddyinfo;
mod cgroups;
mod conntrack;
mod cpu;
mod cpu_info;
mod cpu_vulnerabilities;
mod cpufreq;
mod diskstats;
mod dmi;
mod dmmultipath;
mod drbd;
mod edac;
mod entropy;
mod fibrechannel;
mod filefd;
mod filesystem;
mod human;
mod hwmon;
mod infiniband;
mod interrupts;
mod ipvs;
mod kernel_hung;
mod ksmd;
mod lnstat;
mod loadavg;
mod mdadm;
mod meminfo;
mod meminfo_numa;
mod mountinfo;
mod mountstats;
mod netclass;
mod netdev;
mod netstat;
mod nfs;
mod nfsd;
mod nvme;
mod os;
mod pcidevice;
mod powersupplyclass;
mod pressure;
mod processes;
mod qdisc;
mod rapl;
mod rpc;
mod schedstat;
mod selinux;
mod slabinfo;
mod sockstat;
mod softirqs;
mod softnet;
mod stat;
mod statfs_pool;
mod swap;
mod sysctl;
mod systemd;
mod tapestats;
mod tcpstat;
mod textfile;
mod thermal_zone;
mod time;
mod timex;
mod udev;
mod udp_queues;
mod uname;
mod vmstat;
mod watchdog;
mod xfrm;
mod xfs;
mod zfs;
mod zoneinfo;

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
        Name::Buddyinfo => Box::new(buddyinfo::Buddyinfo::new(paths)),
        Name::Cgroups => Box::new(cgroups::Cgroups::new(paths)),
        Name::Conntrack => Box::new(conntrack::Conntrack::new(paths)),
        Name::Cpu => Box::new(cpu::Cpu::new(config)?),
        Name::CpuVulnerabilities => Box::new(cpu_vulnerabilities::CpuVulnerabilities::new(paths)),
        Name::Cpufreq => Box::new(cpufreq::Cpufreq::new(paths)),
        Name::Diskstats => Box::new(diskstats::Diskstats::new(config)?),
        Name::Dmi => Box::new(dmi::Dmi::new(paths)),
        Name::Dmmultipath => Box::new(dmmultipath::Dmmultipath::new(paths)),
        Name::Drbd => Box::new(drbd::Drbd::new(paths)),
        Name::Edac => Box::new(edac::Edac::new(paths)),
        Name::Entropy => Box::new(entropy::Entropy::new(paths)),
        Name::Fibrechannel => Box::new(fibrechannel::Fibrechannel::new(paths)),
        Name::Filefd => Box::new(filefd::Filefd::new(paths)),
        Name::Hwmon => Box::new(hwmon::Hwmon::new(config)?),
        Name::Infiniband => Box::new(infiniband::Infiniband::new(paths)),
        Name::Interrupts => Box::new(interrupts::Interrupts::new(config)?),
        Name::Ipvs => Box::new(ipvs::Ipvs::new(config)?),
        Name::KernelHung => Box::new(kernel_hung::KernelHung::new(paths)),
        Name::Ksmd => Box::new(ksmd::Ksmd::new(paths)),
        Name::Lnstat => Box::new(lnstat::Lnstat::new(paths)),
        Name::Loadavg => Box::new(loadavg::Loadavg::new(paths)),
        Name::Mdadm => Box::new(mdadm::Mdadm::new(paths)),
        Name::Meminfo => Box::new(meminfo::Meminfo::new(paths)),
        Name::MeminfoNuma => Box::new(meminfo_numa::MeminfoNuma::new(paths)),
        Name::Mountstats => Box::new(mountstats::Mountstats::new(paths)),
        Name::Netclass => Box::new(netclass::Netclass::new(config)?),
        Name::Netdev => Box::new(netdev::Netdev::new(config)?),
        Name::Netstat => Box::new(netstat::Netstat::new(config)?),
        Name::Nfs => Box::new(nfs::Nfs::new(paths)),
        Name::Nfsd => Box::new(nfsd::Nfsd::new(paths)),
        Name::Nvme => Box::new(nvme::Nvme::new(paths)),
        Name::Os => Box::new(os::Os::new(paths)),
        Name::Pcidevice => Box::new(pcidevice::Pcidevice::new(paths)),
        Name::Powersupplyclass => Box::new(powersupplyclass::Powersupplyclass::new(config)?),
        Name::Pressure => Box::new(pressure::Pressure::new(paths)),
        Name::Processes => Box::new(processes::Processes::new(paths)),
        Name::Qdisc => Box::new(qdisc::Qdisc::new(config)?),
        Name::Rapl => Box::new(rapl::Rapl::new(config)),
        Name::Schedstat => Box::new(schedstat::Schedstat::new(paths)),
        Name::Selinux => Box::new(selinux::Selinux::new(paths)),
        Name::Slabinfo => Box::new(slabinfo::Slabinfo::new(config)?),
        Name::Sockstat => Box::new(sockstat::Sockstat::new(paths)),
        Name::Softirqs => Box::new(softirqs::Softirqs::new(paths)),
        Name::Softnet => Box::new(softnet::Softnet::new(paths)),
        Name::Stat => Box::new(stat::Stat::new(config)),
        Name::Swap => Box::new(swap::Swap::new(paths)),
        Name::Sysctl => Box::new(sysctl::Sysctl::new(config)?),
        Name::Systemd => Box::new(systemd::Systemd::new(config)?),
        Name::Tapestats => Box::new(tapestats::Tapestats::new(config)?),
        Name::Tcpstat => Box::new(tcpstat::Tcpstat),
        Name::Textfile => Box::new(textfile::Textfile::new(config)?),
        Name::ThermalZone => Box::new(thermal_zone::ThermalZone::new(paths)),
        Name::Time => Box::new(time::Time::new(paths)),
        Name::Timex => Box::new(timex::Timex),
        Name::UdpQueues => Box::new(udp_queues::UdpQueues::new(paths)),
        Name::Uname => Box::new(uname::Uname),
        Name::Vmstat => Box::new(vmstat::Vmstat::new(config)?),
        Name::Watchdog => Box::new(watchdog::Watchdog::new(paths)),
        Name::Xfrm => Box::new(xfrm::Xfrm::new(paths)),
        Name::Xfs => Box::new(xfs::Xfs::new(paths)),
        Name::Zfs => Box::new(zfs::Zfs::new(paths)),
        Name::Zoneinfo => Box::new(zoneinfo::Zoneinfo::new(paths)),
        Name::Filesystem => Box::new(filesystem::Filesystem::new(config)?),
    })
}

#[cfg(test)]
mod tests;
