//! One request and its answer: who calls, the body, the handler, the encoding.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, EXPECT, HeaderName, HeaderValue, WWW_AUTHENTICATE,
};
use runtime::{Permit, Permits, Tasks};
use tokio::time::timeout;

use crate::encoding::{accepts_gzip, compress, gains_by_gzip};
use crate::serve::Counters;
use crate::web::{Web, WebState};
use crate::{Caller, Handler, Limits, Method, Request, Response, StatusCode};

/// Bodies up to here are taken without counting: a connection may cost as much anyway.
const SMALL_BODY_BYTES: u64 = 64 * 1024;
/// Compressing more takes a millisecond or longer: it moves to a thread where nobody waits behind it.
const LARGE_ANSWER_BYTES: usize = 256 * 1024;

/// Answers the requests of all connections.
pub(crate) struct Exchanges {
    limits: Limits,
    web: Arc<Web>,
    large_bodies: Permits,
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
            large_bodies: Permits::new("large request bodies", limits.large_bodies_max),
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
        let gzip = accepts_gzip(request.headers());
        let answered = self.respond(request, caller, handler, &web).await;
        let response = answered.unwrap_or_else(|refusal| refusal);
        let response = self.encode(response, gzip).await;
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
        // Held until the answer is there: so long the body is in memory.
        let _room = self.room_for(&body).await?;
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

    async fn room_for(&self, body: &Incoming) -> Result<Option<Permit>, Response> {
        if body
            .size_hint()
            .upper()
            .is_some_and(|bytes| bytes <= SMALL_BODY_BYTES)
        {
            return Ok(None);
        }
        let room = timeout(self.limits.body_time_max, self.large_bodies.acquire(1)).await;
        room.map(Some).map_err(|_| {
            let why = format!(
                "{} large requests are being answered, as many as fit; try again later",
                self.limits.large_bodies_max
            );
            Response::text(StatusCode::SERVICE_UNAVAILABLE, why)
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

    async fn encode(&self, response: Response, gzip: bool) -> Response {
        if !gains_by_gzip(&response) {
            return response;
        }
        if !gzip || response.body.len() < LARGE_ANSWER_BYTES {
            return compress(response, gzip);
        }
        let compressing = self
            .tasks
            .spawn_blocking("compress an answer", move || compress(response, gzip));
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

fn finish(
    response: Response,
    is_head: bool,
    extra: &[(HeaderName, HeaderValue)],
) -> hyper::Response<Full<Bytes>> {
    let Response {
        status,
        mut headers,
        body,
    } = response;
    for (name, value) in extra {
        headers.insert(name.clone(), value.clone());
    }
    if is_head {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let body = if is_head { Bytes::new() } else { body };
    let mut answer = hyper::Response::new(Full::new(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}
