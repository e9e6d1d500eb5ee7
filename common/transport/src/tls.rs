//! TLS for everybody else: HTTPS servers with certificate files, HTTPS clients.
//!
//! Files are read again at each handshake of a server, as the exporter toolkit does, and compared: a changed file takes effect with
//! the next connection, a broken one is reported and the old one stays.

mod client;
mod files;
mod server;

pub use client::{ClientTls, ClientTlsConfig, ClientTlsStream};
pub use files::TlsFileError;
pub use server::{ClientAuth, ServerTls, ServerTlsConfig, ServerTlsStream, client_names};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];

impl TlsVersion {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &NEWEST,
        }
    }
}

#[cfg(test)]
mod tests;
