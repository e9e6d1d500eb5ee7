//! Remote write into a whole aggregator: `remote-write [--scrapes N] [--hosts N] [--server PATH] [RECORDING-FOLDER]`.
//!
//! Starts the `promontory` that lies beside this program with an empty folder, and sends it bodies of 2,000 one-sample series, as Prometheus
//! does: hosts of some thousand series each, scraped every 15 s with a jitter of some ms, over two connections. Bodies are made before the
//! clock is read. Prints CPU time of the aggregator's process (system time included) a sample, bytes of log a sample, and resident memory
//! a series, less what the process had before. Values are those of the recorded scrapes, scaled by host; without the recording, counters.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program whose output is its result")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use benches::Recording;

/// Series of a body.
const BODY_SERIES: usize = 2_000;
const INTERVAL_MS: i64 = 15_000;
/// Scrapes that go before the clock is read: new series are another matter.
const WARM_UP: usize = 4;

struct Options {
    scrapes: usize,
    hosts: usize,
    server: PathBuf,
    recording: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    let workload = Workload::new(&options)?;
    let folder = tempfile::tempdir()?;
    let mut server = Server::start(&options.server, folder.path())?;
    let series = workload.series.len() * options.hosts;
    let idle = server.resident()?;
    println!(
        "{series} series, {} scrapes of {} s, bodies of {BODY_SERIES}",
        options.scrapes,
        INTERVAL_MS / 1_000
    );
    let now = i64::try_from(
        SystemTime::UNIX_EPOCH
            .elapsed()
            .context("a clock before 1970")?
            .as_millis(),
    )?;
    let start = now - i64::try_from(options.scrapes)? * INTERVAL_MS;
    let mut connections = [server.connect()?, server.connect()?];
    let (mut cpu, mut samples, mut wire, mut decoded) = (Duration::ZERO, 0_usize, 0_usize, 0_usize);
    let mut first_cpu = Duration::ZERO;
    let mut log_before = 0.0;
    for scrape in 0..options.scrapes {
        let bodies = workload.bodies(options.hosts, scrape, start);
        if scrape == WARM_UP {
            log_before = server.metric("promontory_storage_log_written_bytes_total")?;
        }
        let before = server.cpu()?;
        for pair in bodies.chunks(2) {
            for (connection, body) in connections.iter_mut().zip(pair) {
                post(connection, &body.bytes)?;
            }
            for (connection, _) in connections.iter_mut().zip(pair) {
                ensure!(status(connection)? == 204, "a body was not taken");
            }
        }
        let spent = server.cpu()? - before;
        if scrape == 0 {
            first_cpu = spent;
        }
        if scrape >= WARM_UP {
            cpu += spent;
            samples += bodies.iter().map(|body| body.samples).sum::<usize>();
            wire += bodies.iter().map(|body| body.bytes.len()).sum::<usize>();
            decoded += bodies.iter().map(|body| body.decoded).sum::<usize>();
        }
    }
    let log = server.metric("promontory_storage_log_written_bytes_total")? - log_before;
    let resident = server.resident()?;
    report(
        &Figures {
            series,
            cpu,
            first_cpu,
            samples,
            wire,
            decoded,
            log,
        },
        (idle, resident),
    );
    server.stop()
}

