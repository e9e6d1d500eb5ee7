//! Cohorts, layouts, rows and batches, and their codec: the unit in which samples travel, are logged and acknowledged.
//!
//! A **cohort** is the set of series sampled together; its **layout** is an append-only list of slots, one series each, so that a
//! layout is named by its length alone. A **row** is one sampling of a cohort: one timestamp and, per slot, a value or "absent". A
//! **batch** is rows sent together: the unit of numbering, acknowledging and durability.
//!
//! The codec (changed bitmap + decimal delta against a base row, raw escapes, absent marks; zstd per batch by a flag) is bit-exact
//! for every `f64`, and a row that names a base which the decoder does not have is an error, never a guess. Format: FORMAT.md.
//!
//! Never here: sockets, files, clocks.

#![forbid(unsafe_code)]

mod codec;
mod cohort;
mod cohort_builder;
mod family;
mod identity;
mod number_set;
mod row;

pub use codec::{
    BODY_BYTES_MAX, BatchContents, BatchDecoder, BatchEncoder, COHORTS_MAX, DecodeError,
    EncodeError, EncodedBatch, HISTOGRAM_PARTS_MAX, KEY_INTERVAL, METADATA_MAX, ROWS_MAX, RowError,
    SAMPLES_MAX, SampleContents, TEXT_BYTES_MAX, TranscodeError, Transcoder, WEIGHT_HELD_MAX,
    WEIGHT_MAX, decode_key_row, encode_key_row, encode_samples, row_weight,
};
pub use cohort::{CohortDefinition, CohortId, SLOTS_MAX, SeriesDefinition, Slot};
pub use cohort_builder::{CohortBuilder, Collected, RowSink};
pub use family::{Family, Sink};
pub use identity::{AgentId, AgentIdError, BatchNumber, Epoch, StoreId};
pub use number_set::{INTERVALS_MAX, NumberSet};
pub use row::{
    Batch, DecodedRow, MetricMetadata, Presence, Row, RowCounter, SeriesExemplar, SeriesSample,
};
