//! The collectors there are.

use std::fmt;
use std::str::FromStr;

use crate::Tier;

/// Whether a collector runs when nobody asks for it, as in node_exporter.
const ON: bool = true;
const OFF: bool = false;

/// Makes [`CollectorName`] and what is known of each from one table.
macro_rules! collectors {
    ($($variant:ident: $name:literal, $tier:ident, $default:ident, $about:literal;)*) => {
        /// A collector, by node_exporter's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CollectorName {
            $(#[doc = $about] $variant,)*
        }

        impl CollectorName {
            /// All collectors, in the order in which they run.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            const fn facts(self) -> Facts {
                match self {
                    $(Self::$variant => Facts {
                        name: $name,
                        option: concat!("collector.", $name),
                        about: $about,
                        tier: Tier::$tier,
                        on: $default,
                    },)*
                }
            }
        }
    };
}

struct Facts {
    name: &'static str,
    option: &'static str,
    about: &'static str,
    tier: Tier,
    on: bool,
}

// Fast is what dashboards and rules look at and one file or one call gives; a walk through folders is slow, but for the short ones
// that alerts wait for: members of bonds, and of arrays.
collectors! {
    Arp: "arp", Slow, ON, "Entries of the neighbour table, by device.";
    Bcache: "bcache", Slow, ON, "Caches of block devices by bcache.";
    Bcachefs: "bcachefs", Slow, ON, "Mounted bcachefs file systems.";
    Bonding: "bonding", Fast, ON, "Configured and active members of bonded network devices.";
    Btrfs: "btrfs", Slow, ON, "Mounted btrfs file systems.";
    Buddyinfo: "buddyinfo", Slow, OFF, "Free blocks of memory by node, zone and order.";
    Cgroups: "cgroups", Slow, OFF, "How many control groups there are, by controller.";
    Conntrack: "conntrack", Fast, ON, "Connections that the firewall tracks.";
    Cpu: "cpu", Fast, ON, "Time by mode of each CPU, throttling, isolation, models.";
    CpuVulnerabilities: "cpu_vulnerabilities", Slow, OFF, "What the kernel says of known flaws of the CPUs.";
    Cpufreq: "cpufreq", Slow, ON, "Frequencies of the CPUs.";
    Diskstats: "diskstats", Fast, ON, "Operations, bytes and time of each block device, and what udev knows of it.";
    Dmi: "dmi", Slow, ON, "What the firmware says of the machine.";
    Dmmultipath: "dmmultipath", Slow, ON, "Devices of the device mapper that have several paths.";
    Drbd: "drbd", Slow, OFF, "Replicated block devices by DRBD.";
    Edac: "edac", Slow, ON, "Errors of memory that were detected.";
    Entropy: "entropy", Slow, ON, "The kernel's pool of randomness.";
    Fibrechannel: "fibrechannel", Slow, ON, "Fibre Channel adapters.";
    Filefd: "filefd", Fast, ON, "File descriptors in use, and the limit.";
    Hwmon: "hwmon", Slow, ON, "Sensors: temperatures, voltages, fans.";
    Infiniband: "infiniband", Slow, ON, "InfiniBand adapters and their ports.";
    Interrupts: "interrupts", Slow, OFF, "Interrupts by CPU and device.";
    Ipvs: "ipvs", Slow, ON, "The kernel's load balancer.";
    KernelHung: "kernel_hung", Slow, ON, "Tasks that the kernel found hanging.";
    Ksmd: "ksmd", Slow, OFF, "Pages of memory that are shared because they are equal.";
    Lnstat: "lnstat", Slow, OFF, "Everything in /proc/net/stat, by CPU.";
    Loadavg: "loadavg", Fast, ON, "The load averages.";
    Mdadm: "mdadm", Fast, ON, "Software RAID.";
    Meminfo: "meminfo", Fast, ON, "Every field of /proc/meminfo.";
    MeminfoNuma: "meminfo_numa", Slow, OFF, "Memory of each NUMA node.";
    Mountstats: "mountstats", Slow, OFF, "Mounted NFS shares.";
    Netclass: "netclass", Slow, ON, "What sysfs says of each network device.";
    Netdev: "netdev", Fast, ON, "Traffic and errors of each network device.";
    Netstat: "netstat", Fast, ON, "Chosen counters of the network protocols.";
    Nfs: "nfs", Slow, ON, "The NFS client.";
    Nfsd: "nfsd", Slow, ON, "The NFS server.";
    Nvme: "nvme", Slow, ON, "NVMe controllers and their namespaces.";
    Os: "os", Slow, ON, "What os-release says.";
    Pcidevice: "pcidevice", Slow, OFF, "PCI devices and their links.";
    Powersupplyclass: "powersupplyclass", Slow, ON, "Power supplies and batteries.";
    Pressure: "pressure", Fast, ON, "Pressure stall information.";
    Processes: "processes", Slow, OFF, "Processes by state, threads, and their limits.";
    Qdisc: "qdisc", Slow, OFF, "Queues of network devices.";
    Rapl: "rapl", Slow, ON, "Energy that the CPUs have used.";
    Schedstat: "schedstat", Fast, ON, "Time that tasks ran on and waited for each CPU.";
    Selinux: "selinux", Slow, ON, "Whether SELinux is enabled, and its cache.";
    Slabinfo: "slabinfo", Slow, OFF, "The kernel's object caches.";
    Sockstat: "sockstat", Fast, ON, "Sockets in use by protocol.";
    Softirqs: "softirqs", Slow, OFF, "Softirqs by CPU and kind.";
    Softnet: "softnet", Fast, ON, "Packets processed and dropped by each CPU.";
    Stat: "stat", Fast, ON, "Boot time, interrupts, context switches, forks, processes.";
    Swap: "swap", Slow, OFF, "Swap devices and files.";
    Sysctl: "sysctl", Slow, OFF, "Chosen settings of the kernel.";
    Systemd: "systemd", Slow, OFF, "Units of systemd and their states.";
    Tapestats: "tapestats", Slow, ON, "Tape drives.";
    Tcpstat: "tcpstat", Slow, OFF, "TCP connections by state.";
    Textfile: "textfile", Slow, ON, "Metrics that others wrote into files.";
    ThermalZone: "thermal_zone", Slow, ON, "Thermal zones and cooling devices.";
    Time: "time", Fast, ON, "The clock and the clock sources.";
    Timex: "timex", Fast, ON, "How well the clock is disciplined.";
    UdpQueues: "udp_queues", Slow, ON, "Bytes that wait in the queues of UDP sockets.";
    Uname: "uname", Slow, ON, "What uname says.";
    Vmstat: "vmstat", Fast, ON, "Chosen fields of /proc/vmstat.";
    Watchdog: "watchdog", Slow, ON, "Watchdog timers.";
    Xfrm: "xfrm", Slow, OFF, "Errors of IPsec.";
    Xfs: "xfs", Slow, ON, "Mounted XFS file systems.";
    Zfs: "zfs", Slow, ON, "ZFS: its cache, and its pools.";
    Zoneinfo: "zoneinfo", Slow, OFF, "Memory of each zone.";
    // The only one that may wait: it does so when the others are done.
    Filesystem: "filesystem", Fast, ON, "Space and inodes of each mount.";
}

/// No collector has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no collector {0:?}; known are {known}", known = CollectorName::ALL.map(CollectorName::as_str).join(", "))]
pub struct UnknownCollector(pub String);

impl CollectorName {
    /// Returns the name, as in the label `collector`.
    pub const fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// Returns the name of the option that turns it on and off, `collector.NAME`.
    pub const fn option(self) -> &'static str {
        self.facts().option
    }

    /// Returns what it collects, as a sentence without a verb.
    pub const fn about(self) -> &'static str {
        self.facts().about
    }

    /// Returns the tier in which the collector runs by default.
    pub const fn default_tier(self) -> Tier {
        self.facts().tier
    }

    /// Returns whether it runs when nobody asks for it.
    pub const fn runs_by_default(self) -> bool {
        self.facts().on
    }
}

impl fmt::Display for CollectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CollectorName {
    type Err = UnknownCollector;

    fn from_str(text: &str) -> Result<Self, UnknownCollector> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownCollector(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_unknown_ones_are_told_what_there_is() {
        for name in CollectorName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(name.option(), format!("collector.{name}"));
        }
        let error = "cpus".parse::<CollectorName>().unwrap_err();
        assert!(error.to_string().contains("bonding, btrfs"), "{error}");
    }
}
