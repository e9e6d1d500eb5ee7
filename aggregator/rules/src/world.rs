//! What evaluation asks of the world outside: answers, a place for results, settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, Matcher, TimestampMs, Value};
use promql::ast::Expr;
use promql::{Engine, Outcome, QueryResult, VectorSample};
use storage::{Queryable, Unlimited};

use crate::late::LateSettings;

/// An expression to evaluate at an instant.
#[derive(Clone, Debug)]
pub struct Question {
    /// What.
    pub expr: Arc<Expr>,
    /// The same as text, for logs.
    pub text: Arc<str>,
    /// When.
    pub at: TimestampMs,
    /// Of those that are asked together, the first with which it has a part in common, be it through others: that part is evaluated once
    /// where both are evaluated together. Its own number when there is none.
    pub kin: usize,
    /// How long it took last time; `None`: nobody knows.
    pub took: Option<Duration>,
}

/// What came of a question.
#[derive(Debug)]
pub struct Answer {
    /// The series, or why there are none.
    pub result: Result<Vec<VectorSample>, String>,
    /// How long it took.
    pub took: Duration,
}

impl Answer {
    /// Returns the answers to so many questions none of which could be asked.
    pub fn refused(count: usize, why: &str) -> Vec<Self> {
        let refused = || Self {
            result: Err(why.to_owned()),
            took: Duration::ZERO,
        };
        std::iter::repeat_with(refused).take(count).collect()
    }
}

/// Answers questions. Budgets, deadlines and how many are evaluated at once are its own.
pub trait Queries: Send + Sync + fmt::Debug {
    /// Returns the answers in the order of the questions, which are of one instant and free of each other.
    fn answer(&self, questions: Vec<Question>) -> Vec<Answer>;
}

/// A result to store.
#[derive(Clone, Debug)]
pub struct RecordedSample {
    /// The series.
    pub labels: Labels,
    /// When.
    pub at: TimestampMs,
    /// What; a stale mark where a series has ended.
    pub value: Value,
}

/// Stores results.
pub trait Recorder: Send + Sync + fmt::Debug {
    /// Stores samples and returns when questions see them, with the number of those refused; an error says that none is stored.
    fn record(&self, samples: &[RecordedSample]) -> Result<u64, String>;

    /// Returns the samples at just `at`, stale marks among them, of the series that satisfy all matchers.
    fn recorded(
        &self,
        matchers: &[Matcher],
        at: TimestampMs,
    ) -> Result<Vec<RecordedSample>, String>;

    /// Puts samples in the place of those stored at their times; one of [`VOID_NAN`](model::VOID_NAN) in the place of which there is
    /// nothing. Returns when questions see that, with the number of those refused; an error says that some may be as they were.
    fn correct(&self, samples: &[RecordedSample]) -> Result<u64, String>;
}

/// What all groups have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The interval of groups that have none of their own.
    pub interval: Duration,
    /// The query offset of groups that have none of their own.
    pub query_offset: Duration,
    /// Added to alerts where they have no such label.
    pub external_labels: Labels,
    /// Under which people reach us.
    pub external_url: String,
    /// Between two notices of the same alert.
    pub resend_delay: Duration,
    /// What becomes of late rows.
    pub late: LateSettings,
}

impl Default for Settings {
    /// Returns Prometheus' defaults.
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(1),
            query_offset: Duration::ZERO,
            external_labels: Labels::empty(),
            external_url: String::new(),
            resend_delay: Duration::from_mins(1),
            late: LateSettings::default(),
        }
    }
}

/// All that an evaluation is given.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// Who answers.
    pub queries: &'a dyn Queries,
    /// Who stores.
    pub recorder: &'a dyn Recorder,
    /// Settings.
    pub settings: &'a Settings,
}

/// Answers questions one after another, without bounds and without measuring: for tests and tools.
#[derive(Debug)]
pub struct DirectQueries<'a> {
    /// Evaluates.
    pub engine: &'a Engine,
    /// Over this.
    pub store: &'a dyn Queryable,
}

impl Queries for DirectQueries<'_> {
    fn answer(&self, questions: Vec<Question>) -> Vec<Answer> {
        let Some(at) = questions.first().map(|question| question.at) else {
            return Vec::new();
        };
        let exprs: Vec<&Expr> = questions.iter().map(|question| &*question.expr).collect();
        let answer = |outcome: Outcome| Answer {
            result: outcome
                .output
                .map_err(|error| error.to_string())
                .and_then(|output| elements(output.result)),
            took: Duration::ZERO,
        };
        let mut answers = Vec::with_capacity(exprs.len());
        while answers.len() < exprs.len() {
            let left = &exprs[answers.len()..];
            match (self.engine).instant_exprs(self.store, left, at, &Unlimited) {
                Ok(outcomes) => answers.extend(outcomes.into_iter().map(answer)),
                Err(error) => answers.extend(Answer::refused(left.len(), &error.to_string())),
            }
        }
        answers
    }
}

/// Returns what a rule takes of a query's result: the series of a vector, or a scalar as one without labels.
pub fn elements(result: QueryResult) -> Result<Vec<VectorSample>, String> {
    match result {
        QueryResult::Vector { samples, .. } => Ok(samples),
        QueryResult::Scalar { value, .. } => Ok(vec![VectorSample {
            labels: Labels::empty(),
            value: Value::Float(value),
        }]),
        QueryResult::String { .. } | QueryResult::Grid { .. } | QueryResult::Samples(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}
