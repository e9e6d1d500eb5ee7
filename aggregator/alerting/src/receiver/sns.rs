//! Amazon's SNS: topics, phones and applications, with requests signed by version 4 of Amazon's signatures.

//!
//! Whose keys sign is said by `sigv4`: keys, a profile of the machine's own file, and a role that is taken with either. Keys of a role are
//! asked for anew for each notification.

mod credentials;
mod role;
mod signature;

use credentials::Keys;
use role::Role;
use signature::Signer;

use super::exchange::{Request, Step};
use super::rendering::{Rendered, Rendering, fail};
use super::text::{form, hash};
use super::truncate::{to_bytes, to_characters};
use crate::notification::{Failure, FailureKind};

const SERVICE: &str = "sns";
const API_VERSION: &str = "2010-03-31";
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const SMS_CHARACTERS_MAX: usize = 1_600;
const SUBJECT_CHARACTERS_MAX: usize = 100;
/// Tells of a message that was cut.
const TRUNCATED: &str = "truncated";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let sigv4 = rendering.settings().group("sigv4");
    let place = place(rendering)?;
    let parameters = parameters(rendering)?;
    let parameters = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let body = form(&parameters.collect::<Vec<_>>());
    let at_ms = rendering.now.unix_ms();
    let Some(role) = sigv4.and_then(Role::of) else {
        return Ok(place.publish(&body, at_ms)?.once());
    };
    let asking = role.request(&place, at_ms)?;
    Ok(asking.then(move |answer| {
        let Some(keys) = Role::keys_in(answer) else {
            // What it has instead may be half of them, and is not shown.
            let reason = "the answer to AssumeRole has no keys".to_owned();
            let kind = FailureKind::Client;
            return Step::give_up(Failure { kind, reason });
        };
        match (Place { keys, ..place }).publish(&body, at_ms) {
            Ok(request) => request.once(),
            Err(failure) => Step::give_up(failure),
        }
    }))
}

/// Where to publish, and by which keys.
struct Place {
    url: String,
    region: String,
    keys: Keys,
}

impl Place {
    fn publish(self, body: &str, at_ms: i64) -> Rendered<Request> {
        let signer = Signer {
            keys: self.keys,
            region: self.region,
            service: SERVICE,
        };
        signer.post(&self.url, body, at_ms)
    }
}

fn place(rendering: &Rendering<'_>) -> Rendered<Place> {
    let settings = rendering.settings();
    let empty = crate::config::Settings::default();
    let sigv4 = settings.group("sigv4").unwrap_or(&empty);
    let arn = [rendering.text("topic_arn")?, rendering.text("target_arn")?].concat();
    let region = match sigv4.text("region") {
        // arn:aws:sns:REGION:...
        "" => arn.split(':').nth(3).unwrap_or_default(),
        region => region,
    };
    if region.is_empty() {
        return Err(fail("sigv4 needs a region"));
    }
    let url = match rendering.text("api_url")? {
        none if none.is_empty() => format!("https://sns.{region}.{}/", domain(region)),
        url => url,
    };
    Ok(Place {
        url,
        region: region.to_owned(),
        keys: Keys::of(rendering, sigv4)?,
    })
}

/// Returns the domain of Amazon's services in a region.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// Returns what is published, by the names of the query API.
fn parameters(rendering: &Rendering<'_>) -> Rendered<Vec<(String, String)>> {
    let mut parameters = vec![
        ("Action".to_owned(), "Publish".to_owned()),
        ("Version".to_owned(), API_VERSION.to_owned()),
    ];
    let mut set = |name: &str, text: String| {
        if !text.is_empty() {
            parameters.push((name.to_owned(), text));
        }
    };
    let topic = rendering.text("topic_arn")?;
    let phone = rendering.text("phone_number")?;
    let whole = rendering.text("message")?;
    let message = if phone.is_empty() {
        to_bytes(whole.clone(), MESSAGE_BYTES_MAX)
    } else {
        to_characters(whole.clone(), SMS_CHARACTERS_MAX)
    };
    let mut attributes = rendering
        .settings()
        .map("attributes")
        .cloned()
        .unwrap_or_default();
    if message.len() != whole.len() {
        attributes.insert(TRUNCATED.to_owned(), "true".to_owned());
    }
    for (number, (name, text)) in (1..).zip(&attributes) {
        let of = |part: &str| format!("MessageAttributes.entry.{number}.{part}");
        set(&of("Name"), name.clone());
        set(&of("Value.DataType"), "String".to_owned());
        set(
            &of("Value.StringValue"),
            rendering.render("attributes", text)?,
        );
    }
    if topic.ends_with(".fifo") {
        let key = hash(&rendering.notification.group_key);
        set("MessageDeduplicationId", key.clone());
        set("MessageGroupId", key);
    }
    set("TopicArn", topic);
    set("TargetArn", rendering.text("target_arn")?);
    set("PhoneNumber", phone);
    set("Subject", subject(&rendering.text("subject")?));
    set("Message", message);
    Ok(parameters)
}

/// Returns a subject that SNS takes: a short line of ASCII.
fn subject(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| match character {
            ' '..='~' => character,
            _ => '?',
        })
        .collect();
    if line.len() < SUBJECT_CHARACTERS_MAX {
        return line;
    }
    line.chars()
        .take(SUBJECT_CHARACTERS_MAX - 4)
        .collect::<String>()
        + "..."
}
