//! `promontory tsdb import`: blocks of Prometheus in, partitions out.
//!
//! Block by block: one that was imported is left alone, one that is part of another that was imported too. What of a block cannot be read
//! is left out, shown with file and offset, and the exit status says so.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clock::{SharedClock, SystemClock};
use config::Settings;
use files::{Disk, FileSystem, FolderLock, SharedFileSystem};
use model::{Labels, Sample, TimeRange, TimestampMs, format_duration};
use prometheus_block::{Block, BlockError, Damage, Meta, Visitor};
use serde_json::{Value, json};
use tsdb::{Import, ImportError, ImportSummary, Importer, TsdbConfig};

use super::rows::time;
use super::table::Table;
use crate::{config_of, terminal};

/// Something was left out because it cannot be read.
const EXIT_DAMAGED: u8 = 3;
/// The spans in which samples are imported, as the store has them.
const SPAN_MS: i64 = 2 * 60 * 60 * 1_000;
/// Spans that a block may touch: some 45 years of them.
const SPANS_MAX: usize = 200_000;
/// Damages of a block that are shown.
const DAMAGES_SHOWN: usize = 20;
/// Damages of a block that are told apart.
const DAMAGES_MAX: usize = 10_000;
/// Series between two signs of life.
const PROGRESS_EVERY: u64 = 1_000;
/// What a running Prometheus has not made a block of.
const NOT_IN_BLOCKS: [&str; 2] = ["wal", "chunks_head"];

/// `promontory tsdb import`
pub(crate) fn import(settings: &Settings, folder: &[String]) -> anyhow::Result<ExitCode> {
    let folder = folder.first().map(PathBuf::from).unwrap_or_default();
    let files: SharedFileSystem = Arc::new(Disk);
    let found = find_blocks(&*files, &folder)?;
    let config = config_of::imported_into(settings)?;
    // The store's folder is within the data folder.
    let data = config.folder.parent().unwrap_or_else(|| Path::new(""));
    files
        .create_folders(data)
        .with_context(|| format!("cannot make the data folder {}", data.display()))?;
    // The aggregator's, which it holds from its first moment on.
    let _lock = FolderLock::take(&*files, data)?;
    let clock: SharedClock = Arc::new(SystemClock::new());
    let importer = Importer::open(&config, Arc::clone(&files), &clock)?;
    let mut importing = Importing {
        files,
        importer,
        again: settings.switch("again"),
        outcomes: Vec::new(),
    };
    let ended = importing.all(&found);
    terminal::progress(&"");
    show(settings, &importing.outcomes)?;
    complain(&config, &folder, &found, &importing.outcomes);
    ended?;
    let whole = importing
        .outcomes
        .iter()
        .all(|outcome| outcome.damages.is_empty() && !matches!(outcome.state, State::Refused(_)));
    Ok(if whole && found.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_DAMAGED)
    })
}

/// What a folder holds.
#[derive(Default)]
struct Found {
    /// Oldest first.
    blocks: Vec<(PathBuf, Meta)>,
    refused: Vec<BlockError>,
    not_in_blocks: bool,
}

