//! What runtimes and the kubelet leave on the disk of a node: a way to names where no socket answers.
//!
//! | file, below the node's root | of |
//! |---|---|
//! | `run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json` | containerd |
//! | `run/containers/storage/overlay-containers/ID/userdata/config.json`, the same below `var/lib` | CRI-O, Podman |
//! | `var/lib/docker/containers/ID/config.v2.json` | Docker |
//! | `var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` | the kubelet |
//! | `var/log/pods/NAMESPACE_POD_UID` | the kubelet |

use std::path::Path;

use serde_json::Value;

use super::{About, CONTAINER_LABEL, NAMESPACE_LABEL, POD_LABEL, UID_LABEL};
use crate::files::read_whole;

const CONTAINERD: &str = "run/containerd/io.containerd.runtime.v2.task/k8s.io";
const CONTAINERS: [&str; 2] = [
    "run/containers/storage/overlay-containers",
    "var/lib/containers/storage/overlay-containers",
];
const DOCKER: &str = "var/lib/docker/containers";
const POD_LOGS: &str = "var/log/pods";
const CONTAINER_LOGS: &str = "var/log/containers";
/// The most entries of the kubelet's folders that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// Looks for a container or sandbox, in a pod or not; `None` when nothing on the disk names it.
pub(crate) fn found(rootfs: &Path, id: &str, pod_uid: Option<&str>) -> Option<About> {
    let containerd = rootfs.join(CONTAINERD).join(id).join("config.json");
    let containers =
        CONTAINERS.map(|folder| rootfs.join(folder).join(id).join("userdata/config.json"));
    let docker = rootfs.join(DOCKER).join(id).join("config.v2.json");
    let about = json(&containerd)
        .and_then(|config| of_containerd(&config))
        .or_else(|| {
            let mut configs = containers.iter().filter_map(|path| json(path));
            configs.find_map(|config| of_containers(&config))
        })
        .or_else(|| json(&docker).and_then(|config| of_docker(&config)))
        .or_else(|| of_logs(rootfs, id, pod_uid?))?;
    Some(About {
        id: id.to_owned(),
        pod_uid: match about.pod_uid.as_str() {
            "" => pod_uid.unwrap_or_default().to_owned(),
            uid => uid.to_owned(),
        },
        ..about
    })
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&read_whole(path)?).ok()
}

/// The texts of a map.
fn texts(map: Option<&Value>) -> impl Fn(&str) -> String {
    move |name| {
        let text = map.and_then(|map| map.get(name)?.as_str());
        text.unwrap_or_default().to_owned()
    }
}

fn of_containerd(config: &Value) -> Option<About> {
    let annotation = texts(config.get("annotations"));
    let kind = annotation("io.kubernetes.cri.container-type");
    (!kind.is_empty()).then(|| About {
        container: annotation("io.kubernetes.cri.container-name"),
        image: annotation("io.kubernetes.cri.image-name"),
        namespace: annotation("io.kubernetes.cri.sandbox-namespace"),
        pod: annotation("io.kubernetes.cri.sandbox-name"),
        pod_uid: annotation("io.kubernetes.cri.sandbox-uid"),
        is_sandbox: kind == "sandbox",
        ..About::default()
    })
}

/// Podman's have no pod of Kubernetes, but a name.
fn of_containers(config: &Value) -> Option<About> {
    let annotation = texts(config.get("annotations"));
    let kind = annotation("io.kubernetes.cri-o.ContainerType");
    if kind.is_empty() {
        return None;
    }
    let is_sandbox = kind == "sandbox";
    Some(About {
        container: if is_sandbox {
            String::new()
        } else {
            annotation(CONTAINER_LABEL)
        },
        image: annotation("io.kubernetes.cri-o.ImageName"),
        namespace: annotation(NAMESPACE_LABEL),
        pod: annotation(POD_LABEL),
        pod_uid: annotation(UID_LABEL),
        is_sandbox,
        ..About::default()
    })
}

fn of_docker(config: &Value) -> Option<About> {
    let name = config
        .get("Name")?
        .as_str()?
        .trim_start_matches('/')
        .to_owned();
    let inner = config.get("Config");
    let label = texts(inner.and_then(|inner| inner.get("Labels")));
    let is_sandbox = label("io.kubernetes.docker.type") == "podsandbox";
    Some(About {
        container: if is_sandbox {
            String::new()
        } else {
            label(CONTAINER_LABEL)
        },
        image: texts(inner)("Image"),
        namespace: label(NAMESPACE_LABEL),
        pod: label(POD_LABEL),
        pod_uid: label(UID_LABEL),
        is_sandbox,
        alias: Some(name),
        ..About::default()
    })
}

/// A sandbox has no log; what is in a pod and has none may be one, or may not have begun.
fn of_logs(rootfs: &Path, id: &str, pod_uid: &str) -> Option<About> {
    let (namespace, pod) = pod(rootfs, pod_uid)?;
    let (prefix, suffix) = (format!("{pod}_{namespace}_"), format!("-{id}.log"));
    let container = entries(&rootfs.join(CONTAINER_LOGS)).find_map(|name| {
        let name = name.strip_suffix(&suffix)?.strip_prefix(&prefix)?;
        Some(name.to_owned())
    })?;
    Some(About {
        container,
        namespace,
        pod,
        ..About::default()
    })
}

/// Looks for the namespace and name of a pod.
pub(crate) fn pod(rootfs: &Path, uid: &str) -> Option<(String, String)> {
    entries(&rootfs.join(POD_LOGS)).find_map(|name| {
        let names = name.strip_suffix(uid)?.strip_suffix('_')?;
        let (namespace, pod) = names.split_once('_')?;
        Some((namespace.to_owned(), pod.to_owned()))
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let entries = entries.take(ENTRIES_MAX).flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";

    #[test]
    fn state_files_and_logs_name_containers() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/c1/config.json",
            r#"{"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "nginx",
                "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-namespace": "shop", "io.kubernetes.cri.image-name": "nginx:1"}}"#,
        );
        put(
            "var/lib/containers/storage/overlay-containers/c2/userdata/config.json",
            r#"{"annotations": {"io.kubernetes.cri-o.ContainerType": "sandbox", "io.kubernetes.container.name": "POD",
                "io.kubernetes.pod.name": "db", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u2"}}"#,
        );
        put(
            "var/lib/docker/containers/c3/config.v2.json",
            r#"{"Name": "/cache", "Config": {"Image": "redis:7"}}"#,
        );
        put(&format!("var/log/pods/shop_cart_{UID}/x"), "");
        put("var/log/containers/cart_shop_api-c4.log", "");
        put(
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/c5/config.json",
            "{",
        );
        let show = |id: &str| {
            let about = found(root.path(), id, Some(UID))?;
            let names = [about.namespace, about.pod, about.container, about.image];
            Some((names.join("/"), about.pod_uid, about.is_sandbox))
        };
        let uid = UID.to_owned();
        assert_eq!(
            show("c1"),
            Some(("shop/web/nginx/nginx:1".into(), uid.clone(), false))
        );
        assert_eq!(show("c2"), Some(("shop/db//".into(), "u2".into(), true)));
        assert_eq!(show("c4"), Some(("shop/cart/api/".into(), uid, false)));
        assert_eq!(show("c5"), None);
        let docker = found(root.path(), "c3", None).unwrap();
        assert_eq!(
            (docker.alias.as_deref(), &*docker.image),
            (Some("cache"), "redis:7")
        );
        assert_eq!(pod(root.path(), UID), Some(("shop".into(), "cart".into())));
    }
}
