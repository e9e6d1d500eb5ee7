//! The Pushgateway's HTTP API, below `/push` and on the unix socket.
//!
//! Statuses, texts and headers are a Pushgateway's. What it has not: `?mode=sum`, `?ttl=` and the header `Push-TTL`, 413 for a body
//! that is too large, 503 while no push can be taken, and 507 when there is no room. Debugging pages and static files are not there.

use std::sync::Arc;

use agent::{PushFailure, Pushing};
use config::Settings;
use http_shell::{
    Caller, Form, Handler, HandlerFuture, Method, Request, Response, StatusCode, header,
};
use push::{Body, GroupKey, PathError, PushError, PushOptions};
use runtime::Token;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// Lets pages of other sites ask the API.
const CORS: [(&str, &str); 5] = [
    (
        "access-control-allow-headers",
        "Accept, Authorization, Content-Type, Origin",
    ),
    ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "Date"),
    ("cache-control", "no-cache, no-store, must-revalidate"),
];

/// The routes, wherever they begin.
#[derive(Clone, Debug)]
pub(crate) struct PushRoutes {
    pushing: Pushing,
    switches: Arc<Switches>,
}

/// What the settings allow, and show.
#[derive(Debug)]
struct Switches {
    admin: bool,
    /// Stops the process; `None`: not by HTTP.
    quit: Option<Token>,
    flags: Vec<(&'static str, String)>,
}

/// What a request was for, as `pushgateway_http_requests_total` calls it; what has no name is not counted.
type Answered = (&'static str, Response);

impl PushRoutes {
    pub(crate) fn new(pushing: Pushing, settings: &Settings, stop: &Token) -> Self {
        let flags = settings.shown();
        let quit = settings.switch("web.enable-lifecycle");
        let switches = Switches {
            admin: settings.switch("web.enable-admin-api"),
            quit: quit.then(|| stop.clone()),
            flags: flags.map(|(name, text)| (name, text.to_owned())).collect(),
        };
        Self {
            pushing,
            switches: Arc::new(switches),
        }
    }

    /// Answers a request; `path` is what follows the prefix that the API has.
    pub(crate) async fn answer(&self, request: &Request, path: &str) -> Response {
        let (handler, response) = match path {
            "/metrics" => only(&request.method, &[Method::GET], || {
                let shown = super::exposition(request, |format| self.pushing.expose(format));
                ("", shown)
            }),
            _ if path.starts_with("/metrics/") => self.group(request, path).await,
            _ => self.rest(request, path),
        };
        if !handler.is_empty() {
            let method = request.method.as_str().to_ascii_lowercase();
            let code = response.status;
            self.pushing
                .metrics()
                .answered(handler, &method, code.as_str());
        }
        response
    }

    fn rest(&self, request: &Request, path: &str) -> Answered {
        let method = &request.method;
        let get = &[Method::GET][..];
        match path {
            "/" | "/status" => only(method, get, || {
                (
                    "status",
                    Response::new(StatusCode::OK, HTML, self.pushing.page()),
                )
            }),
            "/-/ready" => only(method, get, || ("ready", self.health())),
            "/-/healthy" => only(method, get, || ("healthy", self.health())),
            "/-/quit" => self.quit(method),
            "/api/v1/admin/wipe" if self.switches.admin && *method != Method::OPTIONS => {
                only(method, &[Method::PUT], || {
                    self.pushing.wipe();
                    ("wipe", Response::empty(StatusCode::ACCEPTED))
                })
            }
            _ if path.starts_with("/api/v1/") => {
                let (handler, response) = self.api(method, path);
                (handler, with_cors(response))
            }
            _ => ("", not_found()),
        }
    }

    fn api(&self, method: &Method, path: &str) -> Answered {
        if *method == Method::OPTIONS {
            return ("api/v1/options", Response::empty(StatusCode::OK));
        }
        let json = |body: String| Response::new(StatusCode::OK, JSON, body);
        let get = &[Method::GET][..];
        match path {
            "/api/v1/status" => only(method, get, || {
                let flags = self.switches.flags.iter();
                let flags = flags.map(|(name, text)| (*name, text.as_str()));
                ("api/v1/status", json(self.pushing.status_json(flags)))
            }),
            "/api/v1/metrics" => only(method, get, || {
                ("api/v1/metrics", json(self.pushing.metrics_json()))
            }),
            _ => ("", not_found()),
        }
    }

    fn health(&self) -> Response {
        match self.pushing.unhealthy() {
            None => plain(StatusCode::OK, "OK"),
            Some(why) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, why),
        }
    }

    fn quit(&self, method: &Method) -> Answered {
        let response = match (method, &self.switches.quit) {
            (&Method::GET, _) => {
                let why = "Only POST or PUT requests allowed.";
                plain(StatusCode::METHOD_NOT_ALLOWED, why)
            }
            (&Method::PUT | &Method::POST, None) => {
                plain(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
            }
            (&Method::PUT | &Method::POST, Some(stop)) => {
                tracing::warn!("asked over HTTP to stop");
                stop.stop();
                plain(StatusCode::OK, "Requesting termination... Goodbye!")
            }
            _ => return refused_method(method, &[Method::GET, Method::POST, Method::PUT]),
        };
        ("", response)
    }

    async fn group(&self, request: &Request, path: &str) -> Answered {
        let key = self.pushing.key(path, cgroup(&request.caller));
        if key == Err(PathError::NoGroup) {
            return ("", not_found());
        }
        match request.method {
            Method::PUT | Method::POST => ("push", self.push(request, key).await),
            Method::DELETE => ("delete", self.delete(key)),
            _ => refused_method(
                &request.method,
                &[Method::DELETE, Method::POST, Method::PUT],
            ),
        }
    }

    async fn push(&self, request: &Request, key: Result<GroupKey, PathError>) -> Response {
        let clock = self.pushing.clock();
        let begun = clock.monotonic();
        let response = self.push_uncounted(request, key).await;
        let took = clock.monotonic().saturating_since(begun);
        let method = request.method.as_str().to_ascii_lowercase();
        let metrics = self.pushing.metrics();
        metrics.pushed(&method, took, request.body.len());
        response
    }

    async fn push_uncounted(
        &self,
        request: &Request,
        key: Result<GroupKey, PathError>,
    ) -> Response {
        let query = Form::parse([request.query.as_str()]);
        let ttl = header::HeaderName::from_static("push-ttl");
        let ttl = query.get("ttl").or_else(|| request.header(ttl));
        let replaces = request.method == Method::PUT;
        let options = PushOptions::read(replaces, query.get("mode"), ttl);
        let (key, options) = match (key, options) {
            (Ok(key), Ok(options)) => (key, options),
            (Err(error), _) => return Response::text(StatusCode::BAD_REQUEST, error),
            (_, Err(error)) => return failed(&error.into()),
        };
        let body = Body {
            content_type: request.header(header::CONTENT_TYPE).unwrap_or_default(),
            content_encoding: request.header(header::CONTENT_ENCODING).unwrap_or_default(),
            bytes: &request.body,
        };
        match self.pushing.push(&key, &body, options).await {
            Ok(()) if self.pushing.checks() => Response::empty(StatusCode::OK),
            Ok(()) => Response::empty(StatusCode::ACCEPTED),
            Err(failure) => failed(&failure),
        }
    }

    fn delete(&self, key: Result<GroupKey, PathError>) -> Response {
        match key {
            Ok(key) => {
                self.pushing.delete(&key);
                Response::empty(StatusCode::ACCEPTED)
            }
            Err(error) => Response::text(StatusCode::BAD_REQUEST, error),
        }
    }
}

/// The unix socket's: everyone reaches it, so there are groups only, each caller's own.
#[derive(Debug)]
pub(crate) struct SocketRoutes(pub(crate) PushRoutes);

impl Handler for SocketRoutes {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            let path = request.path.strip_prefix("/push").unwrap_or(&request.path);
            let is_health = matches!(path, "/-/ready" | "/-/healthy");
            if path.starts_with("/metrics/") || is_health {
                self.0.answer(&request, path).await
            } else {
                not_found()
            }
        })
    }
}

