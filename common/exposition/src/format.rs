//! Which text format to write.

use crate::Media;

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

    /// Returns the text format that a client with this `Accept` header likes best; text 0.0.4 when in doubt.
    pub fn negotiate(accept: &str) -> Self {
        match Media::best(accept, |media| media != Media::Protobuf) {
            Media::Text(format) => format,
            Media::Protobuf => Self::Text,
        }
    }
}
