//! From `http_config` to a client: who we are, whom we trust, and the way there.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::NodeValue;
use http_shell::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http_shell::{HttpUrl, Method, OutgoingConfig, Proxy};
use transport::{ClientTlsConfig, TlsVersion};

use super::exchange::Request;
use super::rendering::{Rendered, Rendering, fail};
use super::sender::SenderConfig;
use super::text::form;
use crate::config::{Setting, Settings};

/// How an integration is called.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) config: OutgoingConfig,
    /// Headers of every request, unless it has its own.
    pub(super) headers: Vec<(HeaderName, String)>,
    /// Asks for the token of all other requests.
    pub(super) token: Option<Request>,
}

/// Reads the settings of the client of an integration.
pub(super) fn client(rendering: &Rendering<'_>, sender: &SenderConfig) -> Rendered<Client> {
    let mut client = Client {
        config: OutgoingConfig {
            reach: sender.reach,
            within: timeout(rendering.settings()).unwrap_or(sender.within),
            ..OutgoingConfig::default()
        },
        headers: Vec::new(),
        token: None,
    };
    let Some(http) = rendering.settings().group("http_config") else {
        return Ok(client);
    };
    client.config.tls = tls(http.group("tls_config"))?;
    client.config.proxy = proxy(rendering, http)?;
    client.config.follow_redirects = http.flag("follow_redirects");
    client.headers = headers(rendering, http)?;
    if let Some(authorization) = authorization(rendering, http)? {
        client.headers.push((AUTHORIZATION, authorization));
    }
    if let Some(oauth2) = http.group("oauth2") {
        client.token = Some(token(rendering, oauth2)?);
    }
    Ok(client)
}

fn timeout(settings: &Settings) -> Option<Duration> {
    match settings.get("timeout") {
        Some(Setting::Duration(timeout)) if !timeout.is_zero() => Some(*timeout),
        _ => None,
    }
}

fn authorization(rendering: &Rendering<'_>, http: &Settings) -> Rendered<Option<String>> {
    if let Some(basic) = http.group("basic_auth") {
        let user = match basic.credential("", "username_file") {
            Some(file) => file
                .read()
                .map_err(|error| fail(format!("cannot read username_file: {error}")))?
                .expose()
                .to_owned(),
            None => basic.text("username").to_owned(),
        };
        let password = rendering.secret_of(basic, "password", "password_file")?;
        let pair = format!("{user}:{}", password.unwrap_or_default());
        let pair = BASE64_STANDARD.encode(pair);
        rendering.hide(&pair);
        return Ok(Some(format!("Basic {pair}")));
    }
    if let Some(group) = http.group("authorization") {
        let credentials = rendering.secret_of(group, "credentials", "credentials_file")?;
        let kind = group.text("type").trim();
        return Ok(credentials.map(|credentials| format!("{kind} {credentials}")));
    }
    let token = rendering.secret_of(http, "bearer_token", "bearer_token_file")?;
    Ok(token.map(|token| format!("Bearer {token}")))
}

/// Reads `http_headers`: lists of values, of secrets and of files by name.
fn headers(rendering: &Rendering<'_>, http: &Settings) -> Rendered<Vec<(HeaderName, String)>> {
    let Some(Setting::Tree(node)) = http.get("http_headers") else {
        return Ok(Vec::new());
    };
    let NodeValue::Map(entries) = &node.value else {
        return Ok(Vec::new());
    };
    let mut headers = Vec::new();
    for (name, _, parts) in entries {
        let header = HeaderName::try_from(name.as_str())
            .map_err(|_| fail(format!("http_headers: {name:?} is no name of a header")))?;
        for part in ["values", "secrets", "files"] {
            let Some(NodeValue::List(items)) = parts.get(part).map(|list| &list.value) else {
                continue;
            };
            for item in items {
                let NodeValue::Scalar(text) = &item.value else {
                    continue;
                };
                let value = match part {
                    "files" => std::fs::read_to_string(text)
                        .map_err(|error| fail(format!("cannot read {text}: {error}")))?
                        .trim()
                        .to_owned(),
                    _ => text.clone(),
                };
                if part != "values" {
                    rendering.hide(&value);
                }
                headers.push((header.clone(), value));
            }
        }
    }
    Ok(headers)
}

/// Reads a client's TLS.
pub(super) fn tls(settings: Option<&Settings>) -> Rendered<ClientTlsConfig> {
    let Some(settings) = settings else {
        return Ok(ClientTlsConfig::default());
    };
    if let Some(name) = ["ca", "cert", "key"].iter().find(|name| settings.has(name)) {
        return Err(fail(format!(
            "tls_config {name} is not supported: give {name}_file"
        )));
    }
    let file = |name| match settings.get(name) {
        Some(Setting::File(path)) => Some(path.clone()),
        _ => None,
    };
    let name = settings.text("server_name");
    Ok(ClientTlsConfig {
        ca_file: file("ca_file"),
        identity: file("cert_file").zip(file("key_file")),
        server_name: (!name.is_empty()).then(|| name.to_owned()),
        insecure_skip_verify: settings.flag("insecure_skip_verify"),
        min_version: match settings.text("min_version") {
            "TLS13" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
        alpn: Vec::new(),
    })
}

fn proxy(rendering: &Rendering<'_>, http: &Settings) -> Rendered<Option<Proxy>> {
    if http.flag("proxy_from_environment") {
        return Err(fail(
            "proxy_from_environment is not supported: give proxy_url",
        ));
    }
    let text = http.text("proxy_url");
    if text.is_empty() {
        return Ok(None);
    }
    // It may hold a password.
    rendering.hide(text);
    let url = HttpUrl::parse(text)
        .filter(|url| !url.is_tls())
        .ok_or_else(|| fail("proxy_url is no URL of http"))?;
    let except = http
        .text("no_proxy")
        .split(',')
        .map(str::to_owned)
        .collect();
    Ok(Some(Proxy { url, except }))
}

/// Returns the request for a token by client credentials.
fn token(rendering: &Rendering<'_>, oauth2: &Settings) -> Rendered<Request> {
    let secret = rendering
        .secret_of(oauth2, "client_secret", "client_secret_file")?
        .unwrap_or_default();
    let scopes = match oauth2.get("scopes") {
        Some(Setting::Texts(scopes)) => scopes.join(" "),
        _ => String::new(),
    };
    let mut parameters = vec![("grant_type", "client_credentials")];
    if !scopes.is_empty() {
        parameters.push(("scope", &scopes));
    }
    let own = oauth2.map("endpoint_params").into_iter().flatten();
    parameters.extend(own.map(|(name, value)| (name.as_str(), value.as_str())));
    let encode = http_shell::encode_component;
    let pair = format!("{}:{}", encode(oauth2.text("client_id")), encode(&secret));
    let pair = BASE64_STANDARD.encode(pair);
    rendering.hide(&pair);
    let body = form(&parameters).into_bytes();
    Ok(Request::new(Method::POST, oauth2.text("token_url"), body)
        .with(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())
        .with(AUTHORIZATION, format!("Basic {pair}")))
}
