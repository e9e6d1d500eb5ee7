//! PagerDuty's Events API, version 2, and version 1 for those with a service key.

use super::exchange::{Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::text::hash;
use super::truncate::to_characters;
use crate::config::Setting;

const V1_URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
/// What PagerDuty takes.
const BODY_BYTES_MAX: usize = 512_000;
const SUMMARY_CHARACTERS_MAX: usize = 1024;
/// Stands in place of the details of an event that is too large.
const DETAILS_REMOVED: &str =
    "Custom details have been removed because the original event exceeds the maximum size of 512KB";

/// Whether the events of an integration are of version 1.
pub(super) fn is_v1(rendering: &Rendering<'_>) -> bool {
    let settings = rendering.settings();
    settings.has("service_key") || settings.has("service_key_file")
}

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let details = match rendering.settings().get("details") {
        Some(Setting::Tree(details)) => rendering.members("details", details)?,
        _ => Object::default(),
    };
    let (url, event): (_, Box<dyn Fn(Object) -> Object>) = if is_v1(rendering) {
        let event = v1(rendering)?;
        (
            V1_URL,
            Box::new(move |details| event.clone().with("details", details)),
        )
    } else {
        (rendering.settings().text("url"), Box::new(v2(rendering)?))
    };
    let body = event(details).into_body();
    let body = if body.len() <= BODY_BYTES_MAX {
        body
    } else {
        event(Object::default().with("error", DETAILS_REMOVED)).into_body()
    };
    Ok(Request::json(url, body).once())
}

fn action(rendering: &Rendering<'_>) -> &'static str {
    if rendering.notification.is_firing() {
        "trigger"
    } else {
        "resolve"
    }
}

fn summary(rendering: &Rendering<'_>) -> Rendered<String> {
    let text = rendering.text("description")?;
    Ok(to_characters(text, SUMMARY_CHARACTERS_MAX))
}

/// Returns an event of version 1, without its details. Alertmanager sends the empty members of version 2 along.
fn v1(rendering: &Rendering<'_>) -> Rendered<Object> {
    let key = rendering.needed_secret("service_key", "service_key_file")?;
    let event = Object::default()
        .with("service_key", key)
        .with("incident_key", hash(&rendering.notification.group_key))
        .with("event_type", action(rendering))
        .with_text("description", summary(rendering)?)
        .with("event_action", "")
        .with("payload", Json::Null);
    if !rendering.notification.is_firing() {
        return Ok(event);
    }
    Ok(event
        .with_text("client", rendering.text("client")?)
        .with_text("client_url", rendering.text("client_url")?))
}

/// Returns what makes an event of version 2 with given details.
fn v2(rendering: &Rendering<'_>) -> Rendered<impl Fn(Object) -> Object + use<>> {
    let severity = match rendering.text("severity")? {
        empty if empty.is_empty() => "error".to_owned(),
        severity => severity,
    };
    let head = Object::default()
        .with(
            "routing_key",
            rendering.needed_secret("routing_key", "routing_key_file")?,
        )
        .with("dedup_key", hash(&rendering.notification.group_key))
        .with("event_action", action(rendering));
    let payload = Object::default()
        .with("summary", summary(rendering)?)
        .with("source", rendering.text("source")?)
        .with("severity", severity)
        .with_text("class", rendering.text("class")?)
        .with_text("component", rendering.text("component")?)
        .with_text("group", rendering.text("group")?);
    let tail = Object::default()
        .with_text("client", rendering.text("client")?)
        .with_text("client_url", rendering.text("client_url")?)
        .with_list(
            "images",
            parts(rendering, "images", "src", &["src", "alt", "href"])?,
        )
        .with_list(
            "links",
            parts(rendering, "links", "href", &["href", "text"])?,
        );
    Ok(move |details: Object| {
        let details = (!details.is_empty()).then_some(details);
        let payload = payload.clone().with_some("custom_details", details);
        head.clone().with("payload", payload).with_all(tail.clone())
    })
}

/// Renders images or links; those without what makes them one are left out.
fn parts(
    rendering: &Rendering<'_>,
    name: &str,
    needed: &str,
    members: &[&str],
) -> Rendered<Vec<Json>> {
    let mut parts = Vec::new();
    for group in rendering.settings().groups(name) {
        if rendering.text_of(group, needed)?.is_empty() {
            continue;
        }
        let mut part = Object::default();
        for member in members {
            part = part.with(member, rendering.text_of(group, member)?);
        }
        parts.push(part.into());
    }
    Ok(parts)
}
