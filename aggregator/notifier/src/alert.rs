//! An alert, and how API v2 has it.

use std::time::{Duration, SystemTime};

use model::{Labels, TimestampMs};
use relabel::{Rule, apply};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// An alert to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its labels, external ones among them.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: TimestampMs,
    /// When it was resolved, or counts as resolved should nothing more be heard of it.
    pub ends_at: TimestampMs,
    /// A link to where it comes from.
    pub generator_url: String,
}

impl Alert {
    /// Returns the alert that relabelling makes of it; `None`: it is dropped.
    pub(crate) fn relabelled(&self, rules: &[Rule]) -> Option<Self> {
        let mut labels = self.labels.to_builder();
        apply(rules, &mut labels).then(|| Self {
            labels: labels.build(),
            ..self.clone()
        })
    }
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("annotations", &Texts(&self.annotations))?;
        map.serialize_entry("endsAt", &time(self.ends_at))?;
        map.serialize_entry("startsAt", &time(self.starts_at))?;
        map.serialize_entry("generatorURL", &self.generator_url)?;
        map.serialize_entry("labels", &Texts(&self.labels))?;
        map.end()
    }
}

/// Labels as an object.
struct Texts<'a>(&'a Labels);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

fn time(at: TimestampMs) -> String {
    let since_1970 = Duration::from_millis(u64::try_from(at.0).unwrap_or_default());
    telemetry::rfc3339(SystemTime::UNIX_EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_written_as_api_v2_has_it() {
        let pairs = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
        let alert = Alert {
            labels: pairs(&[("alertname", "Full"), ("path", "/\"x\"")]),
            annotations: pairs(&[("summary", "full")]),
            starts_at: TimestampMs(1_136_239_445_120),
            ends_at: TimestampMs(1_136_239_685_000),
            generator_url: "http://p/graph".to_owned(),
        };
        assert_eq!(
            serde_json::to_string(&alert).unwrap(),
            r#"{"annotations":{"summary":"full"},"endsAt":"2006-01-02T22:08:05.000Z","startsAt":"2006-01-02T22:04:05.120Z","generatorURL":"http://p/graph","labels":{"alertname":"Full","path":"/\"x\""}}"#
        );
    }
}
