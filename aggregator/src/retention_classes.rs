//! The section `retention_classes` of the configuration file: series that are kept for a time of their own.
//!
//! ```yaml
//! retention_classes:
//!   - name: slo
//!     match: '{__name__=~"slo:.*"}'
//!     retention: 400d
//! ```
//! The first class that takes a series has it; what none takes is kept for `storage.retention.time`.

use std::path::Path;
use std::time::Duration;

use config::{Mistake, Mistakes, Node, NodeValue, Origin, Position, Settings, parse_yaml};
use model::{Matcher, format_duration, parse_duration};
use promql::{ParserOptions, parse_selector};
use storage::Unlimited;
use tsdb::RetentionClass;

/// The key of the section.
pub(crate) const SECTION: &str = "retention_classes";
/// Classes of one store: each makes files of its own in every shard and day.
const CLASSES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 64;
/// What no class takes is called so, in files and metrics.
const RESERVED: &str = "default";
const KEYS: &str = "name, match, retention";
const RETENTION_MIN: Duration = Duration::from_hours(1);
const RETENTION_MAX: Duration = Duration::from_hours(100 * 365 * 24);

/// Returns the classes that the configuration file names; none without a file or the section.
pub(crate) fn retention_classes(settings: &Settings) -> Result<Vec<RetentionClass>, Mistakes> {
    let Some((path, text)) = settings.file() else {
        return Ok(Vec::new());
    };
    let root = parse_yaml(path, text).map_err(|mistake| Mistakes(vec![mistake]))?;
    let Some(section) = root.get(SECTION) else {
        return Ok(Vec::new());
    };
    let mut reading = Reading {
        path,
        mistakes: Vec::new(),
    };
    let classes = reading.section(section);
    Mistakes::none_in(reading.mistakes, classes)
}

struct Reading<'a> {
    path: &'a Path,
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

    fn section(&mut self, section: &Node) -> Vec<RetentionClass> {
        let items = match &section.value {
            NodeValue::Null => return Vec::new(),
            NodeValue::List(items) => items,
            NodeValue::Scalar(_) | NodeValue::Map(_) => {
                let found = section.kind();
                self.refuse(
                    section.at,
                    format!("expected a list of classes, found {found}"),
                );
                return Vec::new();
            }
        };
        if items.len() > CLASSES_MAX {
            let count = items.len();
            self.refuse(
                section.at,
                format!("{count} retention classes are more than the {CLASSES_MAX} allowed"),
            );
        }
        let mut classes: Vec<RetentionClass> = Vec::new();
        for item in items {
            let Some(class) = self.class(item) else {
                continue;
            };
            if classes.iter().any(|other| other.name == class.name) {
                let name = &class.name;
                self.refuse(item.at, format!("there are two retention classes {name:?}"));
            }
            classes.push(class);
        }
        classes
    }

    fn class(&mut self, item: &Node) -> Option<RetentionClass> {
        let NodeValue::Map(entries) = &item.value else {
            let found = item.kind();
            self.refuse(
                item.at,
                format!("expected a map with the keys {KEYS}, found {found}"),
            );
            return None;
        };
        for (key, at, _) in entries {
            if !["name", "match", "retention"].contains(&key.as_str()) {
                self.refuse(*at, format!("unknown key {key:?} (accepted here: {KEYS})"));
            }
        }
        let name = self.text(item, "name").and_then(|text| self.name(text));
        let matchers = self
            .text(item, "match")
            .and_then(|text| self.matchers(text));
        let retention = self.text(item, "retention");
        let retention = retention.and_then(|text| self.retention(text));
        Some(RetentionClass {
            name: name?,
            matchers: matchers?,
            retention: retention?,
        })
    }

    fn text<'n>(&mut self, item: &'n Node, key: &str) -> Option<(Position, &'n str)> {
        match item.get(key) {
            Some(Node {
                at,
                value: NodeValue::Scalar(text),
            }) => Some((*at, text)),
            Some(other) => {
                let found = other.kind();
                self.refuse(
                    other.at,
                    format!("expected a value for {key}, found {found}"),
                );
                None
            }
            None => {
                self.refuse(item.at, format!("a retention class needs {key}"));
                None
            }
        }
    }

    fn name(&mut self, (at, text): (Position, &str)) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(allowed);
        if fits && text != RESERVED {
            return Some(text.to_owned());
        }
        self.refuse(
            at,
            format!(
                "{text:?} is no name for a retention class: 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, _ and -, not {RESERVED:?}"
            ),
        );
        None
    }

    fn matchers(&mut self, (at, text): (Position, &str)) -> Option<Vec<Matcher>> {
        match parse_selector(text, ParserOptions::default(), &Unlimited) {
            Ok(matchers) => Some(matchers),
            Err(error) => {
                self.refuse(at, format!("{text:?} is not a selector: {error}"));
                None
            }
        }
    }

    fn retention(&mut self, (at, text): (Position, &str)) -> Option<Duration> {
        match parse_duration(text) {
            Ok(retention) if (RETENTION_MIN..=RETENTION_MAX).contains(&retention) => {
                Some(retention)
            }
            Ok(retention) => {
                self.refuse(
                    at,
                    format!(
                        "{} is not within {} and {}",
                        format_duration(retention),
                        format_duration(RETENTION_MIN),
                        format_duration(RETENTION_MAX)
                    ),
                );
                None
            }
            Err(error) => {
                self.refuse(at, error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use config::Environment;

    use super::*;

    fn read(text: &str) -> Result<Vec<RetentionClass>, Mistakes> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("promontory.yml");
        std::fs::write(&path, text).unwrap();
        let line = ["promontory", "aggregator", "--config.file"].map(Into::into);
        let line = line.into_iter().chain([path.into_os_string()]);
        let program = crate::program::program();
        match program.read(line, Environment::default(), crate::program::SECTIONS) {
            Ok(invocation) => retention_classes(&invocation.settings),
            Err(_) => panic!("the section is left to this reader"),
        }
    }

    #[test]
    fn classes_are_read_in_order() {
        let classes = read(
            "storage:\n  shards: 2\nretention_classes:\n- name: slo\n  match: '{__name__=~\"slo:.*\",job=\"a\"}'\n  retention: 400d\n- {name: debug-1, match: up, retention: 6h}\n",
        );
        let classes = classes.unwrap();
        assert_eq!(classes.len(), 2);
        assert_eq!(classes[0].name, "slo");
        assert_eq!(classes[0].matchers.len(), 2);
        assert_eq!(classes[0].retention, Duration::from_hours(400 * 24));
        assert_eq!(classes[1].matchers, [Matcher::equal("__name__", "up")]);
        assert!(read("storage:\n  shards: 2\n").unwrap().is_empty());
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let mistakes = read(
            "retention_classes:\n- name: default\n  match: up\n  retention: 1d\n- match: '{'\n  retention: 1s\n  keep: 2\n- x\n",
        );
        let text = mistakes.unwrap_err().to_string();
        for part in [
            "2:9: \"default\" is no name",
            "5:3: a retention class needs name",
            "5:10: \"{\" is not a selector",
            "6:14: 1s is not within 1h and ",
            "7:3: unknown key \"keep\" (accepted here: name, match, retention)",
            "8:3: expected a map with the keys name, match, retention, found a scalar",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
