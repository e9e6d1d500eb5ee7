//! One spelling for the bounds of buckets and quantiles.

use std::borrow::Cow;

use model::MetricType;

use crate::{format_openmetrics, parse_float};

/// Returns a label's value as Prometheus 3 stores it: the `le` of histograms and the `quantile` of summaries are numbers, and
/// `1`, `1.0` and `1e0` name one bucket, so they are all spelt `1.0`. Any other label keeps its value.
pub fn canonical_bound<'a>(kind: MetricType, label: &str, value: &'a str) -> Cow<'a, str> {
    let is_bound = match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => label == "le",
        MetricType::Summary => label == "quantile",
        MetricType::Unknown
        | MetricType::Counter
        | MetricType::Gauge
        | MetricType::Info
        | MetricType::StateSet => false,
    };
    match parse_float(value).filter(|_| is_bound) {
        Some(bound) => Cow::Owned(format_openmetrics(bound)),
        None => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_one_spelling() {
        for (kind, label, value, canonical) in [
            (MetricType::Histogram, "le", "1", "1.0"),
            (MetricType::Histogram, "le", "1e6", "1e+06"),
            (MetricType::GaugeHistogram, "le", "inf", "+Inf"),
            (MetricType::Histogram, "le", "oops", "oops"),
            (MetricType::Histogram, "quantile", "1", "1"),
            (MetricType::Summary, "quantile", "0.50", "0.5"),
            (MetricType::Gauge, "le", "1", "1"),
        ] {
            assert_eq!(canonical_bound(kind, label, value), canonical);
        }
    }
}
