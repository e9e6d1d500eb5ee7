//! Alertmanager's configuration file, read as version 0.34 reads it.
//!
//! Whatever that refuses is refused, in its words, but all mistakes at once and with their places. What it inherits is resolved: a
//! [`Route`] knows all that holds for it, an [`Integration`] what it takes over from `global`. Paths of files are complete; secrets in
//! files are read when they are used.
//!
//! A few fields are ours. Alertmanager itself, and amtool where it is given the file, refuse them; where amtool asks us for the
//! configuration, they stand in comments ([`shown`]).
//!
//! | field | of | default | |
//! |---|---|---|---|
//! | `recurring_silences` | the configuration | none | list of `name`, `matchers`, `time_intervals` (names of such), `comment`: alerts that match are silenced in these times |
//! | `repeat_interval_max` | a route, inherited | `repeat_interval` | while nothing changes, each repeat comes after twice the time, at last after this |
//! | `send_resolved_suppressed` | a route, inherited | true | whether the end of an alert is told that was told of before it was silenced or inhibited |
//! | `style` | `slack_configs`, `msteamsv2_configs` | `plain` | `rich`: a message with colours, facts and buttons |

mod http;
mod integration;
mod reader;
mod route;
mod schema;
mod settings;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Mistakes, Node, NodeValue, Position, parse_yaml};
use template::Zone;

pub use integration::{Integration, IntegrationKind};
pub(crate) use reader::Reader;
pub use route::{GroupBy, InhibitRule, Route};
pub use settings::{Credential, Groups, Setting, Settings};
pub use shown::shown;

use crate::receiver::digest;
use crate::{MatcherMode, RecurringSilence, TimeInterval};

/// How long an alert without an end fires after it was last seen, when `resolve_timeout` is not given.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The contents of a configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long an alert without an end fires after it was last seen.
    pub resolve_timeout: Duration,
    /// The root of the routes.
    pub route: Route,
    /// By name.
    pub receivers: BTreeMap<String, Receiver>,
    /// In the order of the file.
    pub inhibit_rules: Vec<InhibitRule>,
    /// By name; an instant is in one when it is in one of its parts.
    pub time_intervals: TimeIntervals,
    /// Ours, in the order of the file.
    pub recurring_silences: Vec<RecurringSilence>,
    /// Patterns of files with templates.
    pub templates: Vec<PathBuf>,
    /// What still works but should be written otherwise.
    pub warnings: Vec<String>,
    /// The same for files that say the same, whatever their layout, comments and secrets; what is in files that they name counts for
    /// nothing.
    pub digest: u64,
}

/// Time intervals by name.
pub(crate) type TimeIntervals = BTreeMap<String, Vec<TimeInterval>>;

/// Who gets notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Labels, `name` included.
    pub labels: BTreeMap<String, String>,
    /// Where its notifications go: by kind, then in the order of the file.
    pub integrations: Vec<Integration>,
}

const FIELDS: &[&str] = &[
    "global",
    "route",
    "inhibit_rules",
    "receivers",
    "templates",
    "mute_time_intervals",
    "time_intervals",
    "tracing",
    "event_recorder",
    "recurring_silences",
];

impl Config {
    /// Reads a text; `path` is for messages and for what relative paths are relative to. `local` is the zone that time intervals
    /// call `Local`.
    pub fn parse(
        path: &Path,
        text: &str,
        mode: MatcherMode,
        local: &Zone,
    ) -> Result<Self, Mistakes> {
        let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut reader = Reader::new(path, mode);
        let mut config = Self::read(&mut reader, &root, local);
        config.digest = digest(&shown(text));
        Mistakes::none_in(reader.mistakes, config)
    }

