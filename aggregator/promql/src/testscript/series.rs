//! Descriptions of series: labels, and values in short forms such as `0+10x5`.

use std::sync::Arc;

use model::{CounterReset, Labels, STALE_NAN, Value};

use crate::ast::ExprKind;
use crate::histogram::FloatHistogram;
use crate::parser::number_value;
use crate::{ParserOptions, parse};

/// Items that one series may have.
const ITEMS_MAX: usize = 100_000;

/// A value of a description.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) value: Value,
    /// Whether a histogram's counter reset hint was written.
    pub(super) hint_written: bool,
}

/// A series and its values; `None` is a gap.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) labels: Labels,
    pub(super) items: Vec<Option<Item>>,
}

/// Splits a line into its selector and the rest.
pub(super) fn split(line: &str) -> Result<(&str, &str), String> {
    let end = match line.split_once('{') {
        Some((name, _)) if !name.contains(char::is_whitespace) => {
            let braced = line.get(name.len()..).unwrap_or_default();
            name.len() + closing_brace(braced).ok_or("unclosed brace")?
        }
        _ => line.find(char::is_whitespace).unwrap_or(line.len()),
    };
    let rest = line.get(end..).unwrap_or_default();
    let glued = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (selector, values) = line.split_at(end + glued);
    Ok((selector, values.trim()))
}

/// Returns the length of a braced list, quotes respected.
fn closing_brace(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '}') => return Some(at + 1),
            (None, _) => {}
        }
    }
    None
}

/// Returns the labels that a selector text names.
pub(super) fn labels(selector: &str) -> Result<Labels, String> {
    if selector == "{}" {
        return Ok(Labels::empty());
    }
    // A name alone, or labels with "=" only: what a selector may be is more.
    let padded = if selector.starts_with('{') {
        selector.replacen('{', "{__pad__!=\"\",", 1)
    } else {
        selector.to_owned()
    };
    let expr = parse(&padded, ParserOptions::default()).map_err(|error| error.to_string())?;
    let ExprKind::Vector(selector) = &expr.kind else {
        return Err(format!("{selector:?} describes no series"));
    };
    let name = selector
        .name
        .iter()
        .map(|name| (model::METRIC_NAME, name.as_str()));
    let pairs = selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name != "__pad__")
        .map(|matcher| (matcher.name.as_str(), matcher.value.as_str()));
    Labels::from_pairs(name.chain(pairs)).map_err(|error| error.to_string())
}

/// Parses a whole line.
pub(super) fn describe(line: &str) -> Result<Described, String> {
    let (selector, values) = split(line)?;
    Ok(Described {
        labels: labels(selector)?,
        items: items(values)?,
    })
}

/// Parses values in short forms.
pub(super) fn items(text: &str) -> Result<Vec<Option<Item>>, String> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with("{{") {
            histogram_end(rest).ok_or_else(|| format!("unclosed histogram in {rest:?}"))?
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        let (item, tail) = rest.split_at(end);
        if item.starts_with("{{") {
            histogram_items(item, &mut out)?;
        } else {
            float_items(item, &mut out)?;
        }
        rest = tail.trim_start();
        if out.len() > ITEMS_MAX {
            return Err(format!("more than {ITEMS_MAX} values"));
        }
    }
    Ok(out)
}

/// Returns the end of a histogram with what is glued to it: a count, or a second histogram and a count.
fn histogram_end(text: &str) -> Option<usize> {
    let mut end = text.find("}}")? + 2;
    let rest = text.get(end..)?;
    if rest.starts_with("+{{") || rest.starts_with("-{{") {
        end += rest.find("}}")? + 2;
    }
    let rest = text.get(end..)?;
    Some(end + rest.find(char::is_whitespace).unwrap_or(rest.len()))
}

fn float(value: f64) -> Option<Item> {
    Some(Item {
        value: Value::Float(value),
        hint_written: false,
    })
}

fn float_items(item: &str, out: &mut Vec<Option<Item>>) -> Result<(), String> {
    let bad = || format!("{item:?} is no value");
    if item == "stale" {
        out.push(float(STALE_NAN));
        return Ok(());
    }
    if let Some(gap) = item.strip_prefix('_') {
        let count = match gap.strip_prefix('x') {
            None if gap.is_empty() => 1,
            None => return Err(bad()),
            Some(count) => repetitions(count)?,
        };
        out.extend((0..count).map(|_| None));
        return Ok(());
    }
    let (sequence, count) = match item.rsplit_once('x') {
        Some((sequence, count)) => (sequence, repetitions(count)?),
        None => (item, 0),
    };
    let (first, step) = signed_pair(sequence).ok_or_else(bad)?;
    let mut value = first;
    for _ in 0..=count {
        out.push(float(value));
        value += step;
    }
    Ok(())
}

