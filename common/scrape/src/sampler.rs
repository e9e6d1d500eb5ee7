//! From a target's bodies to its rows: what is plain and synchronous about a scrape.
//!
//! A target's series live in cohorts, one for every 16,384 of them. The first slots of the first cohort are what every scrape
//! reports of itself (`up` and its companions), so that no target can say them in its place.

mod part;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use exposition::{ParseError, ProtobufError};
use model::{Labels, METRIC_NAME, Metadata, MetricType, TimestampMs};
use rows::{
    CohortDefinition, CohortId, MetricMetadata, Row, SLOTS_MAX, SeriesSample, Slot, WEIGHT_MAX,
    row_weight,
};

use crate::Job;
use crate::decode::Format;
use crate::exposed::{Exposed, LabelError, stored};
use crate::memory::{Address, Memory, Owner};
use part::Part;

/// The most cohorts of one target: with all their slots, twice as many series as a scrape may have samples.
const PARTS_MAX: usize = 128;
/// The most families of a target that are described.
const FAMILIES_MAX: usize = 8_192;
/// Families with longer names are not described.
const NAME_BYTES_MAX: usize = 4 * 1024;
/// What of a help text, or a unit, is kept.
const HELP_BYTES_MAX: usize = 4 * 1024;
/// The longest name of a cohort.
const COHORT_NAME_BYTES_MAX: usize = 256;

/// What a scrape says of itself, in order of their slots.
const REPORT: [(&str, &str); 5] = [
    ("up", "1 if the last scrape succeeded, 0 if it failed."),
    ("scrape_duration_seconds", "How long the scrape took."),
    ("scrape_samples_scraped", "Samples that the target exposed."),
    (
        "scrape_samples_post_metric_relabeling",
        "Samples that were left after relabelling.",
    ),
    (
        "scrape_series_added",
        "Series that the scrape before had not.",
    ),
];

/// Numbers for cohorts, each used once. Clones share them.
#[derive(Clone, Debug)]
pub struct CohortIds(Arc<AtomicU32>);

impl CohortIds {
    /// Returns numbers from `first` on.
    pub fn from(first: CohortId) -> Self {
        Self(Arc::new(AtomicU32::new(first.0)))
    }

