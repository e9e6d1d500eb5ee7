//! Slack: incoming webhooks, and bot tokens, whose messages can be changed later.

use http_shell::header::AUTHORIZATION;

use super::exchange::{Answer, Request, Step, slack_error};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::rich;
use super::truncate::to_characters;
use crate::config::{Setting, Settings};
use crate::notification::{FailureKind, Remembered};

const TITLE_CHARACTERS_MAX: usize = 1024;
/// Where text is understood as markdown, when nothing else is set.
const MARKDOWN_IN: [&str; 3] = ["fallback", "pretext", "text"];
/// What is remembered of a message.
const TIMESTAMP: &str = "ts";
const CHANNEL: &str = "channel";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let (url, token) = address(rendering)?;
    let message = Message {
        url,
        token,
        keeps: rendering.settings().flag("update_message"),
        channel: rendering.text("channel")?,
        rest: rest(rendering)?,
    };
    let remembered = &rendering.notification.remembered;
    match (remembered.get(TIMESTAMP), remembered.get(CHANNEL)) {
        (Some(timestamp), Some(channel)) if message.keeps => {
            Ok(message.update(timestamp, channel.clone()))
        }
        _ => Ok(message.post()),
    }
}

fn address(rendering: &Rendering<'_>) -> Rendered<(String, Option<String>)> {
    let token = rendering.secret("app_token", "app_token_file")?;
    let url = match rendering.secret("api_url", "api_url_file")? {
        Some(url) => url,
        None => rendering.text("app_url")?,
    };
    Ok((url, token))
}

/// A message that is ready but for its place.
struct Message {
    url: String,
    token: Option<String>,
    /// Whether the next notification changes this message.
    keeps: bool,
    channel: String,
    /// What follows the channel.
    rest: Object,
}

impl Message {
    fn post(self) -> Step {
        let keeps = self.keeps;
        self.request(&self.url, &self.channel, None)
            .then(move |answer| taken(answer, keeps))
    }

    /// Changes a message; when there is none any more, posts a new one.
    fn update(self, timestamp: &str, channel: String) -> Step {
        let url = self.url.replace("chat.postMessage", "chat.update");
        self.request(&url, &channel, Some(timestamp.to_owned()))
            .then(move |answer| match slack_error(answer).as_deref() {
                Some("message_not_found" | "cant_update_message" | "edit_window_closed") => {
                    self.post()
                }
                _ => taken(answer, true),
            })
    }

    fn request(&self, url: &str, channel: &str, timestamp: Option<String>) -> Request {
        let body = Object::default()
            .with_text("channel", channel.to_owned())
            .with_some("ts", timestamp)
            .with_all(self.rest.clone());
        let request = Request::json(url, body.into_body());
        match &self.token {
            Some(token) => request.with(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }
}

/// Understands an answer with a status of success: Slack says there what is wrong.
fn taken(answer: &Answer, keeps: bool) -> Step {
    if let Some(error) = slack_error(answer) {
        let kind = match error.as_str() {
            "ratelimited" | "rate_limited" => FailureKind::RateLimited,
            "invalid_auth" | "not_authed" | "token_revoked" | "token_expired"
            | "account_inactive" => FailureKind::Unauthorized,
            "internal_error" | "fatal_error" | "service_unavailable" => FailureKind::Server,
            _ => FailureKind::Client,
        };
        let failure = crate::notification::Failure {
            kind,
            reason: format!("Slack refused the message: {error}"),
        };
        return match kind {
            FailureKind::RateLimited | FailureKind::Server => Step::retry(failure),
            _ => Step::give_up(failure),
        };
    }
    let member = |name: &str| {
        let json = answer.json()?;
        Some((name.to_owned(), json[name].as_str()?.to_owned()))
    };
    let remembered: Remembered = [TIMESTAMP, CHANNEL]
        .into_iter()
        .filter_map(member)
        .collect();
    if keeps && remembered.len() == 2 {
        Step::remembering(remembered)
    } else {
        Step::delivered()
    }
}

fn rest(rendering: &Rendering<'_>) -> Rendered<Object> {
    let settings = rendering.settings();
    let head = Object::default()
        .with_text("username", rendering.text("username")?)
        .with_text("icon_emoji", rendering.text("icon_emoji")?)
        .with_text("icon_url", rendering.text("icon_url")?)
        .with_flag("link_names", settings.flag("link_names"));
    if settings.text("style") == rich::STYLE {
        return Ok(head.with_all(rich::slack(rendering)?));
    }
    let attachment = attachment(rendering)?;
    Ok(head
        .with_text("text", rendering.text("message_text")?)
        .with("attachments", vec![attachment.into()]))
}

fn attachment(rendering: &Rendering<'_>) -> Rendered<Object> {
    let settings = rendering.settings();
    let title = to_characters(rendering.text("title")?, TITLE_CHARACTERS_MAX);
    let markdown_in = match settings.get("mrkdwn_in") {
        Some(Setting::Texts(places)) if !places.is_empty() => {
            places.iter().map(|place| place.as_str().into()).collect()
        }
        _ => MARKDOWN_IN.map(Json::from).to_vec(),
    };
    Ok(Object::default()
        .with_text("title", title)
        .with_text("title_link", rendering.text("title_link")?)
        .with_text("pretext", rendering.text("pretext")?)
        .with("text", rendering.text("text")?)
        .with("fallback", rendering.text("fallback")?)
        .with("callback_id", rendering.text("callback_id")?)
        .with_list("fields", fields(rendering, settings)?)
        .with_list("actions", actions(rendering, settings)?)
        .with_text("image_url", rendering.text("image_url")?)
        .with_text("thumb_url", rendering.text("thumb_url")?)
        .with("footer", rendering.text("footer")?)
        .with_text("color", rendering.text("color")?)
        .with("mrkdwn_in", markdown_in))
}

fn fields(rendering: &Rendering<'_>, settings: &Settings) -> Rendered<Vec<Json>> {
    let mut fields = Vec::new();
    for field in settings.groups("fields") {
        fields.push(
            Object::default()
                .with("title", rendering.text_of(field, "title")?)
                .with("value", rendering.text_of(field, "value")?)
                .with("short", is_short(field, settings))
                .into(),
        );
    }
    Ok(fields)
}

/// Whether there is room beside a field: what it says itself, or what holds for all.
pub(super) fn is_short(field: &Settings, settings: &Settings) -> bool {
    match field.get("short") {
        Some(Setting::Flag(short)) => *short,
        _ => settings.flag("short_fields"),
    }
}

fn actions(rendering: &Rendering<'_>, settings: &Settings) -> Rendered<Vec<Json>> {
    let mut actions = Vec::new();
    for action in settings.groups("actions") {
        let mut object = Object::default()
            .with("type", rendering.text_of(action, "type")?)
            .with("text", rendering.text_of(action, "text")?);
        for name in ["url", "style", "name", "value"] {
            object = object.with_text(name, rendering.text_of(action, name)?);
        }
        if let Some(confirm) = action.group("confirm") {
            let mut question = Object::default().with("text", rendering.text_of(confirm, "text")?);
            for name in ["title", "ok_text", "dismiss_text"] {
                question = question.with_text(name, rendering.text_of(confirm, name)?);
            }
            object = object.with("confirm", question);
        }
        actions.push(object.into());
    }
    Ok(actions)
}
