//! One value under one verb.

use std::sync::Arc;

use super::quote::{quote, quote_ascii, quote_char};
use super::{Bounded, float};
use crate::value::{List, Map, Struct, Value};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go has these flags")]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`: with the names of fields.
    pub(super) with_names: bool,
    /// `%#v`: as in Go's source.
    pub(super) as_source: bool,
}

pub(super) struct Printer<'o> {
    pub(super) out: &'o mut Bounded,
    pub(super) flags: Flags,
    /// Whether what a pointer points to is printed in its place.
    pub(super) indirect: bool,
    /// Whether a mistake is being shown: then nothing prints itself.
    in_mistake: bool,
}

impl<'o> Printer<'o> {
    pub(super) fn new(out: &'o mut Bounded) -> Self {
        Self {
            out,
            flags: Flags::default(),
            indirect: false,
            in_mistake: false,
        }
    }

    /// A negative width pads on the right.
    pub(super) fn set_width(&mut self, width: i64) {
        self.flags.minus |= width < 0;
        self.flags.width = usize::try_from(width.unsigned_abs()).ok();
    }

    pub(super) fn print_verb(&mut self, value: &Value, verb: char) {
        // %w is for errors only, which do not come here; it is read as %v.
        if matches!(verb, 'v' | 'w') {
            let flags = &mut self.flags;
            flags.as_source = std::mem::take(&mut flags.sharp);
            flags.with_names = std::mem::take(&mut flags.plus);
        }
        self.print(value, verb);
    }

    pub(super) fn print(&mut self, value: &Value, verb: char) {
        match verb {
            'T' | 'v' if value.is_nothing() => self.pad("<nil>"),
            'T' => self.string(value.type_name(), 's', value),
            'w' => self.mistake(value, verb),
            _ => self.value(value, verb, 0),
        }
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if self.out.is_full() {
            return;
        }
        if self.prints_itself(value, verb) {
            return;
        }
        match value {
            Value::Absent | Value::Nil if depth > 0 => self.out.push_str(if self.flags.as_source {
                "interface {}(nil)"
            } else {
                "<nil>"
            }),
            Value::Absent | Value::Nil => self.mistake(value, verb),
            Value::Bool(truth) if matches!(verb, 't' | 'v') => {
                self.pad(if *truth { "true" } else { "false" })
            }
            Value::Bool(_) => self.mistake(value, verb),
            Value::Int(number) | Value::Named(_, number) => self.integer(*number, verb, value),
            Value::Duration(duration) => self.integer(duration.nanoseconds(), verb, value),
            Value::Float(number) => self.float(*number, verb, value),
            Value::String(text) | Value::Safe(_, text) => self.string(text, verb, value),
            Value::Time(time) if self.flags.as_source => self.out.push_str(&time.go_source()),
            // Its fields are of no one's concern.
            Value::Time(_) => self.mistake(value, verb),
            Value::List(list) => self.list(list, verb, depth),
            Value::Map(map) => self.map(map, verb, depth),
            Value::Struct(fields) => self.fields(fields, verb, depth),
        }
    }

