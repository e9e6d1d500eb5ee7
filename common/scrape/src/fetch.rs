//! One body of one target: the request, its bounds, gzip.

use std::io::Read as _;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use http_shell::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, USER_AGENT,
};
use http_shell::{Answer, ClientError, Getter, StatusCode};
use runtime::{Permit, Permits, Tasks};

use crate::decode::{Format, accept, format_of};
use crate::{Job, Target};

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Bodies take room in units of so many bytes.
const ROOM_UNIT_BYTES: usize = 64 * 1024;

const TIMEOUT_SECONDS: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// A body as it came, with the room that it takes.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) format: Format,
    body: Vec<u8>,
    is_gzip: bool,
    limit: u64,
    _room: Vec<Permit>,
}

/// Gets the bodies of one target.
#[derive(Debug)]
pub(crate) struct Fetcher {
    job: Arc<Job>,
    target: Arc<Target>,
    getter: Getter,
    /// Room for bodies that are being read, of all targets.
    room: Permits,
}

/// Returns the room that bodies may take together.
pub(crate) fn room(bytes: usize) -> Permits {
    let units = u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
    Permits::new("bytes of scraped bodies", units)
}

impl Fetcher {
    pub(crate) fn new(
        job: Arc<Job>,
        target: Arc<Target>,
        room: Permits,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let server =
            http_shell::Target::parse(&target.server).map_err(|error| error.to_string())?;
        Ok(Self {
            getter: Getter::new(server, job.http.tls.clone(), tasks.clone()),
            job,
            target,
            room,
        })
    }

    /// Gets a body; the caller bounds the time. Dropped, it closes the connection.
    pub(crate) async fn fetch(&mut self) -> Result<Fetched, String> {
        let headers = self.headers()?;
        let mut path = self.target.path.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.getter.get(&path, &headers).await;
            let mut answer = answer.map_err(|error| error.to_string())?;
            if answer.status.is_redirection() && self.job.http.follow_redirects {
                path = redirected(&answer, &self.target.server)?;
                continue;
            }
            if answer.status != StatusCode::OK {
                return Err(format!("server returned HTTP status {}", answer.status));
            }
            return read(&mut answer, &self.job, &self.room).await;
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = self.job.http.headers()?;
        let timeout = self.target.timeout.as_secs_f64().to_string();
        for (name, text) in [
            (ACCEPT, accept(&self.job.protocols)),
            (TIMEOUT_SECONDS, timeout),
        ] {
            let value = HeaderValue::try_from(text).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        let encoding = if self.job.compression {
            "gzip"
        } else {
            "identity"
        };
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let agent = concat!("promontory/", env!("CARGO_PKG_VERSION"));
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(agent));
        Ok(headers)
    }
}

/// Returns the path that a redirect leads to: on the same server, for what is sent along is meant for no other.
fn redirected(answer: &Answer<'_>, server: &str) -> Result<String, String> {
    let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok());
    let to = to.ok_or("a redirect without a place to go")?;
    let path = to.strip_prefix(server).unwrap_or(to);
    match path {
        "" => Ok("/".to_owned()),
        _ if path.starts_with('/') && !path.starts_with("//") => Ok(path.to_owned()),
        _ => Err("a redirect to another server is not followed; scrape that one".to_owned()),
    }
}

async fn read(answer: &mut Answer<'_>, job: &Job, room: &Permits) -> Result<Fetched, String> {
    let text = |name| {
        let value = answer.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let format = format_of(text(CONTENT_TYPE), job.fallback)?;
    let is_gzip = match text(CONTENT_ENCODING).trim() {
        "" | "identity" => false,
        "gzip" | "x-gzip" => true,
        other => {
            return Err(format!(
                "the target's Content-Encoding {other:?} was not asked for"
            ));
        }
    };
    let limit = job.limits.body_bytes;
    let mut body = Vec::new();
    let mut held = Vec::new();
    let mut units = 0;
    while let Some(piece) = answer
        .piece()
        .await
        .map_err(|error: ClientError| error.to_string())?
    {
        if (body.len() + piece.len()) as u64 > limit {
            return Err(too_large(limit));
        }
        // Room is taken before memory is; a compressed body becomes about five times as long, and never longer than allowed.
        let length = body.len() + piece.len();
        let unpacked = usize::try_from(limit).unwrap_or(usize::MAX).min(length * 5);
        let needed = length + if is_gzip { unpacked } else { 0 };
        let needed = needed.div_ceil(ROOM_UNIT_BYTES);
        if needed > units {
            let more = u32::try_from(needed - units).unwrap_or(u32::MAX);
            held.push(room.acquire(more).await);
            units = needed;
        }
        body.extend_from_slice(&piece);
    }
    Ok(Fetched {
        format,
        body,
        is_gzip,
        limit,
        _room: held,
    })
}

fn too_large(limit: u64) -> String {
    format!("body size limit exceeded: more than {limit} bytes; see body_size_limit")
}

impl Fetched {
    /// Returns the length as it came.
    pub(crate) const fn wire_bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the body, decompressed into `scratch` where that is needed.
    pub(crate) fn body<'b>(&'b self, scratch: &'b mut Vec<u8>) -> Result<&'b [u8], String> {
        if !self.is_gzip || self.body.is_empty() {
            return Ok(&self.body);
        }
        scratch.clear();
        let decoder = MultiGzDecoder::new(self.body.as_slice());
        let read = decoder.take(self.limit + 1).read_to_end(scratch);
        read.map_err(|error| format!("cannot decompress the body: {error}"))?;
        if scratch.len() as u64 > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(scratch)
    }
}
