//! Keeps [`Names`] up to date over the socket of the container runtime.
//!
//! After connecting, all sandboxes and containers are listed; from then on the runtime's events tell of new ones in the moment they are
//! made, before anything runs in them. A list is asked for anew now and then, and at once when somebody wants a name that did not come:
//! runtimes without events are asked that way. What containers take of their file systems is asked for every 15 s.

mod grpc;
mod messages;

use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Deadline;
use runtime::{Backoff, Tasks, Timer, Token};
use serde_json::Value;

use crate::metrics::Metrics;
use crate::names::{About, Exit, FilesystemUsage, NAMESPACE_LABEL, Names, POD_LABEL, UID_LABEL};
use grpc::{Answers, CallError, Client};
use messages::{
    AskContainerStatus, Container, ContainerStatus, ContainerStatusRequest, EXITED, Empty, Event,
    GetContainerEvents, Image, ListContainerStats, ListContainers, ListPodSandbox, Method,
    PodSandboxStatus, Sandbox, SandboxMetadata, SandboxStatus, SandboxStatusRequest,
};

/// Where runtimes listen, below the root of the machine.
const SOCKETS: [&str; 3] = [
    "run/containerd/containerd.sock",
    "run/crio/crio.sock",
    "run/cri-dockerd.sock",
];
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often everything is listed, with events and without.
const LIST_EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));
/// Lists that somebody wants come no faster.
const LIST_PAUSE: Duration = Duration::from_millis(250);
/// How many containers are asked after a list how they ended; the next list goes on.
const EXITS_PER_LIST: usize = 64;
/// How often file systems are asked for.
const FILESYSTEMS_EVERY: Duration = Duration::from_secs(15);

/// Where a runtime listens.
#[derive(Clone, Debug)]
pub struct CriConfig {
    /// The socket; `None`: the first of the usual ones that is there.
    pub socket: Option<PathBuf>,
    /// Where the root of the machine is mounted.
    pub rootfs: PathBuf,
}

impl CriConfig {
    fn find(&self) -> Option<PathBuf> {
        match &self.socket {
            Some(socket) => Some(socket.clone()),
            None => {
                let mut usual = SOCKETS.iter().map(|socket| self.rootfs.join(socket));
                usual.find(|socket| socket.exists())
            }
        }
    }
}

/// Keeps `names` up to date until `stop`; a runtime that is not there, or goes, is tried again.
pub async fn follow(
    config: CriConfig,
    names: Names,
    metrics: Metrics,
    timer: Timer,
    tasks: Tasks,
    stop: Token,
) {
    let mut follower = Follower::new(names, metrics, timer, tasks);
    while stop.run(follower.session(&config)).await.is_some() {}
    follower.metrics.cri_connected.set(0.0);
}

/// Asks the runtime, if there is one, once for all it has; for who looks at the machine and ends. Takes milliseconds, and at most some tens
/// of seconds when the runtime does not answer; then names come from the disk.
pub async fn learn_once(
    config: CriConfig,
    names: Names,
    metrics: Metrics,
    timer: Timer,
    tasks: Tasks,
) {
    let mut follower = Follower::new(names, metrics, timer, tasks);
    if let Some(socket) = config.find()
        && let Err(error) = follower.ask(&socket).await
    {
        follower.lost(&socket, &error);
    }
}

struct Follower {
    names: Names,
    metrics: Metrics,
    timer: Timer,
    tasks: Tasks,
    backoff: Backoff,
    was_lost: bool,
}

impl Follower {
    fn new(names: Names, metrics: Metrics, timer: Timer, tasks: Tasks) -> Self {
        Self {
            names,
            metrics,
            timer,
            tasks,
            backoff: Backoff::default(),
            was_lost: false,
        }
    }

    /// Follows one connection to its end, then waits a while.
    async fn session(&mut self, config: &CriConfig) {
        if let Some(socket) = config.find() {
            let Err(error) = self.follow(&socket).await;
            self.metrics.cri_connected.set(0.0);
            self.lost(&socket, &error);
        }
        let mut random = fastrand::Rng::new();
        self.timer.sleep(self.backoff.next(&mut random)).await;
    }

