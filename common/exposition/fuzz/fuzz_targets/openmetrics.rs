//! OpenMetrics from anyone: no panic, and a whole exposition is one that ends with its end mark.

#![no_main]

use exposition::{Entry, OpenMetricsParser};
use libfuzzer_sys::fuzz_target;
use model::TimestampMs;

fuzz_target!(|input: &[u8]| {
    let mut last_is_eof = false;
    for entry in OpenMetricsParser::new(input) {
        assert!(!last_is_eof, "nothing follows the end");
        match entry {
            Ok(Entry::Sample(sample)) => {
                drop(sample.series.to_labels());
                if let Some(exemplar) = sample.exemplar {
                    drop(exemplar.to_exemplar(TimestampMs(0)));
                }
            }
            Ok(Entry::Help { family, text }) => drop((family.decode(), text.decode())),
            Ok(Entry::Eof) => last_is_eof = true,
            Ok(_) => {}
            Err(error) => {
                drop(error.to_string());
                return;
            }
        }
    }
    assert!(last_is_eof, "without an error there is an end");
});
