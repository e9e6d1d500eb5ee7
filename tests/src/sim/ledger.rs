//! The oracle: what was made, what was promised about it, and whether the store has just that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{Labels, TimestampMs};
use rows::{BatchNumber, Epoch, NumberSet};

use super::sampler::Expected;

/// A sample as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredSample {
    /// The series.
    pub labels: Labels,
    /// When.
    pub at: TimestampMs,
    /// The value's bits.
    pub bits: u64,
}

/// Why a batch need not arrive. It still arrives whole, and at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// The agent's power was cut before the batch was synced or acknowledged.
    PowerCut,
    /// The spool was full, dropped it and counted it.
    Dropped,
    /// The aggregator could not decode it twice: put aside and reported.
    Quarantined,
    /// The aggregator had it when an old copy of its folder was put back.
    Restored,
}

/// A batch that a maker put into a spool.
#[derive(Debug)]
struct Made {
    samples: Vec<Expected>,
    synced: bool,
    acknowledged: bool,
    excuse: Option<Excuse>,
    /// Whether the store had the number when an old copy without it was put back.
    rolled_back: bool,
    /// Whether the store may have said that it refused some of it: the power cut took a definition that the rows lean on.
    definition_lost: bool,
}

/// The batches of one run.
#[derive(Debug)]
struct Run {
    machine: usize,
    batches: Vec<Made>,
    /// Whether the agent said that the store knows less than it acknowledged.
    loss_reported: bool,
}

/// Everything that was made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    runs: BTreeMap<Epoch, Run>,
    /// Samples that a maker could not put into its spool.
    unmade: Vec<Expected>,
    unmade_batches: u64,
}

impl Ledger {
    pub(crate) fn began(&mut self, epoch: Epoch, machine: usize) {
        let run = Run {
            machine,
            batches: Vec::new(),
            loss_reported: false,
        };
        self.runs.insert(epoch, run);
    }

    /// Notes a batch; numbers have no gaps.
    pub(crate) fn made(
        &mut self,
        epoch: Epoch,
        number: BatchNumber,
        samples: Vec<Expected>,
    ) -> Result<(), String> {
        let batches = &mut self.run(epoch).batches;
        if number.0 != batches.len() as u64 {
            return Err(format!(
                "batch {number} was made after {} batches of epoch {epoch}",
                batches.len()
            ));
        }
        batches.push(Made {
            samples,
            synced: false,
            acknowledged: false,
            excuse: None,
            rolled_back: false,
            definition_lost: false,
        });
        Ok(())
    }

    pub(crate) fn not_made(&mut self, samples: Vec<Expected>) {
        self.unmade_batches += 1;
        self.unmade.extend(samples);
    }

    /// Everything that the run has made so far survives a power cut, or is acknowledged.
    pub(crate) fn synced(&mut self, epoch: Epoch) {
        let unsynced = self.run(epoch).batches.iter_mut().rev();
        for made in unsynced.take_while(|made| !made.synced) {
            made.synced = true;
        }
    }

    pub(crate) fn acknowledged(&mut self, epoch: Epoch, numbers: &NumberSet) {
        let Some(run) = self.runs.get_mut(&epoch) else {
            return;
        };
        for_each(run, numbers, |made| made.acknowledged = true);
    }

    /// The machine's power was cut: what no sync covered may be gone.
    pub(crate) fn power_cut(&mut self, machine: usize) {
        for run in self.runs.values_mut().filter(|run| run.machine == machine) {
            let unsafe_ones = run.batches.iter_mut();
            for made in unsafe_ones.filter(|made| !made.synced && !made.acknowledged) {
                made.excuse = made.excuse.or(Some(Excuse::PowerCut));
            }
        }
    }

    /// Excuses a batch unless it was acknowledged; returns whether that is new.
    pub(crate) fn excuse(&mut self, epoch: Epoch, number: BatchNumber, excuse: Excuse) -> bool {
        let run = self.runs.get_mut(&epoch);
        let made = run.and_then(|run| run.batches.get_mut(index(number)));
        match made {
            Some(made) if made.excuse.is_none() && !made.acknowledged => {
                made.excuse = Some(excuse);
                true
            }
            _ => false,
        }
    }

    /// The store refused samples of some of these batches, for want of a definition: returns whether a power cut explains it.
    pub(crate) fn definition_lost(&mut self, epoch: Epoch, numbers: &NumberSet) -> bool {
        let mut explained = false;
        if let Some(run) = self.runs.get_mut(&epoch) {
            for_each(run, numbers, |made| {
                made.definition_lost |= made.excuse == Some(Excuse::PowerCut);
                explained |= made.definition_lost;
            });
        }
        explained
    }

    /// An old copy of the store was put back: what it had since may be gone, acknowledged or not.
    pub(crate) fn restored(&mut self, epoch: Epoch, before: &NumberSet, after: &NumberSet) {
        let Some(run) = self.runs.get_mut(&epoch) else {
            return;
        };
        for (at, made) in (0..).map(BatchNumber).zip(&mut run.batches) {
            if before.contains(at) && !after.contains(at) {
                made.rolled_back = true;
                made.excuse = made.excuse.or(Some(Excuse::Restored));
            }
        }
    }

