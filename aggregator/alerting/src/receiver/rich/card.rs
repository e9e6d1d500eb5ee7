//! What a message shows, whatever shows it.

use std::collections::BTreeMap;

use http_shell::encode_component;
use template::{Alert, Time};

use super::super::rendering::{Rendered, Rendering};
use super::super::truncate::to_characters;

const HEADLINE_CHARACTERS_MAX: usize = 150;
const FACTS_MAX: usize = 10;
const FACT_CHARACTERS_MAX: usize = 200;
const LINE_CHARACTERS_MAX: usize = 300;
/// Buttons open pages; a longer address is cut by some clients, and thus none.
const URL_BYTES_MAX: usize = 2_000;
/// The most alerts that are shown of each list.
pub(super) const ALERTS_MAX: usize = 10;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Critical,
    Warning,
    Information,
    Resolved,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) level: Level,
    pub(super) headline: String,
    /// What the alerts have in common, as people say it.
    pub(super) summary: String,
    /// Labels that all alerts have.
    pub(super) facts: Vec<(String, String)>,
    pub(super) firing: Section,
    pub(super) resolved: Section,
    /// Texts and addresses.
    pub(super) buttons: Vec<(&'static str, String)>,
}

/// A list of alerts, and how many are not shown.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) count: usize,
    pub(super) shown: Vec<Line>,
}

impl Section {
    pub(super) fn hidden(&self) -> usize {
        self.count - self.shown.len()
    }
}

/// One alert.
#[derive(Debug)]
pub(super) struct Line {
    /// What it says, or what tells it from the others.
    pub(super) text: String,
    /// Empty when the alert has none.
    pub(super) value: String,
    /// Since when it fires, or how long it did.
    pub(super) time: String,
    /// Where it came from; empty when that is unknown.
    pub(super) url: String,
}

impl Card {
    /// Returns what is shown of a notification, at most `alerts_max` alerts of each list.
    pub(super) fn of(rendering: &Rendering<'_>, alerts_max: usize) -> Rendered<Self> {
        let notification = rendering.notification;
        let data = &notification.data;
        let title = rendering.text("title")?;
        let summary = first(
            &data.common_annotations,
            &["summary", "message", "description"],
        );
        let section = |status: &str| {
            let alerts = data.alerts.iter().filter(|alert| alert.status == status);
            let shown = alerts.clone().take(alerts_max);
            Section {
                count: alerts.count(),
                shown: shown
                    .map(|alert| Line::of(alert, &data.common_labels, &notification.at))
                    .collect(),
            }
        };
        let mut firing = section("firing");
        firing.count += notification.truncated_alerts;
        Ok(Self {
            level: level(notification.is_firing(), &data.alerts),
            headline: to_characters(one_line(&title), HEADLINE_CHARACTERS_MAX),
            summary: to_characters(one_line(summary), LINE_CHARACTERS_MAX),
            facts: facts(&data.common_labels),
            firing,
            resolved: section("resolved"),
            buttons: buttons(rendering),
        })
    }
}

impl Line {
    fn of(alert: &Alert, common: &BTreeMap<String, String>, now: &Time) -> Self {
        let own: Vec<String> = alert
            .labels
            .iter()
            .filter(|(name, value)| common.get(*name) != Some(value))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let says = first(&alert.annotations, &["summary", "message", "description"]);
        let text = match (says, own.is_empty()) {
            ("", true) => alert
                .labels
                .get("alertname")
                .map_or("", String::as_str)
                .to_owned(),
            ("", false) => own.join(" "),
            (says, true) => says.to_owned(),
            (says, false) => format!("{says} ({})", own.join(" ")),
        };
        let value = first(&alert.annotations, &["value", "current_value"]);
        let is_url = alert.generator_url.starts_with("http");
        Self {
            text: to_characters(one_line(&text), LINE_CHARACTERS_MAX),
            value: to_characters(one_line(value), FACT_CHARACTERS_MAX),
            time: time(alert, now),
            url: if is_url && alert.generator_url.len() <= URL_BYTES_MAX {
                alert.generator_url.clone()
            } else {
                String::new()
            },
        }
    }
}

