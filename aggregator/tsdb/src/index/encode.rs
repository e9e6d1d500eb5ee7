//! Writing the immutable form of an index.
//!
//! Four byte strings come out: *values* (runs of sorted, prefix-compressed values), *postings*, *series* (labels of chunks of series, as
//! columns) and the *root*, which says where everything lies. The layout is drawn in FORMAT.md, section "Index".

use std::collections::HashMap;
use std::sync::Arc;

use model::Labels;

use super::postings::{PostingScratch, encode_posting};
use super::{SeriesId, ValueId};
use crate::page::ints::{Differences, encode_ints};
use crate::page::varint::{put_length, put_varint};

/// The version of the root, its first byte.
pub(super) const INDEX_VERSION: u8 = 1;
/// Series whose labels are encoded together.
pub(super) const CHUNK_SERIES: usize = 256;
/// Values decoded together, at most.
pub(super) const RUN_VALUES_MAX: usize = 256;
/// A run is closed when its texts reach this many bytes.
const RUN_TEXT_BYTES: usize = 16 * 1024;

/// An encoded index.
#[derive(Debug, Default)]
pub(crate) struct EncodedParts {
    pub(crate) values: Vec<u8>,
    pub(crate) postings: Vec<u8>,
    pub(crate) series: Vec<u8>,
    pub(crate) root: Vec<u8>,
}

/// Gathers the series of an index that is written once; some 8 bytes a label, and each distinct value.
///
/// Series come in order of their labels, so most labels of one are those of the one before: those cost a comparison and no look-up.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    names: HashMap<Arc<str>, u32>,
    columns: Vec<Column>,
    schema_ids: HashMap<Arc<[u32]>, u32>,
    /// Columns by schema, in order of the names.
    schemas: Vec<Arc<[u32]>>,
    /// The schema of each series.
    series: Vec<u32>,
    /// Of the series being pushed.
    schema: Vec<u32>,
}

/// A label name.
#[derive(Debug)]
struct Column {
    name: Arc<str>,
    by_text: HashMap<Arc<str>, ValueId>,
    /// By value id, in order of appearance.
    texts: Vec<Arc<str>>,
    /// The series that have the label, rising.
    series: Vec<SeriesId>,
    /// What each of these has.
    values: Vec<ValueId>,
}

/// What the root says of each name and run, as columns.
#[derive(Default)]
struct RootColumns {
    with_bytes: Vec<i64>,
    name_values: Vec<i64>,
    name_runs: Vec<i64>,
    run_bytes: Vec<i64>,
    run_values: Vec<i64>,
    run_posting_bytes: Vec<i64>,
    run_firsts: Vec<String>,
    chunk_bytes: Vec<i64>,
}

impl IndexBuilder {
    /// Adds the next series, whose labels are greater than those of the one before.
    ///
    /// # Panics
    /// When there are 2^32 series; limits stand far below.
    pub(crate) fn push(&mut self, labels: &Labels) {
        let id = to_u32(self.series.len());
        let before = self
            .series
            .last()
            .map(|schema| Arc::clone(&self.schemas[*schema as usize]))
            .unwrap_or_default();
        let mut schema = std::mem::take(&mut self.schema);
        schema.clear();
        for (place, (name, value)) in labels.iter().enumerate() {
            let column = match before.get(place) {
                Some(column) if *self.columns[*column as usize].name == *name => *column,
                _ => self.column(name),
            };
            self.columns[column as usize].push(id, value);
            schema.push(column);
        }
        let number = match self.series.last() {
            Some(number) if *schema == *before => *number,
            _ => self.schema_number(&schema),
        };
        self.series.push(number);
        self.schema = schema;
    }

    /// Returns the number of series.
    pub(crate) const fn len(&self) -> usize {
        self.series.len()
    }

