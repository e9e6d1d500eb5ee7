//! What can go wrong at either end.

use model::HistogramError;

use crate::{CohortId, RowCounter};

/// Why a body was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A row leans on one that this decoder does not have: ask for key rows.
    #[error("row {counter} of cohort {} needs row {base} as its base, which is not there", cohort.0)]
    MissingBase {
        /// The cohort.
        cohort: CohortId,
        /// The row.
        counter: RowCounter,
        /// The base that it names.
        base: RowCounter,
    },
    /// The body is of a later format.
    #[error("body has format version {found}, at most version {newest} is taken here")]
    Version {
        /// The version that it says.
        found: u8,
        /// The latest that is taken: what the protocol of the connection allows, or all that this program reads.
        newest: u8,
    },
    /// The body asks for more than any body may.
    #[error("body has {value} {what}, at most {limit} are taken")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        value: u64,
        /// How much may be.
        limit: u64,
    },
    /// The bytes are not what an encoder writes.
    #[error("body is malformed: {0}")]
    Malformed(&'static str),
}

/// Why rows were not encoded. The encoder is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A row breaks the rules of [`Row`](crate::Row).
    #[error("row {counter} of cohort {} cannot be encoded", cohort.0)]
    Row {
        /// The cohort.
        cohort: CohortId,
        /// The row.
        counter: RowCounter,
        /// Why.
        #[source]
        source: RowError,
    },
    /// The batch is larger than any may be: make two of it.
    #[error("batch has {value} {what}, at most {limit} fit")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        value: u64,
        /// How much may be.
        limit: u64,
    },
    /// A sample has a start time, which bodies of the first version cannot say: encode it with the store's form.
    #[error("sample of cohort {} has a start time, which an agent's batch cannot hold", cohort.0)]
    StartTime {
        /// The cohort.
        cohort: CohortId,
    },
    /// A sample's histogram contradicts itself.
    #[error("sample of cohort {} cannot be encoded", cohort.0)]
    Sample {
        /// The cohort.
        cohort: CohortId,
        /// Why.
        #[source]
        source: HistogramError,
    },
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Values and presence are of different length.
    #[error("{floats} values for {slots} slots")]
    Length {
        /// Values.
        floats: usize,
        /// Slots.
        slots: usize,
    },
    /// More slots than a layout may have.
    #[error("{slots} slots, a layout has at most 16384")]
    Slots {
        /// Slots.
        slots: usize,
    },
    /// A slot without a value has a value.
    #[error("slot {slot} is absent, but its float is not 0.0")]
    Absent {
        /// Where.
        slot: usize,
    },
    /// A list by slot does not rise, or names an absent slot.
    #[error("the list of {what} does not rise strictly, or names an absent slot")]
    List {
        /// Which list.
        what: &'static str,
    },
    /// A histogram contradicts itself.
    #[error("histogram in slot {slot}")]
    Histogram {
        /// Where.
        slot: u16,
        /// Why.
        #[source]
        source: HistogramError,
    },
    /// A histogram or an exemplar's labels are larger than any may be.
    #[error("{value} {what} in slot {slot}, at most {limit} are taken")]
    Limit {
        /// Where.
        slot: u16,
        /// What there is too much of.
        what: &'static str,
        /// How much.
        value: usize,
        /// How much may be.
        limit: usize,
    },
}

impl DecodeError {
    /// Returns an error when `value` is more than `limit`.
    pub(super) fn check(what: &'static str, value: u64, limit: usize) -> Result<usize, Self> {
        usize::try_from(value)
            .ok()
            .filter(|value| *value <= limit)
            .ok_or(Self::Limit {
                what,
                value,
                limit: limit as u64,
            })
    }
}

impl EncodeError {
    /// Returns an error when `value` is more than `limit`.
    pub(super) fn check(what: &'static str, value: usize, limit: usize) -> Result<(), Self> {
        if value <= limit {
            return Ok(());
        }
        Err(Self::Limit {
            what,
            value: value as u64,
            limit: limit as u64,
        })
    }
}
