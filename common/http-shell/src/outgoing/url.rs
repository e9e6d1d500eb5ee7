//! URLs of `http` and `https`, taken apart as far as calling them needs.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;

use crate::decode_component;

/// A URL. Displays without its credentials; path and query may still be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    tls: bool,
    user_info: Option<String>,
    /// Host and, if it is given, port, as written.
    authority: String,
    host: String,
    port: u16,
    /// With its `/`; percent-encoded where needed.
    path_and_query: String,
}

impl HttpUrl {
    /// Returns the URL that a text is; `None` when it is none of `http` or `https`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (user_info, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info.to_owned()), authority),
            None => (None, authority),
        };
        let (host, port) = match authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'))
        {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return None;
        }
        Some(Self {
            tls,
            user_info,
            authority: authority.to_owned(),
            host: host.to_owned(),
            port,
            path_and_query: encode(path),
        })
    }

    /// Returns the URL that a reference in an answer of this one means.
    pub fn join(&self, reference: &str) -> Option<Self> {
        let scheme = if self.tls { "https" } else { "http" };
        if reference.contains("://") {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let path = match reference.chars().next() {
            Some('/') => reference.to_owned(),
            Some('?') => format!("{path}{reference}"),
            _ => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{reference}")
            }
        };
        let path = path.split('#').next().unwrap_or_default();
        Some(Self {
            path_and_query: encode(path),
            ..self.clone()
        })
    }

    /// Returns whether TLS is spoken.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Returns the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port as written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns path and query, from the `/` on.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Returns what the URL's user and password are as a header.
    pub fn credentials(&self) -> Option<HeaderValue> {
        let user_info = self.user_info.as_deref()?;
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let pair = format!("{}:{}", decode_component(user), decode_component(password));
        let mut value =
            HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn is_same_host(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
            && self.tls == other.tls
    }
}

/// Encodes what may not stand in a path or a query; what is encoded already stays.
fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        encoded.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path_and_query)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpUrl")
            .field("tls", &self.tls)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = HttpUrl::parse("https://me:p%40ss@h.example:8443/a b?q=ü#f").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.is_tls()),
            ("h.example", 8443, true)
        );
        assert_eq!(url.path_and_query(), "/a%20b?q=%C3%BC");
        assert_eq!(url.credentials().unwrap(), "Basic bWU6cEBzcw==");
        assert!(!format!("{url:?} {url}").contains("p%40ss"));
        let url = HttpUrl::parse("http://[::1]").unwrap();
        assert_eq!(
            (url.host(), url.port(), url.path_and_query()),
            ("::1", 80, "/")
        );
        for bad in ["", "h", "ftp://h", "http://", "http://h:x/", "http://a b/"] {
            assert_eq!(HttpUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn references_are_joined() {
        let url = HttpUrl::parse("https://h/a/b?q").unwrap();
        let joined = |reference| url.join(reference).map(|url| url.to_string());
        assert_eq!(joined("/c").as_deref(), Some("https://h/c"));
        assert_eq!(joined("c?x").as_deref(), Some("https://h/a/c?x"));
        assert_eq!(joined("?x").as_deref(), Some("https://h/a/b?x"));
        assert_eq!(joined("//o/c").as_deref(), Some("https://o/c"));
        assert_eq!(joined("http://o/c").as_deref(), Some("http://o/c"));
        assert_eq!(joined("file:///etc/passwd"), None);
    }
}
