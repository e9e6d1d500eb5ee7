//! Reading the immutable form of an index, block by block.

use std::ops::ControlFlow;
use std::sync::Arc;

use model::Labels;
use roaring::RoaringBitmap;

use super::area::{Area, BlockSource, LastBlock, read_area};
use super::encode::{CHUNK_SERIES, INDEX_VERSION, RUN_VALUES_MAX};
use super::postings::{PostingScratch, decode_posting};
use super::{IndexRead, SeriesId, ValueId};
use crate::bytes::{Malformed, Reader};
use crate::cache::{Cache, CacheKey};
use crate::page::ints::{IntScratch, decode_ints};
use crate::page::varint::{take_length, take_varint};

/// The longest text of a label name or value that a reader takes.
const TEXT_BYTES_MAX: usize = 1 << 24;
/// What lies in the shared cache, below the sorts that a partition uses itself.
const SORT_RUN: u8 = 1;
const SORT_CHUNK: u8 = 2;

/// Where the parts of an index lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexAreas {
    pub(crate) values: Area,
    pub(crate) postings: Area,
    pub(crate) series: Area,
    pub(crate) root: Area,
}

/// An immutable index. Its root (some 100 bytes per 256 values or series) is in memory, the rest is read on demand.
#[derive(Debug)]
pub(crate) struct EncodedIndex<S> {
    source: S,
    areas: IndexAreas,
    root: Root,
    cache: Arc<Cache>,
    owner: u64,
}

#[derive(Debug, Default)]
struct Root {
    series: u32,
    /// Names by place, for each schema, rising.
    schemas: Vec<Box<[u32]>>,
    /// Sorted.
    names: Vec<Name>,
    runs: Vec<RunRef>,
    /// Offset of each chunk in the area, and its end.
    chunks: Vec<u64>,
}

#[derive(Debug)]
struct Name {
    text: String,
    /// Where the posting of all series with this label begins and ends.
    with: (u64, u64),
    values: u32,
    /// Its runs: `runs[first_run..end_run]`.
    first_run: usize,
    end_run: usize,
}

#[derive(Debug)]
struct RunRef {
    first: String,
    /// The rank of the first value among those of the name.
    rank: u32,
    values: usize,
    offset: u64,
    bytes: usize,
    postings: u64,
    posting_bytes: u64,
}

/// Values of one name, decoded.
#[derive(Debug)]
struct Run {
    text: String,
    /// End of each value in `text`.
    ends: Vec<u32>,
    /// Start of each value's posting in the area, and the last one's end.
    postings: Vec<u64>,
}

/// Labels of consecutive series, decoded.
#[derive(Debug)]
struct Chunk {
    schemas: Vec<u32>,
    /// Where each series' ranks begin.
    starts: Vec<u32>,
    /// In order of the names of the schema.
    ranks: Vec<ValueId>,
}

impl<S: BlockSource> EncodedIndex<S> {
    /// Reads the root. `owner` is the key of this index in `cache`.
    pub(crate) fn open(
        source: S,
        areas: IndexAreas,
        cache: Arc<Cache>,
        owner: u64,
    ) -> Result<Self, S::Error> {
        let mut index = Self {
            source,
            areas,
            root: Root::default(),
            cache,
            owner,
        };
        let length = usize::try_from(areas.root.bytes).unwrap_or(usize::MAX);
        let bytes = index.read(areas.root, 0, length, &mut LastBlock::default())?;
        index.root = take_root(&bytes, &areas)
            .map_err(|what| index.source.malformed(areas.root.first_block, what))?;
        Ok(index)
    }

    /// Returns the number of series.
    pub(crate) const fn len(&self) -> u32 {
        self.root.series
    }

    /// Returns the source of the blocks.
    pub(crate) const fn source(&self) -> &S {
        &self.source
    }

    fn read(
        &self,
        area: Area,
        offset: u64,
        length: usize,
        last: &mut LastBlock,
    ) -> Result<Vec<u8>, S::Error> {
        read_area(&self.source, area, offset, length, last)
    }

    /// Returns the error for what was read at `offset` of `area`.
    fn malformed(&self, area: Area, offset: u64, what: Malformed) -> S::Error {
        self.source.malformed(area.block_of(offset), what)
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let place = self
            .root
            .names
            .binary_search_by(|known| known.text.as_str().cmp(name))
            .ok()?;
        self.root.names.get(place)
    }

    fn runs_of(&self, name: &Name) -> &[RunRef] {
        self.root
            .runs
            .get(name.first_run..name.end_run)
            .unwrap_or_default()
    }

    fn run(&self, name: &Name, run: usize, last: &mut LastBlock) -> Result<Arc<Run>, S::Error> {
        let number = name.first_run + run;
        let key = CacheKey {
            owner: self.owner,
            sort: SORT_RUN,
            number: number as u64,
        };
        self.cache.get_or_make(key, || {
            let reference = &self.root.runs[number];
            let bytes = self.read(self.areas.values, reference.offset, reference.bytes, last)?;
            let run = take_run(&bytes, reference)
                .map_err(|what| self.malformed(self.areas.values, reference.offset, what))?;
            let size = run.text.len() + run.ends.len() * 4 + run.postings.len() * 8 + 100;
            Ok((run, size))
        })
    }

