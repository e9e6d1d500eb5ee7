//! A card as an Adaptive Card 1.2: text blocks, a fact set and buttons, which every client of Teams shows, those on phones too.

use super::super::json::{Json, Object};
use super::super::msteams::{BODY_BYTES_MAX, message};
use super::super::rendering::{Rendered, Rendering};
use super::card::{ALERTS_MAX, Card, Level, Line, Section};

/// Returns a message of at most [`BODY_BYTES_MAX`], with the newline at its end.
pub(crate) fn teams(rendering: &Rendering<'_>) -> Rendered<Object> {
    for alerts_max in (1..=ALERTS_MAX).rev() {
        let message = render(&Card::of(rendering, alerts_max)?);
        if Json::from(message.clone()).bytes() < BODY_BYTES_MAX {
            return Ok(message);
        }
    }
    Ok(render(&Card::of(rendering, 0)?))
}

fn render(card: &Card) -> Object {
    let (style, color) = match card.level {
        Level::Critical => ("attention", "Attention"),
        Level::Warning => ("warning", "Warning"),
        Level::Information => ("accent", "Accent"),
        Level::Resolved => ("good", "Good"),
    };
    let headline = block(&card.headline)
        .with("weight", "Bolder")
        .with("size", "Medium")
        .with("color", color);
    let mut body = vec![
        Object::default()
            .with("type", "Container")
            .with("style", style)
            .with("bleed", true)
            .with("items", vec![headline.into()])
            .into(),
    ];
    if !card.summary.is_empty() {
        body.push(block(&card.summary).into());
    }
    if !card.facts.is_empty() {
        let facts = card
            .facts
            .iter()
            .map(|(name, value)| fact(name, value))
            .collect::<Vec<Json>>();
        body.push(
            Object::default()
                .with("type", "FactSet")
                .with("facts", facts)
                .into(),
        );
    }
    for (title, list) in [("Firing", &card.firing), ("Resolved", &card.resolved)] {
        if list.count > 0 {
            body.extend(section(title, list));
        }
    }
    let actions = card.buttons.iter().map(|(text, url)| {
        Object::default()
            .with("type", "Action.OpenUrl")
            .with("title", *text)
            .with("url", url.as_str())
            .into()
    });
    message(body, actions.collect())
}

fn block(text: &str) -> Object {
    Object::default()
        .with("type", "TextBlock")
        .with("text", escape(text))
        .with("wrap", true)
}

fn fact(name: &str, value: &str) -> Json {
    Object::default()
        .with("title", name)
        .with("value", escape(value))
        .into()
}

fn section(title: &str, list: &Section) -> Vec<Json> {
    let heading = block(&format!("{title} ({})", list.count)).with("weight", "Bolder");
    let mut blocks = vec![heading.with("separator", true).into()];
    for line in &list.shown {
        blocks.push(block_of(line).into());
    }
    if list.hidden() > 0 {
        let more = format!("… and {} more", list.hidden());
        blocks.push(block(&more).with("isSubtle", true).into());
    }
    blocks
}

fn block_of(line: &Line) -> Object {
    let text = escape(&line.text);
    let text = if line.url.is_empty() || line.url.contains(['(', ')', ' ']) {
        text
    } else {
        format!("[{}]({})", text.replace(['[', ']'], ""), line.url)
    };
    let value = match line.value.as_str() {
        "" => String::new(),
        value => format!(" · **{}**", escape(value)),
    };
    Object::default()
        .with("type", "TextBlock")
        .with("text", format!("{text}{value} · {}", line.time))
        .with("wrap", true)
        .with("spacing", "Small")
}

/// Keeps Teams' markdown from taking parts of names for emphasis.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '_' | '\\' | '`') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
