//! Jira: one issue per group, found by a label, updated, resolved and reopened.

use std::collections::BTreeMap;

use http_shell::header::{ACCEPT_LANGUAGE, CONTENT_TYPE};
use http_shell::{Method, encode_component};
use template::quote;

use super::exchange::{Answer, Request, Step};
use super::json::{Json, Object};
use super::rendering::{Rendered, Rendering, fail};
use super::text::{below, hash};
use super::truncate::to_characters;
use crate::config::{Setting, Settings};
use crate::notification::FailureKind;

const SUMMARY_CHARACTERS_MAX: usize = 255;
const DESCRIPTION_CHARACTERS_MAX: usize = 32_767;
/// A second one tells that there are several.
const ISSUES_MAX: i64 = 2;
/// The category of statuses of closed issues.
const DONE: &str = "done";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let label = format!("ALERT{{{}}}", hash(&rendering.notification.group_key));
    let query = query(rendering, &label)?;
    let issue = Issue {
        api: settings.text("api_url").to_owned(),
        is_firing: rendering.notification.is_firing(),
        fields: fields(rendering, label)?,
        kept: ["summary", "description"]
            .into_iter()
            .filter(|name| !is_updated(settings, name))
            .collect(),
        reopen: settings.text("reopen_transition").to_owned(),
        resolve: settings.text("resolve_transition").to_owned(),
    };
    let search = Object::default()
        .with("fields", vec![Json::from("status")])
        .with("jql", query)
        .with("maxResults", ISSUES_MAX);
    let request = request(Method::POST, search_url(settings), search.into_body());
    Ok(request.then(move |answer| issue.found(answer)))
}

fn request(method: Method, url: String, body: Vec<u8>) -> Request {
    Request::new(method, url, body)
        .with(CONTENT_TYPE, "application/json".to_owned())
        .with(ACCEPT_LANGUAGE, "en".to_owned())
}

/// Jira Cloud searches elsewhere than Jira Data Center.
fn search_url(settings: &Settings) -> String {
    let api = settings.text("api_url");
    let host = api.split_once("://").map_or(api, |(_, rest)| rest);
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    let is_cloud = match settings.text("api_type") {
        "cloud" => true,
        "datacenter" => false,
        _ => host.ends_with("atlassian.net"),
    };
    if is_cloud {
        below(api, "search/jql").replacen("/2", "/3", 1)
    } else {
        below(api, "search")
    }
}

fn query(rendering: &Rendering<'_>, label: &str) -> Rendered<String> {
    let settings = rendering.settings();
    let mut query = String::new();
    if settings.has("wont_fix_resolution") {
        let resolution = quote(settings.text("wont_fix_resolution"));
        query.push_str(&format!("resolution != {resolution} and "));
    }
    let minutes = match settings.get("reopen_duration") {
        Some(Setting::Duration(duration)) => duration.as_secs() / 60,
        _ => 0,
    };
    if rendering.notification.is_firing() && settings.has("reopen_transition") && minutes > 0 {
        query.push_str(&format!(
            "(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m) and "
        ));
    } else {
        query.push_str("statusCategory != Done and ");
    }
    let (project, label) = (quote(&rendering.text("project")?), quote(label));
    Ok(format!(
        "{query}project={project} and labels={label} order by status ASC,resolutiondate DESC"
    ))
}

/// Whether a field of an issue that is there already is written again.
fn is_updated(settings: &Settings, name: &str) -> bool {
    let field = settings.group(name);
    !matches!(
        field.and_then(|field| field.get("enable_update")),
        Some(Setting::Flag(false))
    )
}

