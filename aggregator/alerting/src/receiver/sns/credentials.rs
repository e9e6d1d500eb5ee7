//! Keys by which Amazon knows who asks: those of `sigv4`, or those of a profile in the file that Amazon's own tools keep.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use super::super::rendering::{Rendered, Rendering, fail};
use crate::config::Settings;

/// A key, its secret, and the token that belongs to keys for a while; empty when there is none.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: String,
}

/// Below the home folder.
const FILE: &str = ".aws/credentials";
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The profile that is meant when none is named.
const DEFAULT: &str = "default";

impl Keys {
    /// Returns the keys that the section `sigv4` asks for.
    pub(super) fn of(rendering: &Rendering<'_>, sigv4: &Settings) -> Rendered<Self> {
        if let Some(secret_key) = rendering.secret_of(sigv4, "secret_key", "")? {
            return Ok(Self {
                access_key: sigv4.text("access_key").to_owned(),
                secret_key,
                session_token: String::new(),
            });
        }
        let profile = match sigv4.text("profile") {
            "" => DEFAULT,
            profile => profile,
        };
        let keys = Self::of_profile(profile)?;
        rendering.hide(&keys.secret_key);
        if !keys.session_token.is_empty() {
            rendering.hide(&keys.session_token);
        }
        Ok(keys)
    }

    fn of_profile(profile: &str) -> Rendered<Self> {
        let home = std::env::home_dir().unwrap_or_default();
        let path: PathBuf = home.join(FILE);
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        let shown = path.display();
        read.map_err(|error| {
            fail(format!(
                "cannot read the keys of profile {profile} in {shown}: {error}; or give access_key and secret_key in sigv4"
            ))
        })?;
        Self::in_file(&text, profile).ok_or_else(|| {
            fail(format!(
                "{shown} has no aws_access_key_id and aws_secret_access_key below [{profile}]"
            ))
        })
    }

    /// Finds the keys of a profile: sections in brackets, and lines `name = value` below them.
    fn in_file(text: &str, profile: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim);
        let mut lines = lines.skip_while(|line| section(line) != Some(profile));
        lines.next()?;
        let (mut access_key, mut secret_key) = (None, None);
        let mut session_token = String::new();
        for line in lines.take_while(|line| section(line).is_none()) {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().to_owned();
            match name.trim() {
                "aws_access_key_id" => access_key = Some(value),
                "aws_secret_access_key" => secret_key = Some(value),
                "aws_session_token" => session_token = value,
                _ => {}
            }
        }
        Some(Self {
            access_key: access_key?,
            secret_key: secret_key?,
            session_token,
        })
    }
}

/// Returns the name of the section that a line begins.
fn section(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_in_the_file_of_amazons_tools() {
        let text = "
# Mine.
[default]
aws_access_key_id = a
aws_secret_access_key=b==

[ ops ]
region = eu-west-1
# aws_access_key_id = no
aws_session_token = t
aws_secret_access_key = d
aws_access_key_id = c

[half]
aws_access_key_id = e
[empty]";
        let find = |profile| {
            let keys = Keys::in_file(text, profile)?;
            Some([keys.access_key, keys.secret_key, keys.session_token].join(" "))
        };
        assert_eq!(find("default").as_deref(), Some("a b== "));
        assert_eq!(find("ops").as_deref(), Some("c d t"));
        for profile in ["half", "empty", "other", ""] {
            assert_eq!(find(profile), None, "{profile}");
        }
    }
}
