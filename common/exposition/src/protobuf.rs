//! Delimited protobuf: messages `io.prometheus.client.MetricFamily`, each after its length.
//!
//! Messages are read where they stand: a [`FamilyMessage`] borrows the input, and its metrics, labels and buckets are decoded as
//! they are asked for, so that reading holds nothing but the histogram at hand. Fields that are not known are passed over, and of a
//! field that comes twice the last counts, as protobuf wants it. Groups, which no version of the message has, are refused.

use model::{Buckets, CounterReset, Histogram, MetricType, Span, TimestampMs};

mod fields;
mod writer;

pub use writer::to_protobuf;

use fields::{Fields, Value};

/// What breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("protobuf message {message}: {what}")]
pub struct ProtobufError {
    /// Which message of the input, from 1.
    pub message: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What is wrong with a message whose number is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) &'static str);

type Read<T> = Result<T, Fault>;

/// The families of an input, one message each. Ends after an error.
#[derive(Clone, Debug)]
pub struct ProtobufParser<'a> {
    rest: &'a [u8],
    message: u64,
}

impl<'a> ProtobufParser<'a> {
    /// Returns a parser of `input`.
    pub const fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            message: 0,
        }
    }

    fn next_family(&mut self) -> Read<FamilyMessage<'a>> {
        let mut fields = Fields::new(self.rest);
        let bytes = fields.delimited()?;
        self.rest = fields.rest();
        FamilyMessage::read(bytes, self.message)
    }
}

impl<'a> Iterator for ProtobufParser<'a> {
    type Item = Result<FamilyMessage<'a>, ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.message += 1;
        let family = self.next_family();
        if family.is_err() {
            self.rest = &[];
        }
        Some(family.map_err(|fault| fault.in_message(self.message)))
    }
}

impl Fault {
    const fn in_message(self, message: u64) -> ProtobufError {
        ProtobufError {
            message,
            what: self.0,
        }
    }
}

/// A family.
#[derive(Clone, Copy, Debug)]
pub struct FamilyMessage<'a> {
    /// Its name; may be anything.
    pub name: &'a str,
    /// Its help text.
    pub help: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Its type.
    pub kind: MetricType,
    bytes: &'a [u8],
    message: u64,
}

impl<'a> FamilyMessage<'a> {
    fn read(bytes: &'a [u8], message: u64) -> Read<Self> {
        let mut family = Self {
            name: "",
            help: "",
            unit: "",
            // An enumeration that is absent has its first value.
            kind: MetricType::Counter,
            bytes,
            message,
        };
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Bytes(name)) => family.name = text(name)?,
                (2, Value::Bytes(help)) => family.help = text(help)?,
                (3, Value::Varint(kind)) => family.kind = metric_type(kind)?,
                (5, Value::Bytes(unit)) => family.unit = text(unit)?,
                _ => {}
            }
        }
        Ok(family)
    }

    /// Returns the family's metrics, in order.
    pub fn metrics(&self) -> impl Iterator<Item = Result<MetricMessage<'a>, ProtobufError>> {
        let (kind, message) = (self.kind, self.message);
        messages(self.bytes, 4).map(move |bytes| {
            let metric = bytes.and_then(|bytes| MetricMessage::read(bytes, kind, message));
            metric.map_err(|fault| fault.in_message(message))
        })
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricMessage<'a> {
    /// Its time, if it brings one.
    pub at: Option<TimestampMs>,
    /// Its value, of the family's type.
    pub value: MetricValue<'a>,
    bytes: &'a [u8],
    message: u64,
}

