//! The index of a head: grows series by series while queries read it.
//!
//! One lock protects all, and nobody holds it for long: an insertion takes some microseconds, a reader copies references of what it
//! needs and works on those. Nothing is ever removed, so a [`HeadIndexView`] is a number of series: what came later is left out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::BuildHasherDefault;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use model::Labels;
use roaring::RoaringBitmap;

use super::naming::{Identity, Named, Naming, Texts};
use super::{IndexRead, SeriesId, ValueId};
use crate::hashing::{AsIs, PairHash, TextHash, hash_of};

/// Values whose postings a reader adds up under one hold of the lock.
const UNION_BATCH: usize = 256;
/// Values whose series a reader counts under one hold of the lock.
const COUNT_BATCH: usize = 4_096;
/// Series that a reader names under one hold of the lock.
const NAME_BATCH: usize = 256;
/// Series of which a reader copies identities under one hold of the lock.
const IDENTITY_BATCH: usize = 4_096;
/// Up to this many series a posting is a plain list.
const FEW_MAX: usize = 12;

/// Rough bytes that a series takes beside its label pairs: entry, hash table, a share of spare capacity.
const SERIES_BYTES: usize = 56;
/// The same for one label pair: value number and postings.
const PAIR_BYTES: usize = 8;
/// The same for a distinct value beside its text: text headers, table, posting, sorted list.
const VALUE_BYTES: usize = 128;

/// An index in memory that grows.
#[derive(Debug, Default)]
pub(crate) struct HeadIndex {
    contents: RwLock<Contents>,
}

/// What an index holds.
#[derive(Debug, Default)]
struct Contents {
    names: HashMap<Arc<str>, u32, TextHash>,
    columns: Vec<LabelColumn>,
    schema_ids: HashMap<Arc<[u32]>, u32>,
    /// Columns by schema, in order of the names.
    schemas: Vec<Arc<[u32]>>,
    series: Vec<Series>,
    /// Of all series.
    identities: Vec<Identity>,
    /// Value ids of all series, one after the other, in order of the names.
    values: Vec<ValueId>,
    /// By hash of the labels; a second series of one hash stands at the next free number.
    by_hash: HashMap<u64, SeriesId, BuildHasherDefault<AsIs>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    schema: u32,
    /// Where its value ids begin.
    start: u32,
}

/// A label name and its values.
#[derive(Debug)]
struct LabelColumn {
    name: Arc<str>,
    hash: PairHash,
    /// By id, in order of appearance.
    values: Vec<LabelValue>,
    by_text: HashMap<Arc<str>, ValueId, TextHash>,
    /// By value id.
    postings: Vec<Posting>,
    /// Series that have the label.
    series: RoaringBitmap,
    /// The values in order, as far as somebody asked for them.
    sorted: Arc<[SortedValue]>,
    /// Of all values.
    text_bytes: usize,
}

#[derive(Debug)]
struct LabelValue {
    text: Arc<str>,
    /// The first series that had it.
    first: SeriesId,
}

/// A value and how many series have it.
#[derive(Clone, Debug)]
pub(crate) struct ValueCount {
    pub(crate) text: Arc<str>,
    pub(crate) series: u64,
}

#[derive(Clone, Debug)]
struct SortedValue {
    text: Arc<str>,
    id: ValueId,
    first: SeriesId,
}

/// The series of one value.
#[derive(Clone, Debug)]
enum Posting {
    /// One: most values of high-cardinality labels.
    One(SeriesId),
    /// Rising.
    Few(Vec<SeriesId>),
    Many(RoaringBitmap),
}

impl HeadIndex {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns the number of the series with these labels and whether it is new.
    ///
    /// # Panics
    /// When there are 2^32 series or label pairs; limits stand far below.
    pub(crate) fn insert(&self, labels: &Labels) -> (SeriesId, bool) {
        self.write().insert(labels)
    }