    pub(crate) fn loss_reported(&mut self, epoch: Epoch) {
        self.run(epoch).loss_reported = true;
    }

    pub(crate) fn epochs(&self) -> impl Iterator<Item = (Epoch, usize)> + '_ {
        self.runs.iter().map(|(epoch, run)| (*epoch, run.machine))
    }

    /// The acknowledged numbers of an epoch that may not be missing from `known`; the first one that is.
    pub(crate) fn forgotten(&self, epoch: Epoch, known: &NumberSet) -> Option<BatchNumber> {
        let run = self.runs.get(&epoch)?;
        let numbers = (0..).map(BatchNumber).zip(&run.batches);
        numbers
            .filter(|(_, made)| made.acknowledged && !made.rolled_back)
            .map(|(number, _)| number)
            .find(|number| !known.contains(*number))
    }

    /// Batches made, those that could not be spooled, and those excused.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let all = || self.runs.values().flat_map(|run| &run.batches);
        let excused = all().filter(|made| made.excuse.is_some()).count() as u64;
        (all().count() as u64, self.unmade_batches, excused)
    }

    /// Every sample of a batch that must be stored, sorted.
    pub(crate) fn required(&self) -> Vec<StoredSample> {
        let batches = self.runs.values().flat_map(|run| &run.batches);
        let samples = batches
            .filter(|made| made.excuse.is_none())
            .flat_map(|made| &made.samples);
        let mut all: Vec<StoredSample> = samples
            .map(|sample| StoredSample {
                labels: sample.labels.clone(),
                at: sample.at,
                bits: sample.bits,
            })
            .collect();
        all.sort();
        all
    }

    /// Compares everything with a dump. `present` are the epochs of the runs that still go on.
    pub(crate) fn verify(
        &self,
        stored: &[StoredSample],
        present: &BTreeSet<Epoch>,
    ) -> Result<(), String> {
        let mut places: HashMap<(&Labels, TimestampMs), (usize, u64)> = HashMap::new();
        let mut batches: Vec<(Epoch, usize, &Made)> = Vec::new();
        for (epoch, run) in &self.runs {
            for (number, made) in run.batches.iter().enumerate() {
                for sample in &made.samples {
                    places.insert((&sample.labels, sample.at), (batches.len(), sample.bits));
                }
                batches.push((*epoch, number, made));
            }
        }
        let mut copies: HashMap<(&Labels, TimestampMs), u32> = HashMap::new();
        for sample in stored {
            let key = (&sample.labels, sample.at);
            let Some((_, bits)) = places.get(&key) else {
                return Err(format!(
                    "{} at {:?} is stored and nobody made it",
                    sample.labels, sample.at
                ));
            };
            if *bits != sample.bits {
                return Err(format!(
                    "{} at {:?} is {:016x}, not {bits:016x}",
                    sample.labels, sample.at, sample.bits
                ));
            }
            *copies.entry(key).or_default() += 1;
        }
        for (epoch, number, made) in &batches {
            let run = &self.runs[epoch];
            check_batch(made, &copies).map_err(|what| {
                format!(
                    "batch {number} of epoch {epoch} (machine {}): {what}; {:?}, {}, {}",
                    run.machine,
                    made.excuse,
                    if made.synced { "synced" } else { "not synced" },
                    if made.acknowledged {
                        "acknowledged"
                    } else {
                        "never acknowledged"
                    },
                )
            })?;
            let lost = made.excuse == Some(Excuse::Restored)
                && made.acknowledged
                && made
                    .samples
                    .first()
                    .is_some_and(|sample| !copies.contains_key(&(&sample.labels, sample.at)));
            if lost && present.contains(epoch) && !run.loss_reported {
                return Err(format!(
                    "batch {number} of epoch {epoch} was lost with the restored copy, and the agent did not say so"
                ));
            }
        }
        Ok(())
    }

    fn run(&mut self, epoch: Epoch) -> &mut Run {
        self.runs.get_mut(&epoch).expect("the run began")
    }
}

fn check_batch(made: &Made, copies: &HashMap<(&Labels, TimestampMs), u32>) -> Result<(), String> {
    let counts = made.samples.iter().map(|sample| {
        let key = (&sample.labels, sample.at);
        copies.get(&key).copied().unwrap_or(0)
    });
    let (least, most) = counts.fold((u32::MAX, 0), |(least, most), count| {
        (least.min(count), most.max(count))
    });
    if made.samples.is_empty() {
        Ok(())
    } else if most > 1 {
        Err(format!("stored {most} times"))
    } else if least != most && !made.definition_lost {
        let missing = made.samples.iter().find(|sample| {
            let key = (&sample.labels, sample.at);
            !copies.contains_key(&key)
        });
        Err(format!(
            "torn: only some of its samples are stored, not {missing:?}"
        ))
    } else if most == 0 && made.excuse.is_none() {
        Err("missing".to_owned())
    } else {
        Ok(())
    }
}

fn for_each(run: &mut Run, numbers: &NumberSet, mut change: impl FnMut(&mut Made)) {
    for (first, last) in numbers.intervals() {
        let end = index(last).saturating_add(1).min(run.batches.len());
        let batches = run.batches.get_mut(index(first)..end);
        batches.into_iter().flatten().for_each(&mut change);
    }
}

fn index(number: BatchNumber) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}
