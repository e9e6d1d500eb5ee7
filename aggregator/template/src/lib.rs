//! Go's text/template and html/template, as rules, consoles and notifications use them.
//!
//! [`Templates`] holds what files define; [`Templates::compile`] makes a [`Program`] of a text, and [`Program::render`] renders it
//! with a [`Value`]. [`RuleTemplate`] does so for the labels and annotations of alerting rules, and [`Notification`] is what
//! Alertmanager gives to its templates. What a template asks of the world (the time, an answer to a query) comes from an
//! [`Environment`].
//!
//! The language is Go's, whole: pipelines, variables, `if`, `with`, `range` over lists, maps and integers, `break`, `continue`,
//! `define`, `block`, methods on typed values, Go's printing. A missing key is its type's zero (`missingkey=zero`), as Prometheus and
//! Alertmanager have it. Left out are complex numbers, channels and functions as values, which no data here has.
//!
//! Texts are UTF-8: where Go would cut a character in two, U+FFFD stands.
//!
//! Templates are foreign: parsing and rendering bound nesting, steps, the size of every value and of the output ([`Limits`]).
//! Pure: no IO, no clock, no global state.

#![forbid(unsafe_code)]

mod ast;
mod builtins;
mod environment;
mod error;
mod escape;
mod format;
mod function;
mod functions;
mod html;
mod json;
mod lexer;
mod literal;
mod machine;
mod notifications;
mod parser;
mod rules;
mod templates;
mod time;
mod value;

pub use environment::{Environment, Fixed, Sample, SampleValue};
pub use error::{Error, ErrorKind};
pub use format::quote;
pub use literal::unquote;
pub use machine::{DEPTH_MAX, Limits};
pub use notifications::{Alert, NOTIFICATION_FUNCTIONS, Notification, RouteLabels};
pub use parser::{NESTING_MAX, TEXT_BYTES_MAX};
pub use rules::{CONSOLE_FUNCTIONS, RULE_FUNCTIONS, RuleData, RuleTemplate};
pub use templates::{Functions, Mode, Program, Templates};
pub use time::{Civil, Duration, Time, Zone};
pub use value::{List, Map, NamedInts, Safe, Struct, VALUE_DEPTH_MAX, Value};
