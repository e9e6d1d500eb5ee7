//! One request and its answer: who calls, the body, the handler, the encoding.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::Uri;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use runtime::{Permit, Permits, Tasks};
use tokio::time::timeout;

use crate::encoding::{Encoding, accepted, compress, gains_by_compression};
use crate::serve::Counters;
use crate::web::{Web, WebState};
use crate::{Caller, Handler, Held, Limits, Method, Request, Response, StatusCode};

/// Requests up to here are taken without counting: a connection may cost as much anyway.
const SMALL_REQUEST_BYTES: usize = 16 * 1024;
/// What requests take is counted in units of so many bytes.
const ROOM_UNIT_BYTES: usize = 1024;
/// How long those are told to wait for whom there was no room, in seconds.
const PAUSE: HeaderValue = HeaderValue::from_static("5");
/// Answers compressed at once, on threads: each takes memory for its shorter form before the longer one goes.
const COMPRESSIONS_MAX: u32 = 2;
/// Compressing more takes about a millisecond or longer: it moves to a thread where nobody waits behind it.
const LARGE_ANSWER_BYTES: usize = 64 * 1024;

/// Answers the requests of all connections.
pub(crate) struct Exchanges {
    limits: Limits,
    web: Arc<Web>,
    /// Room for the requests that are being answered, in units.
    requests: Permits,
    compressions: Permits,
    /// The user that this process runs as; who may call a unix socket besides root.
    owner_uid: u32,
    tasks: Tasks,
    stats: Arc<Counters>,
}

impl Exchanges {
    pub(crate) fn new(
        limits: Limits,
        web: Arc<Web>,
        owner_uid: u32,
        tasks: Tasks,
        stats: Arc<Counters>,
    ) -> Self {
        Self {
            limits,
            web,
            requests: Permits::new("bytes of requests", units(limits.requests_bytes_max)),
            compressions: Permits::new("compressions", COMPRESSIONS_MAX),
            owner_uid,
            tasks,
            stats,
        }
    }

