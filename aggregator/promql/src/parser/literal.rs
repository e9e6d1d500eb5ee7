//! Numbers, durations as numbers, and quoted names.

use super::{Abandoned, Parsed, Parser};
use crate::ast::NumberLiteral;
use crate::token::{Operator, Token, TokenKind};

impl Parser<'_> {
    /// Returns the value of a number or duration token, which is behind.
    pub(super) fn number(&mut self, token: Token) -> Parsed<NumberLiteral> {
        let text = self.slice(token.range);
        if token.kind == TokenKind::Duration {
            return match model::parse_duration(text) {
                Ok(duration) => Ok(NumberLiteral {
                    value: duration.as_secs_f64(),
                    is_duration: true,
                }),
                Err(error) => {
                    self.report(token.range, error.to_string(), None);
                    Err(Abandoned)
                }
            };
        }
        match number_value(text) {
            Some(value) => Ok(NumberLiteral {
                value,
                is_duration: false,
            }),
            None => {
                let message = format!(
                    "error parsing number: strconv.ParseFloat: parsing {text:?}: invalid syntax"
                );
                self.report(token.range, message, None);
                Err(Abandoned)
            }
        }
    }

    /// Parses a number with or without a sign.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Parsed<f64> {
        let sign = match self.peek().kind {
            TokenKind::Operator(sign @ (Operator::Add | Operator::Sub)) => {
                self.advance();
                sign
            }
            _ => Operator::Add,
        };
        let token = self.peek();
        if !matches!(token.kind, TokenKind::Number | TokenKind::Duration) {
            self.unexpected(context, expected);
            return Err(Abandoned);
        }
        self.advance();
        let value = self.number(token)?.value;
        Ok(if sign == Operator::Sub { -value } else { value })
    }

    /// Returns the name that a string token, which is behind, quotes.
    pub(super) fn utf8_name(&mut self, token: Token, context: &str) -> Parsed<String> {
        let bytes = crate::unquote::unquote(self.slice(token.range));
        match String::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name),
            _ => {
                let quoted = self.slice(token.range);
                self.report(
                    token.range,
                    format!("{quoted} is not a valid name in {context}"),
                    None,
                );
                Err(Abandoned)
            }
        }
    }
}

/// Returns the value of a number: decimal, 0x hexadecimal, 0 octal, infinity or NaN.
#[expect(
    clippy::cast_precision_loss,
    reason = "integers become doubles, as everywhere in the language"
)]
pub(crate) fn number_value(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("inf") {
        return Some(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let digits = without_underscores(text)?;
    if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        return i64::from_str_radix(hex, 16).ok().map(|value| value as f64);
    }
    let octal = digits
        .strip_prefix('0')
        .filter(|rest| !rest.is_empty() && rest.bytes().all(|byte| (b'0'..=b'7').contains(&byte)));
    if let Some(octal) = octal
        && let Ok(value) = i64::from_str_radix(octal, 8)
    {
        return Some(value as f64);
    }
    // "1e309" is out of range for Go, where Rust reads infinity.
    digits.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Underscores may stand between digits only.
fn without_underscores(text: &str) -> Option<String> {
    if !text.contains('_') {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let between_digits = bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'_'
            || (at > 0
                && (bytes[at - 1].is_ascii_hexdigit() || matches!(bytes[at - 1], b'x' | b'X'))
                && bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit))
    });
    between_digits.then(|| text.replace('_', ""))
}