    fn read(reader: &mut Reader<'_>, root: &Node, local: &Zone) -> Self {
        let entries = reader.entries(root);
        for (key, at, _) in &entries {
            if !FIELDS.contains(key) {
                reader.unknown(*at, key, "the configuration", FIELDS.iter().copied());
            }
        }
        let empty = Node {
            at: Position { line: 1, column: 1 },
            value: NodeValue::Null,
        };
        let part = |name: &str| root.get(name).unwrap_or(&empty);
        check_tracing(reader, part("tracing"));
        let global = global(reader, part("global"));
        let receivers = receivers(reader, part("receivers"), &global);
        let time_intervals = time_intervals(
            reader,
            part("mute_time_intervals"),
            part("time_intervals"),
            local,
        );
        let recurring_silences =
            RecurringSilence::read_all(reader, part("recurring_silences"), &time_intervals);
        let inhibit_rules = reader.items(part("inhibit_rules")).unwrap_or_default();
        let inhibit_rules = inhibit_rules
            .iter()
            .map(|rule| InhibitRule::read(reader, rule))
            .collect();
        let route = root_route(reader, root);
        if let Some(node) = root.get("route") {
            check_names(reader, node, &receivers, &time_intervals);
        }
        let templates = reader.items(part("templates")).unwrap_or_default();
        let templates = templates
            .iter()
            .filter_map(|file| reader.file(file))
            .collect();
        Self {
            resolve_timeout: match global.get("resolve_timeout") {
                Some(Setting::Duration(timeout)) => *timeout,
                _ => RESOLVE_TIMEOUT,
            },
            route,
            receivers,
            inhibit_rules,
            time_intervals,
            recurring_silences,
            templates,
            warnings: std::mem::take(&mut reader.warnings),
            digest: 0,
        }
    }
}

fn global(reader: &mut Reader<'_>, node: &Node) -> Settings {
    let global = Settings::read(reader, node, schema::GLOBAL, "global");
    if let Some(group) = global.group("http_config") {
        let at = node.get("http_config").map_or(node.at, |http| http.at);
        http::check(reader, at, &group.clone());
    }
    let files = [
        "slack_app_token",
        "slack_api_url",
        "opsgenie_api_key",
        "victorops_api_key",
        "telegram_bot_token",
        "smtp_auth_password",
        "rocketchat_token",
        "rocketchat_token_id",
        "smtp_auth_secret",
        "wechat_api_secret",
        "mattermost_webhook_url",
    ];
    for name in files {
        let file = format!("{name}_file");
        if global.has(name) && global.has(&file) {
            reader.refuse::<()>(
                node.at,
                format!("at most one of {name} & {file} must be configured"),
            );
        }
    }
    let has_token = global.has("slack_app_token") || global.has("slack_app_token_file");
    let has_url = global.has("slack_api_url") || global.has("slack_api_url_file");
    // Both may be the same, as people had it before there were tokens.
    let same = matches!(global.get("slack_api_url"), Some(Setting::Secret(url)) if url.expose() == global.text("slack_app_url"));
    if has_token && has_url && !same {
        reader.refuse::<()>(
            node.at,
            "at most one of slack_app_token/slack_app_token_file & slack_api_url/slack_api_url_file must be configured",
        );
    }
    global
}

/// Traces of ours go another way; what is set here is checked all the same.
fn check_tracing(reader: &mut Reader<'_>, node: &Node) {
    if matches!(node.value, NodeValue::Null) {
        return;
    }
    let tracing = Settings::read(reader, node, schema::TRACING, "tracing");
    let (client, compression) = (tracing.text("client_type"), tracing.text("compression"));
    if !matches!(client, "http" | "grpc") {
        let message =
            format!("expected tracing client type to be to be http or grpc, but got {client}");
        reader.refuse::<()>(node.at, message);
    }
    if !tracing.has("endpoint") {
        reader.refuse::<()>(node.at, "tracing endpoint must be set");
    }
    if !matches!(compression, "" | "gzip") {
        let message =
            format!("invalid compression type {compression} provided, valid options: gzip");
        reader.refuse::<()>(node.at, message);
    }
}

fn receivers(
    reader: &mut Reader<'_>,
    node: &Node,
    global: &Settings,
) -> BTreeMap<String, Receiver> {
    let mut receivers = BTreeMap::new();
    for item in reader.items(node).unwrap_or_default() {
        let receiver = receiver(reader, item, global);
        if receiver.name.is_empty() {
            reader.refuse::<()>(item.at, "missing name in receiver");
        } else if receivers.contains_key(&receiver.name) {
            reader.refuse::<()>(
                item.at,
                format!("notification config name {:?} is not unique", receiver.name),
            );
        }
        receivers.insert(receiver.name.clone(), receiver);
    }
    receivers
}

