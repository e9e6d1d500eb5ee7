//! Settings by name, read after a table that says what each one is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use config::{Node, NodeValue, Secret};

use super::reader::check_url;
use super::schema::TLS;
use super::{Reader, http};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A text, which may be a template.
    Text(String),
    /// A text that does not print.
    Secret(Secret),
    /// A file, its path complete.
    File(PathBuf),
    /// A truth value.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A duration.
    Duration(Duration),
    /// Several texts.
    Texts(Vec<String>),
    /// Texts by name.
    Map(BTreeMap<String, String>),
    /// Any YAML; its texts may be templates.
    Tree(Node),
    /// Settings of a part.
    Group(Settings),
    /// Settings of several parts.
    Groups(Groups),
}

/// The settings of several parts alike.
pub type Groups = Vec<Settings>;

/// Settings by name: those that are given or have a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Setting>);

/// A secret that is given, or the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential<'s> {
    /// It is given.
    Inline(&'s Secret),
    /// It is in a file, which may change.
    File(&'s PathBuf),
}

impl Credential<'_> {
    /// Returns the secret; a file is read anew, space around its content is left out.
    pub fn read(&self) -> io::Result<Secret> {
        match self {
            Self::Inline(secret) => Ok((*secret).clone()),
            Self::File(path) => std::fs::read_to_string(path).map(|text| Secret::new(text.trim())),
        }
    }
}

impl Settings {
    /// Returns the setting called `name`.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name)
    }

    /// Returns a text; an empty one when there is none.
    pub fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Setting::Text(text)) => text,
            _ => "",
        }
    }

    /// Returns a truth value; false when there is none.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Setting::Flag(true)))
    }

    /// Returns a whole number; 0 when there is none.
    pub fn integer(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Setting::Integer(number)) => *number,
            _ => 0,
        }
    }

    /// Returns the settings of a part.
    pub fn group(&self, name: &str) -> Option<&Self> {
        match self.get(name) {
            Some(Setting::Group(group)) => Some(group),
            _ => None,
        }
    }

    /// Returns the settings of several parts.
    pub fn groups(&self, name: &str) -> &[Self] {
        match self.get(name) {
            Some(Setting::Groups(groups)) => groups,
            _ => &[],
        }
    }

    /// Returns texts by name.
    pub fn map(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        match self.get(name) {
            Some(Setting::Map(map)) => Some(map),
            _ => None,
        }
    }

    /// Returns a secret that is called `name`, or whose file is called `file`.
    pub fn credential(&self, name: &str, file: &str) -> Option<Credential<'_>> {
        match (self.get(name), self.get(file)) {
            (Some(Setting::Secret(secret)), _) if !secret.expose().is_empty() => {
                Some(Credential::Inline(secret))
            }
            (_, Some(Setting::File(path))) => Some(Credential::File(path)),
            _ => None,
        }
    }

    /// Whether there is a value, and it is not an empty text.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Setting::Text(text)) => !text.is_empty(),
            Some(Setting::Secret(secret)) => !secret.expose().is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    pub(crate) fn set(&mut self, name: &'static str, setting: Setting) {
        self.0.insert(name, setting);
    }

    /// Takes the value of `theirs` for `name`, when there is one and none here.
    pub(crate) fn inherit(&mut self, name: &'static str, from: &Self, theirs: &str) {
        if !self.has(name)
            && let Some(setting) = from.get(theirs)
        {
            self.set(name, setting.clone());
        }
    }
}

/// What a setting is called, what it is, and what it is when it is not given.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text(Option<&'static str>),
    Secret,
    File,
    Url(Option<&'static str>),
    SecretUrl,
    /// A URL that may be a template.
    SecretTemplateUrl,
    Flag(Option<bool>),
    Integer,
    /// A whole number that is not negative.
    Count,
    Duration,
    GoDuration,
    /// A duration in Go's form that needs a unit; the default in seconds.
    UnitDuration(Option<u64>),
    Texts,
    Map,
    Tree,
    /// Any YAML that is a map.
    MapTree,
    Address,
    /// A client of TLS.
    Tls,
    TlsVersion,
    Group(&'static [Field]),
    Groups(&'static [Field]),
    /// A group, or a text for the first setting of it.
    TextOrGroup(&'static [Field], &'static str),
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) => $kind:expr;)*) => {
        impl Field {
            $($(#[$doc])* pub(crate) const fn $name(name: &'static str, $($argument: $type),*) -> Self {
                Self { name, kind: $kind }
            })*
        }
    };
}

