//! What agents with `--collector.ledger` wrote, against what a store holds.
//!
//! Every value of the ledger follows from agent, epoch, row and slot, so the store is checked against the definition, not against a
//! copy; how far each epoch had come is read from the spools themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::{LEDGER_JOB, ledger_value};
use clock::SystemClock;
use files::Disk;
use model::{TimestampMs, Value};
use rows::{AgentId, BatchDecoder, CohortId, Epoch, Presence, Row};
use spool::{ReadFrom, Record, Settings, Spool, StoredBatch};
use tempfile::TempDir;
use tsdb::{DumpedSample, Tsdb, TsdbConfig};
use wire::{AgentMessage, FrameDecoder, decode_message};

/// A run of an agent.
pub type RunOf = (AgentId, Epoch);

/// The last row that each run was seen to have written.
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<RunOf, u64>);

/// What a spool holds.
#[derive(Clone, Debug, Default)]
pub struct SpoolContents {
    /// The last row of the ledger by epoch; none of epochs of which everything has gone.
    pub last_rows: BTreeMap<Epoch, u64>,
    /// Batches that the aggregator has not acknowledged.
    pub backlog: u64,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Runs of agents.
    pub runs: usize,
    /// Rows that are there.
    pub rows: u64,
    /// Samples that are there.
    pub samples: u64,
    /// From the oldest row to the newest.
    pub span: Duration,
    /// Rows that are not there.
    pub missing: u64,
    /// Rows that are there twice, and samples of the same series and time.
    pub doubled: u64,
    /// Rows without some of their samples, or with samples that they never had.
    pub torn: u64,
    /// Samples with another value.
    pub wrong: u64,
    /// Damages that the store reported.
    pub damages: usize,
}

impl Audit {
    /// Returns whether everything is there, once, and right.
    pub const fn is_clean(&self) -> bool {
        self.missing == 0
            && self.doubled == 0
            && self.torn == 0
            && self.wrong == 0
            && self.damages == 0
    }

    /// Returns the samples of a second, of all agents together.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.samples as f64 / self.span.as_secs_f64().max(1e-3)
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} rows, {} samples ({:.0} a second): {} missing, {} doubled, {} torn, {} wrong",
            self.runs,
            self.rows,
            self.samples,
            self.rate(),
            self.missing,
            self.doubled,
            self.torn,
            self.wrong
        )
    }
}

impl Written {
    /// Remembers what a spool shows.
    pub fn note(&mut self, agent: &str, contents: &SpoolContents) {
        let agent: AgentId = agent.parse().expect("an id");
        for (epoch, row) in &contents.last_rows {
            let last = self.0.entry((agent.clone(), *epoch)).or_default();
            *last = (*last).max(*row);
        }
    }

    /// Returns how many runs were seen.
    pub fn runs(&self) -> usize {
        self.0.len()
    }
}

