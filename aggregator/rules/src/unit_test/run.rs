//! Running tests: from step to step, as a rule manager would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use model::{Labels, Sample, TimestampMs, format_duration};
use promql::testscript::{series_labels, series_samples};
use promql::{Engine, EngineConfig, QueryOptions, QueryResult};
use storage::{MemoryStore, Unlimited};

use super::compare::{compare_alerts, compare_samples};
use super::{AlertCase, Case, Expected, ExpressionCase, Test, Tested, UnitTestOptions, UnitTests};
use crate::alert::{Alert, AlertState};
use crate::file::{FileOptions, GroupSpec, RuleFile, RuleSpec};
use crate::glob::glob;
use crate::group::Group;
use crate::recorder::MemoryRecorder;
use crate::rule::Health;
use crate::world::{DirectQueries, Settings, World, elements};

/// Series with their samples, the next to be loaded last.
type Waiting = Vec<(Labels, Vec<Sample>)>;

impl UnitTests {
    /// Runs the tests; `now` is the time since some fixed point.
    pub fn run(&self, options: &UnitTestOptions, now: &dyn Fn() -> Duration) -> Tested {
        let mut tested = Tested::default();
        let mut files: Vec<PathBuf> = Vec::new();
        for pattern in &self.rule_files {
            match glob(pattern) {
                Ok(found) if found.is_empty() => {
                    let pattern = pattern.display();
                    let note = format!("  WARNING: no file match pattern {pattern}");
                    tested.notes.push(note);
                }
                Ok(found) => files.extend(found),
                Err(error) => tested.refused.push(error.to_string()),
            }
        }
        if !tested.refused.is_empty() {
            return tested;
        }
        // A file that several patterns stand for has its groups once.
        let mut seen = BTreeSet::new();
        files.retain(|file| seen.insert(file.clone()));
        let rules = read_all(&files, options);
        for test in &self.tests {
            let wanted = options.run.is_empty()
                || options
                    .run
                    .iter()
                    .any(|pattern| pattern.is_match(&test.name));
            if !wanted {
                continue;
            }
            let (title, begun) = (test.title(), now());
            let mut running = Running::new(self, test, options);
            if options.debug {
                running.say(format!("DEBUG: Starting test {title}"));
            }
            running.run(&rules);
            if options.debug {
                let took = now().saturating_sub(begun);
                running.say(format!("DEBUG: Test {title} finished, took {took:?}"));
            }
            tested.notes.append(&mut running.notes);
            tested.cases.push(Case {
                name: title,
                failures: running.failures,
            });
        }
        tested
    }
}

