//! The writing end of a stream of batches.

use std::collections::HashMap;
use std::sync::Arc;

use model::Value;

use super::bases::{Base, Bases};
use super::by_slot::Coded;
use super::bytes::put_varint;
use super::error::{EncodeError, RowError};
use super::rows_section::{leans_on, put_row};
use super::{
    HISTOGRAM_PARTS_MAX, KEY_INTERVAL, METADATA_MAX, ROWS_MAX, SAMPLES_MAX, TEXT_BYTES_MAX,
    WEIGHT_MAX, body, weight,
};
use crate::{CohortId, MetricMetadata, Row, SeriesSample};

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
    EncodeError::check("described metrics", contents.metadata.len(), METADATA_MAX)?;
    let mut total = 0;
    for row in contents.rows {
        check_row(row)?;
        total += weight::of_row(row);
    }
    for sample in samples {
        check_sample(sample)?;
        total += weight::of_sample(sample);
    }
    for MetricMetadata { metric, metadata } in contents.metadata {
        let longest = metric
            .len()
            .max(metadata.help.len())
            .max(metadata.unit.len());
        EncodeError::check("bytes of text", longest, TEXT_BYTES_MAX)?;
    }
    EncodeError::check("slots and histogram parts", total, WEIGHT_MAX)
}

pub(super) fn check_row(row: &Row) -> Result<(), EncodeError> {
    weight::check(row).map_err(|source: RowError| EncodeError::Row {
        cohort: row.cohort,
        counter: row.counter,
        source,
    })
}

fn check_sample(sample: &SeriesSample) -> Result<(), EncodeError> {
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
