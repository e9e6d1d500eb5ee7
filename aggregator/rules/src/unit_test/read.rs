//! Reading files of tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use config::{Mistakes, Node, NodeValue, parse_yaml};
use model::{Labels, LabelsBuilder, TimestampMs};

use super::{AlertCase, Expected, ExpectedSample, ExpressionCase, Test, UnitTests};
use crate::alert::ALERT_NAME;
use crate::file::{FileOptions, Reader};

const FILE_KEYS: &[&str] = &[
    "rule_files",
    "evaluation_interval",
    "group_eval_order",
    "tests",
    "fuzzy_compare",
];
const TEST_KEYS: &[&str] = &[
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
];
const INTERVAL: Duration = Duration::from_mins(1);

pub(super) fn read(path: &Path, text: &str) -> Result<UnitTests, Mistakes> {
    let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
    let mut reader = Reader::new(path, FileOptions::default());
    reader.known_keys(&root, "a file of unit tests", FILE_KEYS);
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let interval = reader
        .duration_of(&root, "evaluation_interval")
        .filter(|interval| !interval.is_zero())
        .unwrap_or(INTERVAL);
    let tests = UnitTests {
        rule_files: texts(&mut reader, &root, "rule_files")
            .iter()
            .map(|file| folder.join(file))
            .collect(),
        interval,
        order: group_order(&mut reader, &root),
        fuzzy: reader.switch_of(&root, "fuzzy_compare"),
        tests: (0..)
            .zip(reader.items_of(&root, "tests"))
            .map(|(place, node)| test(&mut reader, node, place, interval))
            .collect(),
    };
    Mistakes::none_in(reader.mistakes, tests)
}

fn texts(reader: &mut Reader<'_>, node: &Node, key: &str) -> Vec<String> {
    let items = reader.items_of(node, key);
    items.iter().map(|item| reader.text(item)).collect()
}

fn group_order(reader: &mut Reader<'_>, root: &Node) -> Vec<String> {
    let order = texts(reader, root, "group_eval_order");
    let mut seen = BTreeSet::new();
    if let Some(again) = order.iter().find(|name| !seen.insert(*name)) {
        let at = root.get("group_eval_order").unwrap_or(root).at;
        reader.refuse(
            at,
            format!("group name repeated in evaluation order: {again}"),
        );
    }
    order
}

fn test(reader: &mut Reader<'_>, node: &Node, place: usize, interval: Duration) -> Test {
    reader.known_keys(node, "a test", TEST_KEYS);
    let name = reader.text_of(node, "name");
    let series = reader.items_of(node, "input_series").iter().map(|node| {
        reader.known_keys(node, "a series", &["series", "values"]);
        (
            reader.text_of(node, "series"),
            reader.text_of(node, "values"),
        )
    });
    let series = series.collect();
    let alerts = reader.items_of(node, "alert_rule_test");
    let alerts = alerts
        .iter()
        .map(|node| alert_case(reader, node, &name))
        .collect();
    let expressions = reader.items_of(node, "promql_expr_test");
    let expressions = expressions
        .iter()
        .map(|node| expression_case(reader, node))
        .collect();
    Test {
        step: reader
            .duration_of(node, "interval")
            .filter(|step| !step.is_zero())
            .unwrap_or(interval),
        start: start(reader, node),
        series,
        alerts,
        expressions,
        external_labels: external_labels(reader, node),
        external_url: reader.text_of(node, "external_url"),
        name,
        place,
    }
}

fn external_labels(reader: &mut Reader<'_>, node: &Node) -> Labels {
    let mut labels = LabelsBuilder::new();
    for (name, value) in reader.map_of(node, "external_labels") {
        labels.set(name, value);
    }
    labels.build()
}

