//! exporter-toolkit's web configuration file: TLS, basic authentication and headers of an HTTP server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::{Mistake, Mistakes, Node, NodeValue, Origin, Position, Secret, nearest, parse_yaml};

/// The contents of a web configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// TLS; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Users and their bcrypt hashes; empty: no authentication.
    pub users: BTreeMap<String, Secret>,
    /// Headers that every answer carries.
    pub headers: Vec<(String, String)>,
}

/// Where certificates lie, and what is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// The authorities that clients' certificates are checked against, PEM.
    pub client_authorities: Option<PathBuf>,
    /// Names of which a client's certificate must have one; empty: any.
    pub client_allowed_sans: Vec<String>,
    /// Whether TLS 1.2 is refused.
    pub tls13_only: bool,
}

/// What is asked of clients' certificates; names as in Go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    #[default]
    None,
    /// Checked when given.
    VerifyIfGiven,
    /// Needed, and checked.
    Require,
}

/// The headers that the file may set, as in exporter-toolkit.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
];

impl WebConfig {
    /// Reads a file; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, Mistakes> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let origin = Origin::File {
                path: path.to_owned(),
                at: Position::default(),
            };
            Mistakes(vec![Mistake {
                origin,
                what: format!("cannot read the web configuration file: {error}"),
            }])
        })?;
        Self::parse(path, &text)
    }

    /// Reads a text; `path` is for messages, and for what relative paths are relative to.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut reader = Reader {
            path,
            mistakes: Vec::new(),
        };
        let config = reader.root(&root);
        Mistakes::none_in(reader.mistakes, config)
    }
}

struct Reader<'a> {
    path: &'a Path,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn root(&mut self, node: &Node) -> WebConfig {
        let mut config = WebConfig::default();
        for (key, at, value) in self.entries(node) {
            match key {
                "tls_server_config" => config.tls = self.tls(value),
                "basic_auth_users" => {
                    for (user, at, hash) in self.entries(value) {
                        match self.text(hash) {
                            Some(hash) if looks_like_bcrypt(&hash) => {
                                config.users.insert(user.to_owned(), Secret::new(hash));
                            }
                            Some(_) => self.refuse(at, format!("the password of {user:?} must be a bcrypt hash ($2b$..., as htpasswd -B writes it)")),
                            None => {}
                        }
                    }
                }
                "http_server_config" => config.headers = self.http(value),
                _ => self.unknown(
                    at,
                    key,
                    &[
                        "tls_server_config",
                        "http_server_config",
                        "basic_auth_users",
                    ],
                ),
            }
        }
        config
    }

    fn tls(&mut self, node: &Node) -> Option<TlsFiles> {
        let (mut certificate, mut key_file, mut client_authorities) = (None, None, None);
        let (mut client_auth, mut client_allowed_sans, mut tls13_only) =
            (ClientAuth::None, Vec::new(), false);
        for (key, at, value) in self.entries(node) {
            match key {
                "cert_file" => certificate = self.file(value),
                "key_file" => key_file = self.file(value),
                "client_ca_file" => client_authorities = self.file(value),
                "client_auth_type" => client_auth = self.client_auth(value),
                "client_allowed_sans" => client_allowed_sans = self.list(value),
                "min_version" => tls13_only = self.word(value, &["TLS12", "TLS13"]) == Some(1),
                "max_version" => drop(self.word(value, &["TLS13"])),
                "prefer_server_cipher_suites" => drop(self.word(value, &["true", "false"])),
                "cipher_suites" | "curve_preferences" => self.refuse(
                    at,
                    format!("{key} cannot be chosen: all suites and curves offered are strong; remove the line"),
                ),
                _ => self.unknown(
                    at,
                    key,
                    &[
                        "cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans",
                        "min_version", "max_version", "prefer_server_cipher_suites",
                    ],
                ),
            }
        }
        if client_auth != ClientAuth::None && client_authorities.is_none() {
            self.refuse(node.at, "client_auth_type needs client_ca_file".to_owned());
        }
        match (certificate, key_file) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate,
                key,
                client_auth,
                client_authorities,
                client_allowed_sans,
                tls13_only,
            }),
            (None, None) if matches!(node.value, NodeValue::Null) => None,
            _ => {
                self.refuse(
                    node.at,
                    "tls_server_config needs both cert_file and key_file".to_owned(),
                );
                None
            }
        }
    }

    fn client_auth(&mut self, node: &Node) -> ClientAuth {
        const NAMES: [&str; 5] = [
            "NoClientCert",
            "RequestClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "RequireAndVerifyClientCert",
        ];
        match self.word(node, &NAMES) {
            Some(3) => ClientAuth::VerifyIfGiven,
            Some(4) => ClientAuth::Require,
            Some(1 | 2) => {
                self.refuse(node.at, "a certificate that is not checked proves nothing: use VerifyClientCertIfGiven or RequireAndVerifyClientCert".to_owned());
                ClientAuth::Require
            }
            _ => ClientAuth::None,
        }
    }

    fn http(&mut self, node: &Node) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (key, at, value) in self.entries(node) {
            match key {
                "http2" => drop(self.word(value, &["true", "false"])),
                "headers" => {
                    for (name, at, value) in self.entries(value) {
                        match HEADERS
                            .iter()
                            .find(|known| known.eq_ignore_ascii_case(name))
                        {
                            Some(known) => headers
                                .extend(self.text(value).map(|text| ((*known).to_owned(), text))),
                            None => self.unknown(at, name, &HEADERS),
                        }
                    }
                }
                _ => self.unknown(at, key, &["http2", "headers"]),
            }
        }
        headers
    }

    fn entries<'n>(&mut self, node: &'n Node) -> Vec<(&'n str, Position, &'n Node)> {
        match &node.value {
            NodeValue::Null => Vec::new(),
            NodeValue::Map(entries) => entries
                .iter()
                .map(|(key, at, value)| (key.as_str(), *at, value))
                .collect(),
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                self.refuse(node.at, format!("expected a map, found {}", node.kind()));
                Vec::new()
            }
        }
    }

    fn text(&mut self, node: &Node) -> Option<String> {
        if let NodeValue::Scalar(text) = &node.value {
            return Some(text.clone());
        }
        self.refuse(node.at, format!("expected a text, found {}", node.kind()));
        None
    }

    fn file(&mut self, node: &Node) -> Option<PathBuf> {
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        self.text(node).map(|text| folder.join(text))
    }

    fn list(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            NodeValue::List(items) => items.iter().filter_map(|item| self.text(item)).collect(),
            NodeValue::Null => Vec::new(),
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                self.refuse(node.at, format!("expected a list, found {}", node.kind()));
                Vec::new()
            }
        }
    }

    /// The index of the word among those accepted.
    fn word(&mut self, node: &Node, accepted: &[&str]) -> Option<usize> {
        let text = self.text(node)?;
        let found = accepted.iter().position(|word| *word == text);
        if found.is_none() {
            self.refuse(
                node.at,
                format!("{text:?} is not one of {}", accepted.join(", ")),
            );
        }
        found
    }

    fn unknown(&mut self, at: Position, key: &str, accepted: &[&str]) {
        let hint = nearest(key, accepted.iter().copied())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        self.refuse(
            at,
            format!(
                "unknown key {key:?}{hint} (accepted here: {})",
                accepted.join(", ")
            ),
        );
    }

    fn refuse(&mut self, at: Position, what: String) {
        self.mistakes.push(Mistake {
            origin: Origin::File {
                path: self.path.to_owned(),
                at,
            },
            what,
        });
    }
}

