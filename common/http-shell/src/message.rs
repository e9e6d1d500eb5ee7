//! Requests and responses as values.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

use crate::Form;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Over TCP, from this address; with TLS and basic authentication as the web configuration demands.
    Remote {
        /// The address.
        address: SocketAddr,
        /// The user that basic authentication found.
        user: Option<String>,
    },
    /// Over a unix socket of the owner's, with the user id that the kernel vouches for.
    Local {
        /// The user id.
        uid: u32,
    },
    /// Over a unix socket that is open to everyone on the machine, with what the kernel vouches for.
    Process {
        /// The user id.
        uid: u32,
        /// What `/proc/PID/cgroup` said of it when the connection was accepted; empty when it was gone by then, or cannot be
        /// seen from here.
        cgroup: Arc<str>,
    },
}

/// A whole request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, POST, ...
    pub method: Method,
    /// The path, still percent-encoded; starts with `/`.
    pub path: String,
    /// What follows the `?`, still encoded.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`crate::Limits::body_bytes_max`].
    pub body: Bytes,
    /// Who calls.
    pub caller: Caller,
}

impl Request {
    /// Returns a header's value, when there is one and it is text.
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the parameters: of the query string, and of the body when it is a form and the method is one that has a body.
    pub fn form(&self) -> Form {
        let kind = self.header(CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        let is_form = has_body && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        // As in Go's ParseForm, values of the body come first.
        let body = if is_form {
            String::from_utf8_lossy(&self.body)
        } else {
            Cow::default()
        };
        Form::parse([&*body, self.query.as_str()])
    }
}

/// Something that lives as long as the body of a response: until it is sent, or given up. An account of its memory, say.
pub type Held = Arc<dyn fmt::Debug + Send + Sync>;

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers; length, date and encoding are added by the server.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Dropped with the body.
    pub held: Option<Held>,
}

impl Response {
    /// Returns a response without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            held: None,
        }
    }

    /// Returns a response with a body of this content type.
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::empty(status)
            .with_header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with_body(body)
    }

    /// Returns a plain text, a newline added.
    pub fn text(status: StatusCode, text: impl fmt::Display) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// Sets a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// An answer to come.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Answers requests. The future is dropped when the client goes away: whatever it started must then stop.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request) -> HandlerFuture<'_>;
}