fn fields(rendering: &Rendering<'_>, label: String) -> Rendered<BTreeMap<String, Json>> {
    let settings = rendering.settings();
    let text = |name: &str| match settings.group(name) {
        Some(group) => rendering.text_of(group, "template"),
        None => Ok(String::new()),
    };
    let named = |name: &str, text: String| Json::from(Object::default().with(name, text));
    let summary = to_characters(text("summary")?, SUMMARY_CHARACTERS_MAX);
    let description = to_characters(text("description")?, DESCRIPTION_CHARACTERS_MAX);
    // Version 3 of the API takes documents.
    let description = if settings
        .text("api_url")
        .trim_end_matches('/')
        .ends_with("/3")
    {
        serde_json::from_str::<serde_json::Value>(&description)
            .map_err(|error| fail(format!("description is no document in JSON: {error}")))?
            .into()
    } else {
        Json::from(description)
    };
    let mut labels = vec![label];
    if let Some(Setting::Texts(texts)) = settings.get("labels") {
        for text in texts {
            labels.push(rendering.render("labels", text)?);
        }
    }
    labels.sort();
    let labels: Vec<Json> = labels.into_iter().map(Json::from).collect();
    let mut fields = BTreeMap::from([
        ("description".to_owned(), description),
        (
            "issuetype".to_owned(),
            named("name", rendering.text("issue_type")?),
        ),
        ("labels".to_owned(), labels.into()),
        (
            "project".to_owned(),
            named("key", rendering.text("project")?),
        ),
        ("summary".to_owned(), summary.into()),
    ]);
    let priority = rendering.text("priority")?;
    if !priority.is_empty() {
        fields.insert("priority".to_owned(), named("name", priority));
    }
    if let Some(Setting::Tree(custom)) = settings.get("fields") {
        fields.extend(rendering.members("fields", custom)?.into_members());
    }
    Ok(fields)
}

/// What an issue is to become.
struct Issue {
    api: String,
    is_firing: bool,
    fields: BTreeMap<String, Json>,
    /// Fields that an issue keeps once it is there.
    kept: Vec<&'static str>,
    /// Names of transitions; empty: there is none.
    reopen: String,
    resolve: String,
}

impl Issue {
    fn found(self, answer: &Answer) -> Step {
        let Some(json) = answer.json() else {
            let what = "Jira's answer to the search is no JSON";
            return Step::give_up(answer.failure(FailureKind::Client, what));
        };
        let found = &json["issues"][0];
        match found["key"].as_str() {
            Some(key) => {
                let category = found["fields"]["status"]["statusCategory"]["key"].as_str();
                self.update(key, category)
            }
            None if self.is_firing => self.create(),
            None => Step::delivered(),
        }
    }

    fn create(self) -> Step {
        let body = body(self.fields);
        request(Method::POST, below(&self.api, "issue"), body).once()
    }

    fn update(mut self, key: &str, category: Option<&str>) -> Step {
        for name in &self.kept {
            self.fields.remove(*name);
        }
        let path = format!("issue/{}", encode_component(key));
        let url = below(&self.api, &path);
        let transition = match category {
            Some(DONE) if self.is_firing => self.reopen,
            Some(category) if category != DONE && !self.is_firing => self.resolve,
            _ => String::new(),
        };
        let transitions = below(&self.api, &format!("{path}/transitions"));
        request(Method::PUT, url, body(self.fields)).then(move |_| {
            if transition.is_empty() {
                return Step::delivered();
            }
            request(Method::GET, transitions.clone(), Vec::new())
                .then(move |answer| follow(answer, transitions, &transition))
        })
    }
}

fn body(fields: BTreeMap<String, Json>) -> Vec<u8> {
    let fields: Object = fields.into_iter().collect();
    Object::default().with("fields", fields).into_body()
}

/// Moves an issue by the transition of this name.
fn follow(answer: &Answer, url: String, name: &str) -> Step {
    let json = answer.json().unwrap_or_default();
    let transitions = json["transitions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let id = transitions
        .iter()
        .find(|transition| transition["name"] == name)
        .and_then(|transition| transition["id"].as_str());
    let Some(id) = id else {
        return Step::give_up(fail(format!("the issue has no transition {name:?} now")));
    };
    let transition = Object::default().with("id", id);
    let body = Object::default().with("transition", transition);
    request(Method::POST, url, body.into_body()).once()
}