    fn next(&self) -> CohortId {
        CohortId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a scrape came to.
#[derive(Debug, Default)]
pub struct Scraped {
    /// Slots that these rows use for the first time.
    pub definitions: Vec<CohortDefinition>,
    /// The rows, one of each cohort that has anything to say.
    pub rows: Vec<Row>,
    /// Samples with times of their own.
    pub samples: Vec<SeriesSample>,
    /// What families say of themselves, when that is new.
    pub metadata: Vec<MetricMetadata>,
    /// Cohorts that have no rows after these.
    pub ended: Vec<CohortId>,
    /// Counts.
    pub tally: Tally,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What is counted during a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Samples that the target exposed.
    pub exposed: u64,
    /// Samples that were left after relabelling.
    pub kept: u64,
    /// Series that the scrape before had not.
    pub added: u64,
    /// Samples dropped because their series was exposed already.
    pub duplicates: u64,
    /// Whether only values had changed.
    pub replayed: bool,
}

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot parse the exposition: {0}")]
    Text(#[from] ParseError),
    #[error("cannot parse the exposition: {0}")]
    Protobuf(#[from] ProtobufError),
    #[error(transparent)]
    Labels(#[from] LabelError),
    #[error(
        "sample limit exceeded: more than {0} samples are left after relabelling; see sample_limit"
    )]
    Samples(u64),
    #[error("the target has had more than {} series", PARTS_MAX * SLOTS_MAX)]
    Series,
    #[error("{0}")]
    Histogram(&'static str),
    #[error("the native histograms and exemplars of a scrape are more than a row can hold")]
    Weight,
}

/// Makes the rows of one target.
#[derive(Debug)]
pub struct Sampler {
    ids: CohortIds,
    name: String,
    target: Labels,
    parts: Vec<Part>,
    by_labels: HashMap<Labels, Address>,
    memory: Memory,
    described: HashMap<String, Metadata>,
    /// What of `described` was not told yet.
    news: Vec<String>,
    samples: Vec<SeriesSample>,
    ended: Vec<CohortId>,
}

impl Sampler {
    /// Returns the sampler of a target with these labels; `name` stays the same over restarts.
    pub fn new(ids: CohortIds, name: impl Into<String>, target: Labels) -> Self {
        let mut name = name.into();
        name.truncate(name.floor_char_boundary(COHORT_NAME_BYTES_MAX - 8));
        let mut sampler = Self {
            ids,
            name,
            target,
            parts: Vec::new(),
            by_labels: HashMap::new(),
            memory: Memory::default(),
            described: HashMap::new(),
            news: Vec::new(),
            samples: Vec::new(),
            ended: Vec::new(),
        };
        for (name, help) in REPORT {
            sampler.describe(name, |about| {
                about.kind = MetricType::Gauge;
                help.clone_into(&mut about.help);
            });
        }
        sampler.define_report();
        sampler
    }

    /// Says that the job has changed: what was relabelled before is relabelled again.
    pub fn reconfigure(&mut self) {
        self.memory.forget();
    }

    /// Returns about how many bytes are remembered of the last body.
    pub fn memory_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Makes the rows of a scrape that began at `at`: of a body in this format, or of a failure.
    pub fn scrape(
        &mut self,
        job: &Job,
        body: Result<(Format, &[u8]), String>,
        at: TimestampMs,
        took: Duration,
    ) -> Scraped {
        let mut tally = Tally::default();
        self.begin();
        let has_content = body.as_ref().is_ok_and(|(_, body)| !body.is_empty());
        let error = match body {
            Ok((format, body)) => self
                .read(job, format, body, at, &mut tally)
                .and_then(|()| self.check_weight())
                .err()
                .map(|error| error.to_string()),
            Err(why) => Some(why),
        };
        if error.is_some() {
            self.begin();
            self.report([
                0.0,
                took.as_secs_f64(),
                count(tally.exposed),
                count(tally.kept),
                count(tally.added),
            ]);
        } else {
            tally.added = self.count_added(has_content);
            self.report([
                1.0,
                took.as_secs_f64(),
                count(tally.exposed),
                count(tally.kept),
                count(tally.added),
            ]);
        }
        let mut scraped = self.finish(at, job.track_timestamps_staleness);
        scraped.tally = tally;
        scraped.error = error;
        self.renew_worn();
        scraped
    }

    /// Ends all series of the target, for good.
    pub fn end(mut self, at: TimestampMs) -> Scraped {
        self.begin();
        let mut scraped = self.finish(at, false);
        scraped
            .ended
            .extend(self.parts.iter().map(|part| part.cohort));
        scraped
    }

    fn begin(&mut self) {
        self.samples.clear();
        for part in &mut self.parts {
            part.begin();
        }
    }

    fn check_weight(&self) -> Result<(), ReadError> {
        let fits = |part: &Part| part.weight() <= WEIGHT_MAX;
        if self.parts.iter().all(fits) {
            Ok(())
        } else {
            Err(ReadError::Weight)
        }
    }

    /// Counts series that the last scrape with content had not; this one is the last one from now on.
    fn count_added(&mut self, has_content: bool) -> u64 {
        let parts = self.parts.iter_mut();
        parts.map(|part| part.count_added(has_content)).sum()
    }

    fn report(&mut self, values: [f64; 5]) {
        if let Some(part) = self.parts.first_mut() {
            for (slot, value) in (0..).zip(values) {
                part.put_report(slot, value);
            }
        }
    }

    fn finish(&mut self, at: TimestampMs, tracks_timestamps: bool) -> Scraped {
        let mut scraped = Scraped {
            samples: std::mem::take(&mut self.samples),
            ended: std::mem::take(&mut self.ended),
            ..Scraped::default()
        };
        for part in &mut self.parts {
            scraped.definitions.extend(part.definition());
            let row = part.finish(at, tracks_timestamps);
            debug_assert!(
                row.as_ref()
                    .is_none_or(|row| row_weight(row) <= 2 * WEIGHT_MAX)
            );
            scraped.rows.extend(row);
        }
        for name in self.news.drain(..) {
            if let Some(metadata) = self.described.get(&name) {
                scraped.metadata.push(MetricMetadata {
                    metric: Arc::from(name.as_str()),
                    metadata: metadata.clone(),
                });
            }
        }
        scraped
    }

    /// Begins new cohorts, of what is alive, when most slots are dead.
    fn renew_worn(&mut self) {
        let slots: usize = self.parts.iter().map(Part::len).sum();
        let alive: usize = self.parts.iter().map(Part::alive).sum();
        if slots < SLOTS_MAX.min(1_024) || alive * 2 >= slots {
            return;
        }
        let worn = std::mem::take(&mut self.parts);
        self.by_labels.clear();
        self.memory.forget();
        self.define_report();
        for part in worn {
            self.ended.push(part.cohort);
            for (series, state) in part.into_alive() {
                if let Ok(address) = self.address(series.labels, series.kind) {
                    self.parts[usize::from(address.part)].take_over(address.slot, state);
                }
            }
        }
    }

    fn define_report(&mut self) {
        for (name, _) in REPORT {
            let mut labels = self.target.to_builder();
            labels.set(METRIC_NAME, name);
            // The first of all series fit.
            drop(self.address(labels.build(), MetricType::Gauge));
        }
    }

    /// Returns whom the values of a series belong to that was not known by its key.
    fn define(
        &mut self,
        job: &Job,
        exposed: &Exposed,
        kind: MetricType,
    ) -> Result<Owner, ReadError> {
        match stored(exposed, &self.target, job)? {
            Some(labels) => self.address(labels, kind).map(Some),
            None => Ok(None),
        }
    }

    fn address(&mut self, labels: Labels, kind: MetricType) -> Result<Address, ReadError> {
        if let Some(address) = self.by_labels.get(&labels) {
            return Ok(*address);
        }
        if self.parts.last().is_none_or(|part| part.len() == SLOTS_MAX) {
            if self.parts.len() == PARTS_MAX {
                return Err(ReadError::Series);
            }
            let name = match self.parts.len() {
                0 => self.name.clone(),
                number => format!("{}/{number}", self.name),
            };
            self.parts.push(Part::new(self.ids.next(), Arc::from(name)));
        }
        let number = u16::try_from(self.parts.len() - 1).map_err(|_| ReadError::Series)?;
        let slot: Option<Slot> = self
            .parts
            .last_mut()
            .and_then(|part| part.define(&labels, kind));
        let slot = slot.ok_or(ReadError::Series)?;
        let address = Address { part: number, slot };
        self.by_labels.insert(labels, address);
        Ok(address)
    }

    /// Changes what is known of a family, and tells it when it has changed.
    fn describe(&mut self, family: &str, change: impl FnOnce(&mut Metadata)) {
        let is_known = self.described.contains_key(family);
        let has_room = self.described.len() < FAMILIES_MAX && family.len() <= NAME_BYTES_MAX;
        if !is_known && !has_room {
            return;
        }
        let about = self.described.entry(family.to_owned()).or_default();
        let before = about.clone();
        change(about);
        for text in [&mut about.help, &mut about.unit] {
            text.truncate(text.floor_char_boundary(HELP_BYTES_MAX));
        }
        if (*about != before || !is_known) && !self.news.iter().any(|name| name == family) {
            self.news.push(family.to_owned());
        }
    }

    /// Returns the type of the family that a sample's name belongs to.
    fn kind_of(&self, name: &str) -> MetricType {
        const SUFFIXES: [&str; 8] = [
            "_bucket", "_sum", "_count", "_total", "_info", "_created", "_gsum", "_gcount",
        ];
        let own = self.described.get(name);
        let stem = || {
            let stems = SUFFIXES
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix));
            stems.filter_map(|stem| self.described.get(stem)).next()
        };
        own.or_else(stem)
            .map(|about| about.kind)
            .unwrap_or_default()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "at most 2^20 samples, and a few more"
)]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
