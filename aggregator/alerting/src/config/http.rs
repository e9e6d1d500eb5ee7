//! What cannot be set, or not together, for a client of HTTP.

use config::{NodeValue, Position};

use super::integration::canonical_header;
use super::{Reader, Setting, Settings};

/// Headers that are ours to set.
const RESERVED_HEADERS: [&str; 18] = [
    "Accept-Encoding",
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Host",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "User-Agent",
    "Www-Authenticate",
    "X-Amz-Content-Sha256",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
];

/// Checks the settings of a client; `at` is where they stand.
pub(super) fn check(reader: &mut Reader<'_>, at: Position, http: &Settings) {
    for message in [conflict(http), proxy_conflict(http)].into_iter().flatten() {
        reader.refuse::<()>(at, message);
    }
    let Some(Setting::Tree(headers)) = http.get("http_headers") else {
        return;
    };
    let NodeValue::Map(headers) = &headers.value else {
        return;
    };
    for (name, at, _) in headers {
        let name = canonical_header(name);
        if RESERVED_HEADERS.contains(&name.as_str()) {
            reader.refuse::<()>(*at, format!("setting header {name:?} is not allowed"));
        }
    }
}

fn count(settings: &Settings, names: &[&str]) -> usize {
    names.iter().filter(|name| settings.has(name)).count()
}

fn conflict(http: &Settings) -> Option<&'static str> {
    let bearer = count(http, &["bearer_token", "bearer_token_file"]);
    let (basic, authorization, oauth2) = (
        http.group("basic_auth"),
        http.group("authorization"),
        http.group("oauth2"),
    );
    if bearer > 1 {
        return Some("at most one of bearer_token & bearer_token_file must be configured");
    }
    if bearer > 0 && (basic.is_some() || oauth2.is_some()) {
        return Some(
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        );
    }
    if let Some(basic) = basic {
        if count(basic, &["username", "username_file", "username_ref"]) > 1 {
            return Some(
                "at most one of basic_auth username, username_file & username_ref must be configured",
            );
        }
        if count(basic, &["password", "password_file", "password_ref"]) > 1 {
            return Some(
                "at most one of basic_auth password, password_file & password_ref must be configured",
            );
        }
    }
    if let Some(authorization) = authorization {
        if bearer > 0 {
            return Some("authorization is not compatible with bearer_token & bearer_token_file");
        }
        if count(
            authorization,
            &["credentials", "credentials_file", "credentials_ref"],
        ) > 1
        {
            return Some(
                "at most one of authorization credentials & credentials_file must be configured",
            );
        }
        if authorization
            .text("type")
            .trim()
            .eq_ignore_ascii_case("basic")
        {
            return Some(
                "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
            );
        }
    }
    if [basic, authorization, oauth2].into_iter().flatten().count() > 1 {
        return Some("at most one of basic_auth, oauth2 & authorization must be configured");
    }
    let oauth2 = oauth2?;
    if !oauth2.has("client_id") {
        return Some("oauth2 client_id must be configured");
    }
    if !oauth2.has("token_url") {
        return Some("oauth2 token_url must be configured");
    }
    (count(oauth2, &["client_secret", "client_secret_file", "client_secret_ref"]) > 1).then_some(
        "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured using grant-type=client_credentials",
    )
}

/// Returns what cannot be set together for a client of TLS.
pub(super) fn tls_conflict(tls: &Settings) -> Option<&'static str> {
    let certificates = count(tls, &["cert", "cert_file", "cert_ref"]);
    let keys = count(tls, &["key", "key_file", "key_ref"]);
    if count(tls, &["ca", "ca_file", "ca_ref"]) > 1 {
        Some("at most one of ca, ca_file & ca_ref must be configured")
    } else if certificates > 1 {
        Some("at most one of cert, cert_file & cert_ref must be configured")
    } else if keys > 1 {
        Some("at most one of key and key_file must be configured")
    } else if certificates > keys {
        Some(
            "exactly one of key or key_file must be configured when a client certificate is configured",
        )
    } else if keys > certificates {
        Some("exactly one of cert or cert_file must be configured when a client key is configured")
    } else {
        None
    }
}

fn proxy_conflict(http: &Settings) -> Option<&'static str> {
    let has_url = http.has("proxy_url");
    let from_environment = http.flag("proxy_from_environment");
    if http.has("proxy_connect_header") && !from_environment && !has_url {
        Some(
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        )
    } else if from_environment && has_url {
        Some("if proxy_from_environment is configured, proxy_url must not be configured")
    } else if from_environment && http.has("no_proxy") {
        Some("if proxy_from_environment is configured, no_proxy must not be configured")
    } else if !has_url && http.has("no_proxy") {
        Some("if no_proxy is configured, proxy_url must also be configured")
    } else {
        None
    }
}
