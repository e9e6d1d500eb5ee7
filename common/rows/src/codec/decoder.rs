//! The reading end of a stream of batches.

use std::collections::HashMap;
use std::sync::Arc;

use super::bases::{Base, Bases, Seen};
use super::body::{self, Section};
use super::bytes::ByteReader;
use super::decimal::UNKNOWN;
use super::error::{DecodeError, RowError};
use super::rows_section::take_row;
use super::weight::Budget;
use super::{ROWS_MAX, VERSION, VERSION_COLUMNS, by_slot, sample_columns, samples, weight};
use crate::{
    Batch, BatchNumber, CohortId, DecodedRow, MetricMetadata, Row, RowCounter, SeriesExemplar,
    SeriesSample,
};

/// Decodes batches against the rows before them.
///
/// One decoder belongs to one stream and one epoch (cohorts are numbered within an epoch). Its memory is bounded by
/// [`WEIGHT_HELD_MAX`](super::WEIGHT_HELD_MAX); a row whose base was let go of is answered with [`DecodeError::MissingBase`].
#[derive(Debug)]
pub struct BatchDecoder {
    bases: Bases,
    /// The latest version of the format that it takes.
    newest: u8,
}

impl Default for BatchDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchDecoder {
    /// Returns a decoder that knows no row and takes all versions of the format.
    pub fn new() -> Self {
        Self {
            bases: Bases::default(),
            newest: VERSION_COLUMNS,
        }
    }

    /// Returns a decoder that knows no row and takes what agents may send by version 1 of the protocol.
    pub fn of_agents() -> Self {
        Self {
            newest: VERSION,
            ..Self::new()
        }
    }

    /// Decodes the body of a batch; after an error the decoder is as it was.
    pub fn decode(&mut self, number: BatchNumber, bytes: Arc<[u8]>) -> Result<Batch, DecodeError> {
        let taken = {
            let (version, payload) = body::open(&bytes, self.newest)?;
            take_payload(version, &payload, &self.bases)?
        };
        let mut made: HashMap<CohortId, Base> = HashMap::new();
        let mut rows: Vec<DecodedRow> = Vec::with_capacity(taken.rows.len());
        for taken in taken.rows {
            let row = Arc::new(taken.row);
            let base = match taken.base {
                BaseAt::None => None,
                BaseAt::Held(base) => Some(base),
                BaseAt::Earlier(at) => Some(Arc::clone(&rows[at].row)),
            };
            let made_of = Base {
                row: Arc::clone(&row),
                exponents: taken.exponents,
                age: 0,
            };
            made.insert(row.cohort, made_of);
            rows.push(DecodedRow { row, base });
        }
        self.bases.put(made.into_values());
        Ok(Batch {
            number,
            bytes,
            rows,
            samples: taken.samples,
            exemplars: taken.exemplars,
            metadata: taken.metadata,
        })
    }

    /// Makes `row` the base of the next row of its cohort, as if it had been decoded: a log that replays knows its first bases from
    /// elsewhere.
    pub fn install_base(&mut self, row: Arc<Row>) -> Result<(), RowError> {
        weight::check(&row)?;
        self.bases.put([Base {
            exponents: vec![UNKNOWN; row.floats.len()],
            age: 0,
            row,
        }]);
        Ok(())
    }

    /// Returns the row that the next one of `cohort` may lean on.
    pub fn base(&self, cohort: CohortId) -> Option<&Arc<Row>> {
        self.bases.get(cohort).map(|base| &base.row)
    }

    /// Returns the counter of [`base`](Self::base).
    pub fn base_counter(&self, cohort: CohortId) -> Option<RowCounter> {
        self.base(cohort).map(|row| row.counter)
    }

    /// Forgets all rows.
    pub fn reset(&mut self) {
        self.bases.clear();
    }
}

/// What a payload holds.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) rows: Vec<PendingRow>,
    pub(super) samples: Vec<SeriesSample>,
    pub(super) exemplars: Vec<SeriesExemplar>,
    pub(super) metadata: Vec<MetricMetadata>,
}

