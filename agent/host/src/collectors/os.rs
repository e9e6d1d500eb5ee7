//! The operating system: `os-release`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::timezone::days_from_civil;
use crate::{Family, Paths, Sink, scan};

static INFO: Family = Family::gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, \
     name, pretty_name, variant, variant_id, version, version_codename, version_id.",
    &[
        "build_id",
        "id",
        "id_like",
        "image_id",
        "image_version",
        "name",
        "pretty_name",
        "variant",
        "variant_id",
        "version",
        "version_codename",
        "version_id",
    ],
);
static VERSION: Family = Family::gauge(
    "node_os_version",
    "Metric containing the major.minor part of the OS version.",
    &["id", "id_like", "name"],
);
static SUPPORT_END: Family = Family::gauge(
    "node_os_support_end_timestamp_seconds",
    "Metric containing the end-of-life date timestamp of the OS.",
    &[],
);

/// In the order of the labels of [`INFO`].
const FIELDS: [&str; 12] = [
    "BUILD_ID",
    "ID",
    "ID_LIKE",
    "IMAGE_ID",
    "IMAGE_VERSION",
    "NAME",
    "PRETTY_NAME",
    "VARIANT",
    "VARIANT_ID",
    "VERSION",
    "VERSION_CODENAME",
    "VERSION_ID",
];

#[derive(Debug)]
pub(super) struct Os {
    /// The first one that is there counts.
    files: [PathBuf; 2],
}

impl Os {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            files: ["/etc/os-release", "/usr/lib/os-release"]
                .map(|file| paths.in_rootfs(Path::new(file))),
        }
    }
}

impl Collector for Os {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let bytes = self
            .files
            .iter()
            .find_map(|path| match read_once(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                found => Some(found.map_err(|error| CollectError::read(path, error))),
            })
            .ok_or(CollectError::NoData("there is no os-release file"))??;
        let release = parse(&bytes);
        let field = |name: &str| release.get(name).map_or("", String::as_str);
        sink.sample(&INFO, &FIELDS.map(field), 1.0);
        if let Some(version) = major_minor(field("VERSION_ID")) {
            sink.sample(
                &VERSION,
                &[field("ID"), field("ID_LIKE"), field("NAME")],
                version,
            );
        }
        if let Some(seconds) = date(field("SUPPORT_END")) {
            sink.sample(&SUPPORT_END, &[], seconds);
        }
        Ok(())
    }
}

/// Reads shell-like assignments; lines that are none are passed over, and the last of a name counts.
pub(super) fn parse(bytes: &[u8]) -> HashMap<String, String> {
    scan::lines(bytes)
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.starts_with(b"#"))
        .filter_map(|line| scan::split_once(line, b'='))
        .map(|(name, value)| {
            (
                scan::text(name.trim_ascii()).into_owned(),
                scan::text(&unquoted(value.trim_ascii())).into_owned(),
            )
        })
        .collect()
}

/// Takes quotes and backslashes off, as a shell would.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let (quote, value) = match value.split_first() {
        Some((quote @ (b'"' | b'\''), rest)) => (Some(*quote), rest),
        _ => (None, value),
    };
    let mut text = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            _ if Some(byte) == quote => break,
            b'\\' if quote != Some(b'\'') => text.extend(bytes.next()),
            _ => text.push(byte),
        }
    }
    text
}

/// Returns the number at the start: "20.04" of "20.04.2"; `None` when there is none or it is 0.
fn major_minor(version: &str) -> Option<f64> {
    let mut dots = 0;
    let end = version
        .bytes()
        .take_while(|byte| {
            dots += usize::from(*byte == b'.');
            byte.is_ascii_digit() || (*byte == b'.' && dots == 1)
        })
        .count();
    let number: f64 = version.get(..end)?.parse().ok()?;
    (number > 0.0).then_some(number)
}

/// Reads `YYYY-MM-DD` as midnight UTC.
fn date(text: &str) -> Option<f64> {
    let mut parts = text.split('-').map(|part| scan::number(part.as_bytes()));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let valid = (1..=9_999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let number = |part: u64| i64::try_from(part).ok();
    (valid && parts.next().is_none())
        .then(|| Some(days_from_civil(number(year)?, number(month)?, number(day)?)))?
        .map(|days| days as f64 * 86_400.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_a_shell_would() {
        let text = "# PRETTY_NAME=no\nNAME=\"Odd \\\"OS\\\"\" # x\nID=odd\nID_LIKE='a \\b'\nbroken\nVERSION_ID=\nID=last\n";
        let release = parse(text.as_bytes());
        assert_eq!(release["NAME"], "Odd \"OS\"");
        assert_eq!(release["ID"], "last");
        assert_eq!(release["ID_LIKE"], "a \\b");
        assert_eq!(release["VERSION_ID"], "");
        assert_eq!(release.len(), 4);
    }

    #[test]
    fn versions_and_dates_are_numbers() {
        for (text, version) in [
            ("20.04.2", Some(20.04)),
            ("12", Some(12.0)),
            ("7.", Some(7.0)),
            ("rolling", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(major_minor(text), version, "{text}");
        }
        assert_eq!(date("2026-06-10"), Some(1_781_049_600.0));
        for bad in ["", "2026", "2026-13-01", "2026-01-01-01", "x-1-1"] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
