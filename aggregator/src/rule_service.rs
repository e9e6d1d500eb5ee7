//! Rules as a part of the service: when they are evaluated, on which threads, and what they count.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::Api;
use clock::SharedClock;
use model::TimestampMs;
use rows::Epoch;
use rules::{
    Answer, Bundle, LateCounts, LatePass, Queries, Question, Rules, StoreRecorder, bundles,
};
use runtime::{Permits, Tasks, Timer, Token};
use storage::{Appender, Queryable};
use telemetry::Registry;
use tokio::runtime::Handle;
use tsdb::Tsdb;

use crate::config_of;

/// Groups evaluated at once; more wait. Each has up to [`RuleQueries::at_once`] bundles of its questions answered at once.
const GROUPS_AT_ONCE: u32 = 8;
/// A reload, or a group that has ended, is seen after so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a store that is busy is left alone, and how often.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
const BUSY_PAUSES_MAX: u32 = 500;
/// Groups that have metrics of their own.
const GROUPS_SHOWN_MAX: usize = 1_000;

/// Evaluates groups when they are due.
pub(crate) struct RuleService {
    rules: Arc<Rules>,
    queries: Arc<RuleQueries>,
    recorder: Arc<StoreRecorder>,
    store: Arc<Tsdb>,
    clock: SharedClock,
    tasks: Tasks,
}

impl RuleService {
    /// Returns a service that asks `api` and stores what comes of it as the writer of rules, in batches of `epoch`.
    pub(crate) fn new(
        rules: Arc<Rules>,
        (api, at_once): (Api, usize),
        (store, epoch): (Arc<Tsdb>, Epoch),
        clock: SharedClock,
        tasks: Tasks,
    ) -> anyhow::Result<Self> {
        let (runtime, timer) = (Handle::current(), Timer::new(Arc::clone(&clock)));
        let wait = {
            let runtime = runtime.clone();
            move |waited| {
                runtime.block_on(timer.sleep(BUSY_PAUSE));
                waited < BUSY_PAUSES_MAX
            }
        };
        let parts: (Arc<dyn Appender>, Arc<dyn Queryable>) =
            (Arc::<Tsdb>::clone(&store), Arc::<Tsdb>::clone(&store));
        let recorder = StoreRecorder::new(parts, ingest::RULES_ID.parse()?, epoch, wait);
        let queries = RuleQueries {
            api,
            at_once,
            runtime,
            tasks: tasks.clone(),
        };
        Ok(Self {
            rules,
            queries: Arc::new(queries),
            recorder: Arc::new(recorder),
            store,
            clock,
            tasks,
        })
    }

    /// Evaluates what is due, and again what late rows have changed, until `stop`; then waits for the evaluations under way.
    pub(crate) async fn run(self, stop: Token) {
        let service = Arc::new(self);
        let late = Arc::clone(&service).correct_late(stop.clone());
        let late = service.tasks.spawn("late rows of rules", late);
        service.run_live(&stop).await;
        if late.await.is_err() {
            tracing::error!("nobody sees to late rows of rules any more");
        }
    }

    async fn run_live(&self, stop: &Token) {
        let timer = Timer::new(Arc::clone(&self.clock));
        let permits = Permits::new("rule groups", GROUPS_AT_ONCE);
        loop {
            let now = TimestampMs::from(self.clock.wall());
            self.end_abandoned(now);
            for due in self.rules.take_due(now) {
                let Some(permit) = stop.run(permits.acquire(1)).await else {
                    break;
                };
                let (rules, queries) = (Arc::clone(&self.rules), Arc::clone(&self.queries));
                let recorder = Arc::clone(&self.recorder);
                let evaluating = self.tasks.spawn_blocking("rule group", move || {
                    rules.evaluate(due, &*queries, &*recorder);
                    drop(permit);
                });
                evaluating.detach();
            }
            let next = self.rules.next_due().map_or(LOOK_EVERY, |next| {
                let now = TimestampMs::from(self.clock.wall());
                Duration::from_millis(next.0.saturating_sub(now.0).max(1).unsigned_abs())
            });
            if stop.run(timer.sleep(next.min(LOOK_EVERY))).await.is_none() {
                break;
            }
        }
        drop(permits.acquire(GROUPS_AT_ONCE).await);
    }