/// What a metric says.
#[derive(Clone, Copy, Debug)]
pub enum MetricValue<'a> {
    /// The value of a counter, a gauge or an unknown.
    Float(f64),
    /// A summary.
    Summary(SummaryMessage<'a>),
    /// A histogram, classic or native.
    Histogram(HistogramMessage<'a>),
}

impl<'a> MetricMessage<'a> {
    fn read(bytes: &'a [u8], kind: MetricType, message: u64) -> Read<Self> {
        let wanted = match kind {
            MetricType::Gauge => 2,
            MetricType::Counter => 3,
            MetricType::Summary => 4,
            MetricType::Histogram | MetricType::GaugeHistogram => 7,
            MetricType::Unknown | MetricType::Info | MetricType::StateSet => 5,
        };
        let (mut at, mut value) = (None, None);
        for field in Fields::new(bytes) {
            match field? {
                (6, Value::Varint(time)) => at = Some(TimestampMs(time.cast_signed())),
                (number, Value::Bytes(bytes)) if number == wanted => value = Some(bytes),
                _ => {}
            }
        }
        let value = value.ok_or(Fault("a metric has no value of its family's type"))?;
        let value = match kind {
            MetricType::Summary => MetricValue::Summary(SummaryMessage::read(value, message)?),
            MetricType::Histogram | MetricType::GaugeHistogram => {
                MetricValue::Histogram(HistogramMessage::read(value, message)?)
            }
            _ => MetricValue::Float(double(value, 1)?.unwrap_or(0.0)),
        };
        Ok(Self {
            at,
            value,
            bytes,
            message,
        })
    }

    /// Returns names and values of its labels, in order; they may be anything, and repeat.
    pub fn labels(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), ProtobufError>> {
        let message = self.message;
        messages(self.bytes, 1).map(move |pair| {
            let pair = pair.and_then(|bytes| {
                let (mut name, mut value) = ("", "");
                for field in Fields::new(bytes) {
                    match field? {
                        (1, Value::Bytes(bytes)) => name = text(bytes)?,
                        (2, Value::Bytes(bytes)) => value = text(bytes)?,
                        _ => {}
                    }
                }
                Ok((name, value))
            });
            pair.map_err(|fault| fault.in_message(message))
        })
    }
}

/// A summary.
#[derive(Clone, Copy, Debug)]
pub struct SummaryMessage<'a> {
    /// Observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    bytes: &'a [u8],
    message: u64,
}

impl<'a> SummaryMessage<'a> {
    fn read(bytes: &'a [u8], message: u64) -> Read<Self> {
        let (mut count, mut sum) = (0.0, 0.0);
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Varint(observed)) => count = as_float(observed),
                (2, Value::Fixed64(bits)) => sum = f64::from_bits(bits),
                _ => {}
            }
        }
        Ok(Self {
            count,
            sum,
            bytes,
            message,
        })
    }

    /// Returns quantiles and their values.
    pub fn quantiles(&self) -> impl Iterator<Item = Result<(f64, f64), ProtobufError>> + 'a {
        let message = self.message;
        messages(self.bytes, 3).map(move |quantile| {
            let quantile = quantile.and_then(|bytes| {
                let part = |number| Ok(double(bytes, number)?.unwrap_or(0.0));
                Ok((part(1)?, part(2)?))
            });
            quantile.map_err(|fault| fault.in_message(message))
        })
    }
}

/// A histogram: classic buckets, native ones, or both.
#[derive(Clone, Copy, Debug)]
pub struct HistogramMessage<'a> {
    /// Observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    is_native: bool,
    bytes: &'a [u8],
    message: u64,
}

