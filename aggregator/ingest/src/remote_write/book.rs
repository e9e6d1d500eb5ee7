//! Which slot a series has: by the hash of its raw labels, in cohorts that fill as series appear.
//!
//! Senders name their series in the same order again and again, and slots were given in that order. So a series is looked for behind the
//! one before it first: that reads keys one after the other, where the table would miss the processor's caches each time.
//!
//! A slot belongs to one series for ever, so series that have ended leave holes. Twice an hour the book is looked through: a series that has
//! not come for an hour is forgotten (it gets another slot when it comes again), and a full cohort of which three quarters are gone is
//! **worn**: its living series move on, each when it comes next. The store stops counting a cohort that gets no samples after two hours and
//! forgets it after a day; the book, earlier.
//!
//! The store decides again on slots that a limit refused, on as many as it has room to remember: of one agent, as which all of remote write
//! counts, some ten thousands. So that the others are decided on again, too, each slot that was refused is noted here and defined once more
//! when its series comes a minute later or after; that changes nothing where the store has taken it. Others are never defined again.
//!
//! Definitions wait here until the store takes them: while more of them do than may, nothing is read that could bring more.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use clock::Monotonic;
use model::Labels;
use rows::{BatchNumber, CohortDefinition, CohortId, MetricMetadata, SeriesDefinition, Slot};
use storage::{Appender, Busy, RefusalReason, RefusedSample, Source};

use super::allowance::Allowance;
use super::described::DescriptionHash;
use super::request::{Request, Series, labels_bytes};

/// Slots of a cohort. A layout is copied when it grows while a shard reads it, and a cohort lives on one shard: with cohorts of 4,096, a sender
/// of a few thousand series had all of them on one of them, which alone took half of the time that the log's replay took.
const COHORT_SLOTS: u16 = 512;
/// Series remembered, at some 60 bytes; more are refused until others are forgotten.
pub(super) const SERIES_MAX: usize = 4 << 20;
/// Metric families whose metadata is remembered as stored.
const FAMILIES_MAX: usize = 65_536;
/// How often the book is looked through.
const SWEEP_EVERY: Duration = Duration::from_mins(30);
/// Sweeps without a sample after which a series is forgotten.
const IDLE_SWEEPS: u16 = 2;
/// How long after a refusal a slot is defined again.
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// Definitions are handed over in parts of so many slots.
const DEFINITION_SLOTS: usize = 1_024;
/// Bytes of labels that may wait to be handed over before another request is read, which may bring as many as it is allowed.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// The series that the store knows by slots.
#[derive(Debug)]
pub(super) struct Book {
    series: HashMap<u128, Place, BuildHasherDefault<LowBits>>,
    /// By number; never shrinks, but an old one holds no keys.
    cohorts: Vec<Cohort>,
    /// Definitions that the store has not taken yet, in order.
    pending: VecDeque<CohortDefinition>,
    /// What their labels take.
    pending_bytes: usize,
    /// Slots that a limit refused, and from when on each is to be defined again.
    refused: BTreeMap<Place, Monotonic>,
    /// Counts sweeps.
    sweeps: u16,
    swept: Monotonic,
    /// By the hash of a family's name, that of what is stored of it.
    described: HashMap<u64, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    cohort: u32,
    slot: Slot,
}

impl Place {
    /// Returns where the series is that was given its slot next, if there is one.
    const fn next(self) -> Self {
        if self.slot + 1 < COHORT_SLOTS {
            Self {
                slot: self.slot + 1,
                ..self
            }
        } else {
            Self {
                cohort: self.cohort.wrapping_add(1),
                slot: 0,
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Cohort {
    slots: Slot,
    /// By slot, the series; [`FORGOTTEN`] where there is none any more. Empty when all are forgotten.
    keys: Vec<u128>,
    /// By slot, the sweep after which it came last.
    used: Vec<u16>,
}

/// No series is looked for under this key but in the table.
const FORGOTTEN: u128 = 0;

impl Cohort {
    fn forget_all(&mut self) {
        (self.keys, self.used) = (Vec::new(), Vec::new());
    }
}

/// The numbers of batches.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: u64,
    /// Given out and not used: each is a hole that the store remembers until it is filled.
    free: Vec<BatchNumber>,
}

impl Numbers {
    /// Returns a number for a batch: one that was not used, if there is one.
    pub(super) fn take(&mut self) -> BatchNumber {
        self.free.pop().unwrap_or_else(|| {
            let number = BatchNumber(self.next);
            self.next += 1;
            number
        })
    }

    /// Takes back a number whose batch is not stored.
    pub(super) fn give_back(&mut self, number: BatchNumber) {
        self.free.push(number);
    }
}

/// A key is a hash already.
#[derive(Debug, Default)]
pub(super) struct LowBits(u64);

impl Hasher for LowBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// Labels do not end where they were guessed to: the request is to be walked without guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongGuess;

/// Where the samples of a series of a request go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) cohort: CohortId,
    pub(super) slot: Slot,
}

impl Book {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            series: HashMap::default(),
            cohorts: Vec::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            refused: BTreeMap::new(),
            sweeps: 0,
            swept: now,
            described: HashMap::new(),
        }
    }

