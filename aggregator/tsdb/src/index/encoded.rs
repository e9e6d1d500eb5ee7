//! Reading the immutable form of an index, block by block.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use model::Labels;
use roaring::RoaringBitmap;

use super::area::{Area, BlockSource, LastBlock, read_area};
use super::encode::CHUNK_SERIES;
use super::naming::{Identities, Identity, Named, Naming, Texts};
use super::postings::{PostingScratch, decode_posting};
use super::root::{self, IndexAreas, Name, Root, RunRef, offsets, take_root};
use super::{IndexRead, SeriesId, ValueId};
use crate::bytes::{Malformed, Reader};
use crate::cache::{Cache, CacheKey};
use crate::page::ints::{IntScratch, decode_ints};

/// What lies in the shared cache, below the sorts that a partition uses itself.
const SORT_RUN: u8 = 1;
const SORT_CHUNK: u8 = 2;

/// An immutable index. Its root (some 100 bytes per 256 values or series) is in memory, the rest is read on demand.
#[derive(Debug)]
pub(crate) struct EncodedIndex<S> {
    source: S,
    areas: IndexAreas,
    root: Root,
    cache: Arc<Cache>,
    owner: u64,
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
    /// As far as somebody asked.
    identities: Box<[OnceLock<Identity>]>,
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

    /// Returns a reader of the labels of many series.
    pub(crate) fn labels_reader(&self) -> LabelsReader<'_, S> {
        LabelsReader {
            chunk: None,
            texts: RunTexts {
                index: self,
                runs: self.root.names.iter().map(|_| None).collect(),
            },
        }
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
            let numbers = chunk.schemas.len() + chunk.starts.len() + chunk.ranks.len();
            let size = numbers * 4 + size_of_val(&*chunk.identities) + 100;
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
        self.labels_reader().labels(series)
    }
}

/// Reads the labels of one series after the other: best in order of their numbers, for what one needed is kept for the next.
#[derive(Debug)]
pub(crate) struct LabelsReader<'a, S> {
    /// The chunk read last, and its number.
    chunk: Option<(usize, Arc<Chunk>)>,
    texts: RunTexts<'a, S>,
}

/// Texts of values, by the ranks of these.
#[derive(Debug)]
struct RunTexts<'a, S> {
    index: &'a EncodedIndex<S>,
    /// By place of the label name: its run read last.
    runs: Vec<Option<HeldRun>>,
}

#[derive(Debug)]
struct HeldRun {
    /// The rank of its first value.
    rank: ValueId,
    run: Arc<Run>,
}

impl HeldRun {
    fn value(&self, rank: ValueId) -> Option<&str> {
        let place = rank.checked_sub(self.rank)? as usize;
        (place < self.run.ends.len()).then(|| self.run.value(place))
    }
}

impl<S: BlockSource> Texts for RunTexts<'_, S> {
    type Error = S::Error;

    fn text(&mut self, column: u32, rank: ValueId) -> Result<(&str, &str), S::Error> {
        self.hold(column, rank)?;
        Ok((
            &self.index.root.names[column as usize].text,
            self.held(column, rank),
        ))
    }
}

impl<S: BlockSource> RunTexts<'_, S> {
    /// Sees to it that the run of a value is held.
    fn hold(&mut self, column: u32, rank: ValueId) -> Result<(), S::Error> {
        let held = &mut self.runs[column as usize];
        if held.as_ref().is_some_and(|held| held.value(rank).is_some()) {
            return Ok(());
        }
        let name = &self.index.root.names[column as usize];
        let (run, _) = self.index.place_of(name, rank).ok_or_else(|| {
            let what = Malformed("series with a value that is not there");
            self.index.malformed(self.index.areas.series, 0, what)
        })?;
        *held = Some(HeldRun {
            rank: self.index.runs_of(name)[run].rank,
            run: self.index.run(name, run, &mut LastBlock::default())?,
        });
        Ok(())
    }

    fn held(&self, column: u32, rank: ValueId) -> &str {
        let held = self.runs[column as usize].as_ref();
        held.and_then(|held| held.value(rank)).unwrap_or_default()
    }
}

