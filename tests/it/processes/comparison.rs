//! What an agent collects of this machine, against what Debian's node_exporter does.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tests::processes::{AGENT, PATIENCE, Process, binary, free_port, get, wait_until};

const PEER: &str = "/usr/bin/prometheus-node-exporter";
const COLLECTORS: &str = "arp,conntrack,cpu,diskstats,entropy,filefd,filesystem,loadavg,meminfo,\
     netclass,netdev,netstat,os,pressure,selinux,sockstat,softnet,stat,textfile,time,timex,\
     udp_queues,uname,vmstat";
/// The peer's default since 1.6; Debian's is older.
const NO_RAM_DISKS: &str =
    r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";
/// Debian's is older than these labels.
const NEWER_LABELS: [&str; 2] = ["rotational", "adminstate"];
/// The connection over which the peer is read is open while it is, and closed when we are.
const OF_CONNECTIONS: &str = "^node_(sockstat_|netstat_Tcp_CurrEstab)";
/// Gauges jump on a busy machine while three readings are taken one after another, and other tests run beside this one.
const ATTEMPTS: usize = 200;

#[test]
fn a_live_machine_looks_as_node_exporter_has_it() {
    let tool = match comparing_tool() {
        Ok(tool) => tool,
        Err(missing) => {
            println!("skipped: there is no {}", missing.display());
            return;
        }
    };
    let folder = tempfile::TempDir::new().expect("a folder");
    let peer = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(PEER);
    command.arg(format!("--web.listen-address={peer}"));
    command.args([NO_RAM_DISKS, "--no-collector.systemd", "--log.level=error"]);
    let _peer = Process::start(&mut command, folder.path(), "node-exporter");
    wait_until(PATIENCE, "node_exporter", || get(&peer, "/metrics"));

    for attempt in 1..=ATTEMPTS {
        let own = collect_when_asked();
        let compared = Command::new("python3")
            .arg(&tool)
            .args(["--mode", "live", "--collectors", COLLECTORS])
            .args(NEWER_LABELS.map(|label| format!("--drop-label={label}")))
            .args(["--ignore-values", OF_CONNECTIONS])
            .args([&peer, &own].map(|address| format!("http://{address}/metrics")))
            .output()
            .expect("python3 runs");
        let report = String::from_utf8_lossy(&compared.stdout);
        if compared.status.success() {
            let result = report.lines().find(|line| line.starts_with("TOTAL"));
            println!(
                "comparison, attempt {attempt}: {}",
                result.unwrap_or(&report)
            );
            return;
        }
        let complaint = String::from_utf8_lossy(&compared.stderr);
        assert!(attempt < ATTEMPTS, "{report}{complaint}");
    }
}

/// Returns an address that answers once, with what `promontory-agent collect` prints at that moment.
fn collect_when_asked() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the script asks");
        let mut request = [0; 4_096];
        let length = stream.read(&mut request).expect("a request");
        assert!(length > 0);
        let collected = Command::new(binary(AGENT)).arg("collect").output();
        let collected = collected.expect("it runs").stdout;
        stream
            .write_all(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\r\n")
            .and_then(|()| stream.write_all(&collected))
            .expect("the script reads");
    });
    address
}

/// Returns the script that compares; where it or its peer is missing, what is missing.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests says so where conformance data is, and whether it may be missing"
)]
fn comparing_tool() -> Result<PathBuf, PathBuf> {
    let root = std::env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let tool = root.join("tools/compare_exposition.py");
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        tool.exists() || !in_ci,
        "conformance data must be present in CI: set PROMONTORY_CONFORMANCE"
    );
    for needed in [tool.as_path(), Path::new(PEER)] {
        if !needed.exists() {
            return Err(needed.to_owned());
        }
    }
    Ok(tool)
}
