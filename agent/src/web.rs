//! What the agent serves over HTTP.

use agent::{AgentView, ChoiceError};
use exposition::{Format, Media, to_protobuf};
use http_shell::{Handler, HandlerFuture, Method, Request, Response, StatusCode, header};

mod push;

pub(crate) use push::{PushRoutes, SocketRoutes};

const INDEX: &str = "promontory-agent\n\n/metrics       this node, as node_exporter has it; ?collect[]=NAME and ?exclude[]=NAME choose collectors\n/metrics/cadvisor  this node's containers, as a kubelet has them\n/metrics/self  this agent\n/push/         pushed groups: the API of a Pushgateway begins here\n/api/v1/targets  what is scraped, as Prometheus shows it\n/-/healthy\n/-/ready";

/// Where the push API begins.
const PUSH: &str = "/push";

/// The routes of the agent.
#[derive(Debug)]
pub(crate) struct Routes {
    view: AgentView,
    push: PushRoutes,
}

impl Routes {
    pub(crate) const fn new(view: AgentView, push: PushRoutes) -> Self {
        Self { view, push }
    }

    async fn answer(&self, request: &Request) -> Response {
        if request.method != Method::GET && request.method != Method::HEAD {
            let allowed = header::HeaderValue::from_static("GET, HEAD");
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD")
                .with_header(header::ALLOW, allowed);
        }
        match request.path.as_str() {
            "/metrics" => self.node(request).await,
            "/metrics/cadvisor" => {
                exposition(request, |format| self.view.expose_containers(format))
            }
            "/metrics/self" => exposition(request, |format| self.view.expose_self(format)),
            "/api/v1/targets" => {
                let targets = agent::targets_json(&self.view.scraping().pools());
                Response::new(StatusCode::OK, "application/json", targets)
            }
            "/-/healthy" => Response::text(StatusCode::OK, "healthy"),
            "/-/ready" => self.readiness(),
            "/" => Response::text(StatusCode::OK, INDEX),
            _ => Response::text(StatusCode::NOT_FOUND, "not found; / lists what there is"),
        }
    }