/// Copies a folder.
///
/// # Panics
/// When that fails.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to read") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy_folder(&path, &target);
        } else if kind.is_file() {
            fs::copy(&path, &target).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// Reads a spool that no process uses, without changing it; `aggregator` is the name of its cursor.
///
/// # Panics
/// When it is damaged: nothing but power cuts may do that.
pub fn read_spool(folder: &Path, aggregator: &str) -> SpoolContents {
    let copy = TempDir::new().expect("a folder");
    copy_folder(folder, copy.path());
    // The reader's own run, which leaves nothing behind.
    let epoch = Epoch(0);
    let opened = Spool::open(Arc::new(Disk), copy.path(), Settings::default(), epoch);
    let (mut spool, report) = opened.expect("the spool opens");
    let real = spool.destination(aggregator).expect("a cursor");
    for damage in &report.damages {
        assert_eq!(
            damage.kind,
            spool::DamageKind::TornTail,
            "only a write under way may be cut: {damage:?}"
        );
    }
    let mut contents = SpoolContents {
        backlog: spool.backlog(real).batches,
        ..SpoolContents::default()
    };
    let mut reader = spool.reader(ReadFrom::Oldest);
    let mut segment = None;
    let mut reading = Reading::default();
    while let Some(record) = spool.next_record(&mut reader).expect("readable") {
        let of = match &record {
            Record::Definition { segment, .. } => *segment,
            Record::Batch(batch) => batch.segment,
        };
        if segment.replace(of) != Some(of) {
            reading = Reading::default();
        }
        match record {
            Record::Definition { body, .. } => reading.define(&body),
            Record::Batch(batch) => {
                let last = contents.last_rows.entry(batch.epoch);
                if let Some(row) = reading.last_row(&batch) {
                    let last = last.or_default();
                    *last = (*last).max(row);
                }
            }
        }
    }
    contents
}

/// A segment being read: it is understood by itself.
#[derive(Debug, Default)]
struct Reading {
    ledgers: BTreeSet<CohortId>,
    decoder: BatchDecoder,
}

impl Reading {
    fn define(&mut self, body: &[u8]) {
        let mut frames = FrameDecoder::new();
        frames.push(body).expect("a frame");
        let frame = frames.next_frame().expect("a frame").expect("a whole one");
        let Ok(AgentMessage::Define { definition, .. }) = decode_message(frame) else {
            panic!("a spool holds definitions and batches");
        };
        if &*definition.name == LEDGER_JOB {
            self.ledgers.insert(definition.cohort);
        }
    }

    fn last_row(&mut self, batch: &StoredBatch) -> Option<u64> {
        let decoded = self.decoder.decode(batch.number, Arc::from(&*batch.body));
        let decoded = decoded.unwrap_or_else(|error| panic!("batch {}: {error}", batch.number));
        let is_ledger = |row: &&Arc<Row>| self.ledgers.contains(&row.cohort);
        let rows = decoded.rows.iter().map(|decoded| &decoded.row);
        rows.filter(is_ledger).map(|row| row.counter).max()
    }
}

/// What a store holds of one run, by time.
type Stored = BTreeMap<TimestampMs, StoredRow>;

/// What a store holds of one row; there are tens of millions of samples, so little more than the bits of each.
#[derive(Debug)]
struct StoredRow {
    present: Presence,
    values: Vec<u64>,
    /// Samples of slots that the ledger does not have.
    strange: usize,
}

impl StoredRow {
    fn new(series: u16) -> Self {
        let slots = usize::from(series);
        Self {
            present: Presence::filled(slots, false),
            values: vec![0; slots],
            strange: 0,
        }
    }

    /// Takes a value; says whether the slot had none.
    fn put(&mut self, slot: u16, bits: u64) -> bool {
        let slot = usize::from(slot);
        if slot >= self.values.len() {
            self.strange += 1;
            return true;
        }
        let is_first = !self.present.contains(slot);
        self.present.set(slot, true);
        self.values[slot] = bits;
        is_first
    }

    fn get(&self, slot: u16) -> Option<u64> {
        let slot = usize::from(slot);
        self.present.contains(slot).then(|| self.values[slot])
    }
}

/// Opens a store that no process uses, and compares its ledgers, of `series` slots each, with what must be there.
///
/// # Panics
/// When it cannot be opened or read.
pub fn audit(store: &Path, series: u16, written: &Written) -> Audit {
    let opened = Tsdb::open(
        TsdbConfig::at(store),
        Arc::new(Disk),
        Arc::new(SystemClock::new()),
    );
    let (store, report) = opened.expect("the store opens");
    let mut audit = Audit::default();
    let mut runs: BTreeMap<RunOf, Stored> = BTreeMap::new();
    let dumped = store.dump(&mut |sample| {
        if let Some((run, slot)) = place(&sample) {
            let Value::Float(value) = sample.value else {
                panic!("a ledger holds floats");
            };
            let rows = runs.entry(run).or_default();
            let row = rows
                .entry(sample.at)
                .or_insert_with(|| StoredRow::new(series));
            audit.samples += 1;
            audit.doubled += u64::from(!row.put(slot, value.to_bits()));
        }
    });
    audit.damages = report.damages.len() + dumped.expect("the store is readable").damages.len();
    for run in written.0.keys() {
        runs.entry(run.clone()).or_default();
    }
    audit.runs = runs.len();
    let times = || runs.values().flat_map(BTreeMap::keys);
    if let Some((oldest, newest)) = times().min().zip(times().max()) {
        audit.span = Duration::from_millis(newest.0.abs_diff(oldest.0));
    }
    for (run, stored) in &runs {
        let last = written.0.get(run).copied();
        check_run(run, stored, (series, last), &mut audit);
    }
    audit
}

/// Returns whose sample it is, if it is one of a ledger.
fn place(sample: &DumpedSample<'_>) -> Option<(RunOf, u16)> {
    let label = |name| sample.labels.get(name);
    if label("job") != Some(LEDGER_JOB) {
        return None;
    }
    let agent = label("instance")?.parse().ok()?;
    let epoch = Epoch(u64::from_str_radix(label("epoch")?, 16).ok()?);
    Some(((agent, epoch), label("slot")?.parse().ok()?))
}

fn check_run(
    (agent, epoch): &RunOf,
    stored: &Stored,
    (series, written): (u16, Option<u64>),
    audit: &mut Audit,
) {
    let mut numbers = BTreeSet::new();
    for row in stored.values() {
        let Some(number) = row.get(0).map(|bits| as_row(f64::from_bits(bits))) else {
            audit.torn += 1;
            continue;
        };
        audit.rows += 1;
        if !numbers.insert(number) {
            audit.doubled += 1;
        }
        let mut is_torn = row.strange > 0;
        for slot in 0..series {
            let expected = ledger_value(agent, *epoch, number, slot).map(f64::to_bits);
            match (expected, row.get(slot)) {
                (None, None) => {}
                (Some(expected), Some(found)) => audit.wrong += u64::from(expected != found),
                (Some(_), None) | (None, Some(_)) => is_torn = true,
            }
        }
        audit.torn += u64::from(is_torn);
    }
    if let Some(last) = written.max(numbers.last().copied()) {
        audit.missing += (last + 1).saturating_sub(numbers.len() as u64);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a wrong number is found as one that is missing"
)]
const fn as_row(value: f64) -> u64 {
    value as u64
}