fn find_blocks(files: &dyn FileSystem, folder: &Path) -> anyhow::Result<Found> {
    let mut found = Found::default();
    if let Some(meta) = Meta::read(files, folder)? {
        found.blocks.push((folder.to_owned(), meta));
        return Ok(found);
    }
    let entries = files
        .list(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries.into_iter().filter(|entry| entry.folder) {
        found.not_in_blocks |= NOT_IN_BLOCKS.iter().any(|name| entry.name == *name);
        let path = folder.join(entry.name);
        match Meta::read(files, &path) {
            Ok(Some(meta)) => found.blocks.push((path, meta)),
            Ok(None) => {}
            Err(error) => found.refused.push(error),
        }
    }
    found.blocks.sort_by_key(|(_, meta)| meta.times.start);
    if found.blocks.is_empty() && found.refused.is_empty() {
        let hint = if found.not_in_blocks {
            HINT_SNAPSHOT
        } else {
            "; give a block (a folder with meta.json) or a folder with blocks, such as Prometheus' data folder"
        };
        anyhow::bail!("there is no block in {}{hint}", folder.display());
    }
    Ok(found)
}

const HINT_SNAPSHOT: &str = "; what is in wal and chunks_head only is not imported: start Prometheus with --web.enable-admin-api, \
     POST /api/v1/admin/tsdb/snapshot, and import the folder that it makes under snapshots";

struct Importing {
    files: SharedFileSystem,
    importer: Importer,
    again: bool,
    outcomes: Vec<Outcome>,
}

/// What became of a block.
struct Outcome {
    ulid: String,
    times: TimeRange,
    state: State,
    series: u64,
    summary: ImportSummary,
    deleted: u64,
    too_old: u64,
    damages: BTreeSet<Damage>,
}

enum State {
    Imported,
    /// Imported before.
    Known,
    /// Nothing of it is kept so long.
    TooOld,
    /// Its samples are in that block.
    Part(String),
    Refused(String),
}

impl Outcome {
    fn new(meta: &Meta, state: State) -> Self {
        Self {
            ulid: meta.ulid.clone(),
            times: meta.times,
            state,
            series: 0,
            summary: ImportSummary::default(),
            deleted: 0,
            too_old: 0,
            damages: BTreeSet::new(),
        }
    }
}

impl Importing {
    /// Imports what is found; ends early when the store cannot be written.
    fn all(&mut self, found: &Found) -> anyhow::Result<()> {
        let parent_of = |meta: &Meta| {
            let mut blocks = found.blocks.iter();
            let child = blocks
                .find(|(_, child)| child.parents.iter().any(|parent| parent.ulid == meta.ulid));
            child.map(|(_, child)| child.ulid.clone())
        };
        // Those that were compacted into others come last: when the others are imported, they need not be.
        let (parts, whole): (Vec<_>, Vec<_>) = found
            .blocks
            .iter()
            .map(|(path, meta)| (path, meta, parent_of(meta)))
            .partition(|(_, _, child)| child.is_some());
        for (path, meta, child) in whole.into_iter().chain(parts) {
            let child = child.filter(|child| {
                let mut outcomes = self.outcomes.iter();
                outcomes.any(|outcome| {
                    outcome.ulid == *child
                        && outcome.damages.is_empty()
                        && !matches!(outcome.state, State::Refused(_))
                })
            });
            let outcome = match child {
                Some(child) => Outcome::new(meta, State::Part(child)),
                None => self.block(path, meta)?,
            };
            self.outcomes.push(outcome);
        }
        Ok(())
    }

    fn block(&mut self, path: &Path, meta: &Meta) -> anyhow::Result<Outcome> {
        let known = self.importer.imported(&meta.ulid).filter(|_| !self.again);
        let oldest = self.importer.oldest();
        if known.is_some_and(|from| from <= oldest || from <= meta.times.start) {
            return Ok(Outcome::new(meta, State::Known));
        }
        let mut block = match Block::open(&*self.files, path) {
            Ok(block) => block,
            Err(error @ BlockError::Io { .. }) => return Err(error.into()),
            Err(error) => return Ok(Outcome::new(meta, State::Refused(error.to_string()))),
        };
        let Some(spans) = block.spans(SPAN_MS, SPANS_MAX) else {
            let what = format!("its samples lie in more than {SPANS_MAX} spans of two hours");
            return Ok(Outcome::new(meta, State::Refused(what)));
        };
        let mut outcome = Outcome::new(meta, State::Imported);
        outcome.damages.extend(block.damages().iter().cloned());
        // What was imported before is not taken again: with a longer retention, the older part is still to come.
        let newest = known.map_or(TimestampMs::MAX, |from| {
            TimestampMs(from.0.saturating_sub(1))
        });
        let wanted = TimeRange::new(oldest, newest);
        let first = spans.first().map_or(0, |span| span.saturating_mul(SPAN_MS));
        if first < oldest.0 {
            let mut older = Counting(&mut outcome.damages);
            let range = TimeRange::new(TimestampMs::MIN, TimestampMs(oldest.0.saturating_sub(1)));
            match block.visit(range, &mut older) {
                Ok(visited) => outcome.too_old = visited.samples,
                Err(never) => match never {},
            }
        }
        let spans: Vec<i64> = spans.into_iter().collect();
        let at_once = self.importer.spans_at_once();
        let mut taking = Taking {
            import: self.importer.begin(&meta.ulid),
            index: path.join("index"),
            damages: std::mem::take(&mut outcome.damages),
            last: None,
            progress: Progress {
                text: format!("importing {}: series", meta.ulid),
                of: block.series() as u64 * spans.len().div_ceil(at_once) as u64,
                done: 0,
            },
        };
        for pass in spans.chunks(at_once) {
            let (Some(first), Some(last)) = (pass.first(), pass.last()) else {
                continue;
            };
            // Between them lie no other spans with samples.
            let start = TimestampMs(first.saturating_mul(SPAN_MS)).max(wanted.start);
            let end = last.saturating_add(1).saturating_mul(SPAN_MS);
            let end = TimestampMs(end.saturating_sub(1)).min(wanted.end);
            if start <= end {
                let visited = block.visit(TimeRange::new(start, end), &mut taking)?;
                outcome.deleted += visited.deleted;
            }
            taking.last = None;
            taking.import.end_pass()?;
        }
        let from = if outcome.too_old > 0 {
            oldest
        } else {
            TimestampMs::MIN
        };
        let Taking {
            import, damages, ..
        } = taking;
        outcome.damages = damages;
        outcome.summary = import.commit(from)?;
        outcome.too_old += outcome.summary.too_old;
        outcome.series = block.series() as u64;
        if outcome.summary.samples == 0 && outcome.too_old > 0 {
            outcome.state = State::TooOld;
        }
        Ok(outcome)
    }
}

/// Takes the samples of a block into an import.
struct Taking<'a> {
    import: Import<'a>,
    index: PathBuf,
    damages: BTreeSet<Damage>,
    last: Option<Labels>,
    progress: Progress,
}