struct Figures {
    series: usize,
    cpu: Duration,
    first_cpu: Duration,
    samples: usize,
    wire: usize,
    decoded: usize,
    log: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(figures: &Figures, (idle, resident): (u64, u64)) {
    let per = |value: f64| value / figures.samples.max(1) as f64;
    println!(
        "  CPU ns/sample: {:.0}  (must <= 500, aim <= 400)",
        per(figures.cpu.as_nanos() as f64)
    );
    println!(
        "  log B/sample: {:.2}  (must <= 5, aim <= 4)",
        per(figures.log)
    );
    println!(
        "  wire B/sample: {:.1}, decompressed {:.0}",
        per(figures.wire as f64),
        per(figures.decoded as f64)
    );
    println!(
        "  resident bytes a series: {:.0}  (must <= 1,638, aim <= 1,331, with 480 scrapes held)",
        (resident.saturating_sub(idle)) as f64 / figures.series as f64
    );
    println!(
        "  first scrape, CPU us/series: {:.1}",
        figures.first_cpu.as_micros() as f64 / figures.series as f64
    );
}

fn options() -> anyhow::Result<Options> {
    let beside = std::env::current_exe()?.with_file_name("promontory");
    let mut options = Options {
        scrapes: 124,
        hosts: 100,
        server: beside,
        recording: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        match argument.as_str() {
            "--scrapes" => options.scrapes = value()?.parse()?,
            "--hosts" => options.hosts = value()?.parse()?,
            "--server" => options.server = value()?.into(),
            folder if !folder.starts_with('-') => options.recording = Some(folder.into()),
            other => bail!("unknown argument {other}"),
        }
    }
    ensure!(options.scrapes > WARM_UP, "more than {WARM_UP} scrapes");
    Ok(options)
}

/// What each host has.
struct Workload {
    /// Encoded labels but for the host's.
    series: Vec<Vec<u8>>,
    /// By scrape and series.
    values: Vec<Vec<f64>>,
}

struct Body {
    bytes: Vec<u8>,
    samples: usize,
    decoded: usize,
}

impl Workload {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let recorded = match &options.recording {
            Some(folder) => Some(Recording::load(folder)?),
            None => None,
        };
        let mut series: Vec<Vec<u8>> = Vec::new();
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); options.scrapes];
        if let Some(recording) = &recorded {
            series.extend(recording.series.iter().map(|raw| labels_of(raw)));
            for (scrape, values) in values.iter_mut().enumerate() {
                let at = scrape * 7 % recording.scrapes.len();
                let present = recording.scrapes[at].iter();
                values.extend(present.map(|value| value.unwrap_or(0.0)));
            }
        }
        while series.len() < 1_000 {
            let id = series.len();
            series.push(labels_of(&format!(
                "container_metric_{}_total{{container=\"c{}\",namespace=\"default\",pod=\"pod-{}-7d9f8b6c5\"}}",
                id % 20,
                id / 20,
                id / 20
            )));
            for (scrape, values) in values.iter_mut().enumerate() {
                values.push(container_value(id, scrape));
            }
        }
        Ok(Self { series, values })
    }

    /// Returns the bodies of a scrape of all hosts.
    fn bodies(&self, hosts: usize, scrape: usize, start: i64) -> Vec<Body> {
        let mut bodies = Vec::new();
        let mut body = Vec::new();
        let mut samples = 0;
        let mut encoder = snap::raw::Encoder::new();
        let mut close = |body: &mut Vec<u8>, samples: &mut usize| {
            if let Ok(bytes) = encoder.compress_vec(body)
                && *samples > 0
            {
                bodies.push(Body {
                    bytes,
                    samples: *samples,
                    decoded: body.len(),
                });
            }
            body.clear();
            *samples = 0;
        };
        for host in 0..hosts {
            let jitter = (host * 31 + scrape * 17) % 6;
            let at = start
                + i64::try_from(scrape).unwrap_or(0) * INTERVAL_MS
                + i64::try_from(host * 97 + jitter).unwrap_or(0);
            let of_host = [
                label("instance", &format!("host-{host:04}.example.internal:9100")),
                label("job", "node-exporter"),
            ]
            .concat();
            for (labels, value) in self.series.iter().zip(&self.values[scrape]) {
                let mut series = [labels.as_slice(), &of_host].concat();
                let scaled = scaled(*value, host);
                let mut sample = vec![0x09];
                sample.extend_from_slice(&scaled.to_bits().to_le_bytes());
                sample.push(0x10);
                put_varint(&mut sample, at.unsigned_abs());
                put_bytes(&mut series, 0x12, &sample);
                put_bytes(&mut body, 0x0a, &series);
                samples += 1;
                if samples == BODY_SERIES {
                    close(&mut body, &mut samples);
                }
            }
        }
        close(&mut body, &mut samples);
        bodies
    }
}

