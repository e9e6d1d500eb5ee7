//! Sending batches that were encoded earlier to a receiver that has not seen all of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::bases::Base;
use super::by_slot::Coded;
use super::bytes::put_varint;
use super::decimal::UNKNOWN;
use super::decoder::BatchDecoder;
use super::encoder::{BatchContents, check};
use super::error::{DecodeError, EncodeError};
use super::rows_section::put_row;
use super::{COHORTS_MAX, body};
use crate::{Batch, BatchNumber, CohortId, RowCounter};

/// Why a batch was not made ready for its receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranscodeError {
    /// The batch, as it was encoded, does not decode. The transcoder is as it was.
    #[error("cannot read a batch that was encoded earlier")]
    Decode(#[from] DecodeError),
    /// As key rows it would be too large.
    #[error("cannot encode a batch anew")]
    Encode(#[from] EncodeError),
}

/// Follows a chain of encoded batches from the start of a spool segment, and gives a receiver that joins in the middle what it can
/// decode: the bytes as they are where it has all bases, and otherwise the same rows with key rows in place of those whose base it
/// lacks. After a cohort's first row the chain goes on as it was encoded, so this costs something only at the beginning.
///
/// One transcoder belongs to one stream and one epoch.
#[derive(Debug, Default)]
pub struct Transcoder {
    chain: BatchDecoder,
    /// The last row of each cohort that was sent.
    sent: HashMap<CohortId, RowCounter>,
}

impl Transcoder {
    /// Returns a transcoder at the beginning of a chain, for a receiver that has nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows a batch that is not sent on this stream.
    pub fn skip(&mut self, number: BatchNumber, bytes: Arc<[u8]>) -> Result<(), TranscodeError> {
        self.chain.decode(number, bytes)?;
        Ok(())
    }

    /// Follows a batch, and returns the body to send: `bytes` themselves when the receiver can decode them.
    pub fn send(
        &mut self,
        number: BatchNumber,
        bytes: Arc<[u8]>,
    ) -> Result<Arc<[u8]>, TranscodeError> {
        let batch = self.chain.decode(number, bytes)?;
        let mut receiver_has: HashMap<CohortId, RowCounter> = HashMap::new();
        let mut leans = Vec::with_capacity(batch.rows.len());
        let mut verbatim = true;
        for decoded in &batch.rows {
            let cohort = decoded.row.cohort;
            let has = receiver_has.get(&cohort).or_else(|| self.sent.get(&cohort));
            let leaning = decoded
                .base
                .as_ref()
                .is_some_and(|base| has == Some(&base.counter));
            verbatim &= leaning || decoded.base.is_none();
            leans.push(leaning);
            receiver_has.insert(cohort, decoded.row.counter);
        }
        let body = if verbatim {
            batch.bytes
        } else {
            encode_anew(&batch, &leans)?
        };
        if self.sent.len() + receiver_has.len() > COHORTS_MAX {
            // Forgetting costs key rows, nothing else.
            self.sent.clear();
        }
        self.sent.extend(receiver_has);
        Ok(body)
    }

    /// Begins a new stream: the receiver has nothing, the chain goes on.
    pub fn forget_sent(&mut self) {
        self.sent.clear();
    }
}

/// Encodes `batch` with key rows where `leans` says that the receiver lacks the base.
fn encode_anew(batch: &Batch, leans: &[bool]) -> Result<Arc<[u8]>, EncodeError> {
    let rows: Vec<_> = batch.rows.iter().map(|row| Arc::clone(&row.row)).collect();
    check(&BatchContents {
        rows: &rows,
        samples: &batch.samples,
        metadata: &batch.metadata,
    })?;
    let mut section = Vec::new();
    put_varint(&mut section, batch.rows.len() as u64);
    let mut coded = Vec::with_capacity(batch.rows.len());
    for (decoded, leaning) in batch.rows.iter().zip(leans) {
        let base = decoded.base.as_ref().filter(|_| *leaning);
        let remembered = base.map(|base| Base {
            exponents: vec![UNKNOWN; base.floats.len()],
            age: 0,
            row: Arc::clone(base),
        });
        put_row(
            &mut section,
            &decoded.row,
            remembered.as_ref().map(Base::seen),
        );
        coded.push(Coded {
            row: &decoded.row,
            base: base.map(|base| &**base),
        });
    }
    body::assemble(&section, &coded, &batch.samples, &batch.metadata).map(Arc::from)
}
