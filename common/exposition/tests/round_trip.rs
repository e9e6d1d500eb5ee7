//! What is written reads back the same, in both formats, and foreign bytes never panic.

use std::collections::BTreeMap;

use exposition::{
    Entry, Family, Format, OpenMetricsParser, ParseError, Part, Point, TextParser, Writer,
};
use model::{Exemplar, Labels, MetricType, TimestampMs};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Metrics {
    kind: MetricType,
    help: String,
    /// By label set: value, time, exemplar.
    samples: BTreeMap<Labels, (f64, Option<TimestampMs>, Option<Exemplar>)>,
}

/// Any text, rich in what needs escaping.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[\\\\\"\n {}=,#a\u{e9}\u{1F600}]{0,8}",
        ".{0,6}"
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z_]{1,6}", 1 => "[a-z.\" \\\\]{1,5}".prop_map(|tail| format!("x{tail}"))]
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(name(), text(), 0..4)
        .prop_map(|pairs| Labels::from_pairs(pairs).expect("a map's names are unique"))
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("not NaN", |value| !value.is_nan()),
        (-1_000_000_i32..1_000_000).prop_map(f64::from),
        Just(f64::NAN),
    ]
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    (labels(), value(), -1_000_000_i64..1 << 41).prop_map(|(labels, value, at)| Exemplar {
        labels,
        value,
        at: TimestampMs(at),
    })
}

fn metrics() -> impl Strategy<Value = BTreeMap<String, Metrics>> {
    let at = prop::option::of((-1_000_000_i64..1 << 41).prop_map(TimestampMs));
    let sample = (value(), at, prop::option::of(exemplar()));
    let samples = prop::collection::btree_map(labels(), sample, 0..4);
    let kind = prop_oneof![
        Just(MetricType::Gauge),
        Just(MetricType::Counter),
        Just(MetricType::Unknown)
    ];
    let family = (kind, text(), samples).prop_map(|(kind, help, mut samples)| {
        if kind == MetricType::Counter {
            for (value, _, _) in samples.values_mut() {
                *value = if value.is_nan() { 0.0 } else { value.abs() };
            }
        }
        Metrics {
            kind,
            help,
            samples,
        }
    });
    prop::collection::btree_map(name(), family, 0..5).prop_map(|families| {
        // One suffix for all: no two families clash, and counters have theirs.
        let suffixed = |(name, family): (String, Metrics)| {
            let suffix = if family.kind == MetricType::Counter {
                "_total"
            } else {
                "_x"
            };
            (format!("{name}{suffix}"), family)
        };
        families.into_iter().map(suffixed).collect()
    })
}

fn write(format: Format, families: &BTreeMap<String, Metrics>) -> String {
    let mut out = String::new();
    let mut writer = Writer::new(format, &mut out);
    for (name, family) in families {
        writer.family(&Family {
            name,
            kind: family.kind,
            help: &family.help,
            unit: "",
        });
        for (labels, (value, at, exemplar)) in &family.samples {
            let point = Point {
                value: *value,
                at: *at,
                exemplar: exemplar.as_ref(),
            };
            writer.sample(Part::Value, labels.iter(), point);
        }
    }
    writer.finish();
    out
}

/// Reads entries back into what was written, with families named as in text 0.0.4.
fn read<'a>(
    format: Format,
    entries: impl Iterator<Item = Result<Entry<'a>, ParseError>>,
) -> Result<BTreeMap<String, Metrics>, ParseError> {
    let mut families: BTreeMap<String, Metrics> = BTreeMap::new();
    let (mut name, mut help) = (String::new(), String::new());
    for entry in entries {
        match entry? {
            Entry::Help { text, .. } => help = text.decode().into_owned(),
            Entry::Type { family, kind } => {
                name = family.to_string();
                if format == Format::OpenMetrics && kind == MetricType::Counter {
                    name.push_str("_total");
                }
                let help = std::mem::take(&mut help);
                let samples = BTreeMap::new();
                families.insert(
                    name.clone(),
                    Metrics {
                        kind,
                        help,
                        samples,
                    },
                );
            }
            Entry::Sample(sample) => {
                assert_eq!(sample.series.name(), *name);
                let exemplar = sample
                    .exemplar
                    .map(|exemplar| exemplar.to_exemplar(TimestampMs(0)));
                let labels = sample.series.to_labels().without_name();
                let family = families.get_mut(&name).expect("a type comes first");
                let twin = family
                    .samples
                    .insert(labels, (sample.value, sample.at, exemplar));
                assert!(twin.is_none());
            }
            Entry::Unit { .. } | Entry::Comment(_) | Entry::Eof => {}
        }
    }
    Ok(families)
}

