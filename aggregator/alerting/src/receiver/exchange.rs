//! What is said to a service and how its answers are understood, without a socket.
//!
//! A delivery is a chain of [`Step`]s: a request and what follows from its answer, until an [`Outcome`]. Answers that are no
//! success are judged alike for all services ([`judge`]).

use std::fmt;
use std::time::Duration;

use http_shell::{Method, header::HeaderName};

use crate::notification::{Failure, FailureKind, Outcome, REASON_BYTES_MAX, Remembered};

use super::truncate;

/// The longest wait that a service can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of an answer without form is shown.
const EXCERPT_CHARACTERS: usize = 300;

/// A request. Its URL, headers and body may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns a request that posts JSON.
    pub(crate) fn json(url: impl Into<String>, body: Vec<u8>) -> Self {
        Self::new(Method::POST, url, body).with(
            http_shell::header::CONTENT_TYPE,
            "application/json".to_owned(),
        )
    }

    pub(crate) fn new(method: Method, url: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body,
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Returns the step that sends this and is done when it is taken.
    pub(crate) fn once(self) -> Step {
        self.then(|_| Step::delivered())
    }

    /// Returns the step that sends this, and what follows when it is taken.
    pub(crate) fn then(self, next: impl FnOnce(&Answer) -> Step + Send + 'static) -> Step {
        Step::Send(self, Box::new(next))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a service says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
    /// The header `Date`.
    pub(crate) date: Option<String>,
    /// Cut at a bound.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns the body as JSON.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    fn is_json(&self) -> bool {
        self.content_type.starts_with("application/json")
    }

    /// Returns the failure that this tells of, in words that are for people.
    pub(crate) fn failure(&self, kind: FailureKind, what: &str) -> Failure {
        let detail = self.detail();
        let colon = if detail.is_empty() { "" } else { ": " };
        Failure {
            kind,
            reason: format!("{what}{colon}{detail}"),
        }
    }

    /// Returns what went wrong, as services usually say it.
    fn detail(&self) -> String {
        let Some(json) = self.json().filter(serde_json::Value::is_object) else {
            let text = String::from_utf8_lossy(&self.body);
            return truncate::to_characters(text.trim().to_owned(), EXCERPT_CHARACTERS);
        };
        let mut parts = Vec::new();
        for name in [
            "message",
            "error",
            "errmsg",
            "description",
            "errors",
            "errorMessages",
        ] {
            match &json[name] {
                serde_json::Value::String(text) if !text.is_empty() => parts.push(text.clone()),
                serde_json::Value::Array(texts) => {
                    parts.extend(
                        texts
                            .iter()
                            .filter_map(|text| text.as_str())
                            .map(str::to_owned),
                    );
                }
                serde_json::Value::Object(named) => parts.extend(
                    named
                        .iter()
                        .filter_map(|(name, text)| Some(format!("{name}: {}", text.as_str()?))),
                ),
                _ => {}
            }
        }
        truncate::to_characters(parts.join(", "), EXCERPT_CHARACTERS)
    }

    /// Returns how long the service wants to be left alone: `Retry-After` in either form, or `retry_after` in the body.
    fn wait(&self) -> Option<Duration> {
        let from_header = || {
            let text = self.retry_after.as_deref()?.trim();
            if let Ok(seconds) = text.parse::<u64>() {
                return Some(Duration::from_secs(seconds));
            }
            // Both are the service's own time, so that a clock that differs from ours does no harm.
            let then = http_date(text)?;
            let now = self.date.as_deref().and_then(http_date)?;
            Some(Duration::from_secs(then.saturating_sub(now)))
        };
        let from_body = || {
            let json = self.json()?;
            let seconds = json["retry_after"]
                .as_f64()
                .or_else(|| json["parameters"]["retry_after"].as_f64())?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        let wait = from_header().or_else(from_body)?;
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// What follows from an answer that is a success.
pub(crate) type Then = Box<dyn FnOnce(&Answer) -> Step + Send>;

/// The next thing to do.
pub(crate) enum Step {
    /// Send this; what follows says the function.
    Send(Request, Then),
    /// Nothing: this is how it went.
    Done(Outcome),
}

impl Step {
    /// Returns the end of a delivery that leaves nothing to remember.
    pub(crate) fn delivered() -> Self {
        Self::remembering(Remembered::new())
    }

    /// Returns the end of a delivery.
    pub(crate) fn remembering(remembered: Remembered) -> Self {
        Self::Done(Outcome::Delivered { remembered })
    }

    /// Returns the end of a delivery that can succeed later.
    pub(crate) fn retry(failure: Failure) -> Self {
        Self::Done(Outcome::Retry {
            after: None,
            failure,
        })
    }

    /// Returns the end of a delivery that cannot succeed.
    pub(crate) fn give_up(failure: Failure) -> Self {
        Self::Done(Outcome::GiveUp(failure))
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(request, _) => f.debug_tuple("Send").field(request).finish_non_exhaustive(),
            Self::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
        }
    }
}

/// Says what a status means; `None` for a success. `retried` are those that this service means to be tried again, beside those that
/// all do.
pub(crate) fn judge(answer: &Answer, retried: &[u16]) -> Option<Outcome> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return None;
    }
    let kind = match status {
        401 | 403 => FailureKind::Unauthorized,
        429 => FailureKind::RateLimited,
        500.. => FailureKind::Server,
        _ => FailureKind::Client,
    };
    let failure = answer.failure(kind, &format!("answered with status {status}"));
    let again = status >= 500 || matches!(status, 408 | 429) || retried.contains(&status);
    Some(if again {
        Outcome::Retry {
            after: answer.wait(),
            failure,
        }
    } else {
        Outcome::GiveUp(failure)
    })
}