    fn column(&mut self, name: &str) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let id = to_u32(self.columns.len());
        let name: Arc<str> = name.into();
        self.names.insert(Arc::clone(&name), id);
        self.columns.push(Column {
            name,
            by_text: HashMap::new(),
            texts: Vec::new(),
            series: Vec::new(),
            values: Vec::new(),
        });
        id
    }

    fn schema_number(&mut self, columns: &[u32]) -> u32 {
        if let Some(known) = self.schema_ids.get(columns) {
            return *known;
        }
        let id = to_u32(self.schemas.len());
        let columns: Arc<[u32]> = columns.into();
        self.schema_ids.insert(Arc::clone(&columns), id);
        self.schemas.push(columns);
        id
    }

    /// Returns the encoded form.
    pub(crate) fn finish(mut self) -> EncodedParts {
        let mut scratch = PostingScratch::default();
        let mut parts = EncodedParts::default();
        let mut root = RootColumns::default();
        // By column: its place among the sorted names.
        let mut places = vec![0; self.columns.len()];
        let mut columns: Vec<(usize, Column)> = self.columns.drain(..).enumerate().collect();
        columns.sort_unstable_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let mut sorted = Vec::with_capacity(columns.len());
        for (place, (id, column)) in columns.into_iter().enumerate() {
            places[id] = place;
            sorted.push(column);
        }

        for column in &sorted {
            let before = parts.postings.len();
            encode_posting(&column.series, &mut scratch, &mut parts.postings);
            root.with_bytes.push(to_i64(parts.postings.len() - before));
        }
        for column in &mut sorted {
            let order = column.order();
            let runs_before = root.run_bytes.len();
            put_runs(column, &order, &mut root, &mut scratch, &mut parts);
            root.name_values.push(to_i64(order.len()));
            root.name_runs
                .push(to_i64(root.run_bytes.len() - runs_before));
            column.rank(&order);
        }
        // How far the chunks have come in each column.
        let mut cursors = vec![0; sorted.len()];
        for (chunk, schemas) in self.series.chunks(CHUNK_SERIES).enumerate() {
            let before = parts.series.len();
            let schemas: Vec<i64> = schemas.iter().copied().map(i64::from).collect();
            encode_ints(
                &schemas,
                Differences::First,
                &mut scratch.ints,
                &mut parts.series,
            );
            let end = to_u32((chunk + 1) * CHUNK_SERIES);
            for (column, cursor) in sorted.iter().zip(&mut cursors) {
                put_ranks(column, end, cursor, &mut scratch, &mut parts.series);
            }
            root.chunk_bytes.push(to_i64(parts.series.len() - before));
        }
        self.put_root(&sorted, &places, &root, &mut scratch, &mut parts.root);
        parts
    }
}

impl Column {
    fn push(&mut self, series: SeriesId, text: &str) {
        let last = self.values.last().copied();
        let value = match last {
            Some(last) if *self.texts[last as usize] == *text => last,
            _ => self.value(text),
        };
        self.series.push(series);
        self.values.push(value);
    }

    fn value(&mut self, text: &str) -> ValueId {
        if let Some(known) = self.by_text.get(text) {
            return *known;
        }
        let id = to_u32(self.texts.len());
        let text: Arc<str> = text.into();
        self.by_text.insert(Arc::clone(&text), id);
        self.texts.push(text);
        id
    }

    /// Returns the ids of the values in order of their texts.
    fn order(&self) -> Vec<ValueId> {
        let mut order: Vec<ValueId> = (0..to_u32(self.texts.len())).collect();
        order.sort_unstable_by(|a, b| self.texts[*a as usize].cmp(&self.texts[*b as usize]));
        order
    }