fn assert_same(
    format: Format,
    written: &BTreeMap<String, Metrics>,
    read: &BTreeMap<String, Metrics>,
) {
    assert!(written.keys().eq(read.keys()));
    for (family, back) in written.values().zip(read.values()) {
        assert_eq!((family.kind, &family.help), (back.kind, &back.help));
        assert!(family.samples.keys().eq(back.samples.keys()));
        for ((value, at, exemplar), (value_back, at_back, exemplar_back)) in
            family.samples.values().zip(back.samples.values())
        {
            assert_eq!((value.to_bits(), at), (value_back.to_bits(), at_back));
            let has_exemplar = format == Format::OpenMetrics && family.kind == MetricType::Counter;
            let exemplar = exemplar.as_ref().filter(|_| has_exemplar);
            assert_eq!(
                format!("{exemplar:?}"),
                format!("{:?}", exemplar_back.as_ref())
            );
        }
    }
}

/// Touches everything that a parser hands out.
fn exhaust(input: &[u8]) {
    let text = TextParser::new(input);
    let openmetrics = OpenMetricsParser::new(input);
    for entry in text.flatten().chain(openmetrics.flatten()) {
        match entry {
            Entry::Sample(sample) => {
                let labels = sample.series.to_labels();
                assert!(!labels.is_empty() && sample.series.raw().len() <= input.len());
                sample
                    .exemplar
                    .map(|exemplar| exemplar.to_exemplar(TimestampMs(0)));
            }
            Entry::Help { family, text } => drop((family.decode(), text.decode())),
            Entry::Type { .. } | Entry::Unit { .. } | Entry::Comment(_) | Entry::Eof => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn text_reads_back_the_same(families in metrics()) {
        let text = write(Format::Text, &families);
        let back = read(Format::Text, TextParser::new(text.as_bytes())).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        assert_same(Format::Text, &families, &back);
    }

    #[test]
    fn openmetrics_reads_back_the_same(families in metrics()) {
        let text = write(Format::OpenMetrics, &families);
        let back = read(Format::OpenMetrics, OpenMetricsParser::new(text.as_bytes())).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        assert_same(Format::OpenMetrics, &families, &back);
    }

    #[test]
    fn random_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        exhaust(&input);
    }

    #[test]
    fn broken_expositions_never_panic(families in metrics(), cut in any::<prop::sample::Index>(), byte in any::<u8>(), at in any::<prop::sample::Index>()) {
        for format in [Format::Text, Format::OpenMetrics] {
            let mut bytes = write(format, &families).into_bytes();
            if bytes.is_empty() { continue; }
            let place = at.index(bytes.len());
            bytes[place] = byte;
            exhaust(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            exhaust(&bytes);
        }
    }

    #[test]
    fn soups_of_meaningful_parts_never_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "# TYPE a ", "# HELP a ", "# UNIT a_s ", "# EOF\n", "histogram\n", "counter\n", "a", "_bucket", "_total", "{", "}", "le=\"1\"", "le=\"+Inf\"",
        ",", "\"", "\\", "=", " ", "1", "-1", "NaN", " # {} ", "\n", "\t", "\u{e9}", "\0",
    ]), 0..40)) {
        exhaust(parts.concat().as_bytes());
    }
}
