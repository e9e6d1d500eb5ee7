//! Unit tests of rules, in promtool's format: series come in, rules are evaluated from step to step, alerts and expressions are compared.
//!
//! A test runs on a store in memory of its own. At each step the samples up to then are loaded, and every group is evaluated, in order;
//! alerts are compared as they stand after the step, expressions at the end.

mod compare;
mod junit;
mod read;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Mistakes;
use model::{Labels, TimestampMs};
use promql::ParserOptions;

pub use self::junit::Junit;

/// How tests are run.
#[derive(Debug, Default)]
pub struct UnitTestOptions {
    /// Only tests whose name one of these is found in; all when there is none.
    pub run: Vec<regex::Regex>,
    /// Show alerts that differ line by line.
    pub diff: bool,
    /// Say what runs, and show all samples at the end.
    pub debug: bool,
    /// Take rule files with fields that nobody knows.
    pub ignore_unknown_fields: bool,
    /// What expressions may use.
    pub parser: ParserOptions,
}

/// What a file of tests came to.
#[derive(Clone, Debug, Default)]
pub struct Tested {
    /// What is to be said beside: warnings, and what [`UnitTestOptions::debug`] asks for.
    pub notes: Vec<String>,
    /// Why no test was run.
    pub refused: Vec<String>,
    /// The tests that were run.
    pub cases: Vec<Case>,
}

/// What a test came to.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, or its place.
    pub name: String,
    /// What was not as expected.
    pub failures: Vec<String>,
}

impl Tested {
    /// Returns everything that went wrong.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        let of_cases = self.cases.iter().flat_map(|case| &case.failures);
        self.refused.iter().chain(of_cases).map(String::as_str)
    }

    /// Whether nothing went wrong.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none()
    }
}

/// The tests of a file.
#[derive(Debug)]
pub struct UnitTests {
    /// As they are written: patterns, relative to the file.
    rule_files: Vec<PathBuf>,
    interval: Duration,
    /// Groups named here are evaluated in this order.
    order: Vec<String>,
    fuzzy: bool,
    tests: Vec<Test>,
}

/// One test.
#[derive(Debug)]
struct Test {
    /// As it is written; it may be empty.
    name: String,
    /// Its place in the file, from 0.
    place: usize,
    /// Between two samples of a series.
    step: Duration,
    start: TimestampMs,
    series: Vec<(String, String)>,
    alerts: Vec<AlertCase>,
    expressions: Vec<ExpressionCase>,
    external_labels: Labels,
    external_url: String,
}

/// Which alerts of a name fire at a time.
#[derive(Debug)]
struct AlertCase {
    at: Duration,
    name: String,
    expected: Vec<Expected>,
}

/// Labels and annotations of an alert; those with an empty value are there, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    labels: Texts,
    annotations: Texts,
}

type Texts = BTreeMap<String, String>;

/// What an expression comes to at a time.
#[derive(Debug)]
struct ExpressionCase {
    at: Duration,
    text: String,
    expected: Vec<ExpectedSample>,
}

#[derive(Debug)]
struct ExpectedSample {
    labels: String,
    value: f64,
    histogram: Option<String>,
}

impl Test {
    /// Returns its name, or its place when it has none.
    fn title(&self) -> String {
        if self.name.is_empty() {
            format!("unnamed#{}", self.place)
        } else {
            self.name.clone()
        }
    }
}

impl UnitTests {
    /// Reads the text of a file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Mistakes> {
        read::read(path, text)
    }

    /// Reads a file and runs its tests; `now` is the time since some fixed point.
    pub fn run_file(path: &Path, options: &UnitTestOptions, now: &dyn Fn() -> Duration) -> Tested {
        let refused = |refused| Tested {
            refused,
            ..Tested::default()
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return refused(vec![format!("{}: {error}", path.display())]),
        };
        match Self::parse(path, &text) {
            Ok(tests) => tests.run(options, now),
            Err(mistakes) => refused(mistakes.0.iter().map(ToString::to_string).collect()),
        }
    }
}
