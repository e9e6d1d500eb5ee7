use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use clock::SystemClock;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use telemetry::Registry;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{broadcast, watch};

use super::messages::{
    Attributes, ContainerMetadata, ContainerStatusResponse, Containers, Filesystem, FilesystemId,
    Number, SandboxStatusResponse, Sandboxes, Stats, StatsList,
};
use super::*;

/// A runtime on a unix socket.
#[derive(Clone)]
struct Fake {
    state: Arc<watch::Sender<State>>,
    events: broadcast::Sender<Event>,
    has_events: bool,
    tasks: Tasks,
}

#[derive(Clone, Default)]
struct State {
    sandboxes: Vec<Sandbox>,
    containers: Vec<Container>,
    stats: Vec<Stats>,
    ended: Vec<ContainerStatus>,
    lists: usize,
    listeners: usize,
}

impl Fake {
    fn new(has_events: bool) -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            events: broadcast::channel(16).0,
            has_events,
            tasks: Tasks::new("fake"),
        }
    }

    async fn serve(self, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let fake = self.clone();
            self.tasks
                .spawn("connection", fake.connection(stream))
                .detach();
        }
    }

    async fn connection(self, stream: UnixStream) {
        let Ok(mut connection) = server::handshake(stream).await else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let fake = self.clone();
            let answering = async move { fake.answer(&method, request.into_body(), respond).await };
            self.tasks.spawn("call", answering).detach();
        }
    }

    async fn answer(self, method: &str, mut body: h2::RecvStream, respond: SendResponse<Bytes>) {
        let mut asked = BytesMut::new();
        while let Some(Ok(data)) = body.data().await {
            asked.put_slice(&data);
        }
        let state = self.state.borrow().clone();
        match method {
            "ListPodSandbox" => {
                let items = state.sandboxes;
                once(respond, &Sandboxes { items });
            }
            "ListContainers" => {
                self.state.send_modify(|state| state.lists += 1);
                let containers = state.containers;
                once(respond, &Containers { containers });
            }
            "ListContainerStats" => once(respond, &StatsList { stats: state.stats }),
            "PodSandboxStatus" => {
                let request = SandboxStatusRequest::decode(&asked[5..]).unwrap();
                let of = |sandbox: &&Sandbox| sandbox.id == request.pod_sandbox_id;
                let sandbox = state.sandboxes.iter().find(of).cloned().unwrap_or_default();
                let info = r#"{"pid": 4711, "image": "pause:3"}"#.to_owned();
                once(
                    respond,
                    &SandboxStatusResponse {
                        status: Some(status(&sandbox)),
                        info: HashMap::from([("info".to_owned(), info)]),
                    },
                );
            }
            "ContainerStatus" => {
                let request = ContainerStatusRequest::decode(&asked[5..]).unwrap();
                let of = |status: &&ContainerStatus| status.id == request.container_id;
                match state.ended.iter().find(of).cloned() {
                    Some(status) => {
                        let status = Some(status);
                        once(respond, &ContainerStatusResponse { status });
                    }
                    // Not found.
                    None => refuse(respond, "5"),
                }
            }
            "GetContainerEvents" if self.has_events => self.tell(respond).await,
            _ => refuse(respond, "12"),
        }
    }

    /// Answers with events until nobody listens.
    async fn tell(self, mut respond: SendResponse<Bytes>) {
        let mut events = self.events.subscribe();
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        self.state.send_modify(|state| state.listeners += 1);
        while let Ok(event) = events.recv().await {
            // In two pieces, as a network may have it.
            let frame = frame(&event);
            let (head, tail) = frame.split_at(3);
            for part in [head, tail] {
                if body.send_data(Bytes::copy_from_slice(part), false).is_err() {
                    return;
                }
            }
        }
    }
}

fn frame(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes.len()).unwrap());
    frame.put_slice(&bytes);
    frame.freeze()
}

fn once(mut respond: SendResponse<Bytes>, message: &impl Message) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(frame(message), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers).unwrap();
}

fn refuse(mut respond: SendResponse<Bytes>, status: &'static str) {
    let mut response = Response::new(());
    let value = HeaderValue::from_static(status);
    response.headers_mut().insert("grpc-status", value);
    respond.send_response(response, true).unwrap();
}

