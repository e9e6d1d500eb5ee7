//! All settings of a program, read from everywhere at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::command_line::{self, Information};
use crate::{
    Checked, Kind, Mistake, Mistakes, Node, NodeValue, Origin, Position, Secret, Setting, nearest,
    parse_yaml,
};

/// A program or one of its commands.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The word on the command line.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Command lines that work as they stand, one a line, each after a line that starts with `#` and says what it does.
    pub examples: &'static str,
    /// Its settings.
    pub settings: Vec<&'static [Setting]>,
    /// Its arguments without dashes.
    pub arguments: &'static [Argument],
    /// Its commands; a program with commands needs one.
    pub commands: Vec<Self>,
}

/// An argument without dashes.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// What stands for it in the help.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may come several times; only the last argument may.
    pub repeated: bool,
}

/// What a program was asked to do.
#[derive(Debug)]
pub struct Invocation {
    /// The words of the command, such as `["token", "create"]`.
    pub command: Vec<&'static str>,
    /// The values of its settings.
    pub settings: Settings,
    /// The arguments without dashes, by name.
    pub arguments: BTreeMap<&'static str, Vec<String>>,
}

/// The environment, as a value: tests bring their own.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Returns the process's environment; variables that are not UTF-8 are left out.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the crate that reads the environment"
    )]
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(utf8).collect())
    }

    /// Returns an environment of these variables.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    /// Returns a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// What values are assembled from; kept, so that a reload reads the file again and nothing else changes.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Given on the command line: setting, and what stands there.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub environment: Environment,
    /// Top-level sections of the file that other parsers read.
    pub sections: Vec<&'static str>,
}

/// Checked values of all settings of a command.
#[derive(Clone, Debug)]
pub struct Settings {
    definitions: Vec<Setting>,
    values: BTreeMap<&'static str, Value>,
    sources: Sources,
    file: Option<(PathBuf, String)>,
}

/// The value of a setting.
#[derive(Clone, Debug)]
struct Value {
    checked: Checked,
    written: String,
    /// Where it stands; `None`: it is the default.
    origin: Option<Origin>,
}

