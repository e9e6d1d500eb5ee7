//! What is expected beside what came, in promtool's form.

use model::{Labels, METRIC_NAME, Value, format_duration};
use promql::VectorSample;
use promql::testscript::{describe_histogram, series_labels, series_value};

use super::{AlertCase, Expected, ExpressionCase, Texts};

/// Returns how the alerts that fire differ from those expected; nothing when they do not.
pub(super) fn compare_alerts(
    case: &AlertCase,
    mut found: Vec<Expected>,
    as_diff: bool,
) -> Option<String> {
    let mut expected = case.expected.clone();
    expected.sort();
    found.sort();
    if expected == found {
        return None;
    }
    let (expected, found) = (alerts_text(&expected), alerts_text(&found));
    if as_diff {
        return Some(format!("    diff: {}", difference(&expected, &found)));
    }
    Some(format!(
        "    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
        case.name,
        format_duration(case.at),
        indented(&expected, "            "),
        indented(&found, "            ")
    ))
}

fn alerts_text(alerts: &[Expected]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let one = |(index, alert): (usize, &Expected)| {
        let labels = labels_text(texts(&alert.labels));
        let annotations = labels_text(texts(&alert.annotations));
        format!("\n{index}:\n  Labels:{labels}\n  Annotations:{annotations}")
    };
    let all: Vec<String> = alerts.iter().enumerate().map(one).collect();
    format!("[{}\n]", all.join(","))
}

fn texts(texts: &Texts) -> impl Iterator<Item = (&str, &str)> {
    texts
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn indented(text: &str, indent: &str) -> String {
    text.replace('\n', &format!("\n{indent}"))
}

/// A sample as it is compared.
#[derive(Clone, Debug)]
struct Shown {
    labels: Labels,
    value: f64,
    /// A histogram's description; it has no `value` then.
    histogram: Option<String>,
}

/// Returns how samples differ from those expected, nothing when they do not; an error says that what is expected does not read.
pub(super) fn compare_samples(
    case: &ExpressionCase,
    found: Vec<VectorSample>,
    fuzzy: bool,
) -> Result<Option<String>, String> {
    let mut expected = Vec::with_capacity(case.expected.len());
    for sample in &case.expected {
        let wrong = |error: String| format!("labels {:?}: {error}", sample.labels);
        let labels = if sample.labels.is_empty() {
            Ok(Labels::empty())
        } else {
            series_labels(&sample.labels)
        };
        let histogram = match &sample.histogram {
            Some(text) => Some(match series_value(text).map_err(wrong)? {
                Value::Histogram(histogram) => describe_histogram(&histogram),
                Value::Float(value) => {
                    return Err(wrong(format!("expected histogram, got {value}")));
                }
            }),
            None => None,
        };
        expected.push(Shown {
            labels: labels.map_err(wrong)?,
            value: sample.value,
            histogram,
        });
    }
    let shown = |sample: VectorSample| match sample.value {
        Value::Float(value) => Shown {
            labels: sample.labels,
            value,
            histogram: None,
        },
        Value::Histogram(histogram) => Shown {
            labels: sample.labels,
            value: 0.0,
            histogram: Some(describe_histogram(&histogram)),
        },
    };
    let mut found: Vec<Shown> = found.into_iter().map(shown).collect();
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    let alike = |(a, b): (&Shown, &Shown)| {
        a.labels == b.labels && a.histogram == b.histogram && same(a.value, b.value, fuzzy)
    };
    if expected.len() == found.len() && expected.iter().zip(&found).all(alike) {
        return Ok(None);
    }
    Ok(Some(format!(
        "\n        exp: {}\n        got: {}",
        samples_text(&expected),
        samples_text(&found)
    )))
}

/// Whether two values are equal, or with `fuzzy` neighbours. NaN equals nothing, as in promtool.
fn same(a: f64, b: f64, fuzzy: bool) -> bool {
    a == b || (fuzzy && (a.next_up() == b || a.next_down() == b))
}

fn samples_text(samples: &[Shown]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let text = |sample: &Shown| {
        let labels = labels_text(sample.labels.iter());
        match &sample.histogram {
            Some(histogram) => format!("{labels} {histogram}"),
            None => format!("{labels} {}", scientific(sample.value)),
        }
    };
    samples.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Writes labels with the metric's name among them.
fn labels_text<'t>(labels: impl Iterator<Item = (&'t str, &'t str)>) -> String {
    let pairs = labels.map(|(name, value)| {
        if name == METRIC_NAME || is_plain(name) {
            format!("{name}={value:?}")
        } else {
            format!("{name:?}={value:?}")
        }
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Writes a number as `1.5E+02`.
fn scientific(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:E}");
    let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}E{sign}{digits:0>2}")
}

/// Returns the lines of both texts: those of one alone marked, `-` for what is expected and `+` for what came.
fn difference(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    // The length of the longest run of common lines from each pair of places on.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    let mut line = |mark: char, text: &str| {
        out.extend(['\n', mark, ' ']);
        out.push_str(text);
    };
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            line(' ', a[i]);
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || common[i + 1][j] >= common[i][j + 1]) {
            line('-', a[i]);
            i += 1;
        } else {
            line('+', b[j]);
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_promtool_writes_them() {
        for (value, text) in [
            (0.0, "0E+00"),
            (1.0, "1E+00"),
            (150.0, "1.5E+02"),
            (-0.001, "-1E-03"),
            (1e100, "1E+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(scientific(value), text);
        }
    }

    #[test]
    fn lines_of_one_side_are_marked() {
        assert_eq!(difference("a\nb\nc", "a\nc\nd"), "\n  a\n- b\n  c\n+ d");
    }

    #[test]
    fn neighbours_are_equal_when_that_is_asked_for() {
        assert!(same(3.0, 3.000_000_000_000_000_4, true));
        assert!(!same(3.0, 3.000_000_000_000_000_4, false));
        assert!(!same(3.0, 3.000_000_000_000_001, true));
        assert!(!same(f64::NAN, f64::NAN, true));
    }
}
