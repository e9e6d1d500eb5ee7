//! Delimited protobuf, made of an exposition in text.

use model::{MetricType, TimestampMs};

use crate::{Entry, ParseError, Part, SampleEntry, TextParser};

/// Returns the exposition `text` (text 0.0.4, families and metrics in one piece, as [`Writer`](crate::Writer) makes it) as delimited
/// protobuf. Costs as much as parsing; who is asked for protobuf rarely need not write it from the start.
pub fn to_protobuf(text: &str) -> Result<Vec<u8>, ParseError> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut family = Family::default();
    for entry in TextParser::new(text.as_bytes()) {
        match entry? {
            Entry::Help { family: name, text } => {
                family.begin(&name.decode(), &mut out);
                family.help = text.decode().into_owned();
            }
            Entry::Type { family: name, kind } => {
                family.begin(&name.decode(), &mut out);
                family.kind = kind;
            }
            Entry::Sample(sample) => family.take(&sample, &mut out),
            Entry::Unit { .. } | Entry::Comment(_) | Entry::Eof => {}
        }
    }
    family.end(&mut out);
    Ok(out)
}

/// The family under way.
#[derive(Debug, Default)]
struct Family {
    name: String,
    help: String,
    kind: MetricType,
    metrics: Vec<u8>,
    metric: Option<Metric>,
}

/// The metric under way.
#[derive(Debug)]
struct Metric {
    labels: Vec<(String, String)>,
    at: Option<TimestampMs>,
    value: f64,
    count: f64,
    sum: f64,
    /// Bounds and counts, or quantiles and values.
    bounds: Vec<(f64, f64)>,
}

impl Family {
    fn begin(&mut self, name: &str, out: &mut Vec<u8>) {
        if self.name != name {
            self.end(out);
            name.clone_into(&mut self.name);
        }
    }

