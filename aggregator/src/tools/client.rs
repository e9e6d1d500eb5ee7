//! Calls to a running aggregator.

use std::time::Duration;

use anyhow::Context;
use config::Settings;
use http_shell::{Client, ClientError, Form, Reply, Target};
use serde_json::Value;

use crate::service::SOCKET;

/// How long the local socket may take.
const LOCAL_WITHIN: Duration = Duration::from_secs(30);

/// An answer that says why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    /// The error type of the API.
    pub(super) kind: String,
    /// For people.
    pub(super) message: String,
}

/// Calls one aggregator and takes its answers apart.
pub(super) struct Caller(Client);

impl Caller {
    /// Returns a caller of the HTTP address in the settings.
    pub(super) fn of_server(settings: &Settings) -> anyhow::Result<Self> {
        let client = Client::new(
            Target::parse(settings.text("url"))?,
            settings.duration("timeout"),
        );
        Ok(Self(
            match (
                settings.optional_text("http.user"),
                settings.secret("http.password"),
            ) {
                (Some(user), Some(password)) => client.with_credentials(user, password),
                _ => client,
            },
        ))
    }

    /// Returns a caller of the socket in the data folder.
    pub(super) fn of_socket(settings: &Settings) -> Self {
        let target = Target::Unix(settings.path("storage.path").join(SOCKET));
        Self(Client::new(target, LOCAL_WITHIN))
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.data(|client| async move { client.get(path).await })
    }

    pub(super) fn post(&self, path: &str, form: &Form) -> anyhow::Result<Value> {
        self.data(|client| async move { client.post_form(path, form).await })
    }

    /// Returns an answer of Alertmanager's API, which stands in no envelope; nothing where there is no such API.
    pub(super) fn get_bare(&self, path: &str) -> anyhow::Result<Option<String>> {
        let reply = self.reply(|client| async move { client.get(path).await })?;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        match reply.status {
            http_shell::StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(text)),
            status => anyhow::bail!("{}: {status}: {}", self.0.target(), text.trim()),
        }
    }

    /// Posts a form whose answer is no JSON, unless it is refused.
    pub(super) fn post_for_bytes(&self, path: &str, form: &Form) -> anyhow::Result<Reply> {
        let reply = self.reply(|client| async move { client.post_form(path, form).await })?;
        if reply.status.is_success() {
            return Ok(reply);
        }
        let refusal = self.parse(&reply)?;
        anyhow::bail!("{}: {}", self.0.target(), text(&refusal, "error"));
    }

    /// Returns the `data` of an answer, or the error that it holds.
    fn data<F: Future<Output = Result<Reply, ClientError>>>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> anyhow::Result<Value> {
        let mut answer = self.parse(&self.reply(call)?)?;
        if answer["status"] != "success" {
            return Err(Refused {
                kind: text(&answer, "errorType"),
                message: text(&answer, "error"),
            }
            .into());
        }
        for key in ["warnings", "infos"] {
            for note in answer[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                crate::terminal::complain(&note);
            }
        }
        Ok(answer["data"].take())
    }

    fn reply<F: Future<Output = Result<Reply, ClientError>>>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> anyhow::Result<Reply> {
        let runtime = runtime::multi_thread("promontory-tool", 1, runtime::BLOCKING_THREADS)?;
        let reply = runtime.block_on(call(self.0.clone()))?;
        if reply.status == http_shell::StatusCode::UNAUTHORIZED {
            let target = self.0.target();
            anyhow::bail!("{target} asks for a user and a password: --http.user, --http.password");
        }
        Ok(reply)
    }

    fn parse(&self, reply: &Reply) -> anyhow::Result<Value> {
        serde_json::from_slice(&reply.body).with_context(|| {
            let text = String::from_utf8_lossy(&reply.body);
            let text: String = text.trim().chars().take(200).collect();
            format!(
                "{} did not answer as an aggregator does ({}: {text})",
                self.0.target(),
                reply.status
            )
        })
    }
}

fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_default().to_owned()
}
