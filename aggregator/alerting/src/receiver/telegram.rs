//! Telegram: a bot's messages to a chat.

use std::borrow::Cow;

use super::exchange::{Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering, fail};
use super::text::below;
use super::truncate::to_characters;
use crate::config::{Credential, Setting};

/// Of the text, without its markup.
const TEXT_CHARACTERS_MAX: usize = 4096;
/// Of all, markup included.
const TEXT_BYTES_MAX: usize = 32 * 1024;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let token = rendering.needed_secret("bot_token", "bot_token_file")?;
    let thread = settings.integer("message_thread_id");
    let mode = settings.text("parse_mode");
    // All values are texts, as the library that Alertmanager uses sends them.
    let body = Object::default()
        .with("chat_id", chat(rendering)?)
        .with_text(
            "disable_notification",
            text_of(settings.flag("disable_notifications")),
        )
        .with("disable_web_page_preview", "true")
        .with_some(
            "message_thread_id",
            (thread != 0).then(|| thread.to_string()),
        )
        .with_text("parse_mode", mode.to_owned())
        .with("text", text(rendering, mode)?);
    let url = below(settings.text("api_url"), &format!("bot{token}/sendMessage"));
    Ok(Request::json(url, body.into_body()).once())
}

fn text_of(flag: bool) -> String {
    if flag {
        "true".to_owned()
    } else {
        String::new()
    }
}

fn chat(rendering: &Rendering<'_>) -> Rendered<String> {
    let settings = rendering.settings();
    let Some(Setting::File(path)) = settings.get("chat_id_file") else {
        return Ok(settings.integer("chat_id").to_string());
    };
    let text = Credential::File(path)
        .read()
        .map_err(|error| fail(format!("cannot read {}: {error}", path.display())))?;
    match text.expose().parse::<i64>() {
        Ok(chat) => Ok(chat.to_string()),
        Err(_) => Err(fail(format!(
            "{} holds no number of a chat",
            path.display()
        ))),
    }
}

fn text(rendering: &Rendering<'_>, mode: &str) -> Rendered<Json> {
    if mode != "HTML" {
        let text = rendering.text("message")?;
        return Ok(to_characters(text, TEXT_CHARACTERS_MAX).into());
    }
    let html = rendering.html("message")?;
    let text = without_markup(&html);
    if html.len() <= TEXT_BYTES_MAX && text.chars().count() <= TEXT_CHARACTERS_MAX {
        return Ok(html.into());
    }
    // Cut anywhere, markup would not close, and Telegram would refuse it: what is cut goes without.
    Ok(escape(&to_characters(text.into_owned(), TEXT_CHARACTERS_MAX)).into())
}

const ENTITIES: [(&str, &str); 6] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&amp;", "&"),
];

fn without_markup(html: &str) -> Cow<'_, str> {
    if !html.contains(['<', '&']) {
        return html.into();
    }
    let mut parts = html.split('<');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('>').map_or("", |(_, text)| text));
    }
    for (entity, character) in ENTITIES {
        text = text.replace(entity, character);
    }
    text.into()
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_does_not_count() {
        let text = without_markup("a <b>b</b> &lt;c&gt; &amp;lt; <a href=\"x\">l</a><broken");
        assert_eq!(text, "a b <c> &lt; l");
        assert_eq!(escape("<&>"), "&lt;&amp;&gt;");
    }
}