/// Returns when a test begins: RFC 3339, or seconds since 1970.
fn start(reader: &mut Reader<'_>, node: &Node) -> TimestampMs {
    let Some(given) = node.get("start_timestamp") else {
        return TimestampMs(0);
    };
    let text = reader.text(given);
    if let Some(ms) = text.parse::<f64>().ok().and_then(seconds_to_ms) {
        return TimestampMs(ms);
    }
    template::Time::parse_rfc3339(&text).map_or_else(
        || {
            let why = format!(
                "{text:?} is no time: write it as 2006-01-02T15:04:05Z or in seconds since 1970"
            );
            reader.refuse(given.at, why);
            TimestampMs(0)
        },
        |time| TimestampMs(time.unix_ms()),
    )
}

fn seconds_to_ms(seconds: f64) -> Option<i64> {
    let ms = seconds * 1_000.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded to whole milliseconds that a double holds"
    )]
    (ms.abs() < 9e15).then(|| ms.round() as i64)
}

fn alert_case(reader: &mut Reader<'_>, node: &Node, test: &str) -> AlertCase {
    reader.known_keys(
        node,
        "an alert test",
        &["eval_time", "alertname", "exp_alerts"],
    );
    let at = reader.duration_of(node, "eval_time").unwrap_or_default();
    let name = reader.text_of(node, "alertname");
    if name.is_empty() {
        let within = if test.is_empty() {
            String::new()
        } else {
            format!(" (in TestGroup {test})")
        };
        let at_text = model::format_duration(at);
        let why = format!(
            "an item under alert_rule_test misses required attribute alertname at eval_time {at_text}{within}"
        );
        reader.refuse(node.at, why);
    }
    let expected = reader.items_of(node, "exp_alerts").iter().map(|node| {
        reader.known_keys(node, "an alert", &["exp_labels", "exp_annotations"]);
        let mut labels = reader.map_of(node, "exp_labels");
        // Whoever expects alerts need not say their name again.
        labels.insert(ALERT_NAME.to_owned(), name.clone());
        Expected {
            labels,
            annotations: reader.map_of(node, "exp_annotations"),
        }
    });
    AlertCase {
        at,
        expected: expected.collect(),
        name,
    }
}

fn expression_case(reader: &mut Reader<'_>, node: &Node) -> ExpressionCase {
    reader.known_keys(
        node,
        "an expression test",
        &["expr", "eval_time", "exp_samples"],
    );
    let expected = reader.items_of(node, "exp_samples").iter().map(|node| {
        reader.known_keys(node, "a sample", &["labels", "value", "histogram"]);
        let histogram = reader.text_of(node, "histogram");
        ExpectedSample {
            labels: reader.text_of(node, "labels"),
            value: node.get("value").map_or(0.0, |value| float(reader, value)),
            histogram: Some(histogram).filter(|text| !text.is_empty()),
        }
    });
    ExpressionCase {
        expected: expected.collect(),
        at: reader.duration_of(node, "eval_time").unwrap_or_default(),
        text: reader.text_of(node, "expr"),
    }
}

fn float(reader: &mut Reader<'_>, node: &Node) -> f64 {
    let text = reader.text(node);
    if node.value == NodeValue::Null {
        return 0.0;
    }
    match yaml_float(&text) {
        Some(value) => value,
        None => {
            reader.refuse(node.at, format!("{text:?} is no number"));
            0.0
        }
    }
}

/// Returns the number that `text` writes in YAML.
fn yaml_float(text: &str) -> Option<f64> {
    let digits = text.replace('_', "");
    let (sign, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let value = match magnitude {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        _ => match whole_number(magnitude) {
            Some(whole) => whole,
            None => magnitude.parse().ok()?,
        },
    };
    Some(sign * value)
}

/// Returns a whole number that is written to the base 2, 8 or 16; 8 is that of all that begin with 0.
#[expect(
    clippy::cast_precision_loss,
    reason = "YAML makes such a number a double in the same way"
)]
fn whole_number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('0').filter(|digits| !digits.is_empty())?;
    let (digits, base) = match digits.split_at_checked(1)? {
        ("x" | "X", digits) => (digits, 16),
        ("b" | "B", digits) => (digits, 2),
        ("o" | "O", digits) => (digits, 8),
        _ => (digits, 8),
    };
    // Not even a sign may stand here.
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    let number = is_plain.then(|| u64::from_str_radix(digits, base))?;
    number.ok().map(|number| number as f64)
}
