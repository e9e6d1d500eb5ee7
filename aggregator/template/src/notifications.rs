//! Templates of notifications: Alertmanager's data and functions.

mod data;
mod functions;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use functions::NOTIFICATION_FUNCTIONS;

use crate::error::Failure;
use crate::function::{Function, Kind};
use crate::time::Time;
use crate::value::{Element, Entries, FieldType, ListType, MapType, STRINGS, StructType, Value};

/// What a notification's templates are given.
#[derive(Clone, Debug, Default)]
pub struct Notification {
    /// The receiver's name, as a regular expression that matches just it: so Alertmanager gives it.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The alerts of the group.
    pub alerts: Vec<Alert>,
    /// Why it is sent.
    pub notification_reason: String,
    /// Labels by which the group is made.
    pub group_labels: BTreeMap<String, String>,
    /// Labels that all alerts have alike.
    pub common_labels: BTreeMap<String, String>,
    /// Annotations that all alerts have alike.
    pub common_annotations: BTreeMap<String, String>,
    /// Labels of the route.
    pub route_labels: RouteLabels,
    /// The URL under which people reach us.
    pub external_url: String,
}

/// Labels of a route, whose values are templates.
#[derive(Clone, Debug)]
pub enum RouteLabels {
    /// The function `routeLabels` renders them.
    Templates(BTreeMap<String, String>),
    /// They are rendered already.
    Rendered(BTreeMap<String, String>),
}

impl Default for RouteLabels {
    fn default() -> Self {
        Self::Rendered(BTreeMap::new())
    }
}

/// One alert of a notification.
#[derive(Clone, Debug)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it began to fire.
    pub starts_at: Time,
    /// When it ends or has ended; Go's zero time when that is unknown.
    pub ends_at: Time,
    /// Where it came from.
    pub generator_url: String,
    /// The hash of its labels.
    pub fingerprint: String,
}

static DATA: StructType = StructType {
    name: "*template.Data",
    pointer: true,
    fields: &[
        FieldType::new("Receiver", "receiver"),
        FieldType::new("Status", "status"),
        FieldType::new("Alerts", "alerts"),
        FieldType::new("NotificationReason", "notification_reason"),
        FieldType::new("GroupLabels", "groupLabels"),
        FieldType::new("CommonLabels", "commonLabels"),
        FieldType::new("CommonAnnotations", "commonAnnotations"),
        FieldType::new("RouteLabels", "routeLabels"),
        FieldType::new("ExternalURL", "externalURL"),
        FieldType::hidden("routeLabelsRendered"),
    ],
};

static ALERT: StructType = StructType {
    name: "template.Alert",
    pointer: false,
    fields: &[
        FieldType::new("Status", "status"),
        FieldType::new("Labels", "labels"),
        FieldType::new("Annotations", "annotations"),
        FieldType::new("StartsAt", "startsAt"),
        FieldType::new("EndsAt", "endsAt"),
        FieldType::new("GeneratorURL", "generatorURL"),
        FieldType::new("Fingerprint", "fingerprint"),
    ],
};

static PAIR: StructType = StructType {
    name: "template.Pair",
    pointer: false,
    fields: &[
        FieldType::new("Name", "Name"),
        FieldType::new("Value", "Value"),
    ],
};

static ALERTS: ListType = ListType {
    name: "template.Alerts",
    element: Element::Struct(&ALERT),
    methods: &[
        Function::new("Firing", &[Kind::Any], |_, args| {
            Ok(with_status(&args[0], "firing"))
        }),
        Function::new("Resolved", &[Kind::Any], |_, args| {
            Ok(with_status(&args[0], "resolved"))
        }),
    ],
    text: None,
};

/// A part of the alerts has no methods.
static ALERT_LIST: ListType = ListType {
    name: "[]template.Alert",
    element: Element::Struct(&ALERT),
    methods: &[],
    text: None,
};

static PAIRS: ListType = ListType {
    name: "template.Pairs",
    element: Element::Struct(&PAIR),
    methods: &[
        Function::new("Names", &[Kind::Any], |machine, args| {
            charge_entries(machine, &args[0])?;
            Ok(of_pairs(&args[0], "Name"))
        }),
        Function::new("Values", &[Kind::Any], |machine, args| {
            charge_entries(machine, &args[0])?;
            Ok(of_pairs(&args[0], "Value"))
        }),
        Function::new("String", &[Kind::Any], |machine, args| {
            machine.take_string(args[0].own_text().unwrap_or_default())
        }),
    ],
    text: Some(pairs_text),
};

static NAMES: ListType = ListType {
    name: "template.Strings",
    element: Element::String,
    methods: &[Function::new(
        "Join",
        &[Kind::Any, Kind::String],
        |machine, args| functions::join(machine, args[1].text(), &args[0]),
    )],
    text: None,
};

static KV_METHODS: &[Function] = &[
    Function::new("SortedPairs", &[Kind::Any], |machine, args| {
        charge_entries(machine, &args[0])?;
        Ok(sorted_pairs(&args[0]))
    }),
    Function::new(
        "Remove",
        &[Kind::Any, Kind::ListLike(&STRINGS)],
        |machine, args| {
            charge_entries(machine, &args[0])?;
            charge_entries(machine, &args[1])?;
            Ok(without(&args[0], &args[1]))
        },
    ),
    Function::new("Names", &[Kind::Any], |machine, args| {
        charge_entries(machine, &args[0])?;
        Ok(of_pairs(&sorted_pairs(&args[0]), "Name"))
    }),
    Function::new("Values", &[Kind::Any], |machine, args| {
        charge_entries(machine, &args[0])?;
        Ok(of_pairs(&sorted_pairs(&args[0]), "Value"))
    }),
    Function::new("String", &[Kind::Any], |machine, args| {
        machine.take_string(args[0].own_text().unwrap_or_default())
    }),
];

