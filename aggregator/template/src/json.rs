//! Values as JSON, with Go's escapes: safe inside HTML.

use crate::format::Bounded;
use crate::time::{RFC3339, format};
use crate::value::Value;

/// Writes `value`; `Err` says why JSON has no form for it.
pub(crate) fn write(out: &mut Bounded, value: &Value) -> Result<(), String> {
    match value {
        Value::Absent | Value::Nil => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) | Value::Named(_, number) => out.push_str(&number.to_string()),
        Value::Duration(duration) => out.push_str(&duration.nanoseconds().to_string()),
        Value::Float(number) => out.push_str(&float(*number)?),
        Value::String(text) | Value::Safe(_, text) => string(out, text),
        Value::Time(time) => string(out, &format(time, RFC3339)),
        Value::List(list) => {
            for (index, item) in list.items.iter().enumerate() {
                out.push_str(if index == 0 { "[" } else { "," });
                write(out, item)?;
            }
            out.push_str(if list.items.is_empty() { "[]" } else { "]" });
        }
        Value::Map(map) => {
            let entries = map.entries.iter().map(|(key, item)| (&**key, item));
            object(out, entries)?;
        }
        Value::Struct(fields) => {
            let named = fields.kind.fields.iter().zip(fields.fields.iter());
            let visible = named.filter_map(|(field, item)| Some((field.json?, item)));
            object(out, visible)?;
        }
    }
    Ok(())
}

fn object<'v>(
    out: &mut Bounded,
    entries: impl Iterator<Item = (&'v str, &'v Value)>,
) -> Result<(), String> {
    out.push('{');
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(out, key);
        out.push(':');
        write(out, item)?;
    }
    out.push('}');
    Ok(())
}

pub(crate) fn string(out: &mut Bounded, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (place, character) in text.char_indices() {
        let numbered;
        let escape = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                numbered = format!("\\u{:04x}", u32::from(character));
                numbered.as_str()
            }
            _ => continue,
        };
        out.push_str(text.get(plain_from..place).unwrap_or_default());
        out.push_str(escape);
        plain_from = place + character.len_utf8();
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    out.push('"');
}

/// The shortest digits; with an exponent below 1e-6 and from 1e21 on.
fn float(number: f64) -> Result<String, String> {
    if !number.is_finite() {
        return Err(format!(
            "json: unsupported value: {}",
            crate::format::shortest(number)
        ));
    }
    // Its exponents have no zero before them.
    Ok(gofloat::format_sample(number).replace("e-0", "e-"))
}
