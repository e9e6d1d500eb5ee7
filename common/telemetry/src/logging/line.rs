//! One event as one line.

use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::Level;
use tracing::field::{Field, Visit};

use super::LogFormat;

/// The most bytes of one value that are logged.
pub(super) const VALUE_BYTES_MAX: usize = 4_096;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    pub(super) colours: bool,
}

/// The fields of an event or span, written as they will stand in the line: each with its separator before it.
#[derive(Debug)]
pub(super) struct Fields {
    format: LogFormat,
    message: String,
    text: String,
}

impl Fields {
    pub(super) const fn new(format: LogFormat) -> Self {
        Self {
            format,
            message: String::new(),
            text: String::new(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `value` stands for itself: a number or a truth value.
    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        let written = match self.format {
            LogFormat::Logfmt => write!(self.text, " {}={value}", field.name()),
            LogFormat::Json => write!(self.text, ",\"{}\":{value}", field.name()),
        };
        written.expect("a String takes what it is given");
    }

    fn quoted(&mut self, field: &Field, value: &str) {
        let value = bounded(value);
        if field.name() == "message" {
            value.clone_into(&mut self.message);
            return;
        }
        match self.format {
            LogFormat::Logfmt => {
                self.text.extend([" ", field.name(), "="]);
                logfmt_value(&mut self.text, value);
            }
            LogFormat::Json => {
                self.text.extend([",\"", field.name(), "\":"]);
                quote(&mut self.text, value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.quoted(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        // A chain may be long, a cycle endless: the value's bound ends both.
        while let Some(cause) = source.filter(|_| text.len() < VALUE_BYTES_MAX) {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.quoted(field, &text);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, value);
        } else {
            self.quoted(field, &gofloat::format_g(value));
        }
    }
}

/// Returns the line of an event, its line feed included; `spans` are the fields of the spans around it, outermost first.
pub(super) fn line(
    style: Style,
    time: &str,
    level: Level,
    target: &str,
    spans: &str,
    event: &Fields,
) -> String {
    let mut out = String::with_capacity(128 + spans.len() + event.text.len());
    match style.format {
        LogFormat::Logfmt => {
            out.extend(["time=", time, " level="]);
            let (on, off) = if style.colours {
                (colour(level), "\x1b[0m")
            } else {
                ("", "")
            };
            out.extend([on, level.as_str(), off, " target=", target, " msg="]);
            logfmt_value(&mut out, &event.message);
            out.extend([spans, &event.text, "\n"]);
        }
        LogFormat::Json => {
            out.extend([
                "{\"time\":\"",
                time,
                "\",\"level\":\"",
                level.as_str(),
                "\",\"target\":",
            ]);
            quote(&mut out, target);
            out.push_str(",\"msg\":");
            quote(&mut out, &event.message);
            out.extend([spans, &event.text, "}\n"]);
        }
    }
    out
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// Cuts at a character's boundary.
fn bounded(value: &str) -> &str {
    let end = value.floor_char_boundary(VALUE_BYTES_MAX);
    value.get(..end).unwrap_or(value)
}

fn logfmt_value(out: &mut String, value: &str) {
    let is_plain = |c: char| !matches!(c, ' ' | '=' | '"' | '\\') && !c.is_control();
    if !value.is_empty() && value.chars().all(is_plain) {
        out.push_str(value);
    } else {
        quote(out, value);
    }
}

/// Writes a JSON string, which is also what readers of logfmt take.
fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes what it is given");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
