//! JSON, written straight into bytes: what Prometheus' API prints, to the character.

use std::fmt::Write as _;

use model::{Labels, TimestampMs};

/// Writes JSON from left to right. Commas come by themselves; whoever writes keeps the brackets balanced.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
    /// Whether the next value or key needs a comma before it.
    comma: bool,
}

impl Json {
    /// Returns an empty writer with room for `bytes`.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes), comma: false }
    }

    /// Returns the text.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// Returns the length so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Writes `{...}`.
    pub(crate) fn object(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.bracket('{', '}', body)
    }

    /// Writes `[...]`.
    pub(crate) fn array(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.bracket('[', ']', body)
    }

    /// Writes a key; a value must follow.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.out.push(':');
        self.comma = false;
        self
    }

    /// Writes a text.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        self.separate();
        quote(&mut self.out, text);
        self
    }

    /// Writes what is JSON already: numbers, truth values.
    pub(crate) fn raw(&mut self, value: impl std::fmt::Display) -> &mut Self {
        self.separate();
        write!(self.out, "{value}").expect("writing to a string cannot fail");
        self
    }

    /// Writes a list of texts.
    pub(crate) fn strings<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.array(|json| {
            for text in texts {
                json.string(text);
            }
        })
    }

    /// Writes a label set as an object.
    pub(crate) fn labels(&mut self, labels: &Labels) -> &mut Self {
        self.object(|json| {
            for (name, value) in labels.iter() {
                json.key(name).string(value);
            }
        })
    }

    /// Writes a time as seconds with at most three decimals.
    pub(crate) fn time(&mut self, at: TimestampMs) -> &mut Self {
        self.separate();
        let millis = at.0.unsigned_abs();
        let sign = if at.0 < 0 { "-" } else { "" };
        let (seconds, fraction) = (millis / 1_000, millis % 1_000);
        let written = if fraction == 0 {
            write!(self.out, "{sign}{seconds}")
        } else {
            write!(self.out, "{sign}{seconds}.{fraction:03}")
        };
        written.expect("writing to a string cannot fail");
        self
    }

    /// Writes a value as a quoted number.
    pub(crate) fn value(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.out.push('"');
        push_float(&mut self.out, value);
        self.out.push('"');
        self
    }

    fn bracket(&mut self, open: char, close: char, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.separate();
        self.out.push(open);
        self.comma = false;
        body(self);
        self.out.push(close);
        self.comma = true;
        self
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
    }
}

/// Very small and very large numbers get an exponent, as in Prometheus; all others are written out.
fn push_float(out: &mut String, value: f64) {
    let magnitude = value.abs();
    let plain = magnitude == 0.0 || (1e-6..1e21).contains(&magnitude);
    if plain {
        write!(out, "{value}").expect("writing to a string cannot fail");
    } else {
        exposition::write_go_g(out, value);
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}' | '<' | '>' | '&') || c < ' ' || c == '\u{7f}') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut tail_chars = tail.chars();
        match tail_chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            // jsoniter, which Prometheus uses, leaves these as they are.
            Some(c @ ('<' | '>' | '&' | '\u{7f}')) => out.push(c),
            Some(c) => write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail"),
            None => {}
        }
        rest = tail_chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(body: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        body(&mut json);
        json.finish()
    }

    #[test]
    fn structure_gets_its_commas() {
        let text = write(|json| {
            json.object(|json| {
                json.key("a").array(|json| {
                    json.raw(1).raw(true).object(|_| {}).array(|_| {});
                });
                json.key("b\n").string("c\"<\u{1}");
            });
        });
        assert_eq!(text, r#"{"a":[1,true,{},[]],"b\n":"c\"<\u0001"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e6, "1000000"),
            (123_456_789.125, "123456789.125"),
            (1e-6, "0.000001"),
            (1e-7, "1e-07"),
            (1.5e-300, "1.5e-300"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(write(|json| drop(json.value(value))), format!("\"{text}\""));
        }
        for (ms, text) in [(0, "0"), (1_500, "1.500"), (1_001, "1.001"), (-1_010, "-1.010"), (2_000, "2")] {
            assert_eq!(write(|json| drop(json.time(TimestampMs(ms)))), text);
        }
    }
}
