//! Scraping through real processes: Debian's Prometheus scrapes an agent, and an agent scrapes what Prometheus would.

use std::fs;

use tests::processes::{
    Agent, Aggregator, PATIENCE, Prometheus, Signal, get, percent_encode, wait_until,
};

use super::lean;

/// Returns what Prometheus answers to an instant query: the first value.
fn asked(prometheus: &Prometheus, query: &str) -> Option<f64> {
    let path = format!("/api/v1/query?query={}", percent_encode(query));
    let answer = get(prometheus.web(), &path)?.json();
    answer["data"]["result"][0]["value"][1]
        .as_str()?
        .parse()
        .ok()
}

/// Values that do not change while a test runs.
const CONSTANT: &[&str] = &[
    "node_boot_time_seconds",
    "node_uname_info",
    "node_filefd_maximum",
    "done",
    "sizes_count",
    "sizes_bucket{le=\"2.0\"}",
];

#[test]
fn prometheus_scrapes_every_endpoint_and_holds_what_the_aggregator_holds() {
    let aggregator = Aggregator::new(&[]);
    let mut agent = Agent::join(&aggregator, "scraped", &lean(&[]));
    let web = wait_until(PATIENCE, "the agent's address", || agent.web());
    let pushed = "# TYPE done gauge\ndone 7\n# TYPE sizes histogram\nsizes_bucket{le=\"2\"} 1\nsizes_bucket{le=\"+Inf\"} 3\nsizes_sum 9.5\nsizes_count 3\n";
    let answer =
        tests::processes::post_body(&web, "/push/metrics/job/nightly", "", pushed.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200);
    let job = |name: &str, path: &str| {
        format!(
            "- {{job_name: {name}, metrics_path: {path}, honor_labels: true, static_configs: [{{targets: ['{web}']}}]}}\n"
        )
    };
    let config = [
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n",
        &job("node", "/metrics"),
        &job("self", "/metrics/self"),
        &job("push", "/push/metrics"),
    ]
    .concat();
    let Some(prometheus) = Prometheus::with_config(&config) else {
        println!("skipped: there is no prometheus");
        return;
    };
    for job in ["node", "self", "push"] {
        let query = format!(
            "min_over_time(up{{job=\"{job}\"}}[1m]) + count_over_time(up{{job=\"{job}\"}}[1m]) * 0"
        );
        let query = format!("{query} and count_over_time(up{{job=\"{job}\"}}[1m]) > 3");
        let up = wait_until(PATIENCE, "four scrapes", || asked(&prometheus, &query));
        assert_eq!(
            up.to_bits(),
            1.0_f64.to_bits(),
            "{job}: every scrape succeeds"
        );
    }
    for query in CONSTANT {
        let theirs = wait_until(PATIENCE, query, || {
            // Prometheus 2 keeps a bound as it is spelt.
            asked(&prometheus, query).or_else(|| asked(&prometheus, &query.replace("2.0", "2")))
        });
        let ours = wait_until(PATIENCE, query, || aggregator.query(query).first().copied());
        assert_eq!(ours.to_bits(), theirs.to_bits(), "{query}");
    }
    agent.stop();
}

#[test]
fn an_agent_scrapes_what_its_configuration_says_and_goes_on_over_a_reload() {
    let aggregator = Aggregator::new(&[]);
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("agent.yml");
    let web = aggregator.web();
    let job = |name: &str| {
        format!(
            "scrape_configs:\n- {{job_name: {name}, scrape_interval: 1s, static_configs: [{{targets: ['{web}', '127.0.0.1:1']}}]}}\n"
        )
    };
    fs::write(&file, job("first")).expect("written");
    let flag = format!("--config.file={}", file.display());
    let mut agent = Agent::join(&aggregator, "scraper", &lean(&[flag.as_str()]));
    let await_up = |query: &str, values: &[f64]| {
        wait_until(PATIENCE, query, || {
            (aggregator.query(query) == values).then_some(())
        });
    };
    await_up(&format!("up{{job=\"first\", instance=\"{web}\"}}"), &[1.0]);
    await_up("up{job=\"first\", instance=\"127.0.0.1:1\"}", &[0.0]);
    await_up("count(scrape_samples_scraped{job=\"first\"} > 100)", &[1.0]);
    let address = wait_until(PATIENCE, "the agent's address", || agent.web());
    let targets = get(&address, "/api/v1/targets").expect("an answer").json();
    let active = targets["data"]["activeTargets"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(active, 2);

    // A file that is wrong changes nothing; a good one ends the series of the job that is gone.
    fs::write(
        &file,
        "scrape_configs:\n- {job_name: wrong, scrape_intervall: 1s}\n",
    )
    .expect("written");
    agent.process().signal(Signal::HUP);
    wait_until(PATIENCE, "the refusal", || {
        agent
            .process()
            .output()
            .contains("configuration not reloaded")
            .then_some(())
    });
    await_up(&format!("up{{job=\"first\", instance=\"{web}\"}}"), &[1.0]);
    fs::write(&file, job("second")).expect("written");
    agent.process().signal(Signal::HUP);
    await_up(&format!("up{{job=\"second\", instance=\"{web}\"}}"), &[1.0]);
    await_up("up{job=\"first\"}", &[]);
    agent.stop();
}