fn looks_like_bcrypt(hash: &str) -> bool {
    hash.len() == 60
        && ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|prefix| hash.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2b$12$abcdefghijklmnopqrstuuLKJHGFDSAQWERTYUIOPzxcvbnmasdfg";

    fn parse(text: &str) -> Result<WebConfig, String> {
        WebConfig::parse(Path::new("etc/web.yml"), text).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_whole_file_is_read() {
        assert_eq!(HASH.len(), 60);
        let text = format!(
            "tls_server_config:\n  cert_file: a.crt\n  key_file: /k/a.key\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  min_version: TLS13\nhttp_server_config:\n  headers: {{x-frame-options: deny}}\nbasic_auth_users:\n  ann: {HASH}\n"
        );
        let config = parse(&text).expect("valid");
        let tls = config.tls.expect("tls");
        assert_eq!(
            (tls.certificate, tls.key),
            (PathBuf::from("etc/a.crt"), PathBuf::from("/k/a.key"))
        );
        assert_eq!(
            (tls.client_auth, tls.tls13_only),
            (ClientAuth::Require, true)
        );
        assert_eq!(
            config.headers,
            [("X-Frame-Options".to_owned(), "deny".to_owned())]
        );
        assert_eq!(config.users["ann"].expose(), HASH);
        assert_eq!(parse(""), Ok(WebConfig::default()));
    }

    #[test]
    fn mistakes_are_reported_together_and_show_no_password() {
        let text = "tls_server_confg: {}\ntls_server_config:\n  cert_file: a\n  min_version: TLS10\nbasic_auth_users:\n  ann: hunter2\n";
        let error = parse(text).expect_err("mistakes");
        let expected = [
            "etc/web.yml:1:1: unknown key \"tls_server_confg\"; did you mean tls_server_config? (accepted here: tls_server_config, http_server_config, basic_auth_users)",
            "etc/web.yml:4:16: \"TLS10\" is not one of TLS12, TLS13",
            "etc/web.yml:3:3: tls_server_config needs both cert_file and key_file",
            "etc/web.yml:6:3: the password of \"ann\" must be a bcrypt hash ($2b$..., as htpasswd -B writes it)",
        ];
        assert_eq!(error, expected.join("\n"));
    }
}
