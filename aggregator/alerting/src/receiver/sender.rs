//! The shell: takes a notification to its service and says how that went.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_shell::header::{
    AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use http_shell::{Call, HttpUrl, Outgoing, OutgoingError, Reach, dial};
use runtime::Tasks;
use template::{Templates, Time};
use tokio::time::timeout;
use transport::ClientTls;

use super::exchange::{Answer, Request, Step, clean, judge};
use super::http::{self, Client};
use super::rendering::{Rendered, Rendering, fail};
use super::smtp::{self, Login, Mail, Security, Session};
use super::{email, open, retried};
use crate::IntegrationKind;
use crate::config::{Setting, Settings};
use crate::notification::{Attempt, Deliver, Failure, FailureKind, Notification, Outcome};

const AGENT: &str = concat!("Promontory/", env!("CARGO_PKG_VERSION"));
/// The most requests of one attempt; the longest chain, Jira's, has four.
const REQUESTS_MAX: usize = 8;
/// The port on which TLS is spoken from the first byte.
const IMPLICIT_TLS_PORT: u16 = 465;

/// What holds for all integrations.
#[derive(Clone)]
pub struct SenderConfig {
    /// Where connections may go.
    pub reach: Reach,
    /// The time for one request, or for handing over a mail, when an integration has no timeout of its own.
    pub within: Duration,
    /// Says what time it is, for what is signed or dated.
    pub now: Arc<dyn Fn() -> Time + Send + Sync>,
}

impl fmt::Debug for SenderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderConfig")
            .field("reach", &self.reach)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// Sends notifications. Rendering happens on a thread for blocking work: templates take time, and secrets are in files.
#[derive(Debug)]
pub struct Sender {
    templates: Templates,
    config: SenderConfig,
    tasks: Tasks,
}

/// A message that is ready to go.
#[derive(Debug)]
enum Message {
    Request {
        step: Step,
        client: Box<Client>,
        retried: &'static [u16],
    },
    Mail {
        mail: Mail,
        session: Box<Session>,
        port: u16,
    },
}

impl Sender {
    /// Returns a sender whose messages may use `templates`.
    pub fn new(templates: Templates, config: SenderConfig) -> Self {
        Self {
            templates,
            config,
            tasks: Tasks::new("notifications"),
        }
    }

    async fn attempt(&self, notification: &Arc<Notification>) -> Outcome {
        let (notification, templates, config) = (
            Arc::clone(notification),
            self.templates.clone(),
            self.config.clone(),
        );
        let made = self.tasks.spawn_blocking("make a notification", move || {
            let rendering = Rendering::new(&notification, &templates, (config.now)());
            let message = make(&rendering, &config);
            (message, rendering.into_secrets())
        });
        let Ok((message, secrets)) = made.await else {
            return Outcome::GiveUp(fail("the message could not be made: rendering stopped"));
        };
        let outcome = match message {
            Err(failure) => Outcome::GiveUp(failure),
            Ok(Message::Request {
                step,
                client,
                retried,
            }) => converse(step, client, retried).await,
            Ok(Message::Mail {
                mail,
                session,
                port,
            }) => self.hand_over(&mail, &session, port).await,
        };
        match outcome {
            Outcome::Delivered { .. } => outcome,
            Outcome::Retry { after, failure } => Outcome::Retry {
                after,
                failure: clean(failure, &secrets),
            },
            Outcome::GiveUp(failure) => Outcome::GiveUp(clean(failure, &secrets)),
        }
    }

    async fn hand_over(&self, mail: &Mail, session: &Session, port: u16) -> Outcome {
        let sent = async {
            match dial(&session.host, port, self.config.reach).await {
                Ok(stream) => smtp::send(session, stream, mail).await,
                Err(http_shell::DialError::Refused(address)) => {
                    let reason = http_shell::DialError::Refused(address).to_string();
                    Outcome::GiveUp(fail(reason))
                }
                Err(error) => again(FailureKind::Connection, error.to_string()),
            }
        };
        let within = self.config.within;
        timeout(within, sent).await.unwrap_or_else(|_| {
            let reason = format!("the mail server took more than {} ms", within.as_millis());
            again(FailureKind::Timeout, reason)
        })
    }
}

impl Deliver for Sender {
    fn deliver<'a>(&'a self, notification: &'a Arc<Notification>) -> Attempt<'a> {
        Box::pin(self.attempt(notification))
    }
}

fn again(kind: FailureKind, reason: String) -> Outcome {
    Outcome::Retry {
        after: None,
        failure: Failure { kind, reason },
    }
}

fn make(rendering: &Rendering<'_>, config: &SenderConfig) -> Rendered<Message> {
    if rendering.notification.integration.kind == IntegrationKind::Email {
        let (session, port) = session(rendering)?;
        return Ok(Message::Mail {
            mail: email::mail(rendering)?,
            session: Box::new(session),
            port,
        });
    }
    let client = http::client(rendering, config)?;
    Ok(Message::Request {
        step: open(rendering)?,
        client: Box::new(client),
        retried: retried(rendering),
    })
}