fn sandbox(id: &str) -> Sandbox {
    Sandbox {
        id: id.to_owned(),
        metadata: Some(SandboxMetadata {
            name: format!("pod-{id}"),
            uid: format!("uid-{id}"),
            namespace: "shop".to_owned(),
        }),
        created_at: 1_500_000_000,
    }
}

fn status(sandbox: &Sandbox) -> SandboxStatus {
    SandboxStatus {
        id: sandbox.id.clone(),
        metadata: sandbox.metadata.clone(),
        created_at: sandbox.created_at,
    }
}

fn container(id: &str, sandbox: &str) -> Container {
    Container {
        id: id.to_owned(),
        pod_sandbox_id: sandbox.to_owned(),
        metadata: Some(ContainerMetadata {
            name: format!("name-{id}"),
        }),
        image: Some(Image {
            image: "sha256:abc".to_owned(),
            user_specified_image: "nginx:1".to_owned(),
        }),
        state: 1,
        created_at: 2_000_000_000,
        labels: HashMap::new(),
    }
}

/// A runtime, and what follows it.
struct Scene {
    fake: Fake,
    names: Names,
    metrics: Metrics,
    tasks: Tasks,
    socket: PathBuf,
    stop: Token,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(has_events: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            fake: Fake::new(has_events),
            names: Names::new(),
            metrics: Metrics::new(&Registry::new()),
            tasks: Tasks::new("scene"),
            socket: folder.path().join("runtime.sock"),
            stop: Token::new(),
            _folder: folder,
        }
    }

    /// Lets the runtime answer; returns where.
    fn serve(&self) -> CriConfig {
        let listener = UnixListener::bind(&self.socket).unwrap();
        self.tasks
            .spawn("fake", self.fake.clone().serve(listener))
            .detach();
        CriConfig {
            socket: Some(self.socket.clone()),
            rootfs: PathBuf::from("/nowhere"),
        }
    }

    fn begin(&self) {
        let config = self.serve();
        let timer = Timer::new(Arc::new(SystemClock::new()));
        let (names, metrics) = (self.names.clone(), self.metrics.clone());
        let following = follow(
            config,
            names,
            metrics,
            timer,
            self.tasks.clone(),
            self.stop.clone(),
        );
        self.tasks.spawn("follow", following).detach();
    }

    /// Waits until something is so.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_come_with_lists_and_events() {
    let scene = Scene::new(true);
    scene.fake.state.send_modify(|state| {
        state.sandboxes.push(sandbox("s"));
        state.containers.push(container("c", "s"));
        state.stats.push(Stats {
            attributes: Some(Attributes { id: "c".to_owned() }),
            writable_layer: Some(Filesystem {
                fs_id: Some(FilesystemId {
                    mountpoint: "/var/lib/containerd".to_owned(),
                }),
                used_bytes: Some(Number { value: 4_096 }),
                inodes_used: None,
            }),
        });
    });
    scene.begin();
    scene
        .until(|scene| scene.names.filesystem("c").is_some())
        .await;
    let known = scene.names.about("c").unwrap();
    assert_eq!(
        (&*known.pod, &*known.container, &*known.image),
        ("pod-s", "name-c", "nginx:1")
    );
    assert_eq!(known.created, Some(2.0));
    let pod = scene.names.about("s").unwrap();
    assert_eq!(
        (pod.process, &*pod.image, pod.is_sandbox),
        (Some(4_711), "pause:3", true)
    );
    assert_eq!(scene.names.filesystem("c").unwrap().bytes, 4_096);

    // An event is enough: no list is asked for.
    scene
        .until(|scene| scene.fake.state.borrow().listeners > 0)
        .await;
    let lists = scene.fake.state.borrow().lists;
    let new = sandbox("t");
    scene
        .fake
        .state
        .send_modify(|state| state.sandboxes.push(new.clone()));
    scene
        .fake
        .events
        .send(Event {
            container_id: "d".to_owned(),
            pod_sandbox_status: Some(status(&new)),
            containers_statuses: vec![ContainerStatus {
                id: "d".to_owned(),
                metadata: Some(ContainerMetadata {
                    name: "web".to_owned(),
                }),
                ..ContainerStatus::default()
            }],
        })
        .unwrap();
    scene.until(|scene| scene.names.about("d").is_some()).await;
    let known = scene.names.about("d").unwrap();
    assert_eq!(
        (&*known.pod, &*known.namespace, &*known.container),
        ("pod-t", "shop", "web")
    );
    assert_eq!(scene.fake.state.borrow().lists, lists);
    scene.stop.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_containers_ended_comes_with_lists_and_events() {
    let scene = Scene::new(true);
    let ended = |id: &str, exit_code, reason: &str| ContainerStatus {
        id: id.to_owned(),
        state: EXITED,
        exit_code,
        reason: reason.to_owned(),
        ..ContainerStatus::default()
    };
    scene.fake.state.send_modify(|state| {
        state.sandboxes.push(sandbox("s"));
        for id in ["gone", "done", "runs"] {
            let mut container = container(id, "s");
            if id != "runs" {
                container.state = EXITED;
            }
            state.containers.push(container);
        }
        state.ended.push(ended("done", 0, "Completed"));
    });
    scene.begin();
    scene
        .until(|scene| scene.fake.state.borrow().listeners > 0 && scene.names.has_exit("done"))
        .await;
    let event = Event {
        container_id: "runs".to_owned(),
        pod_sandbox_status: Some(status(&sandbox("s"))),
        containers_statuses: vec![ended("runs", 137, "OOMKilled")],
    };
    scene.fake.events.send(event).unwrap();
    scene.until(|scene| scene.names.has_exit("runs")).await;
    let mut exits: Vec<_> = (scene.names.exits().into_iter())
        .map(|(about, exit)| (about.id.clone(), exit.code, exit.reason))
        .collect();
    exits.sort();
    let exit = |id: &str, code, reason: &str| (id.to_owned(), code, reason.to_owned());
    assert_eq!(
        exits,
        [exit("done", 0, "Completed"), exit("runs", 137, "OOMKilled")]
    );
    scene.stop.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_without_events_is_asked_when_a_name_is_wanted() {
    let scene = Scene::new(false);
    scene.begin();
    scene
        .until(|scene| scene.fake.state.borrow().lists > 0)
        .await;
    scene.fake.state.send_modify(|state| {
        state.sandboxes.push(sandbox("s"));
        state.containers.push(container("c", "s"));
    });
    scene.names.want();
    scene.until(|scene| scene.names.about("c").is_some()).await;
    scene.stop.stop();
}

#[tokio::test]
async fn who_looks_once_learns_all_there_is() {
    let scene = Scene::new(false);
    scene.fake.state.send_modify(|state| {
        state.sandboxes.push(sandbox("s"));
        state.containers.push(container("c", "s"));
    });
    let timer = || Timer::new(Arc::new(SystemClock::new()));
    let learn = async |config: CriConfig| {
        let (names, metrics) = (scene.names.clone(), scene.metrics.clone());
        learn_once(config, names, metrics, timer(), scene.tasks.clone()).await;
    };
    let nobody = CriConfig {
        socket: Some(scene.socket.clone()),
        rootfs: PathBuf::from("/nowhere"),
    };
    learn(nobody).await;
    assert!(scene.names.about("c").is_none());
    learn(scene.serve()).await;
    let process = scene.names.about("s").unwrap().process;
    assert!(scene.names.about("c").is_some() && process == Some(4_711));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_runtime_does_no_harm() {
    let scene = Scene::new(true);
    let listener = UnixListener::bind(&scene.socket).unwrap();
    let config = CriConfig {
        socket: Some(scene.socket.clone()),
        rootfs: PathBuf::from("/nowhere"),
    };
    let timer = Timer::new(Arc::new(SystemClock::new()));
    let (names, metrics) = (scene.names.clone(), scene.metrics.clone());
    let following = follow(
        config,
        names,
        metrics,
        timer,
        scene.tasks.clone(),
        scene.stop.clone(),
    );
    let following = scene.tasks.spawn("follow", following);
    for _ in 0..2 {
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        stream
            .try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        drop(stream);
    }
    scene.stop.stop();
    following.await.unwrap();
}
