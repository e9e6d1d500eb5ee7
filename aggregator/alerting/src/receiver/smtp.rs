//! Handing mails to a server: SMTP over an open connection.
//!
//! Why not a library: of one, we would use a dialogue of eight commands, and it would bring its own TLS, where the house has one.
//!
//! Passwords go over an encrypted connection, or to this host; `LOGIN` goes anywhere, as whoever turns `require_tls` off asks for.

mod cram_md5;
mod dialogue;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use transport::ClientTls;

use dialogue::{Dialogue, Reply};

use crate::notification::{Failure, FailureKind, Outcome, Remembered};

/// A mail.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) from: String,
    /// At least one.
    pub(crate) to: Vec<String>,
    /// Headers and body, lines ending in CRLF.
    pub(crate) content: Vec<u8>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// When TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// From the first byte.
    Implicit,
    /// After `STARTTLS`, which the server must offer.
    StartTls,
    /// Never.
    None,
}

/// Who we are to the server.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) identity: String,
    /// For `PLAIN` and `LOGIN`.
    pub(crate) password: Option<Secret>,
    /// For `CRAM-MD5`.
    pub(crate) secret: Option<Secret>,
}

/// How a server is spoken to.
#[derive(Debug)]
pub(crate) struct Session {
    /// The server's name, for its certificate.
    pub(crate) host: String,
    /// Our own name.
    pub(crate) hello: String,
    pub(crate) security: Security,
    pub(crate) tls: ClientTls,
    pub(crate) login: Option<Login>,
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    failure: Failure,
    is_final: bool,
}

impl Refusal {
    fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            failure: Failure {
                kind,
                reason: reason.into(),
            },
            // What cannot be reached may be later; a server says whether it means it.
            is_final: kind == FailureKind::Client,
        }
    }

    fn by_server(what: &str, reply: &Reply) -> Self {
        let is_final = reply.code >= 500;
        let kind = match reply.code {
            530 | 534 | 535 | 538 => FailureKind::Unauthorized,
            500.. => FailureKind::Client,
            _ => FailureKind::Server,
        };
        let reason = format!("the server refused {what}: {} {}", reply.code, reply.text);
        Self {
            failure: Failure { kind, reason },
            is_final,
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::new(
            FailureKind::BrokenOff,
            format!("the connection broke off: {error}"),
        )
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        if refusal.is_final {
            Self::GiveUp(refusal.failure)
        } else {
            Self::Retry {
                after: None,
                failure: refusal.failure,
            }
        }
    }
}

/// Hands a mail over. Bound the time of it.
pub(crate) async fn send<S>(session: &Session, stream: S, mail: &Mail) -> Outcome
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    match connect(session, stream, mail).await {
        Ok(()) => Outcome::Delivered {
            remembered: Remembered::new(),
        },
        Err(refusal) => refusal.into(),
    }
}

async fn connect<S>(session: &Session, stream: S, mail: &Mail) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if session.security == Security::Implicit {
        let mut dialogue = Dialogue::new(encrypt(session, stream).await?);
        dialogue.greeting().await?;
        return hand_over(session, &mut dialogue, mail, true).await;
    }
    let mut dialogue = Dialogue::new(stream);
    dialogue.greeting().await?;
    if session.security == Security::None {
        return hand_over(session, &mut dialogue, mail, false).await;
    }
    let extensions = dialogue.hello(&session.hello).await?;
    if !extensions.iter().any(|extension| extension == "STARTTLS") {
        return Err(Refusal::new(
            FailureKind::Connection,
            "require_tls is true (the default), but the server does not offer STARTTLS",
        ));
    }
    dialogue.expect("STARTTLS", "STARTTLS", 220).await?;
    let stream = dialogue.into_stream()?;
    let mut dialogue = Dialogue::new(encrypt(session, stream).await?);
    hand_over(session, &mut dialogue, mail, true).await
}

