//! Evaluating a group again as of a time gone by, because what it looked at has changed since.
//!
//! That is done by another group of the same rules, so that what is live goes on meanwhile. What its rules had come to by then, which
//! series went on and which alerts were pending or firing, is what they stored; a firing alert that was kept so without its condition is
//! followed back to where that ceased. Each wave corrects what it stored then, as a whole: what differs, what is missing, and, void, what
//! should never have been there, stale marks like all else. Nobody is told of an alert.
//!
//! Which of the samples stored then are its own is told by their names, labels and instant: other groups store at others ([`super::apart`]).
//!
//! A rule that reads what a later one of its group records sees that one's sample of the same time, which was not there then. A rule that
//! fails now leaves what there is.

use std::collections::{BTreeMap, BTreeSet};

use model::{Labels, METRIC_NAME, MatchOp, Matcher, TimestampMs, VOID_NAN, Value};

use super::Group;
use crate::alert::{
    ALERT_NAME, ALERT_STATE, ALERTS, ALERTS_FOR_STATE, Alert, AlertSink, AlertState, Amendment,
};
use crate::rule::{Health, Instant, Rule, Tracked, found_labels};
use crate::world::{RecordedSample, World};

/// What came of an evaluation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Again {
    /// Samples that were corrected.
    pub(crate) corrected: u64,
    /// Rules that failed.
    pub(crate) failures: u64,
}

impl Group {
    /// Returns a group of the same rules that has not been evaluated.
    pub(crate) fn afresh(&self) -> Self {
        let rules = self.rules.iter().map(|rule| Rule::new(rule.spec.clone()));
        Self {
            key: self.key.clone(),
            interval: self.interval,
            phase: self.phase,
            query_offset: self.query_offset,
            limit: self.limit,
            rules: rules.collect(),
            waves: self.waves.clone(),
            abandoned: Vec::new(),
            known_since: self.known_since,
            seen_at: None,
            seen_kept: None,
            is_restored: false,
            last: None,
            counts: super::Counts::default(),
        }
    }

    /// Returns what an evaluation as of `at` looks at as its present.
    pub(crate) fn looks_at(&self, at: TimestampMs) -> TimestampMs {
        at.saturating_sub(self.query_offset)
    }

    /// Before the first evaluation of a run: learns from the store which series the run before has left without an end, if it stopped just
    /// now. What cannot be read is not ended.
    pub(crate) fn recall_written(&mut self, at: TimestampMs, world: &World<'_>) {
        let looked_at = self.looks_at(at.saturating_sub(self.interval));
        for rule in &mut self.rules {
            if rule.spec.alert().is_none() && rule.written.is_empty() {
                let stored = world.recorder.recorded(&rule.writes(), looked_at);
                rule.written = alive(stored.unwrap_or_default());
            }
        }
    }

    /// Takes on what the rules had come to after the evaluation of `at`.
    pub(crate) fn recall(&mut self, at: TimestampMs, world: &World<'_>) -> Result<(), String> {
        let looked_at = self.looks_at(at);
        for index in 0..self.rules.len() {
            let stored = world
                .recorder
                .recorded(&self.rules[index].writes(), looked_at)?;
            let begun = |seconds: f64| self.evaluated_in(seconds);
            let alerts = recalled_alerts(&stored, begun);
            let rule = &mut self.rules[index];
            rule.written = alive(stored);
            if rule.spec.alert().is_some() {
                rule.alerts = alerts;
                self.recall_kept(index, at, world)?;
            }
        }
        Ok(())
    }

