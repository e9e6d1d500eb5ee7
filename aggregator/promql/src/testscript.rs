//! Test scripts in the language of Prometheus' `promqltest`: `load` data, `eval` expressions, compare.
//!
//! [`run`] executes a script on a [`storage::MemoryStore`], with the settings that the language prescribes by default
//! ([`settings`]). Each instant evaluation is repeated as the language demands: with `@` pinned to its time at other times, and
//! as the middle step of a range query; a statement passes when all of these do. [`run_timed`] also says what parsing and evaluating
//! took, by the caller's clock.

mod bench;
mod compare;
mod describe;
mod expectation;
mod load;
mod pin;
mod script;
mod series;
mod statement;

pub use self::describe::{describe_histogram, series_labels, series_samples, series_value};

use std::time::Duration;

use storage::MemoryStore;

use self::bench::Bench;
use self::script::{Command, Line};
use self::statement::Statement;
use crate::{Engine, EngineConfig};

/// What a script came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Statements that did as expected.
    pub passed: usize,
    /// Statements that did not.
    pub failed: usize,
    /// What went wrong, in order of lines; a bad `load` is among these without counting as a statement.
    pub failures: Vec<Failure>,
    /// What the evaluations cost, re-runs included.
    pub cost: Cost,
}

/// What evaluations cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Queries run: an instant statement is several.
    pub queries: u64,
    /// From texts to trees.
    pub parse: Duration,
    /// From trees to results.
    pub evaluate: Duration,
}

impl Cost {
    /// Adds `other`.
    pub fn merge(&mut self, other: Self) {
        self.queries += other.queries;
        self.parse = self.parse.saturating_add(other.parse);
        self.evaluate = self.evaluate.saturating_add(other.evaluate);
    }
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the statement, from 1.
    pub line: usize,
    /// What was expected and what came.
    pub what: String,
}

impl Report {
    /// Adds all of `other`.
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.cost.merge(other.cost);
    }
}

/// Returns the engine settings that test scripts assume.
pub fn settings() -> EngineConfig {
    EngineConfig {
        lookback: Duration::from_secs(300),
        subquery_step: Duration::from_secs(60),
        samples_max: 10_000,
        delayed_name_removal: true,
        start_timestamps: true,
        ..EngineConfig::default()
    }
}

/// Runs a script.
pub fn run(text: &str, config: &EngineConfig) -> Report {
    run_timed(text, config, &|| Duration::ZERO)
}

/// Runs a script and measures it: `now` is the time since some fixed point.
pub fn run_timed(text: &str, config: &EngineConfig, now: &dyn Fn() -> Duration) -> Report {
    let bench = Bench::new(Engine::new(config.clone()), now);
    let mut report = Report::default();
    let mut loaded = load::Loaded::default();
    let mut store: Option<MemoryStore> = None;
    let lines = script::lines(text);
    let mut at = 0;
    while let Some(Line { number, text }) = lines.get(at) {
        let number = *number;
        if text.is_empty() {
            at += 1;
            continue;
        }
        let (command, next) = script::command(&lines, at);
        at = next;
        let failed = |what: String| Failure { line: number, what };
        match command {
            None => report
                .failures
                .push(failed(format!("unknown statement {text:?}"))),
            Some(Command::Clear) => {
                loaded = load::Loaded::default();
                store = None;
            }
            Some(Command::Load { head, body }) => {
                store = None;
                if let Err(what) = loaded.load(head, body) {
                    report.failures.push(failed(what));
                }
            }
            Some(Command::Eval { head, body }) => {
                let store = store.get_or_insert_with(|| loaded.store());
                let outcome = Statement::parse(head, body)
                    .and_then(|statement| statement.check(&bench, store));
                match outcome {
                    Ok(()) => report.passed += 1,
                    Err(what) => {
                        report.failed += 1;
                        report.failures.push(failed(format!("{head}: {what}")));
                    }
                }
            }
        }
    }
    report.cost = bench.cost();
    report
}

#[cfg(test)]
mod tests;