fn receiver(reader: &mut Reader<'_>, node: &Node, global: &Settings) -> Receiver {
    let mut receiver = Receiver {
        name: String::new(),
        labels: BTreeMap::new(),
        integrations: Vec::new(),
    };
    for (key, at, value) in reader.entries(node) {
        let kind = key
            .strip_suffix("_configs")
            .and_then(|name| IntegrationKind::ALL.iter().find(|kind| kind.name() == name));
        match (key, kind) {
            ("name", _) => receiver.name = reader.text(value).unwrap_or_default(),
            ("labels", _) => receiver.labels = reader.map(value),
            (_, Some(kind)) => {
                for (index, item) in reader.items(value).unwrap_or_default().iter().enumerate() {
                    let integration = Integration::read(reader, *kind, index, item, global);
                    receiver.integrations.push(integration);
                }
            }
            _ => {
                let lists: Vec<String> = IntegrationKind::ALL
                    .iter()
                    .map(|kind| format!("{}_configs", kind.name()))
                    .collect();
                let accepted = ["name", "labels"]
                    .into_iter()
                    .chain(lists.iter().map(String::as_str));
                reader.unknown(at, key, "receiver", accepted);
            }
        }
    }
    receiver
        .integrations
        .sort_by_key(|integration| (integration.kind, integration.index));
    let name = receiver.name.clone();
    match receiver.labels.insert("name".to_owned(), name.clone()) {
        Some(label) if label != name => {
            reader.refuse::<()>(
                node.at,
                format!("receiver label \"name\" must match receiver name {name:?}, got {label:?}"),
            );
        }
        _ => {}
    }
    receiver
}

fn time_intervals(
    reader: &mut Reader<'_>,
    mute: &Node,
    plain: &Node,
    local: &Zone,
) -> TimeIntervals {
    let mut intervals = TimeIntervals::new();
    for (node, what) in [(mute, "mute time interval"), (plain, "time interval")] {
        for item in reader.items(node).unwrap_or_default() {
            let (mut name, mut parts) = (String::new(), Vec::new());
            for (key, at, value) in reader.entries(item) {
                match key {
                    "name" => name = reader.text(value).unwrap_or_default(),
                    "time_intervals" => {
                        let items = reader.items(value).unwrap_or_default();
                        parts = items
                            .iter()
                            .map(|part| TimeInterval::read(reader, part, local))
                            .collect();
                    }
                    _ => reader.unknown(at, key, what, ["name", "time_intervals"]),
                }
            }
            if name.is_empty() {
                reader.refuse::<()>(item.at, format!("missing name in {what}"));
            } else if intervals.contains_key(&name) {
                reader.refuse::<()>(item.at, format!("{what} {name:?} is not unique"));
            }
            intervals.insert(name, parts);
        }
    }
    intervals
}

/// Reads the root, of which more is asked than of other routes.
fn root_route(reader: &mut Reader<'_>, root: &Node) -> Route {
    let outermost = Route::outermost();
    let Some(node) = root
        .get("route")
        .filter(|node| !matches!(node.value, NodeValue::Null))
    else {
        let message = match root.value {
            NodeValue::Null => "no route provided in config",
            _ => "no routes provided",
        };
        reader.refuse::<()>(root.at, message);
        return outermost;
    };
    let route = Route::read(reader, node, &outermost);
    let problems = [
        (
            route.receiver.is_empty(),
            "root route must specify a default receiver",
        ),
        (
            !route.matchers.is_empty(),
            "root route must not have any matchers",
        ),
        (
            !route.mute_time_intervals.is_empty(),
            "root route must not have any mute time intervals",
        ),
        (
            !route.active_time_intervals.is_empty(),
            "root route must not have any active time intervals",
        ),
        (route.continues, "cannot have continue in root route"),
    ];
    for (_, message) in problems.into_iter().filter(|(is_one, _)| *is_one) {
        reader.refuse::<()>(node.at, message);
    }
    route
}

/// Checks that what routes name is there.
fn check_names(
    reader: &mut Reader<'_>,
    node: &Node,
    receivers: &BTreeMap<String, Receiver>,
    intervals: &TimeIntervals,
) {
    let list = |name: &str| match node.get(name).map(|list| &list.value) {
        Some(NodeValue::List(items)) => items.as_slice(),
        _ => &[],
    };
    for child in list("routes") {
        check_names(reader, child, receivers, intervals);
    }
    if let Some(Node {
        at,
        value: NodeValue::Scalar(name),
    }) = node.get("receiver")
        && !name.is_empty()
        && !receivers.contains_key(name)
    {
        reader.refuse::<()>(*at, format!("undefined receiver {name:?} used in route"));
    }
    let named = list("active_time_intervals")
        .iter()
        .chain(list("mute_time_intervals"));
    let mut seen = BTreeSet::new();
    for item in named {
        if let NodeValue::Scalar(name) = &item.value
            && !intervals.contains_key(name)
            && seen.insert(name)
        {
            reader.refuse::<()>(
                item.at,
                format!("undefined time interval {name:?} used in route"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
