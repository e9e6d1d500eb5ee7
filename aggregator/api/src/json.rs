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
        push_value(&mut self.out, value);
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
        push_value(&mut self.out, value);
        self.out.extend_from_slice(b"\"]");
    }

    /// Writes a value as a quoted number, never with an exponent: scalars have it so.
    pub(crate) fn plain_value(&mut self, value: f64) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        push_plain(&mut self.out, value);
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
    push_integer(out, millis / 1_000);
    let fraction = millis % 1_000;
    if fraction != 0 {
        out.push(b'.');
        push_padded::<3>(out, fraction);
    }
}

/// Writes a value, very small and very large ones with an exponent.
fn push_value(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        push_plain(out, value);
    } else {
        let mut text = String::new();
        exposition::write_go_g(&mut text, value);
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes a value without an exponent: the shortest decimal that reads back as the same.
fn push_plain(out: &mut Vec<u8>, value: f64) {
    /// Up to here every whole number is a double, and the conversion back exact.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if !value.is_finite() {
        out.extend_from_slice(promql::number::format_plain(value).as_bytes());
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let magnitude = value.abs();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53, as is checked by converting it back"
    )]
    let whole = magnitude as u64;
    if magnitude < WHOLE_MAX && float(whole) == magnitude {
        push_integer(out, whole);
    } else if !push_decimals::<6>(out, magnitude) && !push_decimals::<3>(out, magnitude) {
        push_all_digits(out, magnitude);
    }
}

/// Writes what needs up to 17 digits. The formatting of the standard library takes most of the time of an answer full of these.
fn push_all_digits(out: &mut Vec<u8>, magnitude: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(magnitude);
    if text.contains('e') {
        write!(out, "{magnitude}").expect("writing to memory cannot fail");
    } else {
        // Whole numbers from 2^53 on come with a decimal.
        let text = text.strip_suffix(".0").unwrap_or(text);
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes a value that has at most so many decimals; returns whether it has.
///
/// A decimal of up to 15 digits is the only one of these that reads as its double, so the shortest form is that decimal without the
/// zeros at its end. Division of whole numbers below 2^53 is rounded once, as reading is: equality proves that it reads back.
fn push_decimals<const DECIMALS: usize>(out: &mut Vec<u8>, magnitude: f64) -> bool {
    const DIGITS_15: u64 = 1_000_000_000_000_000;
    let scale = 10_u64.pow(u32::try_from(DECIMALS).unwrap_or(0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and what is too large is refused"
    )]
    let scaled = (magnitude * float(scale) + 0.5) as u64;
    if scaled >= DIGITS_15 || float(scaled) / float(scale) != magnitude {
        return false;
    }
    push_integer(out, scaled / scale);
    out.push(b'.');
    push_padded::<DECIMALS>(out, scaled % scale);
    let zeros = out.iter().rev().take_while(|digit| **digit == b'0').count();
    out.truncate(out.len() - zeros);
    true
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 where it matters")]
const fn float(number: u64) -> f64 {
    number as f64
}

/// The numbers from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut index = 0;
    while index < 100 {
        let digits = b"0123456789";
        pairs[index] = [digits[index / 10], digits[index % 10]];
        index += 1;
    }
    pairs
};

/// Most numbers of an answer are whole: this is several times faster than formatting.
fn push_integer(out: &mut Vec<u8>, number: u64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut rest = number;
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(rest % 100));
        rest /= 100;
    }
    at -= 2;
    digits[at..at + 2].copy_from_slice(&pair(rest));
    if rest < 10 {
        at += 1;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes the last `DIGITS` digits of a number, zeros included.
fn push_padded<const DIGITS: usize>(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = pair(rest % 10)[1];
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

fn pair(number: u64) -> [u8; 2] {
    PAIRS[usize::try_from(number % 100).unwrap_or(0)]
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
                if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
                    // Rust's own shortest form is what Go writes, too.
                    let written = write(|json| { json.value(value); });
                    prop_assert_eq!(written, format!("\"{value}\""));
                }
            }
        }
    }
}
