//! From what a target exposes to the labels that are stored.

use model::{Labels, LabelsBuilder, METRIC_NAME};
use relabel::apply;
use rows::TEXT_BYTES_MAX;

use crate::Job;

/// What a label of the target that an exposed one clashes with turns the exposed one into.
const EXPORTED: &str = "exported_";
/// What errors show of a metric's name.
const SHOWN_CHARS_MAX: usize = 50;

/// Why a scrape is refused for one of its samples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LabelError {
    #[error("a sample has no metric name after relabelling: {0}")]
    NoName(String),
    #[error("invalid metric name or label names: {0}")]
    Names(String),
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    Count {
        metric: String,
        count: usize,
        limit: u64,
    },
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {limit})"
    )]
    NameLength {
        metric: String,
        name: String,
        length: usize,
        limit: u64,
    },
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, limit: {limit})"
    )]
    ValueLength {
        metric: String,
        name: String,
        length: usize,
        limit: u64,
    },
    #[error(
        "the labels of {metric} have {bytes} bytes, more than the {TEXT_BYTES_MAX} that a series may have"
    )]
    Text { metric: String, bytes: usize },
}

/// Labels as they were exposed: in any order, values may be empty, names come once.
pub(crate) type Exposed = Vec<(String, String)>;

/// Returns the labels that a sample of `target` is stored with; `None` when relabelling drops it.
pub(crate) fn stored(
    exposed: &Exposed,
    target: &Labels,
    job: &Job,
) -> Result<Option<Labels>, LabelError> {
    let mut labels = with_target(exposed, target, job.honor_labels);
    if !apply(&job.metric_relabel, &mut labels) || labels.is_empty() {
        return Ok(None);
    }
    check(&labels, job)?;
    Ok(Some(labels.build()))
}

fn with_target(exposed: &Exposed, target: &Labels, honor_labels: bool) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    for (name, value) in exposed {
        labels.set(name.as_str(), value.as_str());
    }
    let mut clashing: Vec<(&str, String)> = Vec::new();
    for (name, value) in target.iter() {
        // An exposed label without a value keeps the target's out, too.
        let is_exposed = exposed.iter().any(|(exposed, _)| exposed == name);
        if honor_labels && is_exposed {
            continue;
        }
        if let Some(exposed) = labels.get(name) {
            clashing.push((name, exposed.to_owned()));
        }
        labels.set(name, value);
    }
    clashing.sort_by_key(|(name, _)| name.len());
    for (name, value) in clashing {
        let mut exported = format!("{EXPORTED}{name}");
        while labels.get(&exported).is_some() {
            exported.insert_str(0, EXPORTED);
        }
        labels.set(exported, value);
    }
    labels
}

fn check(labels: &LabelsBuilder, job: &Job) -> Result<(), LabelError> {
    let shown = || labels.clone().build().to_string();
    let Some(metric) = labels.get(METRIC_NAME) else {
        return Err(LabelError::NoName(shown()));
    };
    let names = job.names;
    if !names.allow_metric(metric) || !labels.iter().all(|(name, _)| names.allow_label(name)) {
        return Err(LabelError::Names(shown()));
    }
    let metric = || metric.chars().take(SHOWN_CHARS_MAX).collect::<String>();
    let limits = &job.limits;
    let count = labels.iter().count();
    if let Some(limit) = limits.labels.filter(|limit| count as u64 > *limit) {
        let metric = metric();
        return Err(LabelError::Count {
            metric,
            count,
            limit,
        });
    }
    for (name, value) in labels.iter() {
        let shown = || name.chars().take(SHOWN_CHARS_MAX).collect::<String>();
        if let Some(limit) = (limits.label_name_bytes).filter(|limit| name.len() as u64 > *limit) {
            return Err(LabelError::NameLength {
                metric: metric(),
                name: shown(),
                length: name.len(),
                limit,
            });
        }
        if let Some(limit) = (limits.label_value_bytes).filter(|limit| value.len() as u64 > *limit)
        {
            return Err(LabelError::ValueLength {
                metric: metric(),
                name: shown(),
                length: value.len(),
                limit,
            });
        }
    }
    let bytes = labels
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > TEXT_BYTES_MAX {
        let metric = metric();
        return Err(LabelError::Text { metric, bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn job(extra: &str) -> Job {
        let text = format!("scrape_configs:\n- job_name: j\n{extra}");
        let jobs = crate::read_jobs(Path::new("p.yml"), &text).expect("valid");
        jobs.into_iter().next().expect("a job")
    }

    fn stored_as(extra: &str, exposed: &[(&str, &str)]) -> Result<Option<String>, String> {
        let target = Labels::from_pairs([("instance", "h:1"), ("job", "j")]).expect("valid");
        let exposed = exposed
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        let labels = stored(&exposed, &target, &job(extra)).map_err(|error| error.to_string())?;
        Ok(labels.map(|labels| labels.to_string()))
    }

    #[test]
    fn clashing_labels_are_exported_or_honoured() {
        let exposed = [
            ("__name__", "m"),
            ("job", "own"),
            ("exported_job", "x"),
            ("instance", ""),
        ];
        assert_eq!(
            stored_as("", &exposed),
            Ok(Some(
                r#"m{exported_exported_job="own", exported_job="x", instance="h:1", job="j"}"#
                    .to_owned()
            ))
        );
        assert_eq!(
            stored_as("  honor_labels: true\n", &exposed),
            Ok(Some(r#"m{exported_job="x", job="own"}"#.to_owned()))
        );
    }

    #[test]
    fn samples_are_relabelled_and_dropped() {
        let rules = "  metric_relabel_configs:\n  - {source_labels: [__name__], regex: 'go_.*', action: drop}\n  - {regex: job, action: labeldrop}\n";
        assert_eq!(stored_as(rules, &[("__name__", "go_goroutines")]), Ok(None));
        assert_eq!(
            stored_as(rules, &[("__name__", "m")]),
            Ok(Some(r#"m{instance="h:1"}"#.to_owned()))
        );
        let nameless = "  metric_relabel_configs: [{regex: __name__, action: labeldrop}]\n";
        assert!(stored_as(nameless, &[("__name__", "m")]).is_err());
        let everything = "  metric_relabel_configs: [{regex: '.*', action: labeldrop}]\n";
        assert_eq!(stored_as(everything, &[("__name__", "m")]), Ok(None));
    }

    #[test]
    fn limits_are_checked_after_relabelling() {
        let exposed = [("__name__", "metric"), ("zone", "eu-west")];
        for (limit, refused) in [
            ("  label_limit: 4\n", false),
            ("  label_limit: 3\n", true),
            ("  label_name_length_limit: 8\n", false),
            ("  label_name_length_limit: 7\n", true),
            ("  label_value_length_limit: 7\n", false),
            ("  label_value_length_limit: 6\n", true),
            ("  label_limit: 0\n", false),
        ] {
            assert_eq!(stored_as(limit, &exposed).is_err(), refused, "{limit}");
        }
        let long = "x".repeat(TEXT_BYTES_MAX);
        assert!(stored_as("", &[("__name__", "m"), ("l", &long)]).is_err());
        let legacy = "  metric_name_validation_scheme: legacy\n";
        assert!(stored_as(legacy, &[("__name__", "a.b")]).is_err());
        assert!(stored_as("", &[("__name__", "a.b")]).is_ok());
    }
}
