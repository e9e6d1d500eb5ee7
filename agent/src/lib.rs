//! The agent as a library: what the binary `promontory-agent` runs, and `promontory up` beside its aggregator.
//!
//! ```text
//! clock ─> schedule ─> collection ──(queue of updates)──> uplink ─> spool ─> aggregator
//!                        │   └─ rows of host and own metrics
//!                        └─> latest rows ─> /metrics
//!                        ├─> latest rows of containers ─> /metrics/cadvisor
//! /push ─> pushing ───────(the same queue)────> uplink
//! targets ─> scraping ────(the same queue)────> uplink
//! ```
//!
//! [`Agent::start`] opens identity and spool; [`Agent::run`] joins if need be, collects and sends until it is told to stop.
//! [`AgentView`] is what others may see of it meanwhile.
//!
//! Invariants:
//! - Ticks stand at fixed multiples of the interval on the monotonic clock. What could not be done in time is counted, never done
//!   later; a tick for which the queue has no room is not collected at all, so that rows are counted without gaps.
//! - Stopping has an order: collecting ends, the uplink drains and syncs the spool, then the caller's HTTP server goes.
//! - A restart needs no token: identity and certificates lie beside the spool.
//!
//! Never here: what a collector reads (`host`), how targets are scraped (`scrape`), how rows travel (`uplink`), how they wait (`spool`).

#![forbid(unsafe_code)]

mod agent;
mod chosen;
mod collection;
mod collector;
mod config;
mod container_rows;
mod error;
mod flags;
mod joining;
mod latest;
mod ledger;
mod metrics;
mod program;
mod pushing;
mod run_of_rows;
mod schedule;
mod scraping;
mod view;

pub use agent::{Agent, Surroundings};
pub use chosen::{ChoiceError, exposed};
pub use config::{AgentConfig, TokenSource, collecting, container_config, host_config, jobs};
pub use container_rows::{ContainerConfig, NameSource, exposed_containers};
pub use error::AgentError;
pub use flags::{COLLECTOR_OPTIONS, COLLECTORS, CONTAINERS, INTERVAL, PATHS};
pub use ledger::{LEDGER_JOB, ledger_value};
pub use program::{COLLECT, RUN, SECTIONS, program};
pub use pushing::{PushConfig, PushFailure, Pushing};
pub use scraping::{Scraping, targets_json};
pub use view::AgentView;