    /// Returns the number of series.
    pub(crate) fn len(&self) -> usize {
        self.read().series.len()
    }

    /// Returns an estimate of the memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.read().bytes
    }

    /// Returns a view of the series there are now.
    pub(crate) fn view(self: &Arc<Self>) -> HeadIndexView {
        let count = to_u32(self.len());
        HeadIndexView {
            index: Arc::clone(self),
            count,
        }
    }

    /// Returns the series in order of their labels: by the ranks of names and values, which compares no text twice.
    pub(crate) fn in_order(&self) -> Vec<SeriesId> {
        let contents = self.read();
        let mut names: Vec<u32> = (0..to_u32(contents.columns.len())).collect();
        names.sort_unstable_by_key(|column| &contents.columns[*column as usize].name);
        let name_ranks = ranks(&names);
        let value_ranks: Vec<Vec<u32>> = contents
            .columns
            .iter()
            .map(|column| {
                let mut values: Vec<ValueId> = (0..to_u32(column.values.len())).collect();
                values.sort_unstable_by_key(|value| &column.values[*value as usize].text);
                ranks(&values)
            })
            .collect();
        // Of all series, one after the other, as their values are.
        let mut keys: Vec<u64> = Vec::with_capacity(contents.values.len());
        for Series { schema, start } in &contents.series {
            let columns = &contents.schemas[*schema as usize];
            let values = &contents.values[*start as usize..][..columns.len()];
            keys.extend(columns.iter().zip(values).map(|(column, value)| {
                let column = *column as usize;
                let value = value_ranks[column][*value as usize];
                u64::from(name_ranks[column]) << 32 | u64::from(value)
            }));
        }
        let key = |series: SeriesId| {
            let Series { schema, start } = contents.series[series as usize];
            &keys[start as usize..][..contents.schemas[schema as usize].len()]
        };
        let mut order: Vec<SeriesId> = (0..to_u32(contents.series.len())).collect();
        order.sort_unstable_by(|a, b| key(*a).cmp(key(*b)));
        order
    }

    /// Returns the names of all labels, in no order.
    pub(crate) fn label_names(&self) -> Vec<Arc<str>> {
        let contents = self.read();
        let names = contents.columns.iter();
        names.map(|column| Arc::clone(&column.name)).collect()
    }

    /// Returns the values of a label and how many series have each; what comes meanwhile may be left out.
    pub(crate) fn value_counts(&self, name: &str) -> Vec<ValueCount> {
        let mut counts: Vec<ValueCount> = Vec::new();
        loop {
            let contents = self.read();
            let Some(column) = contents.column_of(name) else {
                return counts;
            };
            let before = counts.len();
            let rest = column.values.iter().zip(&column.postings).skip(before);
            counts.extend(rest.take(COUNT_BATCH).map(|(value, posting)| ValueCount {
                text: Arc::clone(&value.text),
                series: posting.len(),
            }));
            if counts.len() - before < COUNT_BATCH {
                return counts;
            }
        }
    }

    /// Returns an estimate of the memory that a label takes, in bytes.
    pub(crate) fn label_bytes(&self, name: &str) -> u64 {
        let contents = self.read();
        contents.column_of(name).map_or(0, |column| {
            let values = column.text_bytes + column.values.len() * VALUE_BYTES;
            values as u64 + column.series.len() * PAIR_BYTES as u64
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the values of a label in order, up to date; sorts what is new outside the lock.
    fn sorted_values(&self, name: &str) -> Option<Arc<[SortedValue]>> {
        let (known, column, new) = {
            let contents = self.read();
            let column = *contents.names.get(name)?;
            let known = Arc::clone(&contents.columns[column as usize].sorted);
            let values = &contents.columns[column as usize].values;
            let new: Vec<SortedValue> = (0..)
                .zip(values)
                .skip(known.len())
                .map(|(id, value)| SortedValue {
                    text: Arc::clone(&value.text),
                    id,
                    first: value.first,
                })
                .collect();
            (known, column, new)
        };
        if new.is_empty() {
            return Some(known);
        }
        let merged = merge_sorted(&known, new);
        let mut contents = self.write();
        let stored = &mut contents.columns[column as usize].sorted;
        if stored.len() < merged.len() {
            *stored = Arc::clone(&merged);
        }
        Some(merged)
    }
}

/// Returns the place of each in an order.
fn ranks(order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, one) in (0..).zip(order) {
        ranks[*one as usize] = rank;
    }
    ranks
}

fn merge_sorted(known: &[SortedValue], mut new: Vec<SortedValue>) -> Arc<[SortedValue]> {
    new.sort_unstable_by(|a, b| a.text.cmp(&b.text));
    let mut merged = Vec::with_capacity(known.len() + new.len());
    let mut rest = known;
    for value in new {
        let before = rest.partition_point(|other| other.text < value.text);
        merged.extend_from_slice(&rest[..before]);
        rest = &rest[before..];
        merged.push(value);
    }
    merged.extend_from_slice(rest);
    merged.into()
}

impl Contents {
    fn insert(&mut self, labels: &Labels) -> (SeriesId, bool) {
        let hash = match self.find(hash_of(labels, 0), labels) {
            Ok(known) => return (known, false),
            Err(free) => free,
        };
        let series = to_u32(self.series.len());
        let start = to_u32(self.values.len());
        // Most have the names, and many of the values, of the one before.
        let before = self.series.last().copied();
        let mut schema = Vec::with_capacity(labels.len());
        let mut identity: Identity = 0;
        for (at, (name, value)) in labels.iter().enumerate() {
            let likely = before.and_then(|before| {
                let column = *self.schemas[before.schema as usize].get(at)?;
                Some((column, self.values[before.start as usize + at]))
            });
            let likely = likely.filter(|(column, _)| *self.columns[*column as usize].name == *name);
            let column = likely.map_or_else(|| self.column(name), |(column, _)| column);
            let likely = likely.map(|(_, value)| value);
            identity = identity.wrapping_add(self.columns[column as usize].hash.with(value));
            let (value, new_bytes) = self.columns[column as usize].add(value, likely, series);
            self.bytes += new_bytes + PAIR_BYTES;
            self.values.push(value);
            schema.push(column);
        }
        let same = before.filter(|before| *self.schemas[before.schema as usize] == *schema);
        let schema = same.map_or_else(|| self.schema(schema), |before| before.schema);
        self.series.push(Series { schema, start });
        self.identities.push(identity);
        self.by_hash.insert(hash, series);
        self.bytes += SERIES_BYTES;
        (series, true)
    }

    /// Returns the series with these labels, or the number under which it would stand in `by_hash`.
    fn find(&self, hash: u64, labels: &Labels) -> Result<SeriesId, u64> {
        let mut place = hash;
        while let Some(series) = self.by_hash.get(&place) {
            if self.pairs(*series).eq(labels.iter()) {
                return Ok(*series);
            }
            place = place.wrapping_add(1);
        }
        Err(place)
    }

    fn column(&mut self, name: &str) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let id = to_u32(self.columns.len());
        let name: Arc<str> = name.into();
        self.bytes += VALUE_BYTES + name.len();
        self.names.insert(Arc::clone(&name), id);
        self.columns.push(LabelColumn {
            hash: PairHash::of_name(&name),
            name,
            values: Vec::new(),
            by_text: HashMap::default(),
            postings: Vec::new(),
            series: RoaringBitmap::new(),
            sorted: Arc::new([]),
            text_bytes: 0,
        });
        id
    }

    fn schema(&mut self, columns: Vec<u32>) -> u32 {
        if let Some(known) = self.schema_ids.get(columns.as_slice()) {
            return *known;
        }
        let id = to_u32(self.schemas.len());
        let columns: Arc<[u32]> = columns.into();
        self.bytes += VALUE_BYTES + columns.len() * 4;
        self.schema_ids.insert(Arc::clone(&columns), id);
        self.schemas.push(columns);
        id
    }

    /// Returns a series' schema and the ids of its values.
    fn row(&self, series: SeriesId) -> Option<(u32, &[ValueId])> {
        let Series { schema, start } = *self.series.get(series as usize)?;
        let len = self.schemas[schema as usize].len();
        Some((schema, &self.values[start as usize..start as usize + len]))
    }

    fn pairs(&self, series: SeriesId) -> impl Iterator<Item = (&str, &str)> {
        let (schema, values) = self.row(series).unwrap_or((0, &[]));
        let columns = self
            .schemas
            .get(schema as usize)
            .map(|columns| &columns[..])
            .unwrap_or_default();
        columns.iter().zip(values).map(|(column, value)| {
            let column = &self.columns[*column as usize];
            (&*column.name, &*column.values[*value as usize].text)
        })
    }

    fn labels(&self, series: SeriesId) -> Option<Labels> {
        self.row(series)?;
        // The pairs came out of a label set.
        Labels::from_pairs(self.pairs(series)).ok()
    }

    /// Returns the labels of a series as a reader wants them.
    fn named(&self, series: SeriesId, naming: &mut Naming<'_>) -> Option<Named> {
        let (schema, values) = self.row(series)?;
        let columns = &self.schemas[schema as usize];
        let named = match naming.name(schema, columns, values, &mut HeldTexts(self)) {
            Ok(named) => named,
            Err(never) => match never {},
        };
        named.or_else(|| self.labels(series).map(Named::new))
    }

    fn column_of(&self, name: &str) -> Option<&LabelColumn> {
        self.names
            .get(name)
            .map(|column| &self.columns[*column as usize])
    }
}

