//! Alerts to people: routes, grouping, inhibition, silences, notifications.
//!
//! So far here: Alertmanager's configuration file, unmodified ([`Config`]), its matchers in both of its dialects ([`parse_matchers`]) and
//! its time intervals ([`TimeInterval`]).
//!
//! Never here: PromQL, how samples are stored, clocks.

#![forbid(unsafe_code)]

mod config;
mod matcher;
mod time_interval;

pub use config::{
    Config, Credential, GroupBy, Groups, InhibitRule, Integration, IntegrationKind, Receiver,
    Route, Setting, Settings,
};
pub use matcher::{MatcherMode, ParsedMatchers, format_matcher, parse_matchers};
pub use time_interval::TimeInterval;
