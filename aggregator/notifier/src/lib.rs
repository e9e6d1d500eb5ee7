//! Alerts of rules to Alertmanagers that run elsewhere, as Prometheus sends them.
//!
//! ```text
//! alerting: ─> Config ─┬─ static and file targets ─> relabelling ─> URL ─┐
//!                      └─ relabelling of alerts, credentials ────────────┴─> a queue and a task for each Alertmanager
//! ```
//!
//! [`Config`] is the section `alerting` of Prometheus' configuration. [`Notifier`] takes alerts and posts them to API v2 of every
//! Alertmanager, in batches.
//!
//! # Invariants
//! - Each Alertmanager has a queue of its own, so that one that hangs keeps no other from hearing. A full queue loses its oldest alert,
//!   and counts it.
//! - A batch is posted once, within the timeout. What fails is counted and not tried again: whoever sends an alert sends it again
//!   every resend delay, as long as it fires and for a while after it is over, and by then it is the truth of that time.
//! - A new configuration takes hold at once; what waits in the queues of the old one is still posted.
//!
//! Never here: when an alert fires, people, grouping.

#![forbid(unsafe_code)]

mod alert;
mod alertmanagers;
mod config;
mod metrics;
mod notifier;

pub use alert::Alert;
pub use alertmanagers::Alertmanagers;
pub use config::{Config, SECTION};
pub use notifier::{Notifier, NotifierConfig};