/// A test under way.
struct Running<'a> {
    tests: &'a UnitTests,
    test: &'a Test,
    options: &'a UnitTestOptions,
    engine: Engine,
    store: MemoryStore,
    failures: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Running<'a> {
    fn new(tests: &'a UnitTests, test: &'a Test, options: &'a UnitTestOptions) -> Self {
        let config = EngineConfig {
            subquery_step: tests.interval,
            parser: options.parser,
            ..EngineConfig::default()
        };
        Self {
            tests,
            test,
            options,
            engine: Engine::new(config),
            store: MemoryStore::new(),
            failures: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn say(&mut self, note: String) {
        self.notes.push(note);
    }

    fn run(&mut self, rules: &Result<Vec<RuleFile>, Vec<String>>) {
        let settings = Settings {
            interval: self.test.step,
            external_labels: self.test.external_labels.clone(),
            external_url: self.test.external_url.clone(),
            ..Settings::default()
        };
        let waiting = self.series();
        let groups = self.groups(rules, &settings);
        let (Some(waiting), Some(groups)) = (waiting, groups) else {
            return;
        };
        if self.steps(waiting, groups, &settings) {
            for case in &self.test.expressions {
                self.check_expression(case);
            }
            if self.options.debug {
                self.dump();
            }
        }
    }

    fn series(&mut self) -> Option<Waiting> {
        let mut waiting = Vec::new();
        for (series, values) in &self.test.series {
            let described = series_labels(series).and_then(|labels| {
                let samples = series_samples(values, self.test.start, self.test.step)?;
                Ok((labels, samples))
            });
            match described {
                Ok((labels, mut samples)) => {
                    samples.reverse();
                    waiting.push((labels, samples));
                }
                Err(error) => self.failures.push(format!("series {series:?}: {error}")),
            }
        }
        self.failures.is_empty().then_some(waiting)
    }

    fn groups(
        &mut self,
        rules: &Result<Vec<RuleFile>, Vec<String>>,
        settings: &Settings,
    ) -> Option<Vec<Group>> {
        let files = match rules {
            Ok(files) => files,
            Err(errors) => {
                self.failures.extend_from_slice(errors);
                return None;
            }
        };
        let parser = self.options.parser;
        let mut groups: Vec<Group> = files
            .iter()
            .flat_map(|file| {
                let group = |spec: &GroupSpec| {
                    Group::new(file.path.clone(), spec.clone(), settings, parser)
                };
                file.groups.iter().map(group)
            })
            .collect();
        // Those that are not named come with the first.
        let rank = |group: &Group| {
            let named = self.tests.order.iter();
            let mut named = named.enumerate();
            named
                .find(|(_, name)| **name == group.key().name)
                .map_or(0, |(rank, _)| rank)
        };
        groups.sort_by_key(rank);
        Some(groups)
    }

    /// Goes from step to step; returns whether no rule failed.
    fn steps(&mut self, mut waiting: Waiting, mut groups: Vec<Group>, settings: &Settings) -> bool {
        let mut cases: BTreeMap<Duration, Vec<&AlertCase>> = BTreeMap::new();
        for case in &self.test.alerts {
            cases.entry(case.at).or_default().push(case);
        }
        let last = (self.test.alerts.iter().map(|case| case.at))
            .chain(self.test.expressions.iter().map(|case| case.at))
            .max()
            .unwrap_or_default();
        let (step, mut offset) = (self.tests.interval, Duration::ZERO);
        while offset <= last {
            let at = self.test.start.saturating_add(offset);
            self.load(&mut waiting, at);
            if !self.evaluate(&mut groups, at, offset, settings) {
                return false;
            }
            // What is expected between two steps is compared as the first of them left it.
            let next = offset.saturating_add(step);
            for due in cases.range(offset..next).map(|(_, due)| due) {
                for case in due {
                    let difference =
                        compare_alerts(case, fired(&groups, &case.name), self.options.diff);
                    if let Some(difference) = difference {
                        let difference = format!("{}{difference}", self.title());
                        self.failures.push(difference);
                    }
                }
            }
            offset = next;
        }
        true
    }

    fn load(&self, waiting: &mut Waiting, until: TimestampMs) {
        for (labels, samples) in waiting {
            while let Some(sample) = samples.pop_if(|sample| sample.at <= until) {
                self.store.insert(labels, sample.at, sample.value);
            }
        }
    }

    fn evaluate(
        &mut self,
        groups: &mut [Group],
        at: TimestampMs,
        offset: Duration,
        settings: &Settings,
    ) -> bool {
        let queries = DirectQueries {
            engine: &self.engine,
            store: &self.store,
        };
        let world = World {
            queries: &queries,
            recorder: &MemoryRecorder(self.store.clone()),
            settings,
        };
        let before = self.failures.len();
        for group in groups {
            group.evaluate(at, &world);
            for rule in group.rules() {
                if let Health::Bad(error) = &rule.last.health {
                    let (name, time) = (&rule.spec.name, format_duration(offset));
                    let failure = format!("    rule: {name}, time: {time}, err: {error}");
                    self.failures.push(failure);
                }
            }
        }
        self.failures.len() == before
    }

    fn check_expression(&mut self, case: &ExpressionCase) {
        let at = self.test.start.saturating_add(case.at);
        let options = QueryOptions::default();
        let output = self
            .engine
            .instant(&self.store, &case.text, at, &options, &Unlimited);
        let found = output
            .map_err(|error| error.to_string())
            .and_then(|output| elements(output.result));
        let subject = format!(
            "    expr: {:?}, time: {}",
            case.text,
            format_duration(case.at)
        );
        let compared = found.and_then(|found| compare_samples(case, found, self.tests.fuzzy));
        match compared {
            Ok(None) => {}
            Ok(Some(difference)) => {
                let failure = format!("{}{subject},{difference}", self.title());
                self.failures.push(failure);
            }
            Err(error) => self.failures.push(format!("{subject}, err: {error}")),
        }
    }

    /// Returns the line that names the test, unless it has no name of its own.
    fn title(&self) -> String {
        if self.test.name.is_empty() {
            return String::new();
        }
        format!("    name: {},\n", self.test.name)
    }

    /// Shows all samples that there are in the end.
    fn dump(&mut self) {
        let cases = self.test.alerts.iter().map(|case| case.at);
        let last = cases.chain(self.test.expressions.iter().map(|case| case.at));
        let span = last.max().unwrap_or_default() + Duration::from_secs(1);
        let text = format!("{{__name__=~\".+\"}}[{}]", format_duration(span));
        let at = self.test.start.saturating_add(span);
        let options = QueryOptions::default();
        let output = self
            .engine
            .instant(&self.store, &text, at, &options, &Unlimited);
        self.say(format!(
            "DEBUG: Dump of all data (input_series and rules) at {}:",
            format_duration(span)
        ));
        match output.map(|output| output.result) {
            Ok(QueryResult::Samples(all)) => {
                for series in all {
                    let mut note = format!("{} =>", series.labels);
                    for sample in series.samples {
                        note += &format!("\n{:?} @[{}]", sample.value, sample.at.0);
                    }
                    self.say(note);
                }
            }
            Ok(_) => {}
            Err(error) => self.say(format!(
                "DEBUG: Failed query exec, expr: {text:?}, err: {error}"
            )),
        }
    }
}

/// Reads all rule files, or returns all that is wrong with any of them.
fn read_all(files: &[PathBuf], options: &UnitTestOptions) -> Result<Vec<RuleFile>, Vec<String>> {
    let options = FileOptions {
        ignore_unknown_fields: options.ignore_unknown_fields,
        parser: options.parser,
    };
    let (mut read, mut errors) = (Vec::new(), Vec::new());
    for path in files {
        match std::fs::read_to_string(path) {
            Err(error) => errors.push(format!("{}: {error}", path.display())),
            Ok(text) => match RuleFile::parse(path, &text, options) {
                Ok(file) => read.push(file),
                Err(mistakes) => errors.extend(mistakes.0.iter().map(ToString::to_string)),
            },
        }
    }
    if errors.is_empty() {
        Ok(read)
    } else {
        Err(errors)
    }
}

/// Returns the alerts of a name that fire, in all groups.
fn fired(groups: &[Group], name: &str) -> Vec<Expected> {
    let rules = groups.iter().flat_map(Group::rules);
    let rules = rules.filter(|rule| rule.spec.name == name);
    rules
        .flat_map(|rule| {
            let tracked = rule.alerts.values().map(|tracked| &tracked.alert);
            let firing = tracked.filter(|alert| alert.state == AlertState::Firing);
            firing.map(|alert| compared(&rule.spec, alert))
        })
        .collect()
}

/// Returns an alert as it is compared. What its rule has as an annotation it has, too, be it empty.
fn compared(rule: &RuleSpec, alert: &Alert) -> Expected {
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let names = rule
        .alert()
        .into_iter()
        .flat_map(|spec| spec.annotations.keys());
    let value = |name: &String| alert.annotations.get(name).unwrap_or_default().to_owned();
    Expected {
        labels: alert.labels.iter().map(text).collect(),
        annotations: names.map(|name| (name.clone(), value(name))).collect(),
    }
}
