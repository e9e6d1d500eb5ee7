//! The section `alerting` of Prometheus' configuration.
//!
//! ```yaml
//! alerting:
//!   alert_relabel_configs:
//!   - {regex: replica, action: labeldrop}
//!   alertmanagers:
//!   - static_configs: [{targets: ['alertmanager:9093']}]
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Mistakes, Node, Position, Reader, parse_yaml};
use relabel::{Names, Rule, read_rules};
use scrape::{FileDiscovery, HTTP_KEYS, HttpConfig, TargetGroup, read_groups};

/// The key of the section.
pub const SECTION: &str = "alerting";
const API_VERSION: &str = "v2";
const TIMEOUT: Duration = Duration::from_secs(10);

const KEYS: [&str; 8] = [
    "scheme",
    "path_prefix",
    "timeout",
    "api_version",
    "static_configs",
    "file_sd_configs",
    "relabel_configs",
    "alert_relabel_configs",
];

/// To which Alertmanagers alerts are sent, and how they are changed before.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) relabel: Vec<Rule>,
    pub(crate) sets: Vec<Arc<AlertmanagerSet>>,
}

/// An entry of `alertmanagers`.
#[derive(Clone, Debug)]
pub(crate) struct AlertmanagerSet {
    pub(crate) scheme: &'static str,
    pub(crate) path_prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) http: HttpConfig,
    pub(crate) groups: Vec<TargetGroup>,
    pub(crate) files: Vec<FileDiscovery>,
    /// Of the Alertmanagers.
    pub(crate) relabel: Vec<Rule>,
    /// Of the alerts that they are sent.
    pub(crate) alert_relabel: Vec<Rule>,
}

impl Config {
    /// Reads the section of a file; without one nothing is sent. `path` is named in mistakes, and is what relative paths are relative
    /// to.
    pub fn read(path: &Path, text: &str) -> Result<Self, Mistakes> {
        let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut reader = Reader::new(path);
        let mut config = Self::default();
        let section = root.get(SECTION).map(|node| reader.entries(node));
        for (key, at, value) in section.unwrap_or_default() {
            match key {
                "alert_relabel_configs" => {
                    config.relabel = read_rules(value, &mut reader, Names::Utf8);
                }
                "alertmanagers" => {
                    let nodes = reader.items(value).iter();
                    let sets = nodes.map(|node| AlertmanagerSet::read(node, &mut reader));
                    config.sets = sets.map(Arc::new).collect();
                }
                _ => reader.unknown(at, key, &["alert_relabel_configs", "alertmanagers"]),
            }
        }
        Mistakes::none_in(reader.mistakes, config)
    }
}

impl AlertmanagerSet {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Self {
        let mut set = Self {
            scheme: "http",
            path_prefix: "/".to_owned(),
            timeout: TIMEOUT,
            http: HttpConfig::default(),
            groups: Vec::new(),
            files: Vec::new(),
            relabel: Vec::new(),
            alert_relabel: Vec::new(),
        };
        for (key, at, value) in reader.entries(node) {
            set.take(key, at, value, reader);
        }
        set
    }

    fn take(&mut self, key: &str, at: Position, value: &Node, reader: &mut Reader<'_>) {
        match key {
            "scheme" => {
                let schemes = ["http", "https"];
                if let Some(word) = reader.word(value, &schemes) {
                    self.scheme = schemes[word];
                }
            }
            "path_prefix" => self.path_prefix = reader.text(value).unwrap_or_default(),
            "timeout" => {
                let timeout = reader.duration(value).filter(|timeout| !timeout.is_zero());
                self.timeout = timeout.unwrap_or(TIMEOUT);
            }
            "api_version" => {
                if let Some(version) = reader.text(value).filter(|text| text != API_VERSION) {
                    let what = format!(
                        "expected Alertmanager api version to be one of [{API_VERSION}] but got {version}"
                    );
                    reader.refuse::<()>(value.at, what);
                }
            }
            "static_configs" => self.groups = read_groups(value, reader),
            "file_sd_configs" => {
                let nodes = reader.items(value).iter();
                self.files = nodes
                    .filter_map(|node| FileDiscovery::read(node, reader))
                    .collect();
            }
            "relabel_configs" => self.relabel = read_rules(value, reader, Names::Utf8),
            "alert_relabel_configs" => {
                self.alert_relabel = read_rules(value, reader, Names::Utf8);
            }
            _ if key.ends_with("_sd_configs") => {
                let what = format!(
                    "service discovery by {key} is not supported; use static_configs or file_sd_configs"
                );
                reader.refuse::<()>(at, what);
            }
            _ if self.http.take(key, at, value, reader) => {}
            _ => {
                let accepted: Vec<&str> = KEYS.iter().chain(&HTTP_KEYS).copied().collect();
                reader.unknown(at, key, &accepted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::read(Path::new("p.yml"), text).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_section_is_read_as_prometheus_reads_it() {
        let config = read(
            "
alerting:
  alert_relabel_configs: [{regex: replica, action: labeldrop}]
  alertmanagers:
  - scheme: https
    path_prefix: /am
    timeout: 3s
    api_version: v2
    basic_auth: {username: u, password: p}
    tls_config: {insecure_skip_verify: true}
    static_configs: [{targets: ['a:1', 'b:2'], labels: {team: x}}]
    file_sd_configs: [{files: ['more/*.json']}]
    relabel_configs: [{source_labels: [team], regex: y, action: drop}]
  - static_configs: [{targets: ['c:3']}]
",
        )
        .unwrap();
        assert_eq!((config.relabel.len(), config.sets.len()), (1, 2));
        let set = &config.sets[0];
        assert_eq!((set.scheme, set.path_prefix.as_str()), ("https", "/am"));
        assert_eq!(set.timeout, Duration::from_secs(3));
        assert!(set.http.tls.insecure_skip_verify);
        assert_eq!(
            (set.groups.len(), set.files.len(), set.relabel.len()),
            (1, 1, 1)
        );
        assert_eq!(config.sets[1].timeout, TIMEOUT);
        assert!(read("global: {}\n").unwrap().sets.is_empty());
    }

    #[test]
    fn mistakes_come_together_and_name_their_place() {
        let mistakes = read(
            "
alerting:
  alertmanager: []
  alertmanagers:
  - api_version: v1
    consul_sd_configs: []
    scheem: http
",
        )
        .unwrap_err();
        for part in [
            "p.yml:3:3: unknown key \"alertmanager\"; did you mean alertmanagers?",
            "p.yml:5:18: expected Alertmanager api version to be one of [v2] but got v1",
            "p.yml:6:5: service discovery by consul_sd_configs is not supported",
            "p.yml:7:5: unknown key \"scheem\"; did you mean scheme?",
        ] {
            assert!(mistakes.contains(part), "{part}: {mistakes}");
        }
    }
}
