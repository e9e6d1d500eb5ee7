//! The root of an encoded index.

use super::area::Area;
use super::encode::{CHUNK_SERIES, INDEX_VERSION, RUN_VALUES_MAX};
use crate::bytes::{Malformed, Reader};
use crate::page::ints::{IntScratch, decode_ints};
use crate::page::varint::{take_length, take_varint};

/// The longest text of a label name or value that a reader takes.
const TEXT_BYTES_MAX: usize = 1 << 24;
/// Where the parts of an index lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexAreas {
    pub(crate) values: Area,
    pub(crate) postings: Area,
    pub(crate) series: Area,
    pub(crate) root: Area,
}

/// What of an index stays in memory: where everything lies.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) series: u32,
    /// Names by place, for each schema, rising.
    pub(super) schemas: Vec<Box<[u32]>>,
    /// Sorted.
    pub(super) names: Vec<Name>,
    pub(super) runs: Vec<RunRef>,
    /// Offset of each chunk in the area, and its end.
    pub(super) chunks: Vec<u64>,
}

/// A label name.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: String,
    /// Where the posting of all series with this label begins and ends.
    pub(super) with: (u64, u64),
    pub(super) values: u32,
    /// Its runs: `runs[first_run..end_run]`.
    pub(super) first_run: usize,
    pub(super) end_run: usize,
}

/// Where a run of values lies.
#[derive(Debug)]
pub(super) struct RunRef {
    pub(super) first: String,
    /// The rank of the first value among those of the name.
    pub(super) rank: u32,
    pub(super) values: usize,
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) postings: u64,
    pub(super) posting_bytes: u64,
}

/// Reads the root of an index whose parts lie in `areas`.
pub(super) fn take_root(bytes: &[u8], areas: &IndexAreas) -> Result<Root, Malformed> {
    let mut from = Reader::new(bytes);
    if from.u8("index has no root")? != INDEX_VERSION {
        return Err(Malformed("index of an unknown version"));
    }
    let series = u32::try_from(take_varint(&mut from, "bad number of series")?)
        .map_err(|_| Malformed("bad number of series"))?;
    let name_count = take_length(&mut from, bytes.len(), "more names than bytes")?;
    let mut names = Vec::new();
    let mut texts = Texts {
        current: Vec::new(),
    };
    for _ in 0..name_count {
        let text = texts.take(&mut from)?.to_owned();
        names.push(Name {
            text,
            with: (0, 0),
            values: 0,
            first_run: 0,
            end_run: 0,
        });
    }
    let schemas = take_schemas(&mut from, bytes.len(), name_count)?;
    let mut columns = Columns::default();
    let withs = columns.offsets(&mut from, 0, name_count, areas.postings.bytes)?;
    let name_values = columns.take(&mut from, name_count)?;
    let name_runs = columns.take(&mut from, name_count)?;
    let run_count = take_length(&mut from, bytes.len(), "more runs than bytes")?;
    let run_offsets = columns.offsets(&mut from, 0, run_count, areas.values.bytes)?;
    let run_values = columns.take(&mut from, run_count)?;
    let first_posting = withs.last().copied().unwrap_or(0);
    let run_postings =
        columns.offsets(&mut from, first_posting, run_count, areas.postings.bytes)?;
    let mut runs = Vec::new();
    let mut texts = Texts {
        current: Vec::new(),
    };
    for run in 0..run_count {
        runs.push(RunRef {
            first: texts.take(&mut from)?.to_owned(),
            rank: 0,
            values: usize::try_from(run_values[run])
                .ok()
                .filter(|values| (1..=RUN_VALUES_MAX).contains(values))
                .ok_or(Malformed("bad length of a run"))?,
            offset: run_offsets[run],
            bytes: usize::try_from(run_offsets[run + 1] - run_offsets[run])
                .map_err(|_| Malformed("bad length of a run"))?,
            postings: run_postings[run],
            posting_bytes: run_postings[run + 1] - run_postings[run],
        });
    }
    let chunk_count = take_length(
        &mut from,
        (series as usize).div_ceil(CHUNK_SERIES),
        "more chunks than series",
    )?;
    if chunk_count != (series as usize).div_ceil(CHUNK_SERIES)
        || chunk_count as u64 > areas.series.bytes
    {
        return Err(Malformed("fewer chunks than series"));
    }
    let chunks = columns.offsets(&mut from, 0, chunk_count, areas.series.bytes)?;
    if !from.rest().is_empty() {
        return Err(Malformed("root goes on after its end"));
    }
    let mut next_run = 0usize;
    for (place, name) in names.iter_mut().enumerate() {
        name.with = (withs[place], withs[place + 1]);
        name.values =
            u32::try_from(name_values[place]).map_err(|_| Malformed("bad number of values"))?;
        name.first_run = next_run;
        next_run = usize::try_from(name_runs[place])
            .ok()
            .and_then(|runs| next_run.checked_add(runs))
            .filter(|end| *end <= run_count)
            .ok_or(Malformed("bad number of runs"))?;
        name.end_run = next_run;
        let mut rank = 0u32;
        for run in &mut runs[name.first_run..name.end_run] {
            run.rank = rank;
            rank = rank.saturating_add(u32::try_from(run.values).unwrap_or(u32::MAX));
        }
        if rank != name.values {
            return Err(Malformed("runs of a name do not hold its values"));
        }
    }
    Ok(Root {
        series,
        schemas,
        names,
        runs,
        chunks,
    })
}