/// Reads how a mail server is spoken to, and its port.
fn session(rendering: &Rendering<'_>) -> Rendered<(Session, u16)> {
    let settings = rendering.settings();
    let smarthost = settings.text("smarthost");
    let (host, port) = smarthost
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .ok_or_else(|| fail("smarthost is no HOST:PORT"))?;
    let is_implicit = match settings.get("force_implicit_tls") {
        Some(Setting::Flag(is_implicit)) => *is_implicit,
        _ => port == IMPLICIT_TLS_PORT,
    };
    let security = match (is_implicit, settings.flag("require_tls")) {
        (true, _) => Security::Implicit,
        (false, true) => Security::StartTls,
        (false, false) => Security::None,
    };
    let tls = http::tls(settings.group("tls_config"))?;
    let session = Session {
        host: host.trim_matches(['[', ']']).to_owned(),
        hello: settings.text("hello").to_owned(),
        security,
        tls: ClientTls::open(&tls).map_err(|error| fail(error.to_string()))?,
        login: login(rendering, settings)?,
    };
    Ok((session, port))
}

fn login(rendering: &Rendering<'_>, settings: &Settings) -> Rendered<Option<Login>> {
    let user = settings.text("auth_username");
    if user.is_empty() {
        return Ok(None);
    }
    let secret = |name, file| {
        let secret = rendering.secret(name, file)?;
        Ok(secret.map(config::Secret::new))
    };
    Ok(Some(Login {
        user: user.to_owned(),
        identity: settings.text("auth_identity").to_owned(),
        password: secret("auth_password", "auth_password_file")?,
        secret: secret("auth_secret", "auth_secret_file")?,
    }))
}

/// Goes from step to step until it is known how it went.
async fn converse(step: Step, mut client: Box<Client>, retried: &'static [u16]) -> Outcome {
    let http = Outgoing::new(client.config.clone());
    if let Some(request) = client.token.take() {
        match token(&http, request).await {
            Ok(token) => client
                .headers
                .push((AUTHORIZATION, format!("Bearer {token}"))),
            Err(outcome) => return outcome,
        }
    }
    let mut step = step;
    for _ in 0..REQUESTS_MAX {
        let (request, then) = match step {
            Step::Done(outcome) => return outcome,
            Step::Send(request, then) => (request, then),
        };
        let answer = match ask(&http, request, &client.headers).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        step = match judge(&answer, retried) {
            Some(outcome) => return outcome,
            None => then(&answer),
        };
    }
    Outcome::GiveUp(fail("the conversation with the service does not end"))
}

async fn token(http: &Outgoing, request: Request) -> Result<String, Outcome> {
    let answer = ask(http, request, &[]).await?;
    if let Some(outcome) = judge(&answer, &[]) {
        return Err(outcome);
    }
    let json = answer.json().unwrap_or_default();
    let token = json["access_token"].as_str().map(str::to_owned);
    token.ok_or_else(|| {
        let reason = "the answer of token_url has no access_token".to_owned();
        Outcome::GiveUp(Failure {
            kind: FailureKind::Unauthorized,
            reason,
        })
    })
}

async fn ask(
    http: &Outgoing,
    request: Request,
    headers: &[(HeaderName, String)],
) -> Result<Answer, Outcome> {
    let call = call(request, headers).map_err(Outcome::GiveUp)?;
    let reply = http.call(call).await.map_err(unanswered)?;
    let header = |name: HeaderName| {
        let value = reply.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    Ok(Answer {
        status: reply.status.as_u16(),
        content_type: header(http_shell::header::CONTENT_TYPE).unwrap_or_default(),
        retry_after: header(RETRY_AFTER),
        date: header(DATE),
        body: reply.body.to_vec(),
    })
}

fn call(request: Request, headers: &[(HeaderName, String)]) -> Rendered<Call> {
    let url = HttpUrl::parse(&request.url)
        .ok_or_else(|| fail("the URL to send to is not one of http or https"))?;
    let mut map = HeaderMap::new();
    map.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let shared = headers
        .iter()
        .filter(|(name, _)| !request.headers.iter().any(|(own, _)| own == name));
    for (name, value) in shared.chain(&request.headers) {
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| {
            fail(format!(
                "the header {name} holds characters it may not hold"
            ))
        })?;
        value.set_sensitive(*name == AUTHORIZATION);
        map.insert(name, value);
    }
    Ok(Call {
        method: request.method,
        url,
        headers: map,
        body: request.body.into(),
    })
}

fn unanswered(error: OutgoingError) -> Outcome {
    let reason = error.to_string();
    match error {
        OutgoingError::Time { .. } => again(FailureKind::Timeout, reason),
        OutgoingError::Connection { .. } | OutgoingError::Tls { .. } => {
            again(FailureKind::Connection, reason)
        }
        OutgoingError::BrokenOff { .. } => again(FailureKind::BrokenOff, reason),
        OutgoingError::Url
        | OutgoingError::Header(_)
        | OutgoingError::Refused { .. }
        | OutgoingError::Redirects => Outcome::GiveUp(fail(reason)),
    }
}
