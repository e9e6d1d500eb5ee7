//! The data of a notification as JSON: what `{{ toJson . }}` writes, without the values that templates work on.

use std::collections::BTreeMap;

use super::{Alert, Notification, RouteLabels};
use crate::format::Bounded;
use crate::json::string;
use crate::machine::Limits;
use crate::time::{RFC3339, format};

impl Notification {
    /// Returns this as JSON, members in Alertmanager's order; `None` when it is longer than `limits` allow.
    pub fn to_json(&self, limits: Limits) -> Option<String> {
        let mut out = Bounded::new(limits.output_bytes);
        let (RouteLabels::Templates(route_labels) | RouteLabels::Rendered(route_labels)) =
            &self.route_labels;
        text(&mut out, "{", "receiver", &self.receiver);
        text(&mut out, ",", "status", &self.status);
        name(&mut out, ",", "alerts");
        out.push('[');
        for (place, alert) in self.alerts.iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            alert.write(&mut out);
        }
        out.push(']');
        let reason = &self.notification_reason;
        text(&mut out, ",", "notification_reason", reason);
        pairs(&mut out, "groupLabels", &self.group_labels);
        pairs(&mut out, "commonLabels", &self.common_labels);
        pairs(&mut out, "commonAnnotations", &self.common_annotations);
        pairs(&mut out, "routeLabels", route_labels);
        text(&mut out, ",", "externalURL", &self.external_url);
        out.push('}');
        out.finish()
    }
}

impl Alert {
    fn write(&self, out: &mut Bounded) {
        text(out, "{", "status", &self.status);
        pairs(out, "labels", &self.labels);
        pairs(out, "annotations", &self.annotations);
        for (label, at) in [("startsAt", &self.starts_at), ("endsAt", &self.ends_at)] {
            text(out, ",", label, &format(at, RFC3339));
        }
        text(out, ",", "generatorURL", &self.generator_url);
        text(out, ",", "fingerprint", &self.fingerprint);
        out.push('}');
    }
}

fn name(out: &mut Bounded, before: &str, name: &str) {
    out.push_str(before);
    string(out, name);
    out.push(':');
}

fn text(out: &mut Bounded, before: &str, label: &str, text: &str) {
    name(out, before, label);
    string(out, text);
}

fn pairs(out: &mut Bounded, label: &str, pairs: &BTreeMap<String, String>) {
    name(out, ",", label);
    let mut before = "{";
    for (name, value) in pairs {
        text(out, before, name, value);
        before = ",";
    }
    out.push_str(if pairs.is_empty() { "{}" } else { "}" });
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::{Fixed, Mode, NOTIFICATION_FUNCTIONS, Templates, Time, Value};

    fn word(rng: &mut Rng) -> String {
        const PARTS: &[&str] = &[
            "a",
            "ü",
            "<b>",
            "&",
            "\"",
            "\\",
            "\n",
            "\t",
            "\u{1}",
            "\u{2028}",
            "\u{1f600}",
            " ",
        ];
        (0..rng.usize(..5))
            .map(|_| *rng.choice(PARTS).unwrap_or(&""))
            .collect()
    }

    fn map(rng: &mut Rng) -> BTreeMap<String, String> {
        (0..rng.usize(..4))
            .map(|_| (word(rng), word(rng)))
            .collect()
    }

    fn alert(rng: &mut Rng) -> Alert {
        Alert {
            status: word(rng),
            labels: map(rng),
            annotations: map(rng),
            starts_at: Time::from_unix_ms(rng.i64(0..2_000_000_000_000)),
            ends_at: Time::zero(),
            generator_url: word(rng),
            fingerprint: word(rng),
        }
    }

    #[test]
    fn it_is_what_the_template_writes() {
        let templates = Templates::new(NOTIFICATION_FUNCTIONS);
        let program = templates.compile("t", "{{ toJson . }}", Mode::Text, &[]);
        let program = program.expect("a template");
        for seed in 0..500 {
            let rng = &mut Rng::with_seed(seed);
            let notification = Notification {
                receiver: word(rng),
                status: word(rng),
                alerts: (0..rng.usize(..3)).map(|_| alert(rng)).collect(),
                notification_reason: word(rng),
                group_labels: map(rng),
                common_labels: map(rng),
                common_annotations: map(rng),
                route_labels: RouteLabels::Templates(map(rng)),
                external_url: word(rng),
            };
            let limits = Limits::default();
            let value = Value::from(&notification);
            let expected = program.render(&value, &[], &mut Fixed(Time::zero()), limits);
            let written = notification.to_json(limits);
            assert_eq!(written, expected.ok(), "seed {seed}");
            let short = Limits {
                output_bytes: written.map_or(0, |text| text.len() - 1),
                ..limits
            };
            assert_eq!(notification.to_json(short), None);
        }
    }
}