    /// Returns the time of the evaluation within this second, by the group's rhythm.
    fn evaluated_in(&self, seconds: f64) -> TimestampMs {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds of our time, as this program wrote them"
        )]
        let second = TimestampMs((seconds as i64).saturating_mul(1_000));
        let due = self.due_before(TimestampMs(second.0.saturating_add(999)));
        due.max(second)
    }

    /// Finds out since when alerts of a rule fire on without their condition.
    fn recall_kept(
        &mut self,
        index: usize,
        at: TimestampMs,
        world: &World<'_>,
    ) -> Result<(), String> {
        let rule = &self.rules[index];
        let keeps = (rule.spec.alert()).map_or_else(Default::default, |spec| spec.keep_firing_for);
        let firing = |(labels, tracked): (&Labels, &Tracked)| {
            (tracked.alert.state == AlertState::Firing).then(|| labels.clone())
        };
        let mut open: BTreeSet<Labels> = rule.alerts.iter().filter_map(firing).collect();
        let mut before = at;
        while !open.is_empty() && before > at.saturating_sub(keeps) {
            let question = self.rules[index].question(self.looks_at(before), 0);
            let answer = world.queries.answer(vec![question]).pop();
            let elements =
                answer.map_or_else(|| Err("no answer came".to_owned()), |one| one.result)?;
            let held = found_labels(&self.rules[index].spec, &elements, before, world)?;
            open.retain(|labels| !held.contains(labels));
            for labels in &open {
                if let Some(tracked) = self.rules[index].alerts.get_mut(labels) {
                    tracked.alert.keep_firing_since = Some(before);
                }
            }
            before = before.saturating_sub(self.interval);
        }
        Ok(())
    }

    /// Evaluates all rules as of `at`, from what they had come to before, tells the sink which alerts were something else than was said, and
    /// corrects what the rules stored then. After an error some of it may be corrected, and all of it is to be done again.
    pub(crate) fn evaluate_again(
        &mut self,
        at: TimestampMs,
        world: &World<'_>,
        sink: &dyn AlertSink,
    ) -> Result<Again, String> {
        let instant = Instant {
            at,
            looks_at: self.looks_at(at),
        };
        let mut again = Again::default();
        let mut said = BTreeSet::new();
        for wave in 0..self.waves.len() {
            let answers = world.queries.answer(self.questions(wave, instant));
            let members = self.waves[wave].rules.clone();
            let mut came_to = Vec::with_capacity(members.len());
            for (index, answer) in members.into_iter().zip(answers) {
                let rule = &mut self.rules[index];
                let stored = world.recorder.recorded(&rule.writes(), instant.looks_at)?;
                let samples = rule.take(answer, instant, self.limit, world);
                rule.gone.clear();
                let is_good = rule.last.health == Health::Good;
                again.failures += u64::from(!is_good);
                let stands = if is_good { &samples } else { &stored };
                said.extend(stands.iter().map(|sample| sample.labels.clone()));
                if is_good {
                    came_to.push((stored, samples));
                }
            }
            again.corrected += self.correct(at, came_to, &said, (world, sink))?;
        }
        Ok(again)
    }

    /// Corrects what rules have stored as of `at`, each the first of a pair, where they come to something else, the second; returns how many
    /// samples that are. What is `said` by now, by others too, stays.
    fn correct(
        &self,
        at: TimestampMs,
        came_to: Vec<(Vec<RecordedSample>, Vec<RecordedSample>)>,
        said: &BTreeSet<Labels>,
        (world, sink): (&World<'_>, &dyn AlertSink),
    ) -> Result<u64, String> {
        let stored = came_to.iter().flat_map(|(stored, _)| stored);
        let was_said: BTreeSet<Labels> = alive(stored.cloned());
        // Rules that write series of the same name find the same ones wrong.
        let differing = (came_to.into_iter())
            .flat_map(|(stored, samples)| differences(stored, samples, said))
            .map(|sample| (sample.labels.clone(), sample));
        let corrections: BTreeMap<Labels, RecordedSample> = differing.collect();
        let corrections: Vec<RecordedSample> = corrections.into_values().collect();
        if corrections.is_empty() {
            return Ok(0);
        }
        let span = (at, at.saturating_add(self.interval));
        let amendment = |sample: &RecordedSample| {
            let was_said = was_said.contains(&sample.labels);
            Amendment::of(sample, was_said, span, &world.settings.external_labels)
        };
        let amendments: Vec<Amendment> = corrections.iter().filter_map(amendment).collect();
        if !amendments.is_empty() {
            sink.amend(amendments);
        }
        world.recorder.correct(&corrections)?;
        Ok(corrections.len() as u64)
    }

    /// Whether what the rules store says all that the next evaluation needs to know. It does not say since when an alert fires on without
    /// its condition; where the condition holds now, and what it looks at `is_fed` with nothing new, it held too when that was stored.
    pub(crate) fn is_settled(&self, is_fed: bool) -> bool {
        let may_be_kept = |rule: &&Rule| {
            let spec = rule.spec.alert();
            spec.is_some_and(|spec| !spec.keep_firing_for.is_zero())
        };
        let alerts = self.rules.iter().filter(may_be_kept);
        alerts
            .flat_map(|rule| rule.alerts.values())
            .map(|tracked| &tracked.alert)
            .filter(|alert| alert.state == AlertState::Firing)
            .all(|alert| !is_fed && alert.keep_firing_since.is_none())
    }

    /// Goes on from what `truth`, evaluated again up to this group's last evaluation, has come to. Alerts that fire are left alone, for
    /// people were told; of others truth says which are pending and since when. One that fires in truth becomes pending too: at the next
    /// evaluation it fires if its condition holds still, and is forgotten if not. So people hear of what is, and not of what was.
    pub(crate) fn learn(&mut self, truth: &Self) {
        for (rule, truth) in self.rules.iter_mut().zip(&truth.rules) {
            if truth.last.health == Health::Good {
                rule.written.clone_from(&truth.written);
                rule.learn_alerts(&truth.alerts);
            }
        }
    }
}

