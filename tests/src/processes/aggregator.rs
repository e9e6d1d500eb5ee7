//! An aggregator as a process.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::binaries::{PROMONTORY, binary, tool};
use super::http::{get, metric, query};
use super::memory_limit::MemoryLimit;
use super::ports::free_port;
use super::process::{Process, clean};
use super::waiting::{PATIENCE, wait_until};

/// `promontory aggregator`, with a data folder and ports that stay its own from one start to the next.
#[derive(Debug)]
pub struct Aggregator {
    // First, so that it ends before its folder goes.
    process: Option<Process>,
    folder: TempDir,
    data: PathBuf,
    flags: Vec<String>,
    web: String,
    ingest: String,
    starts: u32,
    memory_limit: Option<MemoryLimit>,
}

impl Aggregator {
    /// Starts an aggregator with an empty data folder, and waits until it is ready.
    pub fn new(flags: &[&str]) -> Self {
        let mut aggregator = Self::stopped(flags);
        aggregator.start();
        aggregator.await_ready();
        aggregator
    }

    /// Returns an aggregator that was never started.
    pub fn stopped(flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let address = || format!("127.0.0.1:{}", free_port());
        Self {
            process: None,
            data: folder.path().join("data"),
            folder,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            web: address(),
            ingest: address(),
            starts: 0,
            memory_limit: None,
        }
    }

    /// Bounds the memory of an aggregator that was never started.
    #[must_use]
    pub fn within(mut self, limit: MemoryLimit) -> Self {
        self.memory_limit = Some(limit);
        self
    }

    /// Returns the bound on its memory.
    pub const fn memory_limit(&self) -> Option<&MemoryLimit> {
        self.memory_limit.as_ref()
    }

    /// Moves the data folder of an aggregator that was never started.
    #[must_use]
    pub fn at(mut self, data: impl Into<PathBuf>) -> Self {
        self.data = data.into();
        self
    }

    /// Starts it; does not wait.
    pub fn start(&mut self) {
        self.starts += 1;
        let (program, home) = (binary(PROMONTORY), self.folder.path());
        let mut command = match &self.memory_limit {
            Some(limit) => limit.command(&program, home),
            None => clean(&program, home),
        };
        command
            .arg("aggregator")
            .arg("--storage.path")
            .arg(&self.data);
        command.args(["--web.listen-address", &self.web]);
        command.args(["--ingest.listen-address", &self.ingest]);
        command.args(&self.flags);
        let name = format!("aggregator-{}", self.starts);
        self.process = Some(Process::start(&mut command, self.folder.path(), &name));
    }

    /// Waits until agents may come.
    #[track_caller]
    pub fn await_ready(&mut self) {
        self.process().await_line("agents on");
    }

    /// Returns whether it says of itself that it is ready.
    pub fn says_ready(&self) -> bool {
        get(&self.web, "/-/ready").is_some_and(|answer| answer.status == 200)
    }

    /// Returns the process of the latest start.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it was started")
    }

    /// Ends it at once, by SIGKILL.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// Stops it in order.
    #[track_caller]
    pub fn stop(&mut self) {
        let code = self.process().stop();
        assert_eq!(code, 0, "the aggregator stops cleanly");
    }

    /// Returns where HTTP is served.
    pub fn web(&self) -> &str {
        &self.web
    }

    /// Returns `--url` of the tools.
    pub fn url(&self) -> String {
        format!("http://{}", self.web)
    }

    /// Returns where agents connect.
    pub fn ingest(&self) -> &str {
        &self.ingest
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns a folder that lives as long as this, for whatever a test needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a join token, with further flags.
    #[track_caller]
    pub fn token(&self, terms: &[&str]) -> String {
        let data = self.data.to_string_lossy();
        let mut arguments = vec!["token", "create", "--storage.path", &*data];
        arguments.extend(terms);
        tool(&arguments).success().trim().to_owned()
    }

    /// Returns the agents that `/api/v1/agents` lists; none while nobody answers.
    pub fn agents(&self) -> Vec<Value> {
        let answer = get(&self.web, "/api/v1/agents").map(|answer| answer.json());
        let agents = answer.and_then(|answer| answer["data"]["agents"].as_array().cloned());
        agents.unwrap_or_default()
    }

    /// Returns what `/api/v1/agents` says of one agent.
    pub fn agent(&self, id: &str) -> Option<Value> {
        self.agents().into_iter().find(|agent| agent["agent"] == id)
    }

    /// Returns whether an agent is connected and its last row is young.
    pub fn is_fresh(&self, id: &str) -> bool {
        self.agent(id).is_some_and(|agent| {
            agent["connected"] == true && agent["lagSeconds"].as_f64().is_some_and(|lag| lag < 1.5)
        })
    }

    /// Waits until an agent's rows are stored as they are made.
    #[track_caller]
    pub fn await_fresh(&self, id: &str) {
        wait_until(PATIENCE, &format!("fresh rows of {id}"), || {
            self.is_fresh(id).then_some(())
        });
    }

    /// Returns the value of one of its own metrics; 0 when it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let answer = get(&self.web, "/metrics").map(|answer| answer.body);
        metric(&answer.unwrap_or_default(), series).unwrap_or(0.0)
    }

    /// Evaluates an expression now: the values of the result; none while nobody answers.
    pub fn query(&self, expression: &str) -> Vec<f64> {
        query(&self.web, expression)
    }
}
