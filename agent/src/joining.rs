//! How the agent comes by its identity: from its folder, or by joining.

use std::path::Path;
use std::sync::Arc;

use clock::SharedClock;
use files::SharedFileSystem;
use rows::AgentId;
use runtime::{Backoff, Timer};
use telemetry::Condition;
use transport::{ConnectError, IdentityStore, JoinError, JoinToken, join};
use wire::JoinRefusal;

use crate::agent::connector_config;
use crate::config::host_name;
use crate::{AgentConfig, AgentError, Surroundings, TokenSource};

/// The largest file with a token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Returns the identity that lies in the agent's folder, if there is one.
pub(crate) fn open_identity(
    config: &AgentConfig,
    files: &SharedFileSystem,
    clock: &SharedClock,
) -> Result<Option<IdentityStore>, AgentError> {
    let folder = config.identity_folder();
    let identity = IdentityStore::open(Arc::clone(files), &folder, Arc::clone(clock))?;
    if let (Some(identity), Some(wanted)) = (&identity, &config.id)
        && identity.peer().agent() != wanted
    {
        return Err(AgentError::OtherAgent {
            folder,
            found: identity.peer().agent().to_string(),
            wanted: wanted.to_string(),
        });
    }
    Ok(identity)
}

/// What joining needs.
#[derive(Debug)]
pub(crate) struct Joining<'a> {
    pub(crate) config: &'a AgentConfig,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) condition: Condition,
}

impl Joining<'_> {
    /// Returns an identity that may work: the present one, unless a token shows the way to a better one.
    pub(crate) async fn identity(
        &self,
        present: Option<IdentityStore>,
    ) -> Result<IdentityStore, AgentError> {
        let identity = match (present, self.token()) {
            (Some(present), Ok(Some(token))) if self.is_superseded(&present, &token) => {
                // The name stays, whatever the host is called by now.
                let agent = present.peer().agent().clone();
                self.join(&token, &agent).await?
            }
            // A token that cannot be read does no harm where none is needed.
            (Some(present), _) => present,
            (None, Ok(Some(token))) => self.join(&token, &self.new_id()?).await?,
            (None, Ok(None)) => {
                let folder = self.config.identity_folder();
                return Err(AgentError::NoToken { folder });
            }
            (None, Err(error)) => return Err(error),
        };
        self.condition.met();
        Ok(identity)
    }

    /// Whether the operator's token means that the identity is to be replaced: it is of another authority, or out of date.
    fn is_superseded(&self, present: &IdentityStore, token: &JoinToken) -> bool {
        let other = present.authority() != token.authority();
        let expired = present.validity().not_after <= self.surroundings.clock.wall();
        if other || expired {
            tracing::info!(other_authority = other, expired, "joining anew");
        }
        other || expired
    }

    fn token(&self) -> Result<Option<JoinToken>, AgentError> {
        match &self.config.token {
            TokenSource::None => Ok(None),
            TokenSource::Given(token) => Ok(Some(token.clone())),
            TokenSource::File(path) => read_token(path).map(Some),
        }
    }

    fn new_id(&self) -> Result<AgentId, AgentError> {
        let host = host_name();
        match &self.config.id {
            Some(id) => Ok(id.clone()),
            None => host.parse().map_err(|_| AgentError::HostName(host)),
        }
    }

    /// Tries until it works or cannot.
    async fn join(&self, token: &JoinToken, agent: &AgentId) -> Result<IdentityStore, AgentError> {
        let Surroundings { files, clock, .. } = self.surroundings;
        let target = &self.config.aggregator;
        let (connector, folder) = (connector_config(self.config), self.config.identity_folder());
        let (timer, mut backoff) = (Timer::new(Arc::clone(clock)), Backoff::default());
        let mut rng = fastrand::Rng::new();
        loop {
            let (files, clock) = (Arc::clone(files), Arc::clone(clock));
            match join(&connector, target, token, agent, files, &folder, clock).await {
                Ok(identity) => {
                    tracing::info!(%agent, aggregator = target, "joined");
                    return Ok(identity);
                }
                Err(error) if is_final(&error) => return Err(AgentError::Join(error)),
                Err(error) => {
                    let pause = backoff.next(&mut rng);
                    tracing::warn!(%error, aggregator = target, ?pause, "cannot join yet");
                    self.condition.unmet(format!("cannot join yet: {error}"));
                    timer.sleep(pause).await;
                }
            }
        }
    }
}

/// Whether trying again is pointless until somebody acts.
fn is_final(error: &JoinError) -> bool {
    match error {
        JoinError::WrongAuthority { .. } | JoinError::Identity(_) => true,
        JoinError::Refused { reason, .. } => *reason != JoinRefusal::Busy,
        JoinError::Connect(ConnectError::Refused { reason, .. }) => reason.is_final(),
        JoinError::Connect(ConnectError::Tls(_)) => true,
        JoinError::Connect(ConnectError::Resolve { .. } | ConnectError::Unreachable { .. })
        | JoinError::Send(_)
        | JoinError::Receive(_)
        | JoinError::NoAnswer { .. } => false,
    }
}

fn read_token(path: &Path) -> Result<JoinToken, AgentError> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|source| AgentError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|source| AgentError::TokenText {
        path: path.to_owned(),
        source,
    })
}
