//! The grammar of push paths.
//!
//! ```text
//! /metrics/job/JOB                 percent-encoding is undone first, so %2F is a slash
//! /metrics/job/JOB/NAME/VALUE...   more grouping labels, in any order
//! /metrics/job@base64/JOB/...      after any name: the next part is base64 with the URL's alphabet, padding optional
//! ```

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::{GroupKey, Names};

/// What marks a name whose value is base64.
const BASE64_SUFFIX: &str = "@base64";
/// The longest key, names and values together: it is part of every series of its group.
const KEY_BYTES_MAX: usize = 16 * 1024;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a path names no group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not the path of a group at all.
    #[error("not the path of a group: that is /metrics/job/JOB{{/LABEL/VALUE}}")]
    NoGroup,
    /// A label has no value.
    #[error("odd number of components in label string {0:?}")]
    Odd(String),
    /// A name cannot be a label's.
    #[error("improper label name {0:?}")]
    Name(String),
    /// A value is not the base64 that it is said to be.
    #[error("invalid base64 encoding for label {name}={value:?}: {reason}")]
    Base64 {
        /// The label.
        name: String,
        /// What stands for its value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// The job is empty.
    #[error("job name is required")]
    NoJob,
    /// The path means bytes that are no text.
    #[error("the path is not UTF-8 once its percent-encoding is undone")]
    NotText,
    /// The key would be part of every series.
    #[error(
        "the grouping labels have {bytes} bytes, and at most {KEY_BYTES_MAX} are taken; shorten them"
    )]
    TooLong {
        /// Their length.
        bytes: usize,
    },
}

/// Returns the group that a path names; `path` begins with `/metrics`, and is still percent-encoded.
pub fn parse_path(path: &str, names: Names) -> Result<GroupKey, PathError> {
    let path = undo_percent(path)?;
    let rest = path.strip_prefix("/metrics/").ok_or(PathError::NoGroup)?;
    let (first, rest) = rest.split_once('/').ok_or(PathError::NoGroup)?;
    let is_base64 = match first.strip_prefix("job") {
        Some("") => false,
        Some(BASE64_SUFFIX) => true,
        _ => return Err(PathError::NoGroup),
    };
    let (job, labels) = rest.split_once('/').unwrap_or((rest, ""));
    if job.is_empty() {
        return Err(PathError::NoGroup);
    }
    let mut pairs = pairs(labels, names)?;
    let job = value("job", job, is_base64)?;
    if job.is_empty() {
        return Err(PathError::NoJob);
    }
    pairs.push(("job".to_owned(), job));
    let key = GroupKey::new(pairs);
    match key.text_bytes() {
        bytes if bytes > KEY_BYTES_MAX => Err(PathError::TooLong { bytes }),
        _ => Ok(key),
    }
}

fn pairs(labels: &str, names: Names) -> Result<Vec<(String, String)>, PathError> {
    if labels.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = labels.split('/').collect();
    let (pairs, []) = parts.as_chunks() else {
        return Err(PathError::Odd(format!("/{labels}")));
    };
    let pair = |[name, text]: &[&str; 2]| {
        let (name, is_base64) = match name.strip_suffix(BASE64_SUFFIX) {
            Some(name) => (name, true),
            None => (*name, false),
        };
        let name = names.of_path(name);
        if !names.accept_label(&name) {
            return Err(PathError::Name(name));
        }
        let value = value(&name, text, is_base64)?;
        Ok((name, value))
    };
    pairs.iter().map(pair).collect()
}

