//! The services that alerts are told to, as one process of many threads: what they took is remembered, and they can be told to behave badly.
//!
//! A service has *taken* a request once it is read and a success is decided on; everything else that happens to it (another status, a
//! connection that ends) means that it was not taken. Answers are those that the real services give.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clock::Monotonic;
use fastrand::Rng;
use serde_json::Value;

use super::http::get;
use super::waiting::{PATIENCE, now, wait_until};

/// The longest request that is read.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The longest that a request is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Anything that takes webhooks.
    Webhook,
    /// Slack's incoming webhooks.
    Slack,
    /// Teams' workflows.
    Teams,
    /// PagerDuty's Events API v2.
    PagerDuty,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Slack, Self::Teams, Self::PagerDuty];

    /// Returns the path that requests to it have.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Webhook => "/webhook",
            Self::Slack => "/slack",
            Self::Teams => "/teams",
            Self::PagerDuty => "/pagerduty",
        }
    }

    /// Returns the answer of a success: status, type and body.
    const fn success(self) -> (u16, &'static str, &'static str) {
        const TEXT: &str = "text/plain";
        match self {
            Self::Webhook => (200, TEXT, ""),
            Self::Slack => (200, TEXT, "ok"),
            Self::Teams => (202, TEXT, ""),
            Self::PagerDuty => (202, "application/json", r#"{"status":"success"}"#),
        }
    }
}

/// A request that a service has taken.
#[derive(Clone, Debug)]
pub struct TakenRequest {
    /// By which.
    pub service: Service,
    /// When.
    pub at: Monotonic,
    /// What was sent.
    pub body: Value,
}

/// When a trap shuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A request is taken, and not answered yet.
    Taken,
    /// The answer is sent.
    Answered,
}

/// All services on one port. They end with this.
#[derive(Debug)]
pub struct Receivers {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    taken: Mutex<Vec<TakenRequest>>,
    trap: Mutex<Option<Jaws>>,
    /// Draws the fate of requests; `None`: all are taken.
    moods: Mutex<Option<Rng>>,
    /// Connections that are served.
    served: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Debug)]
struct Jaws {
    moment: Moment,
    caught: SyncSender<()>,
    released: Receiver<()>,
}

/// A trap for the next request that is taken. Whoever is caught before the answer waits until this is dropped.
#[derive(Debug)]
pub struct Trap {
    caught: Receiver<()>,
    _release: SyncSender<()>,
}

impl Trap {
    /// Waits a moment for the trap to shut; returns whether it has.
    pub fn has_caught(&self, within: Duration) -> bool {
        self.caught.recv_timeout(within) != Err(RecvTimeoutError::Timeout)
    }
}

impl Receivers {
    /// Starts all services.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::<Shared>::default();
        let serving = Arc::clone(&shared);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stop.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&serving);
                shared.served.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    shared.serve(stream);
                    shared.served.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Returns the URL of a service.
    pub fn url(&self, service: Service) -> String {
        format!("http://{}{}", self.address, service.path())
    }

    /// Returns what was taken from number `from` on, in its order.
    pub fn taken_since(&self, from: usize) -> Vec<TakenRequest> {
        let taken = lock(&self.shared.taken);
        taken.get(from..).unwrap_or_default().to_vec()
    }

    /// Waits until every request that was sent before this call is taken, or is not.
    ///
    /// # Panics
    /// When that takes too long.
    #[track_caller]
    pub fn await_idle(&self) {
        // Connections are accepted in their order: once this one is answered, all earlier ones are served, or were.
        drop(get(&self.address.to_string(), "/nobody"));
        wait_until(PATIENCE, "all requests to be over", || {
            (self.shared.served.load(Ordering::SeqCst) == 0).then_some(())
        });
    }

    /// Lets about one request in six fail: with 500, with 429, or by a connection that ends. `None`: no more.
    pub fn be_moody(&self, seed: Option<u64>) {
        *lock(&self.shared.moods) = seed.map(Rng::with_seed);
    }

    /// Sets a trap.
    pub fn trap(&self, moment: Moment) -> Trap {
        let (caught, catches) = sync_channel(1);
        let (release, released) = sync_channel(1);
        *lock(&self.shared.trap) = Some(Jaws {
            moment,
            caught,
            released,
        });
        Trap {
            caught: catches,
            _release: release,
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes whoever accepts.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let Ok((path, body)) = read_request(&mut stream) else {
            return;
        };
        let Some(service) = Service::ALL.into_iter().find(|one| one.path() == path) else {
            return answer(&mut stream, (404, "text/plain", "nobody"), "");
        };
        match self.mood() {
            0 => return,
            1 => return answer(&mut stream, (500, "text/plain", "not now"), ""),
            2 => {
                let limited = (429, "text/plain", "too many");
                return answer(&mut stream, limited, "retry-after: 1\r\n");
            }
            _ => {}
        }
        let trap = self.take(service, &body);
        let moment = trap.as_ref().map(|trap| trap.moment);
        if let Some(trap) = trap.as_ref().filter(|_| moment == Some(Moment::Taken)) {
            trap.caught.send(()).unwrap_or_default();
            trap.released.recv().unwrap_or_default();
        }
        answer(&mut stream, service.success(), "");
        if let Some(trap) = trap.filter(|_| moment == Some(Moment::Answered)) {
            trap.caught.send(()).unwrap_or_default();
        }
    }

    fn mood(&self) -> u32 {
        let mut moods = lock(&self.moods);
        moods.as_mut().map_or(u32::MAX, |rng| rng.u32(..18))
    }

    /// Remembers a request, and returns the trap that it has stepped into.
    fn take(&self, service: Service, body: &[u8]) -> Option<Jaws> {
        let body = serde_json::from_slice(body).unwrap_or_default();
        let mut taken = lock(&self.taken);
        taken.push(TakenRequest {
            service,
            at: now(),
            body,
        });
        lock(&self.trap).take()
    }
}

/// Reads a request: its path and its body.
fn read_request(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut request = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer)?;
        request.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if read == 0 || request.len() > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        if let Some(body) = request.get(end + 4..end + 4 + length) {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            return Ok((path, body.to_vec()));
        }
    }
}

fn answer(stream: &mut TcpStream, (status, kind, body): (u16, &str, &str), headers: &str) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    );
    // Whoever asked may have died meanwhile.
    drop(stream.write_all(answer.as_bytes()));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
