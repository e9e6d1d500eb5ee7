//! The replay: from one due time to the next, through the cores that live runs use.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerting::{
    Config, Outcome, Pipeline, PipelineLimits, Posted, Remembered, SilenceError, SilenceRequest,
};
use model::{Matcher, TimeRange, TimestampMs};
use promql::ast::Expr;
use promql::{Engine, earliest, selectors};
use rules::{AlertSink, DirectQueries, GroupView, Notice, RuleFile, RuleKind, Rules, Settings};
use storage::Unlimited;

use crate::Told;
use crate::window::{History, Window};

/// The series in which rules keep their alerts.
const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];
/// Alerts that only just fire are told of within this, most of the time: what the warm-up has beside the time that alerts are pending.
const GROUPING: Duration = Duration::from_mins(10);

/// What is replayed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rules. A group is due at times that its file's path and its name give, as in a live run.
    pub files: Vec<RuleFile>,
    /// What groups have in common.
    pub settings: Settings,
    /// Who is told.
    pub config: Arc<Config>,
    /// Under which people reach us.
    pub external_url: String,
    /// Silences of the time; their names do not matter.
    pub silences: Vec<SilenceRequest>,
    /// Notifications in this time are told of.
    pub range: TimeRange,
    /// For so long before it rules are evaluated already, so that what fires and was told is known when it begins.
    pub warm_up: Duration,
    /// So much of history is read at once.
    pub chunk: Duration,
    /// Samples held at once; a replay that needs more ends with an error.
    pub samples_max: usize,
}

impl Plan {
    /// Returns the warm-up after which no alert that fires is new: the longest that an alert of the rules is pending and fires on, and a
    /// while for its group.
    pub fn usual_warm_up(files: &[RuleFile]) -> Duration {
        let rules = files.iter().flat_map(|file| &file.groups);
        let alerts = rules
            .flat_map(|group| &group.rules)
            .filter_map(|rule| rule.alert());
        let longest = alerts.map(|alert| alert.hold + alert.keep_firing_for).max();
        longest.unwrap_or_default() + GROUPING
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// History cannot be read.
    #[error("cannot read history: {0}")]
    History(String),
    /// A rule asks for something that cannot be.
    #[error("rule {rule}: {source}")]
    Rule {
        /// Its name.
        rule: String,
        /// What it asks for.
        #[source]
        source: promql::QueryError,
    },
    /// A silence is none.
    #[error("a silence cannot be set")]
    Silence(#[source] SilenceError),
    /// More history is needed at once than may be held.
    #[error(
        "the rules look at more than {limit} samples at once around {}; take a shorter chunk, or fewer rules, or allow more",
        promql::number::rfc3339(at.0)
    )]
    TooMuch {
        /// The bound.
        limit: usize,
        /// When.
        at: TimestampMs,
    },
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The time that it stands at.
    pub at: TimestampMs,
    /// Samples of history read so far.
    pub read: u64,
}

/// A replay under way, or done.
#[derive(Debug)]
pub struct Backtest {
    rules: Rules,
    sink: Arc<Sink>,
    engine: Engine,
    pipeline: Pipeline,
    window: Window,
    horizon: Horizon,
    range: TimeRange,
    chunk: Duration,
    samples_max: usize,
    read: u64,
}

/// What is read of history, and how far it was.
#[derive(Debug)]
struct Horizon {
    matcher_sets: Vec<Vec<Matcher>>,
    expressions: Vec<Looking>,
    /// What rules record; from `begin` on, history of it is left out.
    recorded: BTreeSet<String>,
    begin: TimestampMs,
    /// All is read before this.
    read_until: TimestampMs,
}

/// A rule, and what it looks at.
#[derive(Debug)]
struct Looking {
    rule: String,
    expr: Arc<Expr>,
    query_offset: Duration,
}

impl Backtest {
    /// Prepares a replay.
    pub fn new(plan: Plan, engine: Engine) -> Result<Self, BacktestError> {
        let Plan {
            files, settings, ..
        } = plan;
        let begin = plan.range.start.saturating_sub(plan.warm_up);
        let horizon = Horizon::new(&files, &settings, begin, &engine)?;
        let mut pipeline = Pipeline::new(
            plan.config,
            plan.external_url,
            PipelineLimits {
                // Receivers answer at once: none has to wait for another.
                attempts_per_lane: usize::MAX,
                ..PipelineLimits::default()
            },
        );
        for (number, silence) in plan.silences.into_iter().enumerate() {
            let request = SilenceRequest {
                id: None,
                ..silence
            };
            if request.ends_at > begin {
                let set = pipeline.set_silence(request, format!("silence-{number}"), begin);
                set.map_err(BacktestError::Silence)?;
            }
        }
        let sink = Arc::new(Sink::default());
        let telling: Arc<dyn AlertSink> = Arc::<Sink>::clone(&sink);
        let rules = Rules::new(None, telling, engine.config().parser);
        // Without a database nothing can fail.
        rules.load(files, settings, begin).unwrap_or_default();
        Ok(Self {
            rules,
            sink,
            engine,
            pipeline,
            window: Window::default(),
            horizon,
            range: plan.range,
            chunk: plan.chunk,
            samples_max: plan.samples_max,
            read: 0,
        })
    }

