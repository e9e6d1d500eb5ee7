//! A server under measurement: a process on loopback with a data folder of its own, ended in any case.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use model::TimestampMs;
use tempfile::TempDir;

use crate::http::{Client, metric, percent_encode};
use crate::proc::{Proc, folder_bytes};
use crate::waiting::{pause, wait_until};

/// How long a server may take to start, to stop, or to do what it is told: far more than any does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Engine {
    /// Ours.
    Promontory,
    /// Debian's package `prometheus`.
    Prometheus,
    /// Debian's package `victoria-metrics`.
    VictoriaMetrics,
    /// Debian's package `prometheus-alertmanager`.
    Alertmanager,
}

impl Engine {
    pub(crate) const PEERS: [Self; 2] = [Self::Prometheus, Self::VictoriaMetrics];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Promontory => "promontory",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Alertmanager => "prometheus-alertmanager",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// Ours; the peers are looked up where packages put them.
    pub(crate) ours: PathBuf,
    /// Whether peers take part.
    pub(crate) peers: bool,
}

impl Programs {
    /// Returns the path of an engine's program, which takes part and is installed.
    fn find(&self, engine: Engine) -> Result<PathBuf> {
        ensure!(
            self.peers || engine == Engine::Promontory,
            "{} is left out",
            engine.name()
        );
        let path = match engine {
            Engine::Promontory => self.ours.join("promontory"),
            Engine::Prometheus => "/usr/bin/prometheus".into(),
            Engine::VictoriaMetrics => "/usr/bin/victoria-metrics".into(),
            Engine::Alertmanager => "/usr/bin/prometheus-alertmanager".into(),
        };
        ensure!(path.exists(), "{} is not installed", engine.name());
        Ok(path)
    }
}

/// What a server is given besides addresses and folders. It runs in a folder of its own, where the files are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    pub(crate) flags: &'a [&'a str],
    /// Names and contents.
    pub(crate) files: &'a [(&'a str, &'a str)],
}

/// A server: stopped, or running as a child process.
#[derive(Debug)]
pub(crate) struct Server {
    engine: Engine,
    program: PathBuf,
    flags: Vec<String>,
    folder: TempDir,
    web: SocketAddr,
    ingest: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// Starts a server with an empty data folder, and waits until it is ready. `work` is where the folder is made.
    pub(crate) fn start(
        programs: &Programs,
        engine: Engine,
        given: Given<'_>,
        work: &Path,
    ) -> Result<Self> {
        let program = programs.find(engine)?;
        let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(work);
        let mut server = Self {
            engine,
            program,
            flags: given.flags.iter().map(|flag| (*flag).to_owned()).collect(),
            folder: folder
                .with_context(|| format!("cannot make a folder in {}", work.display()))?,
            web: free_address()?,
            ingest: free_address()?,
            child: None,
        };
        if engine == Engine::Prometheus {
            server.write("prometheus.yml", "global: {}\n")?;
        }
        for (name, contents) in given.files {
            server.write(name, contents)?;
        }
        server.launch()?;
        server.await_ready()?;
        Ok(server)
    }

