//! The HTTP API of the aggregator: Prometheus' routes, envelopes, codes and JSON, and our own beside them.
//!
//! [`Api`] answers whole requests; whoever owns the sockets (`http_shell`) hands them in. Queries run on blocking threads, as many
//! at once as [`ApiConfig::query_concurrency`] says; each has a budget of time, samples and memory, and stops when its caller goes
//! away, or an operator cancels it: those that wait and run are listed, slow ones logged. JSON is written straight from the engine's columns.
//!
//! All JSON shapes of the HTTP API stand here and nowhere else; no library may use this crate.

#![forbid(unsafe_code)]

mod admin;
mod agents;
mod alertmanager;
mod api;
mod budget;
mod control;
mod envelope;
mod json;
mod local;
mod metadata;
mod own_metrics;
mod parameters;
mod query;
mod query_memory;
mod raw_samples;
mod route;
mod rules;
mod running;
mod samples;
mod status;
mod syntax;
mod thread;
mod tsdb;
mod write;

pub use admin::{Admin, AdminError, Counts, HeadReport, PartitionReport, Replay};
pub use alertmanager::{AlertmanagerApi, AlertmanagerUrls, Cluster, ClusterMember, read_silences};
pub use api::{Api, ApiConfig, Parts};
pub use budget::QueryLimits;
pub use control::{Build, Control, RuntimeInfo};
pub use local::LocalApi;
pub use parameters::parse_time;
pub use raw_samples::read_samples;
