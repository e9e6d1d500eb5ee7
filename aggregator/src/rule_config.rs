//! The sections `global` and `rule_files` of the configuration file, as Prometheus has them, and the files that they name.
//!
//! ```yaml
//! global:
//!   evaluation_interval: 30s
//!   external_labels: {cluster: prod}
//! rule_files: [rules/*.yml]
//! ```
//! Paths begin at the folder of the configuration file; values of external labels may name variables of the environment: `${HOST}`. What
//! `global` says of scraping is for others.

mod variables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Mistake, Mistakes, Node, NodeValue, Origin, Position, Settings, nearest, parse_yaml};
use model::{Labels, LabelsBuilder, parse_duration};
use rules::{FileOptions, LateSettings, RuleFile, glob};

use crate::built_in::built_in;

/// The key of the section with defaults.
pub(crate) const GLOBAL: &str = "global";
/// The key of the section with files.
pub(crate) const RULE_FILES: &str = "rule_files";
/// A file of rules may be so long.
const FILE_BYTES_MAX: u64 = 16 << 20;

const GLOBAL_KEYS: &[&str] = &[
    "evaluation_interval",
    "rule_query_offset",
    "external_labels",
    // For scraping.
    "scrape_interval",
    "scrape_timeout",
    "scrape_protocols",
    "scrape_failure_log_file",
    "scrape_native_histograms",
    "scrape_classic_histograms",
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "body_size_limit",
    "sample_limit",
    "target_limit",
    "label_limit",
    "label_name_length_limit",
    "label_value_length_limit",
    "keep_dropped_targets",
    "metric_name_validation_scheme",
    "metric_name_escaping_scheme",
    "query_log_file",
    "runtime",
];

/// What the configuration says of rules.
#[derive(Debug, Default)]
pub(crate) struct RuleConfig {
    pub(crate) files: Vec<RuleFile>,
    interval: Option<Duration>,
    query_offset: Option<Duration>,
    external_labels: Labels,
}

impl RuleConfig {
    /// Reads the sections and the files; every mistake in any of them is reported. The rules that come with the program stand before
    /// those of files.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Mistakes> {
        let mut config = Self::read_file(settings)?;
        config.files.splice(..0, built_in(settings));
        Ok(config)
    }

    fn read_file(settings: &Settings) -> Result<Self, Mistakes> {
        let Some((path, text)) = settings.file() else {
            return Ok(Self::default());
        };
        let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
        let mut reading = Reading {
            path,
            settings,
            mistakes: Vec::new(),
        };
        let mut config = Self::default();
        if let Some(global) = root.get(GLOBAL) {
            reading.global(global, &mut config);
        }
        if let Some(patterns) = root.get(RULE_FILES) {
            config.files = reading.rule_files(patterns);
        }
        Mistakes::none_in(reading.mistakes, config)
    }

    /// Returns the settings of evaluation; `address` is where HTTP listens.
    pub(crate) fn evaluation(&self, settings: &Settings, address: &str) -> rules::Settings {
        let defaults = rules::Settings::default();
        let given = settings.optional_text("web.external-url");
        rules::Settings {
            interval: self.interval.unwrap_or(defaults.interval),
            query_offset: self.query_offset.unwrap_or(defaults.query_offset),
            external_labels: self.external_labels.clone(),
            external_url: given.map_or_else(|| format!("http://{address}"), str::to_owned),
            resend_delay: settings.duration("rules.alert.resend-delay"),
            late: LateSettings {
                back: settings.duration("rules.late.max-age"),
                lookback: settings.duration("query.lookback-delta"),
                ..defaults.late
            },
        }
    }
}

struct Reading<'a> {
    path: &'a Path,
    settings: &'a Settings,
    mistakes: Vec<Mistake>,
}