    /// Evaluates again what late rows have changed, one group after the other, and rests as long as it works: live evaluation and queries of
    /// people come first.
    async fn correct_late(self: Arc<Self>, stop: Token) {
        let timer = Timer::new(Arc::clone(&self.clock));
        let now = || TimestampMs::from(self.clock.wall());
        while stop.run(timer.sleep(LOOK_EVERY)).await.is_some() {
            let begun = tokio::task::block_in_place(|| {
                self.rules.note_late(&self.store.take_late(), now());
                self.rules.begin_late(now())
            });
            let Some(mut pass) = begun else { continue };
            let walked = loop {
                let began = self.clock.monotonic();
                let (service, tasks) = (Arc::clone(&self), &self.tasks);
                let step = tasks.spawn_blocking("late rows of a rule group", move || {
                    let went = pass.step(&*service.queries, &*service.recorder);
                    (pass, went)
                });
                let went: Result<bool, String>;
                (pass, went) = match step.await {
                    Ok(stepped) => stepped,
                    Err(error) => {
                        tracing::error!(%error, "rules are not evaluated again until the next start");
                        return;
                    }
                };
                match went {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
                let worked = self.clock.monotonic().saturating_since(began);
                if stop.run(timer.sleep(worked)).await.is_none() {
                    // It is owed still.
                    return;
                }
            };
            self.end_late(&pass, walked, now());
        }
    }

    fn end_late(&self, pass: &LatePass, walked: Result<(), String>, now: TimestampMs) {
        if let Err(error) = &walked {
            tracing::warn!(
                error,
                "cannot evaluate rules again for late rows, it is tried again"
            );
        }
        tokio::task::block_in_place(|| self.rules.end_late(pass, walked.is_ok(), now));
    }

    fn end_abandoned(&self, now: TimestampMs) {
        let ended = tokio::task::block_in_place(|| self.rules.end_abandoned(now, &*self.recorder));
        if let Err(error) = ended {
            tracing::warn!(error, "series of rules that are gone are not ended yet");
        }
    }
}

impl fmt::Debug for RuleService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleService").finish_non_exhaustive()
    }
}

/// Has questions of rules answered as those of clients are, a bundle as one query. Called on threads that may block.
struct RuleQueries {
    api: Api,
    /// Bundles of the questions of one group that are answered at once.
    at_once: usize,
    runtime: Handle,
    tasks: Tasks,
}

impl Queries for RuleQueries {
    fn answer(&self, questions: Vec<Question>) -> Vec<Answer> {
        let answered = self.answer_bundles(bundles(questions, self.at_once));
        let mut answers = self.runtime.block_on(answered);
        answers.sort_by_key(|(number, _)| *number);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

impl RuleQueries {
    /// Returns the answers to all questions, each with its number.
    async fn answer_bundles(&self, bundles: Vec<Bundle>) -> Vec<(usize, Answer)> {
        let ask = |bundle: Bundle| {
            let (numbers, questions): (Vec<usize>, Vec<Question>) = bundle.into_iter().unzip();
            let api = self.api.clone();
            let asking =
                self.tasks.spawn(
                    "rules",
                    async move { api.answer_rules("rule", questions).await },
                );
            (numbers, asking)
        };
        let asking: Vec<_> = bundles.into_iter().map(ask).collect();
        let mut answers = Vec::new();
        for (numbers, asking) in asking {
            let of_bundle = asking.await.unwrap_or_else(|error| {
                Answer::refused(numbers.len(), &format!("the query failed: {error}"))
            });
            answers.extend(numbers.into_iter().zip(of_bundle));
        }
        answers
    }
}

impl fmt::Debug for RuleQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleQueries").finish_non_exhaustive()
    }
}