    /// Returns the run of a value's rank and the place in it.
    fn place_of(&self, name: &Name, rank: ValueId) -> Option<(usize, usize)> {
        let runs = self.runs_of(name);
        let run = runs
            .partition_point(|run| run.rank <= rank)
            .checked_sub(1)?;
        let place = (rank - runs[run].rank) as usize;
        (place < runs[run].values).then_some((run, place))
    }

    fn chunk(&self, number: usize) -> Result<Arc<Chunk>, S::Error> {
        let key = CacheKey {
            owner: self.owner,
            sort: SORT_CHUNK,
            number: number as u64,
        };
        self.cache.get_or_make(key, || {
            let (start, end) = (self.root.chunks[number], self.root.chunks[number + 1]);
            let length = usize::try_from(end - start).unwrap_or(usize::MAX);
            let bytes = self.read(self.areas.series, start, length, &mut LastBlock::default())?;
            let series = (self.root.series as usize - number * CHUNK_SERIES).min(CHUNK_SERIES);
            let chunk = take_chunk(&bytes, series, &self.root)
                .map_err(|what| self.malformed(self.areas.series, start, what))?;
            let size = (chunk.schemas.len() + chunk.starts.len() + chunk.ranks.len()) * 4 + 100;
            Ok((chunk, size))
        })
    }
}