static KV: MapType = MapType {
    name: "template.KV",
    element: Element::String,
    methods: KV_METHODS,
    text: Some(kv_text),
};

impl From<&Notification> for Value {
    fn from(notification: &Notification) -> Self {
        let alerts = notification.alerts.iter().map(Self::from).collect();
        let (route_labels, are_rendered) = match &notification.route_labels {
            RouteLabels::Templates(labels) => (labels, false),
            RouteLabels::Rendered(labels) => (labels, true),
        };
        let fields = vec![
            notification.receiver.as_str().into(),
            notification.status.as_str().into(),
            Self::flat_list(&ALERTS, alerts),
            notification.notification_reason.as_str().into(),
            Self::flat_map(&KV, &notification.group_labels),
            Self::flat_map(&KV, &notification.common_labels),
            Self::flat_map(&KV, &notification.common_annotations),
            Self::flat_map(&KV, route_labels),
            notification.external_url.as_str().into(),
            are_rendered.into(),
        ];
        Self::flat_struct(&DATA, fields)
    }
}

impl From<&Alert> for Value {
    fn from(alert: &Alert) -> Self {
        let fields = vec![
            alert.status.as_str().into(),
            Self::flat_map(&KV, &alert.labels),
            Self::flat_map(&KV, &alert.annotations),
            Self::Time(alert.starts_at.clone()),
            Self::Time(alert.ends_at.clone()),
            alert.generator_url.as_str().into(),
            alert.fingerprint.as_str().into(),
        ];
        Self::flat_struct(&ALERT, fields)
    }
}

fn charge_entries(machine: &mut crate::machine::Machine<'_>, value: &Value) -> Result<(), Failure> {
    let count = match value {
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        _ => 0,
    };
    machine.charge(u64::try_from(count).unwrap_or(u64::MAX))
}

fn with_status(alerts: &Value, status: &str) -> Value {
    let Value::List(alerts) = alerts else {
        return Value::Absent;
    };
    let has_status = |alert: &&Value| match alert {
        Value::Struct(fields) => fields
            .field("Status")
            .is_some_and(|value| value.text() == status),
        _ => false,
    };
    Value::flat_list(
        &ALERT_LIST,
        alerts.items.iter().filter(has_status).cloned().collect(),
    )
}

/// Returns pairs of name and value: `alertname` first, then by name.
fn sorted_pairs(map: &Value) -> Value {
    let Value::Map(map) = map else {
        return Value::Absent;
    };
    let pair = |(name, value): (&Arc<str>, &Value)| {
        Value::flat_struct(&PAIR, vec![Value::String(Arc::clone(name)), value.clone()])
    };
    let first = map.entries.get_key_value("alertname");
    let rest = map
        .entries
        .iter()
        .filter(|(name, _)| &***name != "alertname");
    Value::flat_list(&PAIRS, first.into_iter().chain(rest).map(pair).collect())
}

/// Returns one field of each pair.
fn of_pairs(pairs: &Value, field: &str) -> Value {
    let Value::List(pairs) = pairs else {
        return Value::Absent;
    };
    let values = pairs.items.iter().filter_map(|pair| match pair {
        Value::Struct(pair) => pair.field(field).cloned(),
        _ => None,
    });
    Value::flat_list(&NAMES, values.collect())
}

fn without(map: &Value, names: &Value) -> Value {
    let (Value::Map(map), Value::List(names)) = (map, names) else {
        return Value::Absent;
    };
    let names: std::collections::BTreeSet<&str> = names.items.iter().map(Value::text).collect();
    let kept = map
        .entries
        .iter()
        .filter(|(name, _)| !names.contains(&***name));
    Value::flat_map(&KV, kept.map(|(name, value)| (name, value.text())))
}

fn kv_text(entries: &Entries) -> String {
    let first = entries.get_key_value("alertname");
    let rest = entries.iter().filter(|(name, _)| &***name != "alertname");
    let pairs = first
        .into_iter()
        .chain(rest)
        .map(|(name, value)| format!("{name}={}", value.text()));
    pairs.collect::<Vec<_>>().join(", ")
}

fn pairs_text(pairs: &[Value]) -> String {
    let texts = pairs.iter().filter_map(|pair| match pair {
        Value::Struct(pair) => {
            let part = |name| pair.field(name).map_or("", Value::text);
            Some(format!("{}={}", part("Name"), part("Value")))
        }
        _ => None,
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Returns a route's label, and whether it is rendered already.
fn route_label(data: &Value, name: &str) -> Option<(String, bool)> {
    let Value::Struct(data) = data else {
        return None;
    };
    let Some(Value::Map(labels)) = data.field("RouteLabels") else {
        return None;
    };
    let label = labels.entries.get(name)?.text().to_owned();
    let is_rendered = data
        .field("routeLabelsRendered")
        .is_some_and(Value::is_true);
    Some((label, is_rendered))
}