    /// Puts a file into the folder that the server runs in.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Starts the process; does not wait.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin");
        let (data, web) = (self.data(), self.web.to_string());
        match self.engine {
            Engine::Promontory => {
                command.arg("aggregator").arg("--storage.path").arg(data);
                command.args(["--web.listen-address", &web, "--log.level", "warn"]);
                command.args(["--ingest.listen-address", &self.ingest.to_string()]);
            }
            Engine::Prometheus => {
                command
                    .arg("--config.file=prometheus.yml")
                    .arg(flag("--storage.tsdb.path=", &data));
                command.arg(format!("--web.listen-address={web}"));
                command.args([
                    "--web.enable-remote-write-receiver",
                    "--web.enable-admin-api",
                    "--log.level=error",
                ]);
            }
            Engine::VictoriaMetrics => {
                command
                    .arg(flag("-storageDataPath=", &data))
                    .arg(format!("-httpListenAddr={web}"));
                command.args([
                    "-retentionPeriod=1",
                    "-search.latencyOffset=1s",
                    "-loggerLevel=ERROR",
                ]);
            }
            Engine::Alertmanager => {
                command
                    .arg(flag("--storage.path=", &data))
                    .arg(format!("--web.listen-address={web}"));
                command.args(["--cluster.listen-address=", "--log.level=error"]);
            }
        }
        command.args(&self.flags);
        let said = File::create(self.folder.path().join("output"))?;
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said);
        let child = command.spawn();
        self.child =
            Some(child.with_context(|| format!("cannot start {}", self.program.display()))?);
        Ok(())
    }

    /// Waits until the server says that it is ready; returns at once when it ends instead.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let path = match self.engine {
            Engine::Promontory | Engine::Prometheus | Engine::Alertmanager => "/-/ready",
            Engine::VictoriaMetrics => "/health",
        };
        let mut client = Client::new(self.web);
        let name = self.engine.name();
        wait_until(
            &format!("{name} to be ready"),
            Duration::from_millis(5),
            PATIENCE,
            || {
                if let Some(status) = self.child.as_mut().context("it was started")?.try_wait()? {
                    let said =
                        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default();
                    bail!(
                        "{name} ended ({status}): {}",
                        said.lines().last().unwrap_or_default()
                    );
                }
                let ready = client.get(path).is_ok_and(|answer| answer.status == 200);
                Ok(ready.then_some(()))
            },
        )
    }

    /// Ends the process at once, by SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Returns the process as the kernel sees it.
    pub(crate) fn process(&self) -> Result<Proc> {
        let child = self.child.as_ref().context("the server does not run")?;
        Ok(Proc::of(child.id()))
    }

    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    pub(crate) const fn web(&self) -> SocketAddr {
        self.web
    }

    pub(crate) const fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the bytes of a part of the data folder.
    pub(crate) fn data_bytes(&self, part: &str) -> u64 {
        folder_bytes(&self.data().join(part))
    }

    /// Returns the sum of a metric that the server has of itself.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let answer = Client::new(self.web).get("/metrics")?.success()?;
        metric(&answer.text(), name)
            .with_context(|| format!("{} has no metric {name}", self.engine.name()))
    }

    /// Returns the values that an expression has at an instant.
    pub(crate) fn query(
        &self,
        client: &mut Client,
        expression: &str,
        at: TimestampMs,
    ) -> Result<Vec<f64>> {
        let path = format!(
            "/api/v1/query?query={}&time={:.3}&nocache=1",
            percent_encode(expression),
            at.as_seconds()
        );
        let answer = client.get(&path)?.success()?.json()?;
        let result = answer["data"]["result"]
            .as_array()
            .context("no result in the answer")?;
        let values = result
            .iter()
            .filter_map(|series| series["value"][1].as_str()?.parse().ok());
        Ok(values.collect())
    }

    /// Makes a join token of ours.
    pub(crate) fn token(&self) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(["token", "create", "--storage.path"])
            .arg(self.data());
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "cannot make a token: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Waits until the server has been idle for a while: less than a fiftieth of a core.
    pub(crate) fn await_idle(&self) -> Result<()> {
        let process = self.process()?;
        wait_until("the server to be idle", Duration::ZERO, PATIENCE, || {
            let before = process.cpu()?;
            pause(Duration::from_secs(1));
            Ok((process.cpu()?.saturating_sub(before) < Duration::from_millis(20)).then_some(()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be killed has ended.
        self.kill().unwrap_or_default();
    }
}

fn flag(name: &str, path: &Path) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(name);
    flag.push(path);
    flag
}

/// Returns a loopback address that is free for TCP and UDP, below the ports that the kernel hands out.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let mut rng = fastrand::Rng::new();
    for _ in 0..1_000 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.u16(12_000..30_000)));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port on the loopback")
}
