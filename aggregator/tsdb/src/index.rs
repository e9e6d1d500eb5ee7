//! Which series there are: labels by series, series by label, in two forms with one way of asking.
//!
//! A series is a number within its index ([`SeriesId`]). Per label name there is a list of distinct values, and per value the set of
//! series that have it. [`HeadIndex`] is the form that grows, in memory; [`EncodedIndex`] is the form that never changes, in blocks of a
//! partition, and [`IndexBuilder`] makes it. Both are read through [`IndexRead`], and [`select()`], [`label_names`] and [`label_values`] know only that.
//!
//! How a matcher is answered: equality looks one value up. A regular expression that is a set of literals looks each up; one that
//! begins with a literal is tried on the values that begin so; any other is tried on every distinct value, which is fast because the
//! regex engine searches for literals first (an fst walk was measured slower). A matcher that `""` satisfies removes the series
//! whose value does not match, so that series without the label stay.

mod area;
mod encode;
mod encoded;
#[cfg(test)]
mod figures;
mod head;
mod naming;
mod pattern;
mod postings;
mod root;
mod select;
#[cfg(test)]
mod tests;
mod watched;

use std::ops::ControlFlow;

use model::Labels;
use roaring::RoaringBitmap;

pub(crate) use self::area::{AREA_BLOCK_BYTES, Area, BlockSource, LastBlock, read_area};
pub(crate) use self::encode::IndexBuilder;
pub(crate) use self::encoded::{EncodedIndex, LabelsReader};
pub(crate) use self::head::{HeadIndex, HeadIndexView, ValueCount};
pub(crate) use self::naming::{Identities, Identity, Named, Naming};
pub(crate) use self::root::IndexAreas;
pub(crate) use self::select::{label_names, label_values, name_bytes, select, select_any};
pub(crate) use self::watched::Watched;

/// The number of a series within its index, counted from 0.
pub(crate) type SeriesId = u32;

/// The number of a value among those of its label name; means nothing outside the index that gave it.
pub(crate) type ValueId = u32;

/// What can be asked of an index; a fixed set of series.
pub(crate) trait IndexRead {
    /// Why it cannot answer.
    type Error;

    /// Returns all series.
    fn all(&self) -> RoaringBitmap;

    /// Returns the names of all labels, sorted.
    fn names(&self) -> Result<Vec<String>, Self::Error>;

    /// Returns the value of this text that some series have for the label `name`.
    fn find_value(&self, name: &str, value: &str) -> Result<Option<ValueId>, Self::Error>;

    /// Calls `visit` with each value of the label `name` that begins with `prefix`, in order, until it breaks.
    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, ValueId) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// Adds the series that have one of these values, each given once, for the label `name` to `out`.
    fn union(
        &self,
        name: &str,
        values: &[ValueId],
        out: &mut RoaringBitmap,
    ) -> Result<(), Self::Error>;

    /// Returns the series that have the label `name`.
    fn with_name(&self, name: &str) -> Result<RoaringBitmap, Self::Error>;

    /// Returns the labels of a series; `None` when there is no such series.
    fn labels(&self, series: SeriesId) -> Result<Option<Labels>, Self::Error>;
}
