//! Exemplars and metadata: few, and read seldom.

use std::sync::Arc;

use model::{Exemplar, Labels, Metadata, MetricType, TimestampMs};

use super::directory::{ColumnReader, ColumnWriter, expect_end, to_u32};
use crate::bytes::{Malformed, Reader};
use crate::index::SeriesId;
use crate::page::varint::{put_length, put_zigzag, take_length, take_zigzag};

/// The longest text that a reader takes.
const TEXT_BYTES_MAX: usize = 1 << 24;
/// Exemplars of one series in one file, and series that have any.
const LIST_MAX: usize = 1 << 24;

/// Appends the exemplars of one series.
pub(super) fn put_exemplars(exemplars: &[Exemplar], out: &mut Vec<u8>) {
    put_length(out, exemplars.len());
    for exemplar in exemplars {
        put_zigzag(out, exemplar.at.0);
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_length(out, exemplar.labels.len());
        for (name, value) in exemplar.labels.iter() {
            put_text(name, out);
            put_text(value, out);
        }
    }
}

pub(super) fn take_exemplars(src: &[u8]) -> Result<Vec<Exemplar>, Malformed> {
    let mut from = Reader::new(src);
    let count = take_length(&mut from, LIST_MAX, "too many exemplars")?;
    let mut exemplars = Vec::new();
    for _ in 0..count {
        let at = TimestampMs(take_zigzag(&mut from, "exemplar is cut off")?);
        let value = f64::from_bits(from.u64("exemplar is cut off")?);
        let labels = take_length(&mut from, src.len(), "exemplar has too many labels")?;
        let mut pairs = Vec::new();
        for _ in 0..labels {
            pairs.push((take_text(&mut from)?, take_text(&mut from)?));
        }
        let labels = Labels::from_pairs(pairs)
            .map_err(|_| Malformed("labels of an exemplar are not a set"))?;
        exemplars.push(Exemplar { labels, value, at });
    }
    expect_end(from)?;
    Ok(exemplars)
}

/// Which series have exemplars and where those lie.
#[derive(Debug, Default)]
pub(super) struct ExemplarLists {
    /// Rising.
    pub(super) series: Vec<SeriesId>,
    /// Where each series' exemplars begin, and the last one's end.
    pub(super) offsets: Vec<u64>,
}

/// Appends series and the bytes that their exemplars take.
pub(super) fn put_exemplar_lists(lists: &[(SeriesId, usize)], out: &mut Vec<u8>) {
    put_length(out, lists.len());
    let mut columns = ColumnWriter::default();
    columns.put(lists, out, |(series, _)| i64::from(*series));
    columns.put(lists, out, |(_, bytes)| {
        i64::try_from(*bytes).unwrap_or(i64::MAX)
    });
}

pub(super) fn take_exemplar_lists(src: &[u8]) -> Result<ExemplarLists, Malformed> {
    if src.is_empty() {
        return Ok(ExemplarLists::default());
    }
    let mut from = Reader::new(src);
    let count = take_length(&mut from, LIST_MAX, "too many series with exemplars")?;
    let mut columns = ColumnReader::default();
    let series = columns
        .take(&mut from, count)?
        .into_iter()
        .map(to_u32)
        .collect::<Result<_, _>>()?;
    let offsets = offsets(&columns.take(&mut from, count)?)?;
    expect_end(from)?;
    Ok(ExemplarLists { series, offsets })
}

/// Returns where things of these lengths begin, end to end, and where the last ends.
pub(super) fn offsets(lengths: &[i64]) -> Result<Vec<u64>, Malformed> {
    let mut offsets = Vec::with_capacity(lengths.len() + 1);
    let mut end = 0u64;
    offsets.push(end);
    for length in lengths {
        let length = u64::try_from(*length).map_err(|_| Malformed("negative length"))?;
        end = end
            .checked_add(length)
            .ok_or(Malformed("lengths past the end"))?;
        offsets.push(end);
    }
    Ok(offsets)
}

/// Appends what one metric family says of itself.
pub(super) fn put_metadata(metric: &str, metadata: &Metadata, out: &mut Vec<u8>) {
    put_text(metric, out);
    put_text(metadata.kind.as_str(), out);
    put_text(&metadata.help, out);
    put_text(&metadata.unit, out);
}

pub(super) fn take_metadata(src: &[u8]) -> Result<Vec<(Arc<str>, Metadata)>, Malformed> {
    let mut from = Reader::new(src);
    let mut all = Vec::new();
    while !from.rest().is_empty() {
        let metric = Arc::from(take_text(&mut from)?);
        // A type that this program does not know is no reason to refuse the rest.
        let kind = take_text(&mut from)?.parse().unwrap_or(MetricType::Unknown);
        let (help, unit) = (
            take_text(&mut from)?.to_owned(),
            take_text(&mut from)?.to_owned(),
        );
        all.push((metric, Metadata { kind, help, unit }));
    }
    Ok(all)
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(from: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let bytes = take_length(from, TEXT_BYTES_MAX, "text is too long")?;
    std::str::from_utf8(from.take(bytes, "text is cut off")?)
        .map_err(|_| Malformed("text is not UTF-8"))
}
