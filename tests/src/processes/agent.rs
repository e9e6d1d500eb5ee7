//! An agent as a process.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::aggregator::Aggregator;
use super::binaries::{AGENT, binary};
use super::http::{get, metric};
use super::process::{Process, clean};

/// `promontory-agent run`, with a spool that stays its own from one start to the next.
#[derive(Debug)]
pub struct Agent {
    // First, so that it ends before its folder goes.
    process: Option<Process>,
    folder: TempDir,
    spool: PathBuf,
    id: String,
    aggregator: String,
    flags: Vec<String>,
    starts: u32,
}

impl Agent {
    /// Joins an aggregator with a new token, and waits until its rows arrive.
    pub fn join(aggregator: &Aggregator, id: &str, flags: &[&str]) -> Self {
        let mut agent = Self::stopped(aggregator.ingest(), id, flags);
        agent.start_with(&aggregator.token(&[]));
        aggregator.await_fresh(id);
        agent
    }

    /// Returns an agent that was never started.
    pub fn stopped(aggregator: &str, id: &str, flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self {
            process: None,
            spool: folder.path().join("spool"),
            folder,
            id: id.to_owned(),
            aggregator: aggregator.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            starts: 0,
        }
    }

    /// Starts it with a join token.
    pub fn start_with(&mut self, token: &str) {
        self.start_process(&["--token", token]);
    }

    /// Starts it with what it keeps beside its spool.
    pub fn start(&mut self) {
        self.start_process(&[]);
    }

    fn start_process(&mut self, more: &[&str]) {
        self.starts += 1;
        let mut command = clean(&binary(AGENT), self.folder.path());
        command.args(["run", "--aggregator", &self.aggregator]);
        command.args(["--agent.id", &self.id]);
        command.arg("--spool.path").arg(&self.spool);
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        command.args(&self.flags).args(more);
        let name = format!("agent-{}-{}", self.id, self.starts);
        self.process = Some(Process::start(&mut command, self.folder.path(), &name));
    }

    /// Lets the next start go to another aggregator.
    pub fn turn_to(&mut self, aggregator: &str) {
        aggregator.clone_into(&mut self.aggregator);
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
        assert_eq!(code, 0, "agent {} stops cleanly", self.id);
    }

    /// Returns its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the folder of its spool.
    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// Returns the name of its spool's cursor: where it sends to.
    pub fn aggregator(&self) -> &str {
        &self.aggregator
    }

    /// Returns the value of one of its own metrics; 0 when it is not there, or the agent does not answer.
    pub fn metric(&mut self, series: &str) -> f64 {
        let Some(web) = self.web() else { return 0.0 };
        let answer = get(&web, "/metrics/self").map(|answer| answer.body);
        metric(&answer.unwrap_or_default(), series).unwrap_or(0.0)
    }

    /// Returns where it serves HTTP, once it has said so.
    pub fn web(&mut self) -> Option<String> {
        let said = self.process().output();
        let line = said
            .lines()
            .find(|line| line.contains("listening for HTTP"))?;
        let (_, rest) = line.split_once("address=")?;
        let end = rest.find([' ', '"']).unwrap_or(rest.len());
        rest.get(..end).map(str::to_owned)
    }
}
