//! What a cgroup is, by its path.

use scan::{cgroup_parts, container_id, pod_uid};

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

impl Place {
    /// Classifies the group `id`, a path from the root of the hierarchy.
    ///
    /// A path is read from its outermost end: what a container makes below its own group stays a part of it.
    pub fn of(id: &str) -> Self {
        let mut parts = cgroup_parts(id);
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
