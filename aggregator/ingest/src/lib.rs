//! The way into the store: agents' rows (sessions, join tokens, who is here), and remote write.
//!
//! [`Session`] is the protocol's aggregator side as a state machine without sockets, tasks and clocks; the simulator drives it as
//! it is, and [`Service`] drives it over real connections. [`Agents`] knows which run of an agent holds its id. [`Tokens`] says who may
//! join. Labels that identify an agent are enforced here, from its certificate. [`RemoteWrite`] takes what others send by HTTP.
//!
//! # Invariants
//! - A batch is acknowledged only after the store said that it is durable.
//! - What an agent says never becomes a label `node`, `cluster` or `tenant`.
//! - One agent has at most a window of batches in memory here; what the store is too busy to take stops the reading of that
//!   connection, and of no other.
//!
//! Never here: how samples are stored, HTTP, JSON, PromQL.

#![forbid(unsafe_code)]

mod agents;
mod completions;
mod identity;
mod metrics;
mod remote_write;
mod service;
mod session;
mod tokens;

pub use agents::{AgentView, Agents, Arrival, CLOCK_SKEW_MAX, Generation, OWN_ID, RULES_ID, Wake};
pub use metrics::Metrics;
pub use remote_write::{
    Admitted, Protocol, REMOTE_WRITE_ID, Readied, Rejections, RemoteWrite, RemoteWriteConfig,
    WriteError, WriteOutcome, Written,
};
pub use service::Service;
pub use session::{Flow, Now, ProtocolError, Session, Shared};
pub use tokens::{JoinError, TokenInfo, TokenTerms, Tokens, TokensError};
