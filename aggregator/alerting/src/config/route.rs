//! The tree of routes, and the rules of inhibition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use config::{Node, NodeValue};
use model::{MatchOp, Matcher, format_duration};

use super::Reader;
use crate::matcher::{is_classic_label_name, sort};
use crate::repeat::Repeats;

/// A route with all that holds for it, what it inherits included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who gets the notifications.
    pub receiver: String,
    /// What an alert has to match, sorted; the root has none.
    pub matchers: Vec<Matcher>,
    /// Whether routes after this are tried as well.
    pub continues: bool,
    /// By what alerts are grouped.
    pub group_by: GroupBy,
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// How long a group waits before it tells of changes.
    pub group_interval: Duration,
    /// After how long a notification is repeated.
    pub repeat_interval: Duration,
    /// Ours: while nothing changes, a notification is repeated after twice the time each time, at last after this; `None`: always after
    /// `repeat_interval`.
    pub repeat_interval_max: Option<Duration>,
    /// Time intervals in which nothing is sent.
    pub mute_time_intervals: Vec<String>,
    /// Time intervals outside of which nothing is sent; none: always.
    pub active_time_intervals: Vec<String>,
    /// Labels for notifications, whose values are templates.
    pub labels: BTreeMap<String, String>,
    /// Ours: whether the end of an alert is told that somebody was told of, and that is silenced or inhibited when it ends.
    pub send_resolved_suppressed: bool,
    /// Routes within this; the first that matches takes an alert.
    pub routes: Vec<Self>,
}

/// By what alerts are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// All labels: every alert is a group.
    All,
    /// The values of these.
    Labels(BTreeSet<String>),
}

/// A rule by which an alert silences others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InhibitRule {
    /// Its name, or nothing.
    pub name: String,
    /// What the alert that silences has to match.
    pub source_matchers: Vec<Matcher>,
    /// What alerts have to match to be silenced.
    pub target_matchers: Vec<Matcher>,
    /// Labels that both must have alike; a missing one is an empty one.
    pub equal: Vec<String>,
}

const FIELDS: &[&str] = &[
    "receiver",
    "group_by",
    "match",
    "match_re",
    "matchers",
    "mute_time_intervals",
    "active_time_intervals",
    "continue",
    "routes",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "repeat_interval_max",
    "labels",
    "send_resolved_suppressed",
];

impl Route {
    /// What holds where nothing is said.
    pub(super) fn outermost() -> Self {
        Self {
            receiver: String::new(),
            matchers: Vec::new(),
            continues: false,
            group_by: GroupBy::Labels(BTreeSet::new()),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 3600),
            repeat_interval_max: None,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            labels: BTreeMap::new(),
            send_resolved_suppressed: true,
            routes: Vec::new(),
        }
    }

    /// Reads a route within `parent`.
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node, parent: &Self) -> Self {
        let mut route = Self {
            matchers: Vec::new(),
            continues: false,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            routes: Vec::new(),
            ..parent.clone()
        };
        let mut children = None;
        for (key, at, value) in reader.entries(node) {
            match key {
                "receiver" => {
                    route.receiver = reader
                        .text(value)
                        .filter(|name| !name.is_empty())
                        .unwrap_or(route.receiver)
                }
                "group_by" => route.group_by = group_by(reader, value).unwrap_or(route.group_by),
                "match" => route.matchers.extend(equal_matchers(reader, value)),
                "match_re" => route.matchers.extend(regex_matchers(reader, value)),
                "matchers" => route.matchers.extend(reader.matchers(value)),
                "mute_time_intervals" => {
                    route.mute_time_intervals = reader.texts(value).unwrap_or_default()
                }
                "active_time_intervals" => {
                    route.active_time_intervals = reader.texts(value).unwrap_or_default()
                }
                "continue" => route.continues = reader.flag(value).unwrap_or(false),
                "group_wait" => {
                    route.group_wait = reader.duration(value).unwrap_or(route.group_wait)
                }
                "group_interval" => {
                    route.group_interval =
                        interval(reader, value, key).unwrap_or(route.group_interval)
                }
                "repeat_interval" => {
                    route.repeat_interval =
                        interval(reader, value, key).unwrap_or(route.repeat_interval)
                }
                "repeat_interval_max" => {
                    route.repeat_interval_max =
                        interval(reader, value, key).or(route.repeat_interval_max)
                }
                "labels" => {
                    for (name, at, text) in reader.entries(value) {
                        if !reader.mode.is_valid_label_name(name) {
                            reader.refuse::<()>(
                                at,
                                format!("invalid label name {name:?} in route labels"),
                            );
                        }
                        route
                            .labels
                            .insert(name.to_owned(), reader.text(text).unwrap_or_default());
                    }
                }
                "send_resolved_suppressed" => {
                    route.send_resolved_suppressed =
                        reader.flag(value).unwrap_or(route.send_resolved_suppressed)
                }
                "routes" => children = Some(value),
                _ => reader.unknown(at, key, "route", FIELDS.iter().copied()),
            }
        }
        sort(&mut route.matchers);
        route.check_repeats(reader, node);
        let children = children
            .and_then(|children| reader.items(children))
            .unwrap_or_default();
        for child in children {
            if matches!(child.value, NodeValue::Null) {
                reader.refuse::<()>(child.at, "a route must not be empty");
            }
        }
        route.routes = children
            .iter()
            .map(|child| Self::read(reader, child, &route))
            .collect();
        route
    }

    fn check_repeats(&self, reader: &mut Reader<'_>, node: &Node) {
        let first = self.repeat_interval;
        if let Some(longest) = self.repeat_interval_max.filter(|longest| *longest < first) {
            let (first, longest) = (format_duration(first), format_duration(longest));
            let message = format!(
                "repeat_interval_max {longest} is shorter than repeat_interval {first}; set it to {first} or more"
            );
            reader.refuse::<()>(node.at, message);
        }
    }

    /// Returns when notifications are repeated.
    pub(crate) fn repeats(&self) -> Repeats {
        Repeats {
            first: self.repeat_interval,
            longest: self.repeat_interval_max.unwrap_or(self.repeat_interval),
        }
    }
}

