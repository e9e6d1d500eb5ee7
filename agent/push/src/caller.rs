//! Who pushes over the unix socket: pod and container of a process, by what the kernel and the kubelet say of it.
//!
//! The kernel vouches for a caller's cgroup, whose path names the pod's uid and the container's id; the kubelet's log folders on the
//! node name both. The job has no say in any of it: a path is read from its outermost end, and what a process makes below its own
//! cgroup lies further in.

use std::path::Path;

use scan::{cgroup_parts, container_id, pod_uid};

/// Where the kubelet keeps the logs of pods: folders `NAMESPACE_POD_UID`.
const POD_LOGS: &str = "var/log/pods";
/// Where it links to them: files `POD_NAMESPACE_CONTAINER-ID.log`.
const CONTAINER_LOGS: &str = "var/log/containers";
/// The most entries of either that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// Of a container's id, so many characters stand for it when its name is not known.
const SHORT_ID_CHARS: usize = 12;

/// Labels that say who pushed: set on every group pushed over the unix socket, over whatever the push says. Empty for what is not
/// in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The pod's namespace; empty when the kubelet's folders do not tell.
    pub namespace: String,
    /// The pod's name; its uid when the folders do not tell.
    pub pod: String,
    /// The container's name; the first characters of its id when the folders do not tell.
    pub container: String,
}

impl Caller {
    /// Returns the caller in a cgroup: `cgroup` is what the kernel's `/proc/PID/cgroup` says, `rootfs` where the node's root is
    /// mounted.
    pub fn of_cgroup(cgroup: &str, rootfs: &Path) -> Self {
        let Some(place) = cgroup.lines().find_map(Place::of_line) else {
            return Self::default();
        };
        let mut caller = Self {
            namespace: String::new(),
            pod: place.pod_uid.clone(),
            container: place.container_id.chars().take(SHORT_ID_CHARS).collect(),
        };
        if let Some((namespace, pod)) = pod_of(&place.pod_uid, &rootfs.join(POD_LOGS)) {
            let logs = rootfs.join(CONTAINER_LOGS);
            let container = container_of(&place.container_id, &pod, &namespace, &logs);
            caller.container = container.unwrap_or(caller.container);
            (caller.namespace, caller.pod) = (namespace, pod);
        }
        caller
    }

    /// Returns the labels; all of them, so that none can be given by the job.
    pub fn labels(&self) -> [(&str, &str); 3] {
        [
            ("namespace", &self.namespace),
            ("pod", &self.pod),
            ("container", &self.container),
        ]
    }
}

/// A place in the hierarchy that the kubelet makes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    pod_uid: String,
    /// Empty for what is in the pod's cgroup itself.
    container_id: String,
}

impl Place {
    /// Reads one hierarchy's line, `NUMBER:CONTROLLERS:PATH`.
    fn of_line(line: &str) -> Option<Self> {
        let path = line.splitn(3, ':').nth(2)?;
        let mut parts = cgroup_parts(path);
        let pod_uid = parts.by_ref().find_map(pod_uid)?;
        let container_id = parts.find_map(container_id).unwrap_or_default();
        Some(Self {
            pod_uid,
            container_id: container_id.to_owned(),
        })
    }
}

fn pod_of(uid: &str, logs: &Path) -> Option<(String, String)> {
    names(logs).find_map(|name| {
        let names = name.strip_suffix(uid)?.strip_suffix('_')?;
        let (namespace, pod) = names.split_once('_')?;
        Some((namespace.to_owned(), pod.to_owned()))
    })
}

fn container_of(id: &str, pod: &str, namespace: &str, logs: &Path) -> Option<String> {
    let (prefix, suffix) = (format!("{pod}_{namespace}_"), format!("-{id}.log"));
    names(logs).find_map(|name| {
        let name = name.strip_suffix(&suffix)?.strip_prefix(&prefix)?;
        Some(name.to_owned())
    })
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let entries = entries.take(ENTRIES_MAX).flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";
    const ID: &str = "4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796";

    #[test]
    fn cgroups_of_all_kinds_name_pod_and_container() {
        let systemd = UID.replace('-', "_");
        for cgroup in [
            format!("0::/kubepods/burstable/pod{UID}/{ID}\n"),
            format!("0::/kubepods.slice/kubepods-pod{systemd}.slice/cri-containerd-{ID}.scope"),
            format!("0::/../../kubepods-besteffort-pod{systemd}.slice/crio-{ID}.scope/inner"),
            format!("12:cpu,cpuacct:/\n3:memory:/kubepods/pod{UID}/{ID}"),
            format!(
                "4:pids:/system.slice/containerd.service/kubepods-pod{systemd}.slice:cri-containerd:{ID}"
            ),
            // What a job makes below its own cgroup changes nothing.
            format!(
                "0::/kubepods/pod{UID}/{ID}/pod{}/{}",
                "a".repeat(32),
                "b".repeat(64)
            ),
        ] {
            let place = cgroup.lines().find_map(Place::of_line);
            let expected = Place {
                pod_uid: UID.to_owned(),
                container_id: ID.to_owned(),
            };
            assert_eq!(place, Some(expected), "{cgroup}");
        }
        for cgroup in [
            "",
            "0::/",
            "0::/user.slice/user-0.slice/session-1.scope",
            "0::/kubepods/podless",
            "garbage",
        ] {
            let caller = Caller::of_cgroup(cgroup, Path::new("/nowhere"));
            assert_eq!(caller, Caller::default(), "{cgroup}");
        }
    }

    #[test]
    fn the_kubelets_folders_give_names() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = format!("0::/kubepods/pod{UID}/{ID}");
        let caller = || Caller::of_cgroup(&cgroup, root.path());
        let unnamed = [
            ("namespace", ""),
            ("pod", UID),
            ("container", "4f5e6d7c8b9a"),
        ];
        assert_eq!(caller().labels(), unnamed);
        for folder in [
            format!("{POD_LOGS}/other_web_{}", "0".repeat(36)),
            format!("{POD_LOGS}/shop_nightly-job-x1_{UID}"),
            CONTAINER_LOGS.to_owned(),
        ] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let known = [("namespace", "shop"), ("pod", "nightly-job-x1")];
        assert_eq!(caller().labels()[..2], known);
        let link = format!("{CONTAINER_LOGS}/nightly-job-x1_shop_report-{ID}.log");
        std::fs::write(root.path().join(link), "").unwrap();
        assert_eq!(caller().container, "report");
    }
}