    /// Returns the number of series known.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    #[cfg(test)]
    pub(super) fn refused_slots(&self) -> usize {
        self.refused.len()
    }

    #[cfg(test)]
    pub(super) const fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Finds or makes the slot of each series; `None` for those that are refused, which are noted in the request, and for those without
    /// samples that are not known. After an error the series before are known.
    pub(super) fn resolve(
        &mut self,
        request: &mut Request,
        now: Monotonic,
    ) -> Result<Vec<Option<Target>>, WrongGuess> {
        self.sweep_if_due(now);
        let mut rejections = std::mem::take(&mut request.rejections);
        let mut allowance = request.allowance;
        let mut targets = Vec::with_capacity(request.series.len());
        let mut before: Option<Place> = None;
        for series in &request.series {
            let known = match self.find(series.key, before) {
                Some(place) => Ok(place),
                None if series.samples.is_empty() => {
                    targets.push(None);
                    continue;
                }
                None if !request.holds(series) => return Err(WrongGuess),
                None => self.add(request, series, &mut allowance),
            };
            before = known.as_ref().ok().copied().or(before);
            targets.push(match known {
                Ok(place) => {
                    if !self.refused.is_empty() && self.is_due(place, now) {
                        self.define_again(request, series, place, &mut allowance);
                    }
                    Some(Target {
                        cohort: CohortId(place.cohort),
                        slot: place.slot,
                    })
                }
                Err(why) => {
                    let samples = series.samples.len() as u64;
                    rejections.series(samples, || format!("{why}: {}", request.name_of(series)));
                    None
                }
            });
        }
        request.rejections = rejections;
        request.allowance = allowance;
        Ok(targets)
    }

    /// Finds a series that is known, and notes that it came; `before` is where the one before it was found.
    fn find(&mut self, key: u128, before: Option<Place>) -> Option<Place> {
        let guessed = before.map(Place::next).filter(|place| {
            let cohort = self.cohorts.get(place.cohort as usize);
            let known = cohort.and_then(|cohort| cohort.keys.get(usize::from(place.slot)));
            key != FORGOTTEN && known == Some(&key)
        });
        let place = match guessed {
            Some(place) => place,
            None => *self.series.get(&key)?,
        };
        let cohort = self.cohorts.get_mut(place.cohort as usize)?;
        *cohort.used.get_mut(usize::from(place.slot))? = self.sweeps;
        Some(place)
    }

    fn add(
        &mut self,
        request: &Request,
        series: &Series,
        allowance: &mut Allowance,
    ) -> Result<Place, String> {
        let too_much = |allowance: &Allowance| {
            let bytes = allowance.granted();
            format!(
                "the request has more than {bytes} bytes of labels of new series, histograms and exemplars; send fewer series at once"
            )
        };
        if allowance.is_overdrawn() {
            return Err(too_much(allowance));
        }
        let labels = request.labels(series)?;
        if self.series.len() >= SERIES_MAX {
            return Err(format!(
                "{SERIES_MAX} series are remembered, as many as may be; those that do not come for an hour make room"
            ));
        }
        if !allowance.take(definition_bytes(&labels)) {
            return Err(too_much(allowance));
        }
        let full = self
            .cohorts
            .last()
            .is_none_or(|cohort| cohort.slots >= COHORT_SLOTS);
        if full {
            self.cohorts.push(Cohort::default());
        }
        let number = self.cohorts.len() - 1;
        let cohort = u32::try_from(number).map_err(|_| "no cohort is left".to_owned())?;
        let open = &mut self.cohorts[number];
        let place = Place {
            cohort,
            slot: open.slots,
        };
        open.slots += 1;
        open.keys.push(series.key);
        open.used.push(self.sweeps);
        self.series.insert(series.key, place);
        self.define(place, labels, series.kind);
        Ok(place)
    }

    /// Defines a slot that was refused, unless the request makes too much: then it waits for the next one.
    fn define_again(
        &mut self,
        request: &Request,
        series: &Series,
        place: Place,
        allowance: &mut Allowance,
    ) {
        if let Ok(labels) = request.labels(series)
            && allowance.take(definition_bytes(&labels))
        {
            self.refused.remove(&place);
            self.define(place, labels, series.kind);
        }
    }

    /// Adds a slot to the definitions to hand over.
    fn define(&mut self, place: Place, labels: Labels, kind: model::MetricType) {
        self.pending_bytes += definition_bytes(&labels);
        let definition = SeriesDefinition { labels, kind };
        let cohort = CohortId(place.cohort);
        if let Some(last) = self.pending.back_mut()
            && last.cohort == cohort
            && last.series.len() < DEFINITION_SLOTS
            && usize::from(last.first_slot) + last.series.len() == usize::from(place.slot)
        {
            last.series.push(definition);
            return;
        }
        self.pending.push_back(CohortDefinition {
            cohort,
            // Its shard follows from the name.
            name: cohort.0.to_string().into(),
            first_slot: place.slot,
            series: vec![definition],
        });
    }

