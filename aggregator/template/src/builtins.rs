//! The functions that every template has.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::Failure;
use crate::escape;
use crate::format;
use crate::function::{Function, Kind};
use crate::literal::from_utf8;
use crate::machine::{Machine, print_all_indirect};
use crate::value::{List, Value, int};

const ANY: &[Kind] = &[Kind::Any];
const TWO: &[Kind] = &[Kind::Any, Kind::Any];

pub(crate) static BUILTINS: &[Function] = &[
    // These two are evaluated by the machine; here they say what they take.
    Function::variadic("and", ANY, Kind::Any, |_, _| Ok(Value::Absent)),
    Function::variadic("or", ANY, Kind::Any, |_, _| Ok(Value::Absent)),
    Function::new("not", ANY, |_, args| Ok((!args[0].is_true()).into())),
    Function::variadic("call", ANY, Kind::Any, |_, args| Err(call(&args[0]).into())),
    Function::variadic("html", &[], Kind::Any, |machine, args| {
        printed(machine, args, escape::html)
    }),
    Function::variadic("js", &[], Kind::Any, |machine, args| {
        printed(machine, args, escape::js)
    }),
    Function::variadic("urlquery", &[], Kind::Any, |machine, args| {
        printed(machine, args, escape::query)
    }),
    Function::variadic("index", ANY, Kind::Any, |_, args| {
        Ok(index(&args[0], &args[1..])?)
    }),
    Function::variadic("slice", ANY, Kind::Any, |machine, args| {
        machine.charge_bytes(args[0].text().len())?;
        Ok(slice(&args[0], &args[1..])?)
    }),
    Function::new("len", ANY, |_, args| Ok(length(&args[0])?)),
    Function::variadic("print", &[], Kind::Any, |machine, args| {
        let mut text = machine.new_text();
        format::print(&mut text, args);
        machine.take_text(text)
    }),
    Function::variadic("printf", &[Kind::String], Kind::Any, |machine, args| {
        let mut text = machine.new_text();
        format::printf(&mut text, args[0].text(), &args[1..]);
        machine.take_text(text)
    }),
    Function::variadic("println", &[], Kind::Any, |machine, args| {
        let mut text = machine.new_text();
        format::println(&mut text, args);
        machine.take_text(text)
    }),
    Function::variadic("eq", ANY, Kind::Any, |_, args| {
        Ok(equal_any(&args[0], &args[1..])?.into())
    }),
    Function::new(
        "ne",
        TWO,
        |_, args| Ok((!equal(&args[0], &args[1])?).into()),
    ),
    Function::new("lt", TWO, |_, args| {
        Ok(compare(&args[0], &args[1])?
            .is_some_and(Ordering::is_lt)
            .into())
    }),
    Function::new("le", TWO, |_, args| {
        Ok(compare(&args[0], &args[1])?
            .is_some_and(Ordering::is_le)
            .into())
    }),
    // As in Go the negations of the two above, also for what is no number.
    Function::new("gt", TWO, |_, args| {
        Ok((!compare(&args[0], &args[1])?.is_some_and(Ordering::is_le)).into())
    }),
    Function::new("ge", TWO, |_, args| {
        Ok((!compare(&args[0], &args[1])?.is_some_and(Ordering::is_lt)).into())
    }),
];

/// There are no values that are functions.
fn call(value: &Value) -> String {
    match value {
        Value::Absent | Value::Nil => "call of nil".to_owned(),
        value => format!("non-function of type {}", value.type_name()),
    }
}

fn printed(
    machine: &mut Machine<'_>,
    args: &[Value],
    escape: fn(&mut format::Bounded, &str),
) -> Result<Value, Failure> {
    let mut plain = machine.new_text();
    print_all_indirect(&mut plain, args);
    let plain = machine.take_text(plain)?;
    let mut escaped = machine.new_text();
    escape(&mut escaped, plain.text());
    machine.take_text(escaped)
}

