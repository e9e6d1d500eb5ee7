//! What the path of a cgroup says of pods and containers, in the shapes that containerd, CRI-O, Docker and Podman give it with either
//! driver. A path is to be read from its outermost end: what a container makes below its own group stays a part of it.

/// Processes of runtimes that stand beside a container under its id.
const BESIDE: [&str; 2] = ["crio-conmon", "libpod-conmon"];

/// Returns the parts of a path, the outermost first.
pub fn cgroup_parts(path: &str) -> impl DoubleEndedIterator<Item = &str> + Clone {
    // containerd, told to use systemd's driver on a group that systemd does not have, writes SLICE:PREFIX:ID.
    path.split(['/', ':']).filter(|part| !part.is_empty())
}

/// Returns the uid, with hyphens, of the pod whose group is called so: `pod1b2c...` of the cgroupfs driver, or
/// `kubepods-burstable-pod1b2c....slice` of systemd's.
pub fn pod_uid(part: &str) -> Option<String> {
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

/// Returns the id of the container whose group is called so: `ID` of the cgroupfs driver, or `cri-containerd-ID.scope` of systemd's.
pub fn container_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = part.rsplit_once('-').unwrap_or(("", part));
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_id && !BESIDE.contains(&prefix)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";
    const DIGEST: &str = "0123456789abcdef0123456789abcdef";
    const ID: &str = "4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796";

    #[test]
    fn parts_name_pods() {
        let systemd = UID.replace('-', "_");
        for part in [
            format!("pod{UID}"),
            format!("kubepods-burstable-pod{systemd}.slice"),
            format!("kubelet-kubepods-pod{systemd}.slice"),
        ] {
            assert_eq!(pod_uid(&part).as_deref(), Some(UID), "{part}");
        }
        assert_eq!(pod_uid(&format!("pod{DIGEST}")).as_deref(), Some(DIGEST));
        for part in ["podless", "kubepods.slice", UID, DIGEST, "pod", ""] {
            assert_eq!(pod_uid(part), None, "{part}");
        }
    }

    #[test]
    fn parts_name_containers_and_not_what_stands_beside_them() {
        for prefix in ["", "cri-containerd-", "crio-", "docker-", "libpod-"] {
            for suffix in ["", ".scope"] {
                let part = format!("{prefix}{ID}{suffix}");
                assert_eq!(container_id(&part), Some(ID), "{part}");
            }
        }
        for part in [
            &format!("crio-conmon-{ID}"),
            &format!("libpod-conmon-{ID}.scope"),
            ID.trim_start_matches('4'),
            "session-1.scope",
            "",
        ] {
            assert_eq!(container_id(part), None, "{part}");
        }
    }

    #[test]
    fn paths_fall_into_parts() {
        let parts: Vec<_> = cgroup_parts("/a.slice/b.slice:cri-containerd:c/").collect();
        assert_eq!(parts, ["a.slice", "b.slice", "cri-containerd", "c"]);
    }
}