/// Returns how an answer in the manner of Slack is understood: a JSON `ok`, or the bare text.
pub(crate) fn slack_error(answer: &Answer) -> Option<String> {
    if !answer.is_json() {
        let is_ok = answer.body == b"ok";
        return (!is_ok).then(|| answer.detail());
    }
    match answer.json() {
        Some(json) if json["ok"] == true => None,
        Some(json) => Some(json["error"].as_str().unwrap_or("unknown error").to_owned()),
        None => Some("the answer is no JSON".to_owned()),
    }
}

/// Makes a reason fit to be shown: one line, bounded, without the secrets that the message was made with.
pub(crate) fn clean(mut failure: Failure, secrets: &[String]) -> Failure {
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        failure.reason = failure.reason.replace(secret.as_str(), "<secret>");
    }
    let line: String = failure
        .reason
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    failure.reason = truncate::to_bytes(line.trim().to_owned(), REASON_BYTES_MAX);
    failure
}

/// Returns the instant of `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let day = parts.next()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (year, time) = (parts.next()?, parts.next()?);
    if parts.next() != Some("GMT") {
        return None;
    }
    let instant = template::Time::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))?;
    u64::try_from(instant.unix_ms() / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    #[test]
    fn statuses_say_whether_to_try_again() {
        let again = |status, retried: &[u16]| match judge(&answer(status, ""), retried) {
            None => None,
            Some(Outcome::Retry { .. }) => Some(true),
            Some(Outcome::GiveUp(_)) => Some(false),
            Some(Outcome::Delivered { .. }) => panic!("not judged here"),
        };
        assert_eq!(again(200, &[]), None);
        assert_eq!(again(202, &[]), None);
        for status in [500, 502, 503, 599, 429, 408] {
            assert_eq!(again(status, &[]), Some(true), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413] {
            assert_eq!(again(status, &[]), Some(false), "{status}");
        }
        assert_eq!(again(403, &[403]), Some(true));
    }

    #[test]
    fn services_say_how_long_to_wait_in_four_ways() {
        let wait = |answer: &Answer| answer.wait().map(|wait| wait.as_secs());
        let mut limited = answer(429, "");
        assert_eq!(wait(&limited), None);
        limited.retry_after = Some("30".to_owned());
        assert_eq!(wait(&limited), Some(30));
        limited.retry_after = Some("Wed, 21 Oct 2026 07:28:10 GMT".to_owned());
        assert_eq!(
            wait(&limited),
            None,
            "without a date there is nothing to compare with"
        );
        limited.date = Some("Wed, 21 Oct 2026 07:27:00 GMT".to_owned());
        assert_eq!(wait(&limited), Some(70));
        limited.retry_after = Some("99999999".to_owned());
        assert_eq!(wait(&limited), Some(86_400));
        assert_eq!(wait(&answer(429, r#"{"retry_after": 1.5}"#)), Some(1));
        let telegram = r#"{"ok":false,"parameters":{"retry_after":7}}"#;
        assert_eq!(wait(&answer(429, telegram)), Some(7));
    }

    #[test]
    fn reasons_are_short_lines_without_secrets() {
        let body = r#"{"message":"no such key","errors":["s3cret is bad","x"]}"#;
        let Some(Outcome::GiveUp(failure)) = judge(&answer(400, body), &[]) else {
            panic!("given up");
        };
        let failure = clean(failure, &["s3cret".to_owned(), String::new()]);
        assert_eq!(
            failure.reason,
            "answered with status 400: no such key, <secret> is bad, x"
        );
        let long = answer(400, &format!("a\nb{}", "x".repeat(9_000)));
        let Some(Outcome::GiveUp(failure)) = judge(&long, &[]) else {
            panic!("given up");
        };
        let reason = clean(failure, &[]).reason;
        assert!(reason.starts_with("answered with status 400: a b") && reason.len() < 400);
    }
}