impl Reading<'_> {
    fn refuse(&mut self, at: Position, what: impl Into<String>) {
        let path = self.path.to_owned();
        self.mistakes.push(Mistake {
            origin: Origin::File { path, at },
            what: what.into(),
        });
    }

    fn global(&mut self, section: &Node, config: &mut RuleConfig) {
        let NodeValue::Map(entries) = &section.value else {
            if section.value != NodeValue::Null {
                let found = section.kind();
                self.refuse(
                    section.at,
                    format!("expected a map for global, found {found}"),
                );
            }
            return;
        };
        for (key, at, value) in entries {
            match key.as_str() {
                "evaluation_interval" => {
                    config.interval = self.duration(value).filter(|given| !given.is_zero());
                }
                "rule_query_offset" => config.query_offset = self.duration(value),
                "external_labels" => config.external_labels = self.labels(value),
                known if GLOBAL_KEYS.contains(&known) => {}
                unknown => {
                    let hint = nearest(unknown, GLOBAL_KEYS.iter().copied())
                        .map(|near| format!(" (did you mean {near}?)"))
                        .unwrap_or_default();
                    self.refuse(*at, format!("field {unknown} not found in global{hint}"));
                }
            }
        }
    }

    fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            NodeValue::Scalar(text) => Some(text),
            NodeValue::Null | NodeValue::List(_) | NodeValue::Map(_) => {
                let found = node.kind();
                self.refuse(node.at, format!("expected a text, found {found}"));
                None
            }
        }
    }

    fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        parse_duration(text)
            .map_err(|error| self.refuse(node.at, error.to_string()))
            .ok()
    }

    fn labels(&mut self, node: &Node) -> Labels {
        let mut labels = LabelsBuilder::new();
        match &node.value {
            NodeValue::Null => {}
            NodeValue::Map(entries) => {
                for (name, at, value) in entries {
                    if name.is_empty() || name == model::METRIC_NAME {
                        self.refuse(*at, format!("{name:?} is not a valid label name"));
                    } else if let Some(value) = self.text(value) {
                        let value = variables::expand(value, &|name| self.variable(name));
                        labels.set(name.as_str(), value);
                    }
                }
            }
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                let found = node.kind();
                self.refuse(node.at, format!("expected a map of labels, found {found}"));
            }
        }
        labels.build()
    }

    fn variable(&self, name: &str) -> String {
        let value = self.settings.variable(name).unwrap_or_default();
        if value.is_empty() {
            tracing::warn!(name, "environment variable of an external label is empty");
        }
        value.to_owned()
    }

    fn rule_files(&mut self, section: &Node) -> Vec<RuleFile> {
        let patterns = match &section.value {
            NodeValue::Null => return Vec::new(),
            NodeValue::List(patterns) => patterns,
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                let found = section.kind();
                self.refuse(
                    section.at,
                    format!("expected a list of files, found {found}"),
                );
                return Vec::new();
            }
        };
        // A file that several patterns stand for is one file.
        let mut paths: BTreeSet<(PathBuf, Position)> = BTreeSet::new();
        let mut seen: BTreeSet<PathBuf> = BTreeSet::new();
        let folder = self.path.parent().unwrap_or_else(|| Path::new(""));
        for pattern in patterns {
            let Some(text) = self.text(pattern) else {
                continue;
            };
            match glob(&folder.join(text)) {
                Ok(found) => {
                    let new = found.into_iter().filter(|path| seen.insert(path.clone()));
                    paths.extend(new.map(|path| (path, pattern.at)));
                }
                Err(error) => self.refuse(pattern.at, error.to_string()),
            }
        }
        let read = paths
            .into_iter()
            .map(|(path, at)| self.rule_file(&path, at));
        read.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn rule_file(&mut self, path: &Path, at: Position) -> Option<RuleFile> {
        let bytes = std::fs::metadata(path).map(|file| file.len());
        let text = bytes.and_then(|bytes| {
            if bytes > FILE_BYTES_MAX {
                let why = format!("{bytes} bytes are more than the {FILE_BYTES_MAX} allowed");
                return Err(std::io::Error::other(why));
            }
            std::fs::read_to_string(path)
        });
        let text = text
            .map_err(|error| self.refuse(at, format!("cannot read {}: {error}", path.display())))
            .ok()?;
        RuleFile::parse(path, &text, FileOptions::default())
            .map_err(|mistakes| self.mistakes.extend(mistakes.0))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use config::Environment;

    use super::*;
    use crate::program;

    fn settings(file: &Path) -> Settings {
        let line = ["promontory", "aggregator", "--config.file"].map(std::ffi::OsString::from);
        let line = line.into_iter().chain([file.into()]);
        let environment = Environment::of(&[("SITE", "eu")]);
        let read = program::program().read(line, environment, program::SECTIONS);
        match read {
            Ok(invocation) => invocation.settings,
            Err(_) => panic!("the settings are good"),
        }
    }

    #[test]
    fn sections_and_files_are_read_and_mistakes_reported_together() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        file(
            "rules/a.yml",
            "groups: [{name: g, rules: [{record: r, expr: x}]}]",
        );
        file(
            "rules/b.yml",
            "groups: [{name: g, rules: [{record: r, expr: x}]}]",
        );
        let main = file(
            "main.yml",
            "global: {evaluation_interval: 5s, scrape_interval: 1m, external_labels: {cluster: 'c-${SITE}'}}\nrule_files: [rules/*.yml, rules/a.yml, none/*.yml]\n",
        );
        let config = RuleConfig::read(&settings(&main)).unwrap();
        assert_eq!(config.files.len(), 2);
        let evaluation = config.evaluation(&settings(&main), "host:1");
        assert_eq!(evaluation.interval, Duration::from_secs(5));
        assert_eq!(evaluation.external_labels.get("cluster"), Some("c-eu"));
        assert_eq!(evaluation.external_url, "http://host:1");

        file(
            "rules/b.yml",
            "groups: [{name: g, rules: [{record: r, expr: '('}]}]",
        );
        file(
            "main.yml",
            "global: {evaluation_intervall: 5s}\nrule_files: [rules/*.yml]\n",
        );
        let mistakes = RuleConfig::read(&settings(&main)).unwrap_err().to_string();
        assert!(mistakes.contains("main.yml:1:10: field evaluation_intervall not found in global (did you mean evaluation_interval?)"), "{mistakes}");
        assert!(mistakes.contains("rules/b.yml:1:"), "{mistakes}");
    }
}
