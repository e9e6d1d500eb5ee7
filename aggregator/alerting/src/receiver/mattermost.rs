//! Mattermost: incoming webhooks.

use super::exchange::{Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::truncate::to_characters;
use crate::config::Settings;

const TEXT_CHARACTERS_MAX: usize = 16_383;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let url = rendering.needed_secret("webhook_url", "webhook_url_file")?;
    let mut attachments = Vec::new();
    for part in settings.groups("attachments") {
        attachments.push(attachment(rendering, part)?.into());
    }
    let props = match settings.group("props").filter(|props| props.has("card")) {
        Some(props) => Some(Object::default().with("card", rendering.text_of(props, "card")?)),
        None => None,
    };
    let priority = match settings
        .group("priority")
        .filter(|part| part.has("priority"))
    {
        Some(part) => Some(priority(rendering, part)?),
        None => None,
    };
    let text = to_characters(rendering.text("text")?, TEXT_CHARACTERS_MAX);
    let body = Object::default()
        .with("text", text)
        .with_text("channel", rendering.text("channel")?)
        .with_text("username", rendering.text("username")?)
        .with_text("icon_url", rendering.text("icon_url")?)
        .with_text("icon_emoji", rendering.text("icon_emoji")?)
        .with_list("attachments", attachments)
        .with_text("type", rendering.text("type")?)
        .with_some("props", props)
        .with_some("priority", priority);
    Ok(Request::json(url, body.into_body()).once())
}

fn attachment(rendering: &Rendering<'_>, part: &Settings) -> Rendered<Object> {
    let mut fields: Vec<Json> = Vec::new();
    for field in part.groups("fields") {
        let field = Object::default()
            .with("title", rendering.text_of(field, "title")?)
            .with("value", rendering.text_of(field, "value")?)
            .with_flag("short", field.flag("short"));
        fields.push(field.into());
    }
    let mut attachment = Object::default();
    for name in [
        "fallback",
        "color",
        "pretext",
        "text",
        "author_name",
        "author_link",
        "author_icon",
        "title",
        "title_link",
    ] {
        attachment = attachment.with_text(name, rendering.text_of(part, name)?);
    }
    attachment = attachment.with_list("fields", fields);
    for name in ["thumb_url", "footer", "footer_icon", "image_url"] {
        attachment = attachment.with_text(name, rendering.text_of(part, name)?);
    }
    Ok(attachment)
}

/// Returns a priority that Mattermost takes: one it does not know is the standard one, which nobody is asked to acknowledge.
fn priority(rendering: &Rendering<'_>, part: &Settings) -> Rendered<Object> {
    let asked = rendering.text_of(part, "priority")?.to_lowercase();
    let priority = match asked.as_str() {
        "urgent" | "important" => asked.as_str(),
        _ => "standard",
    };
    Ok(Object::default()
        .with("priority", priority)
        .with_flag(
            "requested_ack",
            part.flag("requested_ack") && priority != "standard",
        )
        .with_flag(
            "persistent_notifications",
            part.flag("persistent_notifications") && priority == "urgent",
        ))
}