async fn encrypt<S>(session: &Session, stream: S) -> Result<transport::ClientTlsStream<S>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error| Refusal::new(FailureKind::Connection, format!("TLS failed: {error}"));
    session
        .tls
        .connect(&session.host, stream)
        .await
        .map_err(failed)
}

async fn hand_over<S>(
    session: &Session,
    dialogue: &mut Dialogue<S>,
    mail: &Mail,
    is_encrypted: bool,
) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let extensions = dialogue.hello(&session.hello).await?;
    if let Some(login) = &session.login
        && let Some(mechanisms) = extensions.iter().find_map(|one| one.strip_prefix("AUTH "))
    {
        let may_be_read = !is_encrypted && !is_this_host(&session.host);
        authenticate(dialogue, login, mechanisms, may_be_read).await?;
    }
    let from = format!("MAIL FROM:<{}>", mail.from);
    dialogue.expect("the sender", &from, 250).await?;
    recipients(dialogue, mail).await?;
    dialogue.expect("the mail", "DATA", 354).await?;
    dialogue.content(&mail.content).await?;
    // The mail is taken: how the parting goes changes nothing.
    dialogue.part().await;
    Ok(())
}

/// Names those it goes to. One that is refused keeps it from no other.
async fn recipients<S>(dialogue: &mut Dialogue<S>, mail: &Mail) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut refused = None;
    let mut taken = 0;
    for address in &mail.to {
        let reply = dialogue.command(&format!("RCPT TO:<{address}>")).await?;
        match reply.code {
            250..=252 => taken += 1,
            _ => {
                tracing::warn!(code = reply.code, "a mail server refused one recipient");
                refused = Some(Refusal::by_server("a recipient", &reply));
            }
        }
    }
    match refused {
        Some(refusal) if taken == 0 => Err(refusal),
        _ => Ok(()),
    }
}

fn is_this_host(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Logs in by the first mechanism of the server for which there is all that it needs.
async fn authenticate<S>(
    dialogue: &mut Dialogue<S>,
    login: &Login,
    mechanisms: &str,
    may_be_read: bool,
) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for mechanism in mechanisms.split(' ') {
        match (mechanism, &login.password, &login.secret) {
            ("CRAM-MD5", _, Some(secret)) => return by_cram_md5(dialogue, login, secret).await,
            ("PLAIN", Some(password), _) if !may_be_read => {
                let text = format!("{}\0{}\0{}", login.identity, login.user, password.expose());
                let command = format!("AUTH PLAIN {}", BASE64_STANDARD.encode(text));
                return dialogue.expect("our password", &command, 235).await;
            }
            ("LOGIN", Some(password), _) => return by_login(dialogue, login, password).await,
            _ => {}
        }
    }
    Err(Refusal::new(
        FailureKind::Unauthorized,
        format!(
            "no way to log in: the server offers {mechanisms}; PLAIN and LOGIN need auth_password (PLAIN also TLS), CRAM-MD5 auth_secret"
        ),
    ))
}

async fn by_login<S>(
    dialogue: &mut Dialogue<S>,
    login: &Login,
    password: &Secret,
) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    dialogue.expect("AUTH LOGIN", "AUTH LOGIN", 334).await?;
    let user = BASE64_STANDARD.encode(&login.user);
    dialogue.expect("our user", &user, 334).await?;
    let password = BASE64_STANDARD.encode(password.expose());
    dialogue.expect("our password", &password, 235).await
}

async fn by_cram_md5<S>(
    dialogue: &mut Dialogue<S>,
    login: &Login,
    secret: &Secret,
) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reply = dialogue.command("AUTH CRAM-MD5").await?;
    let challenge = BASE64_STANDARD.decode(reply.text.trim());
    let (334, Ok(challenge)) = (reply.code, challenge) else {
        return Err(Refusal::by_server("AUTH CRAM-MD5", &reply));
    };
    let answer = cram_md5::answer(secret.expose().as_bytes(), &challenge);
    let answer = BASE64_STANDARD.encode(format!("{} {answer}", login.user));
    dialogue.expect("our secret", &answer, 235).await
}
