//! Alerts to people: routes, grouping, inhibition, silences, notifications.
//!
//! [`Config`] is Alertmanager's configuration file, unmodified, with its matchers in both of its dialects ([`parse_matchers`]) and its
//! time intervals ([`TimeInterval`]). [`RouteTree`] says who is told of an alert. [`Pipeline`] takes alerts and decides who is told
//! what and when, as plain code over explicit state: time comes in, attempts and changes to make durable come out. [`Alerting`] is the
//! shell around it. Receivers are given [`Notification`]s and answer with [`Outcome`]s ([`Deliver`]); [`Sender`] tells all 18 kinds of
//! them, over HTTP and SMTP.
//!
//! What happened to every alert stands in a ledger ([`Event`], [`Pipeline::history`]).
//!
//! Never here: PromQL, how samples are stored, clocks.

#![forbid(unsafe_code)]

mod alert;
mod config;
mod inhibition;
mod ledger;
mod matcher;
mod notification;
mod notification_log;
mod pipeline;
mod receiver;
mod record;
mod recurring_silence;
mod repeat;
mod routing;
mod service;
mod silence;
mod texts;
mod time_interval;

pub use alert::{Alert, Fingerprint, Posted, Span};
pub use config::{
    Config, Credential, GroupBy, Groups, InhibitRule, Integration, IntegrationKind, Receiver,
    Route, Setting, Settings, shown,
};
pub use http_shell::Reach;
pub use ledger::{EVENT_ALERTS_MAX, Event, EventKind, Late};
pub use matcher::{MatcherMode, ParsedMatchers, format_matcher, parse_matcher, parse_matchers};
pub use notification::{
    Attempt, Data, Deliver, Failure, FailureKind, Notification, Outcome, REASON_BYTES_MAX,
    REMEMBERED_BYTES_MAX, Remembered,
};
pub use pipeline::{
    AlertFilter, AlertView, AttemptId, Counts, GroupView, HistoryFilter, PairConfig, PairCounts,
    PairPlace, PairView, Pipeline, PipelineLimits, Record, Sizes, Taken, ToAttempt,
};
pub use receiver::{Preview, Sender, SenderConfig, TemplateFileError, load_templates, preview};
pub use record::Change;
pub use recurring_silence::RecurringSilence;
pub use routing::{RouteNode, RouteTree};
pub use service::{Alerting, Now};
pub use silence::{Silence, SilenceError, SilenceRequest, SilenceState};
pub use texts::{Annotations, Pairs};
pub use time_interval::TimeInterval;
