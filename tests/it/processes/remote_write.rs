//! Debian's Prometheus sends to an aggregator by remote write.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::processes::{Aggregator, Process, free_port, get, wait_until};

const PEER: &str = "/usr/bin/prometheus";
const LONG: Duration = Duration::from_secs(90);

#[test]
fn what_prometheus_scrapes_is_here_through_a_kill_and_ends_when_it_ends() {
    if !Path::new(PEER).exists() {
        println!("skipped: there is no {PEER}");
        return;
    }
    let mut aggregator = Aggregator::new(&[]);
    let web = format!("127.0.0.1:{}", free_port());
    let config = aggregator.folder().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: self\n  static_configs:\n  - targets: ['{web}']\n\
         remote_write:\n- url: {}/api/v1/write\n  metadata_config:\n    send_interval: 1s\n",
        aggregator.url()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(PEER);
    command.current_dir(aggregator.folder());
    command.arg("--config.file").arg(&config);
    command
        .arg("--storage.tsdb.path")
        .arg(aggregator.folder().join("peer"));
    command.args(["--web.listen-address", &web]);
    let mut peer = Process::start(&mut command, aggregator.folder(), "prometheus");

    let series = "count({job=\"self\"})";
    wait_until(LONG, "the peer's series", || {
        aggregator
            .query(series)
            .first()
            .filter(|count| **count > 300.0)
            .map(drop)
    });
    let described = get(
        aggregator.web(),
        "/api/v1/metadata?metric=prometheus_build_info",
    );
    wait_until(LONG, "metadata", || {
        let text = described.as_ref().map(|answer| answer.body.clone());
        let now = get(
            aggregator.web(),
            "/api/v1/metadata?metric=prometheus_build_info",
        );
        let now = now.map(|answer| answer.body).or(text)?;
        now.contains("gauge").then_some(())
    });

    // What the sender has not been told is durable comes again; nothing is missing and nothing is there twice.
    aggregator.kill();
    aggregator.start();
    aggregator.await_ready();
    let samples = "max(count_over_time(up{job=\"self\"}[1h]))";
    let before = aggregator.query(samples).first().copied().unwrap_or(0.0);
    wait_until(LONG, "samples after the kill", || {
        let now = aggregator.query(samples).first().copied()?;
        (now >= before + 5.0).then_some(())
    });
    let gaps = "max(max_over_time(timestamp(up{job=\"self\"})[1h:1s]) - min_over_time(timestamp(up{job=\"self\"})[1h:1s])) + 1.5";
    let span = aggregator.query(gaps).first().copied().unwrap_or(0.0);
    let count = aggregator.query(samples).first().copied().unwrap_or(0.0);
    assert!(count <= span + 1.0, "{count} samples in {span} s");

    assert_eq!(peer.stop(), 0);
    let answer = get(aggregator.web(), "/metrics").expect("an answer");
    assert!(
        answer
            .body
            .contains("promontory_remote_write_samples_total")
    );
}