    /// Takes note that the runtime does not answer.
    fn lost(&mut self, socket: &Path, error: &CallError) {
        self.metrics.cri_errors.inc();
        if !std::mem::replace(&mut self.was_lost, true) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, socket = %socket.display(), "the container runtime does not answer; names come from the disk meanwhile");
        }
    }

    async fn ask(&self, socket: &Path) -> Result<(), CallError> {
        let client = self.within(Client::connect(socket, &self.tasks)).await?;
        self.list(&client).await?;
        self.ask_filesystems(&client).await
    }

    async fn follow(&mut self, socket: &Path) -> Result<std::convert::Infallible, CallError> {
        let client = self.within(Client::connect(socket, &self.tasks)).await?;
        // Events first: what is made while the list is on its way is told twice, never not at all.
        let mut events = match self
            .within(client.stream::<GetContainerEvents>(&Empty {}))
            .await
        {
            Ok(events) => Some(events),
            Err(CallError::Unimplemented(_) | CallError::Status { .. } | CallError::Timeout) => {
                None
            }
            Err(error) => return Err(error),
        };
        self.list(&client).await?;
        self.metrics.cri_connected.set(1.0);
        self.backoff.reset();
        self.was_lost = false;
        let has_events = events.is_some();
        tracing::info!(socket = %socket.display(), has_events, "the container runtime answers");
        let mut filesystems_at = Deadline::after(self.timer.now(), Duration::ZERO);
        let mut list_at = self.next_list(&events);
        loop {
            tokio::select! {
                event = next(&mut events) => match event {
                    Ok(Some(event)) => self.take(&client, event).await?,
                    Ok(None) | Err(CallError::Unimplemented(_) | CallError::Status { .. }) => {
                        events = None;
                        list_at = self.next_list(&events);
                    }
                    Err(error) => return Err(error),
                },
                () = self.names.wanted() => {
                    self.list(&client).await?;
                    self.timer.sleep(LIST_PAUSE).await;
                }
                () = self.timer.until(list_at) => {
                    self.list(&client).await?;
                    list_at = self.next_list(&events);
                }
                () = self.timer.until(filesystems_at) => {
                    self.ask_filesystems(&client).await?;
                    filesystems_at = Deadline::after(self.timer.now(), FILESYSTEMS_EVERY);
                }
            }
        }
    }

    fn next_list<M>(&self, events: &Option<Answers<M>>) -> Deadline {
        let (with, without) = LIST_EVERY;
        let pause = if events.is_some() { with } else { without };
        Deadline::after(self.timer.now(), pause)
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        tokio::select! {
            answer = answer => answer,
            () = self.timer.sleep(ANSWER_WITHIN) => Err(CallError::Timeout),
        }
    }

    async fn call<M: Method>(
        &self,
        client: &Client,
        request: &M::Request,
    ) -> Result<M::Response, CallError> {
        self.within(client.call::<M>(request)).await
    }

    /// Lists everything.
    async fn list(&self, client: &Client) -> Result<(), CallError> {
        let sandboxes = self.call::<ListPodSandbox>(client, &Empty {}).await?.items;
        let containers = self
            .call::<ListContainers>(client, &Empty {})
            .await?
            .containers;
        for sandbox in &sandboxes {
            self.learn(about_sandbox(sandbox));
        }
        for container in &containers {
            let pod = self.names.about(&container.pod_sandbox_id);
            self.learn(about_container(container, pod.as_deref()));
        }
        let listed: HashSet<&str> = (sandboxes.iter().map(|sandbox| sandbox.id.as_str()))
            .chain(containers.iter().map(|container| container.id.as_str()))
            .collect();
        self.names
            .keep_listed(|id| listed.contains(id), self.timer.now());
        for sandbox in &sandboxes {
            self.find_process(client, &sandbox.id).await?;
        }
        let ended = containers
            .iter()
            .filter(|container| container.state == EXITED && !self.names.has_exit(&container.id));
        for container in ended.take(EXITS_PER_LIST) {
            self.find_exit(client, &container.id).await?;
        }
        Ok(())
    }

    /// Asks how a container ended. One that has gone meanwhile is passed over.
    async fn find_exit(&self, client: &Client, id: &str) -> Result<(), CallError> {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
        };
        match self.call::<AskContainerStatus>(client, &request).await {
            Ok(response) => {
                if let Some(status) = &response.status {
                    self.learn_exit(status);
                }
                Ok(())
            }
            Err(CallError::Unimplemented(_) | CallError::Status { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn learn_exit(&self, status: &ContainerStatus) {
        if status.state == EXITED {
            let exit = Exit {
                code: status.exit_code,
                reason: status.reason.clone(),
            };
            self.names.learn_exit(&status.id, exit);
        }
    }

    async fn take(&self, client: &Client, event: Event) -> Result<(), CallError> {
        self.metrics.cri_events.inc();
        let Some(status) = event.pod_sandbox_status else {
            return Ok(());
        };
        self.learn(about_status(&status));
        let pod = self.names.about(&status.id);
        for container in &event.containers_statuses {
            self.learn(about_container_status(container, pod.as_deref()));
            self.learn_exit(container);
        }
        if event.container_id == status.id {
            self.find_process(client, &status.id).await?;
        }
        Ok(())
    }

    fn learn(&self, about: About) {
        if !self.names.learn(about) {
            self.metrics.refused.inc();
        }
    }

    /// Asks for the process of a sandbox, unless it is known. A sandbox that has gone meanwhile has none.
    async fn find_process(&self, client: &Client, id: &str) -> Result<(), CallError> {
        if self.names.is_complete(id) {
            return Ok(());
        }
        let request = SandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: true,
        };
        let response = match self.call::<PodSandboxStatus>(client, &request).await {
            Ok(response) => response,
            Err(CallError::Status { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(status) = &response.status {
            let info = response.info.get("info").map(String::as_str);
            let info: Value = info
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let process = info.get("pid").and_then(Value::as_u64);
            let image = info.get("image").and_then(Value::as_str);
            self.learn(About {
                process: process
                    .and_then(|id| u32::try_from(id).ok())
                    .filter(|id| *id != 0),
                image: image.unwrap_or_default().to_owned(),
                ..about_status(status)
            });
        }
        Ok(())
    }

    async fn ask_filesystems(&self, client: &Client) -> Result<(), CallError> {
        let list = match self.call::<ListContainerStats>(client, &Empty {}).await {
            Ok(list) => list,
            Err(CallError::Unimplemented(_) | CallError::Status { .. }) => {
                self.metrics.cri_errors.inc();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let usages = list.stats.into_iter().filter_map(|stats| {
            let layer = stats.writable_layer?;
            let usage = FilesystemUsage {
                device: layer.fs_id.map(|id| id.mountpoint).unwrap_or_default(),
                bytes: layer.used_bytes?.value,
                inodes: layer.inodes_used.map(|inodes| inodes.value),
            };
            Some((stats.attributes?.id, usage))
        });
        self.names.learn_filesystems(usages);
        Ok(())
    }
}

/// Waits for ever when there are no events.
async fn next<M: Method>(
    events: &mut Option<Answers<M>>,
) -> Result<Option<M::Response>, CallError> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn about_pod(id: &str, metadata: Option<&SandboxMetadata>, created_at: i64) -> About {
    let metadata = metadata.cloned().unwrap_or_default();
    About {
        id: id.to_owned(),
        namespace: metadata.namespace,
        pod: metadata.name,
        pod_uid: metadata.uid,
        is_sandbox: true,
        created: seconds(created_at),
        ..About::default()
    }
}

fn about_sandbox(sandbox: &Sandbox) -> About {
    about_pod(&sandbox.id, sandbox.metadata.as_ref(), sandbox.created_at)
}

fn about_status(status: &SandboxStatus) -> About {
    about_pod(&status.id, status.metadata.as_ref(), status.created_at)
}

fn about_container(container: &Container, pod: Option<&About>) -> About {
    about_container_status(
        &ContainerStatus {
            id: container.id.clone(),
            metadata: container.metadata.clone(),
            created_at: container.created_at,
            image: container.image.clone(),
            labels: container.labels.clone(),
            ..ContainerStatus::default()
        },
        pod,
    )
}

/// The pod's word counts before the labels.
fn about_container_status(container: &ContainerStatus, pod: Option<&About>) -> About {
    let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
    let metadata = container.metadata.clone().unwrap_or_default();
    let of_pod = |of: fn(&About) -> &String, name: &str| match pod {
        Some(pod) => of(pod).clone(),
        None => label(name),
    };
    About {
        id: container.id.clone(),
        container: metadata.name,
        image: image_name(container.image.as_ref()),
        namespace: of_pod(|pod| &pod.namespace, NAMESPACE_LABEL),
        pod: of_pod(|pod| &pod.pod, POD_LABEL),
        pod_uid: of_pod(|pod| &pod.pod_uid, UID_LABEL),
        created: seconds(container.created_at),
        ..About::default()
    }
}

/// Some runtimes know an image by its digest alone; then what the pod calls it is better.
fn image_name(image: Option<&Image>) -> String {
    let Some(image) = image else {
        return String::new();
    };
    let is_digest = image.image.is_empty() || image.image.starts_with("sha256:");
    match image.user_specified_image.as_str() {
        given if is_digest && !given.is_empty() => given.to_owned(),
        _ => image.image.clone(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time, to the microsecond")]
fn seconds(nanoseconds: i64) -> Option<f64> {
    (nanoseconds > 0).then_some(nanoseconds as f64 / 1e9)
}

#[cfg(test)]
mod tests;
