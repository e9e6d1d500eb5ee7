//! Alerts as a request brings them. Prometheus sends all that fire again every minute or so: texts stay where they are, in the body.

use std::borrow::Cow;

use alerting::{Pairs, Posted};
use model::TimestampMs;
use serde::Deserialize;

use super::{BAD_TYPE, MISSING, Refusal, VALIDATION, ZERO_TIME, required, unread};
use crate::parameters;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(borrow)]
    labels: Option<Pairs<'a>>,
    #[serde(borrow)]
    annotations: Option<Pairs<'a>>,
    #[serde(borrow)]
    starts_at: Option<Text<'a>>,
    #[serde(borrow)]
    ends_at: Option<Text<'a>>,
    #[serde(borrow, rename = "generatorURL")]
    generator_url: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the list of alerts that is `body`.
pub(super) fn read(body: &[u8]) -> Result<Vec<Posted<'_>>, Refusal> {
    required("alerts", body)?;
    let items: Option<Vec<Item<'_>>> =
        serde_json::from_slice(body).map_err(|error| unread("alerts", &error.to_string()))?;
    let posted = items.unwrap_or_default().into_iter().enumerate();
    posted.map(|(place, item)| item.posted(place)).collect()
}

impl<'a> Item<'a> {
    fn posted(self, place: usize) -> Result<Posted<'a>, Refusal> {
        let Some(labels) = self.labels else {
            let why = format!("{place}.labels in body is required");
            return Err(Refusal::Unread(VALIDATION, MISSING, why));
        };
        let generator_url = self.generator_url.unwrap_or_default().0;
        if !is_request_uri(&generator_url) {
            let why =
                format!("{place}.generatorURL in body must be of type uri: {generator_url:?}");
            return Err(Refusal::Unread(VALIDATION, BAD_TYPE, why));
        }
        Ok(Posted {
            labels,
            annotations: self.annotations.unwrap_or_default(),
            starts_at: time(self.starts_at, "startsAt")?,
            ends_at: time(self.ends_at, "endsAt")?,
            generator_url,
        })
    }
}

/// Whether a text is empty, or begins as what may be asked for: with a scheme, or with `/`.
fn is_request_uri(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part)
    });
    let is_printed = !text.chars().any(|c| c.is_ascii_control());
    text.is_empty() || (is_printed && (has_scheme || text.starts_with('/')))
}

/// Returns a time; an empty text is none, and so is Go's zero time.
fn time(text: Option<Text<'_>>, name: &str) -> Result<Option<TimestampMs>, Refusal> {
    let text = text.unwrap_or_default().0;
    if text.is_empty() {
        return Ok(None);
    }
    let at = parameters::parse_rfc3339(&text)
        .ok_or_else(|| unread("alerts", &format!("{name} is no time: {text:?}")))?;
    Ok((at > ZERO_TIME).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        let Err(refusal) = read(body.as_bytes()) else {
            panic!("{body} is taken")
        };
        refusal.why().to_owned()
    }

    #[test]
    fn members_may_be_missing_null_and_of_names_that_nobody_knows() {
        let body = br#"[
            {"labels": {"b": "1", "a": "\u00fc\n", "b": "2"}, "more": [{"x": 1}], "startsAt": "0001-01-01T00:00:00Z", "endsAt": "1970-01-01T00:00:01.5Z"},
            {"labels": {}, "annotations": null, "startsAt": null, "endsAt": "", "generatorURL": null}
        ]"#;
        let posted = read(body).unwrap();
        let labels: Vec<(&str, &str)> = posted[0].labels.iter().collect();
        assert_eq!(labels, [("a", "\u{fc}\n"), ("b", "2")]);
        assert_eq!(posted[0].starts_at, None);
        assert_eq!(posted[0].ends_at, Some(TimestampMs(1_500)));
        assert_eq!(posted[1], Posted::default());
        assert!(read(b"null").unwrap().is_empty());
        for url in ["http://p:9090/graph?g0.expr=up", "/graph", "mailto:a"] {
            let body = format!(r#"[{{"labels": {{}}, "generatorURL": "{url}"}}]"#);
            assert_eq!(read(body.as_bytes()).unwrap()[0].generator_url, url);
        }
    }

    #[test]
    fn what_is_no_list_of_alerts_is_refused() {
        let cases = [
            ("", "alerts in body is required"),
            ("[", "parsing alerts body from \"\" failed, because EOF"),
            ("{}", "expected a sequence"),
            ("[7]", "invalid type: integer `7`"),
            (
                r#"[{"labels": {"a": "1"}}, {}]"#,
                "1.labels in body is required",
            ),
            (r#"[{"labels": null}]"#, "0.labels in body is required"),
            (r#"[{"labels": {"a": 1}}]"#, "expected a string"),
            (r#"[{"labels": ["a"]}]"#, "expected an object of texts"),
            (
                r#"[{"labels": {}, "endsAt": "now"}]"#,
                "endsAt is no time: \"now\"",
            ),
            (
                r#"[{"labels": {}, "generatorURL": "::"}]"#,
                "0.generatorURL in body must be of type uri: \"::\"",
            ),
            (
                r#"[{"labels": {}, "generatorURL": "graph"}]"#,
                "must be of type uri",
            ),
        ];
        for (body, expected) in cases {
            let why = refused(body);
            assert!(why.contains(expected), "{body}: {why}");
        }
    }
}
