//! JSON, written straight into bytes: what Prometheus' API prints, to the character.

use std::io::Write as _;
use std::sync::Arc;

use model::{Labels, TimestampMs};
use storage::{Budget as _, BudgetExceeded};

use crate::budget::QueryBudget;

/// Writes JSON from left to right, as bytes of UTF-8. Commas come by themselves; brackets are balanced by closures.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: Vec<u8>,
    /// Whether the next value or key needs a comma before it.
    comma: bool,
    account: Option<Account>,
}

/// Who pays for the memory.
#[derive(Debug)]
struct Account {
    budget: Arc<QueryBudget>,
    charged: usize,
    refused: Option<BudgetExceeded>,
}

impl Json {
    /// Returns an empty writer whose memory is charged to `budget` (see [`Json::settle`]).
    pub(crate) fn charged_to(budget: Arc<QueryBudget>) -> Self {
        let account = Account {
            budget,
            charged: 0,
            refused: None,
        };
        Self {
            account: Some(account),
            ..Self::default()
        }
    }

    /// Charges the memory taken since the last call. Returns whether the budget allows to go on; once it does not, whatever is
    /// written is lost, and [`Json::finish`] says why. To be called between items of lists without a bound.
    pub(crate) fn settle(&mut self) -> bool {
        let held = self.out.capacity();
        let Some(account) = &mut self.account else {
            return true;
        };
        let more = held.saturating_sub(account.charged) as u64;
        account.charged = held;
        if account.refused.is_none() {
            account.refused = account.budget.charge(0, more).err();
        }
        account.refused.is_none()
    }

    /// Returns the text, or why it must not be written.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, BudgetExceeded> {
        self.settle();
        match self.account.and_then(|account| account.refused) {
            Some(refused) => Err(refused),
            None => Ok(self.out),
        }
    }

    /// Writes `{...}`.
    pub(crate) fn object(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.bracket(b'{', b'}', body)
    }

    /// Writes `[...]`.
    pub(crate) fn array(&mut self, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.bracket(b'[', b']', body)
    }

    /// Writes a key; a value must follow.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.out.push(b':');
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
        write!(self.out, "{value}").expect("writing to memory cannot fail");
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

    /// Writes a time as seconds, with three decimals or none.
    pub(crate) fn time(&mut self, at: TimestampMs) -> &mut Self {
        self.separate();
        push_time(&mut self.out, at);
        self
    }

    /// Writes a time as seconds, with as many decimals as it needs: scalars and texts have it so.
    pub(crate) fn short_time(&mut self, at: TimestampMs) -> &mut Self {
        self.separate();
        push_time(&mut self.out, at);
        if at.0 % 1_000 != 0 {
            while self.out.last() == Some(&b'0') {
                self.out.pop();
            }
        }
        self
    }

    /// Writes a value as a quoted number: very small and very large ones get an exponent.
    pub(crate) fn value(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        gofloat::write_sample(&mut self.out, value);
        self.out.push(b'"');
        self
    }

    /// Appends what [`Json::point`] writes before the value at `at`.
    pub(crate) fn push_point_head(out: &mut Vec<u8>, at: TimestampMs) {
        out.push(b'[');
        push_time(out, at);
        out.extend_from_slice(b",\"");
    }

    /// Writes `[time,"value"]`, the time by its head: all series of a matrix share their times, and writing these would take as long
    /// as writing the values.
    pub(crate) fn point(&mut self, head: &[u8], value: f64) {
        self.separate();
        self.out.extend_from_slice(head);
        gofloat::write_sample(&mut self.out, value);
        self.out.extend_from_slice(b"\"]");
    }

    /// Writes a value as a quoted number, never with an exponent: scalars have it so.
    pub(crate) fn plain_value(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        gofloat::write_f(&mut self.out, value);
        self.out.push(b'"');
        self
    }

    fn bracket(&mut self, open: u8, close: u8, body: impl FnOnce(&mut Self)) -> &mut Self {
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
            self.out.push(b',');
        }
        self.comma = true;
    }
}

fn push_time(out: &mut Vec<u8>, at: TimestampMs) {
    if at.0 < 0 {
        out.push(b'-');
    }
    let millis = at.0.unsigned_abs();
    gofloat::write_whole(out, millis / 1_000);
    let fraction = millis % 1_000;
    if fraction != 0 {
        write!(out, ".{fraction:03}").expect("writing to memory cannot fail");
    }
}

/// Escapes what JSON demands, and nothing else.
fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    let escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    while let Some(at) = rest.iter().position(escaped) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, tail)) = tail.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => write!(out, "\\u{other:04x}").expect("writing to memory cannot fail"),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(body: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        body(&mut json);
        String::from_utf8(json.finish().unwrap()).unwrap()
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
    }

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        for (value, text, plain) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-25.0, "-25", "-25"),
            (0.1, "0.1", "0.1"),
            (1e6, "1000000", "1000000"),
            (123_456_789.125, "123456789.125", "123456789.125"),
            (
                9_007_199_254_740_993.0,
                "9007199254740992",
                "9007199254740992",
            ),
            (1e-6, "0.000001", "0.000001"),
            (1e-7, "1e-07", "0.0000001"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e21, "1e+21", "1000000000000000000000"),
            (f64::NAN, "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
        ] {
            assert_eq!(
                write(|json| {
                    json.value(value);
                }),
                format!("\"{text}\"")
            );
            assert_eq!(
                write(|json| {
                    json.plain_value(value);
                }),
                format!("\"{plain}\"")
            );
        }
        for (ms, text, short) in [
            (0, "0", "0"),
            (1_500, "1.500", "1.5"),
            (1_001, "1.001", "1.001"),
            (-1_010, "-1.010", "-1.01"),
            (-5, "-0.005", "-0.005"),
            (10_000, "10", "10"),
            (i64::MIN, "-9223372036854775.808", "-9223372036854775.808"),
        ] {
            assert_eq!(
                write(|json| {
                    json.time(TimestampMs(ms));
                }),
                text
            );
            assert_eq!(
                write(|json| {
                    json.short_time(TimestampMs(ms));
                }),
                short
            );
        }
    }

    proptest! {
        #[test]
        fn texts_and_numbers_read_back(text in any::<String>(), bits in any::<u64>(), whole in any::<i32>()) {
            let written = write(|json| { json.string(&text); });
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
            let decimals = [10.0, 1e3, 1e5, 1e6, 1e7].map(|scale| f64::from(whole) / scale);
            let others = [f64::from_bits(bits), f64::from(whole), f64::from(whole) / 64.0];
            for value in decimals.into_iter().chain(others) {
                prop_assume!(!value.is_nan());
                for written in [write(|json| { json.value(value); }), write(|json| { json.plain_value(value); })] {
                    let back: f64 = written.trim_matches('"').parse().unwrap();
                    prop_assert_eq!(back.to_bits(), value.to_bits(), "{}", written);
                }
            }
        }
    }
}
