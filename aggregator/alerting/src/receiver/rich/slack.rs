//! A card as blocks of Slack, in an attachment that gives it its colour.

use super::super::json::{Json, Object};
use super::super::rendering::{Rendered, Rendering};
use super::card::{ALERTS_MAX, Card, Level, Line, Section};

/// What a block of text takes.
const TEXT_CHARACTERS_MAX: usize = 3_000;
/// What is kept free for telling how many more there are.
const MORE_CHARACTERS_MAX: usize = 40;
/// What a message takes in its attachments; far below Slack's own bound.
const BYTES_MAX: usize = 32 * 1024;

/// Returns the text and the attachments of a message.
pub(crate) fn slack(rendering: &Rendering<'_>) -> Rendered<Object> {
    for alerts_max in (0..=ALERTS_MAX).rev() {
        let message = message(&Card::of(rendering, alerts_max)?);
        if alerts_max == 0 || Json::from(message.clone()).bytes() <= BYTES_MAX {
            return Ok(message);
        }
    }
    Ok(Object::default())
}

fn message(card: &Card) -> Object {
    let color = match card.level {
        Level::Critical => "#b42318",
        Level::Warning => "#d4a72c",
        Level::Information => "#0969da",
        Level::Resolved => "#1a7f37",
    };
    let mut blocks = Vec::new();
    if !card.summary.is_empty() {
        blocks.push(section(&escape(&card.summary)));
    }
    if !card.facts.is_empty() {
        let facts = card
            .facts
            .iter()
            .map(|(name, value)| markdown(&format!("*{}*\n{}", escape(name), escape(value))));
        blocks.push(
            Object::default()
                .with("type", "section")
                .with("fields", facts.collect::<Vec<Json>>())
                .into(),
        );
    }
    for (title, list) in [("Firing", &card.firing), ("Resolved", &card.resolved)] {
        if list.count > 0 {
            blocks.push(section(&text(title, list)));
        }
    }
    if !card.buttons.is_empty() {
        let buttons = card.buttons.iter().map(|(text, url)| button(text, url));
        blocks.push(
            Object::default()
                .with("type", "actions")
                .with("elements", buttons.collect::<Vec<Json>>())
                .into(),
        );
    }
    let attachment = Object::default()
        .with("color", color)
        .with("fallback", card.headline.as_str())
        .with("blocks", blocks);
    Object::default()
        .with("text", format!("*{}*", escape(&card.headline)))
        .with("attachments", vec![attachment.into()])
}

/// Returns a list's text: as many of its alerts as there is room for, and how many more there are.
fn text(title: &str, list: &Section) -> String {
    let mut text = format!("*{title} ({})*", list.count);
    let mut hidden = list.count;
    for line in list.shown.iter().map(shown) {
        let characters = text.chars().count() + line.chars().count();
        if characters > TEXT_CHARACTERS_MAX - MORE_CHARACTERS_MAX {
            break;
        }
        text.push('\n');
        text.push_str(&line);
        hidden -= 1;
    }
    if hidden > 0 {
        text.push_str(&format!("\n… and {hidden} more"));
    }
    text
}

fn shown(line: &Line) -> String {
    let text = escape(&line.text);
    // `|` would end the address.
    let text = if line.url.is_empty() || line.url.contains(['|', '<', '>']) {
        text
    } else {
        format!("<{}|{}>", escape(&line.url), text.replace('|', "¦"))
    };
    let value = match line.value.as_str() {
        "" => String::new(),
        value => format!(" · *{}*", escape(value)),
    };
    format!("• {text}{value} · {}", line.time)
}

fn markdown(text: &str) -> Json {
    Object::default()
        .with("type", "mrkdwn")
        .with("text", text)
        .into()
}

fn section(text: &str) -> Json {
    Object::default()
        .with("type", "section")
        .with("text", markdown(text))
        .into()
}

fn button(text: &str, url: &str) -> Json {
    let text = Object::default()
        .with("type", "plain_text")
        .with("text", text);
    Object::default()
        .with("type", "button")
        .with("text", text)
        .with("url", url)
        .into()
}

/// Slack's own escapes; everything else is markdown.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