    pub(crate) async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        caller: &Caller,
        handler: &dyn Handler,
    ) -> hyper::Response<Full<Bytes>> {
        let web = self.web.now();
        let is_head = request.method() == Method::HEAD;
        let encoding = accepted(request.headers());
        let answered = self.respond(request, caller, handler, &web).await;
        let response = answered.unwrap_or_else(|refusal| refusal);
        let response = self.encode(response, encoding).await;
        finish(response, is_head, &web.headers)
    }

    /// Asks the handler, or refuses.
    async fn respond(
        &self,
        request: hyper::Request<Incoming>,
        caller: &Caller,
        handler: &dyn Handler,
        web: &WebState,
    ) -> Result<Response, Response> {
        let caller = self.admit(&request, caller, web).await?;
        let (head, mut body) = request.into_parts();
        // Held until the answer is there: so long the request is in memory.
        let _room = self.room_for(&head.uri, &body).await?;
        let read = self.read(&mut body).await;
        if read.is_err() && !head.headers.contains_key(EXPECT) {
            self.discard(&mut body).await;
        }
        let request = Request {
            body: read?,
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            caller,
        };
        Ok(handler.handle(request).await)
    }

    async fn admit(
        &self,
        request: &hyper::Request<Incoming>,
        caller: &Caller,
        web: &WebState,
    ) -> Result<Caller, Response> {
        match caller {
            Caller::Local { uid } if *uid != 0 && *uid != self.owner_uid => {
                self.stats.unauthorized.fetch_add(1, Ordering::Relaxed);
                let why = "only root and the owner of the process may use this socket";
                Err(Response::text(StatusCode::FORBIDDEN, why))
            }
            Caller::Remote { address, .. } if !web.authenticator.is_open() => {
                let authorization = request.headers().get(AUTHORIZATION);
                let authorization = authorization.and_then(|value| value.to_str().ok());
                let user = web.authenticator.user(authorization).await;
                let address = *address;
                user.map(|user| Caller::Remote {
                    address,
                    user: Some(user),
                })
                .ok_or_else(|| {
                    self.stats.unauthorized.fetch_add(1, Ordering::Relaxed);
                    Response::text(StatusCode::UNAUTHORIZED, "Unauthorized")
                        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))
                })
            }
            Caller::Local { .. } | Caller::Process { .. } | Caller::Remote { .. } => {
                Ok(caller.clone())
            }
        }
    }

    async fn room_for(&self, uri: &Uri, body: &Incoming) -> Result<Option<Permit>, Response> {
        let body = (body.size_hint().upper()).and_then(|bytes| usize::try_from(bytes).ok());
        let body = body.map_or(self.limits.body_bytes_max, |bytes| {
            bytes.min(self.limits.body_bytes_max)
        });
        let bytes = body + uri.query().map_or(0, str::len);
        if bytes <= SMALL_REQUEST_BYTES {
            return Ok(None);
        }
        let room = self.requests.acquire(units(bytes));
        let room = timeout(self.limits.body_time_max, room).await;
        room.map(Some).map_err(|_| {
            let why = format!(
                "requests of {} bytes together are being answered, as many as fit; try again later",
                self.limits.requests_bytes_max
            );
            Response::text(StatusCode::SERVICE_UNAVAILABLE, why).with_header(RETRY_AFTER, PAUSE)
        })
    }

    async fn read(&self, body: &mut Incoming) -> Result<Bytes, Response> {
        let limit = self.limits.body_bytes_max;
        let too_large = || {
            let why = format!("the body is larger than the {limit} bytes allowed");
            Response::text(StatusCode::PAYLOAD_TOO_LARGE, why)
        };
        if usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX) > limit {
            return Err(too_large());
        }
        let collecting = Limited::new(body, limit).collect();
        match timeout(self.limits.body_time_max, collecting).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => {
                let why = format!("cannot read the body: {error}");
                Err(Response::text(StatusCode::BAD_REQUEST, why))
            }
            Err(_) => {
                let why = format!(
                    "the body took more than {:?} to come",
                    self.limits.body_time_max
                );
                Err(Response::text(StatusCode::REQUEST_TIMEOUT, why))
            }
        }
    }

    /// Reads on for a while, so that a client that is still writing sees the refusal rather than a reset connection.
    async fn discard(&self, body: &mut Incoming) {
        let mut left = self.limits.body_bytes_max;
        let discarding = async {
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(still_left) = left.checked_sub(bytes) else {
                    return;
                };
                left = still_left;
            }
        };
        // Whether all was read or not, the answer is the same.
        drop(timeout(self.limits.body_time_max, discarding).await);
    }

    async fn encode(&self, response: Response, encoding: Encoding) -> Response {
        if !gains_by_compression(&response) {
            return response;
        }
        if encoding == Encoding::Identity || response.body.len() < LARGE_ANSWER_BYTES {
            return compress(response, encoding);
        }
        let place = self.compressions.acquire(1).await;
        let compressing = self.tasks.spawn_blocking("compress an answer", move || {
            let response = compress(response, encoding);
            drop(place);
            response
        });
        compressing.await.unwrap_or_else(|error| {
            let why = format!("the answer could not be compressed: {error}");
            Response::text(StatusCode::INTERNAL_SERVER_ERROR, why)
        })
    }
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// A body, with what lives as long.
struct HeldBody {
    body: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn finish(
    response: Response,
    is_head: bool,
    extra: &[(HeaderName, HeaderValue)],
) -> hyper::Response<Full<Bytes>> {
    let Response {
        status,
        mut headers,
        body,
        held,
    } = response;
    for (name, value) in extra {
        headers.insert(name.clone(), value.clone());
    }
    if is_head {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let body = match held {
        _ if is_head => Bytes::new(),
        None => body,
        Some(_held) => Bytes::from_owner(HeldBody { body, _held }),
    };
    let mut answer = hyper::Response::new(Full::new(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}
