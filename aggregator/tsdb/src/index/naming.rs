//! Series of several indexes beside each other: which of them are one series, and the labels of them that a reader wants.
//!
//! An index knows its series by numbers of its own. A reader of several has to know which numbers mean the same series, and to compare
//! label sets for that would cost more than the reading of the samples. So a series has an [`Identity`]: the sum of the hashes of its
//! labels, 128 bits each, under a secret of this process. An index keeps the identities that it knows; hashes of values that come again
//! and again are kept too, so one that it does not know costs an addition for each label. And where a reader wants few labels, series that
//! do not differ in them share one set.

use std::collections::HashMap;

use model::Labels;
use storage::WantedLabels;

use super::ValueId;
use crate::hashing::{PairHash, TextHash};

/// The same for series of equal labels, whatever index they are in; and another for others, but for one chance in 2^128. Holds for the life
/// of the process.
pub(crate) type Identity = u128;

/// Up to this many values of a name have their hashes kept: 64 KiB.
const KEPT_VALUES: usize = 4_096;

/// A series, as a reader wants it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) labels: Labels,
    pub(crate) identity: Identity,
    /// What the label set takes, in bytes; 0 when it was there before.
    pub(crate) bytes: u64,
}

/// A label set, and the bytes that it newly takes.
type Made = (Labels, u64);

/// What a label set takes beside its text.
const SET_BYTES: u64 = 128;

/// Returns what a label set takes, in bytes.
pub(super) fn bytes_of(labels: &Labels) -> u64 {
    labels.text_bytes() as u64 + SET_BYTES
}

/// The text behind an index's numbers.
pub(super) trait Texts {
    /// Why it cannot be had.
    type Error;

    /// Returns name and value of a label.
    fn text(&mut self, column: u32, value: ValueId) -> Result<(&str, &str), Self::Error>;
}

/// Names the series of one index for one reader.
#[derive(Debug)]
pub(crate) struct Naming<'a> {
    wanted: WantedLabels<'a>,
    /// By column of the index.
    columns: Vec<Option<Column>>,
    /// Label sets made, by the columns and values that they are of.
    made: HashMap<Vec<u32>, Labels, TextHash>,
    /// The columns and values of the series at hand that are wanted.
    key: Vec<u32>,
    /// The set made or found last, and its key: neighbours often share it.
    last: Option<(Vec<u32>, Labels)>,
}

#[derive(Debug)]
struct Column {
    hash: PairHash,
    wanted: bool,
    /// By value; 0: not known yet.
    hashes: Vec<u128>,
}

impl<'a> Naming<'a> {
    pub(crate) fn new(wanted: WantedLabels<'a>) -> Self {
        Self {
            wanted,
            columns: Vec::new(),
            made: HashMap::default(),
            key: Vec::new(),
            last: None,
        }
    }

    /// Returns the identity of the series with these labels, and those of its labels that are wanted with the bytes that they newly take;
    /// `None` for them: all are wanted. `identity`: when it is known.
    pub(super) fn name<T: Texts>(
        &mut self,
        pairs: impl Iterator<Item = (u32, ValueId)>,
        identity: Option<Identity>,
        texts: &mut T,
    ) -> Result<(Identity, Option<Made>), T::Error> {
        let all = matches!(self.wanted, WantedLabels::All);
        let mut sum: Identity = 0;
        self.key.clear();
        match identity {
            Some(known) if all => return Ok((known, None)),
            Some(known) => {
                sum = known;
                for (column, value) in pairs {
                    let known = self.columns.get(column as usize).and_then(Option::as_ref);
                    let wanted = match known {
                        Some(known) => known.wanted,
                        None => self.hash(column, value, texts)?.1,
                    };
                    if wanted {
                        self.key.extend([column, value]);
                    }
                }
            }
            None => {
                for (column, value) in pairs {
                    let (hash, wanted) = self.hash(column, value, texts)?;
                    sum = sum.wrapping_add(hash);
                    if wanted {
                        self.key.extend([column, value]);
                    }
                }
            }
        }
        if all {
            return Ok((sum, None));
        }
        if let Some((key, labels)) = &self.last
            && *key == self.key
        {
            return Ok((sum, Some((labels.clone(), 0))));
        }
        if let Some(labels) = self.made.get(&self.key) {
            self.last = Some((self.key.clone(), labels.clone()));
            return Ok((sum, Some((labels.clone(), 0))));
        }
        let mut pairs = Vec::with_capacity(self.key.len() / 2);
        for pair in self.key.as_chunks::<2>().0 {
            let (name, value) = texts.text(pair[0], pair[1])?;
            pairs.push((name.to_owned(), value.to_owned()));
        }
        // They came out of a label set.
        let labels = Labels::from_pairs(pairs).unwrap_or_default();
        self.made.insert(self.key.clone(), labels.clone());
        let bytes = bytes_of(&labels);
        Ok((sum, Some((labels, bytes))))
    }

    /// Returns the hash of a label, and whether it is wanted.
    fn hash<T: Texts>(
        &mut self,
        column: u32,
        value: ValueId,
        texts: &mut T,
    ) -> Result<(u128, bool), T::Error> {
        let (place, value_place) = (column as usize, value as usize);
        if self.columns.len() <= place {
            self.columns.resize_with(place + 1, || None);
        }
        if let Some(known) = &self.columns[place]
            && let Some(hash) = known.hashes.get(value_place).filter(|hash| **hash != 0)
        {
            return Ok((*hash, known.wanted));
        }
        let (name, text) = texts.text(column, value)?;
        let known = self.columns[place].get_or_insert_with(|| Column {
            hash: PairHash::of_name(name),
            wanted: !matches!(self.wanted, WantedLabels::All) && self.wanted.contains(name),
            hashes: Vec::new(),
        });
        let hash = known.hash.with(text);
        if value_place < KEPT_VALUES {
            if known.hashes.len() <= value_place {
                known.hashes.resize(value_place + 1, 0);
            }
            known.hashes[value_place] = hash;
        }
        Ok((hash, known.wanted))
    }
}
