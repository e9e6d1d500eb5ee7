//! Opsgenie: alerts by alias, created, updated and closed.

use http_shell::Method;
use http_shell::header::AUTHORIZATION;

use super::exchange::{Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering};
use super::text::{below, hash, parts};
use super::truncate::to_characters;
use crate::config::Settings;

const MESSAGE_CHARACTERS_MAX: usize = 130;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let key = rendering.needed_secret("api_key", "api_key_file")?;
    let requests = requests(rendering)?
        .into_iter()
        .map(|request| request.with(AUTHORIZATION, format!("GenieKey {key}")));
    Ok(in_turn(requests.collect::<Vec<_>>().into_iter()))
}

/// Sends one request after the other, as long as they are taken.
fn in_turn(mut requests: std::vec::IntoIter<Request>) -> Step {
    match requests.next() {
        None => Step::delivered(),
        Some(request) => request.then(move |_| in_turn(requests)),
    }
}

fn requests(rendering: &Rendering<'_>) -> Rendered<Vec<Request>> {
    let url = rendering.settings().text("api_url");
    let alias = hash(&rendering.notification.group_key);
    let of_alias = |what: &str| {
        let path = format!("v2/alerts/{alias}/{what}");
        format!("{}?identifierType=alias", below(url, &path))
    };
    if !rendering.notification.is_firing() {
        let body = Object::default().with("source", rendering.text("source")?);
        return Ok(vec![Request::json(of_alias("close"), body.into_body())]);
    }
    let message = to_characters(rendering.text("message")?, MESSAGE_CHARACTERS_MAX);
    let description = rendering.text("description")?;
    let create = Object::default()
        .with("alias", alias.as_str())
        .with("message", message.as_str())
        .with_text("description", description.clone())
        .with("details", details(rendering)?)
        .with("source", rendering.text("source")?)
        .with_list("responders", responders(rendering)?)
        .with_list("tags", texts(&rendering.text("tags")?))
        .with_text("note", rendering.text("note")?)
        .with_text("priority", rendering.text("priority")?)
        .with_text("entity", rendering.text("entity")?)
        .with_list("actions", texts(&rendering.text("actions")?));
    let mut requests = vec![Request::json(below(url, "v2/alerts"), create.into_body())];
    if rendering.settings().flag("update_alerts") {
        for (name, text) in [("message", message), ("description", description)] {
            let body = Object::default().with_text(name, text).into_body();
            let mut request = Request::json(of_alias(name), body);
            request.method = Method::PUT;
            requests.push(request);
        }
    }
    Ok(requests)
}

fn texts(list: &str) -> Vec<Json> {
    parts(list).into_iter().map(Json::from).collect()
}

/// Returns the labels that all alerts have, and what is set beside them.
fn details(rendering: &Rendering<'_>) -> Rendered<Json> {
    let mut details = rendering.notification.data.common_labels.clone();
    for (name, text) in rendering.settings().map("details").into_iter().flatten() {
        details.insert(name.clone(), rendering.render(name, text)?);
    }
    Ok(Json::from(&details))
}

/// Returns those to be told; one of whom nothing is left after rendering is nobody, and `teams` are several.
fn responders(rendering: &Rendering<'_>) -> Rendered<Vec<Json>> {
    let mut responders = Vec::new();
    for group in rendering.settings().groups("responders") {
        let text = |name| rendering.text_of(group, name);
        let (id, name, username, kind) = (
            text("id")?,
            text("name")?,
            text("username")?,
            kind(rendering, group)?,
        );
        if [&id, &name, &username, &kind]
            .iter()
            .all(|text| text.is_empty())
        {
            continue;
        }
        if kind == "teams" {
            let team = |name: String| Object::default().with("name", name).with("type", "team");
            responders.extend(parts(&name).into_iter().map(team).map(Json::from));
            continue;
        }
        let responder = Object::default()
            .with_text("id", id)
            .with_text("name", name)
            .with_text("username", username)
            .with("type", kind);
        responders.push(responder.into());
    }
    Ok(responders)
}

fn kind(rendering: &Rendering<'_>, group: &Settings) -> Rendered<String> {
    rendering.text_of(group, "type")
}