fn interval(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Duration> {
    let interval = reader.duration(node)?;
    if interval.is_zero() {
        return reader.refuse(node.at, format!("{name} cannot be zero"));
    }
    Some(interval)
}

fn group_by(reader: &mut Reader<'_>, node: &Node) -> Option<GroupBy> {
    let names = reader.texts(node)?;
    let (all, names): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name == "...");
    let mut labels = BTreeSet::new();
    for name in names {
        if !reader.mode.is_valid_label_name(&name) {
            return reader.refuse(
                node.at,
                format!("invalid label name {name:?} in group_by list"),
            );
        }
        if labels.contains(&name) {
            return reader.refuse(node.at, format!("duplicated label {name:?} in group_by"));
        }
        labels.insert(name);
    }
    match (all.is_empty(), labels.is_empty()) {
        (false, false) => reader.refuse(
            node.at,
            "cannot have wildcard group_by (`...`) and other labels at the same time",
        ),
        (false, true) => Some(GroupBy::All),
        (true, _) => Some(GroupBy::Labels(labels)),
    }
}

/// The old form of matchers: `name: value`.
fn equal_matchers(reader: &mut Reader<'_>, node: &Node) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    for (name, at, value) in reader.entries(node) {
        check_name(reader, at, name);
        matchers.push(Matcher::equal(name, reader.text(value).unwrap_or_default()));
    }
    matchers
}

/// The old form of matchers with expressions. As in Alertmanager their anchors are written out: keys of groups are made of them.
fn regex_matchers(reader: &mut Reader<'_>, node: &Node) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    for (name, at, value) in reader.entries(node) {
        check_name(reader, at, name);
        if matches!(value.value, NodeValue::Null) {
            reader.refuse::<()>(at, format!("invalid regexp value for {name:?}"));
            continue;
        }
        let Some(text) = reader.text(value) else {
            continue;
        };
        let matcher = |text: String| Matcher::new(name, MatchOp::Regex, text);
        match matcher(text.clone()).and_then(|_| matcher(format!("^(?:{text})$"))) {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => drop(reader.refuse::<()>(value.at, error.to_string())),
        }
    }
    matchers
}

fn check_name(reader: &mut Reader<'_>, at: config::Position, name: &str) {
    if !is_classic_label_name(name) {
        reader.refuse::<()>(at, format!("invalid label name {name:?}"));
    }
}

impl InhibitRule {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Self {
        const FIELDS: &[&str] = &[
            "name",
            "source_match",
            "source_match_re",
            "source_matchers",
            "target_match",
            "target_match_re",
            "target_matchers",
            "equal",
        ];
        let mut rule = Self::default();
        for (key, at, value) in reader.entries(node) {
            match key {
                "name" => rule.name = reader.text(value).unwrap_or_default(),
                "source_match" => rule.source_matchers.extend(equal_matchers(reader, value)),
                "source_match_re" => rule.source_matchers.extend(regex_matchers(reader, value)),
                "source_matchers" => rule.source_matchers.extend(reader.matchers(value)),
                "target_match" => rule.target_matchers.extend(equal_matchers(reader, value)),
                "target_match_re" => rule.target_matchers.extend(regex_matchers(reader, value)),
                "target_matchers" => rule.target_matchers.extend(reader.matchers(value)),
                "equal" => rule.equal = reader.texts(value).unwrap_or_default(),
                _ => reader.unknown(at, key, "inhibit rule", FIELDS.iter().copied()),
            }
        }
        for name in &rule.equal {
            if !reader.mode.is_valid_label_name(name) {
                reader.refuse::<()>(
                    node.at,
                    format!("invalid label name {name:?} in equal list"),
                );
            }
        }
        rule
    }
}
