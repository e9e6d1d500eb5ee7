//! Hosts and ports.

use std::net::IpAddr;

/// Returns the host of `host:port`; the whole text when it is none.
pub(crate) fn strip_port(text: &str) -> &str {
    split(text).map_or(text, |(host, _)| host)
}

/// Returns the first name of a host, and its port when there is one; addresses stay whole.
pub(crate) fn strip_domain(text: &str) -> String {
    let (host, port) = split(text).unwrap_or((text, ""));
    // An address may name its interface behind a percent sign.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    if address.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    match port {
        "" => name.to_owned(),
        _ if name.contains([':', '%']) => format!("[{name}]:{port}"),
        _ => format!("{name}:{port}"),
    }
}

/// Splits `host:port` or `[host]:port`.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_ports_and_domains() {
        let cases = [
            ("node1:9100", "node1", "node1:9100"),
            ("node1.example.org:9100", "node1.example.org", "node1:9100"),
            ("node1.example.org", "node1.example.org", "node1"),
            ("[::1]:9100", "::1", "[::1]:9100"),
            ("::1", "::1", "::1"),
            ("10.0.0.1:9100", "10.0.0.1", "10.0.0.1:9100"),
            ("a:b:c", "a:b:c", "a:b:c"),
            ("", "", ""),
        ];
        for (text, without_port, without_domain) in cases {
            assert_eq!(strip_port(text), without_port, "{text}");
            assert_eq!(strip_domain(text), without_domain, "{text}");
        }
    }
}
