//! A file that holds what the runtime would say: for tests, and for machines whose socket is out of reach.

use serde_json::Value;

use super::About;

/// Why a snapshot is none.
///
/// It is an object with the lists `sandboxes` and `containers`, of what `ListPodSandbox` and `ListContainers` return in JSON; a sandbox
/// has beside it `info`, with the `pid` and `image` of `PodSandboxStatus`.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not JSON.
    #[error("the snapshot is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("the snapshot has neither \"sandboxes\" nor \"containers\"")]
    Shape,
}

pub(super) fn read(json: &[u8]) -> Result<Vec<About>, SnapshotError> {
    let snapshot: Value = serde_json::from_slice(json)?;
    let list = |name: &str| snapshot.get(name).and_then(Value::as_array);
    let (sandboxes, containers) = (list("sandboxes"), list("containers"));
    if sandboxes.is_none() && containers.is_none() {
        return Err(SnapshotError::Shape);
    }
    let sandboxes: Vec<About> = sandboxes.into_iter().flatten().map(sandbox).collect();
    let containers = containers.into_iter().flatten();
    let containers: Vec<About> = containers.map(|one| container(one, &sandboxes)).collect();
    Ok(sandboxes.into_iter().chain(containers).collect())
}

fn sandbox(value: &Value) -> About {
    let metadata = value.get("metadata");
    let info = value.get("info");
    About {
        id: text(value.get("id")),
        image: text(info.and_then(|info| info.get("image"))),
        namespace: text(metadata.and_then(|metadata| metadata.get("namespace"))),
        pod: text(metadata.and_then(|metadata| metadata.get("name"))),
        pod_uid: text(metadata.and_then(|metadata| metadata.get("uid"))),
        is_sandbox: true,
        process: info
            .and_then(|info| info.get("pid")?.as_u64())
            .and_then(|id| u32::try_from(id).ok()),
        created: created(value),
        ..About::default()
    }
}

fn container(value: &Value, sandboxes: &[About]) -> About {
    let pod_id = text(value.get("pod_sandbox_id"));
    let pod = sandboxes.iter().find(|sandbox| sandbox.id == pod_id);
    let label = |name: &str| text(value.get("labels").and_then(|labels| labels.get(name)));
    let of_pod = |of: fn(&About) -> &String, name: &str| match pod {
        Some(pod) => of(pod).clone(),
        None => label(name),
    };
    let name = value
        .get("metadata")
        .and_then(|metadata| metadata.get("name"));
    About {
        id: text(value.get("id")),
        container: text(name),
        image: text(value.get("image").and_then(|image| image.get("image"))),
        namespace: of_pod(|pod| &pod.namespace, super::NAMESPACE_LABEL),
        pod: of_pod(|pod| &pod.pod, super::POD_LABEL),
        pod_uid: of_pod(|pod| &pod.pod_uid, super::UID_LABEL),
        created: created(value),
        ..About::default()
    }
}

/// In nanoseconds there, as a number or, as JSON of the protocol has it, a text.
fn created(value: &Value) -> Option<f64> {
    let created = value.get("created_at")?;
    let nanoseconds = match created {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    (nanoseconds > 0.0).then_some(nanoseconds / 1e9)
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_name_pods_and_containers() {
        let json = br#"{"sandboxes": [{"id": "s", "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
            "info": {"pid": 7, "image": "pause"}, "created_at": "1500000000"}],
            "containers": [{"id": "c", "pod_sandbox_id": "s", "metadata": {"name": "nginx"}, "image": {"image": "nginx:1"}},
            {"id": "d", "pod_sandbox_id": "t", "labels": {"io.kubernetes.pod.name": "db"}}, {"id": 5}]}"#;
        let all = read(json).unwrap();
        let [sandbox, container, alone, odd] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!((sandbox.process, sandbox.created), (Some(7), Some(1.5)));
        assert_eq!(
            (&*container.pod, &*container.container, &*container.pod_uid),
            ("web", "nginx", "u")
        );
        assert_eq!((&*alone.pod, &*odd.id), ("db", ""));
        assert!(matches!(read(b"[]"), Err(SnapshotError::Shape)));
        assert!(matches!(read(b"{"), Err(SnapshotError::Json(_))));
    }
}