impl LabelColumn {
    /// Notes that `series`, greater than any before, has the value `text`, perhaps the `likely` one; returns the value's id and the bytes
    /// that it took.
    fn add(&mut self, text: &str, likely: Option<ValueId>, series: SeriesId) -> (ValueId, usize) {
        self.series.insert(series);
        let known = likely.filter(|id| *self.values[*id as usize].text == *text);
        if let Some(id) = known.or_else(|| self.by_text.get(text).copied()) {
            self.postings[id as usize].push(series);
            return (id, 0);
        }
        let id = to_u32(self.values.len());
        let text: Arc<str> = text.into();
        self.by_text.insert(Arc::clone(&text), id);
        self.values.push(LabelValue {
            text: Arc::clone(&text),
            first: series,
        });
        self.postings.push(Posting::One(series));
        self.text_bytes += text.len();
        (id, VALUE_BYTES + text.len())
    }
}

impl Posting {
    /// Adds a series greater than any before.
    fn push(&mut self, series: SeriesId) {
        match self {
            Self::One(first) => *self = Self::Few(vec![*first, series]),
            Self::Few(list) if list.len() < FEW_MAX => list.push(series),
            Self::Few(list) => {
                let mut many: RoaringBitmap = list.iter().copied().collect();
                many.insert(series);
                *self = Self::Many(many);
            }
            Self::Many(many) => {
                many.insert(series);
            }
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::One(_) => 1,
            Self::Few(list) => list.len() as u64,
            Self::Many(many) => many.len(),
        }
    }