    fn is_due(&self, place: Place, now: Monotonic) -> bool {
        self.refused.get(&place).is_some_and(|at| *at <= now)
    }

    /// Notes which slots a limit refused.
    pub(super) fn note_refused(&mut self, samples: &[RefusedSample], now: Monotonic) {
        for sample in samples.iter().filter(|sample| may_end(sample.reason)) {
            let place = Place {
                cohort: sample.cohort.0,
                slot: sample.slot,
            };
            self.refused.entry(place).or_insert(now + RETRY_AFTER);
        }
    }

    /// Forgets all series: the store does not know their slots any more.
    pub(super) fn forget(&mut self) {
        self.series.clear();
        self.pending.clear();
        self.pending_bytes = 0;
        self.refused.clear();
        self.cohorts.iter_mut().for_each(Cohort::forget_all);
        // The next series opens a cohort of its own.
        self.cohorts.push(Cohort::default());
    }

    /// Returns whether as many definitions wait as may.
    pub(super) const fn is_full(&self) -> bool {
        self.pending_bytes >= PENDING_BYTES_MAX
    }

    /// Hands over the definitions that wait.
    pub(super) fn hand_over(&mut self, store: &dyn Appender, source: &Source) -> Result<(), Busy> {
        while let Some(definition) = self.pending.front() {
            store.define(source, definition.clone())?;
            let series = definition.series.iter();
            let bytes: usize = series.map(|one| definition_bytes(&one.labels)).sum();
            self.pending_bytes = self.pending_bytes.saturating_sub(bytes);
            self.pending.pop_front();
        }
        Ok(())
    }

    /// Returns what of a request's metadata is not known to be stored; what the request may not make waits for the next one.
    pub(super) fn new_metadata(&self, request: &mut Request) -> NewMetadata {
        let mut new = NewMetadata::default();
        let mut allowance = request.allowance;
        for description in request.descriptions() {
            let hash = description.hash();
            if self.described.get(&hash.family) != Some(&hash.said)
                && allowance.take(description.bytes())
            {
                new.metadata.push(description.to_metadata());
                new.hashes.push(hash);
            }
        }
        request.allowance = allowance;
        new
    }

    /// Notes that metadata is stored.
    pub(super) fn note_described(&mut self, hashes: &[DescriptionHash]) {
        for hash in hashes {
            if self.described.len() >= FAMILIES_MAX {
                self.described.clear();
            }
            self.described.insert(hash.family, hash.said);
        }
    }

    fn sweep_if_due(&mut self, now: Monotonic) {
        if now.saturating_since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.sweeps = self.sweeps.wrapping_add(1);
        let sweeps = self.sweeps;
        let cohorts = &mut self.cohorts;
        let mut living = vec![0_u16; cohorts.len()];
        self.series.retain(|_, place| {
            let cohort = &mut cohorts[place.cohort as usize];
            let slot = usize::from(place.slot);
            let lives = sweeps.wrapping_sub(cohort.used[slot]) <= IDLE_SWEEPS;
            if lives {
                living[place.cohort as usize] += 1;
            } else {
                cohort.keys[slot] = FORGOTTEN;
            }
            lives
        });
        let worn: Vec<bool> = living
            .iter()
            .zip(cohorts)
            .map(|(living, cohort)| {
                let worn = cohort.slots >= COHORT_SLOTS && *living < COHORT_SLOTS / 4;
                if worn {
                    cohort.forget_all();
                }
                worn
            })
            .collect();
        self.series.retain(|_, place| !worn[place.cohort as usize]);
        let cohorts = &self.cohorts;
        self.refused.retain(|place, _| {
            let keys = cohorts
                .get(place.cohort as usize)
                .map(|cohort| &cohort.keys);
            let key = keys.and_then(|keys| keys.get(usize::from(place.slot)));
            key.is_some_and(|key| *key != FORGOTTEN)
        });
    }
}

/// Metadata that is not known to be stored.
#[derive(Debug, Default)]
pub(super) struct NewMetadata {
    pub(super) metadata: Vec<MetricMetadata>,
    pub(super) hashes: Vec<DescriptionHash>,
}

/// Returns what a definition of a series takes while it waits.
fn definition_bytes(labels: &Labels) -> usize {
    size_of::<SeriesDefinition>() + labels_bytes(labels)
}

/// Returns whether what a slot was refused for may be over later.
const fn may_end(reason: RefusalReason) -> bool {
    match reason {
        RefusalReason::SeriesPerAgent
        | RefusalReason::SeriesPerTenant
        | RefusalReason::SeriesPerMetric
        | RefusalReason::NewSeriesRate
        | RefusalReason::Memory => true,
        RefusalReason::Labels
        | RefusalReason::TooOld
        | RefusalReason::TooNew
        | RefusalReason::Undefined => false,
    }
}
