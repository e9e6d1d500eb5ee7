//! Rows and batches as values.

use std::sync::Arc;

use model::{Exemplar, Histogram, Metadata, TimestampMs, Value};

use crate::{BatchNumber, CohortId, Slot};

/// Counts the rows of a cohort within its epoch, from 0, without gaps.
pub type RowCounter = u64;

/// Which slots of a row have a value: one bit per slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    words: Vec<u64>,
    slots: usize,
}

impl Presence {
    /// Returns a presence of `slots` slots, all with (`true`) or all without a value.
    pub fn filled(slots: usize, present: bool) -> Self {
        let mut words = vec![if present { u64::MAX } else { 0 }; slots.div_ceil(64)];
        if let (Some(last), rest @ 1..) = (words.last_mut(), slots % 64) {
            *last &= (1 << rest) - 1;
        }
        Self { words, slots }
    }

    /// Returns the presence with these bits, 64 slots a word, the first slot lowest; `None` unless there are just as many words as
    /// `slots` need, and no bit past the last slot.
    pub fn from_words(words: Vec<u64>, slots: usize) -> Option<Self> {
        let past_the_end = match (words.last(), slots % 64) {
            (Some(last), rest @ 1..) => last >> rest,
            _ => 0,
        };
        (words.len() == slots.div_ceil(64) && past_the_end == 0).then_some(Self { words, slots })
    }

    /// Returns the number of slots.
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// Returns whether `slot` has a value; slots past the end have none.
    pub fn contains(&self, slot: usize) -> bool {
        slot < self.slots && self.words[slot / 64] >> (slot % 64) & 1 == 1
    }

    /// Sets whether `slot` has a value.
    ///
    /// # Panics
    /// When `slot` is past the end.
    pub fn set(&mut self, slot: usize, present: bool) {
        assert!(
            slot < self.slots,
            "slot {slot} is within the {} of the row",
            self.slots
        );
        let bit = 1 << (slot % 64);
        if present {
            self.words[slot / 64] |= bit;
        } else {
            self.words[slot / 64] &= !bit;
        }
    }

    /// Returns the number of slots with a value.
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Returns the bits, 64 slots a word, the first slot lowest; bits past the last slot are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Returns the slots with a value, rising.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit)
            })
        })
    }
}

/// One sampling of a cohort.
///
/// `floats.len() == presence.slots()`: the length of the layout that the row was made under. The float of a slot that is absent,
/// or that holds a histogram, is `0.0`. The lists by slot rise strictly and name present slots only.
#[derive(Clone, Debug)]
pub struct Row {
    /// The cohort.
    pub cohort: CohortId,
    /// Which row of the cohort.
    pub counter: RowCounter,
    /// When it was sampled.
    pub at: TimestampMs,
    /// Which slots have a value.
    pub presence: Presence,
    /// Values by slot.
    pub floats: Vec<f64>,
    /// Slots that hold a native histogram instead of a float.
    pub histograms: Vec<(Slot, Arc<Histogram>)>,
    /// When the counters in these slots started, where that is known; sent when it changes, so absent means "as before".
    pub start_times: Vec<(Slot, TimestampMs)>,
    /// Examples of what the slots counted.
    pub exemplars: Vec<(Slot, Exemplar)>,
}

impl Row {
    /// Returns whether both are the same to the bit.
    pub fn same_bits(&self, other: &Self) -> bool {
        let exemplar = |exemplar: &(Slot, Exemplar)| {
            (
                exemplar.0,
                exemplar.1.labels.clone(),
                exemplar.1.value.to_bits(),
                exemplar.1.at,
            )
        };
        (self.cohort, self.counter, self.at, &self.presence)
            == (other.cohort, other.counter, other.at, &other.presence)
            && self.floats.len() == other.floats.len()
            && self
                .floats
                .iter()
                .zip(&other.floats)
                .all(|(a, b)| a.to_bits() == b.to_bits())
            && self.histograms.len() == other.histograms.len()
            && self
                .histograms
                .iter()
                .zip(&other.histograms)
                .all(|(a, b)| a.0 == b.0 && a.1.same_bits(&b.1))
            && self.start_times == other.start_times
            && self
                .exemplars
                .iter()
                .map(exemplar)
                .eq(other.exemplars.iter().map(exemplar))
    }
}

/// A sample with a time of its own, outside any row.
#[derive(Clone, Debug)]
pub struct SeriesSample {
    /// The cohort whose layout names the series.
    pub cohort: CohortId,
    /// The series.
    pub slot: Slot,
    /// When.
    pub at: TimestampMs,
    /// What.
    pub value: Value,
    /// Since when the counter counts; 0 when that is not known. Batches of agents cannot say it.
    pub start: TimestampMs,
}

/// An exemplar of a series whose samples have times of their own.
#[derive(Clone, Debug)]
pub struct SeriesExemplar {
    /// The cohort whose layout names the series.
    pub cohort: CohortId,
    /// The series.
    pub slot: Slot,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// What a metric family says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// The family's name.
    pub metric: Arc<str>,
    /// Type, help, unit.
    pub metadata: Metadata,
}

/// A row, and the row that it was encoded against: a log that must stand alone writes the base when it has not got it.
#[derive(Clone, Debug)]
pub struct DecodedRow {
    /// The row.
    pub row: Arc<Row>,
    /// Its base; `None` for a key row.
    pub base: Option<Arc<Row>>,
}

/// Rows sent together, decoded, with the bytes that they were decoded from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its number within the epoch.
    pub number: BatchNumber,
    /// The encoded body, as it was received.
    pub bytes: Arc<[u8]>,
    /// The rows.
    pub rows: Vec<DecodedRow>,
    /// Samples with times of their own.
    pub samples: Vec<SeriesSample>,
    /// Exemplars of series outside rows.
    pub exemplars: Vec<SeriesExemplar>,
    /// What metric families say of themselves.
    pub metadata: Vec<MetricMetadata>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_counts_and_lists_its_slots() {
        let mut presence = Presence::filled(130, false);
        for slot in [0, 63, 64, 129] {
            presence.set(slot, true);
        }
        assert_eq!(presence.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(presence.count(), 4);
        assert!(!presence.contains(130));
        presence.set(63, false);
        assert!(!presence.contains(63));
        let full = Presence::filled(70, true);
        assert_eq!((full.count(), full.words().len()), (70, 2));
        assert_eq!(Presence::filled(64, true).words(), [u64::MAX]);
        assert_eq!(Presence::from_words(full.words().to_vec(), 70), Some(full));
        assert_eq!(Presence::from_words(vec![1 << 6], 6), None);
        assert_eq!(Presence::from_words(vec![0, 0], 64), None);
    }
}
