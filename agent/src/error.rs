//! Why an agent does not run.

use std::path::PathBuf;

use config::Mistakes;
use host::HostConfigError;
use transport::{ConnectError, IdentityError, JoinError, TokenError};

/// Why an agent does not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] Mistakes),
    /// The settings of a collector cannot be used.
    #[error(transparent)]
    Host(#[from] HostConfigError),
    /// There is no identity, and nothing to get one with.
    #[error(
        "there is no identity in {}; make a token with `promontory token create` on the aggregator's machine and give it with --token-file or --token",
        folder.display()
    )]
    NoToken {
        /// Where the identity would lie.
        folder: PathBuf,
    },
    /// The file with the token cannot be used.
    #[error("cannot read a join token from {}; check --token-file", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What the file holds is no token.
    #[error("cannot use the join token in {}", path.display())]
    TokenText {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TokenError,
    },
    /// The aggregator does not take this agent, for good.
    #[error("cannot join the aggregator")]
    Join(#[source] JoinError),
    /// The identity cannot be used.
    #[error("cannot use the agent's identity")]
    Identity(#[from] IdentityError),
    /// The identity is of another agent than this one shall be.
    #[error(
        "the identity in {} is of agent {found}, but --agent.id is {wanted}; remove that folder to join anew as {wanted}, or --agent.id to stay {found}",
        folder.display()
    )]
    OtherAgent {
        /// Where it lies.
        folder: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The host name makes no agent id.
    #[error("cannot make an agent id of the host name {0:?}; give one with --agent.id")]
    HostName(String),
    /// TLS cannot be set up with the identity.
    #[error(transparent)]
    Connector(ConnectError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] spool::OpenError),
    /// The aggregator's name cannot name a cursor of the spool.
    #[error(transparent)]
    Destination(#[from] spool::DestinationError),
    /// The file of pushed groups cannot be used.
    #[error(transparent)]
    Push(#[from] push::JournalError),
    /// The snapshot of a container runtime's answers cannot be read.
    #[error("cannot read {}; check --cri.snapshot", path.display())]
    SnapshotFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What the file holds is no snapshot.
    #[error("cannot use {}; check --cri.snapshot", path.display())]
    SnapshotText {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: containers::SnapshotError,
    },
    /// The system gives no randomness.
    #[error("cannot draw the random number of this start: {0}")]
    Random(String),
    /// A part of the agent ended before it was told to.
    #[error("the agent's part {part:?} ended: {why}")]
    PartEnded {
        /// Which.
        part: &'static str,
        /// Why.
        why: String,
    },
}

impl AgentError {
    /// Returns whether the settings are to blame: the binary then exits with 2.
    pub const fn is_mistake(&self) -> bool {
        matches!(
            self,
            Self::Settings(_)
                | Self::Host(_)
                | Self::SnapshotFile { .. }
                | Self::SnapshotText { .. }
        )
    }

    /// Returns whether the agent has no identity that works, and no way to get one: the binary then exits with 3.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NoToken { .. }
                | Self::TokenFile { .. }
                | Self::TokenText { .. }
                | Self::Join(_)
                | Self::Identity(_)
                | Self::OtherAgent { .. }
                | Self::HostName(_)
                | Self::Connector(_)
        )
    }
}