impl<S: BlockSource> LabelsReader<'_, S> {
    /// Returns the labels of a series; `None` when there is no such series.
    pub(crate) fn labels(&mut self, series: SeriesId) -> Result<Option<Labels>, S::Error> {
        let Some((chunk, within)) = self.chunk_of(series)? else {
            return Ok(None);
        };
        let root = &self.texts.index.root;
        let (schema, ranks) = chunk.row(within, root);
        for (column, rank) in schema.iter().zip(ranks) {
            self.texts.hold(*column, *rank)?;
        }
        let pairs = schema.iter().zip(ranks).map(|(column, rank)| {
            let name = root.names[*column as usize].text.as_str();
            (name, self.texts.held(*column, *rank))
        });
        let labels = Labels::from_pairs(pairs).map_err(|_| {
            let start = root.chunks[series as usize / CHUNK_SERIES];
            let what = Malformed("labels that are not a set");
            let index = self.texts.index;
            index.malformed(index.areas.series, start, what)
        })?;
        Ok(Some(labels))
    }

    /// Returns the identity of a series; `None` when there is no such series.
    pub(crate) fn identity(
        &mut self,
        series: SeriesId,
        identities: &mut Identities,
    ) -> Result<Option<Identity>, S::Error> {
        let Some((chunk, within)) = self.chunk_of(series)? else {
            return Ok(None);
        };
        let known = &chunk.identities[within];
        if let Some(identity) = known.get() {
            return Ok(Some(*identity));
        }
        let (schema, ranks) = chunk.row(within, &self.texts.index.root);
        let pairs = schema.iter().copied().zip(ranks.iter().copied());
        let identity = identities.identity(pairs, &mut self.texts)?;
        Ok(Some(*known.get_or_init(|| identity)))
    }

    /// Returns the labels of a series as a reader wants them; `None` when there is no such series.
    pub(crate) fn named(
        &mut self,
        series: SeriesId,
        naming: &mut Naming<'_>,
    ) -> Result<Option<Named>, S::Error> {
        let Some((chunk, within)) = self.chunk_of(series)? else {
            return Ok(None);
        };
        let (columns, ranks) = chunk.row(within, &self.texts.index.root);
        let schema = chunk.schemas[within];
        Ok(
            match naming.name(schema, columns, ranks, &mut self.texts)? {
                Some(named) => Some(named),
                None => self.labels(series)?.map(Named::new),
            },
        )
    }

    /// Returns the chunk of a series, and its place there.
    fn chunk_of(&mut self, series: SeriesId) -> Result<Option<(Arc<Chunk>, usize)>, S::Error> {
        let index = self.texts.index;
        if series >= index.root.series {
            return Ok(None);
        }
        let number = series as usize / CHUNK_SERIES;
        let chunk = match &self.chunk {
            Some((held, chunk)) if *held == number => Arc::clone(chunk),
            _ => {
                let chunk = index.chunk(number)?;
                self.chunk = Some((number, Arc::clone(&chunk)));
                chunk
            }
        };
        Ok(Some((chunk, series as usize % CHUNK_SERIES)))
    }
}

impl Chunk {
    /// Returns the places of the names of a series, and the ranks of its values.
    fn row<'a>(&'a self, within: usize, root: &'a Root) -> (&'a [u32], &'a [ValueId]) {
        let schema = &root.schemas[self.schemas[within] as usize];
        let ranks = &self.ranks[self.starts[within] as usize..][..schema.len()];
        (schema, ranks)
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

fn take_run(bytes: &[u8], reference: &RunRef) -> Result<Run, Malformed> {
    let mut from = Reader::new(bytes);
    let mut texts = root::Texts {
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

fn take_chunk(bytes: &[u8], series: usize, root: &Root) -> Result<Chunk, Malformed> {
    let mut from = Reader::new(bytes);
    let mut scratch = IntScratch::default();
    let mut numbers = Vec::new();
    decode_ints(&mut from, series, &mut scratch, &mut numbers)?;
    let mut chunk = Chunk {
        schemas: Vec::with_capacity(series),
        starts: Vec::with_capacity(series),
        ranks: Vec::new(),
        identities: (0..series).map(|_| OnceLock::new()).collect(),
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