    fn add_to(&self, out: &mut RoaringBitmap) {
        match self {
            Self::One(series) => {
                out.insert(*series);
            }
            Self::Few(list) => out.extend(list),
            Self::Many(many) => *out |= many,
        }
    }
}

/// The series that an index had at one moment.
#[derive(Clone, Debug)]
pub(crate) struct HeadIndexView {
    index: Arc<HeadIndex>,
    count: u32,
}

impl HeadIndexView {
    /// Calls `visit` with each of these series and its identity.
    pub(crate) fn each_identity(
        &self,
        series: &RoaringBitmap,
        mut visit: impl FnMut(SeriesId, Identity),
    ) {
        let mut series = series.iter();
        let mut identities = Vec::with_capacity(IDENTITY_BATCH);
        loop {
            let contents = self.index.read();
            let batch = series.by_ref().take(IDENTITY_BATCH);
            identities.extend(batch.filter_map(|id| {
                let identity = contents.identities.get(id as usize)?;
                Some((id, *identity))
            }));
            drop(contents);
            if identities.is_empty() {
                return;
            }
            for (id, identity) in identities.drain(..) {
                visit(id, identity);
            }
        }
    }

    /// Calls `visit` with the labels of each of these series, as a reader wants them.
    pub(crate) fn each_named<E>(
        &self,
        series: impl Iterator<Item = SeriesId>,
        naming: &mut Naming<'_>,
        mut visit: impl FnMut(Named) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut series = series;
        let mut named = Vec::with_capacity(NAME_BATCH);
        loop {
            let contents = self.index.read();
            let batch = series.by_ref().take(NAME_BATCH);
            // A view has only series that the index has.
            named.extend(batch.map(|id| contents.named(id, naming).unwrap_or_default()));
            drop(contents);
            if named.is_empty() {
                return Ok(());
            }
            for named in named.drain(..) {
                visit(named)?;
            }
        }
    }
}

