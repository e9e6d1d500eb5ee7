//! What a cgroup is, by its path.

/// What a cgroup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole machine.
    Root,
    /// A pod of Kubernetes.
    Pod {
        /// Its uid, with hyphens.
        uid: String,
    },
    /// A container, or a pod's sandbox.
    Container {
        /// What the runtime calls it.
        runtime_id: String,
        /// The uid of its pod; `None` outside Kubernetes.
        pod_uid: Option<String>,
    },
    /// Anything else: a slice, a service, a session.
    Other,
}

/// Processes of runtimes that stand beside a container under its id.
const BESIDE: [&str; 2] = ["crio-conmon", "libpod-conmon"];

impl Place {
    /// Classifies the group `id`, a path from the root of the hierarchy.
    ///
    /// A path is read from its outermost end: what a container makes below its own group stays a part of it.
    pub fn of(id: &str) -> Self {
        // containerd, told to use systemd's driver on a group that systemd does not have, writes SLICE:PREFIX:ID.
        let mut parts = id.split(['/', ':']).filter(|part| !part.is_empty());
        let (mut pod, mut rest) = (None, parts.clone());
        let Some(last) = parts.next_back() else {
            return Self::Root;
        };
        for part in rest.by_ref() {
            pod = pod.or_else(|| pod_uid(part));
            if let Some(runtime_id) = container_id(part) {
                return Self::Container {
                    runtime_id: runtime_id.to_owned(),
                    pod_uid: pod,
                };
            }
        }
        match (pod, pod_uid(last)) {
            (Some(uid), Some(last)) if uid == last => Self::Pod { uid },
            _ => Self::Other,
        }
    }

    /// Returns whether groups below are its own business.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self, Self::Container { .. })
    }

    /// Returns whether it is one that people ask for by name, at the fast interval.
    pub(crate) const fn is_workload(&self) -> bool {
        matches!(self, Self::Container { .. } | Self::Pod { .. })
    }
}

/// `pod1b2c...` of the cgroupfs driver, or `kubepods-burstable-pod1b2c....slice` of systemd's.
fn pod_uid(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let uid = match part.rsplit_once("-pod") {
        Some((_, uid)) => uid,
        None => part.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // Pods that the kubelet has from a file have a digest.
    let is_uid = matches!(uid.len(), 32 | 36)
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

/// `ID` of the cgroupfs driver, or `cri-containerd-ID.scope` of systemd's.
fn container_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = part.rsplit_once('-').unwrap_or(("", part));
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !BESIDE.contains(&prefix)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";
    const ID: &str = "4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796";

    #[test]
    fn shapes_of_all_runtimes_and_drivers_are_known() {
        let systemd = UID.replace('-', "_");
        let digest = "0123456789abcdef0123456789abcdef";
        let slice = format!("kubepods-burstable-pod{systemd}.slice");
        for (path, pod) in [
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"
                ),
                Some(UID),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{systemd}.slice/crio-{ID}.scope"),
                Some(UID),
            ),
            (format!("/kubepods/besteffort/pod{UID}/{ID}"), Some(UID)),
            (
                format!("/kubepods/burstable/pod{digest}/crio-{ID}"),
                Some(digest),
            ),
            (
                format!("/kubelet.slice/kubelet-{slice}/docker-{ID}.scope"),
                Some(UID),
            ),
            (
                format!("/system.slice/containerd.service/{slice}:cri-containerd:{ID}"),
                Some(UID),
            ),
            (format!("/kubepods/pod{UID}/{ID}/inner"), Some(UID)),
            (format!("/system.slice/docker-{ID}.scope"), None),
            (format!("/docker/{ID}"), None),
            (format!("/machine.slice/libpod-{ID}.scope"), None),
            (format!("/libpod_parent/libpod-{ID}"), None),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                None,
            ),
        ] {
            let expected = Place::Container {
                runtime_id: ID.to_owned(),
                pod_uid: pod.map(str::to_owned),
            };
            assert_eq!(Place::of(&path), expected, "{path}");
        }
        for path in [
            format!("/kubepods.slice/kubepods-burstable.slice/{slice}"),
            format!("/kubepods/pod{UID}"),
        ] {
            let uid = UID.to_owned();
            assert_eq!(Place::of(&path), Place::Pod { uid }, "{path}");
        }
        for path in [
            "/kubepods.slice".to_owned(),
            "/kubepods/burstable".to_owned(),
            "/system.slice/sshd.service".to_owned(),
            "/podless".to_owned(),
            format!("/machine.slice/libpod-conmon-{ID}.scope"),
            format!("/kubepods/pod{UID}/crio-conmon-{ID}"),
            format!("/kubepods/pod{UID}/inner"),
        ] {
            assert_eq!(Place::of(&path), Place::Other, "{path}");
        }
        assert_eq!(Place::of("/"), Place::Root);
    }
}
