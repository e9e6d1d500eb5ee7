//! Why a handshake did not become a connection: one vocabulary for both sides and both transports.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// Why a handshake was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The certificate is of another authority, or not for this purpose.
    WrongAuthority,
    /// The certificate has expired, or is not valid yet: often a clock that is off.
    CertificateExpired,
    /// The certificate cannot be read, or names nobody.
    BadCertificate,
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer does not speak this protocol, or no version of it that we do.
    Protocol,
    /// The bytes are no handshake.
    Garbage,
    /// The peer left in the middle of the handshake.
    Truncated,
    /// The handshake took too long.
    TimedOut,
    /// There are as many connections or handshakes as there may be.
    Busy,
    /// The aggregator is stopping.
    ShuttingDown,
    /// Anything else.
    Other,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::WrongAuthority,
        Self::CertificateExpired,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::Protocol,
        Self::Garbage,
        Self::Truncated,
        Self::TimedOut,
        Self::Busy,
        Self::ShuttingDown,
        Self::Other,
    ];

    /// Returns the value of the label `reason` of the counters on both sides.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongAuthority => "wrong_authority",
            Self::CertificateExpired => "certificate_expired",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::Protocol => "protocol",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::Other => "other",
        }
    }

    /// Returns what an operator reads.
    pub(crate) const fn explanation(self) -> &'static str {
        match self {
            Self::WrongAuthority => {
                "the certificate is of another authority; join again with a token of this aggregator"
            }
            Self::CertificateExpired => {
                "the certificate is not valid at this time; compare the clocks of both machines, or join again"
            }
            Self::BadCertificate => "the certificate cannot be read or names nobody; join again",
            Self::NoCertificate => "no certificate was shown; join first",
            Self::Protocol => {
                "no common protocol version; is this the port of the aggregator's --ingest.listen-address, or in a pair of --cluster.listen-address?"
            }
            Self::Garbage => {
                "the answer is no TLS; is this the port of the aggregator's --ingest.listen-address, or in a pair of --cluster.listen-address?"
            }
            Self::Truncated => "the connection was cut during the handshake",
            Self::TimedOut => "the handshake took too long",
            Self::Busy => "too many connections or handshakes",
            Self::ShuttingDown => "the aggregator is stopping",
            Self::Other => "the handshake failed",
        }
    }

    /// Returns whether trying again is pointless until somebody acts, on this transport or another.
    pub const fn is_final(self) -> bool {
        match self {
            Self::WrongAuthority
            | Self::CertificateExpired
            | Self::BadCertificate
            | Self::NoCertificate => true,
            Self::Protocol
            | Self::Garbage
            | Self::Truncated
            | Self::TimedOut
            | Self::Busy
            | Self::ShuttingDown
            | Self::Other => false,
        }
    }

    /// Reads what TLS over TCP reports.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match (tls, error.kind()) {
            (Some(tls), _) => Self::of_tls(tls),
            (None, io::ErrorKind::TimedOut) => Self::TimedOut,
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => Self::Truncated,
            (None, io::ErrorKind::InvalidData) => Self::Garbage,
            _ => Self::Other,
        }
    }

    /// Reads a TLS error: ours, or the peer's alert.
    pub(crate) fn of_tls(error: &TlsError) -> Self {
        match error {
            TlsError::InvalidCertificate(problem) => Self::of_certificate(problem),
            TlsError::NoCertificatesPresented => Self::NoCertificate,
            TlsError::NoApplicationProtocol
            | TlsError::PeerIncompatible(_)
            | TlsError::PeerMisbehaved(_) => Self::Protocol,
            TlsError::InvalidMessage(_)
            | TlsError::InappropriateMessage { .. }
            | TlsError::InappropriateHandshakeMessage { .. }
            | TlsError::PeerSentOversizedRecord => Self::Garbage,
            TlsError::AlertReceived(alert) => Self::of_alert(u8::from(*alert)),
            _ => Self::Other,
        }
    }

    /// Reads a TLS alert; QUIC carries them as error codes.
    pub(crate) fn of_alert(alert: u8) -> Self {
        match AlertDescription::from(alert) {
            // A wrong signature is what an authority of the same name leads to.
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Self::WrongAuthority,
            AlertDescription::CertificateExpired => Self::CertificateExpired,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown => Self::BadCertificate,
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::NoApplicationProtocol
            | AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure => Self::Protocol,
            AlertDescription::DecodeError
            | AlertDescription::UnexpectedMessage
            | AlertDescription::RecordOverflow => Self::Garbage,
            _ => Self::Other,
        }
    }

    fn of_certificate(problem: &CertificateError) -> Self {
        match problem {
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
            | CertificateError::InvalidPurpose
            | CertificateError::InvalidPurposeContext { .. } => Self::WrongAuthority,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::CertificateExpired,
            _ => Self::BadCertificate,
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explanation())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_label() {
        let labels: BTreeSet<&str> = RefusalReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(labels.len(), RefusalReason::ALL.len());
    }

    #[test]
    fn alerts_of_peers_are_understood() {
        let cases = [
            (48, RefusalReason::WrongAuthority),
            (45, RefusalReason::CertificateExpired),
            (116, RefusalReason::NoCertificate),
            (120, RefusalReason::Protocol),
            (50, RefusalReason::Garbage),
            (255, RefusalReason::Other),
        ];
        for (alert, reason) in cases {
            assert_eq!(RefusalReason::of_alert(alert), reason, "{alert}");
        }
    }
}
