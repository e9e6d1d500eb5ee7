//! `promontory up` as a process.

use std::path::Path;
use std::time::Duration;

use clock::Monotonic;
use tempfile::TempDir;

use super::binaries::{PROMONTORY, binary};
use super::http::query;
use super::ports::free_port;
use super::process::{Process, clean};
use super::waiting::{PATIENCE, now, wait_until};

/// Aggregator and agent in one process.
#[derive(Debug)]
pub struct Up {
    // First, so that it ends before its folder goes.
    process: Process,
    began: Monotonic,
    web: String,
    _folder: TempDir,
}

impl Up {
    /// Starts it in an empty folder; does not wait.
    pub fn new(flags: &[&str]) -> Self {
        let program = binary(PROMONTORY);
        let folder = TempDir::new().expect("a folder");
        let web = format!("127.0.0.1:{}", free_port());
        let began = now();
        let process = start(&program, folder.path(), &web, flags);
        Self {
            process,
            began,
            web,
            _folder: folder,
        }
    }

    /// Waits until a query has an answer; returns how long that was after the start of the process.
    ///
    /// # Panics
    /// When it never has.
    #[track_caller]
    pub fn await_answer(&mut self, expression: &str) -> Duration {
        wait_until(PATIENCE, expression, || {
            assert_eq!(self.process.ended(), None, "{}", self.process.output());
            (!query(&self.web, expression).is_empty()).then(|| now().saturating_since(self.began))
        })
    }

    /// Returns the process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Stops it in order.
    #[track_caller]
    pub fn stop(&mut self) {
        assert_eq!(self.process.stop(), 0, "up stops cleanly");
    }
}

fn start(program: &Path, folder: &Path, web: &str, flags: &[&str]) -> Process {
    let mut command = clean(program, folder);
    command
        .arg("up")
        .arg("--storage.path")
        .arg(folder.join("data"));
    command.args(["--web.listen-address", web]);
    command.args(["--ingest.listen-address", "127.0.0.1:0"]);
    command.args(flags);
    Process::start(&mut command, folder, "up")
}
