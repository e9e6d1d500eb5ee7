//! Microsoft Teams: Adaptive Cards through Workflows (v2), and the retired connectors with their message cards.

use super::exchange::{Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::rich;
use super::truncate::to_bytes;

/// What Teams takes.
pub(super) const BODY_BYTES_MAX: usize = 28 * 1024;

/// A connector's message card.
pub(super) fn open_v1(rendering: &Rendering<'_>) -> Rendered<Step> {
    let url = rendering.needed_secret("webhook_url", "webhook_url_file")?;
    let title = rendering.text("title")?;
    let summary = rendering.text("summary")?;
    let color = if rendering.notification.is_firing() {
        "8C1A1A"
    } else {
        "2DC72D"
    };
    let card = |text: String| {
        Object::default()
            .with("@context", "http://schema.org/extensions")
            .with("@type", "MessageCard")
            .with("title", title.as_str())
            .with("summary", summary.as_str())
            .with("text", text)
            .with("themeColor", color)
    };
    let body = fitted(rendering.text("text")?, card);
    Ok(Request::json(url, body).once())
}

/// A Workflow's Adaptive Card.
pub(super) fn open_v2(rendering: &Rendering<'_>) -> Rendered<Step> {
    let url = rendering.needed_secret("webhook_url", "webhook_url_file")?;
    let body = if rendering.settings().text("style") == rich::STYLE {
        rich::teams(rendering)?.into_body()
    } else {
        plain(rendering)?
    };
    Ok(Request::json(url, body).once())
}

fn plain(rendering: &Rendering<'_>) -> Rendered<Vec<u8>> {
    let title = rendering.text("title")?;
    let color = if rendering.notification.is_firing() {
        "Attention"
    } else {
        "Good"
    };
    let headline = Object::default()
        .with("type", "TextBlock")
        .with("text", title)
        .with("weight", "Bolder")
        .with("size", "Medium")
        .with("wrap", true)
        .with("style", "heading")
        .with("color", color);
    let whole = |text: String| {
        let text = Object::default()
            .with("type", "TextBlock")
            .with("text", text)
            .with("wrap", true);
        message(vec![headline.clone().into(), text.into()], Vec::new())
    };
    Ok(fitted(rendering.text("text")?, whole))
}

/// Returns a message that holds one card.
pub(super) fn message(body: Vec<Json>, actions: Vec<Json>) -> Object {
    let card = Object::default()
        .with(
            "$schema",
            "http://adaptivecards.io/schemas/adaptive-card.json",
        )
        .with("type", "AdaptiveCard")
        .with("version", "1.2")
        .with("body", body)
        .with_list("actions", actions)
        .with("msteams", Object::default().with("width", "full"));
    let attachment = Object::default()
        .with("contentType", "application/vnd.microsoft.card.adaptive")
        .with("contentUrl", Json::Null)
        .with("content", card);
    Object::default()
        .with("type", "message")
        .with("attachments", vec![attachment.into()])
}

/// Returns a body that Teams takes: of a text that is too long, the beginning.
fn fitted(text: String, whole: impl Fn(String) -> Object) -> Vec<u8> {
    // What is written in JSON never gets shorter.
    let mut text = to_bytes(text, BODY_BYTES_MAX);
    loop {
        let body = whole(text.clone()).into_body();
        let over = body.len().saturating_sub(BODY_BYTES_MAX);
        if over == 0 || text.is_empty() {
            return body;
        }
        // Escaped, a byte takes up to six: cutting as many bytes as are too many, or a sixth, comes to an end soon.
        let most = text.len().saturating_sub(over.div_ceil(6).max(1));
        text = to_bytes(text, most);
    }
}
