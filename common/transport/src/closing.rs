//! Why connections end.

use std::fmt;

use quinn_proto::ConnectionError as QuicError;

use crate::refusal::RefusalReason;
use crate::settings::IDLE_TIMEOUT;

/// Codes of refusals on the wire begin here; the rest is the place in [`RefusalReason::ALL`].
const REFUSED_BASE: u32 = 0x100;
/// The longest text that goes with a close.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256;

/// Why a connection was closed, as told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing more to say.
    Done,
    /// A newer connection took its place.
    Replaced,
    /// The program is stopping.
    ShuttingDown,
    /// The peer broke the protocol.
    Protocol,
    /// There was to be no connection.
    Refused(RefusalReason),
    /// A reason of a later version.
    Unknown(u32),
}

impl CloseReason {
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Replaced => 1,
            Self::ShuttingDown => 2,
            Self::Protocol => 3,
            Self::Refused(reason) => {
                let place = RefusalReason::ALL.iter().position(|r| *r == reason);
                REFUSED_BASE + u32::try_from(place.unwrap_or(0)).unwrap_or(0)
            }
            Self::Unknown(code) => code,
        }
    }

    pub(crate) fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Replaced,
            2 => Self::ShuttingDown,
            3 => Self::Protocol,
            _ => code
                .checked_sub(REFUSED_BASE)
                .and_then(|place| RefusalReason::ALL.get(usize::try_from(place).ok()?))
                .map_or(Self::Unknown(code), |reason| Self::Refused(*reason)),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Replaced => f.write_str("replaced by a newer connection"),
            Self::ShuttingDown => f.write_str("shutting down"),
            Self::Protocol => f.write_str("protocol violation"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Unknown(code) => write!(f, "code {code}"),
        }
    }
}

/// Why nothing more comes from or goes to the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed.
    #[error("the peer closed the connection: {reason}{}{message}", if message.is_empty() { "" } else { ": " })]
    ClosedByPeer {
        /// Its reason.
        reason: CloseReason,
        /// Its words.
        message: String,
    },
    /// This side closed.
    #[error("the connection was closed here: {reason}")]
    ClosedHere {
        /// The reason that the peer was told.
        reason: CloseReason,
    },
    /// Silence.
    #[error("nothing was heard from the peer for {} s", IDLE_TIMEOUT.as_secs())]
    TimedOut,
    /// The peer's bytes make no sense.
    #[error("the peer broke the protocol: {what}")]
    Protocol {
        /// How.
        what: String,
    },
    /// The TLS handshake was refused, here or there.
    #[error("the handshake was refused: {reason} ({detail})")]
    Refused {
        /// Why.
        reason: RefusalReason,
        /// What the library says.
        detail: String,
    },
    /// The network or the peer's process went away.
    #[error("the connection was lost: {what}")]
    Lost {
        /// How.
        what: String,
    },
}

impl ConnectionError {
    /// Returns the reason if the peer, or TLS, refused the connection.
    pub fn refusal(&self) -> Option<RefusalReason> {
        match self {
            Self::Refused { reason, .. }
            | Self::ClosedByPeer {
                reason: CloseReason::Refused(reason),
                ..
            } => Some(*reason),
            Self::ClosedByPeer { .. }
            | Self::ClosedHere { .. }
            | Self::TimedOut
            | Self::Protocol { .. }
            | Self::Lost { .. } => None,
        }
    }

    /// Reads what QUIC reports; `closed_here` is the reason if this side closed.
    pub(crate) fn of_quic(error: &QuicError, closed_here: Option<CloseReason>) -> Self {
        match error {
            QuicError::ApplicationClosed(close) => Self::ClosedByPeer {
                reason: u32::try_from(close.error_code.into_inner())
                    .map_or(CloseReason::Unknown(u32::MAX), CloseReason::from_code),
                message: shorten(&String::from_utf8_lossy(&close.reason)),
            },
            QuicError::LocallyClosed => Self::ClosedHere {
                reason: closed_here.unwrap_or(CloseReason::Done),
            },
            QuicError::TimedOut => Self::TimedOut,
            QuicError::TransportError(problem) => Self::of_code(problem.code.into(), error),
            QuicError::ConnectionClosed(close) => Self::of_code(close.error_code.into(), error),
            QuicError::VersionMismatch => Self::Refused {
                reason: RefusalReason::Protocol,
                detail: error.to_string(),
            },
            QuicError::Reset | QuicError::CidsExhausted => Self::Lost {
                what: error.to_string(),
            },
        }
    }

    fn of_code(code: u64, error: &QuicError) -> Self {
        let detail = shorten(&error.to_string());
        // 0x2 is CONNECTION_REFUSED, 0x100 to 0x1ff are TLS alerts (RFC 9000, section 20.1).
        match (code, u8::try_from(code & 0xff)) {
            (0x2, _) => Self::Refused {
                reason: RefusalReason::Busy,
                detail,
            },
            (0x100..=0x1ff, Ok(alert)) => Self::Refused {
                reason: RefusalReason::of_alert(alert),
                detail,
            },
            _ => Self::Protocol { what: detail },
        }
    }
}

/// Returns what fits of a text that came from a peer.
pub(crate) fn shorten(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_BYTES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_back_from_their_codes() {
        let refused = RefusalReason::ALL.map(CloseReason::Refused);
        let plain = [
            CloseReason::Done,
            CloseReason::Replaced,
            CloseReason::ShuttingDown,
            CloseReason::Protocol,
            CloseReason::Unknown(77),
        ];
        for reason in refused.into_iter().chain(plain) {
            assert_eq!(CloseReason::from_code(reason.code()), reason);
        }
        assert_eq!(
            CloseReason::from_code(u32::MAX),
            CloseReason::Unknown(u32::MAX)
        );
    }
}