    /// Returns the series of all values, one value after the other in order of their ids, and where each value's end.
    fn postings(&self) -> (Vec<SeriesId>, Vec<usize>) {
        let mut ends = vec![0; self.texts.len()];
        for value in &self.values {
            ends[*value as usize] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        // While it is filled, each value's end is where its next series goes.
        let mut postings = vec![0; self.series.len()];
        for (series, value) in self.series.iter().zip(&self.values) {
            let next = &mut ends[*value as usize];
            postings[*next] = *series;
            *next += 1;
        }
        (postings, ends)
    }

    /// Puts the ranks of the values in place of their ids.
    fn rank(&mut self, order: &[ValueId]) {
        let mut rank_of = vec![0; order.len()];
        for (rank, value) in (0..).zip(order) {
            rank_of[*value as usize] = rank;
        }
        for value in &mut self.values {
            *value = rank_of[*value as usize];
        }
    }
}

/// Writes the values of a column, in `order`, as runs, and their postings.
fn put_runs(
    column: &Column,
    order: &[ValueId],
    root: &mut RootColumns,
    scratch: &mut PostingScratch,
    parts: &mut EncodedParts,
) {
    let text = |value: &ValueId| &*column.texts[*value as usize];
    let (postings, ends) = column.postings();
    let series_of = |value: usize| {
        let start = value.checked_sub(1).map_or(0, |before| ends[before]);
        &postings[start..ends[value]]
    };
    let mut rest = order;
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let length = rest
            .iter()
            .take(RUN_VALUES_MAX)
            .take_while(|value| {
                let before = bytes;
                bytes += text(value).len();
                before < RUN_TEXT_BYTES
            })
            .count();
        let (run, later) = rest.split_at(length);
        rest = later;
        let (values_before, postings_before) = (parts.values.len(), parts.postings.len());
        // The first value stands in the root.
        for pair in run.windows(2) {
            put_suffix(text(&pair[0]), text(&pair[1]), &mut parts.values);
        }
        let mut posting_bytes = Vec::with_capacity(run.len());
        for value in run {
            let before = parts.postings.len();
            encode_posting(series_of(*value as usize), scratch, &mut parts.postings);
            posting_bytes.push(to_i64(parts.postings.len() - before));
        }
        encode_ints(
            &posting_bytes,
            Differences::First,
            &mut scratch.ints,
            &mut parts.values,
        );
        root.run_bytes
            .push(to_i64(parts.values.len() - values_before));
        root.run_values.push(to_i64(run.len()));
        root.run_posting_bytes
            .push(to_i64(parts.postings.len() - postings_before));
        root.run_firsts.push(text(first).to_owned());
    }
}

/// Writes the ranks that the series below `end` have, from `cursor` on; nothing when none of them has the label.
fn put_ranks(
    column: &Column,
    end: SeriesId,
    cursor: &mut usize,
    scratch: &mut PostingScratch,
    out: &mut Vec<u8>,
) {
    let rest = &column.series[*cursor..];
    let count = rest.iter().take_while(|series| **series < end).count();
    scratch.numbers.clear();
    let ranks = column.values[*cursor..][..count].iter();
    scratch.numbers.extend(ranks.copied().map(i64::from));
    encode_ints(&scratch.numbers, Differences::First, &mut scratch.ints, out);
    *cursor += count;
}

impl IndexBuilder {
    fn put_root(
        &self,
        columns: &[Column],
        places: &[usize],
        root: &RootColumns,
        scratch: &mut PostingScratch,
        out: &mut Vec<u8>,
    ) {
        out.push(INDEX_VERSION);
        put_length(out, self.len());
        put_length(out, columns.len());
        let mut before = "";
        for column in columns {
            put_suffix(before, &column.name, out);
            before = &column.name;
        }
        put_length(out, self.schemas.len());
        for schema in &self.schemas {
            put_length(out, schema.len());
            for column in schema.iter() {
                put_varint(out, places[*column as usize] as u64);
            }
        }
        let mut put = |column: &[i64], out: &mut Vec<u8>| {
            encode_ints(column, Differences::First, &mut scratch.ints, out);
        };
        put(&root.with_bytes, out);
        put(&root.name_values, out);
        put(&root.name_runs, out);
        put_length(out, root.run_bytes.len());
        put(&root.run_bytes, out);
        put(&root.run_values, out);
        put(&root.run_posting_bytes, out);
        let mut before = "";
        for first in &root.run_firsts {
            put_suffix(before, first, out);
            before = first;
        }
        put_length(out, root.chunk_bytes.len());
        put(&root.chunk_bytes, out);
    }
}

/// Writes `text` as the number of bytes that it shares with the text before, the number of bytes that follow, and those.
fn put_suffix(before: &str, text: &str, out: &mut Vec<u8>) {
    let shared = before
        .bytes()
        .zip(text.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    put_length(out, shared);
    put_length(out, text.len() - shared);
    out.extend_from_slice(&text.as_bytes()[shared..]);
}

fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("series and values of a partition are counted far below 2^32")
}