impl<'a> HistogramMessage<'a> {
    fn read(bytes: &'a [u8], message: u64) -> Read<Self> {
        let (mut whole, mut float, mut sum, mut is_native) = (0, 0.0, 0.0, false);
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Varint(observed)) => whole = observed,
                (4, Value::Fixed64(bits)) => float = f64::from_bits(bits),
                (2, Value::Fixed64(bits)) => sum = f64::from_bits(bits),
                // A native histogram without observations has a zero threshold, or a span of no buckets.
                (6, Value::Fixed64(bits)) => is_native |= f64::from_bits(bits) > 0.0,
                (7, Value::Varint(zero)) => is_native |= zero > 0,
                (8, Value::Fixed64(bits)) => is_native |= f64::from_bits(bits) > 0.0,
                (9 | 12, Value::Bytes(_)) => is_native = true,
                _ => {}
            }
        }
        Ok(Self {
            count: if float > 0.0 { float } else { as_float(whole) },
            sum,
            is_native,
            bytes,
            message,
        })
    }

    /// Returns bounds and cumulative counts of the classic buckets.
    pub fn buckets(&self) -> impl Iterator<Item = Result<(f64, f64), ProtobufError>> + 'a {
        let message = self.message;
        messages(self.bytes, 3).map(move |bucket| {
            let bucket = bucket.and_then(|bytes| {
                let (mut whole, mut float, mut bound) = (0, 0.0, 0.0);
                for field in Fields::new(bytes) {
                    match field? {
                        (1, Value::Varint(observed)) => whole = observed,
                        (4, Value::Fixed64(bits)) => float = f64::from_bits(bits),
                        (2, Value::Fixed64(bits)) => bound = f64::from_bits(bits),
                        _ => {}
                    }
                }
                let count = if float > 0.0 { float } else { as_float(whole) };
                Ok((bound, count))
            });
            bucket.map_err(|fault| fault.in_message(message))
        })
    }

    /// Returns the native histogram, checked; `None` when there are classic buckets only. `kind` is the family's.
    pub fn native(&self, kind: MetricType) -> Result<Option<Histogram>, ProtobufError> {
        if !self.is_native {
            return Ok(None);
        }
        let native = native(self.bytes, kind == MetricType::GaugeHistogram);
        native
            .map(Some)
            .map_err(|fault| fault.in_message(self.message))
    }
}

fn native(bytes: &[u8], is_gauge: bool) -> Read<Histogram> {
    let mut raw = Native::default();
    for field in Fields::new(bytes) {
        raw.take(field?)?;
    }
    let is_float = raw.count_float > 0.0 || raw.zero_float > 0.0;
    let buckets = if is_float {
        Buckets::Float {
            count: raw.count_float,
            zero: raw.zero_float,
            positive: raw.positive_counts,
            negative: raw.negative_counts,
        }
    } else {
        Buckets::Integer {
            count: raw.count,
            zero: raw.zero,
            positive: absolute(&raw.positive_deltas)?,
            negative: absolute(&raw.negative_deltas)?,
        }
    };
    let histogram = Histogram {
        reset: if is_gauge {
            CounterReset::Gauge
        } else {
            CounterReset::Unknown
        },
        schema: i8::try_from(raw.schema).map_err(|_| Fault("a histogram's schema is unknown"))?,
        zero_threshold: raw.zero_threshold,
        sum: raw.sum,
        positive_spans: without_empty(raw.positive_spans),
        negative_spans: without_empty(raw.negative_spans),
        custom_bounds: Vec::new(),
        buckets,
    };
    match histogram.validate_observed() {
        Ok(()) => Ok(histogram),
        Err(_) => Err(Fault(
            "the parts of a native histogram contradict each other",
        )),
    }
}

/// The fields of a native histogram.
#[derive(Default)]
struct Native {
    schema: i32,
    zero_threshold: f64,
    sum: f64,
    count: u64,
    count_float: f64,
    zero: u64,
    zero_float: f64,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
}

