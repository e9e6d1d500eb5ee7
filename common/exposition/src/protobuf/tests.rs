use proptest::prelude::*;

use super::*;

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 127 {
        out.push(u8::try_from(number & 127).unwrap() | 128);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
    out
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let length = u64::try_from(value.len()).unwrap();
    [&varint(field << 3 | 2), &varint(length), value].concat()
}

fn double_field(field: u64, value: f64) -> Vec<u8> {
    [
        varint(field << 3 | 1),
        value.to_bits().to_le_bytes().to_vec(),
    ]
    .concat()
}

fn delimited(message: &[u8]) -> Vec<u8> {
    let length = u64::try_from(message.len()).unwrap();
    [&varint(length), message].concat()
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let pair = [bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat();
    bytes(1, &pair)
}

fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let mut message = [
        bytes(1, name.as_bytes()),
        bytes(2, b"help"),
        number(3, kind),
    ]
    .concat();
    for metric in metrics {
        message.extend(bytes(4, metric));
    }
    delimited(&message)
}

fn only_metric(input: &[u8]) -> Result<(FamilyMessage<'_>, MetricMessage<'_>), ProtobufError> {
    let family = ProtobufParser::new(input).next().expect("a message")?;
    let metric = family.metrics().next().expect("a metric")?;
    Ok((family, metric))
}

#[test]
fn floats_come_with_labels_and_times() {
    for (kind, field, expected) in [
        (0, 3, MetricType::Counter),
        (1, 2, MetricType::Gauge),
        (3, 5, MetricType::Unknown),
    ] {
        let metric = [
            label("a", "1"),
            label("b", ""),
            bytes(field, &double_field(1, 2.5)),
            number(6, 77),
            // Fields of a later version.
            number(99, 1),
            [varint(98 << 3 | 5), vec![0; 4]].concat(),
        ]
        .concat();
        let input = family("m", kind, &[metric]);
        let (family, metric) = only_metric(&input).unwrap();
        assert_eq!(
            (family.name, family.help, family.kind),
            ("m", "help", expected)
        );
        assert_eq!(metric.at, Some(TimestampMs(77)));
        assert!(matches!(metric.value, MetricValue::Float(2.5)));
        let labels: Vec<_> = metric.labels().map(Result::unwrap).collect();
        assert_eq!(labels, [("a", "1"), ("b", "")]);
    }
}

#[test]
fn summaries_and_classic_histograms_have_parts() {
    let quantile = [double_field(1, 0.5), double_field(2, 7.0)].concat();
    let summary = [number(1, 4), double_field(2, 9.0), bytes(3, &quantile)].concat();
    let input = family("s", 2, &[bytes(4, &summary)]);
    let (_, metric) = only_metric(&input).unwrap();
    let MetricValue::Summary(summary) = metric.value else {
        panic!("{metric:?}")
    };
    assert_eq!((summary.count, summary.sum), (4.0, 9.0));
    assert_eq!(summary.quantiles().collect::<Vec<_>>(), [Ok((0.5, 7.0))]);

    let bucket = [number(1, 3), double_field(2, 0.1)].concat();
    let histogram = [number(1, 4), double_field(2, 9.0), bytes(3, &bucket)].concat();
    let input = family("h", 4, &[bytes(7, &histogram)]);
    let (family, metric) = only_metric(&input).unwrap();
    let MetricValue::Histogram(histogram) = metric.value else {
        panic!("{metric:?}")
    };
    assert_eq!((histogram.count, histogram.sum), (4.0, 9.0));
    assert_eq!(histogram.buckets().collect::<Vec<_>>(), [Ok((0.1, 3.0))]);
    assert_eq!(histogram.native(family.kind), Ok(None));
}

fn native_histogram(spans: &[(u64, u64)], deltas: &[u8]) -> Vec<u8> {
    let spans = spans.iter().flat_map(|(offset, length)| {
        let span = [number(1, *offset), number(2, *length)].concat();
        bytes(12, &span)
    });
    [
        [
            number(1, 4),
            double_field(2, 9.0),
            number(5, 6),
            double_field(6, 1e-9),
        ]
        .concat(),
        spans.collect(),
        bytes(13, deltas),
    ]
    .concat()
}

#[test]
fn native_histograms_are_whole_or_refused() {
    // Zigzag: schema 3; buckets 1, then 1 + 2 = 3.
    let metric = bytes(7, &native_histogram(&[(2, 2)], &[2, 4]));
    let input = family("h", 4, &[metric]);
    let (family_message, metric) = only_metric(&input).unwrap();
    let MetricValue::Histogram(message) = metric.value else {
        panic!("{metric:?}")
    };
    let native = message.native(family_message.kind).unwrap().unwrap();
    assert_eq!((native.schema, native.sum), (3, 9.0));
    assert_eq!(
        native.positive_spans,
        [Span {
            offset: 1,
            length: 2
        }]
    );
    assert!(matches!(&native.buckets, Buckets::Integer { positive, .. } if positive == &[1, 3]));
    for (spans, deltas) in [
        (&[(2, 3)][..], &[2, 4][..]),
        (&[(2, 1)], &[1]),
        (&[(2, 1)], &[0x80]),
    ] {
        let input = family("h", 4, &[bytes(7, &native_histogram(spans, deltas))]);
        let (family, metric) = only_metric(&input).unwrap();
        let MetricValue::Histogram(message) = metric.value else {
            panic!("{metric:?}")
        };
        assert!(message.native(family.kind).is_err(), "{spans:?} {deltas:?}");
    }
}

#[test]
fn what_is_broken_is_named_with_its_message() {
    let good = family("m", 1, &[bytes(2, &double_field(1, 1.0))]);
    for (broken, what) in [
        (vec![5, 1], "shorter than it says"),
        (vec![0x80], "ends within a number"),
        (vec![0xff; 11], "longer than 64 bits"),
        (delimited(&[0x0b]), "no known form"),
        (delimited(&bytes(1, &[0xff])), "not UTF-8"),
        (delimited(&number(3, 9)), "type is unknown"),
    ] {
        let input = [good.clone(), broken].concat();
        let mut families = ProtobufParser::new(&input);
        assert!(families.next().unwrap().is_ok());
        let error = families.next().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("protobuf message 2: "));
        assert!(error.what.contains(what), "{error}");
        assert!(families.next().is_none());
    }
    let other_type = family("m", 0, &[bytes(2, &double_field(1, 1.0))]);
    let error = only_metric(&other_type).unwrap_err();
    assert!(error.what.contains("no value of its family's type"));
    assert!(ProtobufParser::new(&[]).next().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..200)) {
        for family in ProtobufParser::new(&input).flatten() {
            for metric in family.metrics().flatten() {
                prop_assert!(metric.labels().count() <= input.len());
                if let MetricValue::Histogram(histogram) = metric.value {
                    drop(histogram.native(family.kind));
                }
            }
        }
    }
}
