//! Debian's Prometheus as a process: the peer that answers are compared with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::http::get;
use super::ports::free_port;
use super::process::Process;
use super::waiting::{PATIENCE, wait_until};

const PROGRAM: &str = "/usr/bin/prometheus";

/// `prometheus` with an empty folder, which takes remote write.
#[derive(Debug)]
pub struct Prometheus {
    // First, so that it ends before its folder goes.
    _process: Process,
    folder: TempDir,
    web: String,
}

impl Prometheus {
    /// Starts it, scraping nothing, and waits until it is ready; `None` when it is not installed.
    pub fn start() -> Option<Self> {
        Self::with_flags(&[])
    }

    /// Starts it with further flags, scraping nothing, and waits until it is ready; `None` when it is not installed.
    pub fn with_flags(flags: &[&str]) -> Option<Self> {
        Self::launch("global: {}\n", flags)
    }

    /// Starts it with this configuration and waits until it is ready; `None` when it is not installed.
    pub fn with_config(config: &str) -> Option<Self> {
        Self::launch(config, &[])
    }

    fn launch(config: &str, flags: &[&str]) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let web = format!("127.0.0.1:{}", free_port());
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder.path());
        command.arg("--config.file").arg(&file);
        command
            .arg("--storage.tsdb.path")
            .arg(folder.path().join("data"));
        command.args(["--web.listen-address", &web]);
        command
            .arg("--web.enable-remote-write-receiver")
            .args(flags);
        let process = Process::start(&mut command, folder.path(), "prometheus");
        wait_until(PATIENCE, "prometheus", || {
            get(&web, "/-/ready").filter(|answer| answer.status == 200)
        });
        Some(Self {
            _process: process,
            folder,
            web,
        })
    }

    /// Returns its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns where HTTP is served.
    pub fn web(&self) -> &str {
        &self.web
    }
}
