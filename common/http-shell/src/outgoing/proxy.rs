//! Proxies: whole URLs for `http`, tunnels for `https`.

use std::net::IpAddr;

use hyper::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::OutgoingError;
use super::url::HttpUrl;

/// What a proxy may answer before a tunnel stands.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// A proxy that is spoken to over plain HTTP, and what does not go through it.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it is.
    pub url: HttpUrl,
    /// Hosts that are called directly: names (with those below), addresses, address/length, `*`; each may have a port.
    pub except: Vec<String>,
}

impl Proxy {
    pub(super) fn is_for(&self, url: &HttpUrl) -> bool {
        !self.except.iter().any(|rule| is_meant(rule.trim(), url))
    }

    pub(super) fn credentials(&self) -> Option<HeaderValue> {
        self.url.credentials()
    }

    /// Asks for a tunnel to the host of `url`.
    pub(super) async fn tunnel(
        &self,
        url: &HttpUrl,
        mut stream: TcpStream,
    ) -> Result<TcpStream, OutgoingError> {
        let broken = |reason: String| OutgoingError::Connection {
            host: self.url.host().to_owned(),
            reason,
        };
        if self.url.is_tls() {
            return Err(broken("proxies are spoken to over http only".to_owned()));
        }
        let host = match url.host() {
            v6 if v6.contains(':') => format!("[{v6}]:{}", url.port()),
            host => format!("{host}:{}", url.port()),
        };
        let mut head = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(credentials) = self.credentials() {
            let credentials = credentials.to_str().unwrap_or_default();
            head.push_str(&format!("Proxy-Authorization: {credentials}\r\n"));
        }
        head.push_str("\r\n");
        let failed = |error: std::io::Error| broken(error.to_string());
        stream.write_all(head.as_bytes()).await.map_err(failed)?;
        let mut answer = Vec::new();
        // Byte by byte, so that nothing of what follows is taken: the other side speaks only when spoken to, and this is short.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= HEAD_BYTES_MAX {
                return Err(broken("the proxy's answer is too long".to_owned()));
            }
            answer.push(stream.read_u8().await.map_err(failed)?);
        }
        let status = answer
            .split(|byte| *byte == b' ')
            .nth(1)
            .unwrap_or_default();
        if status == b"200" {
            return Ok(stream);
        }
        let status = String::from_utf8_lossy(status);
        Err(broken(format!("the proxy answered with status {status}")))
    }
}

fn is_meant(rule: &str, url: &HttpUrl) -> bool {
    let (rule, port) = match rule
        .rsplit_once(':')
        .filter(|(host, _)| !host.contains(':'))
    {
        Some((rule, port)) => (rule, port.parse::<u16>().ok()),
        None => (rule, None),
    };
    if rule.is_empty() || port.is_some_and(|port| port != url.port()) {
        return false;
    }
    let host = url.host().to_ascii_lowercase();
    if let Ok(address) = host.parse::<IpAddr>() {
        return rule == "*" || rule.parse() == Ok(address) || is_in(rule, address);
    }
    let name = rule.trim_start_matches("*.").trim_start_matches('.');
    let name = name.to_ascii_lowercase();
    rule == "*" || host == name && !rule.starts_with('.') || host.ends_with(&format!(".{name}"))
}

fn is_in(network: &str, address: IpAddr) -> bool {
    let Some((network, length)) = network.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(length)) = (network.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) if length <= 32 => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(other)) if length <= 128 => {
            let differ = one.to_bits() ^ other.to_bits();
            differ.checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        let cases = [
            ("example.org", "http://example.org/", true),
            ("example.org", "http://a.example.org/", true),
            (".example.org", "http://example.org/", false),
            (".example.org", "http://a.example.org/", true),
            ("*.example.org", "http://a.example.org/", true),
            ("example.org", "http://notexample.org/", false),
            ("example.org:81", "http://example.org/", false),
            ("example.org:80", "http://example.org/", true),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("0.0.0.0/0", "http://11.1.2.3/", true),
            ("::1", "http://[::1]/", true),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("*", "http://anything/", true),
            ("", "http://anything/", false),
        ];
        for (rule, url, expected) in cases {
            let url = HttpUrl::parse(url).unwrap();
            assert_eq!(is_meant(rule, &url), expected, "{rule} {url}");
        }
    }
}