impl Visitor for Taking<'_> {
    type Error = ImportError;

    fn series(&mut self, labels: &Labels, samples: Vec<Sample>) -> Result<(), ImportError> {
        self.progress.step();
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            self.damaged(Damage {
                path: self.index.clone(),
                offset: 0,
                what: format!(
                    "{labels} is left out: it stands behind series that it should precede"
                ),
            });
            return Ok(());
        }
        self.last = Some(labels.clone());
        self.import.series(labels, &samples)
    }

    fn damaged(&mut self, damage: Damage) {
        keep(&mut self.damages, damage);
    }
}

/// Only counts.
struct Counting<'a>(&'a mut BTreeSet<Damage>);

impl Visitor for Counting<'_> {
    type Error = std::convert::Infallible;

    fn series(&mut self, _: &Labels, _: Vec<Sample>) -> Result<(), Self::Error> {
        Ok(())
    }

    fn damaged(&mut self, damage: Damage) {
        keep(self.0, damage);
    }
}

/// A block that is read in several passes tells of a place more than once.
fn keep(damages: &mut BTreeSet<Damage>, damage: Damage) {
    if damages.len() < DAMAGES_MAX {
        damages.insert(damage);
    }
}

struct Progress {
    text: String,
    of: u64,
    done: u64,
}

impl Progress {
    fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(PROGRESS_EVERY) {
            let Self { text, of, done } = self;
            terminal::progress(&format!("{text} {done} of about {of}"));
        }
    }
}

fn show(settings: &Settings, outcomes: &[Outcome]) -> anyhow::Result<()> {
    if settings.text("output") == "json" {
        let blocks: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
        terminal::print(&serde_json::to_string_pretty(&json!({ "blocks": blocks }))?);
        return Ok(());
    }
    let mut table = Table::new(&[
        "BLOCK", "FROM", "TO", "SERIES", "SAMPLES", "DELETED", "TOO OLD", "DAMAGED", "BYTES",
        "STATE",
    ]);
    for outcome in outcomes {
        table.push(vec![
            outcome.ulid.clone(),
            time(outcome.times.start.as_seconds()),
            time(outcome.times.end.as_seconds()),
            outcome.series.to_string(),
            outcome.summary.samples.to_string(),
            outcome.deleted.to_string(),
            outcome.too_old.to_string(),
            outcome.damages.len().to_string(),
            outcome.summary.bytes.to_string(),
            outcome.state.to_string(),
        ]);
    }
    terminal::print(&table);
    Ok(())
}

impl Outcome {
    fn to_json(&self) -> Value {
        let damages = self.damages.iter().map(|damage| {
            json!({
                "file": damage.path.display().to_string(),
                "offset": damage.offset,
                "what": damage.what,
            })
        });
        json!({
            "ulid": self.ulid,
            "minTime": self.times.start.0,
            "maxTime": self.times.end.0,
            "state": self.state.to_string(),
            "series": self.series,
            "samples": self.summary.samples,
            "partitions": self.summary.partitions,
            "bytes": self.summary.bytes,
            "deleted": self.deleted,
            "tooOld": self.too_old,
            "damages": damages.collect::<Vec<Value>>(),
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imported => f.write_str("imported"),
            Self::Known => f.write_str("imported before"),
            Self::TooOld => f.write_str("too old"),
            Self::Part(child) => write!(f, "part of {child}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}

/// Says what was left out, and what to do.
fn complain(config: &TsdbConfig, folder: &Path, found: &Found, outcomes: &[Outcome]) {
    for error in &found.refused {
        terminal::complain(error);
    }
    for outcome in outcomes {
        for damage in outcome.damages.iter().take(DAMAGES_SHOWN) {
            terminal::complain(damage);
        }
        if let Some(more) = outcome.damages.len().checked_sub(DAMAGES_SHOWN + 1) {
            terminal::complain(&format!(
                "{} more places of {} are damaged; --output json lists them",
                more + 1,
                outcome.ulid
            ));
        }
    }
    let too_old: u64 = outcomes.iter().map(|outcome| outcome.too_old).sum();
    if too_old > 0 {
        terminal::complain(&format!(
            "{too_old} samples are older than their series are kept ({}{}) and were left out: retention would remove them at once; to have \
             them, import again{} with a longer --storage.retention.time, or the aggregator's own --aggregator.config-file, and run \
             the aggregator with it too",
            format_duration(config.retention),
            if config.retention_classes.is_empty() {
                ""
            } else {
                ", or as their retention class says"
            },
            if config.retention_classes.is_empty() {
                ""
            } else {
                ", with --again,"
            },
        ));
    }
    if found.not_in_blocks {
        terminal::complain(&format!("in {}{HINT_SNAPSHOT}", folder.display()));
    }
}