    fn take(&mut self, sample: &SampleEntry<'_>, out: &mut Vec<u8>) {
        let name = sample.series.name().decode();
        let labels: Vec<(String, String)> = (sample.series.labels().iter())
            .map(|(name, value)| (name.decode().into_owned(), value.decode().into_owned()))
            .collect();
        let (stem, suffix) = Part::split_name(self.kind, &name);
        let (stem, suffix) = if stem == self.name {
            (stem, suffix)
        } else {
            (&*name, "")
        };
        self.begin(stem, out);
        let of = |wanted: &str| {
            let mut labels = labels.iter();
            let found = labels.find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let part = Part::of_suffix(self.kind, suffix, of);
        let bound = part.bound();
        let own = labels
            .iter()
            .filter(|(name, _)| bound.is_none_or(|(label, _)| label != name));
        let own: Vec<(String, String)> = own.cloned().collect();
        let is_of_many = matches!(self.kind, MetricType::Histogram | MetricType::Summary);
        let goes_on = is_of_many
            && (self.metric.as_ref())
                .is_some_and(|metric| metric.labels == own && metric.at == sample.at);
        if !goes_on {
            self.end_metric();
        }
        let metric = self.metric.get_or_insert_with(|| Metric {
            labels: own,
            at: sample.at,
            value: 0.0,
            count: 0.0,
            sum: 0.0,
            bounds: Vec::new(),
        });
        match (part, bound) {
            (Part::Sum, _) => metric.sum = sample.value,
            (Part::Count, _) => metric.count = sample.value,
            (_, Some((_, bound))) => metric.bounds.push((bound, sample.value)),
            _ => metric.value = sample.value,
        }
    }

    fn end_metric(&mut self) {
        if let Some(metric) = self.metric.take() {
            let message = metric.encode(self.kind);
            put_bytes(&mut self.metrics, 4, &message);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_metric();
        let family = std::mem::take(self);
        if family.metrics.is_empty() {
            return;
        }
        let mut message = Vec::with_capacity(family.metrics.len() + family.name.len() + 64);
        put_bytes(&mut message, 1, family.name.as_bytes());
        if !family.help.is_empty() {
            put_bytes(&mut message, 2, family.help.as_bytes());
        }
        put_number(&mut message, 3, kind_number(family.kind));
        message.extend_from_slice(&family.metrics);
        put_varint(out, message.len() as u64);
        out.extend_from_slice(&message);
    }
}

impl Metric {
    fn encode(&self, kind: MetricType) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.labels {
            let mut pair = Vec::new();
            put_bytes(&mut pair, 1, name.as_bytes());
            put_bytes(&mut pair, 2, value.as_bytes());
            put_bytes(&mut out, 1, &pair);
        }
        let mut value = Vec::new();
        let number = match kind {
            MetricType::Histogram => {
                put_count(&mut value, (1, 4), self.count);
                put_double(&mut value, 2, self.sum);
                for (bound, count) in &self.bounds {
                    let mut bucket = Vec::new();
                    put_count(&mut bucket, (1, 4), *count);
                    put_double(&mut bucket, 2, *bound);
                    put_bytes(&mut value, 3, &bucket);
                }
                7
            }
            MetricType::Summary => {
                put_number(&mut value, 1, whole(self.count).unwrap_or_default());
                put_double(&mut value, 2, self.sum);
                for (quantile, of) in &self.bounds {
                    let mut pair = Vec::new();
                    put_double(&mut pair, 1, *quantile);
                    put_double(&mut pair, 2, *of);
                    put_bytes(&mut value, 3, &pair);
                }
                4
            }
            _ => {
                put_double(&mut value, 1, self.value);
                match kind {
                    MetricType::Gauge => 2,
                    MetricType::Counter => 3,
                    _ => 5,
                }
            }
        };
        put_bytes(&mut out, number, &value);
        if let Some(at) = self.at {
            put_number(&mut out, 6, at.0.cast_unsigned());
        }
        out
    }
}

const fn kind_number(kind: MetricType) -> u64 {
    match kind {
        MetricType::Counter => 0,
        MetricType::Gauge => 1,
        MetricType::Summary => 2,
        MetricType::Histogram => 4,
        _ => 3,
    }
}

/// A count: in the field for whole ones, or in the other.
fn put_count(out: &mut Vec<u8>, (integer, float): (u8, u8), count: f64) {
    match whole(count) {
        Some(count) => put_number(out, integer, count),
        None => put_double(out, float, count),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number from 0 to 2^53"
)]
fn whole(count: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    ((0.0..=EXACT_MAX).contains(&count) && count.fract() == 0.0).then_some(count as u64)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

fn put_double(out: &mut Vec<u8>, field: u8, number: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, MetricValue, Point, ProtobufParser, Writer};

    #[test]
    fn what_is_written_is_read_back() {
        let mut text = String::new();
        let mut writer = Writer::new(Format::Text, &mut text);
        let family = |name, kind| crate::Family {
            name,
            kind,
            help: "About\nit.",
            unit: "",
        };
        writer.family(&family("c_total", MetricType::Counter));
        writer.sample(Part::Value, [("l", "a\"b")], 1.5);
        writer.sample(Part::Value, [("l", "b")], f64::INFINITY);
        writer.family(&family("g", MetricType::Gauge));
        let point = Point {
            value: -2.0,
            at: Some(TimestampMs(-5)),
            exemplar: None,
        };
        writer.sample(Part::Value, [], point);
        writer.family(&family("h", MetricType::Histogram));
        writer.histogram([("l", "x")], [(0.5, 1.0), (1.0, 3.0)], 4.0, 2.5);
        writer.histogram([("l", "y")], [], 0.5, 0.25);
        writer.family(&family("s", MetricType::Summary));
        writer.sample(Part::Quantile(0.5), [], 7.0);
        writer.sample(Part::Sum, [], 8.0);
        writer.sample(Part::Count, [], 9.0);
        writer.family(&family("u", MetricType::Unknown));
        writer.sample(Part::Value, [], 3.0);
        writer.finish();
        text.push_str("bare{x=\"y\"} 6\n");

        let mut read = Vec::new();
        for family in ProtobufParser::new(&to_protobuf(&text).expect("well formed")) {
            let family = family.expect("well formed");
            for metric in family.metrics() {
                let metric = metric.expect("well formed");
                let labels: Vec<_> = metric.labels().collect::<Result<_, _>>().expect("pairs");
                let value = match metric.value {
                    MetricValue::Float(value) => value.to_string(),
                    MetricValue::Summary(s) => {
                        let quantiles: Vec<_> = s.quantiles().map(|q| q.expect("one")).collect();
                        format!("{} {} {quantiles:?}", s.count, s.sum)
                    }
                    MetricValue::Histogram(h) => {
                        let buckets: Vec<_> = h.buckets().map(|b| b.expect("one")).collect();
                        format!("{} {} {buckets:?}", h.count, h.sum)
                    }
                };
                let at = metric.at.map_or(0, |at| at.0);
                read.push(format!(
                    "{} {} {labels:?} {value} {at}",
                    family.kind, family.name
                ));
            }
            assert_eq!(family.help.is_empty(), family.name == "bare");
        }
        assert_eq!(
            read,
            [
                r#"counter c_total [("l", "a\"b")] 1.5 0"#,
                r#"counter c_total [("l", "b")] inf 0"#,
                "gauge g [] -2 -5",
                r#"histogram h [("l", "x")] 4 2.5 [(0.5, 1.0), (1.0, 3.0), (inf, 4.0)] 0"#,
                r#"histogram h [("l", "y")] 0.5 0.25 [(inf, 0.5)] 0"#,
                "summary s [] 9 8 [(0.5, 7.0)] 0",
                "unknown u [] 3 0",
                r#"unknown bare [("x", "y")] 6 0"#,
            ]
        );
    }
}
