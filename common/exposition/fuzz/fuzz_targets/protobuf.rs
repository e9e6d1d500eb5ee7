//! Protobuf from anyone: no panic, and histograms that come out are whole.

#![no_main]

use exposition::{MetricValue, ProtobufParser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for family in ProtobufParser::new(input) {
        let Ok(family) = family else { return };
        for metric in family.metrics() {
            let Ok(metric) = metric else { return };
            drop(metric.labels().collect::<Vec<_>>());
            match metric.value {
                MetricValue::Float(_) => {}
                MetricValue::Summary(summary) => drop(summary.quantiles().collect::<Vec<_>>()),
                MetricValue::Histogram(histogram) => {
                    drop(histogram.buckets().collect::<Vec<_>>());
                    if let Ok(Some(native)) = histogram.native(family.kind) {
                        native.validate().expect("it was checked");
                    }
                }
            }
        }
    }
});
