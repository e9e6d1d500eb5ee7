//! Importing: series that come as a whole, label set after label set, are written into partitions at once, without log and head.
//!
//! # Invariants
//! - The data folder is locked: no store is open in it meanwhile.
//! - One catalogue transaction per source names all its files, and the source. A crash before it leaves files that nobody names and the
//!   next opening removes; a source that was imported is known by its name.
//! - Imported rows stand behind everything that the catalogue knows: where a sample of the store has the same time, it stands; deletes made
//!   before do not hit what comes now, later ones do.
//! - What retention would remove at once is left out and counted, series by series: each has the retention of its class.
//! - Memory is bounded by one series and [`Importer::spans_at_once`] spans of the files being written.
//!
//! # How it works
//! Samples are put into files of two hours, as merges of seals make them; the daily merge makes days, classes and tiers of those as of
//! any other. Series of one target (job and instance) lie on one shard and share time columns: a column is known by its content, and
//! columns are cut at fixed times, by halving the span until no part has more than so many rows, so that a missing sample moves no cut.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use clock::SharedClock;
use files::{FileSystem, FolderLock, SharedFileSystem};
use model::{Labels, Sample, TimeRange, TimestampMs, Value};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::catalogue::{Catalogue, ImportEntry, Level, PartitionEntry, Tier};
use crate::config::{RetentionClass, TsdbConfig};
use crate::head::sample_columns;
use crate::merge_runs::Arrival;
use crate::page::Scratch;
use crate::partition::{PartitionError, PartitionKey, PartitionWriter, TimesId};
use crate::report::RecoveryReport;
use crate::retention::{Retention, class_of};
use crate::seal::{SPAN_MS, put_pages, span_of, span_range};
use crate::tsdb::{OpenError, PARTITION_FOLDER, open_catalogue, remove_unnamed, take_folder};

/// Files written at once: each takes some MiB, and its index.
const WRITERS_MAX: usize = 16;
/// Rows of a column: beyond this, pages gain little in size and cost more to read a part of.
const COLUMN_ROWS_MAX: usize = 480;
/// Time columns remembered by content, per file; beyond, a column may be stored twice.
const COLUMNS_MAX: usize = 1 << 17;

/// Why an import cannot go on; nothing of it is in the store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be written.
    #[error("cannot write partition {name}: {what}; check space and permissions")]
    Partition {
        /// The file's name.
        name: String,
        /// What was wrong.
        what: String,
    },
    /// What was imported could not be committed; whether it was, the next opening tells.
    #[error("cannot commit the catalogue: {what}; check space and permissions")]
    Catalogue {
        /// What was wrong.
        what: String,
    },
}

/// A data folder that is imported into.
#[derive(Debug)]
pub struct Importer {
    files: SharedFileSystem,
    folder: PathBuf,
    catalogue: Catalogue,
    bounds: Bounds,
    _lock: FolderLock,
}

/// The times before which samples would be removed at once, by retention.
#[derive(Debug)]
struct Bounds {
    /// Of any series.
    oldest: TimestampMs,
    /// Of series that no class takes.
    default: TimestampMs,
    classes: Vec<RetentionClass>,
    by_class: HashMap<String, TimestampMs>,
}

impl Bounds {
    fn new(config: &TsdbConfig, now: TimestampMs) -> Self {
        let classes = config.retention_classes.clone();
        let by_class = classes.iter();
        let by_class =
            by_class.map(|class| (class.name.clone(), now.saturating_sub(class.retention)));
        Self {
            oldest: now.saturating_sub(Retention::new(config).longest()),
            default: now.saturating_sub(config.retention),
            by_class: by_class.collect(),
            classes,
        }
    }

    fn of(&self, labels: &Labels) -> TimestampMs {
        let class = class_of(&self.classes, labels);
        self.by_class.get(class).copied().unwrap_or(self.default)
    }
}

/// What an import brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// Samples.
    pub samples: u64,
    /// Partition files.
    pub partitions: u64,
    /// What they take.
    pub bytes: u64,
    /// Samples left out, since they are older than their series is kept.
    pub too_old: u64,
}

/// The import of one source. Dropped before [`commit`](Self::commit), it leaves nothing.
#[derive(Debug)]
pub struct Import<'a> {
    files: &'a dyn FileSystem,
    folder: &'a Path,
    catalogue: &'a mut Catalogue,
    bounds: &'a Bounds,
    too_old: u64,
    source: String,
    position: u64,
    /// By span and shard.
    writers: BTreeMap<(i64, u16), SpanWriter<'a>>,
    written: Vec<(String, PartitionEntry)>,
    newest: TimestampMs,
    scratch: Scratch,
    /// Whether the files may be named by the catalogue.
    committing: bool,
}

#[derive(Debug)]
struct SpanWriter<'a> {
    name: String,
    writer: PartitionWriter<'a>,
    columns: HashMap<u128, TimesId>,
}

