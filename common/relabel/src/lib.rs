//! Relabelling as Prometheus does it: rules that change or drop label sets, for targets, scraped samples and alerts alike.
//!
//! A [`Rule`] is read from YAML and checked once ([`Rule::read`]); [`apply`] then runs a list of them over a label set. Expressions
//! have RE2's syntax and are anchored; templates expand `$1`, `${name}` and `$$` exactly as Go's `regexp` does.
//!
//! # Invariants
//! - A rule that was read can be applied to any labels: nothing fails then, and nothing panics.
//! - A value that a rule makes has at most [`VALUE_BYTES_MAX`] bytes; a rule that would make a longer one changes nothing.
//!
//! Never here: where labels come from, IO.

#![forbid(unsafe_code)]

mod letters;
mod md5;
mod names;
mod rule;
mod template;

pub use names::Names;
pub use rule::{Rule, apply, read_rules};

/// The longest value that a rule makes, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
