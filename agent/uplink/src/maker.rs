//! Rows into numbered batches, and each batch into the spool.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TimestampMs;
use rows::{
    BatchContents, BatchEncoder, BatchNumber, CohortDefinition, CohortId, EncodeError,
    EncodedBatch, Epoch, MetricMetadata, Row, SeriesSample, row_weight,
};
use spool::{AppendError, NewBatch, Spool};

use crate::definition;

/// Rows of one batch weigh at most so much together, far below what the codec takes, so that key rows fit as well.
const WEIGHT_PER_BATCH: usize = 128 * 1024;
/// Rows of one batch.
const ROWS_PER_BATCH: usize = 1_024;

/// What collectors bring since the last batch.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Slots that rows from now on may use.
    pub definitions: Vec<CohortDefinition>,
    /// Cohorts that will have no more rows; their definitions are not repeated any more.
    pub ended: Vec<CohortId>,
    /// Rows, in order of their counters within each cohort.
    pub rows: Vec<Arc<Row>>,
    /// Samples with times of their own.
    pub samples: Vec<SeriesSample>,
    /// What metric families say of themselves, when that is new.
    pub metadata: Vec<MetricMetadata>,
}

impl Update {
    /// Returns whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.samples.is_empty() && self.metadata.is_empty()
    }
}

/// What was put into the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The number of the last batch.
    pub last: BatchNumber,
    /// Batches.
    pub batches: u64,
}