impl Importer {
    /// Locks the data folder, making it when there is none. Fails when a store is open in it.
    pub fn open(
        config: &TsdbConfig,
        files: SharedFileSystem,
        clock: &SharedClock,
    ) -> Result<Self, OpenError> {
        let lock = take_folder(config, &files)?;
        let mut report = RecoveryReport::default();
        let catalogue = open_catalogue(config, &files, &mut report)?;
        remove_unnamed(config, &files, &catalogue, &mut report)?;
        Ok(Self {
            files,
            folder: config.folder.join(PARTITION_FOLDER),
            catalogue,
            bounds: Bounds::new(config, TimestampMs::from(clock.wall())),
            _lock: lock,
        })
    }

    /// Returns the time before which samples of any series would be removed at once, by retention.
    pub const fn oldest(&self) -> TimestampMs {
        self.bounds.oldest
    }

    /// Returns from which time on the samples of a source were imported; `None` when it was not.
    pub fn imported(&self, source: &str) -> Option<TimestampMs> {
        let imports = &self.catalogue.contents().imports;
        imports.get(source).map(|import| import.from)
    }

    /// Returns how many spans of two hours may be written at once.
    pub fn spans_at_once(&self) -> usize {
        (WRITERS_MAX / self.catalogue.contents().sealed.len().max(1)).max(1)
    }

    /// Begins the import of a source, which has a short name without slashes.
    pub fn begin(&mut self, source: &str) -> Import<'_> {
        let contents = self.catalogue.contents();
        let deleted = contents.deletes.keys().last().copied().unwrap_or(0);
        let sealed = contents.sealed.iter().max().copied().unwrap_or(0);
        Import {
            files: &*self.files,
            folder: &self.folder,
            bounds: &self.bounds,
            too_old: 0,
            source: source.to_owned(),
            position: sealed.max(deleted),
            catalogue: &mut self.catalogue,
            writers: BTreeMap::new(),
            written: Vec::new(),
            newest: TimestampMs::MIN,
            scratch: Scratch::default(),
            committing: false,
        }
    }
}

impl<'a> Import<'a> {
    /// Takes samples of a series, timestamps strictly rising; leaves out those that are older than the series is kept. Between two calls of [`end_pass`](Self::end_pass) series come in order of their
    /// labels, each once, and touch no more than [`Importer::spans_at_once`] spans of two hours.
    pub fn series(&mut self, labels: &Labels, samples: &[Sample]) -> Result<(), ImportError> {
        let shard = self.shard_of(labels);
        let oldest = self.bounds.of(labels);
        let (too_old, samples) =
            samples.split_at(samples.partition_point(|sample| sample.at < oldest));
        self.too_old += too_old.len() as u64;
        for part in samples.chunk_by(|one, next| span_of(one.at) == span_of(next.at)) {
            let Some(first) = part.first() else { continue };
            let span = span_of(first.at);
            if !self.writers.contains_key(&(span, shard)) {
                let writer = self.create(span, shard)?;
                self.writers.insert((span, shard), writer);
            }
            let Some(open) = self.writers.get_mut(&(span, shard)) else {
                continue;
            };
            let place = (span_range(span), Arrival::at(self.position));
            open.put(labels, part, place, &mut self.scratch)
                .map_err(|error| failed(&open.name, &error))?;
            self.newest = part
                .last()
                .map_or(self.newest, |last| self.newest.max(last.at));
        }
        Ok(())
    }

    /// Finishes the files that are being written: series may begin anew, for other spans.
    pub fn end_pass(&mut self) -> Result<(), ImportError> {
        while let Some(((_, shard), open)) = self.writers.pop_first() {
            let SpanWriter { name, writer, .. } = open;
            match writer.finish() {
                Ok(summary) => {
                    let deletes = &self.catalogue.contents().deletes;
                    let entry = PartitionEntry {
                        shard,
                        times: summary.times,
                        bytes: summary.bytes,
                        samples: summary.samples,
                        until: self.position,
                        level: Level::Span,
                        tier: Tier::Raw,
                        class: String::new(),
                        // They were made before this came.
                        deleted: deletes.keys().last().copied().unwrap_or(0),
                    };
                    self.written.push((name, entry));
                }
                Err(error) => {
                    self.remove(&name);
                    return Err(failed(&name, &error));
                }
            }
        }
        Ok(())
    }

