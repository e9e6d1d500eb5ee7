//! Text 0.0.4 from anyone: no panic, and every sample that is accepted reads back the same when written again.

#![no_main]

use exposition::{Entry, Family, Format, Part, Point, TextParser, Writer};
use libfuzzer_sys::fuzz_target;
use model::MetricType;

fuzz_target!(|input: &[u8]| {
    for entry in TextParser::new(input) {
        let sample = match entry {
            Ok(Entry::Sample(sample)) => sample,
            Ok(Entry::Help { family, text }) => {
                drop((family.decode(), text.decode()));
                continue;
            }
            Ok(_) => continue,
            Err(error) => {
                drop(error.to_string());
                continue;
            }
        };
        let labels = sample.series.to_labels();
        let mut out = String::new();
        let mut writer = Writer::new(Format::Text, &mut out);
        writer.family(&Family {
            name: &sample.series.name().decode(),
            kind: MetricType::Unknown,
            help: "",
            unit: "",
        });
        let point = Point {
            value: sample.value,
            at: sample.at,
            exemplar: None,
        };
        writer.sample(Part::Value, labels.iter(), point);
        writer.finish();
        let back = TextParser::new(out.as_bytes()).find_map(|entry| match entry {
            Ok(Entry::Sample(back)) => Some(back),
            _ => None,
        });
        let back = back.expect("what is written can be read");
        assert_eq!(back.series.to_labels(), labels);
        assert_eq!(
            (back.value.to_bits(), back.at),
            (sample.value.to_bits(), sample.at)
        );
    }
});
