//! Functions that rules and notifications have in common.

mod humanize;
mod links;
mod title;

pub(crate) use humanize::{
    HUMANIZE_DURATION, float, humanize, humanize_1024, percentage, timestamp, to_duration, to_time,
};
pub(crate) use links::{strip_domain, strip_port};
pub(crate) use title::{lower, title, upper};

use std::sync::Arc;

use regex::Regex;

use crate::error::Failure;
use crate::function::{Function, Kind};
use crate::machine::Machine;
use crate::value::{Safe, Value};

pub(crate) const STRING: &[Kind] = &[Kind::String];
const TWO_STRINGS: &[Kind] = &[Kind::String, Kind::String];
const THREE_STRINGS: &[Kind] = &[Kind::String, Kind::String, Kind::String];

/// What compiling a regular expression costs, in steps.
const REGEX_STEPS: u64 = 10_000;
/// How many expressions one rendering keeps compiled.
const REGEXES_MAX: usize = 32;

pub(crate) static COMMON: &[Function] = &[
    Function::new("toUpper", STRING, |machine, args| {
        machine.take_string(upper(args[0].text()))
    }),
    Function::new("toLower", STRING, |machine, args| {
        machine.take_string(lower(args[0].text()))
    }),
    Function::new("match", TWO_STRINGS, |machine, args| {
        let text = args[1].text();
        machine.charge_bytes(text.len())?;
        Ok(regex(machine, args[0].text())?.is_match(text).into())
    }),
    Function::new("reReplaceAll", THREE_STRINGS, |machine, args| {
        replace_all(machine, args[0].text(), args[1].text(), args[2].text())
    }),
    Function::new("safeHtml", STRING, |_, args| {
        Ok(Value::Safe(Safe::Html, Arc::from(args[0].text())))
    }),
    HUMANIZE_DURATION,
];

/// Returns an expression compiled; once in a rendering, unless there are many.
fn regex(machine: &mut Machine<'_>, pattern: &str) -> Result<Regex, Failure> {
    if let Some(regex) = machine.regexes.get(pattern) {
        return Ok(regex.clone());
    }
    machine.charge(REGEX_STEPS)?;
    let regex = model::unanchored_regex(pattern).map_err(|error| error.to_string())?;
    if machine.regexes.len() >= REGEXES_MAX {
        machine.regexes.clear();
    }
    machine.regexes.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}

fn replace_all(
    machine: &mut Machine<'_>,
    pattern: &str,
    replacement: &str,
    text: &str,
) -> Result<Value, Failure> {
    let regex = regex(machine, pattern)?;
    let mut out = machine.new_text();
    let mut expanded = String::new();
    let mut plain_from = 0;
    for captures in regex.captures_iter(text) {
        let Some(found) = captures.get(0) else { break };
        machine.charge(1)?;
        out.push_str(text.get(plain_from..found.start()).unwrap_or_default());
        expanded.clear();
        captures.expand(replacement, &mut expanded);
        out.push_str(&expanded);
        plain_from = found.end();
        if out.is_full() {
            break;
        }
        machine.charge_bytes(expanded.len())?;
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    machine.take_text(out)
}
