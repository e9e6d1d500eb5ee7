//! A sender that is never in a hurry, and notices who keeps it waiting.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use model::TimestampMs;

use super::remote_write::{FloatSeries, HEADERS, WRITE, floats_request};
use super::waiting::{now, pause};

/// Series of each request.
const SERIES: u32 = 100;
const EVERY: Duration = Duration::from_millis(25);
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends remote write over one connection that stays, as Prometheus does: 40 requests a second.
#[derive(Debug)]
pub struct Steady {
    web: String,
    stream: TcpStream,
}

/// How long acknowledgements took.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// One for each request.
    sorted: Vec<Duration>,
    /// Requests that were not acknowledged.
    pub failures: usize,
}

impl Steady {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn connect(web: &str) -> Self {
        Self {
            web: web.to_owned(),
            stream: connect(web).expect("somebody listens"),
        }
    }

    /// Sends until it is over, or so many requests.
    pub fn send(&mut self, requests: usize, over: &AtomicBool) -> Waits {
        let clock = SystemClock::new();
        let mut waits = Waits::default();
        for _ in 0..requests {
            if over.load(Ordering::Relaxed) {
                break;
            }
            let at = TimestampMs::from(clock.wall()).0;
            let body = floats_request(&series(at));
            let begun = now();
            match self.exchange(&body) {
                Ok(204) => waits.sorted.push(now().saturating_since(begun)),
                Ok(_) => waits.failures += 1,
                Err(_) => {
                    waits.failures += 1;
                    if let Ok(stream) = connect(&self.web) {
                        self.stream = stream;
                    }
                }
            }
            pause(EVERY);
        }
        waits.sorted.sort_unstable();
        waits
    }

    /// Returns the status; answers to remote write that is taken have no body.
    fn exchange(&mut self, body: &[u8]) -> io::Result<u16> {
        let (web, length) = (&self.web, body.len());
        let head = format!(
            "POST {WRITE} HTTP/1.1\r\nhost: {web}\r\ncontent-length: {length}\r\n{HEADERS}\r\n"
        );
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        let (mut answer, mut piece) = (Vec::new(), [0; 1_024]);
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            let read = self.stream.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&piece[..read]);
        }
        let status = String::from_utf8_lossy(&answer);
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        match status {
            Some(204) => Ok(204),
            // Its text would be taken for the next answer.
            Some(status) => connect(&self.web)
                .map(|stream| self.stream = stream)
                .map(|()| status),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Waits {
    /// Returns how long the given share of the requests took at most.
    pub fn quantile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list"
        )]
        let at = (self.sorted.len() as f64 * share) as usize;
        let last = self.sorted.last().copied().unwrap_or_default();
        self.sorted.get(at).copied().unwrap_or(last)
    }

    /// Adds those of another time.
    pub fn add(&mut self, other: Self) {
        self.sorted.extend(other.sorted);
        self.sorted.sort_unstable();
        self.failures += other.failures;
    }

    /// Returns how many requests were acknowledged.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns whether none was.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

fn connect(web: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(web)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn series(at: i64) -> Vec<FloatSeries> {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let one = |series: u32| {
        let labels = vec![
            label("__name__", "steady"),
            label("series", &series.to_string()),
        ];
        (labels, vec![(at, f64::from(series))])
    };
    (0..SERIES).map(one).collect()
}
