//! Series of several indexes beside each other: which of them are one series, and the labels of them that a reader wants.
//!
//! An index knows its series by numbers of its own. A reader of several has to know which numbers mean the same series, and to compare
//! label sets for that would cost more than the reading of the samples. So a series has an [`Identity`]: the sum of the hashes of its
//! labels, 128 bits each, under a secret of this process. An index keeps the identities that it knows; hashes of values that come again
//! and again are kept too, so one that it does not know costs an addition for each label ([`Identities`]). Labels are asked for later, of
//! one of the indexes that have the series; where a reader wants few labels, series that do not differ in them share one set ([`Naming`]).

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

/// What a label set takes beside its text.
const SET_BYTES: u64 = 128;

/// The labels of a series, as a reader wants them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub(crate) labels: Labels,
    /// What the label set takes, in bytes; 0 when it was there before.
    pub(crate) bytes: u64,
}

impl Named {
    /// Returns a label set made for this series alone.
    pub(super) fn new(labels: Labels) -> Self {
        let bytes = labels.text_bytes() as u64 + SET_BYTES;
        Self { labels, bytes }
    }

    fn again(labels: &Labels) -> Self {
        Self {
            labels: labels.clone(),
            bytes: 0,
        }
    }
}

/// The text behind an index's numbers.
pub(super) trait Texts {
    /// Why it cannot be had.
    type Error;

    /// Returns name and value of a label.
    fn text(&mut self, column: u32, value: ValueId) -> Result<(&str, &str), Self::Error>;
}

/// Finds out the identities of series of one index.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// By column of the index.
    columns: Vec<Option<HashedColumn>>,
}

#[derive(Debug)]
struct HashedColumn {
    hash: PairHash,
    /// By value; 0: not known yet.
    hashes: Vec<u128>,
}

impl Identities {
    /// Returns the identity of the series with these labels.
    pub(super) fn identity<T: Texts>(
        &mut self,
        pairs: impl Iterator<Item = (u32, ValueId)>,
        texts: &mut T,
    ) -> Result<Identity, T::Error> {
        let mut sum: Identity = 0;
        for (column, value) in pairs {
            sum = sum.wrapping_add(self.hash(column, value, texts)?);
        }
        Ok(sum)
    }

    fn hash<T: Texts>(
        &mut self,
        column: u32,
        value: ValueId,
        texts: &mut T,
    ) -> Result<u128, T::Error> {
        let (place, value_place) = (column as usize, value as usize);
        if self.columns.len() <= place {
            self.columns.resize_with(place + 1, || None);
        }
        if let Some(known) = &self.columns[place]
            && let Some(hash) = known.hashes.get(value_place).filter(|hash| **hash != 0)
        {
            return Ok(*hash);
        }
        let (name, text) = texts.text(column, value)?;
        let known = self.columns[place].get_or_insert_with(|| HashedColumn {
            hash: PairHash::of_name(name),
            hashes: Vec::new(),
        });
        let hash = known.hash.with(text);
        if value_place < KEPT_VALUES {
            if known.hashes.len() <= value_place {
                known.hashes.resize(value_place + 1, 0);
            }
            known.hashes[value_place] = hash;
        }
        Ok(hash)
    }
}

/// Gives the series of one index the labels that a reader wants.
#[derive(Debug)]
pub(crate) struct Naming<'a> {
    wanted: WantedLabels<'a>,
    /// By schema of the index, as far as it was met: which of its columns are wanted, by their places in it.
    schemas: Vec<Option<Box<[usize]>>>,
    /// Label sets made, by the columns and values that they are of.
    made: HashMap<Vec<u32>, Labels, TextHash>,
    /// The columns and values of the series at hand that are wanted.
    key: Vec<u32>,
    /// The set given last, and its key: neighbours often share it.
    last: Option<Labels>,
    last_key: Vec<u32>,
}

impl<'a> Naming<'a> {
    pub(crate) fn new(wanted: WantedLabels<'a>) -> Self {
        Self {
            wanted,
            schemas: Vec::new(),
            made: HashMap::default(),
            key: Vec::new(),
            last: None,
            last_key: Vec::new(),
        }
    }

    /// Returns those of a series' labels that are wanted; `None`: all are. A schema is a list of columns; the series has a value of each.
    pub(super) fn name<T: Texts>(
        &mut self,
        schema: u32,
        columns: &[u32],
        values: &[ValueId],
        texts: &mut T,
    ) -> Result<Option<Named>, T::Error> {
        if matches!(self.wanted, WantedLabels::All) {
            return Ok(None);
        }
        self.key.clear();
        let schema = schema as usize;
        if self.schemas.len() <= schema {
            self.schemas.resize(schema + 1, None);
        }
        let wanted = match &mut self.schemas[schema] {
            Some(wanted) => wanted,
            unknown => unknown.insert(wanted_of(&self.wanted, columns, values, texts)?),
        };
        for place in wanted.iter() {
            self.key.extend([columns[*place], values[*place]]);
        }
        if let Some(labels) = &self.last
            && self.last_key == self.key
        {
            return Ok(Some(Named::again(labels)));
        }
        let named = match self.made.get(&self.key) {
            Some(labels) => Named::again(labels),
            None => self.make(texts)?,
        };
        self.last = Some(named.labels.clone());
        std::mem::swap(&mut self.last_key, &mut self.key);
        Ok(Some(named))
    }

    /// Makes the label set of the key.
    fn make<T: Texts>(&mut self, texts: &mut T) -> Result<Named, T::Error> {
        let mut pairs = Vec::with_capacity(self.key.len() / 2);
        for pair in self.key.as_chunks::<2>().0 {
            let (name, value) = texts.text(pair[0], pair[1])?;
            pairs.push((name.to_owned(), value.to_owned()));
        }
        // They came out of a label set.
        let named = Named::new(Labels::from_pairs(pairs).unwrap_or_default());
        self.made.insert(self.key.clone(), named.labels.clone());
        Ok(named)
    }
}

/// Finds out which columns of a schema are wanted: their places in it.
fn wanted_of<T: Texts>(
    wanted: &WantedLabels<'_>,
    columns: &[u32],
    values: &[ValueId],
    texts: &mut T,
) -> Result<Box<[usize]>, T::Error> {
    let mut places = Vec::new();
    for (place, (column, value)) in columns.iter().zip(values).enumerate() {
        if wanted.contains(texts.text(*column, *value)?.0) {
            places.push(place);
        }
    }
    Ok(places.into())
}