impl Program {
    /// Reads the command line, the environment, and the file that `--config.file` names, if the command has that setting.
    ///
    /// `arguments` includes the program's own name. Top-level `sections` of the file are left to other parsers.
    pub fn read(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
        environment: Environment,
        sections: &[&'static str],
    ) -> Result<Invocation, Refusal> {
        let line = command_line::parse(self, arguments.into_iter().collect())?;
        let sources = Sources {
            flags: line.flags,
            environment,
            sections: sections.to_vec(),
        };
        let mut mistakes = line.mistakes;
        match Settings::assemble(line.settings, sources) {
            Ok(settings) if mistakes.is_empty() => Ok(Invocation {
                command: line.command,
                settings,
                arguments: line.arguments,
            }),
            Ok(_) => Err(Refusal::Mistakes(Mistakes(mistakes))),
            Err(more) => {
                mistakes.extend(more.0);
                Err(Refusal::Mistakes(Mistakes(mistakes)))
            }
        }
    }
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Refusal {
    /// Help or the version was asked for: print it and exit with 0.
    Information(Information),
    /// Something is wrong: print it and exit with 2.
    Mistakes(Mistakes),
}

impl From<Information> for Refusal {
    fn from(information: Information) -> Self {
        Self::Information(information)
    }
}

impl Settings {
    /// Reads and checks everything; reads the configuration file from disk.
    pub fn assemble(definitions: Vec<Setting>, sources: Sources) -> Result<Self, Mistakes> {
        let mut assembly = Assembly {
            definitions: &definitions,
            values: BTreeMap::new(),
            mistakes: Vec::new(),
        };
        assembly.take_defaults();
        assembly.take_environment(&sources.environment, true);
        assembly.take_flags(&sources.flags, true);
        // The file is named by a flag or a variable, so it comes after them; they are taken again because they beat it.
        let file = assembly.take_file(&sources.sections);
        assembly.take_environment(&sources.environment, false);
        assembly.take_flags(&sources.flags, false);
        let Assembly {
            values, mistakes, ..
        } = assembly;
        Mistakes::none_in(mistakes, (values, file)).map(|(values, file)| Self {
            definitions,
            values,
            sources,
            file,
        })
    }

    /// Returns the settings with the configuration file read again.
    pub fn reloaded(&self) -> Result<Self, Mistakes> {
        Self::assemble(self.definitions.clone(), self.sources.clone())
    }

    /// Returns the configuration file, if there is one: its path, and its text as it was read.
    pub fn file(&self) -> Option<(&Path, &str)> {
        self.file
            .as_ref()
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    /// Returns a variable of the environment that was read.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.sources.environment.get(name)
    }

    /// Returns all settings with their values as written, for people; secrets are hidden, what is unset is empty.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, &str)> + '_ {
        self.definitions.iter().map(|setting| {
            let written = self
                .values
                .get(setting.name)
                .map_or("", |value| value.written.as_str());
            let hidden = setting.kind == Kind::Secret && !written.is_empty();
            (setting.name, if hidden { "<secret>" } else { written })
        })
    }

    /// Returns whether the setting has a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns whether the setting has the value that it has when nobody sets it.
    pub fn is_default(&self, name: &str) -> bool {
        let origin = self.values.get(name).map(|value| &value.origin);
        origin.is_none_or(Option::is_none)
    }

    /// Returns a mistake in the value of a setting that only its user can see, with the place where the value stands.
    pub fn mistake(&self, name: &str, what: impl Into<String>) -> Mistake {
        let origin = self.values.get(name).and_then(|value| value.origin.clone());
        Mistake {
            origin: origin.unwrap_or_else(|| Origin::Flag(format!("--{name}"))),
            what: what.into(),
        }
    }

    /// Returns a text, address or choice; `None` when unset.
    pub fn optional_text(&self, name: &str) -> Option<&str> {
        self.find(name).map(|checked| match checked {
            Checked::Text(text) => text.as_str(),
            other => wrong_kind(name, other),
        })
    }

    /// Returns a text, address or choice that has a default.
    pub fn text(&self, name: &str) -> &str {
        self.optional_text(name).unwrap_or_else(|| unset(name))
    }

    /// Returns texts; none when unset.
    pub fn texts(&self, name: &str) -> &[String] {
        self.find(name).map_or(&[], |checked| match checked {
            Checked::Texts(texts) => texts,
            other => wrong_kind(name, other),
        })
    }

    /// Returns a secret; `None` when unset.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.optional_text(name).map(Secret::new)
    }

    /// Returns a path; `None` when unset.
    pub fn optional_path(&self, name: &str) -> Option<&Path> {
        self.find(name).map(|checked| match checked {
            Checked::Path(path) => path.as_path(),
            other => wrong_kind(name, other),
        })
    }

    /// Returns a path that has a default.
    pub fn path(&self, name: &str) -> &Path {
        self.optional_path(name).unwrap_or_else(|| unset(name))
    }

    /// Returns a duration that has a default.
    pub fn duration(&self, name: &str) -> Duration {
        self.optional_duration(name).unwrap_or_else(|| unset(name))
    }

    /// Returns a duration; `None` when unset.
    pub fn optional_duration(&self, name: &str) -> Option<Duration> {
        self.find(name).map(|checked| match checked {
            Checked::Duration(duration) => *duration,
            other => wrong_kind(name, other),
        })
    }

    /// Returns a size or a whole number; `None` when unset.
    pub fn optional_number(&self, name: &str) -> Option<u64> {
        self.find(name).map(|checked| match checked {
            Checked::Number(number) => *number,
            other => wrong_kind(name, other),
        })
    }