constructors! {
    text() => Kind::Text(None);
    text_or(default: &'static str) => Kind::Text(Some(default));
    secret() => Kind::Secret;
    file() => Kind::File;
    url() => Kind::Url(None);
    url_or(default: &'static str) => Kind::Url(Some(default));
    secret_url() => Kind::SecretUrl;
    secret_template_url() => Kind::SecretTemplateUrl;
    flag() => Kind::Flag(None);
    flag_or(default: bool) => Kind::Flag(Some(default));
    integer() => Kind::Integer;
    count() => Kind::Count;
    duration() => Kind::Duration;
    go_duration() => Kind::GoDuration;
    unit_duration() => Kind::UnitDuration(None);
    /// `default` in seconds.
    unit_duration_or(default: u64) => Kind::UnitDuration(Some(default));
    texts() => Kind::Texts;
    map() => Kind::Map;
    tree() => Kind::Tree;
    map_tree() => Kind::MapTree;
    /// `host:port`.
    address() => Kind::Address;
    tls() => Kind::Tls;
    tls_version() => Kind::TlsVersion;
    group(fields: &'static [Field]) => Kind::Group(fields);
    groups(fields: &'static [Field]) => Kind::Groups(fields);
    text_or_group(fields: &'static [Field], default: &'static str) => Kind::TextOrGroup(fields, default);
}

/// Adds the names of settings that do not print, those of parts included.
pub(crate) fn add_secret_names(fields: &[Field], names: &mut BTreeSet<&'static str>) {
    for field in fields {
        match field.kind {
            Kind::Secret | Kind::SecretUrl | Kind::SecretTemplateUrl => {
                names.insert(field.name);
            }
            Kind::Group(fields) | Kind::Groups(fields) | Kind::TextOrGroup(fields, _) => {
                add_secret_names(fields, names);
            }
            Kind::Tls => add_secret_names(TLS, names),
            _ => {}
        }
    }
}

impl Field {
    fn default(&self) -> Option<Setting> {
        Some(match self.kind {
            Kind::Text(default) | Kind::Url(default) => Setting::Text(default?.to_owned()),
            Kind::Flag(default) => Setting::Flag(default?),
            Kind::UnitDuration(seconds) => Setting::Duration(Duration::from_secs(seconds?)),
            Kind::TextOrGroup(fields, default) => {
                let mut group = Settings::default();
                group.set(fields.first()?.name, Setting::Text(default.to_owned()));
                Setting::Group(group)
            }
            _ => return None,
        })
    }

    fn read(&self, reader: &mut Reader<'_>, node: &Node, place: &str) -> Option<Setting> {
        Some(match self.kind {
            Kind::Text(_) => Setting::Text(reader.text(node)?),
            Kind::Secret => Setting::Secret(Secret::new(reader.text(node)?)),
            Kind::File => Setting::File(reader.file(node)?),
            Kind::Url(_) => Setting::Text(reader.url(node)?),
            Kind::SecretUrl => {
                let text = reader.text(node)?;
                if text != SECRET
                    && let Err(error) = check_url(&text)
                {
                    return reader.refuse(node.at, error);
                }
                Setting::Secret(Secret::new(text))
            }
            Kind::SecretTemplateUrl => {
                let text = reader.text(node)?;
                if let Err(error) = check_template_url(&text) {
                    return reader.refuse(node.at, error);
                }
                Setting::Secret(Secret::new(text))
            }
            Kind::Flag(_) => Setting::Flag(reader.flag(node)?),
            Kind::Integer => Setting::Integer(reader.integer(node)?),
            Kind::Count => match reader.integer(node)? {
                negative @ ..0 => {
                    return reader.refuse(node.at, format!("{negative} is less than 0"));
                }
                count => Setting::Integer(count),
            },
            Kind::Duration => Setting::Duration(reader.duration(node)?),
            Kind::GoDuration => Setting::Duration(reader.go_duration(node)?),
            Kind::UnitDuration(_) => {
                let text = reader.text(node)?;
                if text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return reader
                        .refuse(node.at, format!("time: missing unit in duration {text:?}"));
                }
                Setting::Duration(reader.go_duration(node)?)
            }
            Kind::Texts => Setting::Texts(reader.texts(node)?),
            Kind::Map => Setting::Map(reader.map(node)),
            Kind::Tree | Kind::MapTree if matches!(node.value, NodeValue::Null) => return None,
            Kind::MapTree if !matches!(node.value, NodeValue::Map(_)) => {
                let found = node.kind();
                return reader.refuse(node.at, format!("expected a map, found {found}"));
            }
            Kind::Tree | Kind::MapTree => Setting::Tree(node.clone()),
            Kind::Address => {
                let text = reader.text(node).filter(|text| !text.is_empty())?;
                if let Err(error) = check_address(&text) {
                    return reader.refuse(node.at, error);
                }
                Setting::Text(text)
            }
            Kind::TlsVersion => {
                let text = reader.text(node)?;
                if !TLS_VERSIONS.contains(&text.as_str()) {
                    return reader.refuse(node.at, format!("unknown TLS version: {text}"));
                }
                Setting::Text(text)
            }
            Kind::Group(_) | Kind::Tls if matches!(node.value, NodeValue::Null) => return None,
            Kind::Tls => {
                let tls = Settings::read(reader, node, TLS, place);
                if let Some(message) = http::tls_conflict(&tls) {
                    reader.refuse::<()>(node.at, message);
                }
                Setting::Group(tls)
            }
            Kind::Group(fields) => Setting::Group(Settings::read(reader, node, fields, place)),
            Kind::Groups(fields) => {
                let items = reader.items(node)?;
                Setting::Groups(
                    items
                        .iter()
                        .map(|item| Settings::read(reader, item, fields, place))
                        .collect(),
                )
            }
            Kind::TextOrGroup(fields, default) => {
                if !matches!(node.value, NodeValue::Scalar(_)) {
                    let mut group = Settings::read(reader, node, fields, place);
                    if let Some(first) = fields
                        .first()
                        .filter(|first| group.get(first.name).is_none())
                    {
                        group.set(first.name, Setting::Text(default.to_owned()));
                    }
                    return Some(Setting::Group(group));
                }
                let mut group = Settings::default();
                group.set(fields.first()?.name, Setting::Text(reader.text(node)?));
                Setting::Group(group)
            }
        })
    }
}

const TLS_VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];

/// What Alertmanager prints in place of a secret; it is taken back as one.
const SECRET: &str = "<secret>";

fn check_template_url(text: &str) -> Result<(), String> {
    if text.is_empty() || text == SECRET {
        return Ok(());
    }
    if is_template(text).map_err(|error| format!("invalid template syntax: {error}"))? {
        return Ok(());
    }
    check_url(text).map_err(|error| format!("invalid URL: {error}"))
}

/// Whether `text` has actions of a template; `Err` says what is wrong with them.
pub(super) fn is_template(text: &str) -> Result<bool, String> {
    if !text.contains("{{") {
        return Ok(false);
    }
    template::Templates::new(template::NOTIFICATION_FUNCTIONS)
        .compile("", text, template::Mode::Text, &[])
        .map(|_| true)
        .map_err(|error| error.to_string())
}

fn check_address(text: &str) -> Result<(), String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("address {text}: missing port in address"))?;
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(format!("address {text}: too many colons in address"));
    }
    if port.is_empty() {
        return Err(format!("address {text:?}: port cannot be empty"));
    }
    Ok(())
}

impl Settings {
    /// Reads the settings that `fields` lists; `place` is what messages call them.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        node: &Node,
        fields: &'static [Field],
        place: &str,
    ) -> Self {
        let mut settings = Self::default();
        for field in fields {
            if let Some(default) = field.default() {
                settings.set(field.name, default);
            }
        }
        for (key, at, value) in reader.entries(node) {
            match fields.iter().find(|field| field.name == key) {
                Some(field) => {
                    if let Some(setting) = field.read(reader, value, &format!("{place} {key}")) {
                        settings.set(field.name, setting);
                    }
                }
                None => reader.unknown(at, key, place, fields.iter().map(|field| field.name)),
            }
        }
        settings
    }
}