fn cgroup(caller: &Caller) -> Option<&str> {
    match caller {
        Caller::Process { cgroup, .. } => Some(cgroup),
        Caller::Local { .. } | Caller::Remote { .. } => None,
    }
}

fn failed(failure: &PushFailure) -> Response {
    let status = match failure {
        PushFailure::Refused(PushError::Full(_)) => StatusCode::INSUFFICIENT_STORAGE,
        PushFailure::Refused(PushError::BodyTooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
        PushFailure::Refused(_) => StatusCode::BAD_REQUEST,
        PushFailure::Crowded(_) | PushFailure::Closed => StatusCode::SERVICE_UNAVAILABLE,
    };
    Response::text(status, failure)
}

/// Answers with `answer` when the method is one of these; says which there are otherwise.
fn only(method: &Method, allowed: &[Method], answer: impl FnOnce() -> Answered) -> Answered {
    if allowed.contains(method) {
        answer()
    } else {
        refused_method(method, allowed)
    }
}

fn refused_method(method: &Method, allowed: &[Method]) -> Answered {
    let mut names: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    names.push("OPTIONS");
    names.sort_unstable();
    let response = if *method == Method::OPTIONS {
        Response::empty(StatusCode::OK)
    } else {
        Response::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    };
    let allowed = names.join(", ");
    let allowed = allowed.parse().expect("methods are words");
    ("", response.with_header(header::ALLOW, allowed))
}

fn not_found() -> Response {
    Response::text(StatusCode::NOT_FOUND, "404 page not found")
}

/// A text without a line feed.
fn plain(status: StatusCode, text: &'static str) -> Response {
    Response::new(status, "text/plain; charset=utf-8", text)
}

fn with_cors(response: Response) -> Response {
    CORS.iter().fold(response, |response, (name, value)| {
        let name = header::HeaderName::from_static(name);
        response.with_header(name, header::HeaderValue::from_static(value))
    })
}

#[cfg(test)]
mod tests;
