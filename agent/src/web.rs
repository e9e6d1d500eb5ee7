//! What the agent serves over HTTP.

use agent::AgentView;
use exposition::Format;
use http_shell::{Handler, HandlerFuture, Method, Request, Response, StatusCode, header};

const INDEX: &str = "promontory-agent\n\n/metrics       this node, as node_exporter has it\n/metrics/self  this agent\n/-/healthy\n/-/ready";

/// The routes of the agent.
#[derive(Debug)]
pub(crate) struct Routes {
    view: AgentView,
}

impl Routes {
    pub(crate) const fn new(view: AgentView) -> Self {
        Self { view }
    }

    fn answer(&self, request: &Request) -> Response {
        if request.method != Method::GET && request.method != Method::HEAD {
            let allowed = header::HeaderValue::from_static("GET, HEAD");
            return Response::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD")
                .with_header(header::ALLOW, allowed);
        }
        match request.path.as_str() {
            "/metrics" => exposition(request, |format| self.view.expose_node(format)),
            "/metrics/self" => exposition(request, |format| self.view.expose_self(format)),
            "/-/healthy" => Response::text(StatusCode::OK, "healthy"),
            "/-/ready" => self.readiness(),
            "/" => Response::text(StatusCode::OK, INDEX),
            _ => Response::text(StatusCode::NOT_FOUND, "not found; / lists what there is"),
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
        Box::pin(async move { self.answer(&request) })
    }
}

fn exposition(request: &Request, expose: impl FnOnce(Format) -> String) -> Response {
    let format = Format::negotiate(request.header(header::ACCEPT).unwrap_or_default());
    Response::new(StatusCode::OK, format.content_type(), expose(format))
}
