//! Which formats there are, how one asks for them, and which one an answer has.

/// A format of expositions, with its name in Prometheus' configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Delimited protobuf: the one with native histograms.
    Protobuf,
    /// OpenMetrics 1.0.
    OpenMetrics100,
    /// OpenMetrics as it was called before it was final.
    OpenMetrics001,
    /// Prometheus' text, with names in quotes.
    Text100,
    /// Prometheus' text.
    Text004,
}

/// What a parser is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text.
    Text,
    /// OpenMetrics.
    OpenMetrics,
    /// Delimited protobuf.
    Protobuf,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Protobuf,
        Self::OpenMetrics100,
        Self::OpenMetrics001,
        Self::Text100,
        Self::Text004,
    ];

    /// Returns its name in `scrape_protocols`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "PrometheusProto",
            Self::OpenMetrics100 => "OpenMetricsText1.0.0",
            Self::OpenMetrics001 => "OpenMetricsText0.0.1",
            Self::Text100 => "PrometheusText1.0.0",
            Self::Text004 => "PrometheusText0.0.4",
        }
    }

    /// Returns what is asked for when the configuration does not say, best first.
    pub(crate) fn by_default(native_histograms: bool) -> Vec<Self> {
        let from = usize::from(!native_histograms);
        Self::ALL.into_iter().skip(from).collect()
    }

    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Protobuf => Format::Protobuf,
            Self::OpenMetrics100 | Self::OpenMetrics001 => Format::OpenMetrics,
            Self::Text100 | Self::Text004 => Format::Text,
        }
    }

    const fn media_range(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::OpenMetrics100 => {
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
            }
            Self::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
            Self::Text100 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Self::Text004 => "text/plain;version=0.0.4",
        }
    }
}

/// Returns the `Accept` header that asks for these protocols, best first.
pub(crate) fn accept(protocols: &[Protocol]) -> String {
    let mut accept = String::new();
    let mut quality = Protocol::ALL.len() + 1;
    for protocol in protocols {
        accept.push_str(protocol.media_range());
        accept.push_str(&format!(";q=0.{quality},"));
        quality = quality.saturating_sub(1).max(2);
    }
    accept.push_str("*/*;q=0.1");
    accept
}

/// Returns the format of an answer with this `Content-Type`, or why it has none that is known.
pub(crate) fn format_of(content_type: &str, fallback: Option<Protocol>) -> Result<Format, String> {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameter = |name: &str| {
        let pairs = content_type.split(';').skip(1);
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let is = |name: &str, value: &str| parameter(name).is_some_and(|present| present == value);
    match media_type.as_str() {
        "text/plain" => Ok(Format::Text),
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf"
            if is("proto", "io.prometheus.client.MetricFamily") && is("encoding", "delimited") =>
        {
            Ok(Format::Protobuf)
        }
        unknown => match fallback {
            Some(protocol) => Ok(protocol.format()),
            None if unknown.is_empty() => Err(
                "the target says no Content-Type, and there is no fallback_scrape_protocol"
                    .to_owned(),
            ),
            None => Err(format!(
                "the target's Content-Type {content_type:?} is not one of an exposition, and there is no fallback_scrape_protocol"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_asked_for_in_order() {
        assert_eq!(
            accept(&Protocol::by_default(false)),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
        );
        assert!(accept(&Protocol::by_default(true)).starts_with("application/vnd.google.protobuf"));
        assert_eq!(
            accept(&[Protocol::Text004]),
            "text/plain;version=0.0.4;q=0.6,*/*;q=0.1"
        );
    }

    #[test]
    fn answers_have_the_format_that_they_say() {
        let proto = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        for (content_type, fallback, format) in [
            (
                "text/plain; version=0.0.4; charset=utf-8",
                None,
                Some(Format::Text),
            ),
            ("TEXT/PLAIN", None, Some(Format::Text)),
            (
                "application/openmetrics-text; version=1.0.0",
                None,
                Some(Format::OpenMetrics),
            ),
            (proto, None, Some(Format::Protobuf)),
            ("application/vnd.google.protobuf", None, None),
            ("", None, None),
            ("text/html", None, None),
            ("text/html", Some(Protocol::Text004), Some(Format::Text)),
            (
                "",
                Some(Protocol::OpenMetrics100),
                Some(Format::OpenMetrics),
            ),
        ] {
            assert_eq!(
                format_of(content_type, fallback).ok(),
                format,
                "{content_type}"
            );
        }
    }
}
