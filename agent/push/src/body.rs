//! A request's body, as it comes: its encoding, its format.

use std::borrow::Cow;
use std::io::Read;

use crate::{Names, PushError, Pushed};

/// What a request says of its body, and the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body<'a> {
    /// The header `Content-Type`; empty when there is none.
    pub content_type: &'a str,
    /// The header `Content-Encoding`; empty when there is none.
    pub content_encoding: &'a str,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

impl Body<'_> {
    /// Returns what the body says, once decompressed at most `bytes_max` bytes long.
    pub fn read(&self, names: Names, bytes_max: usize) -> Result<Pushed, PushError> {
        let plain = self.decompress(bytes_max)?;
        match format(self.content_type) {
            Format::Text => Pushed::of_text(&plain, names),
            Format::OpenMetrics => Pushed::of_openmetrics(&plain, names),
            Format::Protobuf => Pushed::of_protobuf(&plain, names),
        }
    }

    fn decompress(&self, bytes_max: usize) -> Result<Cow<'_, [u8]>, PushError> {
        let encoding = self.content_encoding.trim();
        if encoding.eq_ignore_ascii_case("gzip") {
            let reader = flate2::read::MultiGzDecoder::new(self.bytes);
            bounded("gzip", reader, bytes_max).map(Cow::Owned)
        } else if encoding.eq_ignore_ascii_case("snappy") {
            let reader = snap::read::FrameDecoder::new(self.bytes);
            bounded("snappy", reader, bytes_max).map(Cow::Owned)
        } else if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
            if self.bytes.len() > bytes_max {
                return Err(PushError::BodyTooLarge { bytes_max });
            }
            Ok(Cow::Borrowed(self.bytes))
        } else {
            Err(PushError::Encoding(encoding.to_owned()))
        }
    }
}

fn bounded(
    encoding: &'static str,
    reader: impl Read,
    bytes_max: usize,
) -> Result<Vec<u8>, PushError> {
    let mut plain = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|error| PushError::Compression {
            encoding,
            reason: error.to_string(),
        })?;
    if plain.len() > bytes_max {
        return Err(PushError::BodyTooLarge { bytes_max });
    }
    Ok(plain)
}

/// What is not recognised is tried as text.
fn format(content_type: &str) -> Format {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
        return Format::OpenMetrics;
    }
    let (mut is_family, mut is_delimited) = (false, false);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "proto" => is_family = value == "io.prometheus.client.MetricFamily",
            "encoding" => is_delimited = value == "delimited",
            _ => {}
        }
    }
    let is_protobuf = media_type.eq_ignore_ascii_case("application/vnd.google.protobuf");
    if is_protobuf && is_family && is_delimited {
        Format::Protobuf
    } else {
        Format::Text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn content_types_name_formats() {
        const PROTOBUF: &str = "application/vnd.google.protobuf";
        for (content_type, expected) in [
            ("", Format::Text),
            ("text/plain; version=0.0.4", Format::Text),
            ("application/json", Format::Text),
            (
                "application/openmetrics-text; version=1.0.0",
                Format::OpenMetrics,
            ),
            (PROTOBUF, Format::Text),
            (
                &format!("{PROTOBUF}; proto=io.prometheus.client.MetricFamily; encoding=delimited"),
                Format::Protobuf,
            ),
            (
                &format!(
                    "{PROTOBUF};encoding=\"delimited\";proto=\"io.prometheus.client.MetricFamily\""
                ),
                Format::Protobuf,
            ),
            (
                &format!("{PROTOBUF}; proto=io.prometheus.client.MetricFamily; encoding=text"),
                Format::Text,
            ),
        ] {
            assert_eq!(format(content_type), expected, "{content_type}");
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn snappy(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.into_inner().unwrap()
    }

    #[test]
    fn bodies_are_decompressed_within_bounds() {
        let read = |content_encoding, bytes: &[u8]| {
            let body = Body {
                content_type: "",
                content_encoding,
                bytes,
            };
            body.read(Names::Classic, 1_000)
                .map(|pushed| pushed.samples())
        };
        let text = b"m 1\nn 2\n";
        for (encoding, bytes) in [
            ("", text.to_vec()),
            ("identity", text.to_vec()),
            ("gzip", gzip(text)),
            ("GZIP", gzip(text)),
            ("snappy", snappy(text)),
        ] {
            assert_eq!(read(encoding, &bytes).unwrap(), 2, "{encoding}");
        }
        let bomb = vec![b'\n'; 1_000_000];
        let too_large = Err(PushError::BodyTooLarge { bytes_max: 1_000 });
        assert_eq!(read("", &bomb), too_large);
        for (encoding, bytes) in [("gzip", gzip(&bomb)), ("snappy", snappy(&bomb))] {
            assert_eq!(read(encoding, &bytes), too_large);
            assert!(matches!(
                read(encoding, text),
                Err(PushError::Compression { .. })
            ));
        }
        assert!(matches!(read("br", text), Err(PushError::Encoding(_))));
    }
}