fn value(name: &str, text: &str, is_base64: bool) -> Result<String, PathError> {
    if !is_base64 {
        return Ok(text.to_owned());
    }
    let bad = |reason: String| PathError::Base64 {
        name: name.to_owned(),
        value: text.to_owned(),
        reason,
    };
    let bytes = BASE64
        .decode(text.trim_end_matches('='))
        .map_err(|error| bad(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| bad("it means bytes that are not UTF-8".to_owned()))
}

fn undo_percent(text: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let escaped = match after {
            [high, low, after @ ..] if *byte == b'%' => {
                hex(*high).zip(hex(*low)).map(|digits| (digits, after))
            }
            _ => None,
        };
        match escaped {
            Some(((high, low), after)) => {
                out.push(high << 4 | low);
                rest = after;
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).map_err(|_| PathError::NotText)
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_name_groups() {
        for (path, meant) in [
            ("/metrics/job/a", r#"{job="a"}"#),
            ("/metrics/job/a/", r#"{job="a"}"#),
            ("/metrics/job/a/x/1/b/2", r#"{b="2",job="a",x="1"}"#),
            ("/metrics/job/a/x/", r#"{job="a",x=""}"#),
            ("/metrics/job/a/x/1/x/2", r#"{job="a",x="2"}"#),
            ("/metrics/job/a/job/b", r#"{job="a"}"#),
            ("/metrics/job@base64/L3Zhci90bXA", r#"{job="/var/tmp"}"#),
            ("/metrics/job/a/x@base64/=", r#"{job="a",x=""}"#),
            ("/metrics/job/%C3%BC%20+", r#"{job="ü +"}"#),
            ("/metrics/job/a%2Fx%2F1", r#"{job="a",x="1"}"#),
            ("/metrics/job/%zz", r#"{job="%zz"}"#),
        ] {
            let key = parse_path(path, Names::Classic).unwrap();
            assert_eq!(key.to_string(), meant, "{path}");
        }
        let dotted = parse_path("/metrics/job/a/U__x_2e_y/1", Names::Utf8).unwrap();
        assert_eq!(dotted.get("x.y"), Some("1"));
    }

    #[test]
    fn other_paths_are_refused_with_a_reason() {
        for (path, reason) in [
            ("/metrics", "not the path of a group"),
            ("/metrics/job", "not the path of a group"),
            ("/metrics/job/", "not the path of a group"),
            ("/metrics/job//x/1", "not the path of a group"),
            ("/metrics/jobs/a", "not the path of a group"),
            (
                "/metrics/job/a/x",
                "odd number of components in label string \"/x\"",
            ),
            ("/metrics/job/a/x/1/y", "odd number of components"),
            ("/metrics/job/a/__x/1", "improper label name \"__x\""),
            ("/metrics/job/a/a-b/1", "improper label name \"a-b\""),
            ("/metrics/job/a//1", "improper label name \"\""),
            ("/metrics/job@base64/=", "job name is required"),
            (
                "/metrics/job@base64/a!",
                "invalid base64 encoding for label job",
            ),
            ("/metrics/job@base64/_w", "not UTF-8"),
            ("/metrics/job/%FF", "not UTF-8"),
        ] {
            let error = parse_path(path, Names::Classic).unwrap_err().to_string();
            assert!(error.contains(reason), "{path}: {error}");
        }
        let long = format!("/metrics/job/{}", "x".repeat(KEY_BYTES_MAX));
        assert!(matches!(
            parse_path(&long, Names::Classic),
            Err(PathError::TooLong { .. })
        ));
    }

    /// A part of a path that means `text`, written in one of the ways there are.
    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "(/metrics/job(@base64)?)?[/a-z0-9%@=_-]{0,40}") {
            if let Ok(key) = parse_path(&path, Names::Classic) {
                prop_assert!(key.get("job").is_some_and(|job| !job.is_empty()));
                prop_assert!(key.iter().all(|(name, _)| Names::Classic.accept_label(name)));
            }
        }

        #[test]
        fn however_labels_are_written_they_mean_the_same(
            job in "[^/]{1,8}",
            labels in prop::collection::btree_map("[a-z]{1,3}", "[^/]{0,8}", 0..4),
            padded in any::<bool>(),
        ) {
            let mut labels = labels;
            labels.remove("job");
            let engine = if padded { URL_SAFE } else { URL_SAFE_NO_PAD };
            let encode = |text: &str| match engine.encode(text) {
                empty if empty.is_empty() => "=".to_owned(),
                text => text,
            };
            let mut as_base64 = format!("/metrics/job@base64/{}", encode(&job));
            let mut as_percent = format!("/metrics/job/{}", percent(&job));
            for (name, value) in &labels {
                as_base64.push_str(&format!("/{name}@base64/{}", encode(value)));
            }
            for (name, value) in labels.iter().rev() {
                as_percent.push_str(&format!("/{name}/{}", percent(value)));
            }
            let meant = GroupKey::new(
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("job", job.as_str())]),
            );
            prop_assert_eq!(parse_path(&as_base64, Names::Classic), Ok(meant.clone()));
            prop_assert_eq!(parse_path(&as_percent, Names::Classic), Ok(meant));
        }
    }
}
