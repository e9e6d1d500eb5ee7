//! One setting: its name, what it may be, its default.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use model::{format_duration, parse_duration};
use regex::Regex;

use crate::{format_size, parse_size};

/// A setting of a program: a flag, an environment variable and a key of the configuration file in one.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, such as `storage.path`; also the key, with a map per dot.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Its default, as it would be written; `None`: unset unless given.
    pub default: Option<&'static str>,
    /// What stands for the value in the help, such as `DIR`.
    pub value_name: &'static str,
    /// One or two sentences: what it does, its bounds, what happens at them.
    pub help: &'static str,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Texts: the flag comes once for each, the file has a list, a variable has a line for each.
    Texts,
    /// A text that does not print.
    Secret,
    /// A file or folder.
    Path,
    /// `HOST:PORT` to listen on or connect to; resolved when used.
    Address,
    /// A duration in Prometheus' form, within these bounds.
    Duration(Duration, Duration),
    /// A size in bytes, within these bounds.
    Size(u64, u64),
    /// A whole number, within these bounds.
    Integer(u64, u64),
    /// Yes or no: `--name`, `--no-name`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A regular expression, not anchored.
    Pattern,
}

/// A value that has been checked.
#[derive(Clone, Debug)]
pub enum Checked {
    /// Of [`Kind::Text`], [`Kind::Secret`], [`Kind::Address`] and [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Path`].
    Path(PathBuf),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Size`] and [`Kind::Integer`].
    Number(u64),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Pattern`].
    Pattern(Regex),
}

impl Setting {
    /// Returns the name of the environment variable.
    pub fn variable(&self) -> String {
        format!(
            "PROMONTORY_{}",
            self.name.replace(['.', '-'], "_").to_ascii_uppercase()
        )
    }
}

impl Kind {
    /// Returns the value that `text` writes; the error says what would be accepted.
    pub fn check(self, text: &str) -> Result<Checked, String> {
        match self {
            Self::Text | Self::Secret => Ok(Checked::Text(text.to_owned())),
            Self::Texts => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                Ok(Checked::Texts(lines.map(str::to_owned).collect()))
            }
            Self::Path if text.is_empty() => Err("expected a path, found an empty text".to_owned()),
            Self::Path => Ok(Checked::Path(PathBuf::from(text))),
            Self::Address => check_address(text).map(Checked::Text),
            Self::Duration(min, max) => {
                let duration = parse_duration(text).map_err(|error| error.to_string())?;
                within(duration, min, max, text, format_duration).map(Checked::Duration)
            }
            Self::Size(min, max) => {
                within(parse_size(text)?, min, max, text, format_size).map(Checked::Number)
            }
            Self::Integer(min, max) => {
                let number = text
                    .parse()
                    .map_err(|_| format!("{text:?} is not a whole number from {min} to {max}"))?;
                within(number, min, max, text, |n| n.to_string()).map(Checked::Number)
            }
            Self::Switch => match text {
                "true" | "yes" | "on" | "1" => Ok(Checked::Switch(true)),
                "false" | "no" | "off" | "0" => Ok(Checked::Switch(false)),
                _ => Err(format!("{text:?} is neither true nor false")),
            },
            Self::Choice(words) if words.contains(&text) => Ok(Checked::Text(text.to_owned())),
            Self::Choice(words) => Err(format!("{text:?} is not one of {}", words.join(", "))),
            Self::Pattern => Regex::new(text)
                .map(Checked::Pattern)
                .map_err(|error| format!("{text:?} is not a regular expression: {error}")),
        }
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    text: &str,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if min <= value && value <= max {
        Ok(value)
    } else {
        Err(format!(
            "{text} is out of range: accepted are {} to {}",
            show(min),
            show(max)
        ))
    }
}

/// `:9090` means every address, as in Go.
fn check_address(text: &str) -> Result<String, String> {
    let refuse = || {
        format!(
            "{text:?} is not an address: expected HOST:PORT, such as 127.0.0.1:9090, [::1]:9090 or :9090"
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
    port.parse::<u16>().map_err(|_| refuse())?;
    let is_ip = text.parse::<SocketAddr>().is_ok();
    let is_name = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match (host, is_ip || is_name) {
        ("", _) => Ok(format!("[::]:{port}")),
        (_, true) => Ok(text.to_owned()),
        (_, false) => Err(refuse()),
    }
}

impl Checked {
    /// Returns the addresses that a checked address stands for now; looks the name up, so it may block.
    pub fn resolve(text: &str) -> std::io::Result<Vec<SocketAddr>> {
        text.to_socket_addrs().map(Iterator::collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_errors_say_what_is_accepted() {
        let second = Duration::from_secs(1);
        for (kind, good, bad, message) in [
            (
                Kind::Address,
                "localhost:1",
                "localhost",
                "expected HOST:PORT",
            ),
            (Kind::Address, "[::1]:80", "a b:80", "expected HOST:PORT"),
            (Kind::Address, ":80", "h:70000", "expected HOST:PORT"),
            (
                Kind::Duration(second, second * 60),
                "15s",
                "2m",
                "accepted are 1s to 1m",
            ),
            (
                Kind::Size(1, 1 << 20),
                "1KB",
                "2MB",
                "accepted are 1B to 1MiB",
            ),
            (Kind::Integer(1, 9), "9", "ten", "whole number from 1 to 9"),
            (Kind::Switch, "true", "maybe", "neither true nor false"),
            (
                Kind::Choice(&["info", "warn"]),
                "warn",
                "loud",
                "not one of info, warn",
            ),
            (Kind::Pattern, "^a$", "(", "not a regular expression"),
            (Kind::Path, "data", "", "expected a path"),
        ] {
            assert!(kind.check(good).is_ok(), "{good}");
            let refused = kind.check(bad).expect_err(bad);
            assert!(refused.contains(message), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_setting_names_its_variable() {
        let setting = Setting {
            name: "web.listen-address",
            kind: Kind::Address,
            default: None,
            value_name: "A",
            help: "",
        };
        assert_eq!(setting.variable(), "PROMONTORY_WEB_LISTEN_ADDRESS");
    }
}