    /// Returns a size or a whole number that has a default.
    pub fn number(&self, name: &str) -> u64 {
        self.optional_number(name).unwrap_or_else(|| unset(name))
    }

    /// Returns a switch; off when unset.
    pub fn switch(&self, name: &str) -> bool {
        self.find(name).is_some_and(|checked| match checked {
            Checked::Switch(on) => *on,
            other => wrong_kind(name, other),
        })
    }

    /// Returns a regular expression; `None` when unset.
    pub fn pattern(&self, name: &str) -> Option<&Regex> {
        self.find(name).map(|checked| match checked {
            Checked::Pattern(pattern) => pattern,
            other => wrong_kind(name, other),
        })
    }

    fn find(&self, name: &str) -> Option<&Checked> {
        debug_assert!(
            self.definitions.iter().any(|setting| setting.name == name),
            "{name} is not a setting"
        );
        self.values.get(name).map(|value| &value.checked)
    }
}

/// Returns the texts of a list as lines, or what is none.
fn lines_of(nodes: &[Node]) -> Result<String, &Node> {
    let texts = nodes.iter().map(|node| match &node.value {
        NodeValue::Scalar(text) => Ok(text.as_str()),
        NodeValue::Null | NodeValue::List(_) | NodeValue::Map(_) => Err(node),
    });
    Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// A mistake of the program, not of its user: found by the first test that reads the setting.
fn wrong_kind(name: &str, value: &Checked) -> ! {
    panic!("setting {name} is read as another kind than it is: {value:?}")
}

fn unset(name: &str) -> ! {
    panic!("setting {name} is read as if it had a default")
}

/// What the names of our environment variables begin with.
const PREFIX: &str = "PROMONTORY_";

/// Values under assembly; later sources overwrite earlier ones.
struct Assembly<'a> {
    definitions: &'a [Setting],
    values: BTreeMap<&'static str, Value>,
    mistakes: Vec<Mistake>,
}

