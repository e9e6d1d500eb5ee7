//! A server in a test: one handler that does what its path says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use runtime::{Task, Tasks, Token};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{
    BindError, Caller, Client, Handler, HandlerFuture, Limits, Listen, Request, Response, Server,
    ServerStats, Target,
};

/// No wait in these tests may take longer; each is for a condition.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// `/echo` returns method, form and caller; `/large` 5,000 bytes; `/thread` the name of the thread; `/wait` answers once released.
pub(super) struct Play {
    /// Requests to `/wait`: begun, and ended or dropped.
    pub(super) waiting: watch::Sender<(u32, u32)>,
    pub(super) released: watch::Sender<bool>,
}

impl Play {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: watch::Sender::new((0, 0)),
            released: watch::Sender::new(false),
        })
    }

    /// Waits until so many requests to `/wait` have begun and ended.
    pub(super) async fn until(&self, begun: u32, ended: u32) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|counts| *counts == (begun, ended));
        timeout(PATIENCE, reached)
            .await
            .expect("in time")
            .expect("the sender lives");
    }

    async fn wait(&self) -> Response {
        struct Leave<'a>(&'a watch::Sender<(u32, u32)>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|(_, ended)| *ended += 1);
            }
        }
        self.waiting.send_modify(|(begun, _)| *begun += 1);
        let _leave = Leave(&self.waiting);
        self.released
            .subscribe()
            .wait_for(|released| *released)
            .await
            .expect("the sender lives");
        Response::text(StatusCode::OK, "waited")
    }
}

impl Handler for Play {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            match request.path.as_str() {
                "/echo" => {
                    let caller = match &request.caller {
                        Caller::Remote { user, .. } => user.clone().unwrap_or_default(),
                        Caller::Local { uid } => format!("uid {uid}"),
                        Caller::Process { uid, cgroup } => format!("uid {uid} in {cgroup}"),
                    };
                    let body = format!("{} {} {caller}", request.method, request.form().encode());
                    Response::text(StatusCode::OK, body)
                }
                "/large" => Response::new(StatusCode::OK, "text/plain", "x".repeat(5_000)),
                "/huge" => Response::new(StatusCode::OK, "text/plain", "x".repeat(64 << 20)),
                "/thread" => {
                    let name = std::thread::current().name().unwrap_or_default().to_owned();
                    Response::text(StatusCode::OK, name)
                }
                "/wait" => self.wait().await,
                _ => Response::text(StatusCode::NOT_FOUND, "404 page not found"),
            }
        })
    }
}

pub(super) struct World {
    pub(super) address: Option<SocketAddr>,
    pub(super) play: Arc<Play>,
    pub(super) stop: Token,
    pub(super) tasks: Tasks,
    pub(super) serving: Task<()>,
    stats: Box<dyn Fn() -> ServerStats>,
}

impl World {
    pub(super) async fn start(limits: Limits) -> Self {
        let listen = Listen::Tcp {
            address: "127.0.0.1:0".to_owned(),
            web_config: None,
        };
        Self::listening(&listen, limits).await.expect("a free port")
    }

    pub(super) async fn listening(listen: &Listen, limits: Limits) -> Result<Self, BindError> {
        Self::listening_as(listen, limits, |server| server).await
    }

    /// The same, of a server that is changed before it serves.
    pub(super) async fn listening_as(
        listen: &Listen,
        limits: Limits,
        change: impl FnOnce(Server) -> Server,
    ) -> Result<Self, BindError> {
        let tasks = Tasks::new("test server");
        let server = change(Server::bind(listen, limits, &tasks).await?);
        let (play, stop) = (Play::new(), Token::new());
        Ok(Self {
            address: server.local_address(),
            stats: Box::new(server.stats()),
            serving: tasks.spawn(
                "http",
                server.serve(Arc::<Play>::clone(&play), stop.clone()),
            ),
            play,
            stop,
            tasks,
        })
    }

    pub(super) fn client(&self) -> Client {
        self.client_over("http")
    }

    pub(super) fn client_over(&self, scheme: &str) -> Client {
        let address = self.address.expect("a TCP server");
        let target = Target::parse(&format!("{scheme}://{address}")).expect("a URL");
        Client::new(target, PATIENCE)
    }

    pub(super) fn connect(&self) -> Raw {
        let stream = std::net::TcpStream::connect(self.address.expect("a TCP server")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }

    pub(super) fn stats(&self) -> ServerStats {
        (self.stats)()
    }

    /// Waits until all tasks have ended.
    pub(super) async fn ended(&self) {
        timeout(PATIENCE, self.tasks.join()).await.expect("in time");
    }
}

/// A connection that says exactly what it is told; blocking, so tests need two worker threads.
pub(super) struct Raw(pub(super) std::net::TcpStream);

/// A response as it came.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Raw {
    pub(super) fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Reads one response; `head_only` for answers to HEAD.
    pub(super) fn hear(&mut self, head_only: bool) -> Came {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a response");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if head_only { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        Came {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        }
    }

    /// Waits until the server has closed; what it said before is dropped.
    pub(super) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
