//! Remote write 1.0, the sending side, as little of it as a test needs.

use model::{Buckets, CounterReset, Histogram, Sample, Span, Value};

/// A series, and what to send of it.
pub(crate) struct Series {
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    pub(crate) samples: Vec<Sample>,
}

/// Returns the body of a request: protobuf within snappy.
pub(crate) fn write_request(labels: &[(&str, &str)], samples: &[Sample]) -> Vec<u8> {
    let mut series = Message::default();
    for (name, value) in labels {
        let mut label = Message::default();
        label.bytes(1, name.as_bytes());
        label.bytes(2, value.as_bytes());
        series.bytes(1, &label.0);
    }
    for sample in samples {
        match &sample.value {
            Value::Float(value) => {
                let mut message = Message::default();
                message.double(1, *value);
                message.number(2, sample.at.0.cast_unsigned());
                series.bytes(2, &message.0);
            }
            Value::Histogram(histogram) => {
                let mut message = histogram_message(histogram);
                message.number(15, sample.at.0.cast_unsigned());
                series.bytes(4, &message.0);
            }
        }
    }
    let mut request = Message::default();
    request.bytes(1, &series.0);
    snappy(&request.0)
}

fn histogram_message(histogram: &Histogram) -> Message {
    let mut message = Message::default();
    match &histogram.buckets {
        Buckets::Integer {
            count,
            zero,
            positive,
            negative,
        } => {
            message.number(1, *count);
            message.number(6, *zero);
            message.deltas(9, negative);
            message.deltas(12, positive);
        }
        Buckets::Float {
            count,
            zero,
            positive,
            negative,
        } => {
            message.double(2, *count);
            message.double(7, *zero);
            message.doubles(10, negative);
            message.doubles(13, positive);
        }
    }
    message.double(3, histogram.sum);
    message.signed(4, i64::from(histogram.schema));
    message.double(5, histogram.zero_threshold);
    message.spans(8, &histogram.negative_spans);
    message.spans(11, &histogram.positive_spans);
    message.number(
        14,
        match histogram.reset {
            CounterReset::Gauge => 3,
            // Whether there was a reset is for the peer to find out.
            CounterReset::Unknown | CounterReset::Reset | CounterReset::NotReset => 0,
        },
    );
    message
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, zigzag(value));
    }

    fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_bits().to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn deltas(&mut self, field: u64, counts: &[u64]) {
        let mut packed = Self::default();
        let mut before = 0;
        for count in counts {
            packed.varint(zigzag(count.cast_signed() - before));
            before = count.cast_signed();
        }
        self.bytes(field, &packed.0);
    }

    fn doubles(&mut self, field: u64, values: &[f64]) {
        let bits = values
            .iter()
            .flat_map(|value| value.to_bits().to_le_bytes());
        self.bytes(field, &bits.collect::<Vec<u8>>());
    }

    fn spans(&mut self, field: u64, spans: &[Span]) {
        for Span { offset, length } in spans {
            let mut span = Self::default();
            span.signed(1, i64::from(*offset));
            span.number(2, u64::from(*length));
            self.bytes(field, &span.0);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// Compresses nothing, in snappy's block format: the length, then literals.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Message::default();
    out.varint(bytes.len() as u64);
    for piece in bytes.chunks(60) {
        let length = u8::try_from(piece.len() - 1).unwrap();
        out.0.push(length << 2);
        out.0.extend(piece);
    }
    out.0
}