fn index(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    if item.is_nothing() {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = item.clone();
    for index in indexes {
        item = match &item {
            Value::Absent | Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::List(list) => {
                let at = position(index, list.items.len())?;
                let found = list.items.get(at).cloned();
                found.ok_or_else(|| format!("reflect: slice index out of range: {at}"))?
            }
            Value::String(text) | Value::Safe(_, text) => {
                let at = position(index, text.len())?;
                let byte = text.as_bytes().get(at);
                Value::Int(i64::from(*byte.ok_or_else(|| {
                    format!("reflect: string index out of range: {at}")
                })?))
            }
            Value::Map(map) => match index {
                Value::String(key) => map.get(key),
                Value::Absent | Value::Nil => {
                    return Err("value is nil; should be of type string".to_owned());
                }
                other => {
                    return Err(format!(
                        "value has type {}; should be string",
                        other.type_name()
                    ));
                }
            },
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(item)
}

/// Returns an index between 0 and `capacity`, which may be just behind the last element.
fn position(index: &Value, capacity: usize) -> Result<usize, String> {
    let number = index.as_int().ok_or_else(|| match index {
        Value::Absent | Value::Nil => "cannot index slice/array with nil".to_owned(),
        other => format!("cannot index slice/array with type {}", other.type_name()),
    })?;
    usize::try_from(number)
        .ok()
        .filter(|position| *position <= capacity)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn slice(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    let length = match item {
        Value::Absent | Value::Nil => return Err("slice of untyped nil".to_owned()),
        _ if indexes.len() > 3 => return Err(format!("too many slice indexes: {}", indexes.len())),
        Value::String(_) | Value::Safe(..) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) | Value::Safe(_, text) => text.len(),
        Value::List(list) => list.items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [start, end, capacity] = bounds;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    if end > capacity {
        return Err(format!("invalid slice index: {end} > {capacity}"));
    }
    Ok(match item {
        Value::List(list) => {
            let items = list.items.get(start..end).unwrap_or_default().to_vec();
            List::new(list.kind, items).map_or(Value::Absent, Value::List)
        }
        Value::Safe(safe, text) => Value::Safe(*safe, bytes_of(text, start, end)),
        item => Value::String(bytes_of(item.text(), start, end)),
    })
}

/// Returns a part of `text`; halves of characters become U+FFFD.
fn bytes_of(text: &str, start: usize, end: usize) -> Arc<str> {
    match text.get(start..end) {
        Some(part) => part.into(),
        None => from_utf8(text.as_bytes().get(start..end).unwrap_or_default().to_vec()).into(),
    }
}

fn length(item: &Value) -> Result<Value, String> {
    Ok(int(match item {
        Value::String(text) | Value::Safe(_, text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Absent | Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    }))
}

fn equal_any(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Ok(a == b);
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::String(a) | Value::Safe(_, a), Value::String(b) | Value::Safe(_, b)) => Ok(a == b),
        (Value::Absent | Value::Nil, Value::Absent | Value::Nil) => Ok(true),
        (Value::Absent | Value::Nil, _) | (_, Value::Absent | Value::Nil) => Ok(false),
        (Value::Time(a), Value::Time(b)) => Ok(a.since(b).nanoseconds() == 0),
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => {
            Err(format!("non-comparable type {}", b.type_name()))
        }
        (Value::Struct(a), Value::Struct(b)) if a.kind == b.kind => {
            for (a, b) in a.fields.iter().zip(b.fields.iter()) {
                if !equal(a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (
            Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Time(_),
            Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Time(_),
        ) => Err(format!(
            "non-comparable types {}, {}",
            a.type_name(),
            b.type_name()
        )),
        _ => Err(incompatible(a, b)),
    }
}

/// `None` when one of two floats is no number.
fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return Ok(Some(a.cmp(&b)));
    }
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::String(a) | Value::Safe(_, a), Value::String(b) | Value::Safe(_, b)) => {
            Ok(Some(a.cmp(b)))
        }
        (Value::Bool(_), Value::Bool(_)) => Err("invalid type for comparison".to_owned()),
        _ if is_basic(a) && is_basic(b) => Err(incompatible(a, b)),
        _ => Err("invalid type for comparison".to_owned()),
    }
}

const fn is_basic(value: &Value) -> bool {
    matches!(
        value,
        Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::Safe(..)
            | Value::Named(..)
            | Value::Duration(_)
    )
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!(
        "incompatible types for comparison: {} and {}",
        a.type_name(),
        b.type_name()
    )
}