/// Whole numbers stay whole.
fn scaled(value: f64, host: usize) -> f64 {
    let factor = 1.0 + f64::from(u32::try_from(host % 64).unwrap_or(0)) / 16.0;
    if value.abs() <= 2.0 {
        value
    } else if value.fract() == 0.0 {
        (value * factor).round()
    } else {
        (value * factor * 100.0).round() / 100.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn container_value(id: usize, scrape: usize) -> f64 {
    let idle = (id / 20).is_multiple_of(2);
    match id % 20 {
        // Nanoseconds of CPU time.
        0..4 => {
            let rate = if idle { 0 } else { 1_734_512_331 + id * 7_919 };
            (123_456_789_012 + id * 1_000_003 + scrape * rate) as f64 / 1e9
        }
        // Pages of memory.
        4..9 => 4_096.0 * (10_000 + id * 37 + if idle { 0 } else { scrape * 13 % 91 }) as f64,
        9..14 => 0.0,
        _ => (1_000 + id * 211 + if idle { 0 } else { scrape * (id % 50) }) as f64,
    }
}

/// Returns the labels of `name{a="b",c="d"}`, encoded.
fn labels_of(raw: &str) -> Vec<u8> {
    let (name, rest) = raw.split_once('{').unwrap_or((raw, ""));
    let mut out = label("__name__", name);
    for pair in rest.trim_end_matches('}').split("\",") {
        if let Some((name, value)) = pair.split_once("=\"") {
            out.extend(label(name, value.trim_end_matches('"')));
        }
    }
    out
}

fn label(name: &str, value: &str) -> Vec<u8> {
    let (mut pair, mut out) = (Vec::new(), Vec::new());
    put_bytes(&mut pair, 0x0a, name.as_bytes());
    put_bytes(&mut pair, 0x12, value.as_bytes());
    put_bytes(&mut out, 0x0a, &pair);
    out
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[expect(clippy::cast_possible_truncation, reason = "7 bits at a time")]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The aggregator under test.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let free = || -> anyhow::Result<SocketAddr> {
            Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
        };
        let (address, ingest) = (free()?, free()?);
        let process = Command::new(program)
            .arg("aggregator")
            .arg("--storage.path")
            .arg(folder)
            .args(["--web.listen-address", &address.to_string()])
            .args(["--ingest.listen-address", &ingest.to_string()])
            // All in memory: sealing has a row of its own.
            .args(["--storage.head.max-bytes", "4GiB"])
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let server = Self { process, address };
        for _ in 0..600 {
            if server
                .get("/-/ready")
                .is_ok_and(|(status, _)| status == 200)
            {
                return Ok(server);
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        bail!("the aggregator is not ready after a minute")
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let connection = TcpStream::connect(self.address)?;
        connection.set_nodelay(true)?;
        Ok(connection)
    }

    fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let mut connection = self.connect()?;
        write!(
            connection,
            "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, answer))
    }

    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let (_, text) = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.with_context(|| format!("no metric {name}"))?;
        Ok(value.trim().parse()?)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let path = task?.path().join("schedstat");
            if let Ok(text) = fs::read_to_string(path) {
                let spent = text.split(' ').next().context("no time")?.parse()?;
                sum += Duration::from_nanos(spent);
            }
        }
        Ok(sum)
    }

    /// Returns resident bytes.
    fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(kib.trim().parse::<u64>()? * 1_024)
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
    }
}

fn post(connection: &mut TcpStream, body: &[u8]) -> anyhow::Result<()> {
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: snappy\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    Ok(())
}

/// Reads an answer, which has no body when all is well.
fn status(connection: &mut TcpStream) -> anyhow::Result<u16> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head)?;
    Ok(head.split(' ').nth(1).context("no status")?.parse()?)
}
