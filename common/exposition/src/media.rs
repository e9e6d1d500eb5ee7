//! Which form of an exposition a client is given.

use crate::Format;

/// The most media ranges of an `Accept` header that are looked at; Prometheus sends five.
const MEDIA_RANGES_MAX: usize = 32;

/// A form of an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A text format.
    Text(Format),
    /// Delimited protobuf.
    Protobuf,
}

impl Media {
    /// Returns the `Content-Type` of an exposition in this form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text(format) => format.content_type(),
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// Returns the form that a client with this `Accept` header likes best, the first of several; text 0.0.4 when in doubt.
    pub fn negotiate(accept: &str) -> Self {
        Self::best(accept, |_| true)
    }

    pub(crate) fn best(accept: &str, may_be: impl Fn(Self) -> bool) -> Self {
        let mut best = (0.0, Self::Text(Format::Text));
        for range in accept.split(',').take(MEDIA_RANGES_MAX) {
            if let Some((quality, media)) = media_range(range)
                && quality > best.0
                && may_be(media)
            {
                best = (quality, media);
            }
        }
        best.1
    }
}

/// Returns the quality of one media range and the form that serves it.
fn media_range(range: &str) -> Option<(f64, Media)> {
    let mut parts = range.split(';').map(str::trim);
    let media = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => Media::Text(Format::OpenMetrics),
        "application/vnd.google.protobuf" => Media::Protobuf,
        "text/plain" | "text/*" | "*/*" => Media::Text(Format::Text),
        _ => return None,
    };
    let (mut quality, mut is_families, mut is_delimited) = (1.0, false, false);
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match (key.trim(), value.trim().trim_matches('"')) {
            ("q", value) => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            // 0.0.1 is what 1.0.0 was called before it was final.
            ("version", version)
                if media == Media::Text(Format::OpenMetrics)
                    && !matches!(version, "1.0.0" | "0.0.1") =>
            {
                return None;
            }
            ("proto", name) => is_families = name == "io.prometheus.client.MetricFamily",
            ("encoding", name) => is_delimited = name == "delimited",
            _ => {}
        }
    }
    (media != Media::Protobuf || (is_families && is_delimited)).then_some((quality, media))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Media = Media::Text(Format::Text);
    const OPENMETRICS: Media = Media::Text(Format::OpenMetrics);

    #[test]
    fn the_best_liked_form_is_chosen() {
        for (accept, media) in [
            ("", TEXT),
            ("*/*", TEXT),
            ("text/html, application/json", TEXT),
            ("application/openmetrics-text", OPENMETRICS),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OPENMETRICS,
            ),
            (
                "text/plain;q=0.9, application/openmetrics-text; version=1.0.0; q=0.8",
                TEXT,
            ),
            (
                "application/openmetrics-text; version=2.0.0, */*;q=0.1",
                TEXT,
            ),
            ("application/openmetrics-text;q=0", TEXT),
            ("application/openmetrics-text;q=7", TEXT),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5",
                Media::Protobuf,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text,text/plain;q=0.1",
                TEXT,
            ),
            ("application/vnd.google.protobuf", TEXT),
        ] {
            assert_eq!(Media::negotiate(accept), media, "{accept}");
        }
    }
}