/// The texts of an index, while it is locked.
struct HeldTexts<'a>(&'a Contents);

impl Texts for HeldTexts<'_> {
    type Error = Infallible;

    fn text(&mut self, column: u32, value: ValueId) -> Result<(&str, &str), Infallible> {
        let column = &self.0.columns[column as usize];
        Ok((&column.name, &column.values[value as usize].text))
    }
}

impl IndexRead for HeadIndexView {
    type Error = Infallible;

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.count);
        all
    }

    fn names(&self) -> Result<Vec<String>, Infallible> {
        let contents = self.index.read();
        let here =
            |column: &&LabelColumn| column.series.min().is_some_and(|first| first < self.count);
        let mut names: Vec<String> = contents
            .columns
            .iter()
            .filter(here)
            .map(|column| (*column.name).to_owned())
            .collect();
        drop(contents);
        names.sort_unstable();
        Ok(names)
    }

    fn find_value(&self, name: &str, value: &str) -> Result<Option<ValueId>, Infallible> {
        Ok(self
            .index
            .read()
            .column_of(name)
            .and_then(|column| column.by_text.get(value).copied()))
    }

    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, ValueId) -> ControlFlow<()>,
    ) -> Result<(), Infallible> {
        let values = self.index.sorted_values(name).unwrap_or_default();
        let start = values.partition_point(|value| &*value.text < prefix);
        let here = values[start..]
            .iter()
            .take_while(|value| value.text.starts_with(prefix));
        for value in here.filter(|value| value.first < self.count) {
            if visit(&value.text, value.id).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn union(
        &self,
        name: &str,
        values: &[ValueId],
        out: &mut RoaringBitmap,
    ) -> Result<(), Infallible> {
        for batch in values.chunks(UNION_BATCH) {
            let contents = self.index.read();
            let Some(column) = contents.column_of(name) else {
                break;
            };
            for posting in batch
                .iter()
                .filter_map(|value| column.postings.get(*value as usize))
            {
                posting.add_to(out);
            }
        }
        out.remove_range(self.count..);
        Ok(())
    }

    fn with_name(&self, name: &str) -> Result<RoaringBitmap, Infallible> {
        let mut series = self
            .index
            .read()
            .column_of(name)
            .map(|column| column.series.clone())
            .unwrap_or_default();
        series.remove_range(self.count..);
        Ok(series)
    }

    fn labels(&self, series: SeriesId) -> Result<Option<Labels>, Infallible> {
        Ok(if series < self.count {
            self.index.read().labels(series)
        } else {
            None
        })
    }
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("limits keep an index far below 2^32 series and label pairs")
}
