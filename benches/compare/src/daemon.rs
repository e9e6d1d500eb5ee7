//! A program of a node, under measurement: a process that serves HTTP on the loopback, with a folder of its own, ended in any case.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::http::{Client, metric};
use crate::proc::Proc;
use crate::server::{PATIENCE, free_address};
use crate::waiting::wait_until;

/// Which program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Ours.
    Agent,
    /// Debian's package `prometheus-node-exporter`.
    NodeExporter,
    /// Debian's package `prometheus-pushgateway`.
    Pushgateway,
}

impl Program {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "promontory-agent",
            Self::NodeExporter => "prometheus-node-exporter",
            Self::Pushgateway => "prometheus-pushgateway",
        }
    }

    /// Returns where the program is; `ours` is the folder of our own.
    pub(crate) fn path(self, ours: &Path) -> Result<PathBuf> {
        let folder = match self {
            Self::Agent => ours,
            Self::NodeExporter | Self::Pushgateway => Path::new("/usr/bin"),
        };
        let path = folder.join(self.name());
        ensure!(path.exists(), "{} is not installed", self.name());
        Ok(path)
    }

    /// Returns a page that is there once the program does its work.
    const fn ready(self) -> &'static str {
        match self {
            Self::Agent | Self::Pushgateway => "/-/ready",
            Self::NodeExporter => "/",
        }
    }
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: Program,
    folder: TempDir,
    web: SocketAddr,
    child: Child,
}

impl Daemon {
    /// Starts a program, and waits until it is ready. `arguments` are made from its folder, below `work`.
    pub(crate) fn start(
        program: Program,
        path: &Path,
        work: &Path,
        arguments: impl FnOnce(&Path) -> Vec<OsString>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("compare-")
            .tempdir_in(work)
            .with_context(|| format!("cannot make a folder in {}", work.display()))?;
        let web = free_address()?;
        let said = File::create(folder.path().join("output"))?;
        let mut command = Command::new(path);
        command
            .args(arguments(folder.path()))
            .arg(format!("--web.listen-address={web}"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start {}", path.display()))?;
        let mut daemon = Self {
            program,
            folder,
            web,
            child,
        };
        daemon.await_ready()?;
        Ok(daemon)
    }

    fn await_ready(&mut self) -> Result<()> {
        let name = self.program.name();
        let mut client = Client::new(self.web);
        wait_until(
            &format!("{name} to be ready"),
            Duration::from_millis(20),
            PATIENCE,
            || {
                if let Some(status) = self.child.try_wait()? {
                    let said =
                        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
                    bail!(
                        "{name} ended ({status}): {}",
                        said.lines().last().unwrap_or_default()
                    );
                }
                let ready = client.get(self.program.ready());
                Ok(ready.is_ok_and(|answer| answer.status == 200).then_some(()))
            },
        )
    }

    pub(crate) const fn web(&self) -> SocketAddr {
        self.web
    }

    pub(crate) fn process(&self) -> Proc {
        Proc::of(self.child.id())
    }

    /// Returns the sum of a metric that our agent has of itself.
    pub(crate) fn own_metric(&self, name: &str) -> Result<f64> {
        let answer = Client::new(self.web).get("/metrics/self")?.success()?;
        metric(&answer.text(), name)
            .with_context(|| format!("{} has no metric {name}", self.program.name()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
