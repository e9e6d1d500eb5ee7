//! Native histograms of remote write: the same message in both versions, but for the start time.

use std::sync::Arc;

use model::{Buckets, CounterReset, Histogram, Span, TimestampMs};

use super::protobuf::{Fields, Malformed, Value, doubles, numbers, signed};

/// Spans, bounds and buckets of one histogram that are read; the rows codec takes no more either.
const PARTS_MAX: usize = 16_384;

/// A histogram and its times.
pub(super) struct HistogramSample {
    pub(super) at: TimestampMs,
    pub(super) start: TimestampMs,
    /// Or why it is none.
    pub(super) value: Result<Arc<Histogram>, String>,
}

#[derive(Default)]
struct Parts {
    count: Option<Count>,
    zero: Option<Count>,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    reset: u64,
    spans: [Vec<Span>; 2],
    deltas: [Vec<i64>; 2],
    counts: [Vec<f64>; 2],
    bounds: Vec<f64>,
}

#[derive(Clone, Copy)]
enum Count {
    Integer(u64),
    Float(f64),
}

const POSITIVE: usize = 0;
const NEGATIVE: usize = 1;

/// Reads a histogram message; fails when the bytes are none.
pub(super) fn read(message: &[u8]) -> Result<HistogramSample, Malformed> {
    let mut fields = Fields::new(message);
    let mut parts = Parts::default();
    let (mut at, mut start) = (TimestampMs(0), TimestampMs(0));
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => parts.count = Some(Count::Integer(value.varint()?)),
            2 => parts.count = Some(Count::Float(value.double()?)),
            3 => parts.sum = value.double()?,
            4 => parts.schema = signed(value.varint()?),
            5 => parts.zero_threshold = value.double()?,
            6 => parts.zero = Some(Count::Integer(value.varint()?)),
            7 => parts.zero = Some(Count::Float(value.double()?)),
            8 => parts.span(NEGATIVE, value)?,
            9 => numbers(value, |delta| parts.delta(NEGATIVE, delta))?,
            10 => doubles(value, |count| parts.counts[NEGATIVE].push(count))?,
            11 => parts.span(POSITIVE, value)?,
            12 => numbers(value, |delta| parts.delta(POSITIVE, delta))?,
            13 => doubles(value, |count| parts.counts[POSITIVE].push(count))?,
            14 => parts.reset = value.varint()?,
            15 => at = TimestampMs(value.int64()?),
            16 => doubles(value, |bound| parts.bounds.push(bound))?,
            17 => start = TimestampMs(value.int64()?),
            _ => {}
        }
        if parts.size() > PARTS_MAX {
            return Err(Malformed("a histogram has more than 16384 parts"));
        }
    }
    Ok(HistogramSample {
        at,
        start,
        value: parts.into_histogram().map(Arc::new),
    })
}

impl Parts {
    fn size(&self) -> usize {
        let spans: usize = self.spans.iter().map(Vec::len).sum();
        let deltas: usize = self.deltas.iter().map(Vec::len).sum();
        let counts: usize = self.counts.iter().map(Vec::len).sum();
        spans + deltas + counts + self.bounds.len()
    }

    fn span(&mut self, side: usize, value: Value<'_>) -> Result<(), Malformed> {
        const RANGE: Malformed = Malformed("a span is out of range");
        let mut fields = Fields::new(value.bytes()?);
        let mut span = Span {
            offset: 0,
            length: 0,
        };
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => span.offset = i32::try_from(signed(value.varint()?)).map_err(|_| RANGE)?,
                2 => span.length = u32::try_from(value.varint()?).map_err(|_| RANGE)?,
                _ => {}
            }
        }
        self.spans[side].push(span);
        Ok(())
    }

    fn delta(&mut self, side: usize, delta: u64) -> Result<(), Malformed> {
        if self.deltas[side].len() >= PARTS_MAX {
            return Err(Malformed("a histogram has more than 16384 parts"));
        }
        self.deltas[side].push(signed(delta));
        Ok(())
    }

    fn into_histogram(self) -> Result<Histogram, String> {
        let [positive_spans, negative_spans] = self.spans;
        let [positive_deltas, negative_deltas] = self.deltas;
        let [positive, negative] = self.counts;
        let is_float = matches!(self.count, Some(Count::Float(_)));
        if self
            .zero
            .is_some_and(|zero| matches!(zero, Count::Float(_)) != is_float)
        {
            return Err("count and zero count are of different kinds".to_owned());
        }
        let buckets = if is_float {
            if !positive_deltas.is_empty() || !negative_deltas.is_empty() {
                return Err("a float histogram has integer buckets".to_owned());
            }
            Buckets::Float {
                count: self.count.map_or(0.0, Count::float),
                zero: self.zero.map_or(0.0, Count::float),
                positive,
                negative,
            }
        } else {
            if !positive.is_empty() || !negative.is_empty() {
                return Err("an integer histogram has float buckets".to_owned());
            }
            Buckets::Integer {
                count: self.count.map_or(0, Count::integer),
                zero: self.zero.map_or(0, Count::integer),
                positive: absolute(&positive_deltas)?,
                negative: absolute(&negative_deltas)?,
            }
        };
        let histogram = Histogram {
            reset: match self.reset {
                1 => CounterReset::Reset,
                2 => CounterReset::NotReset,
                3 => CounterReset::Gauge,
                _ => CounterReset::Unknown,
            },
            schema: i8::try_from(self.schema)
                .map_err(|_| format!("histogram has an invalid schema {}", self.schema))?,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            positive_spans,
            negative_spans,
            custom_bounds: self.bounds,
            buckets,
        };
        histogram
            .validate_observed()
            .map_err(|error| error.to_string())?;
        Ok(histogram)
    }
}

impl Count {
    /// Counts of the other kind do not come here.
    const fn float(self) -> f64 {
        match self {
            Self::Integer(_) => 0.0,
            Self::Float(count) => count,
        }
    }

    const fn integer(self) -> u64 {
        match self {
            Self::Integer(count) => count,
            Self::Float(_) => 0,
        }
    }
}

/// Adds up differences between buckets.
fn absolute(deltas: &[i64]) -> Result<Vec<u64>, String> {
    let mut count = 0_i64;
    deltas
        .iter()
        .enumerate()
        .map(|(bucket, delta)| {
            count = count.saturating_add(*delta);
            u64::try_from(count).map_err(|_| {
                format!(
                    "bucket number {} has a negative count of {count}",
                    bucket + 1
                )
            })
        })
        .collect()
}