/// Returns the first of these that is there.
fn first<'m>(map: &'m BTreeMap<String, String>, names: &[&str]) -> &'m str {
    let found = names.iter().find_map(|name| map.get(*name));
    found.map_or("", String::as_str)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn level(is_firing: bool, alerts: &[Alert]) -> Level {
    if !is_firing {
        return Level::Resolved;
    }
    let of_alert = |alert: &Alert| match alert.labels.get("severity").map(String::as_str) {
        Some("info" | "information" | "none" | "notice") => 0,
        Some("warning" | "warn" | "minor") => 1,
        // An alert that does not say how bad it is may be as bad as can be.
        _ => 2,
    };
    let firing = alerts.iter().filter(|alert| alert.status == "firing");
    match firing.map(of_alert).max() {
        Some(0) => Level::Information,
        Some(1) => Level::Warning,
        _ => Level::Critical,
    }
}

fn facts(labels: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let shorten = |text: &str| to_characters(one_line(text), FACT_CHARACTERS_MAX);
    let facts = labels.iter().take(FACTS_MAX);
    facts
        .map(|(name, value)| (shorten(name), shorten(value)))
        .collect()
}

fn time(alert: &Alert, now: &Time) -> String {
    let begun = alert.starts_at.unix_ms();
    let (verb, until) = match alert.status.as_str() {
        "firing" => ("since", now.unix_ms()),
        _ => ("after", alert.ends_at.unix_ms()),
    };
    let lasted = lasted(until.saturating_sub(begun));
    if verb == "after" {
        return format!("resolved after {lasted}");
    }
    let civil = Time::from_unix_ms(begun).civil();
    format!(
        "since {:04}-{:02}-{:02} {:02}:{:02} UTC ({lasted})",
        civil.year, civil.month, civil.day, civil.hour, civil.minute
    )
}

/// Returns a duration in its two largest units.
fn lasted(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

fn buttons(rendering: &Rendering<'_>) -> Vec<(&'static str, String)> {
    let data = &rendering.notification.data;
    let of_any = |name: &str| {
        let common = data.common_annotations.get(name);
        common.or_else(|| {
            data.alerts
                .iter()
                .find_map(|alert| alert.annotations.get(name))
        })
    };
    let runbook = of_any("runbook_url").or_else(|| of_any("runbook"));
    let graph = data.alerts.first().map(|alert| &alert.generator_url);
    let silence = silence_url(&data.external_url, &data.common_labels);
    let buttons = [
        ("Runbook", runbook.cloned()),
        ("Graph", graph.cloned()),
        (
            "Silence",
            rendering.notification.is_firing().then_some(silence),
        ),
    ];
    let usable = |url: &String| {
        (url.starts_with("https://") || url.starts_with("http://")) && url.len() <= URL_BYTES_MAX
    };
    buttons
        .into_iter()
        .filter_map(|(text, url)| Some((text, url.filter(usable)?)))
        .collect()
}

/// Returns the page where a silence for these labels is made.
fn silence_url(external_url: &str, labels: &BTreeMap<String, String>) -> String {
    let matchers: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", template::quote(value)))
        .collect();
    let filter = encode_component(&format!("{{{}}}", matchers.join(",")));
    format!("{external_url}/#/silences/new?filter={filter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        let cases = [
            (-5, "0s"),
            (59_000, "59s"),
            (61_000, "1m"),
            (3_725_000, "1h 2m"),
            (180_000_000, "2d 2h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(lasted(ms), expected);
        }
    }

    #[test]
    fn a_silence_asks_for_the_labels_that_all_have() {
        let labels = BTreeMap::from([("a".to_owned(), "x \"y\"".to_owned())]);
        assert_eq!(
            silence_url("https://h/am", &labels),
            "https://h/am/#/silences/new?filter=%7Ba%3D%22x%20%5C%22y%5C%22%22%7D"
        );
    }
}