impl Rule {
    fn learn_alerts(&mut self, truth: &BTreeMap<Labels, Tracked>) {
        let is_active = |alert: &Alert| alert.state != AlertState::Inactive;
        let truth = || {
            let all = truth
                .iter()
                .map(|(labels, tracked)| (labels, &tracked.alert));
            all.filter(|(_, alert)| is_active(alert))
        };
        let active: BTreeSet<&Labels> = truth().map(|(labels, _)| labels).collect();
        let gone = &mut self.gone;
        self.alerts.retain(|labels, tracked| {
            let stays = tracked.alert.state != AlertState::Pending || active.contains(labels);
            if !stays {
                gone.push(labels.clone());
            }
            stays
        });
        for (labels, alert) in truth() {
            let known = self.alerts.get(labels).map(|tracked| &tracked.alert);
            let is_known = known.is_some_and(|known| {
                known.state == AlertState::Firing
                    || (known.state == AlertState::Pending && known.active_at == alert.active_at)
            });
            if is_known {
                continue;
            }
            let (annotations, value) = (alert.annotations.clone(), alert.value);
            let alert = Alert::pending(labels.clone(), annotations, value, alert.active_at);
            let changed = true;
            self.alerts
                .insert(labels.clone(), Tracked { alert, changed });
        }
    }

    /// Returns what all series satisfy that the rule writes, and of the same group no others.
    fn writes(&self) -> Vec<Matcher> {
        let mut matchers = Vec::with_capacity(self.spec.labels.len() + 2);
        let is_alert = self.spec.alert().is_some();
        if is_alert {
            let names = format!("{ALERTS}|{ALERTS_FOR_STATE}");
            matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, names));
            matchers.push(Matcher::equal(ALERT_NAME, self.spec.name.as_str()));
        } else {
            matchers.push(Matcher::equal(METRIC_NAME, self.spec.name.as_str()));
        }
        let is_own = |name: &str| name != METRIC_NAME && !(is_alert && name == ALERT_NAME);
        let is_plain = |value: &str| !(is_alert && value.contains("{{"));
        let labels = self.spec.labels.iter();
        let plain = labels.filter(|(name, value)| is_own(name) && is_plain(value));
        matchers.extend(plain.map(|(name, value)| Matcher::equal(name.as_str(), value.as_str())));
        matchers
    }
}

/// Returns the series that these samples do not end.
fn alive(stored: impl IntoIterator<Item = RecordedSample>) -> BTreeSet<Labels> {
    let alive = stored.into_iter().filter(|sample| !sample.value.is_stale());
    alive.map(|sample| sample.labels).collect()
}

/// Returns the alerts that these samples tell of.
fn recalled_alerts(
    stored: &[RecordedSample],
    begun: impl Fn(f64) -> TimestampMs,
) -> BTreeMap<Labels, Tracked> {
    let name_of = |sample: &RecordedSample| sample.labels.get(METRIC_NAME).map(str::to_owned);
    let bare = |labels: &Labels| {
        let mut labels = labels.to_builder();
        labels.remove(METRIC_NAME);
        labels.remove(ALERT_STATE);
        labels.build()
    };
    let alive = || stored.iter().filter(|sample| !sample.value.is_stale());
    let since: BTreeMap<Labels, f64> = alive()
        .filter(|sample| name_of(sample).as_deref() == Some(ALERTS_FOR_STATE))
        .filter_map(|sample| match sample.value {
            Value::Float(value) => Some((bare(&sample.labels), value)),
            Value::Histogram(_) => None,
        })
        .collect();
    let states = alive().filter(|sample| name_of(sample).as_deref() == Some(ALERTS));
    let alert = |sample: &RecordedSample| {
        let labels = bare(&sample.labels);
        let active_at = begun(*since.get(&labels)?);
        let mut alert = Alert::pending(labels.clone(), Labels::empty(), 0.0, active_at);
        if sample.labels.get(ALERT_STATE) == Some(AlertState::Firing.name()) {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(active_at);
        }
        let changed = false;
        Some((labels, Tracked { alert, changed }))
    };
    states.filter_map(alert).collect()
}

/// Returns the corrections that make `samples` of what is `stored` at one time; what is `said` by now, by others too, stays.
fn differences(
    stored: Vec<RecordedSample>,
    samples: Vec<RecordedSample>,
    said: &BTreeSet<Labels>,
) -> Vec<RecordedSample> {
    let before: BTreeMap<&Labels, &Value> = (stored.iter())
        .map(|sample| (&sample.labels, &sample.value))
        .collect();
    let is_new = |sample: &RecordedSample| {
        let known = before.get(&sample.labels);
        !known.is_some_and(|known| known.same_bits(&sample.value))
    };
    let mut differing: Vec<RecordedSample> = samples.into_iter().filter(is_new).collect();
    let wrong = stored
        .iter()
        .filter(|sample| !said.contains(&sample.labels));
    differing.extend(wrong.map(|sample| RecordedSample {
        value: Value::Float(VOID_NAN),
        ..sample.clone()
    }));
    differing
}
