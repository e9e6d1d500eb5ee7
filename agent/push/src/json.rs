//! The answers of the Pushgateway's HTTP API, version 1.

use std::time::{Duration, SystemTime};

use exposition::Part;
use gofloat::format_g;
use model::{MetricType, TimestampMs, Value};
use serde_json::{Map, Value as Json, json};
use telemetry::rfc3339;

use crate::expose::{count_of, part_of, shown_labels};
use crate::group::{Family, Group, OWN_SERIES};
use crate::store::Store;

/// Returns all groups, as `/api/v1/metrics` shows them.
pub(crate) fn metrics(store: &Store) -> String {
    let groups: Vec<Json> = store.groups().into_iter().map(group_json).collect();
    success(groups.into())
}

/// Returns the answer to `/api/v1/status`: the settings, when the agent started, and what it is.
pub fn status_json<'a>(
    flags: impl IntoIterator<Item = (&'a str, &'a str)>,
    started: TimestampMs,
    version: &str,
) -> String {
    success(json!({
        "flags": labels_json(flags),
        "start_time": time(started),
        "build_information": {"version": version},
    }))
}

fn success(data: Json) -> String {
    json!({"status": "success", "data": data}).to_string()
}

fn group_json(group: &Group) -> Json {
    let mut shown = Map::new();
    for family in &group.families {
        shown.insert(family.about.name.to_string(), family_json(group, family));
    }
    let last = group.pushed.max(group.failed).unwrap_or_default();
    for ((name, help), at) in OWN_SERIES.iter().zip([group.pushed, group.failed]) {
        let seconds = at.map_or(0.0, TimestampMs::as_seconds);
        let metric = json!({
            "labels": labels_json(shown_labels(&group.key, None, None)),
            "value": format_g(seconds),
        });
        shown.insert(
            (*name).to_owned(),
            json!({"time_stamp": time(last), "type": "GAUGE", "help": help, "metrics": [metric]}),
        );
    }
    shown.insert("labels".to_owned(), labels_json(group.key.iter()));
    let successful = group.last_push_successful();
    shown.insert("last_push_successful".to_owned(), successful.into());
    shown.into()
}

fn family_json(group: &Group, family: &Family) -> Json {
    let mut shown = Map::new();
    shown.insert("time_stamp".to_owned(), time(family.at).into());
    shown.insert("type".to_owned(), type_name(family.about.kind).into());
    if !family.about.help.is_empty() {
        shown.insert("help".to_owned(), family.about.help.to_string().into());
    }
    shown.insert("metrics".to_owned(), metrics_json(group, family).into());
    shown.into()
}

fn metrics_json(group: &Group, family: &Family) -> Vec<Json> {
    let mut metrics: Vec<Map<String, Json>> = Vec::new();
    let mut last = Vec::new();
    for (labels, value) in group.series(family) {
        let part = part_of(family, labels);
        let bound = part.bound().map(|(label, _)| label);
        let shown = shown_labels(&group.key, Some(labels), bound);
        // The parts of a metric stand together.
        if metrics.is_empty() || last != shown {
            let labels = labels_json(shown.iter().copied());
            metrics.push(Map::from_iter([("labels".to_owned(), labels)]));
            last = shown;
        }
        if let Some(metric) = metrics.last_mut() {
            put_part(metric, part, value);
        }
    }
    metrics.into_iter().map(Json::from).collect()
}

fn put_part(metric: &mut Map<String, Json>, part: Part, value: &Value) {
    let value = match value {
        Value::Float(value) => *value,
        Value::Histogram(histogram) => {
            metric.insert("sum".to_owned(), format_g(histogram.sum).into());
            metric.insert("count".to_owned(), format_g(count_of(histogram)).into());
            return;
        }
    };
    let (list, bound) = match part {
        Part::Value => return put(metric, "value", value),
        Part::Sum | Part::Created => return put(metric, "sum", value),
        Part::Count => return put(metric, "count", value),
        Part::Bucket(bound) => ("buckets", bound),
        Part::Quantile(bound) => ("quantiles", bound),
    };
    let list = metric.entry(list).or_insert_with(|| Map::new().into());
    list[format_g(bound)] = format_g(value).into();
}

fn put(metric: &mut Map<String, Json>, name: &str, value: f64) {
    metric.insert(name.to_owned(), format_g(value).into());
}

fn labels_json<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Json {
    let labels = labels.into_iter();
    let pairs = labels.map(|(name, value)| (name.to_owned(), Json::from(value)));
    pairs.collect::<Map<_, _>>().into()
}

/// What the protocol buffers call it.
const fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "COUNTER",
        MetricType::Gauge | MetricType::Info | MetricType::StateSet => "GAUGE",
        MetricType::Summary => "SUMMARY",
        MetricType::Unknown => "UNTYPED",
        MetricType::Histogram => "HISTOGRAM",
        MetricType::GaugeHistogram => "GAUGE_HISTOGRAM",
    }
}

fn time(at: TimestampMs) -> String {
    let since_epoch = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    rfc3339(SystemTime::UNIX_EPOCH + since_epoch)
}
