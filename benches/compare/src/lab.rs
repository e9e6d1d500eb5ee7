//! Experiments: what rows measure, each run once however many rows want it.

mod alerts;
mod containers;
mod gateway;
mod library;
mod many_agents;
mod native;
mod node;
mod queries;
mod remote;
mod rules;
mod streams;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use benches::{HOSTS, Host, Recording, Shape, Workload};
use config::Settings;
use model::{Labels, TimestampMs};

use crate::agents::now;
use crate::server::{Engine, Given, Programs, Server};
use crate::waiting::{Stopwatch, wait_until};
use crate::{http, programs, terminal};

pub(crate) use alerts::AlertsRun;
pub(crate) use containers::MadeContainers;
pub(crate) use gateway::{GROUPS_OF_A_NODE, Gateway, PushRun};
pub(crate) use library::{DayRun, MonthRun, SpanRun};
pub(crate) use many_agents::ManyAgents;
pub(crate) use native::NativeRun;
pub(crate) use node::{NodeRun, Nodes};
pub(crate) use queries::{Answered, Data, QueryRun, Question, When};
pub(crate) use remote::RemoteRun;
pub(crate) use rules::RulesRun;
pub(crate) use streams::{Stream, Streams, wall};

/// How long a killed server may take to answer again.
const RECOVERY_WITHIN: Duration = Duration::from_secs(600);

/// What experiments need, and what they have found.
pub(crate) struct Lab {
    pub(crate) programs: Programs,
    pub(crate) work: PathBuf,
    pub(crate) quick: bool,
    recording: Recording,
    native: RefCell<BTreeMap<u64, Found<NativeRun>>>,
    remote: RefCell<BTreeMap<(Engine, bool), Found<RemoteRun>>>,
    spans: RefCell<BTreeMap<bool, Found<SpanRun>>>,
    day: RefCell<BTreeMap<(), Found<DayRun>>>,
    nodes: RefCell<BTreeMap<(), Found<Nodes>>>,
}

/// A result that several rows look at; an error is kept as its text.
pub(crate) type Found<T> = Rc<Result<T, String>>;

/// How a server came back after SIGKILL. Wall time: waiting is what is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restart {
    /// Until it said that it was ready, and the last sample that it had acknowledged was answered.
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
}

/// A series to ask for, and the time of its last acknowledged sample.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) selector: String,
    pub(crate) last: TimestampMs,
}

impl Lab {
    /// Returns a lab with our programs, those of `packages` unless their folder is given.
    pub(crate) fn new(packages: &[&str], settings: &Settings) -> Result<Self> {
        let ours = match settings.optional_path("bin.dir") {
            Some(folder) => folder.to_owned(),
            None => programs::build(packages)?,
        };
        let work = settings.path("work").to_owned();
        std::fs::create_dir_all(&work)
            .with_context(|| format!("cannot make {}", work.display()))?;
        Ok(Self {
            programs: Programs {
                // Servers run in folders of their own.
                ours: std::path::absolute(ours)?,
                peers: !settings.switch("ours"),
            },
            work: std::path::absolute(work)?,
            quick: settings.switch("quick"),
            recording: Recording::load(settings.path("recording"))?,
            native: RefCell::default(),
            remote: RefCell::default(),
            spans: RefCell::default(),
            day: RefCell::default(),
            nodes: RefCell::default(),
        })
    }

    /// Returns the aggregator fed by agents, a row of the whole workload every so many seconds.
    pub(crate) fn native(&self, seconds: u64) -> Found<NativeRun> {
        once(&self.native, seconds, || native::run(self, seconds))
    }

    /// Returns an engine fed by remote write.
    pub(crate) fn remote(&self, engine: Engine, jitter: bool) -> Found<RemoteRun> {
        once(&self.remote, (engine, jitter), || {
            remote::run(self, engine, jitter)
        })
    }

    /// Returns our library fed in this process with two hours of rows.
    pub(crate) fn span(&self, jitter: bool) -> Found<SpanRun> {
        once(&self.spans, jitter, || library::run(self, jitter))
    }

    /// Returns our library with a day of rows, merged.
    pub(crate) fn day(&self) -> Found<DayRun> {
        once(&self.day, (), || library::run_day(self))
    }

    /// Returns what our library answers over thirty days.
    pub(crate) fn month(&self) -> Found<MonthRun> {
        Rc::new(library::run_month(self).map_err(|error| format!("{error:#}")))
    }

