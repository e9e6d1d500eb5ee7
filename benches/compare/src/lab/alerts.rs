//! Many alerts that fire: taken, grouped, routed and told of, by each engine with the same configuration.
//!
//! 1. A configuration with a route for each of twenty teams, and below it one for pages; alerts are grouped by name and cluster. All
//!    routes end at one webhook, which this process answers.
//! 2. Alerts come by the API v2 in requests of 256, as Prometheus sends them: all of them once, and again every [`ROUND`].
//! 3. The figure is the CPU time of the process from before the first request until a round after the last, when the webhook has been
//!    told of every alert; memory is what is resident then.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Lab;
use crate::http::Client;
use crate::proc::Resident;
use crate::receiver::Receiver;
use crate::server::{Engine, Given};
use crate::waiting::{pause, wait_until};

const ALERTS: usize = 20_000;
const NAMES: usize = 100;
const CLUSTERS: usize = 4;
const TEAMS: usize = 20;
/// Alerts of a request.
const TOGETHER: usize = 256;
/// How often all alerts are sent, and the time between.
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(15);
/// How long the webhook may wait for all alerts.
const WITHIN: Duration = Duration::from_secs(120);

const JSON: &str = "content-type: application/json\r\n";

/// What alerts cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertsRun {
    /// Of the process, over all rounds.
    pub(crate) cpu: Duration,
    pub(crate) resident: Resident,
    pub(crate) resident_before: Resident,
    pub(crate) webhooks: u64,
    pub(crate) told: usize,
}

pub(super) fn run(lab: &Lab, engine: Engine) -> Result<AlertsRun> {
    let receiver = Receiver::start()?;
    let config = config(&receiver.url());
    let flags: &[&str] = match engine {
        Engine::Promontory => &["--alertmanager.config-file=alertmanager.yml"],
        _ => &["--config.file=alertmanager.yml"],
    };
    let server = lab.start(
        engine,
        Given {
            flags,
            files: &[("alertmanager.yml", &config)],
        },
    )?;
    let process = server.process()?;
    let (before, resident_before) = (process.cpu()?, process.resident()?);
    let bodies = bodies()?;
    let mut client = Client::new(server.web());
    for _ in 0..ROUNDS {
        for body in &bodies {
            let answer = client.post("/api/v2/alerts", JSON, body)?.success();
            answer.context("alerts were refused")?;
        }
        pause(ROUND);
    }
    wait_until("webhooks", Duration::from_millis(100), WITHIN, || {
        Ok((receiver.told().firing.len() >= ALERTS).then_some(()))
    })?;
    let told = receiver.told();
    ensure!(
        told.firing.len() == ALERTS,
        "told of alerts that nobody sent"
    );
    Ok(AlertsRun {
        cpu: process.cpu()?.saturating_sub(before),
        resident: process.resident()?,
        resident_before,
        webhooks: told.webhooks,
        told: told.firing.len(),
    })
}

fn config(url: &str) -> String {
    let mut out = String::from(
        "route:
  receiver: hook
  group_by: [alertname, cluster]
  group_wait: 2s
  group_interval: 10s
  repeat_interval: 4h
  routes:
",
    );
    for team in 0..TEAMS {
        writeln!(
            out,
            "  - {{matchers: [team=\"team-{team}\"], routes: [{{matchers: [severity=\"page\"], group_by: [alertname, cluster, severity]}}]}}"
        )
        .unwrap_or_default();
    }
    out + &format!("receivers: [{{name: hook, webhook_configs: [{{url: '{url}'}}]}}]\n")
}

/// Returns the bodies of the requests of a round.
fn bodies() -> Result<Vec<Vec<u8>>> {
    let all: Vec<Value> = (0..ALERTS).map(alert).collect();
    let parts = all.chunks(TOGETHER).map(serde_json::to_vec);
    Ok(parts.collect::<Result<_, _>>()?)
}

fn alert(number: usize) -> Value {
    let name = number % NAMES;
    let severity = if number.is_multiple_of(7) {
        "page"
    } else {
        "warning"
    };
    json!({
        "labels": {
            "alertname": format!("PodIsSlow{name}"),
            "cluster": format!("cluster-{}", number / NAMES % CLUSTERS),
            "team": format!("team-{}", name % TEAMS),
            "severity": severity,
            "namespace": format!("shop-{}", number % 40),
            "pod": format!("checkout-7d9c5b6f4-{number:05}"),
            "container": "checkout",
            "instance": format!("10.0.{}.{}:8080", number / 250, number % 250),
            "job": "checkout",
        },
        "annotations": {
            "summary": format!("Requests to pod checkout-7d9c5b6f4-{number:05} take 2.{number} s"),
            "description": "Ninety-nine of a hundred requests should take less than a second; look at the dashboard of the shop first.",
            "runbook_url": "https://runbooks.example/shop/slow",
        },
        "generatorURL": "http://prometheus.example/graph?g0.expr=latency+%3E+1&g0.tab=1",
    })
}