    /// The last rows; with `collect[]` or `exclude[]`, what the chosen collectors say now.
    async fn node(&self, request: &Request) -> Response {
        let form = request.form();
        let [collect, exclude] =
            ["collect[]", "exclude[]"].map(|name| form.all(name).collect::<Vec<&str>>());
        if collect.is_empty() && exclude.is_empty() {
            return exposition(request, |format| self.view.expose_node(format));
        }
        let media = media_of(request);
        let format = format_in(media);
        match self.view.expose_chosen(&collect, &exclude, format).await {
            Ok(text) => shown(media, text),
            Err(error @ ChoiceError::Broken(_)) => {
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            Err(error) => Response::text(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }

    fn readiness(&self) -> Response {
        let unmet = self.view.unmet();
        if unmet.is_empty() {
            return Response::text(StatusCode::OK, "ready");
        }
        let reasons: Vec<String> = unmet.iter().map(ToString::to_string).collect();
        Response::text(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n"))
    }
}

impl Handler for Routes {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        Box::pin(async move {
            match request.path.strip_prefix(PUSH) {
                Some("") => {
                    let base = header::HeaderValue::from_static("/push/");
                    Response::empty(StatusCode::MOVED_PERMANENTLY)
                        .with_header(header::LOCATION, base)
                }
                Some(path) if path.starts_with('/') => self.push.answer(&request, path).await,
                _ => self.answer(&request).await,
            }
        })
    }
}

/// Answers with an exposition in the form that the client likes best.
fn exposition(request: &Request, expose: impl FnOnce(Format) -> String) -> Response {
    let media = media_of(request);
    shown(media, expose(format_in(media)))
}

fn media_of(request: &Request) -> Media {
    Media::negotiate(request.header(header::ACCEPT).unwrap_or_default())
}

/// Returns the format to write in: what shall be protobuf is text first.
const fn format_in(media: Media) -> Format {
    match media {
        Media::Text(format) => format,
        Media::Protobuf => Format::Text,
    }
}

fn shown(media: Media, text: String) -> Response {
    match media {
        Media::Text(_) => Response::new(StatusCode::OK, media.content_type(), text),
        Media::Protobuf => match to_protobuf(&text) {
            Ok(bytes) => Response::new(StatusCode::OK, media.content_type(), bytes),
            Err(error) => {
                let why = format!("what was written cannot be read: {error}");
                Response::text(StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::sync::Arc;

    use agent::{Agent, AgentConfig, Surroundings};
    use clock::SystemClock;
    use config::Environment;
    use files::Disk;
    use http_shell::Caller;
    use runtime::{Tasks, Token};
    use telemetry::Registry;

    use super::*;

    async fn routes() -> Routes {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            files: Arc::new(Disk),
            clock: Arc::new(SystemClock::new()),
            registry: Registry::new(),
            tasks: Tasks::new("test"),
        };
        let own = surroundings
            .registry
            .counter("own_total", "What is said of oneself.");
        own.add(7);
        let config = AgentConfig::new("127.0.0.1:1", folder.path().join("spool"));
        let view = Agent::start(config, surroundings).await.unwrap().view();
        let arguments = ["promontory-agent", "run"].map(OsString::from);
        let read = agent::program().read(arguments, Environment::of(&[]), &[]);
        let pushes = PushRoutes::new(view.pushing(), &read.unwrap().settings, &Token::new());
        Routes::new(view, pushes)
    }

    fn request(method: Method, path: &str, accept: &'static str) -> Request {
        let headers = [(header::ACCEPT, header::HeaderValue::from_static(accept))];
        Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: headers.into_iter().collect(),
            body: Default::default(),
            caller: Caller::Local { uid: 0 },
        }
    }

    #[tokio::test]
    async fn collectors_are_chosen_by_parameters() {
        let routes = routes().await;
        for (query, status, part) in [
            ("collect[]=time&collect[]=uname", 200, "node_time_seconds"),
            ("collect%5B%5D=cpus", 400, "there is no collector"),
            ("collect[]=time&exclude[]=time", 400, "both given"),
        ] {
            let request = Request {
                query: query.to_owned(),
                ..request(Method::GET, "/metrics", "")
            };
            let answer = routes.handle(request).await;
            assert_eq!(answer.status.as_u16(), status, "{query}");
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(body.contains(part), "{query}: {body}");
            assert!(!body.contains("node_load1"), "{query}: {body}");
        }
    }

    #[tokio::test]
    async fn every_route_answers_before_anything_was_collected() {
        let routes = routes().await;
        const OPEN_METRICS: &str = "application/openmetrics-text";
        const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;q=0.3";
        for (method, path, accept, status, content_type, part) in [
            (Method::GET, "/", "", 200, "text/plain", "/metrics/self"),
            (
                Method::GET,
                "/metrics",
                "",
                200,
                "text/plain; version=0.0.4",
                "",
            ),
            (
                Method::GET,
                "/metrics",
                OPEN_METRICS,
                200,
                OPEN_METRICS,
                "# EOF",
            ),
            (
                Method::GET,
                "/metrics/self",
                PROTOBUF,
                200,
                "application/vnd.google.protobuf",
                "own_total",
            ),
            (
                Method::GET,
                "/push/metrics",
                OPEN_METRICS,
                200,
                OPEN_METRICS,
                "# EOF",
            ),
            (
                Method::GET,
                "/metrics/cadvisor",
                OPEN_METRICS,
                200,
                OPEN_METRICS,
                "# EOF",
            ),
            (
                Method::HEAD,
                "/metrics/self",
                "*/*",
                200,
                "text/plain; version=0.0.4",
                "own_total 7",
            ),
            (
                Method::GET,
                "/api/v1/targets",
                "",
                200,
                "application/json",
                "activeTargets",
            ),
            (Method::GET, "/-/healthy", "", 200, "text/plain", "healthy"),
            (
                Method::GET,
                "/-/ready",
                "",
                503,
                "text/plain",
                "identity: the agent has not joined",
            ),
            (Method::GET, "/other", "", 404, "text/plain", "not found"),
            (Method::POST, "/metrics", "", 405, "text/plain", "only GET"),
            (
                Method::GET,
                "/push/",
                "",
                200,
                "text/html",
                "Nothing is pushed",
            ),
            (
                Method::GET,
                "/push/metrics",
                "",
                200,
                "text/plain",
                "pushgateway_build_info",
            ),
            (Method::GET, "/pushed", "", 404, "text/plain", "not found"),
        ] {
            let answer = routes.handle(request(method, path, accept)).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
            let kind = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
            assert!(kind.starts_with(content_type), "{path}: {kind}");
            let body = String::from_utf8_lossy(&answer.body);
            assert!(body.contains(part), "{path}: {body}");
        }
    }
}
