//! A full disk stops acknowledgements, not the process; space brings them back.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::processes::{Agent, Aggregator, PATIENCE, now, wait_until};

use super::lean;

const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// A small disk, as long as it lives.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Mounts one; `None` where that is not permitted.
    fn mount(size: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte; returns the file to remove.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).expect("a file");
        for block in [1 << 20, 4_096, 1] {
            while file.write_all(&vec![1; block]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(
            std::thread::panicking() || ended.is_ok_and(|status| status.success()),
            "the small disk stays mounted"
        );
    }
}

#[test]
fn a_full_disk_stops_acknowledgements_and_nothing_else() {
    let Some(disk) = SmallDisk::mount("160m") else {
        println!("skipped: mounting a small disk is not permitted here");
        return;
    };
    let mut aggregator = Aggregator::stopped(&[]).at(disk.path().join("data"));
    aggregator.start();
    aggregator.await_ready();
    let flags = ["--interval", "50ms", "--collector.ledger", "4000"];
    let mut agent = Agent::join(&aggregator, "full", &lean(&flags));

    let ballast = disk.fill();
    wait_until(PATIENCE, "the log to fail", || {
        (aggregator.metric("promontory_storage_log_failing") == 1.0).then_some(())
    });
    let acknowledged = "promontory_agent_batches_acknowledged_total";
    let stored = |aggregator: &Aggregator| aggregator.metric("promontory_storage_samples_total");
    let mut last = (agent.metric(acknowledged), stored(&aggregator), now());
    wait_until(PATIENCE, "two seconds without acknowledgements", || {
        let seen = (agent.metric(acknowledged), stored(&aggregator));
        if seen != (last.0, last.1) {
            last = (seen.0, seen.1, now());
        }
        (now().saturating_since(last.2) > Duration::from_secs(2)).then_some(())
    });
    assert_eq!(aggregator.process().ended(), None, "the process lives");
    assert_eq!(
        aggregator.query("count(promontory_ledger)").len(),
        1,
        "queries go on"
    );

    fs::remove_file(&ballast).expect("removed");
    let freed = now();
    wait_until(PATIENCE, "acknowledgements to resume", || {
        (agent.metric(acknowledged) > last.0).then_some(())
    });
    let took = now().saturating_since(freed);
    println!("full disk: acknowledgements resumed {took:.2?} after space was freed");
    assert!(took <= RESUMES_WITHIN, "{took:?}");
    aggregator.await_fresh("full");
    let lost = agent.metric("promontory_agent_rows_lost_total");
    assert_eq!(lost, 0.0, "rows waited in the spool");
    agent.stop();
    aggregator.stop();
}
