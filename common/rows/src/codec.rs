//! The row codec. FORMAT.md draws the bytes; this is how the parts hang together.
//!
//! 1. [`BatchEncoder`] keeps each cohort's last row as the base of its next one and writes only what changed: a bitmap of the slots
//!    that differ, then, for each of them, how far its value moved, counted in the value's own last decimal place (`float_column`,
//!    `decimal`). What has no short decimal form is sent as the distance between bit patterns, so every `f64` survives to the bit.
//! 2. A row names its base by its counter. [`BatchDecoder`] has one base per cohort, the last row it decoded; a row that names another
//!    one is [`DecodeError::MissingBase`], and a batch that fails leaves the decoder as it was.
//! 3. What a row means depends on the bytes and on the *values* of the base, on no other state. So whoever has the base row (a log
//!    that wrote it down by [`encode_key_row`]) can [`install`](BatchDecoder::install_base) it and go on with the bytes as they came. The
//!    decimal exponents that both ends keep beside the base are a cache of a pure function of its values.
//! 4. [`Transcoder`] starts a stream in the middle of such a chain.
//! 5. [`encode_samples`] is for samples that belong to no row, received by a store one series at a time: columns of slots, times and
//!    values, which lean on nothing outside their batch.
//!
//! **Bounds.** A batch holds at most [`ROWS_MAX`] rows and weighs at most [`WEIGHT_MAX`] (slots, parts of histograms,
//! exemplars and start times, counted together), so what a body may make its reader allocate is bounded whatever it says; the bases held at either end weigh
//! at most [`WEIGHT_HELD_MAX`] together: those used least recently go first, and a row that leans on one asks for a key row. Bodies are at most [`BODY_BYTES_MAX`] long, before and after compression.

mod bases;
mod bits;
mod body;
mod by_slot;
mod bytes;
mod decimal;
mod decoder;
mod encoder;
mod error;
mod float_column;
mod histogram;
mod key_row;
mod rows_section;
mod sample_columns;
mod samples;
#[cfg(test)]
mod tests;
mod transcoder;
mod weight;

pub use decoder::BatchDecoder;
pub use encoder::{BatchContents, BatchEncoder, EncodedBatch, SampleContents, encode_samples};
pub use error::{DecodeError, EncodeError, RowError};
pub use key_row::{decode_key_row, encode_key_row};
pub use transcoder::{TranscodeError, Transcoder};

/// The most bytes of a batch's body, before and after compression.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The most rows of a batch.
pub const ROWS_MAX: usize = 4_096;
/// The most samples with times of their own in a batch.
pub const SAMPLES_MAX: usize = 65_536;
/// The most metric families that a batch may describe.
pub const METADATA_MAX: usize = 16_384;
/// The longest text (a help text, a name, the labels of an exemplar together), in bytes.
pub const TEXT_BYTES_MAX: usize = 65_536;
/// The most spans, bounds and buckets of one histogram, together.
pub const HISTOGRAM_PARTS_MAX: usize = 16_384;
/// The most that the rows and samples of a batch may weigh together. A slot, a sample, a start time, an exemplar, 8 bytes of its
/// labels, a histogram, and each span, bound and bucket of it weigh 1.
pub const WEIGHT_MAX: usize = 1 << 19;
/// The most that the bases of an encoder or a decoder weigh together; at 9 bytes a slot, 18 MiB.
pub const WEIGHT_HELD_MAX: usize = 1 << 21;
/// The most cohorts that an encoder or a decoder holds a base of.
pub const COHORTS_MAX: usize = 65_536;
/// A cohort's row is a key row at least every so many rows.
pub const KEY_INTERVAL: u8 = 64;

/// Returns what `row` weighs: who makes batches asks, so that each stays within [`WEIGHT_MAX`].
pub fn row_weight(row: &crate::Row) -> usize {
    weight::of_row(row)
}

/// The first byte of a body that an agent makes.
const VERSION: u8 = 1;
/// The first byte of a body with samples in columns: stores make it for their logs, agents do not send it.
const VERSION_COLUMNS: u8 = 2;
