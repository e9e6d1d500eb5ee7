//! Samples with times of their own, and metadata.

use std::sync::Arc;

use model::{Metadata, MetricType, TimestampMs, Value};

use super::bytes::{ByteReader, put_signed, put_text, put_varint};
use super::error::DecodeError;
use super::weight::Budget;
use super::{METADATA_MAX, SAMPLES_MAX, histogram};
use crate::{CohortId, MetricMetadata, SLOTS_MAX, SeriesSample, Slot};

const FLOAT: u8 = 0;
const HISTOGRAM: u8 = 1;

/// Appends `samples`; each one's time is the distance from the one before.
pub(super) fn put_samples(out: &mut Vec<u8>, samples: &[SeriesSample]) {
    put_varint(out, samples.len() as u64);
    let mut before = 0_i64;
    for sample in samples {
        put_varint(out, u64::from(sample.cohort.0));
        put_varint(out, u64::from(sample.slot));
        put_signed(out, sample.at.0.wrapping_sub(before));
        before = sample.at.0;
        match &sample.value {
            Value::Float(value) => {
                out.push(FLOAT);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            Value::Histogram(value) => {
                out.push(HISTOGRAM);
                histogram::put(out, value, None);
            }
        }
    }
}

/// Reads what [`put_samples`] wrote.
pub(super) fn take_samples(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
) -> Result<Vec<SeriesSample>, DecodeError> {
    let count = reader.count("samples with times of their own", SAMPLES_MAX)?;
    let mut samples = Vec::new();
    let mut before = 0_i64;
    for _ in 0..count {
        budget.pay(1)?;
        let cohort = CohortId(reader.u32("a cohort's number is out of range")?);
        let slot = reader.count("slots", SLOTS_MAX - 1)?;
        before = before.wrapping_add(reader.signed()?);
        let value = match reader.byte()? {
            FLOAT => {
                let bits = reader.take(8)?.first_chunk().copied().unwrap_or_default();
                Value::Float(f64::from_bits(u64::from_le_bytes(bits)))
            }
            HISTOGRAM => Value::Histogram(histogram::take(reader, None, budget)?),
            _ => return Err(DecodeError::Malformed("a sample is of no known kind")),
        };
        samples.push(SeriesSample {
            cohort,
            slot: Slot::try_from(slot)
                .map_err(|_| DecodeError::Malformed("a slot is out of range"))?,
            at: TimestampMs(before),
            value,
            start: TimestampMs(0),
        });
    }
    Ok(samples)
}

/// Appends what metric families say of themselves.
pub(super) fn put_metadata(out: &mut Vec<u8>, metadata: &[MetricMetadata]) {
    put_varint(out, metadata.len() as u64);
    for MetricMetadata { metric, metadata } in metadata {
        put_text(out, metric);
        out.push(kind_code(metadata.kind));
        put_text(out, &metadata.help);
        put_text(out, &metadata.unit);
    }
}

/// Reads what [`put_metadata`] wrote.
pub(super) fn take_metadata(
    reader: &mut ByteReader<'_>,
) -> Result<Vec<MetricMetadata>, DecodeError> {
    let count = reader.count("described metrics", METADATA_MAX)?;
    let mut metadata = Vec::new();
    for _ in 0..count {
        metadata.push(MetricMetadata {
            metric: Arc::from(reader.text()?),
            metadata: Metadata {
                kind: take_kind(reader)?,
                help: reader.text()?.to_owned(),
                unit: reader.text()?.to_owned(),
            },
        });
    }
    Ok(metadata)
}

const fn kind_code(kind: MetricType) -> u8 {
    match kind {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

fn take_kind(reader: &mut ByteReader<'_>) -> Result<MetricType, DecodeError> {
    Ok(match reader.byte()? {
        0 => MetricType::Unknown,
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => return Err(DecodeError::Malformed("a metric is of no known type")),
    })
}
