//! Writing the immutable form of an index.
//!
//! Four byte strings come out: *values* (runs of sorted, prefix-compressed values), *postings*, *series* (labels of chunks of series, as
//! columns) and the *root*, which says where everything lies. The layout is drawn in FORMAT.md, section "Index".

use roaring::RoaringBitmap;

use super::head::{Contents, LabelColumn};
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

/// Returns the immutable form of an index whose series are numbered in order of their labels.
pub(crate) fn encode_index(index: &super::HeadIndex) -> EncodedParts {
    index.with_contents(encode_contents)
}

fn encode_contents(contents: &Contents) -> EncodedParts {
    let mut scratch = PostingScratch::default();
    let mut parts = EncodedParts::default();
    let mut root = RootColumns::default();
    let mut columns: Vec<(usize, &LabelColumn)> = contents.columns.iter().enumerate().collect();
    columns.sort_unstable_by(|a, b| a.1.name.cmp(&b.1.name));

    for (_, column) in &columns {
        let before = parts.postings.len();
        encode_posting(&column.series, &mut scratch, &mut parts.postings);
        root.with_bytes.push(to_i64(parts.postings.len() - before));
    }
    // By column as the head numbers them: place among the sorted names, and place of each value among the sorted values.
    let mut places = vec![0; columns.len()];
    let mut ranks: Vec<Vec<u32>> = vec![Vec::new(); columns.len()];
    for (place, (column_id, column)) in columns.iter().enumerate() {
        places[*column_id] = place;
        let mut order: Vec<ValueId> = (0..).take(column.values.len()).collect();
        order.sort_unstable_by(|a, b| {
            column.values[*a as usize]
                .text
                .cmp(&column.values[*b as usize].text)
        });
        let mut rank_of = vec![0; order.len()];
        for (rank, value) in (0..).zip(&order) {
            rank_of[*value as usize] = rank;
        }
        ranks[*column_id] = rank_of;
        let runs_before = root.run_bytes.len();
        put_runs(column, &order, &mut root, &mut scratch, &mut parts);
        root.name_values.push(to_i64(order.len()));
        root.name_runs
            .push(to_i64(root.run_bytes.len() - runs_before));
    }
    for start in (0..contents.len()).step_by(CHUNK_SERIES) {
        let before = parts.series.len();
        put_chunk(
            contents,
            start,
            &places,
            &ranks,
            &mut scratch,
            &mut parts.series,
        );
        root.chunk_bytes.push(to_i64(parts.series.len() - before));
    }
    put_root(
        contents,
        &columns,
        &places,
        &root,
        &mut scratch,
        &mut parts.root,
    );
    parts
}

/// Writes the values of a column, in `order`, as runs, and their postings.
fn put_runs(
    column: &LabelColumn,
    order: &[ValueId],
    root: &mut RootColumns,
    scratch: &mut PostingScratch,
    parts: &mut EncodedParts,
) {
    let text = |value: &ValueId| &*column.values[*value as usize].text;
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
            let mut series = RoaringBitmap::new();
            column.postings[*value as usize].add_to(&mut series);
            encode_posting(&series, scratch, &mut parts.postings);
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

/// Writes the labels of [`CHUNK_SERIES`] series: their schemas, then per label name the ranks of the values of those that have it.
fn put_chunk(
    contents: &Contents,
    start: usize,
    places: &[usize],
    ranks: &[Vec<u32>],
    scratch: &mut PostingScratch,
    out: &mut Vec<u8>,
) {
    let end = contents.len().min(start + CHUNK_SERIES);
    let rows: Vec<(u32, &[ValueId])> = (start..end)
        .filter_map(|series| {
            SeriesId::try_from(series)
                .ok()
                .and_then(|series| contents.row(series))
        })
        .collect();
    let schemas: Vec<i64> = rows.iter().map(|(schema, _)| i64::from(*schema)).collect();
    encode_ints(&schemas, Differences::First, &mut scratch.ints, out);
    let mut by_place: std::collections::BTreeMap<usize, Vec<i64>> =
        std::collections::BTreeMap::new();
    for (schema, values) in rows {
        for (column, value) in contents.schemas[schema as usize].iter().zip(values) {
            let rank = ranks[*column as usize][*value as usize];
            by_place
                .entry(places[*column as usize])
                .or_default()
                .push(i64::from(rank));
        }
    }
    for column in by_place.values() {
        encode_ints(column, Differences::First, &mut scratch.ints, out);
    }
}

fn put_root(
    contents: &Contents,
    columns: &[(usize, &LabelColumn)],
    places: &[usize],
    root: &RootColumns,
    scratch: &mut PostingScratch,
    out: &mut Vec<u8>,
) {
    out.push(INDEX_VERSION);
    put_length(out, contents.len());
    put_length(out, columns.len());
    let mut before = "";
    for (_, column) in columns {
        put_suffix(before, &column.name, out);
        before = &column.name;
    }
    put_length(out, contents.schemas.len());
    for schema in &contents.schemas {
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
