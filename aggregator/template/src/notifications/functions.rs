//! What templates of notifications may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::route_label;
use crate::error::Failure;
use crate::escape;
use crate::function::{Function, Kind};
use crate::functions::{COMMON, STRING, title};
use crate::json;
use crate::literal::from_utf8;
use crate::machine::Machine;
use crate::rules::too_deep;
use crate::templates::Functions;
use crate::time::{Time, Zone, format, parse};
use crate::value::{ANY_LIST, ANY_MAP, List, Map, STRINGS, Safe, Value};

/// What templates of notifications may use.
pub const NOTIFICATION_FUNCTIONS: Functions = Functions(&[COMMON, NOTIFICATIONS]);

const LAYOUT_AND_TEXT: &[Kind] = &[Kind::String, Kind::String];

static NOTIFICATIONS: &[Function] = &[
    Function::new("title", STRING, |machine, args| {
        machine.take_string(title(args[0].text(), true))
    }),
    Function::new("trimSpace", STRING, |machine, args| {
        machine.take_string(args[0].text().trim().to_owned())
    }),
    Function::new(
        "join",
        &[Kind::String, Kind::ListLike(&STRINGS)],
        |machine, args| join(machine, args[0].text(), &args[1]),
    ),
    Function::variadic("stringSlice", &[], Kind::String, |machine, args| {
        charge_items(machine, args.len())?;
        Ok(Value::flat_list(&STRINGS, args.to_vec()))
    }),
    Function::new("safeUrl", STRING, |_, args| {
        Ok(Value::Safe(Safe::Url, Arc::from(args[0].text())))
    }),
    Function::new("urlUnescape", STRING, |machine, args| {
        let text = escape::unescape_query(args[0].text())?;
        machine.take_string(text)
    }),
    Function::new("routeLabels", STRING, |machine, args| {
        route_labels(machine, args[0].text())
    }),
    Function::new("date", &[Kind::String, Kind::Time], |machine, args| {
        let text = format(time(&args[1]), args[0].text());
        machine.take_string(text)
    }),
    Function::new("tz", &[Kind::String, Kind::Time], |machine, args| {
        let name = args[0].text();
        let zone = match name {
            "Local" => Some(machine.environment().zone()),
            _ => Zone::named(name),
        };
        let zone = zone.ok_or_else(|| format!("unknown time zone {name}"))?;
        Ok(Value::Time(time(&args[1]).shown_in(zone)))
    }),
    Function::new("now", &[], |machine, _| {
        Ok(Value::Time(machine.environment().now()))
    }),
    Function::new("since", &[Kind::Time], |machine, args| {
        Ok(Value::Duration(
            machine.environment().now().since(time(&args[0])),
        ))
    }),
    Function::new("toDate", LAYOUT_AND_TEXT, |_, args| {
        let read = parse(args[0].text(), args[1].text());
        Ok(Value::Time(read.unwrap_or_else(|_| Time::zero())))
    }),
    Function::new("mustToDate", LAYOUT_AND_TEXT, |_, args| {
        Ok(Value::Time(parse(args[0].text(), args[1].text())?))
    }),
    Function::new("toJson", &[Kind::Any], |machine, args| {
        let mut text = machine.new_text();
        json::write(&mut text, &args[0])?;
        machine.take_text(text)
    }),
    Function::new("base64encode", STRING, |machine, args| {
        machine.take_string(URL_SAFE.encode(args[0].text()))
    }),
    Function::new("base64decode", STRING, |machine, args| {
        let plain: String = args[0]
            .text()
            .chars()
            .filter(|character| !matches!(character, '\r' | '\n'))
            .collect();
        let bytes = URL_SAFE
            .decode(plain)
            .map_err(|error| format!("illegal base64 data: {error}"))?;
        machine.take_string(from_utf8(bytes))
    }),
    Function::variadic("list", &[], Kind::Any, |machine, args| {
        list(machine, args.to_vec())
    }),
    Function::variadic(
        "append",
        &[Kind::ListLike(&ANY_LIST)],
        Kind::Any,
        |machine, args| {
            let mut items = match &args[0] {
                Value::List(list) => list.items.to_vec(),
                _ => Vec::new(),
            };
            items.extend_from_slice(&args[1..]);
            list(machine, items)
        },
    ),
    Function::variadic("dict", &[], Kind::Any, dict),
];

fn time(value: &Value) -> &Time {
    match value {
        Value::Time(time) => time,
        _ => unreachable!("checked by the kind of the parameter"),
    }
}

fn charge_items(machine: &mut Machine<'_>, count: usize) -> Result<(), Failure> {
    machine.charge(u64::try_from(count).unwrap_or(u64::MAX))
}

fn list(machine: &mut Machine<'_>, items: Vec<Value>) -> Result<Value, Failure> {
    charge_items(machine, items.len())?;
    List::new(&ANY_LIST, items)
        .map(Value::List)
        .map_err(|_| too_deep())
}

fn dict(machine: &mut Machine<'_>, args: &[Value]) -> Result<Value, Failure> {
    charge_items(machine, args.len())?;
    if !args.len().is_multiple_of(2) {
        return Err("dict requires an even number of arguments".into());
    }
    let mut entries = BTreeMap::new();
    for pair in args.chunks_exact(2) {
        let Value::String(key) = &pair[0] else {
            return Err("dict keys must be strings".into());
        };
        entries.insert(Arc::clone(key), pair[1].clone());
    }
    Map::new(&ANY_MAP, entries)
        .map(Value::Map)
        .map_err(|_| too_deep())
}

/// Returns the texts in `list` with `separator` between them.
pub(super) fn join(
    machine: &mut Machine<'_>,
    separator: &str,
    list: &Value,
) -> Result<Value, Failure> {
    let Value::List(list) = list else {
        return Ok(Value::from(""));
    };
    charge_items(machine, list.items.len())?;
    let mut text = machine.new_text();
    for (index, item) in list.items.iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        text.push_str(item.text());
    }
    machine.take_text(text)
}

/// Renders a label of the route, which may use others in turn.
fn route_labels(machine: &mut Machine<'_>, name: &str) -> Result<Value, Failure> {
    let Some((label, is_rendered)) = route_label(machine.data(), name) else {
        return Ok(Value::from(""));
    };
    if is_rendered {
        return machine.take_string(label);
    }
    if machine
        .route_labels
        .iter()
        .any(|rendering| **rendering == *name)
    {
        let mut names: Vec<&str> = machine.route_labels.iter().map(|name| &**name).collect();
        names.push(name);
        return Err(format!("route label cycle detected: {}", names.join(" -> ")).into());
    }
    machine.route_labels.push(name.into());
    let rendered = machine.render_text(&label);
    machine.route_labels.pop();
    machine.take_string(rendered?)
}
