//! Pushover: messages to people's phones.

use http_shell::Method;
use http_shell::header::CONTENT_TYPE;

use super::exchange::{Request, Step};
use super::rendering::{Rendered, Rendering};
use super::text::form;
use super::truncate::to_characters;
use crate::config::Setting;

const URL: &str = "https://api.pushover.net/1/messages.json";
const TITLE_CHARACTERS_MAX: usize = 250;
const MESSAGE_CHARACTERS_MAX: usize = 1024;
const LINK_CHARACTERS_MAX: usize = 512;
/// Pushover refuses messages without text.
const NO_TEXT: &str = "(no details)";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let seconds = |name| match settings.get(name) {
        Some(Setting::Duration(duration)) => duration.as_secs(),
        _ => 0,
    };
    let message = if settings.flag("html") {
        rendering.html("message")?
    } else {
        rendering.text("message")?
    };
    let message = to_characters(message, MESSAGE_CHARACTERS_MAX);
    let message = match message.trim() {
        "" => NO_TEXT,
        text => text,
    };
    let (token, user) = (
        rendering.needed_secret("token", "token_file")?,
        rendering.needed_secret("user_key", "user_key_file")?,
    );
    let title = to_characters(rendering.text("title")?, TITLE_CHARACTERS_MAX);
    let url = to_characters(rendering.text("url")?, LINK_CHARACTERS_MAX);
    let (url_title, priority) = (rendering.text("url_title")?, rendering.text("priority")?);
    let (device, sound) = (rendering.text("device")?, rendering.text("sound")?);
    let (retry, expire) = (seconds("retry").to_string(), seconds("expire").to_string());
    let ttl = seconds("ttl").to_string();
    let mut parameters = vec![
        ("token", token.as_str()),
        ("user", &user),
        ("title", &title),
        ("message", message),
        ("url", &url),
        ("url_title", &url_title),
        ("priority", &priority),
        ("retry", &retry),
        ("expire", &expire),
        ("device", &device),
        ("sound", &sound),
    ];
    for flag in ["html", "monospace"] {
        if settings.flag(flag) {
            parameters.push((flag, "1"));
        }
    }
    if ttl != "0" {
        parameters.push(("ttl", &ttl));
    }
    let url = format!("{URL}?{}", form(&parameters));
    let request = Request::new(Method::POST, url, Vec::new());
    Ok(request.with(CONTENT_TYPE, "text/plain".to_owned()).once())
}