/// Why rows were not put into the spool: they are lost, counted, and collection goes on.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The spool did not take them.
    #[error(transparent)]
    Spool(#[from] AppendError),
    /// They break the rules of rows.
    #[error("cannot encode rows")]
    Encode(#[from] EncodeError),
    /// A definition breaks the bounds of the protocol.
    #[error("cannot define a cohort")]
    Definition(#[from] wire::EncodeError),
}

/// What a maker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MakerStats {
    /// Batches made.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Samples in them.
    pub samples: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Rows that could not be put into the spool.
    pub rows_lost: u64,
}

/// Codes rows into batches. One maker belongs to one run of the agent: its epoch is the spool's.
#[derive(Debug)]
pub struct Maker {
    epoch: Epoch,
    next: BatchNumber,
    encoder: BatchEncoder,
    /// Each cohort's, repeated at the start of every segment. Kept as they came, for their label sets are the very ones that the makers
    /// of rows hold; as frames they would be a second copy of all text.
    definitions: BTreeMap<CohortId, Vec<CohortDefinition>>,
    /// The open segment lacks a definition, or there is none: the next batch begins one.
    segment_needed: bool,
    stats: MakerStats,
}

impl Maker {
    /// Returns a maker for the run that `spool` was opened with.
    pub fn new(spool: &Spool) -> Self {
        Self {
            epoch: spool.epoch(),
            next: BatchNumber(0),
            encoder: BatchEncoder::new(),
            definitions: BTreeMap::new(),
            segment_needed: true,
            stats: MakerStats::default(),
        }
    }

    /// Returns what has been done.
    pub const fn stats(&self) -> MakerStats {
        self.stats
    }

    /// Puts an update into the spool, in as many batches as it needs. `None`: there was nothing to send. After an error the
    /// rows that were not put are lost and counted; the next update begins with key rows.
    pub fn make(
        &mut self,
        spool: &mut Spool,
        update: &Update,
        now: TimestampMs,
    ) -> Result<Option<Made>, MakeError> {
        let rows_before = self.stats.rows;
        let made = self.put(spool, update, now);
        if made.is_err() {
            // What was encoded went nowhere, so nothing may lean on it.
            self.encoder.reset();
            let put = self.stats.rows - rows_before;
            self.stats.rows_lost += (update.rows.len() as u64).saturating_sub(put);
        }
        made
    }

    fn put(
        &mut self,
        spool: &mut Spool,
        update: &Update,
        now: TimestampMs,
    ) -> Result<Option<Made>, MakeError> {
        self.define(spool, &update.definitions)?;
        for cohort in &update.ended {
            self.definitions.remove(cohort);
            self.encoder.forget(*cohort);
        }
        let mut made = None;
        for part in parts(update) {
            self.make_batch(spool, &part, now)?;
            let batches = made.map_or(0, |made: Made| made.batches) + 1;
            made = Some(Made {
                last: self.next,
                batches,
            });
            self.next = self.next.next();
        }
        Ok(made)
    }

    /// Remembers all definitions before any is written: they come only once, and whatever becomes of the writing, the rows to
    /// come lean on them.
    fn define(
        &mut self,
        spool: &mut Spool,
        definitions: &[CohortDefinition],
    ) -> Result<(), MakeError> {
        let mut all = Vec::new();
        for definition in definitions {
            let cohort = definition.cohort;
            let frames = definition::encode(self.epoch, definition.clone())?;
            self.definitions
                .entry(cohort)
                .or_default()
                .push(definition.clone());
            all.extend(frames);
        }
        for frame in all {
            if self.segment_needed {
                break;
            }
            if let Err(error) = spool.append_definition(&frame) {
                // A definition that is missing from a segment must not be leaned on in it, though a smaller batch may still fit.
                self.segment_needed = true;
                if !matches!(error, AppendError::NeedsSegmentStart) {
                    tracing::warn!(%error, "a definition goes into a new spool segment");
                }
            }
        }
        Ok(())
    }

    fn begin_segment(&mut self, spool: &mut Spool) -> Result<(), AppendError> {
        self.encoder.reset();
        self.segment_needed = true;
        let epoch = self.epoch;
        let frames = self.definitions.values().flatten().flat_map(|known| {
            definition::encode(epoch, known.clone()).expect("it was encoded when it came")
        });
        spool.begin_segment(frames)?;
        self.segment_needed = false;
        Ok(())
    }

    fn make_batch(
        &mut self,
        spool: &mut Spool,
        part: &BatchContents<'_>,
        now: TimestampMs,
    ) -> Result<(), MakeError> {
        if self.segment_needed {
            self.begin_segment(spool)?;
        }
        let encoded = self.encoder.encode(part)?;
        let encoded = match self.append(spool, &encoded, now) {
            Ok(()) => encoded,
            Err(AppendError::NeedsSegmentStart) => {
                self.begin_segment(spool)?;
                let as_key_rows = self.encoder.encode(part)?;
                self.append(spool, &as_key_rows, now)?;
                as_key_rows
            }
            Err(error) => return Err(error.into()),
        };
        self.stats.batches += 1;
        self.stats.rows += encoded.rows as u64;
        self.stats.samples += encoded.samples as u64;
        self.stats.body_bytes += encoded.bytes.len() as u64;
        Ok(())
    }

    fn append(
        &self,
        spool: &mut Spool,
        encoded: &EncodedBatch,
        now: TimestampMs,
    ) -> Result<(), AppendError> {
        spool.append(NewBatch {
            number: self.next,
            created: now,
            rows: u32::try_from(encoded.rows).unwrap_or(u32::MAX),
            samples: u32::try_from(encoded.samples).unwrap_or(u32::MAX),
            body: &encoded.bytes,
        })
    }
}

/// An update cut into what fits into a batch each; samples and metadata go with the first.
fn parts(update: &Update) -> impl Iterator<Item = BatchContents<'_>> {
    let mut rest = update.rows.as_slice();
    let mut first = !update.is_empty();
    std::iter::from_fn(move || {
        if rest.is_empty() && !first {
            return None;
        }
        let mut weight = 0;
        let fits = rest.iter().take(ROWS_PER_BATCH).take_while(|row| {
            weight += row_weight(row);
            weight <= WEIGHT_PER_BATCH
        });
        // A row larger than the bound goes alone.
        let (rows, later) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = later;
        let part = BatchContents {
            rows,
            samples: if first { &update.samples } else { &[] },
            metadata: if first { &update.metadata } else { &[] },
        };
        first = false;
        Some(part)
    })
}

#[cfg(test)]
mod tests;