/// Shows what groups count, under Prometheus' names with our prefix; `rule_group` is the file and the name.
pub(crate) fn show_rules(registry: &Registry, rules: &Arc<Rules>) {
    let counter =
        |name, help| registry.counter_family(name, help, ["rule_group"], GROUPS_SHOWN_MAX);
    let gauge = |name, help| registry.gauge_family(name, help, ["rule_group"], GROUPS_SHOWN_MAX);
    let evaluations = counter("promontory_rule_evaluations_total", "Evaluations of rules.");
    let failures = counter(
        "promontory_rule_evaluation_failures_total",
        "Evaluations of rules that failed.",
    );
    let iterations = counter(
        "promontory_rule_group_iterations_total",
        "Evaluations of the group.",
    );
    let missed = counter(
        "promontory_rule_group_iterations_missed_total",
        "Evaluations of the group that were due while one was still running, or nobody could look.",
    );
    let refused = counter(
        "promontory_rule_samples_refused_total",
        "Results that the store refused.",
    );
    let at = gauge(
        "promontory_rule_group_last_evaluation_timestamp_seconds",
        "When the group was evaluated last.",
    );
    let took = gauge(
        "promontory_rule_group_last_duration_seconds",
        "How long the queries of the last evaluation took, added up.",
    );
    let samples = gauge(
        "promontory_rule_group_last_evaluation_samples",
        "Samples that the last evaluation gave.",
    );
    let interval = gauge(
        "promontory_rule_group_interval_seconds",
        "The time between two evaluations.",
    );
    let members = gauge("promontory_rule_group_rules", "Rules of the group.");
    let show_late = late_metrics(registry);
    let rules = Arc::downgrade(rules);
    registry.on_gather(move || {
        let Some(rules) = rules.upgrade() else { return };
        show_late(rules.late_counts());
        for view in rules.views() {
            let group = format!("{};{}", view.key.file.display(), view.key.name);
            let (group, counts) = ([group.as_str()], view.counts);
            evaluations
                .with(group)
                .raise_to(config_of::float(counts.evaluations));
            failures
                .with(group)
                .raise_to(config_of::float(counts.failures));
            iterations
                .with(group)
                .raise_to(config_of::float(counts.iterations));
            missed.with(group).raise_to(config_of::float(counts.missed));
            refused
                .with(group)
                .raise_to(config_of::float(counts.refused));
            at.with(group)
                .set(view.at.map_or(0.0, TimestampMs::as_seconds));
            took.with(group).set(view.took.as_secs_f64());
            samples.with(group).set_count(view.samples);
            interval.with(group).set(view.interval.as_secs_f64());
            members.with(group).set_count(view.rules.len());
        }
    });
}

/// Returns what shows what is counted of late rows.
fn late_metrics(registry: &Registry) -> impl Fn(LateCounts) + Send + Sync + use<> {
    let owed = registry.gauge(
        "promontory_rule_late_spans_owed",
        "Spans of time of which late rows came and for which rules are still to be evaluated again.",
    );
    let passes = registry.counter_family(
        "promontory_rule_late_passes_total",
        "Walks through the past for late rows, by how they ended.",
        ["result"],
        2,
    );
    let evaluations = registry.counter(
        "promontory_rule_late_evaluations_total",
        "Evaluations of groups as of a time gone by.",
    );
    let failures = registry.counter(
        "promontory_rule_late_evaluation_failures_total",
        "Evaluations of rules as of a time gone by that failed and left what there was.",
    );
    let corrected = registry.counter(
        "promontory_rule_late_samples_corrected_total",
        "Results that were replaced, added or taken back because of late rows.",
    );
    let dropped = registry.counter_family(
        "promontory_rule_late_spans_dropped_total",
        "Spans, or parts of them, for which rules are not evaluated again, by reason.",
        ["reason"],
        1,
    );
    move |counts| {
        owed.set_count(counts.owed);
        passes
            .with(["done"])
            .raise_to(config_of::float(counts.passes));
        passes
            .with(["error"])
            .raise_to(config_of::float(counts.broken));
        evaluations.raise_to(config_of::float(counts.evaluations));
        failures.raise_to(config_of::float(counts.failures));
        corrected.raise_to(config_of::float(counts.corrected));
        dropped
            .with(["too_old"])
            .raise_to(config_of::float(counts.too_old));
    }
}