/// A row that may still get lists from later sections.
#[derive(Debug)]
pub(super) struct PendingRow {
    pub(super) row: Row,
    exponents: Vec<u8>,
    base: BaseAt,
}

#[derive(Debug)]
enum BaseAt {
    None,
    Held(Arc<Row>),
    /// Among the rows of the same batch.
    Earlier(usize),
}

impl BaseAt {
    fn row<'a>(&'a self, earlier: &'a [PendingRow]) -> Option<&'a Row> {
        match self {
            Self::None => None,
            Self::Held(row) => Some(row),
            Self::Earlier(at) => Some(&earlier[*at].row),
        }
    }
}

/// Reads all sections of a payload.
pub(super) fn take_payload(
    version: u8,
    payload: &[u8],
    bases: &Bases,
) -> Result<Taken, DecodeError> {
    let mut reader = ByteReader::new(payload);
    let mut taken = Taken::default();
    let mut budget = Budget::new();
    let mut after = None;
    while let Some((section, mut part)) = body::next_section(&mut reader, version, after)? {
        match section {
            Section::Rows => taken.rows = take_rows(&mut part, &mut budget, bases)?,
            Section::Histograms => take_histograms(&mut part, &mut budget, &mut taken.rows)?,
            Section::StartTimes => {
                for PendingRow { row, .. } in &mut taken.rows {
                    row.start_times = by_slot::take_start_times(&mut part, row, &mut budget)?;
                }
            }
            Section::Exemplars => {
                for PendingRow { row, .. } in &mut taken.rows {
                    row.exemplars = by_slot::take_exemplars(&mut part, row, &mut budget)?;
                }
            }
            Section::Samples => taken.samples = samples::take_samples(&mut part, &mut budget)?,
            Section::Metadata => taken.metadata = samples::take_metadata(&mut part)?,
            Section::SampleColumns => {
                let more = sample_columns::take_samples(&mut part, &mut budget)?;
                taken.samples.extend(more);
            }
            Section::SampleExemplars => {
                taken.exemplars = sample_columns::take_exemplars(&mut part, &mut budget)?;
            }
        }
        if !part.is_empty() {
            return Err(DecodeError::Malformed(
                "a section is longer than its contents",
            ));
        }
        after = Some(section);
    }
    Ok(taken)
}

fn take_rows(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
    bases: &Bases,
) -> Result<Vec<PendingRow>, DecodeError> {
    let count = reader.count("rows", ROWS_MAX)?;
    let mut rows: Vec<PendingRow> = Vec::new();
    let mut last: HashMap<CohortId, usize> = HashMap::new();
    for index in 0..count {
        let taken = take_row(reader, budget, |cohort| match last.get(&cohort) {
            Some(at) => Some(Seen {
                row: &rows[*at].row,
                exponents: &rows[*at].exponents,
            }),
            None => bases.get(cohort).map(Base::seen),
        })?;
        let cohort = taken.row.cohort;
        let earlier = last.insert(cohort, index);
        let base = match earlier {
            _ if !taken.has_base => BaseAt::None,
            Some(at) => BaseAt::Earlier(at),
            None => bases
                .get(cohort)
                .map_or(BaseAt::None, |base| BaseAt::Held(Arc::clone(&base.row))),
        };
        rows.push(PendingRow {
            row: taken.row,
            exponents: taken.exponents,
            base,
        });
    }
    Ok(rows)
}

fn take_histograms(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
    rows: &mut [PendingRow],
) -> Result<(), DecodeError> {
    for index in 0..rows.len() {
        let (earlier, rest) = rows.split_at_mut(index);
        let PendingRow { row, base, .. } = &mut rest[0];
        let base = base.row(earlier);
        row.histograms = by_slot::take_histograms(reader, &row.presence, base, budget)?;
    }
    Ok(())
}
