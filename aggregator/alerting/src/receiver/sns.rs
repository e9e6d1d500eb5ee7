//! Amazon's SNS: topics, phones and applications, with requests signed by version 4 of Amazon's signatures.

mod signature;

use http_shell::header::{CONTENT_TYPE, HeaderName};
use http_shell::{Method, header::AUTHORIZATION};

use signature::Signer;

use super::exchange::{Request, Step};
use super::rendering::{Rendered, Rendering, fail};
use super::text::{form, hash};
use super::truncate::{to_bytes, to_characters};

const SERVICE: &str = "sns";
const API_VERSION: &str = "2010-03-31";
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const SMS_CHARACTERS_MAX: usize = 1_600;
const SUBJECT_CHARACTERS_MAX: usize = 100;
/// Tells of a message that was cut.
const TRUNCATED: &str = "truncated";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let place = place(rendering)?;
    let body = form(
        &parameters(rendering)?
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect::<Vec<_>>(),
    );
    let signer = Signer {
        access_key: place.access_key,
        secret_key: place.secret_key,
        region: place.region,
        service: SERVICE,
    };
    let signed = signer
        .sign(&place.url, body.as_bytes(), rendering.now.unix_ms())
        .ok_or_else(|| fail("api_url is no URL"))?;
    let request = Request::new(Method::POST, place.url, body.into_bytes())
        .with(CONTENT_TYPE, signature::FORM.to_owned())
        .with(HeaderName::from_static("x-amz-date"), signed.date)
        .with(AUTHORIZATION, signed.authorization);
    Ok(request.once())
}

struct Place {
    url: String,
    region: String,
    access_key: String,
    secret_key: String,
}

fn place(rendering: &Rendering<'_>) -> Rendered<Place> {
    let settings = rendering.settings();
    let empty = crate::config::Settings::default();
    let keys = settings.group("sigv4").unwrap_or(&empty);
    for unsupported in ["profile", "role_arn"] {
        if keys.has(unsupported) {
            return Err(fail(format!(
                "sigv4 {unsupported} is not supported: give access_key and secret_key"
            )));
        }
    }
    let secret_key = rendering
        .secret_of(keys, "secret_key", "")?
        .ok_or_else(|| fail("sigv4 needs access_key and secret_key"))?;
    let arn = [rendering.text("topic_arn")?, rendering.text("target_arn")?].concat();
    let region = match keys.text("region") {
        // arn:aws:sns:REGION:...
        "" => arn.split(':').nth(3).unwrap_or_default(),
        region => region,
    };
    if region.is_empty() {
        return Err(fail("sigv4 needs a region"));
    }
    let url = match rendering.text("api_url")? {
        none if none.is_empty() => format!("https://sns.{region}.amazonaws.com/"),
        url => url,
    };
    Ok(Place {
        url,
        region: region.to_owned(),
        access_key: keys.text("access_key").to_owned(),
        secret_key,
    })
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