impl Native {
    fn take(&mut self, (number, value): (u32, Value<'_>)) -> Read<()> {
        match (number, value) {
            (1, Value::Varint(count)) => self.count = count,
            (2, Value::Fixed64(bits)) => self.sum = f64::from_bits(bits),
            (4, Value::Fixed64(bits)) => self.count_float = f64::from_bits(bits),
            (5, Value::Varint(schema)) => self.schema = zigzag_i32(schema)?,
            (6, Value::Fixed64(bits)) => self.zero_threshold = f64::from_bits(bits),
            (7, Value::Varint(count)) => self.zero = count,
            (8, Value::Fixed64(bits)) => self.zero_float = f64::from_bits(bits),
            (9, Value::Bytes(bytes)) => self.negative_spans.push(span(bytes)?),
            (10, value) => put_signed(&mut self.negative_deltas, value)?,
            (11, value) => put_doubles(&mut self.negative_counts, value)?,
            (12, Value::Bytes(bytes)) => self.positive_spans.push(span(bytes)?),
            (13, value) => put_signed(&mut self.positive_deltas, value)?,
            (14, value) => put_doubles(&mut self.positive_counts, value)?,
            _ => {}
        }
        Ok(())
    }
}

fn span(bytes: &[u8]) -> Read<Span> {
    let mut span = Span {
        offset: 0,
        length: 0,
    };
    for field in Fields::new(bytes) {
        match field? {
            (1, Value::Varint(offset)) => span.offset = zigzag_i32(offset)?,
            (2, Value::Varint(length)) => {
                span.length =
                    u32::try_from(length).map_err(|_| Fault("a span is longer than 2^32"))?;
            }
            _ => {}
        }
    }
    Ok(span)
}

/// A span of no buckets only says that the histogram is native; after the first one, its offset still counts.
fn without_empty(spans: Vec<Span>) -> Vec<Span> {
    match spans.as_slice() {
        [only] if only.length == 0 => Vec::new(),
        _ => spans,
    }
}

/// Counts as differences, each from the one before.
fn absolute(deltas: &[i64]) -> Read<Vec<u64>> {
    let mut count = 0_i64;
    let mut next = |delta: &i64| {
        count = count
            .checked_add(*delta)
            .ok_or(Fault("a bucket's count overflows"))?;
        u64::try_from(count).map_err(|_| Fault("a bucket has a negative count"))
    };
    deltas.iter().map(&mut next).collect()
}

fn put_signed(out: &mut Vec<i64>, value: Value<'_>) -> Read<()> {
    match value {
        Value::Varint(coded) => out.push(zigzag(coded)),
        Value::Bytes(packed) => {
            let mut fields = Fields::new(packed);
            while !fields.rest().is_empty() {
                out.push(zigzag(fields.varint()?));
            }
        }
        Value::Fixed64(_) | Value::Fixed32 => {}
    }
    Ok(())
}

fn put_doubles(out: &mut Vec<f64>, value: Value<'_>) -> Read<()> {
    match value {
        Value::Fixed64(bits) => out.push(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (doubles, []) = packed.as_chunks() else {
                return Err(Fault("packed doubles are not of 8 bytes each"));
            };
            let decode = |bytes: &[u8; 8]| f64::from_bits(u64::from_le_bytes(*bytes));
            out.extend(doubles.iter().map(decode));
        }
        Value::Varint(_) | Value::Fixed32 => {}
    }
    Ok(())
}

/// Returns the messages in the field `number`.
fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = Read<&[u8]>> {
    Fields::new(bytes).filter_map(move |field| match field {
        Ok((found, Value::Bytes(bytes))) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(fault) => Some(Err(fault)),
    })
}

fn double(bytes: &[u8], number: u32) -> Read<Option<f64>> {
    let mut found = None;
    for field in Fields::new(bytes) {
        match field? {
            (at, Value::Fixed64(bits)) if at == number => found = Some(f64::from_bits(bits)),
            _ => {}
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Read<&str> {
    std::str::from_utf8(bytes).map_err(|_| Fault("a text is not UTF-8"))
}

const fn metric_type(kind: u64) -> Read<MetricType> {
    Ok(match kind {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        _ => return Err(Fault("a family's type is unknown")),
    })
}

const fn zigzag(coded: u64) -> i64 {
    (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed())
}

fn zigzag_i32(coded: u64) -> Read<i32> {
    i32::try_from(zigzag(coded)).map_err(|_| Fault("a number of 32 bits is larger"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are doubles; above 2^53 a count is rounded"
)]
const fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