    /// Goes through the whole time; hands over what is told in it, in order, and says at each chunk of history how far it is.
    pub fn run(
        &mut self,
        history: &dyn History,
        told: &mut dyn FnMut(Told),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), BacktestError> {
        loop {
            let next = self.pipeline.next_poll();
            let next = self.rules.next_due().map_or(next, |due| due.min(next));
            // The pipeline wants to tidy up even before it begins.
            let now = next.max(self.horizon.begin);
            if now > self.range.end {
                return Ok(());
            }
            // Rules that select nothing need no history.
            if now >= self.horizon.read_until && !self.horizon.matcher_sets.is_empty() {
                self.read(history, now)?;
                progress(Progress {
                    at: now,
                    read: self.read,
                });
            }
            self.window.stand_at(now);
            self.evaluate(now);
            self.tell(now, told);
        }
    }

    /// Returns the pipeline as it stands: its ledger says what happened to every alert.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Returns the groups of rules as they stand: how often they failed, and why they did last.
    pub fn groups(&self) -> Vec<Arc<GroupView>> {
        self.rules.views()
    }

    /// Reads the next chunk of history, and forgets what no rule looks at any more.
    fn read(&mut self, history: &dyn History, now: TimestampMs) -> Result<(), BacktestError> {
        let horizon = &mut self.horizon;
        let is_first = now == horizon.begin || self.read == 0;
        let looked_at = horizon.earliest(now, &self.engine)?;
        self.window.forget_before(looked_at);
        let start = if is_first {
            looked_at
        } else {
            horizon.read_until
        };
        let end = now.saturating_add(self.chunk);
        let range = TimeRange::new(start, TimestampMs(end.0.saturating_sub(1)));
        let (window, limit) = (&self.window, self.samples_max);
        let mut read = 0;
        let mut is_too_much = false;
        history
            .read(&horizon.matcher_sets, range, &mut |labels, at, value| {
                let name = labels.metric_name().unwrap_or_default();
                let is_recorded = at >= horizon.begin && horizon.recorded.contains(name);
                if is_recorded || is_too_much {
                    return;
                }
                read += u64::from(window.add(labels, at, value));
                is_too_much = window.samples() > limit;
            })
            .map_err(BacktestError::History)?;
        horizon.read_until = end;
        self.read += read;
        if is_too_much {
            return Err(BacktestError::TooMuch { limit, at: now });
        }
        Ok(())
    }

    fn evaluate(&mut self, now: TimestampMs) {
        let queries = DirectQueries {
            engine: &self.engine,
            store: &self.window,
        };
        for due in self.rules.take_due(now) {
            self.rules.evaluate(due, &queries, &self.window);
            let notices = self.sink.take();
            self.pipeline.take(notices.iter().map(posted), now);
        }
    }

    fn tell(&mut self, now: TimestampMs, told: &mut dyn FnMut(Told)) {
        loop {
            let attempts = self.pipeline.poll(now);
            if attempts.is_empty() {
                break;
            }
            for attempt in attempts {
                if self.range.contains(now) {
                    told(Told::new(now, &attempt.notification));
                }
                let outcome = Outcome::Delivered {
                    remembered: Remembered::new(),
                };
                self.pipeline.finished(attempt.id, outcome, now);
            }
        }
        // Nothing here survives.
        drop(self.pipeline.drain_changes());
    }
}

impl Horizon {
    fn new(
        files: &[RuleFile],
        settings: &Settings,
        begin: TimestampMs,
        engine: &Engine,
    ) -> Result<Self, BacktestError> {
        let mut recorded: BTreeSet<String> = ALERT_SERIES.map(str::to_owned).into();
        let mut matcher_sets: Vec<Vec<Matcher>> = Vec::new();
        let mut expressions = Vec::new();
        for group in files.iter().flat_map(|file| &file.groups) {
            for rule in &group.rules {
                let found = selectors(&rule.text, engine.config().parser, &Unlimited);
                for matchers in found.map_err(wrong(&rule.name))? {
                    if !matcher_sets.contains(&matchers) {
                        matcher_sets.push(matchers);
                    }
                }
                expressions.push(Looking {
                    rule: rule.name.clone(),
                    expr: Arc::clone(&rule.expr),
                    query_offset: group.query_offset.unwrap_or(settings.query_offset),
                });
                if matches!(rule.kind, RuleKind::Recording) {
                    recorded.insert(rule.name.clone());
                }
            }
        }
        Ok(Self {
            matcher_sets,
            expressions,
            recorded,
            begin,
            read_until: TimestampMs::MIN,
        })
    }

    /// Returns a time before all samples that rules look at from `now` on.
    fn earliest(&self, now: TimestampMs, engine: &Engine) -> Result<TimestampMs, BacktestError> {
        let mut found = now;
        for looking in &self.expressions {
            let at = now.saturating_sub(looking.query_offset);
            let of_rule = earliest(&looking.expr, at, engine.config());
            found = found.min(of_rule.map_err(wrong(&looking.rule))?);
        }
        Ok(found)
    }
}

fn wrong(rule: &str) -> impl FnOnce(promql::QueryError) -> BacktestError {
    move |source| BacktestError::Rule {
        rule: rule.to_owned(),
        source,
    }
}

/// Keeps what rules tell until it is taken.
#[derive(Debug, Default)]
struct Sink(Mutex<Vec<Notice>>);

impl Sink {
    fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AlertSink for Sink {
    fn notify(&self, notices: Vec<Notice>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(notices);
    }
}

/// Returns what alerting takes of a notice of rules.
pub fn posted(notice: &Notice) -> Posted<'_> {
    Posted {
        labels: notice.labels.iter().collect(),
        annotations: notice.annotations.iter().collect(),
        starts_at: Some(notice.starts_at),
        ends_at: Some(notice.ends_at),
        generator_url: notice.generator_url.as_str().into(),
    }
}

#[cfg(test)]
mod tests;
