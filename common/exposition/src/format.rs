//! Which text format to write.

/// The most media ranges of an `Accept` header that are looked at; Prometheus sends five.
const MEDIA_RANGES_MAX: usize = 32;

/// A text format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Returns the `Content-Type` of an exposition in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns the format that a client with this `Accept` header likes best; text 0.0.4 when in doubt.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',').take(MEDIA_RANGES_MAX) {
            if let Some((quality, format)) = media_range(range)
                && quality > best.0
            {
                best = (quality, format);
            }
        }
        best.1
    }
}

/// Returns the quality of one media range and the format that serves it.
fn media_range(range: &str) -> Option<(f64, Format)> {
    let mut parts = range.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/openmetrics-text" => Format::OpenMetrics,
        "text/plain" | "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    let mut quality = 1.0;
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match (key.trim(), value.trim().trim_matches('"')) {
            ("q", value) => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            // 0.0.1 is what 1.0.0 was called before it was final.
            ("version", version)
                if format == Format::OpenMetrics && !matches!(version, "1.0.0" | "0.0.1") =>
            {
                return None;
            }
            _ => {}
        }
    }
    Some((quality, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_format_is_chosen() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/json", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            (
                "text/plain;q=0.9, application/openmetrics-text; version=1.0.0; q=0.8",
                Format::Text,
            ),
            (
                "application/openmetrics-text; version=2.0.0, */*;q=0.1",
                Format::Text,
            ),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=7", Format::Text),
        ] {
            assert_eq!(Format::negotiate(accept), format, "{accept}");
        }
    }
}