    /// Prints what has a form of its own, under a verb for texts.
    fn prints_itself(&mut self, value: &Value, verb: char) -> bool {
        if self.in_mistake || self.flags.as_source || !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return false;
        }
        let Some(text) = value.own_text() else {
            return false;
        };
        self.string(&text, verb, value);
        true
    }

    /// `%!verb(type=value)`.
    fn mistake(&mut self, value: &Value, verb: char) {
        self.out.push_str("%!");
        self.out.push(verb);
        self.out.push('(');
        if value.is_nothing() || self.in_mistake {
            self.out.push_str("<nil>");
        } else {
            self.out.push_str(value.type_name());
            self.out.push('=');
            self.in_mistake = true;
            if let Value::Time(time) = value {
                self.out.push_str(&time.to_string());
            } else {
                self.value(value, 'v', 0);
            }
            self.in_mistake = false;
        }
        self.out.push(')');
    }

    fn separator(&mut self, index: usize) {
        if index > 0 {
            self.out
                .push_str(if self.flags.as_source { ", " } else { " " });
        }
    }

    fn list(&mut self, list: &List, verb: char, depth: usize) {
        let (open, close) = if self.flags.as_source {
            ('{', '}')
        } else {
            ('[', ']')
        };
        if self.flags.as_source {
            self.out.push_str(list.kind.name);
        }
        self.out.push(open);
        for (index, item) in list.items.iter().enumerate() {
            self.separator(index);
            self.value(item, verb, depth + 1);
        }
        self.out.push(close);
    }

    fn map(&mut self, map: &Map, verb: char, depth: usize) {
        let (open, close) = if self.flags.as_source {
            ('{', '}')
        } else {
            ('[', ']')
        };
        self.out.push_str(if self.flags.as_source {
            map.kind.name
        } else {
            "map"
        });
        self.out.push(open);
        for (index, (key, item)) in map.entries.iter().enumerate() {
            self.separator(index);
            self.value(&Value::String(Arc::clone(key)), verb, depth + 1);
            self.out.push(':');
            self.value(item, verb, depth + 1);
        }
        self.out.push(close);
    }

    fn fields(&mut self, fields: &Struct, verb: char, depth: usize) {
        if fields.kind.pointer && depth == 0 && !self.indirect {
            self.out.push('&');
        }
        if self.flags.as_source {
            self.out.push_str(fields.kind.name.trim_start_matches('*'));
        }
        self.out.push('{');
        for (index, (field, item)) in fields
            .kind
            .fields
            .iter()
            .zip(fields.fields.iter())
            .enumerate()
        {
            self.separator(index);
            if self.flags.with_names || self.flags.as_source {
                self.out.push_str(field.name);
                self.out.push(':');
            }
            self.value(item, verb, depth + 1);
        }
        self.out.push('}');
    }

    fn integer(&mut self, number: i64, verb: char, value: &Value) {
        let digits = match verb {
            'v' | 'd' => number.unsigned_abs().to_string(),
            'b' => format!("{:b}", number.unsigned_abs()),
            'o' | 'O' => format!("{:o}", number.unsigned_abs()),
            'x' => format!("{:x}", number.unsigned_abs()),
            'X' => format!("{:X}", number.unsigned_abs()),
            'c' => return self.pad(as_char(number).encode_utf8(&mut [0; 4])),
            'q' => return self.pad(&quote_char(as_char(number), self.flags.plus)),
            'U' => return self.code_point(number),
            _ => return self.mistake(value, verb),
        };
        let prefix = match verb {
            'O' => "0o",
            'b' if self.flags.sharp => "0b",
            'x' if self.flags.sharp => "0x",
            'X' if self.flags.sharp => "0X",
            _ => "",
        };
        let sign = self.sign(number < 0);
        if self.flags.precision == Some(0) && number == 0 {
            let width = self.flags.width.unwrap_or(0);
            return self.out.push_times(' ', width);
        }
        let mut zeros = self.leading_zeros(digits.len(), !sign.is_empty());
        if matches!(verb, 'o' | 'O') && self.flags.sharp && zeros == 0 && !digits.starts_with('0') {
            zeros = 1;
        }
        let text = [sign, prefix, &"0".repeat(zeros), &digits].concat();
        self.pad_with_spaces(&text);
    }

    /// Returns how many zeros a precision, or a width with the flag for zeros, puts before `digits` digits.
    fn leading_zeros(&self, digits: usize, signed: bool) -> usize {
        let flags = &self.flags;
        let wanted = match (flags.precision, flags.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => {
                width - usize::from(signed && width > 0)
            }
            _ => 0,
        };
        wanted.saturating_sub(digits)
    }

    const fn sign(&self, negative: bool) -> &'static str {
        if negative {
            "-"
        } else if self.flags.plus {
            "+"
        } else if self.flags.space {
            " "
        } else {
            ""
        }
    }

    fn code_point(&mut self, number: i64) {
        let digits = format!("{number:X}");
        let wanted = self.flags.precision.unwrap_or(4).max(4);
        let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
        let mut text = ["U+", &zeros, &digits].concat();
        let character = u32::try_from(number).ok().and_then(char::from_u32);
        if let Some(character) =
            character.filter(|character| self.flags.sharp && super::is_printable(*character))
        {
            text.push_str(&format!(" '{character}'"));
        }
        self.pad_with_spaces(&text);
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        let precision = self.flags.precision;
        let verb = if verb == 'F' { 'f' } else { verb };
        let text = match verb {
            'v' | 'g' | 'G' => float::general(number, precision),
            'e' | 'E' => float::exponential(number, precision.unwrap_or(6)),
            'f' => float::fixed(number, precision.unwrap_or(6)),
            'x' | 'X' => float::hexadecimal(number, precision),
            'b' => float::binary(number),
            _ => return self.mistake(value, verb),
        };
        let text = if self.flags.sharp && verb != 'b' {
            float::with_point(&text, verb, precision)
        } else {
            text
        };
        let mut unsigned = text.trim_start_matches(['-', '+']).to_owned();
        if verb.is_ascii_uppercase() && number.is_finite() {
            unsigned = unsigned.to_uppercase();
        }
        let sign = match self.sign(text.starts_with('-')) {
            // Infinity has its sign always.
            "" if number == f64::INFINITY => "+",
            sign => sign,
        };
        if !number.is_finite() {
            let sign = if number.is_nan()
                || self.flags.space
                || self.flags.plus
                || number < 0.0
                || sign == "+"
            {
                sign
            } else {
                ""
            };
            return self.pad_with_spaces(&format!("{sign}{unsigned}"));
        }
        let flags = &self.flags;
        let bytes = sign.len() + unsigned.len();
        let zeros = match flags.width {
            Some(width) if flags.zero && !flags.minus => width.saturating_sub(bytes),
            _ => 0,
        };
        self.pad_with_spaces(&[sign, &"0".repeat(zeros), &unsigned].concat());
    }

    fn string(&mut self, text: &str, verb: char, value: &Value) {
        match verb {
            'v' if self.flags.as_source => {
                let quoted = quote(self.truncated(text));
                self.pad(&quoted);
            }
            'v' | 's' => {
                let truncated = self.truncated(text);
                self.pad(truncated);
            }
            'q' => {
                let truncated = self.truncated(text);
                let quoted = if self.flags.sharp && super::quote::can_be_raw(truncated) {
                    format!("`{truncated}`")
                } else if self.flags.plus {
                    quote_ascii(truncated)
                } else {
                    quote(truncated)
                };
                self.pad(&quoted);
            }
            'x' | 'X' => self.hex_string(text, verb),
            _ => self.mistake(value, verb),
        }
    }

    /// Returns the first characters of `text`, as many as the precision says.
    fn truncated<'t>(&self, text: &'t str) -> &'t str {
        let end = self
            .flags
            .precision
            .and_then(|precision| text.char_indices().nth(precision));
        end.map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
    }

    fn hex_string(&mut self, text: &str, verb: char) {
        let bytes = text.as_bytes();
        let shown = bytes
            .get(..self.flags.precision.unwrap_or(bytes.len()))
            .unwrap_or(bytes);
        let prefix = match (self.flags.sharp, verb) {
            (false, _) => "",
            (true, 'x') => "0x",
            (true, _) => "0X",
        };
        let mut digits = String::with_capacity(shown.len() * 2);
        for (index, byte) in shown.iter().enumerate() {
            if index > 0 && self.flags.space {
                digits.push(' ');
            }
            if index == 0 || self.flags.space {
                digits.push_str(prefix);
            }
            let pair = if verb == 'x' {
                format!("{byte:02x}")
            } else {
                format!("{byte:02X}")
            };
            digits.push_str(&pair);
        }
        self.pad(&digits);
    }

    /// Writes `text`, padded to the width: with zeros when they are asked for.
    fn pad(&mut self, text: &str) {
        let padding = if self.flags.zero && !self.flags.minus {
            '0'
        } else {
            ' '
        };
        self.pad_with(text, padding);
    }

    fn pad_with_spaces(&mut self, text: &str) {
        self.pad_with(text, ' ');
    }

    fn pad_with(&mut self, text: &str, padding: char) {
        let missing = self
            .flags
            .width
            .map_or(0, |width| width.saturating_sub(text.chars().count()));
        if !self.flags.minus {
            self.out.push_times(padding, missing);
        }
        self.out.push_str(text);
        if self.flags.minus {
            self.out.push_times(padding, missing);
        }
    }
}

fn as_char(number: i64) -> char {
    u32::try_from(number)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}
