//! One stream's way through the spool.

use std::collections::HashMap;
use std::sync::Arc;

use rows::{BatchNumber, CohortDefinition, CohortId, Epoch, TranscodeError, Transcoder};
use spool::{ReadError, ReadFrom, Reader, Record, Spool, StoredBatch};

use crate::definition;

/// A batch's place among all that were ever spooled.
pub(crate) type BatchId = (Epoch, BatchNumber);

/// Follows the spool in order and says what its stream must carry: definitions before the batches that use them, and bodies that
/// the receiver can decode, as key rows where it lacks the base.
#[derive(Debug)]
pub(crate) struct Lane {
    reader: Reader,
    epoch: Option<Epoch>,
    transcoder: Transcoder,
    /// Slots defined on this stream, of this epoch, by cohort.
    defined: HashMap<CohortId, usize>,
    /// The last batch that was followed.
    followed: Option<BatchId>,
    /// Definitions of this epoch that batches passed over have brought, to be sent with the next batch.
    definitions: Vec<CohortDefinition>,
}

/// The next batch of a lane.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send these definitions, then this body.
    Send {
        /// The batch.
        batch: BatchId,
        /// What it leans on and the receiver lacks.
        definitions: Vec<CohortDefinition>,
        /// Its body.
        body: Arc<[u8]>,
    },
    /// The batch cannot be read any more: damage before it took its base.
    Unreadable {
        /// The batch.
        batch: BatchId,
        /// Why.
        error: TranscodeError,
        /// Samples in it.
        samples: u32,
        /// Its bytes.
        body: Arc<[u8]>,
    },
    /// All that is there has been followed.
    End,
}

impl Lane {
    /// Returns a lane that follows from the start of the segment in which `from` lies.
    pub(crate) fn new(spool: &Spool, from: BatchId) -> Self {
        Self {
            reader: spool.reader(ReadFrom::SegmentOf(from.0, from.1)),
            epoch: None,
            transcoder: Transcoder::new(),
            defined: HashMap::new(),
            followed: None,
            definitions: Vec::new(),
        }
    }

    /// Returns the last batch that was followed, sent or not.
    pub(crate) const fn followed(&self) -> Option<BatchId> {
        self.followed
    }

    /// Begins the chain anew: the receiver's bases are no longer known.
    pub(crate) fn forget_sent(&mut self) {
        self.transcoder.forget_sent();
    }

    /// Follows the spool to the next batch that `wanted` wants.
    pub(crate) fn next(
        &mut self,
        spool: &mut Spool,
        mut wanted: impl FnMut(&Spool, BatchId) -> bool,
    ) -> Result<Next, ReadError> {
        while let Some(record) = spool.next_record(&mut self.reader)? {
            match record {
                Record::Definition { epoch, body, .. } => {
                    self.enter(epoch);
                    self.note(&body);
                }
                Record::Batch(stored) => {
                    self.enter(stored.epoch);
                    let batch = (stored.epoch, stored.number);
                    self.followed = Some(batch);
                    let wanted = wanted(spool, batch);
                    if let Some(next) = self.follow(stored, wanted) {
                        return Ok(next);
                    }
                }
            }
        }
        Ok(Next::End)
    }

    fn follow(&mut self, stored: StoredBatch, wanted: bool) -> Option<Next> {
        let batch = (stored.epoch, stored.number);
        let bytes: Arc<[u8]> = stored.body.into();
        if !wanted {
            if let Err(error) = self.transcoder.skip(stored.number, bytes) {
                // Nobody wants it; a batch that leans on it and is wanted will say so again.
                tracing::debug!(epoch = %batch.0, number = %batch.1, %error, "a spooled batch cannot be followed");
            }
            return None;
        }
        Some(
            match self.transcoder.send(stored.number, Arc::clone(&bytes)) {
                Ok(body) => Next::Send {
                    batch,
                    definitions: std::mem::take(&mut self.definitions),
                    body,
                },
                Err(error) => Next::Unreadable {
                    batch,
                    error,
                    samples: stored.samples,
                    body: bytes,
                },
            },
        )
    }

    /// Cohorts are numbered within an epoch: another one begins with nothing.
    fn enter(&mut self, epoch: Epoch) {
        if self.epoch != Some(epoch) {
            self.epoch = Some(epoch);
            self.transcoder = Transcoder::new();
            self.defined.clear();
            self.definitions.clear();
        }
    }

    /// Notes a definition unless the stream has carried it: every segment repeats all.
    fn note(&mut self, body: &[u8]) {
        let Some(definition) = definition::decode(body) else {
            tracing::error!(
                "a definition in the spool is of another version; its series will be refused"
            );
            return;
        };
        let first = usize::from(definition.first_slot);
        let end = first + definition.series.len();
        let known = self.defined.entry(definition.cohort).or_default();
        if end <= *known {
            return;
        }
        // Slots before it that are missing (damage) come with the next segment: they must not count as known.
        if first <= *known {
            *known = end;
        }
        self.definitions.push(definition);
    }
}
