//! Containers that are made: a tree of cgroups v2 as systemd's driver and containerd leave it, files on a disk.
//!
//! The agent reads and watches it as it would the kernel's; no container runs, so that their number is what it is said to be on any
//! machine. What changes in a live tree changes here, when [`MadeContainers::live`] is called.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

/// Containers of a pod.
const OF_A_POD: usize = 2;

/// A made tree.
#[derive(Debug)]
pub(crate) struct MadeContainers {
    /// Where cgroups would be mounted.
    pub(crate) cgroupfs: PathBuf,
    /// What the runtime would say.
    pub(crate) snapshot: PathBuf,
    folders: Vec<PathBuf>,
    age: u64,
}

impl MadeContainers {
    /// Makes `count` containers in pods of two, below `folder`.
    pub(crate) fn make(folder: &Path, count: usize) -> Result<Self> {
        let cgroupfs = folder.join("cgroup");
        let kubepods = cgroupfs.join("kubepods.slice");
        let (mut folders, mut pods, mut containers) = (vec![kubepods.clone()], vec![], vec![]);
        for ordinal in 0..count {
            let pod = ordinal / OF_A_POD;
            let uid = format!("0b7f3c1e-2d4a-4e55-9c1b-{pod:012x}");
            let slice = format!("kubepods-pod{}.slice", uid.replace('-', "_"));
            let (sandbox, id) = (
                format!("{pod:064x}"),
                format!("{:064x}", ordinal + (1 << 32)),
            );
            if ordinal % OF_A_POD == 0 {
                folders.push(kubepods.join(&slice));
                pods.push(json!({
                    "id": sandbox,
                    "metadata": { "name": format!("web-{pod}"), "namespace": "shop", "uid": uid },
                }));
            }
            folders.push(
                kubepods
                    .join(slice)
                    .join(format!("cri-containerd-{id}.scope")),
            );
            containers.push(json!({
                "id": id,
                "pod_sandbox_id": sandbox,
                "metadata": { "name": format!("server-{}", ordinal % OF_A_POD) },
                "image": { "image": "registry.example/shop/web:1.4.2" },
            }));
        }
        let made = Self {
            snapshot: folder.join("runtime.json"),
            cgroupfs,
            folders,
            age: 0,
        };
        for folder in &made.folders {
            fs::create_dir_all(folder)?;
            for (name, text) in CONSTANT {
                fs::write(folder.join(name), text)?;
            }
        }
        fs::write(
            made.cgroupfs.join("cgroup.controllers"),
            "cpu io memory pids\n",
        )?;
        let snapshot = json!({ "sandboxes": pods, "containers": containers });
        fs::write(&made.snapshot, snapshot.to_string())?;
        Ok(made)
    }

    /// Lets a second pass: half of the containers work.
    pub(crate) fn live(&mut self) -> Result<()> {
        self.age += 1;
        for (ordinal, folder) in (0..).zip(&self.folders) {
            let busy = self.age * (ordinal % 2) * (1 + ordinal % 7);
            let (user, system) = (busy * 21_337, busy * 7_919);
            let mut text = String::new();
            // Writing to a String cannot fail.
            write!(
                text,
                "usage_usec {}\nuser_usec {user}\nsystem_usec {system}\nnr_periods {}\nnr_throttled {busy}\nthrottled_usec {}\nnr_bursts 0\nburst_usec 0\n",
                user + system,
                self.age * 10,
                busy * 911,
            )
            .unwrap_or_default();
            fs::write(folder.join("cpu.stat"), text)?;
            let memory = (20 << 20) + (busy % 977) * 4_096;
            fs::write(folder.join("memory.current"), format!("{memory}\n"))?;
            let text = format!(
                "anon {}\nfile 8388608\nkernel 1048576\nslab 524288\nfile_mapped 4194304\ninactive_anon 0\nactive_anon {memory}\ninactive_file 2097152\nactive_file 6291456\npgfault {}\npgmajfault 7\n",
                memory - (8 << 20),
                busy * 13,
            );
            fs::write(folder.join("memory.stat"), text)?;
            let text = format!(
                "8:0 rbytes {} wbytes {} rios {} wios {} dbytes 0 dios 0\n",
                busy * 4_096,
                busy * 8_192,
                busy,
                busy * 2
            );
            fs::write(folder.join("io.stat"), text)?;
        }
        Ok(())
    }
}

const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2345\n";

/// What hardly changes.
const CONSTANT: &[(&str, &str)] = &[
    ("cgroup.controllers", "cpu io memory pids\n"),
    ("cgroup.events", "populated 1\nfrozen 0\n"),
    ("cgroup.procs", "1\n"),
    ("cpu.max", "100000 100000\n"),
    ("cpu.weight", "39\n"),
    ("cpu.pressure", PRESSURE),
    ("io.pressure", PRESSURE),
    ("memory.pressure", PRESSURE),
    ("memory.max", "268435456\n"),
    ("memory.min", "0\n"),
    ("memory.swap.max", "0\n"),
    ("memory.swap.current", "0\n"),
    ("memory.peak", "52428800\n"),
    (
        "memory.events",
        "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0\n",
    ),
    ("pids.current", "11\n"),
    ("pids.max", "max\n"),
];