fn take_schemas(
    from: &mut Reader<'_>,
    bytes: usize,
    names: usize,
) -> Result<Vec<Box<[u32]>>, Malformed> {
    let count = take_length(from, bytes, "more schemas than bytes")?;
    let mut schemas = Vec::new();
    for _ in 0..count {
        let len = take_length(from, names, "more labels in a schema than names")?;
        let mut schema: Vec<u32> = Vec::new();
        for _ in 0..len {
            let name = take_varint(from, "bad schema")?;
            let name = u32::try_from(name)
                .ok()
                .filter(|name| (*name as usize) < names)
                .ok_or(Malformed("bad schema"))?;
            if schema.last().is_some_and(|last| *last >= name) {
                return Err(Malformed("names of a schema are not sorted"));
            }
            schema.push(name);
        }
        schemas.push(schema.into_boxed_slice());
    }
    Ok(schemas)
}

/// Reads the root's integer columns.
#[derive(Default)]
struct Columns {
    scratch: IntScratch,
}

impl Columns {
    fn take(&mut self, from: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
        let mut out = Vec::new();
        decode_ints(from, count, &mut self.scratch, &mut out)?;
        Ok(out)
    }

    /// Reads lengths and returns offsets from `start` on, the last of which is at most `end`.
    fn offsets(
        &mut self,
        from: &mut Reader<'_>,
        start: u64,
        count: usize,
        end: u64,
    ) -> Result<Vec<u64>, Malformed> {
        let offsets = offsets(start, &self.take(from, count)?)?;
        if offsets.last().is_some_and(|last| *last > end) {
            return Err(Malformed("index points past its end"));
        }
        Ok(offsets)
    }
}
/// Reads texts that each share a prefix with the one before.
pub(super) struct Texts {
    pub(super) current: Vec<u8>,
}

impl Texts {
    pub(super) fn take<'a>(&'a mut self, from: &mut Reader<'_>) -> Result<&'a str, Malformed> {
        let shared = take_length(
            from,
            self.current.len(),
            "shared prefix longer than the text before",
        )?;
        let suffix = take_length(from, TEXT_BYTES_MAX, "text is too long")?;
        let suffix = from.take(suffix, "text is cut off")?;
        self.current.truncate(shared);
        self.current.extend_from_slice(suffix);
        std::str::from_utf8(&self.current).map_err(|_| Malformed("text is not UTF-8"))
    }
}

/// Returns where things of these lengths begin, one after the other, and the end of the last.
pub(super) fn offsets(start: u64, lengths: &[i64]) -> Result<Vec<u64>, Malformed> {
    let mut at = start;
    let ends = lengths.iter().map(|length| {
        at = u64::try_from(*length)
            .ok()
            .and_then(|length| at.checked_add(length))
            .ok_or(Malformed("bad length in the index"))?;
        Ok(at)
    });
    std::iter::once(Ok(start)).chain(ends).collect()
}
