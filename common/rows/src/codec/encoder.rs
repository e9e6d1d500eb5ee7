//! The writing end of a stream of batches.

use std::collections::HashMap;
use std::sync::Arc;

use model::{TimestampMs, Value};

use super::bases::{Base, Bases};
use super::by_slot::Coded;
use super::bytes::put_varint;
use super::error::{EncodeError, RowError};
use super::rows_section::{leans_on, put_row};
use super::{
    HISTOGRAM_PARTS_MAX, KEY_INTERVAL, METADATA_MAX, ROWS_MAX, SAMPLES_MAX, TEXT_BYTES_MAX,
    WEIGHT_MAX, body, weight,
};
use crate::{CohortId, MetricMetadata, Row, SeriesExemplar, SeriesSample};

/// What goes into a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchContents<'a> {
    /// Rows, each cohort's in the order of their counters.
    pub rows: &'a [Arc<Row>],
    /// Samples with times of their own.
    pub samples: &'a [SeriesSample],
    /// What metric families say of themselves.
    pub metadata: &'a [MetricMetadata],
}

/// What goes into a batch without rows, made by a store of series that it receives one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct SampleContents<'a> {
    /// Samples; those of a cohort together, and of a slot in the order that they came, take the fewest bytes.
    pub samples: &'a [SeriesSample],
    /// Exemplars of the same series.
    pub exemplars: &'a [SeriesExemplar],
    /// What metric families say of themselves.
    pub metadata: &'a [MetricMetadata],
}

/// Encodes samples in columns. The body leans on no other and is decoded by a [`BatchDecoder`](super::BatchDecoder) of all versions.
pub fn encode_samples(contents: &SampleContents<'_>) -> Result<Arc<[u8]>, EncodeError> {
    let SampleContents {
        samples,
        exemplars,
        metadata,
    } = *contents;
    EncodeError::check(
        "samples with times of their own",
        samples.len(),
        SAMPLES_MAX,
    )?;
    EncodeError::check("exemplars of samples", exemplars.len(), SAMPLES_MAX)?;
    let mut total = 0;
    for sample in samples {
        check_value(sample)?;
        total += weight::of_sample(sample);
    }
    for SeriesExemplar { exemplar, .. } in exemplars {
        let bytes = exemplar.labels.text_bytes();
        EncodeError::check("bytes of labels", bytes, TEXT_BYTES_MAX)?;
        total += weight::of_exemplar(exemplar);
    }
    check_metadata(metadata)?;
    EncodeError::check("slots and histogram parts", total, WEIGHT_MAX)?;
    body::assemble_columns(samples, exemplars, metadata).map(Arc::from)
}

/// An encoded body, and what is in it.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    /// The body.
    pub bytes: Arc<[u8]>,
    /// Rows in it.
    pub rows: usize,
    /// Those that lean on no other row.
    pub key_rows: usize,
    /// Values in it: slots with a value, and samples with times of their own.
    pub samples: usize,
}

/// Encodes rows against the rows before them.
///
/// One encoder belongs to one epoch. It holds the last row of each cohort, up to
/// [`WEIGHT_HELD_MAX`](super::WEIGHT_HELD_MAX) slots together; those used least recently are let go of, and their cohorts begin
/// again with a key row.
#[derive(Debug, Default)]
pub struct BatchEncoder {
    bases: Bases,
}

impl BatchEncoder {
    /// Returns an encoder that begins each cohort with a key row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes a batch; after an error the encoder is as it was.
    ///
    /// A row is a key row when it is the first of its cohort here, the cohort was [forgotten](Self::forget), the layout shrank or the
    /// counter did not rise, or the last [`KEY_INTERVAL`] - 1 rows were none.
    pub fn encode(&mut self, contents: &BatchContents<'_>) -> Result<EncodedBatch, EncodeError> {
        check(contents)?;
        let mut section = Vec::new();
        put_varint(&mut section, contents.rows.len() as u64);
        let mut made: HashMap<CohortId, Base> = HashMap::new();
        let mut leaned_on = Vec::with_capacity(contents.rows.len());
        for row in contents.rows {
            let last = made
                .get(&row.cohort)
                .or_else(|| self.bases.get(row.cohort))
                .filter(|base| base.age + 1 < KEY_INTERVAL && leans_on(row, &base.row));
            let base = Base {
                exponents: put_row(&mut section, row, last.map(Base::seen)),
                age: last.map_or(0, |base| base.age + 1),
                row: Arc::clone(row),
            };
            leaned_on.push(last.map(|base| Arc::clone(&base.row)));
            made.insert(row.cohort, base);
        }
        let coded: Vec<Coded<'_>> = contents
            .rows
            .iter()
            .zip(&leaned_on)
            .map(|(row, base)| Coded {
                row,
                base: base.as_deref(),
            })
            .collect();
        let bytes = body::assemble(&section, &coded, contents.samples, contents.metadata)?;
        self.bases.put(made.into_values());
        let values: usize = contents.rows.iter().map(|row| row.presence.count()).sum();
        Ok(EncodedBatch {
            bytes: bytes.into(),
            rows: contents.rows.len(),
            key_rows: leaned_on.iter().filter(|base| base.is_none()).count(),
            samples: values + contents.samples.len(),
        })
    }

    /// Makes the next row of `cohort` a key row.
    pub fn forget(&mut self, cohort: CohortId) {
        self.bases.remove(cohort);
    }

    /// Makes the next row of every cohort a key row: at the start of a stream or of a spool segment, and after a refusal.
    pub fn reset(&mut self) {
        self.bases.clear();
    }
}

/// Returns whether a decoder would take these.
pub(super) fn check(contents: &BatchContents<'_>) -> Result<(), EncodeError> {
    EncodeError::check("rows", contents.rows.len(), ROWS_MAX)?;
    let samples = contents.samples;
    EncodeError::check(
        "samples with times of their own",
        samples.len(),
        SAMPLES_MAX,
    )?;
    let mut total = 0;
    for row in contents.rows {
        check_row(row)?;
        total += weight::of_row(row);
    }
    for sample in samples {
        check_sample(sample)?;
        total += weight::of_sample(sample);
    }
    check_metadata(contents.metadata)?;
    EncodeError::check("slots and histogram parts", total, WEIGHT_MAX)
}

fn check_metadata(metadata: &[MetricMetadata]) -> Result<(), EncodeError> {
    EncodeError::check("described metrics", metadata.len(), METADATA_MAX)?;
    for MetricMetadata { metric, metadata } in metadata {
        let longest = metric
            .len()
            .max(metadata.help.len())
            .max(metadata.unit.len());
        EncodeError::check("bytes of text", longest, TEXT_BYTES_MAX)?;
    }
    Ok(())
}

pub(super) fn check_row(row: &Row) -> Result<(), EncodeError> {
    weight::check(row).map_err(|source: RowError| EncodeError::Row {
        cohort: row.cohort,
        counter: row.counter,
        source,
    })
}

fn check_sample(sample: &SeriesSample) -> Result<(), EncodeError> {
    if sample.start != TimestampMs(0) {
        return Err(EncodeError::StartTime {
            cohort: sample.cohort,
        });
    }
    check_value(sample)
}

fn check_value(sample: &SeriesSample) -> Result<(), EncodeError> {
    let Value::Histogram(histogram) = &sample.value else {
        return Ok(());
    };
    let cohort = sample.cohort;
    histogram
        .validate()
        .map_err(|source| EncodeError::Sample { cohort, source })?;
    let parts = weight::of_histogram(histogram);
    EncodeError::check("parts of a histogram", parts, HISTOGRAM_PARTS_MAX)
}