    /// Makes everything a part of the store, and the source known: that its samples from `from` on were taken.
    pub fn commit(mut self, from: TimestampMs) -> Result<ImportSummary, ImportError> {
        self.end_pass()?;
        let summary = ImportSummary {
            samples: self.written.iter().map(|(_, entry)| entry.samples).sum(),
            partitions: self.written.len() as u64,
            bytes: self.written.iter().map(|(_, entry)| entry.bytes).sum(),
            too_old: self.too_old,
        };
        let mut contents = self.catalogue.contents().clone();
        // What retention would refuse need not be known any more.
        let oldest = self.bounds.oldest;
        contents.imports.retain(|_, import| import.newest >= oldest);
        let entry = ImportEntry {
            from,
            newest: self.newest,
            samples: summary.samples,
        };
        contents.imports.insert(self.source.clone(), entry);
        contents.partitions.extend(self.written.iter().cloned());
        // From here on the catalogue may name them, whatever it says.
        self.committing = true;
        let committed = self.catalogue.commit(contents);
        committed.map_err(|error| ImportError::Catalogue {
            what: error.to_string(),
        })?;
        Ok(summary)
    }

    fn create(&self, span: i64, shard: u16) -> Result<SpanWriter<'a>, ImportError> {
        let start = span.saturating_mul(SPAN_MS);
        let (position, source) = (self.position, &self.source);
        let name = format!("{shard:05}-{start}-{position:016}-{source}.redb");
        let key = PartitionKey {
            shard,
            span: span_range(span),
        };
        // Of an import of the same source, again, that has the same position: a file of the store is not touched.
        let name = self.free_name(name);
        let writer = PartitionWriter::create(self.files, &self.folder.join(&name), key)
            .map_err(|error| failed(&name, &error))?;
        Ok(SpanWriter {
            name,
            writer,
            columns: HashMap::new(),
        })
    }

    fn free_name(&self, name: String) -> String {
        let named = |name: &str| self.catalogue.contents().partitions.contains_key(name);
        let serial = (1u32..).map(|serial| name.replace(".redb", &format!("-{serial}.redb")));
        std::iter::once(name.clone())
            .chain(serial)
            .find(|name| !named(name))
            .unwrap_or(name)
    }

    fn shard_of(&self, labels: &Labels) -> u16 {
        let mut key = labels.value_or_empty("job").as_bytes().to_vec();
        key.push(0);
        key.extend_from_slice(labels.value_or_empty("instance").as_bytes());
        let shards = self.catalogue.contents().sealed.len().max(1) as u64;
        u16::try_from(xxh3_64(&key) % shards).unwrap_or(0)
    }

    fn remove(&self, name: &str) {
        // What cannot be removed now is removed at the next opening: nothing names it.
        self.files
            .remove(&self.folder.join(name))
            .unwrap_or_default();
    }
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.writers);
        let names: Vec<String> = open.into_values().map(|open| open.name).collect();
        let written = self.written.iter().filter(|_| !self.committing);
        for name in names.iter().chain(written.map(|(name, _)| name)) {
            self.remove(name);
        }
    }
}

impl SpanWriter<'_> {
    fn put(
        &mut self,
        labels: &Labels,
        samples: &[Sample],
        (range, arrival): (TimeRange, Arrival),
        scratch: &mut Scratch,
    ) -> Result<(), PartitionError> {
        self.writer.start_series(labels)?;
        for part in cut(samples, range) {
            let times: Vec<TimestampMs> = part.iter().map(|sample| sample.at).collect();
            let values: Vec<Value> = part.iter().map(|sample| sample.value.clone()).collect();
            let times = self.column(&times)?;
            put_pages(
                &mut self.writer,
                (times, arrival),
                &sample_columns(&values),
                scratch,
            )?;
        }
        Ok(())
    }

    fn column(&mut self, times: &[TimestampMs]) -> Result<TimesId, PartitionError> {
        let bytes: Vec<u8> = times.iter().flat_map(|at| at.0.to_le_bytes()).collect();
        let content = xxh3_128(&bytes);
        if let Some(known) = self.columns.get(&content) {
            return Ok(*known);
        }
        let new = self.writer.add_times(times)?;
        if self.columns.len() >= COLUMNS_MAX {
            self.columns.clear();
        }
        self.columns.insert(content, new);
        Ok(new)
    }
}

/// Halves `range` until no part has too many of the samples.
fn cut(samples: &[Sample], range: TimeRange) -> Vec<&[Sample]> {
    let width = range.end.0.saturating_sub(range.start.0);
    if samples.len() <= COLUMN_ROWS_MAX || width <= 1 {
        return if samples.is_empty() {
            Vec::new()
        } else {
            vec![samples]
        };
    }
    let middle = TimestampMs(range.start.0.saturating_add(width / 2));
    let (before, after) = samples.split_at(samples.partition_point(|one| one.at <= middle));
    let mut parts = cut(before, TimeRange::new(range.start, middle));
    let later = TimestampMs(middle.0.saturating_add(1));
    parts.extend(cut(after, TimeRange::new(later, range.end)));
    parts
}

fn failed(name: &str, error: &PartitionError) -> ImportError {
    ImportError::Partition {
        name: name.to_owned(),
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
