//! HTTP/1.1 for everyone alike: a bounded server and small clients on hyper, over TCP, TLS and unix sockets.
//!
//! Both programs serve HTTP, so what every listener needs stands here once: limits on connections, heads, bodies and time; gzip and zstd;
//! exporter-toolkit's web configuration (TLS, basic authentication, headers), read again when it changes; an ordered stop. A
//! [`Handler`] sees whole requests and answers whole responses; when a client goes away, its handler's future is dropped. Connections that
//! can wait may be left to workers of their own ([`Patient`]).
//!
//! Why not a web framework: the routes are few and fixed, and hyper with these files is a tenth of the code. Why not in `runtime`
//! or `api`: `runtime` stands below `transport`, which TLS comes from, and the agent may not use `api`.
//!
//! Never here: routes, JSON, what a request means.

#![forbid(unsafe_code)]

mod auth;
mod client;
mod dial;
mod encoding;
mod exchange;
mod form;
mod getter;
mod lenient;
mod limits;
mod listen;
mod message;
mod outgoing;
mod pieces;
mod serve;
mod stall;
mod web;

pub use client::{Client, ClientError, Reply, Target};
pub use dial::{DialError, Reach, dial};
pub use form::{Form, decode_component, encode_component};
pub use getter::{Answer, Getter};
pub use hyper::{Method, StatusCode, header};
pub use limits::Limits;
pub use listen::{BindError, Listen};
pub use message::{Caller, Handler, HandlerFuture, Held, Request, Response};
pub use outgoing::{Call, HttpUrl, Outgoing, OutgoingConfig, OutgoingError, Proxy};
pub use serve::{Patient, Server, ServerStats};
