//! How targets are called: the keys that every client of HTTP has in Prometheus' configuration.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::{Node, Position, Reader, Secret};
use http_shell::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use transport::{ClientTlsConfig, TlsVersion};

/// The longest secret that is read from a file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Keys of HTTP clients that mean something here.
pub const KEYS: [&str; 9] = [
    "basic_auth",
    "authorization",
    "bearer_token",
    "bearer_token_file",
    "tls_config",
    "follow_redirects",
    "enable_http2",
    "http_headers",
    "no_proxy",
];

/// Keys that Prometheus has and this has not.
const UNSUPPORTED: [&str; 4] = [
    "oauth2",
    "proxy_url",
    "proxy_from_environment",
    "proxy_connect_header",
];

/// A secret, or the file that holds it; files are read at each use.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Given(Secret),
    File(PathBuf),
}

impl Source {
    /// Reads a file on this thread; it is small and mostly cached.
    fn value(&self) -> Result<String, String> {
        use std::io::Read as _;
        match self {
            Self::Given(secret) => Ok(secret.expose().to_owned()),
            Self::File(path) => {
                let mut text = String::new();
                let read = std::fs::File::open(path)
                    .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text));
                match read {
                    Ok(_) => Ok(text.trim().to_owned()),
                    Err(error) => Err(format!("cannot read {}: {error}", path.display())),
                }
            }
        }
    }
}

/// Who one says one is.
#[derive(Clone, Debug, Default)]
enum Credentials {
    #[default]
    None,
    Basic {
        user: Source,
        password: Source,
    },
    Authorization {
        kind: String,
        credentials: Source,
    },
}

/// How servers are called: what the client keys of Prometheus' configuration say.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    credentials: Credentials,
    headers: Vec<(HeaderName, Vec<Source>)>,
    /// Whom we trust, and who we are.
    pub tls: ClientTlsConfig,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            credentials: Credentials::None,
            headers: Vec::new(),
            tls: ClientTlsConfig::default(),
            follow_redirects: true,
        }
    }
}

impl HttpConfig {
    /// Takes a key if it is one of an HTTP client's; returns whether it is.
    pub fn take(&mut self, key: &str, at: Position, value: &Node, reader: &mut Reader<'_>) -> bool {
        match key {
            "basic_auth" => self.claim(at, reader, |reader| basic(value, reader)),
            "authorization" => self.claim(at, reader, |reader| authorization(value, reader)),
            "bearer_token" => self.claim(at, reader, |reader| {
                let token = reader.text(value)?;
                Some(bearer(Source::Given(Secret::new(token))))
            }),
            "bearer_token_file" => self.claim(at, reader, |reader| {
                Some(bearer(Source::File(reader.file(value)?)))
            }),
            "tls_config" => self.tls = tls(value, reader),
            "follow_redirects" => self.follow_redirects = reader.flag(value).unwrap_or(true),
            // HTTP/2 is an offer, and HTTP/1.1 is what is spoken.
            "enable_http2" => drop(reader.flag(value)),
            // Without a proxy there is nothing to be exempt from.
            "no_proxy" => drop(reader.text(value)),
            "http_headers" => self.headers = headers(value, reader),
            _ if UNSUPPORTED.contains(&key) => {
                reader.refuse::<()>(at, format!("{key} is not supported; remove it"));
            }
            _ => return false,
        }
        true
    }

    fn claim(
        &mut self,
        at: Position,
        reader: &mut Reader<'_>,
        read: impl FnOnce(&mut Reader<'_>) -> Option<Credentials>,
    ) {
        if !matches!(self.credentials, Credentials::None) {
            let what = "at most one of basic_auth, authorization, bearer_token and bearer_token_file may be given";
            reader.refuse::<()>(at, what);
        }
        if let Some(credentials) = read(reader) {
            self.credentials = credentials;
        }
    }

    /// Returns the headers that the configuration asks for; reads files, so it may block for a moment.
    pub fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let authorization = match &self.credentials {
            Credentials::None => None,
            Credentials::Basic { user, password } => {
                let pair = format!("{}:{}", user.value()?, password.value()?);
                Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
            }
            Credentials::Authorization { kind, credentials } => {
                Some(format!("{kind} {}", credentials.value()?))
            }
        };
        if let Some(text) = authorization {
            headers.insert(AUTHORIZATION, header_value(&AUTHORIZATION, &text)?);
        }
        for (name, values) in &self.headers {
            for value in values {
                headers.append(name.clone(), header_value(name, &value.value()?)?);
            }
        }
        Ok(headers)
    }
}

fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(text);
    let mut value = value.map_err(|_| format!("the value for the header {name} cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn bearer(credentials: Source) -> Credentials {
    Credentials::Authorization {
        kind: "Bearer".to_owned(),
        credentials,
    }
}

fn source(
    reader: &mut Reader<'_>,
    given: Option<&Node>,
    file: Option<&Node>,
    key: &str,
) -> Option<Source> {
    if let (Some(_), Some(file)) = (given, file) {
        return reader.refuse(
            file.at,
            format!("{key} is given already; remove one of the two"),
        );
    }
    match (given, file) {
        (_, Some(file)) => reader.file(file).map(Source::File),
        (Some(given), None) => {
            let text = reader.text(given).unwrap_or_default();
            Some(Source::Given(Secret::new(text)))
        }
        (None, None) => None,
    }
}

fn basic(node: &Node, reader: &mut Reader<'_>) -> Option<Credentials> {
    const ACCEPTED: [&str; 4] = ["username", "username_file", "password", "password_file"];
    for (key, at, _) in reader.entries(node) {
        if !ACCEPTED.contains(&key) {
            reader.unknown(at, key, &ACCEPTED);
        }
    }
    let [user, user_file, password, password_file] = ACCEPTED.map(|key| node.get(key));
    let user = source(reader, user, user_file, "username");
    let password = source(reader, password, password_file, "password");
    let empty = || Source::Given(Secret::new(""));
    Some(Credentials::Basic {
        user: user.unwrap_or_else(empty),
        password: password.unwrap_or_else(empty),
    })
}

fn authorization(node: &Node, reader: &mut Reader<'_>) -> Option<Credentials> {
    const ACCEPTED: [&str; 3] = ["type", "credentials", "credentials_file"];
    for (key, at, _) in reader.entries(node) {
        if !ACCEPTED.contains(&key) {
            reader.unknown(at, key, &ACCEPTED);
        }
    }
    let [kind, given, file] = ACCEPTED.map(|key| node.get(key));
    let kind = kind.and_then(|kind| reader.text(kind));
    let kind = kind.map_or_else(|| "Bearer".to_owned(), |kind| kind.trim().to_owned());
    if kind.eq_ignore_ascii_case("basic") {
        let what = r#"authorization type cannot be set to "basic", use "basic_auth" instead"#;
        return reader.refuse(node.at, what);
    }
    Some(Credentials::Authorization {
        kind,
        credentials: source(reader, given, file, "credentials")?,
    })
}

fn headers(node: &Node, reader: &mut Reader<'_>) -> Vec<(HeaderName, Vec<Source>)> {
    let mut headers = Vec::new();
    for (name, at, node) in reader.entries(node) {
        let Ok(name) = HeaderName::try_from(name) else {
            reader.refuse::<()>(at, format!("{name:?} is not the name of a header"));
            continue;
        };
        let mut values = Vec::new();
        for (key, at, value) in reader.entries(node) {
            match key {
                "values" | "secrets" => {
                    let texts = reader.texts(value).into_iter();
                    values.extend(texts.map(|text| Source::Given(Secret::new(text))));
                }
                "files" => {
                    let files = reader.items(value).iter();
                    values.extend(files.filter_map(|file| Some(Source::File(reader.file(file)?))));
                }
                _ => reader.unknown(at, key, &["values", "secrets", "files"]),
            }
        }
        headers.push((name, values));
    }
    headers
}

fn tls(node: &Node, reader: &mut Reader<'_>) -> ClientTlsConfig {
    const ACCEPTED: [&str; 7] = [
        "ca_file",
        "cert_file",
        "key_file",
        "server_name",
        "insecure_skip_verify",
        "min_version",
        "max_version",
    ];
    const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];
    let mut tls = ClientTlsConfig::default();
    let (mut certificate, mut private) = (None, None);
    for (key, at, value) in reader.entries(node) {
        match key {
            "ca_file" => tls.ca_file = reader.file(value),
            "cert_file" => certificate = reader.file(value),
            "key_file" => private = reader.file(value),
            "server_name" => tls.server_name = reader.text(value).filter(|name| !name.is_empty()),
            "insecure_skip_verify" => {
                tls.insecure_skip_verify = reader.flag(value).unwrap_or_default();
            }
            // Older versions than 1.2 are never spoken, whatever is allowed.
            "min_version" if reader.word(value, &VERSIONS) == Some(3) => {
                tls.min_version = TlsVersion::Tls13;
            }
            "min_version" => {}
            "max_version"
                if reader
                    .word(value, &VERSIONS)
                    .is_some_and(|version| version < 3) =>
            {
                reader.refuse::<()>(at, "max_version below TLS13 is not supported; remove it");
            }
            "max_version" => {}
            "ca" | "cert" | "key" => {
                let what =
                    format!("{key} is not supported; put it into a file, and give {key}_file");
                reader.refuse::<()>(at, what);
            }
            _ => reader.unknown(at, key, &ACCEPTED),
        }
    }
    match (certificate, private) {
        (Some(certificate), Some(key)) => tls.identity = Some((certificate, key)),
        (None, None) => {}
        _ => {
            reader.refuse::<()>(node.at, "cert_file and key_file must be given together");
        }
    }
    tls
}
