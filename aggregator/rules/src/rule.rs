//! A rule between evaluations: what it came to, what it wrote, its alerts.

mod alerting;
mod recording;
mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, STALE_NAN, TimestampMs, Value};

pub(crate) use self::alerting::found_labels;
use crate::alert::Alert;
use crate::file::{RuleKind, RuleSpec};
use crate::world::{Answer, Question, RecordedSample, World};

/// How a rule does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It was not evaluated yet.
    #[default]
    Unknown,
    /// Its last evaluation succeeded.
    Good,
    /// Its last evaluation failed, and why.
    Bad(String),
}

/// When and how a rule was evaluated last.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// Whether it succeeded.
    pub health: Health,
    /// When; `None`: never.
    pub at: Option<TimestampMs>,
    /// How long it took.
    pub took: Duration,
}

/// Series that a recording rule may have, and alerts that an alerting rule may have, whatever its `limit`: what more would cost in
/// memory and work brings down what the rule should watch.
const SERIES_MAX: usize = 500_000;
const ALERTS_MAX: usize = 50_000;

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) spec: RuleSpec,
    /// The expression as it prints.
    pub(crate) query: Arc<str>,
    pub(crate) alerts: BTreeMap<Labels, Tracked>,
    /// Alerts gone since what is kept was written.
    pub(crate) gone: Vec<Labels>,
    /// Series that have a value and no stale mark after it.
    pub(crate) written: BTreeSet<Labels>,
    pub(crate) last: Evaluated,
}

/// An alert and whether what is kept of it is old.
#[derive(Clone, Debug)]
pub(crate) struct Tracked {
    pub(crate) alert: Alert,
    pub(crate) changed: bool,
}

/// What makes two rules of a group the same over reloads: whether it is an alert, the name, the labels.
pub(crate) type Identity = (bool, String, BTreeMap<String, String>);

/// The times of an evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant {
    /// What it stands for.
    pub(crate) at: TimestampMs,
    /// What it looks at, and when its results are: earlier by the query offset.
    pub(crate) looks_at: TimestampMs,
}

impl Rule {
    pub(crate) fn new(spec: RuleSpec) -> Self {
        Self {
            query: Arc::from(spec.expr.to_string()),
            spec,
            alerts: BTreeMap::new(),
            gone: Vec::new(),
            written: BTreeSet::new(),
            last: Evaluated::default(),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        let spec = &self.spec;
        (
            spec.alert().is_some(),
            spec.name.clone(),
            spec.labels.clone(),
        )
    }

    /// Takes over what `other` came to: the same rule before a reload.
    pub(crate) fn inherit(&mut self, other: Self) {
        self.alerts = other.alerts;
        self.gone = other.gone;
        self.written = other.written;
        self.last = other.last;
    }

    /// Returns what the rule asks; `kin` is as in [`Question`].
    pub(crate) fn question(&self, at: TimestampMs, kin: usize) -> Question {
        Question {
            expr: Arc::clone(&self.spec.expr),
            text: Arc::clone(&self.spec.text),
            at,
            kin,
            took: self.last.at.map(|_| self.last.took),
        }
    }

    /// Takes an answer: returns the samples to store, stale marks of series that have ended among them. After an error nothing is
    /// stored, and what was written before counts as alive.
    pub(crate) fn take(
        &mut self,
        answer: Answer,
        instant: Instant,
        limit: usize,
        world: &World<'_>,
    ) -> Vec<RecordedSample> {
        self.last.at = Some(instant.at);
        self.last.took = answer.took;
        let bound = match &self.spec.kind {
            RuleKind::Recording => SERIES_MAX,
            RuleKind::Alerting(_) => ALERTS_MAX,
        };
        let bounded = answer.result.and_then(|elements| {
            let count = elements.len();
            if count > bound {
                return Err(format!(
                    "{count} results are more than the {bound} that one rule may have; narrow the expression"
                ));
            }
            Ok(elements)
        });
        let samples = bounded.and_then(|elements| match &self.spec.kind {
            RuleKind::Recording => recording::samples(&self.spec, elements, instant, limit),
            RuleKind::Alerting(_) => self.follow_alerts(elements, instant, limit, world),
        });
        match samples {
            Ok(samples) => {
                self.last.health = Health::Good;
                self.with_ends(samples, instant.looks_at)
            }
            Err(error) => {
                self.fail(error);
                Vec::new()
            }
        }
    }

    pub(crate) fn fail(&mut self, error: String) {
        self.last.health = Health::Bad(error);
    }

    /// Says that what [`Self::take`] returned is not stored: what was alive before may be so still.
    pub(crate) fn not_stored(&mut self, samples: &[RecordedSample], error: &str) {
        self.written
            .extend(samples.iter().map(|sample| sample.labels.clone()));
        self.fail(error.to_owned());
    }

    fn with_ends(
        &mut self,
        mut samples: Vec<RecordedSample>,
        at: TimestampMs,
    ) -> Vec<RecordedSample> {
        let now: BTreeSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        let ended = self.written.difference(&now);
        samples.extend(ends(ended.cloned(), at));
        self.written = now;
        samples
    }
}

/// Returns stale marks for series that have ended.
pub(crate) fn ends(
    series: impl IntoIterator<Item = Labels>,
    at: TimestampMs,
) -> impl Iterator<Item = RecordedSample> {
    series.into_iter().map(move |labels| RecordedSample {
        labels,
        at,
        value: Value::Float(STALE_NAN),
    })
}
