//! Rendering the settings of an integration for one notification.

use std::cell::{OnceCell, RefCell};

use config::{Node, NodeValue};
use template::{Environment, Limits, Mode, Templates, Time, Value};

use super::json::{Json, Object};
use crate::config::{Credential, Settings};
use crate::notification::{Failure, FailureKind, Notification};

/// What came out, or why nothing did.
pub(crate) type Rendered<T> = Result<T, Failure>;

/// A notification, and what its integration's settings come to.
pub(crate) struct Rendering<'n> {
    pub(crate) notification: &'n Notification,
    /// The time of the attempt, for what is signed or dated.
    pub(crate) now: Time,
    templates: &'n Templates,
    /// What templates are given; made for the first of them.
    data: OnceCell<Value>,
    /// What was read on the way and must not be shown.
    secrets: RefCell<Vec<String>>,
}

impl<'n> Rendering<'n> {
    pub(crate) fn new(notification: &'n Notification, templates: &'n Templates, now: Time) -> Self {
        Self {
            notification,
            now,
            templates,
            data: OnceCell::new(),
            secrets: RefCell::default(),
        }
    }

    pub(crate) fn settings(&self) -> &'n Settings {
        &self.notification.integration.settings
    }

    /// Returns a rendering of another notification to the same place.
    pub(crate) fn of<'o>(&'o self, notification: &'o Notification) -> Rendering<'o> {
        Rendering::new(notification, self.templates, self.now.clone())
    }

    /// Returns the secrets that were read so far.
    pub(crate) fn into_secrets(self) -> Vec<String> {
        self.secrets.into_inner()
    }

    /// Renders the setting called `name`; one that is not given is empty.
    pub(crate) fn text(&self, name: &str) -> Rendered<String> {
        self.text_of(self.settings(), name)
    }

    /// Renders a setting of a part.
    pub(crate) fn text_of(&self, part: &Settings, name: &str) -> Rendered<String> {
        self.render(name, part.text(name))
    }

    /// Renders a text; `name` is what messages call it.
    pub(crate) fn render(&self, name: &str, text: &str) -> Rendered<String> {
        self.render_as(Mode::Text, name, text)
    }

    /// Renders the setting called `name` as HTML.
    pub(crate) fn html(&self, name: &str) -> Rendered<String> {
        self.render_as(Mode::Html, name, self.settings().text(name))
    }

    fn render_as(&self, mode: Mode, name: &str, text: &str) -> Rendered<String> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let data = self
            .data
            .get_or_init(|| Value::from(&self.notification.data));
        let mut world = World(self.notification);
        self.templates
            .compile(name, text, mode, &[])
            .and_then(|program| program.render(data, &[], &mut world, Limits::default()))
            .map_err(|error| fail(error.to_string()))
    }

    /// Returns a secret that may be a template, or what its file holds at present; `None` when neither is given.
    pub(crate) fn secret(&self, name: &str, file: &str) -> Rendered<Option<String>> {
        self.secret_of(self.settings(), name, file)
    }

    /// Returns a secret of a part.
    pub(crate) fn secret_of(
        &self,
        part: &Settings,
        name: &str,
        file: &str,
    ) -> Rendered<Option<String>> {
        let Some(credential) = part.credential(name, file) else {
            return Ok(None);
        };
        let read = credential.read().map_err(|error| match credential {
            Credential::File(path) => fail(format!("cannot read {}: {error}", path.display())),
            Credential::Inline(_) => fail(format!("cannot read {name}: {error}")),
        })?;
        // The message would show the text.
        let secret = self
            .render(name, read.expose())
            .map_err(|_| fail(format!("{name} is a template that fails")))?;
        self.hide(&secret);
        Ok(Some(secret))
    }

    /// Returns a secret without which nothing can be sent.
    pub(crate) fn needed_secret(&self, name: &str, file: &str) -> Rendered<String> {
        self.secret(name, file)?
            .filter(|secret| !secret.is_empty())
            .ok_or_else(|| fail(format!("{name} is empty")))
    }

    /// Keeps a text out of all messages.
    pub(crate) fn hide(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Renders all texts of a tree. A text that comes out as a number, a truth value, a list or an object of JSON is one.
    ///
    /// Alertmanager renders what comes out again, texts inside it included; here a label is never a template.
    pub(crate) fn tree(&self, name: &str, node: &Node) -> Rendered<Json> {
        Ok(match &node.value {
            NodeValue::Null => Json::Null,
            NodeValue::Scalar(text) => value_of(self.render(name, text)?),
            NodeValue::List(items) => {
                let items = items.iter().map(|item| self.tree(name, item));
                Json::List(items.collect::<Rendered<_>>()?)
            }
            NodeValue::Map(_) => self.members(name, node)?.into(),
        })
    }

    /// Renders a map, sorted by name; anything else is empty.
    pub(crate) fn members(&self, name: &str, node: &Node) -> Rendered<Object> {
        let NodeValue::Map(entries) = &node.value else {
            return Ok(Object::default());
        };
        let mut members = Vec::with_capacity(entries.len());
        for (key, _, value) in entries {
            members.push((self.render(name, key)?, self.tree(name, value)?));
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(members.into_iter().collect())
    }
}

/// Returns the failure of a message that cannot be made.
pub(crate) fn fail(reason: impl Into<String>) -> Failure {
    Failure {
        kind: FailureKind::Message,
        reason: reason.into(),
    }
}

fn value_of(text: String) -> Json {
    if matches!(text.trim(), "" | "~") {
        return Json::Null;
    }
    match serde_json::from_str(&text) {
        Ok(serde_json::Value::String(_)) | Err(_) => Json::Text(text),
        Ok(value) => value.into(),
    }
}

/// What templates ask for: the time and the URL of the notification.
struct World<'n>(&'n Notification);

impl Environment for World<'_> {
    fn now(&self) -> Time {
        self.0.at.clone()
    }

    fn external_url(&self) -> &str {
        &self.0.data.external_url
    }
}