/// Reads `a`, `a+b` or `a-b`.
fn signed_pair(text: &str) -> Option<(f64, f64)> {
    let bytes = text.as_bytes();
    let split = (1..bytes.len())
        .find(|at| matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E'));
    match split {
        None => Some((number(text)?, 0.0)),
        Some(at) => Some((number(text.get(..at)?)?, number(text.get(at..)?)?)),
    }
}

/// Reads a number with a sign; durations count in seconds.
pub(super) fn number(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    number_value(digits)
        .or_else(|| model::parse_duration(digits).ok().map(|d| d.as_secs_f64()))
        .map(|value| sign * value)
}

fn repetitions(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count <= ITEMS_MAX)
        .ok_or_else(|| format!("{text:?} is no number of repetitions up to {ITEMS_MAX}"))
}

fn histogram_items(item: &str, out: &mut Vec<Option<Item>>) -> Result<(), String> {
    let close = item.find("}}").ok_or("unclosed histogram")? + 2;
    let (first, rest) = item.split_at(close);
    let (base, mut hint_written) = histogram(first)?;
    let mut step = None;
    let mut rest = rest;
    if let Some(tail) = rest.strip_prefix(['+', '-']) {
        let close = tail.find("}}").ok_or("unclosed histogram")? + 2;
        let (second, tail) = tail.split_at(close);
        let (second, written) = histogram(second)?;
        hint_written = written;
        if base.schema > second.schema {
            return Err(format!(
                "error combining histograms: cannot merge from schema {} to {}",
                second.schema, base.schema
            ));
        }
        step = Some((rest.starts_with('+'), second));
        rest = tail;
    }
    let count = match rest.strip_prefix('x') {
        Some(count) => repetitions(count)?,
        None if rest.is_empty() && step.is_none() => 0,
        None => return Err(format!("{item:?} is no sequence of histograms")),
    };
    let mut now = base;
    for index in 0..=count {
        out.push(Some(Item {
            value: Value::Histogram(Arc::new(now.clone().into_model())),
            hint_written,
        }));
        if let Some((add, step)) = step.as_ref().filter(|_| index < count) {
            let combined = if *add {
                now.add(step)
            } else {
                now.subtract(step)
            };
            combined.map_err(|_| "histograms of the sequence do not go together")?;
        }
    }
    Ok(())
}

/// Parses `{{key:value ...}}`.
fn histogram(text: &str) -> Result<(FloatHistogram, bool), String> {
    let inner = text
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"))
        .ok_or_else(|| format!("{text:?} is no histogram"))?;
    let mut histogram = FloatHistogram {
        reset: CounterReset::Unknown,
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Vec::new(),
        negative: Vec::new(),
        bounds: Vec::new(),
    };
    let (mut offset, mut negative_offset) = (0, 0);
    let (mut buckets, mut negative_buckets) = (Vec::new(), Vec::new());
    let mut hint_written = false;
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (key, tail) = rest
            .split_once(':')
            .ok_or_else(|| format!("{rest:?} has no value"))?;
        let end = if tail.starts_with('[') {
            tail.find(']').ok_or("unclosed list")? + 1
        } else {
            tail.find(char::is_whitespace).unwrap_or(tail.len())
        };
        let (value, after) = tail.split_at(end);
        rest = after.trim_start();
        let bad = || format!("bad value {value:?} of {key}");
        let whole = || value.parse::<i32>().map_err(|_| bad());
        let float = || number(value).ok_or_else(bad);
        match key {
            "schema" => histogram.schema = value.parse().map_err(|_| bad())?,
            "sum" => histogram.sum = float()?,
            "count" => histogram.count = float()?,
            "z_bucket" => histogram.zero_count = float()?,
            "z_bucket_w" => histogram.zero_threshold = float()?,
            "custom_values" => histogram.bounds = list(value)?,
            "buckets" => buckets = list(value)?,
            "n_buckets" => negative_buckets = list(value)?,
            "offset" => offset = whole()?,
            "n_offset" => negative_offset = whole()?,
            "counter_reset_hint" => {
                hint_written = true;
                histogram.reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    _ => return Err(bad()),
                };
            }
            _ => return Err(format!("bad histogram descriptor found: {key:?}")),
        }
    }
    histogram.positive = (offset..).zip(buckets).collect();
    histogram.negative = (negative_offset..).zip(negative_buckets).collect();
    Ok((histogram, hint_written))
}

fn list(text: &str) -> Result<Vec<f64>, String> {
    text.trim_matches(['[', ']'])
        .split_whitespace()
        .map(|value| number(value).ok_or_else(|| format!("{value:?} is no number")))
        .collect()
}