impl Assembly<'_> {
    fn take_defaults(&mut self) {
        for setting in self.definitions {
            if let Some(default) = setting.default {
                let checked = setting.kind.check(default);
                let checked = checked.unwrap_or_else(|error| {
                    panic!("the default of {} is wrong: {error}", setting.name)
                });
                let value = Value {
                    checked,
                    written: default.to_owned(),
                    origin: None,
                };
                self.values.insert(setting.name, value);
            }
        }
    }

    fn take_environment(&mut self, environment: &Environment, report: bool) {
        let known: Vec<(String, Setting)> = self
            .definitions
            .iter()
            .map(|setting| (setting.variable(), *setting))
            .collect();
        for (name, text) in environment
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
        {
            let origin = || Origin::Variable(name.clone());
            match known.iter().find(|(variable, _)| variable == name) {
                Some((_, setting)) => self.take(setting, text, origin, report),
                // Variables of the other program, and of tests, share the prefix: only what looks mistyped is refused.
                None => {
                    // What all have in common says nothing about likeness.
                    let own = |name| str::strip_prefix(name, PREFIX).unwrap_or(name);
                    let known = known.iter().map(|(variable, _)| own(variable.as_str()));
                    if let Some(near) = nearest(own(name), known).filter(|_| report) {
                        let what = format!("unknown variable; did you mean {PREFIX}{near}?");
                        self.mistakes.push(Mistake {
                            origin: origin(),
                            what,
                        });
                    }
                }
            }
        }
    }

    fn take_flags(&mut self, flags: &[(String, String)], report: bool) {
        for (name, text) in flags {
            if let Some(setting) = self
                .definitions
                .iter()
                .find(|setting| setting.name == name)
                .copied()
            {
                self.take(&setting, text, || Origin::Flag(format!("--{name}")), report);
            }
        }
    }

    fn take(&mut self, setting: &Setting, text: &str, origin: impl Fn() -> Origin, report: bool) {
        match setting.kind.check(text) {
            Ok(checked) => {
                let value = Value {
                    checked,
                    written: text.to_owned(),
                    origin: Some(origin()),
                };
                self.values.insert(setting.name, value);
            }
            Err(what) if report => self.mistakes.push(Mistake {
                origin: origin(),
                what,
            }),
            Err(_) => {}
        }
    }

    fn take_file(&mut self, sections: &[&str]) -> Option<(PathBuf, String)> {
        let Checked::Path(path) = &self.values.get("config.file")?.checked else {
            return None;
        };
        let path = path.clone();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let origin = Origin::File {
                    path,
                    at: Position::default(),
                };
                self.mistakes.push(Mistake {
                    origin,
                    what: format!("cannot read the configuration file: {error}"),
                });
                return None;
            }
        };
        match parse_yaml(&path, &text) {
            Ok(root) => self.walk(&path, "", &root, sections),
            Err(mistake) => self.mistakes.push(mistake),
        }
        Some((path, text))
    }

    /// Takes the values below `prefix`; maps nest where the names of settings have dots.
    fn walk(&mut self, path: &Path, prefix: &str, node: &Node, sections: &[&str]) {
        let entries = match &node.value {
            NodeValue::Null => return,
            NodeValue::Map(entries) => entries,
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                let origin = Origin::File {
                    path: path.to_owned(),
                    at: node.at,
                };
                let what = format!(
                    "expected a map with the keys {}, found {}",
                    self.keys_below(prefix).join(", "),
                    node.kind()
                );
                self.mistakes.push(Mistake { origin, what });
                return;
            }
        };
        for (key, at, value) in entries {
            if prefix.is_empty() && sections.contains(&key.as_str()) {
                continue;
            }
            let name = format!("{prefix}{}", key.replace('_', "-"));
            let origin = |at: Position| Origin::File {
                path: path.to_owned(),
                at,
            };
            let setting = self
                .definitions
                .iter()
                .find(|setting| setting.name.replace('_', "-") == name)
                .copied();
            match (setting, &value.value) {
                (Some(setting), NodeValue::Scalar(text)) => {
                    self.take(&setting, text, || origin(value.at), true)
                }
                (Some(setting), NodeValue::Null) => {
                    self.take(&setting, "", || origin(value.at), true)
                }
                (Some(setting), NodeValue::List(nodes)) if setting.kind == Kind::Texts => {
                    match lines_of(nodes) {
                        Ok(lines) => self.take(&setting, &lines, || origin(value.at), true),
                        Err(odd) => self.mistakes.push(Mistake {
                            origin: origin(odd.at),
                            what: format!("expected a text, found {}", odd.kind()),
                        }),
                    }
                }
                // A setting may stand above others: `collector: {cpu: false}`, `collector: {cpu: {info: true}}`.
                (Some(_), NodeValue::Map(_)) if self.has_below(&name) => {
                    self.walk(path, &format!("{name}."), value, sections);
                }
                (Some(setting), NodeValue::List(_) | NodeValue::Map(_)) => {
                    let what = format!(
                        "expected a value for {}, found {}",
                        setting.name,
                        value.kind()
                    );
                    self.mistakes.push(Mistake {
                        origin: origin(value.at),
                        what,
                    });
                }
                (None, _) if self.has_below(&name) => {
                    self.walk(path, &format!("{name}."), value, sections);
                }
                (None, _) => {
                    let what = self.unknown_key(prefix, key, &name, sections);
                    self.mistakes.push(Mistake {
                        origin: origin(*at),
                        what,
                    });
                }
            }
        }
    }

    fn has_below(&self, name: &str) -> bool {
        !self.keys_below(&format!("{name}.")).is_empty()
    }

    fn unknown_key(&self, prefix: &str, key: &str, name: &str, sections: &[&str]) -> String {
        let mut accepted = self.keys_below(prefix);
        if prefix.is_empty() {
            accepted.extend(sections.iter().map(|section| (*section).to_owned()));
        }
        let all = self.definitions.iter().map(|setting| setting.name);
        let meant =
            nearest(name, all).or_else(|| nearest(key, accepted.iter().map(String::as_str)));
        let hint = meant
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        format!(
            "unknown key {key:?}{hint} (accepted here: {})",
            accepted.join(", ")
        )
    }

    /// The keys that may stand in the map at `prefix`, which is empty or ends with a dot.
    fn keys_below(&self, prefix: &str) -> Vec<String> {
        let below = self
            .definitions
            .iter()
            .filter_map(|setting| setting.name.strip_prefix(prefix));
        let mut keys: Vec<String> = below
            .filter_map(|rest| rest.split('.').next())
            .map(str::to_owned)
            .collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITIONS: &[Setting] = &[
        Setting {
            name: "config.file",
            kind: Kind::Path,
            default: None,
            value_name: "FILE",
            help: "",
        },
        Setting {
            name: "storage.path",
            kind: Kind::Path,
            default: Some("data"),
            value_name: "DIR",
            help: "",
        },
        Setting {
            name: "storage.retention.time",
            kind: Kind::Duration(Duration::from_secs(3600), Duration::from_secs(1 << 32)),
            default: Some("15d"),
            value_name: "DURATION",
            help: "",
        },
        Setting {
            name: "web.listen-address",
            kind: Kind::Address,
            default: Some("127.0.0.1:9090"),
            value_name: "A",
            help: "",
        },
        Setting {
            name: "web.enable-lifecycle",
            kind: Kind::Switch,
            default: Some("false"),
            value_name: "",
            help: "",
        },
    ];

    struct Case {
        folder: tempfile::TempDir,
        sources: Sources,
    }

    impl Case {
        fn new(file: &str) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("f.yml");
            std::fs::write(&path, file).expect("written");
            let flags = vec![(
                "config.file".to_owned(),
                path.to_string_lossy().into_owned(),
            )];
            Self {
                folder,
                sources: Sources {
                    flags,
                    sections: vec!["scrape_configs"],
                    ..Sources::default()
                },
            }
        }

        fn flag(mut self, name: &str, value: &str) -> Self {
            self.sources.flags.push((name.to_owned(), value.to_owned()));
            self
        }

        fn environment(mut self, variables: &[(&str, &str)]) -> Self {
            self.sources.environment = Environment::of(variables);
            self
        }

        fn assemble(&self) -> Result<Settings, String> {
            let assembled = Settings::assemble(DEFINITIONS.to_vec(), self.sources.clone());
            assembled.map_err(|mistakes| {
                mistakes
                    .to_string()
                    .replace(&format!("{}/", self.folder.path().display()), "")
            })
        }
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file = "storage:\n  path: from-file\n  retention.time: 2d\nweb: {listen_address: 'f:1', enable-lifecycle: true}\nscrape_configs: [anything]";
        let variables = [
            ("PROMONTORY_STORAGE_PATH", "from-env"),
            ("PROMONTORY_WEB_LISTEN_ADDRESS", "e:1"),
            ("HOME", "/"),
        ];
        let settings = Case::new(file)
            .environment(&variables)
            .flag("storage.path", "from-flag")
            .assemble()
            .expect("valid");
        assert_eq!(settings.path("storage.path"), Path::new("from-flag"));
        assert_eq!(settings.text("web.listen-address"), "e:1");
        assert_eq!(
            settings.duration("storage.retention.time"),
            Duration::from_secs(2 * 86_400)
        );
        assert!(settings.switch("web.enable-lifecycle"));
        assert_eq!(
            settings.shown().find(|(name, _)| *name == "storage.path"),
            Some(("storage.path", "from-flag"))
        );
    }

    #[test]
    fn all_mistakes_come_together_with_their_places() {
        let case =
            Case::new("storage:\n  paht: x\n  retention: {time: 5m}\nweb: 3\nscrape_config: []\n")
                .environment(&[
                    ("PROMONTORY_STORAGE_PAHT", "x"),
                    ("PROMONTORY_WEB_LISTEN_ADDRESS", "nowhere"),
                ])
                .flag("web.enable-lifecycle", "perhaps");
        let expected = [
            "environment variable PROMONTORY_STORAGE_PAHT: unknown variable; did you mean PROMONTORY_STORAGE_PATH?",
            "environment variable PROMONTORY_WEB_LISTEN_ADDRESS: \"nowhere\" is not an address: expected HOST:PORT, such as 127.0.0.1:9090, [::1]:9090 or :9090",
            "--web.enable-lifecycle: \"perhaps\" is neither true nor false",
            "f.yml:2:3: unknown key \"paht\"; did you mean storage.path? (accepted here: path, retention)",
            "f.yml:3:21: 5m is out of range: accepted are 1h to 49710d6h28m16s",
            "f.yml:4:6: expected a map with the keys enable-lifecycle, listen-address, found a scalar",
            "f.yml:5:1: unknown key \"scrape_config\"; did you mean scrape_configs? (accepted here: config, storage, web, scrape_configs)",
        ];
        assert_eq!(case.assemble().expect_err("mistakes"), expected.join("\n"));
    }

    #[test]
    fn a_setting_may_stand_above_others() {
        const NESTED: &[Setting] = &[
            DEFINITIONS[0],
            switch("collector.cpu"),
            switch("collector.cpu.info"),
            switch("collector.stat"),
        ];
        let assemble = |file| {
            let case = Case::new(file);
            let settings = Settings::assemble(NESTED.to_vec(), case.sources.clone());
            settings.map(|settings| {
                ["collector.cpu", "collector.cpu.info"].map(|name| settings.switch(name))
            })
        };
        let both = "collector: {cpu: true, cpu.info: true}";
        assert_eq!(assemble(both).expect("valid"), [true, true]);
        let nested = "collector: {cpu: {info: true}}";
        assert_eq!(assemble(nested).expect("valid"), [false, true]);
        assert!(assemble("collector: {stat: {info: true}}").is_err());
    }

    #[test]
    fn mistakes_found_later_know_their_places_too() {
        let case = Case::new("web: {listen_address: 'f:1'}")
            .environment(&[("PROMONTORY_SPOOL_PATH", "of another program")])
            .flag("web.enable-lifecycle", "true");
        let settings = case.assemble().expect("valid");
        let mistake = |name| settings.mistake(name, "is odd").to_string();
        assert!(mistake("web.listen-address").ends_with("f.yml:1:23: is odd"));
        assert_eq!(
            mistake("web.enable-lifecycle"),
            "--web.enable-lifecycle: is odd"
        );
        assert_eq!(mistake("storage.path"), "--storage.path: is odd");
        assert!(
            settings.is_default("storage.path") && !settings.is_default("web.enable-lifecycle")
        );
    }

    const fn switch(name: &'static str) -> Setting {
        Setting {
            name,
            ..DEFINITIONS[4]
        }
    }

    #[test]
    fn a_reload_reads_the_file_again_and_a_bad_one_changes_nothing() {
        let case = Case::new("storage: {path: one}");
        let settings = case.assemble().expect("valid");
        let path = case.folder.path().join("f.yml");
        std::fs::write(&path, "storage: {path: two}").expect("written");
        assert_eq!(
            settings.reloaded().expect("valid").path("storage.path"),
            Path::new("two")
        );
        std::fs::write(&path, "nonsense: 1").expect("written");
        assert!(settings.reloaded().is_err());
        assert_eq!(settings.path("storage.path"), Path::new("one"));
        std::fs::remove_file(&path).expect("removed");
        assert!(
            settings
                .reloaded()
                .expect_err("no file")
                .to_string()
                .contains("cannot read the configuration file")
        );
    }
}
