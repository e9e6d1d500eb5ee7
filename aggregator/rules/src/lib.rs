//! Recording and alerting rules: files, checks, evaluation, state that survives restarts, unit tests.
//!
//! [`RuleFile`] reads Prometheus' rule files. [`Rules`] holds the groups of a configuration, says when each is due and evaluates it:
//! questions go to [`Queries`], results to a [`Recorder`], alerts to an [`AlertSink`], and what must survive a restart to a
//! [`files::KeyValue`]. [`UnitTests`] runs promtool's unit tests on a store in memory.
//!
//! Invariants:
//! - Evaluation is synchronous and deterministic: time is handed in, and the same answers give the same samples and alerts.
//! - An alert's state is durable before anybody is told of it: a crash repeats a notice, and never forgets one.
//! - A rule sees what the rules before it have recorded, whatever is evaluated at once.
//! - What late rows have changed of the past is evaluated again, and nobody is told of it ([`LatePass`]).
//! - A rule that fails, or has too many results, says so in its health; its series and alerts stay as they were.
//!
//! Never here: clocks, sockets, tasks, what becomes of an alert.

#![forbid(unsafe_code)]

mod alert;
mod bundle;
mod dependencies;
mod file;
mod glob;
mod group;
mod late;
mod lint;
mod recorder;
mod relabelled;
mod rule;
mod rules;
mod state;
mod unit_test;
mod world;

pub use alert::{Alert, AlertSink, AlertState, Amendment, Notice};
pub use bundle::{Bundle, bundles};
pub use file::{AlertSpec, FileOptions, GroupSpec, RuleFile, RuleKind, RuleSpec};
pub use glob::glob;
pub use group::{AlertView, Counts, Group, GroupKey, GroupView, RuleView};
pub use late::{LateCounts, LatePass, LateSettings};
pub use lint::Duplicates;
pub use recorder::{MemoryRecorder, StoreRecorder};
pub use rule::{Evaluated, Health};
pub use rules::{Due, Rules};
pub use unit_test::{Case, Junit, Tested, UnitTestOptions, UnitTests};
pub use world::{
    Answer, DirectQueries, Queries, Question, RecordedSample, Recorder, Settings, World, elements,
};
