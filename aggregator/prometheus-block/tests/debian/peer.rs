//! Debian's programs.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) const PROMTOOL: &str = "/usr/bin/promtool";
pub(crate) const PROMETHEUS: &str = "/usr/bin/prometheus";
/// More than a busy machine needs.
const ATTEMPTS: u32 = 1_200;
const PAUSE: Duration = Duration::from_millis(50);

/// Returns whether a program is there, and says so when it is not.
pub(crate) fn is_there(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("skipped: there is no {program}; Debian's package prometheus has it");
    }
    there
}

/// A running Prometheus that takes remote write; it ends with its value.
pub(crate) struct Prometheus {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Prometheus {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "global: {scrape_interval: 1h}\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let address = address.unwrap().to_string();
        let child = Command::new(PROMETHEUS)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .args([
                "--enable-feature=native-histograms",
                "--web.enable-remote-write-receiver",
            ])
            .args(["--web.enable-admin-api", "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self {
            child,
            folder,
            address,
        };
        for _ in 0..ATTEMPTS {
            if prometheus
                .ask("GET", "/-/ready", &[])
                .is_some_and(|(status, _)| status == 200)
            {
                return prometheus;
            }
            thread::park_timeout(PAUSE);
        }
        panic!("prometheus does not become ready");
    }

    /// Its wall clock, which is this machine's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the peer looks at the same clock"
    )]
    pub(crate) fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(now.unwrap().as_millis()).unwrap()
    }

    pub(crate) fn write(&self, body: &[u8]) {
        let (status, answer) = self.ask("POST", "/api/v1/write", body).unwrap();
        assert!((200..300).contains(&status), "{status}: {answer}");
    }

    /// Has it write all that it has into blocks, and returns their folder.
    pub(crate) fn snapshot(&self) -> PathBuf {
        let (status, answer) = self
            .ask("POST", "/api/v1/admin/tsdb/snapshot", &[])
            .unwrap();
        assert_eq!(status, 200, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let name = answer["data"]["name"].as_str().unwrap();
        self.folder.path().join("data/snapshots").join(name)
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-encoding: snappy\r\ncontent-type: application/x-protobuf\r\nx-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
