//! Rocket.Chat: messages through its REST API.

use http_shell::header::HeaderName;

use super::exchange::{Answer, Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::slack::is_short;
use super::text::below;
use super::truncate::to_characters;
use crate::notification::{Failure, FailureKind};

const TITLE_CHARACTERS_MAX: usize = 1024;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let title = to_characters(rendering.text("title")?, TITLE_CHARACTERS_MAX);
    let attachment = Object::default()
        .with_text("title", title)
        .with_text("title_link", rendering.text("title_link")?)
        .with_text("text", rendering.text("text")?)
        .with_text("image_url", rendering.text("image_url")?)
        .with_text("thumb_url", rendering.text("thumb_url")?)
        .with_text("color", rendering.text("color")?)
        .with_list("fields", fields(rendering)?)
        .with_list("actions", actions(rendering)?);
    let body = Object::default()
        .with_text("channel", rendering.text("channel")?)
        .with_text("emoji", rendering.text("emoji")?)
        .with_text("avatar", rendering.text("icon_url")?)
        .with("attachments", vec![attachment.into()]);
    let url = below(
        rendering.settings().text("api_url"),
        "api/v1/chat.postMessage",
    );
    let request = Request::json(url, body.into_body())
        .with(
            HeaderName::from_static("x-auth-token"),
            rendering.needed_secret("token", "token_file")?,
        )
        .with(
            HeaderName::from_static("x-user-id"),
            rendering.needed_secret("token_id", "token_id_file")?,
        );
    Ok(request.then(taken))
}

/// Understands an answer with a status of success: what is wrong can be said there, too.
fn taken(answer: &Answer) -> Step {
    let failure = |reason| Failure {
        kind: FailureKind::Client,
        reason,
    };
    match answer.json() {
        Some(json) if json["success"] == true => Step::delivered(),
        Some(json) => {
            let error = json["error"].as_str().unwrap_or("unknown error");
            Step::give_up(failure(format!("Rocket.Chat refused the message: {error}")))
        }
        None => Step::retry(failure("the answer is no JSON".to_owned())),
    }
}

fn fields(rendering: &Rendering<'_>) -> Rendered<Vec<Json>> {
    let settings = rendering.settings();
    let mut fields = Vec::new();
    for field in settings.groups("fields") {
        fields.push(
            Object::default()
                .with("short", is_short(field, settings))
                .with_text("title", rendering.text_of(field, "title")?)
                .with_text("value", rendering.text_of(field, "value")?)
                .into(),
        );
    }
    Ok(fields)
}

fn actions(rendering: &Rendering<'_>) -> Rendered<Vec<Json>> {
    let mut actions = Vec::new();
    for action in rendering.settings().groups("actions") {
        // There are no others than buttons.
        let mut object = Object::default().with("type", "button");
        for name in ["text", "url", "msg"] {
            object = object.with_text(name, rendering.text_of(action, name)?);
        }
        actions.push(object.into());
    }
    Ok(actions)
}