    /// Returns what an engine answered to these questions.
    pub(crate) fn queries(
        &self,
        engine: Engine,
        data: Data,
        questions: &[Question],
    ) -> Result<QueryRun, String> {
        queries::run(self, engine, data, questions).map_err(|error| format!("{error:#}"))
    }

    /// Returns what an engine's rules cost.
    pub(crate) fn rules(&self, engine: Engine) -> Result<RulesRun, String> {
        rules::run(self, engine).map_err(|error| format!("{error:#}"))
    }

    /// Returns what many alerts cost.
    pub(crate) fn alerts(&self, engine: Engine) -> Result<AlertsRun, String> {
        alerts::run(self, engine).map_err(|error| format!("{error:#}"))
    }

    pub(crate) fn workload(&self, shape: Shape) -> Result<Workload> {
        Workload::new(shape, &self.recording)
    }

    /// Returns the number of hosts of the whole workload.
    pub(crate) const fn hosts(&self) -> usize {
        if self.quick { HOSTS / 5 } else { HOSTS }
    }

    /// Returns the number of rows: two hours at 15 s.
    pub(crate) const fn rows(&self) -> usize {
        if self.quick { 120 } else { 480 }
    }

    /// Returns the hosts of a shape, whose `rows` rows end about now.
    pub(crate) fn hosts_until_now(
        &self,
        shape: Shape,
        hosts: usize,
        rows: usize,
    ) -> Result<Vec<Host>> {
        let workload = self.workload(shape)?;
        let span = shape.interval * u32::try_from(rows)?;
        // Whole seconds, so that a query can name every timestamp of an aligned row.
        let end = TimestampMs(now().0 / 1_000 * 1_000);
        let start = end.saturating_sub(span);
        Ok((0..hosts)
            .map(|number| workload.host(number, start))
            .collect())
    }

    pub(crate) fn start(&self, engine: Engine, given: Given<'_>) -> Result<Server> {
        terminal::say(&format!("  starting {}", engine.name()));
        Server::start(&self.programs, engine, given, self.work())
    }

    fn work(&self) -> &Path {
        &self.work
    }
}

/// Kills a server, starts it again, and measures how long the last acknowledged sample is away.
pub(crate) fn restart(server: &mut Server, witness: &Witness) -> Result<Restart> {
    server.kill()?;
    let watch = Stopwatch::start();
    server.launch()?;
    server.await_ready()?;
    let mut client = http::Client::new(server.web());
    let expression = format!("timestamp({})", witness.selector);
    let expected = witness.last.as_seconds();
    wait_until(
        "the last acknowledged sample",
        Duration::from_millis(5),
        RECOVERY_WITHIN,
        || {
            let found = server
                .query(&mut client, &expression, witness.last)
                .unwrap_or_default();
            Ok(found
                .iter()
                .any(|at| (at - expected).abs() < 0.000_5)
                .then_some(()))
        },
    )
    .with_context(|| format!("lost: {} at {expected}", witness.selector))?;
    let took = watch.elapsed();
    Ok(Restart {
        took,
        cpu: server.process()?.cpu()?,
    })
}

/// Returns the selector of just this series.
pub(crate) fn selector(labels: &Labels) -> String {
    let matchers = labels
        .iter()
        .filter(|(name, _)| *name != model::METRIC_NAME);
    let matchers: Vec<String> = matchers
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    format!(
        "{}{{{}}}",
        labels.metric_name().unwrap_or_default(),
        matchers.join(",")
    )
}

/// Returns time per thing, in nanoseconds.
pub(crate) fn nanos_per(time: Duration, things: u64) -> f64 {
    time.as_nanos() as f64 / things.max(1) as f64
}

fn once<K: Ord, T>(
    found: &RefCell<BTreeMap<K, Found<T>>>,
    key: K,
    run: impl FnOnce() -> Result<T>,
) -> Found<T> {
    if let Some(found) = found.borrow().get(&key) {
        return Rc::clone(found);
    }
    let result = Rc::new(run().map_err(|error| format!("{error:#}")));
    if let Err(error) = &*result {
        terminal::say(&format!("  {error}"));
    }
    found.borrow_mut().insert(key, Rc::clone(&result));
    result
}

/// Returns a figure of what was found.
pub(crate) fn figure<T>(found: &Found<T>, pick: impl FnOnce(&T) -> f64) -> Result<f64> {
    match &**found {
        Ok(run) => Ok(pick(run)),
        Err(error) => Err(anyhow!("{error}")),
    }
}