impl<S: BlockSource> IndexRead for EncodedIndex<S> {
    type Error = S::Error;

    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.root.series);
        all
    }

    fn names(&self) -> Result<Vec<String>, S::Error> {
        Ok(self
            .root
            .names
            .iter()
            .map(|name| name.text.clone())
            .collect())
    }

    fn find_value(&self, name: &str, value: &str) -> Result<Option<ValueId>, S::Error> {
        let Some(name) = self.name(name) else {
            return Ok(None);
        };
        let runs = self.runs_of(name);
        let Some(at) = runs
            .partition_point(|run| run.first.as_str() <= value)
            .checked_sub(1)
        else {
            return Ok(None);
        };
        let run = self.run(name, at, &mut LastBlock::default())?;
        let place = run
            .position(value)
            .ok()
            .and_then(|place| u32::try_from(place).ok());
        Ok(place.map(|place| runs[at].rank + place))
    }

    fn visit_values(
        &self,
        name: &str,
        prefix: &str,
        visit: &mut dyn FnMut(&str, ValueId) -> ControlFlow<()>,
    ) -> Result<(), S::Error> {
        let Some(name) = self.name(name) else {
            return Ok(());
        };
        let runs = self.runs_of(name);
        let first = runs
            .partition_point(|run| run.first.as_str() <= prefix)
            .saturating_sub(1);
        let mut last = LastBlock::default();
        for (number, reference) in runs.iter().enumerate().skip(first) {
            let run = self.run(name, number, &mut last)?;
            let start = run.position(prefix).unwrap_or_else(|after| after);
            for (rank, place) in (reference.rank..).zip(0..run.ends.len()).skip(start) {
                let text = run.value(place);
                if !text.starts_with(prefix) || visit(text, rank).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn union(
        &self,
        name: &str,
        values: &[ValueId],
        out: &mut RoaringBitmap,
    ) -> Result<(), S::Error> {
        let Some(name) = self.name(name) else {
            return Ok(());
        };
        let mut scratch = PostingScratch::default();
        let (mut values_block, mut postings_block) = (LastBlock::default(), LastBlock::default());
        let mut held: Option<(usize, Arc<Run>)> = None;
        for value in values {
            let Some((number, place)) = self.place_of(name, *value) else {
                continue;
            };
            let run = match &held {
                Some((known, run)) if *known == number => Arc::clone(run),
                _ => self.run(name, number, &mut values_block)?,
            };
            let (start, end) = (run.postings[place], run.postings[place + 1]);
            held = Some((number, run));
            let length = usize::try_from(end - start).unwrap_or(usize::MAX);
            let bytes = self.read(self.areas.postings, start, length, &mut postings_block)?;
            decode_posting(&bytes, self.root.series, &mut scratch, out)
                .map_err(|what| self.malformed(self.areas.postings, start, what))?;
        }
        Ok(())
    }

    fn with_name(&self, name: &str) -> Result<RoaringBitmap, S::Error> {
        let mut out = RoaringBitmap::new();
        if let Some(Name {
            with: (start, end), ..
        }) = self.name(name)
        {
            let length = usize::try_from(end - start).unwrap_or(usize::MAX);
            let bytes = self.read(
                self.areas.postings,
                *start,
                length,
                &mut LastBlock::default(),
            )?;
            decode_posting(
                &bytes,
                self.root.series,
                &mut PostingScratch::default(),
                &mut out,
            )
            .map_err(|what| self.malformed(self.areas.postings, *start, what))?;
        }
        Ok(out)
    }

    fn labels(&self, series: SeriesId) -> Result<Option<Labels>, S::Error> {
        if series >= self.root.series {
            return Ok(None);
        }
        let number = series as usize / CHUNK_SERIES;
        let broken =
            |what| self.malformed(self.areas.series, self.root.chunks[number], Malformed(what));
        let chunk = self.chunk(number)?;
        let within = series as usize % CHUNK_SERIES;
        let schema = &self.root.schemas[chunk.schemas[within] as usize];
        let start = chunk.starts[within] as usize;
        let mut runs = Vec::with_capacity(schema.len());
        for (name, rank) in schema.iter().zip(&chunk.ranks[start..]) {
            let name = &self.root.names[*name as usize];
            let (run, place) = self
                .place_of(name, *rank)
                .ok_or_else(|| broken("series with a value that is not there"))?;
            runs.push((name, self.run(name, run, &mut LastBlock::default())?, place));
        }
        let pairs = runs
            .iter()
            .map(|(name, run, place)| (name.text.as_str(), run.value(*place)));
        Labels::from_pairs(pairs)
            .map(Some)
            .map_err(|_| broken("labels that are not a set"))
    }
}

impl Run {
    fn value(&self, place: usize) -> &str {
        let end = |place: usize| self.ends[place] as usize;
        let start = if place == 0 { 0 } else { end(place - 1) };
        self.text.get(start..end(place)).unwrap_or_default()
    }

    fn position(&self, value: &str) -> Result<usize, usize> {
        let before = |place: usize| self.value(place) < value;
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(middle) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        if low < self.ends.len() && self.value(low) == value {
            Ok(low)
        } else {
            Err(low)
        }
    }
}

/// Reads texts that each share a prefix with the one before.
struct Texts {
    current: Vec<u8>,
}

impl Texts {
    fn take<'a>(&'a mut self, from: &mut Reader<'_>) -> Result<&'a str, Malformed> {
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

fn take_run(bytes: &[u8], reference: &RunRef) -> Result<Run, Malformed> {
    let mut from = Reader::new(bytes);
    let mut texts = Texts {
        current: reference.first.clone().into_bytes(),
    };
    let mut run = Run {
        text: reference.first.clone(),
        ends: Vec::new(),
        postings: Vec::new(),
    };
    let end =
        |text: &str| u32::try_from(text.len()).map_err(|_| Malformed("run of values is too long"));
    run.ends.push(end(&run.text)?);
    for _ in 1..reference.values {
        run.text.push_str(texts.take(&mut from)?);
        run.ends.push(end(&run.text)?);
    }
    let mut lengths = Vec::new();
    decode_ints(
        &mut from,
        reference.values,
        &mut IntScratch::default(),
        &mut lengths,
    )?;
    run.postings = offsets(reference.postings, &lengths)?;
    if run.postings.last().copied() != Some(reference.postings + reference.posting_bytes)
        || !from.rest().is_empty()
    {
        return Err(Malformed("run of values and its postings disagree"));
    }
    Ok(run)
}

/// Returns where things of these lengths begin, one after the other, and the end of the last.
fn offsets(start: u64, lengths: &[i64]) -> Result<Vec<u64>, Malformed> {
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

fn take_chunk(bytes: &[u8], series: usize, root: &Root) -> Result<Chunk, Malformed> {
    let mut from = Reader::new(bytes);
    let mut scratch = IntScratch::default();
    let mut numbers = Vec::new();
    decode_ints(&mut from, series, &mut scratch, &mut numbers)?;
    let mut chunk = Chunk {
        schemas: Vec::with_capacity(series),
        starts: Vec::with_capacity(series),
        ranks: Vec::new(),
    };
    // By place of the name: the cells of `ranks` that its column fills.
    let mut cells: std::collections::BTreeMap<u32, Vec<usize>> = std::collections::BTreeMap::new();
    let mut total = 0;
    for schema in &numbers {
        let (schema, names) = u32::try_from(*schema)
            .ok()
            .and_then(|schema| Some((schema, root.schemas.get(schema as usize)?)))
            .ok_or(Malformed("series of an unknown schema"))?;
        chunk.schemas.push(schema);
        chunk
            .starts
            .push(u32::try_from(total).map_err(|_| Malformed("too many labels"))?);
        for name in names {
            cells.entry(*name).or_default().push(total);
            total += 1;
        }
    }
    chunk.ranks.resize(total, 0);
    for (name, cells) in cells {
        decode_ints(&mut from, cells.len(), &mut scratch, &mut numbers)?;
        let values = root.names.get(name as usize).map_or(0, |name| name.values);
        for (cell, rank) in cells.iter().zip(&numbers) {
            chunk.ranks[*cell] = u32::try_from(*rank)
                .ok()
                .filter(|rank| *rank < values)
                .ok_or(Malformed("series with a value that is not there"))?;
        }
    }
    if from.rest().is_empty() {
        Ok(chunk)
    } else {
        Err(Malformed("labels go on after the last series"))
    }
}

fn take_root(bytes: &[u8], areas: &IndexAreas) -> Result<Root, Malformed> {
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
