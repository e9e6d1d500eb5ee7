//! `promontory backtest`: who would have been told what and when.

mod history;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use alerting::{Config, MatcherMode, SilenceRequest};
use anyhow::Context;
use backtest::{
    Backtest, Difference, Episode, Episodes, History, Plan, Progress, Told, ToldAlert, Totals,
};
use clock::{Clock as _, SystemClock};
use config::Settings;
use model::{Labels, LabelsBuilder, TimeRange, TimestampMs};
use promql::{Engine, EngineConfig};
use rules::{FileOptions, RuleFile, glob};
use serde_json::{Value as Json, json};

use self::history::Source;
use super::table::Table;
use crate::alerting_service::local_zone;
use crate::terminal;

/// Something differs, as with `diff`.
const EXIT_DIFFERS: u8 = 1;
/// It cannot be done.
const EXIT_TROUBLE: u8 = 2;
/// Notifications that are listed; all are counted.
const LISTED_MAX: usize = 100_000;
/// Alerts of one notification shown to people.
const ALERTS_SHOWN: usize = 3;
/// What holds without a configuration: one receiver is told of all.
const EVERYBODY: &str = "route: {receiver: everybody}\nreceivers: [{name: everybody, webhook_configs: [{url: 'http://localhost/'}]}]\n";
/// Without an interval of its own, a group has this one; so have subqueries.
const INTERVAL: &str = "evaluation-interval";

/// `promontory backtest`
pub(crate) fn backtest(settings: &Settings) -> ExitCode {
    run(settings).unwrap_or_else(|error| {
        terminal::complain(&format!("{error:#}"));
        ExitCode::from(EXIT_TROUBLE)
    })
}

fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let ours = rule_files("rules", settings.texts("rules"))?;
    anyhow::ensure!(!ours.is_empty(), "--rules names no file");
    let other = rule_files("diff", settings.texts("diff"))?;
    let is_json = settings.text("output") == "json";
    let source = Source::of(settings)?;
    let plan = plan(settings, ours, &source)?;
    let found = replay(settings, plan.clone(), source.history(), "rules")?;
    if !is_json {
        show_notifications(&found);
    }
    let difference = if settings.texts("diff").is_empty() {
        None
    } else {
        let plan = Plan {
            files: other,
            ..plan
        };
        let other = replay(settings, plan, source.history(), "other rules")?;
        Some(Difference::of(&found.episodes, &other.episodes))
    };
    for damage in source.damages() {
        terminal::complain(&format!("damaged: {damage}"));
    }
    if is_json {
        let mut answer = found.to_json();
        if let Some(difference) = &difference {
            answer["diff"] = difference_json(difference);
        }
        terminal::print(&serde_json::to_string_pretty(&answer)?);
    } else {
        show_totals(&found);
        if let Some(difference) = &difference {
            show_difference(difference);
        }
    }
    Ok(match difference {
        Some(difference) if !difference.is_empty() => ExitCode::from(EXIT_DIFFERS),
        _ => ExitCode::SUCCESS,
    })
}

fn plan(settings: &Settings, files: Vec<RuleFile>, source: &Source) -> anyhow::Result<Plan> {
    let end = match settings.optional_text("until") {
        Some(text) => api::parse_time(text).map_err(|why| anyhow::anyhow!("--until: {why}"))?,
        None => TimestampMs::from(SystemClock::new().wall()),
    };
    let warm_up = settings.optional_duration("warm-up");
    Ok(Plan {
        settings: rules::Settings {
            interval: settings.duration(INTERVAL),
            query_offset: settings.duration("rule-query-offset"),
            external_labels: external_labels(settings.texts("external-label"))?,
            ..rules::Settings::default()
        },
        config: Arc::new(routes(settings.optional_path("alertmanager-config"))?),
        external_url: String::new(),
        silences: match settings.optional_path("silences") {
            Some(path) => silences(path)?,
            None => source.silences()?,
        },
        range: TimeRange::new(end.saturating_sub(settings.duration("since")), end),
        warm_up: warm_up.unwrap_or_else(|| Plan::usual_warm_up(&files)),
        chunk: settings.duration("chunk"),
        samples_max: usize::try_from(settings.number("max-samples")).unwrap_or(usize::MAX),
        files,
    })
}

fn rule_files(flag: &str, patterns: &[String]) -> anyhow::Result<Vec<RuleFile>> {
    let mut files = Vec::new();
    for pattern in patterns {
        let paths = glob(Path::new(pattern)).with_context(|| format!("--{flag} {pattern}"))?;
        anyhow::ensure!(
            !paths.is_empty(),
            "--{flag} {pattern}: there is no such file"
        );
        for path in paths {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            files.push(RuleFile::parse(&path, &text, FileOptions::default())?);
        }
    }
    Ok(files)
}

fn external_labels(texts: &[String]) -> anyhow::Result<Labels> {
    let mut labels = LabelsBuilder::new();
    for text in texts {
        let pair = text.split_once('=');
        let (name, value) = pair.with_context(|| format!("--external-label {text}: no ="))?;
        labels.set(name, value);
    }
    Ok(labels.build())
}

fn routes(path: Option<&Path>) -> anyhow::Result<Config> {
    let text = match path {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        None => EVERYBODY.to_owned(),
    };
    let path = path.unwrap_or_else(|| Path::new("routes"));
    Ok(Config::parse(
        path,
        &text,
        MatcherMode::Fallback,
        &local_zone(),
    )?)
}

fn silences(path: &Path) -> anyhow::Result<Vec<SilenceRequest>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    api::read_silences(&text).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
}

/// What a replay has found.
#[derive(Debug, Default)]
struct Found {
    listed: Vec<Told>,
    totals: Totals,
    episodes: Episodes,
    /// Rules whose evaluation failed last: group, rule, why.
    failing: Vec<(String, String, String)>,
    evaluations: u64,
    failures: u64,
}

fn replay(
    settings: &Settings,
    plan: Plan,
    history: &dyn History,
    what: &str,
) -> anyhow::Result<Found> {
    let engine = Engine::new(EngineConfig {
        subquery_step: settings.duration(INTERVAL),
        ..EngineConfig::default()
    });
    let range = plan.range;
    let mut backtest = Backtest::new(plan, engine)?;
    let mut found = Found::default();
    let told = &mut |told: Told| {
        found.totals.add(&told);
        found.episodes.add(&told);
        if found.listed.len() < LISTED_MAX {
            found.listed.push(told);
        }
    };
    let progress = &mut |progress: Progress| {
        terminal::progress(&format!(
            "{what}: at {} of {}, {} samples read",
            time(progress.at),
            time(range.end),
            progress.read
        ));
    };
    let done = backtest.run(history, told, progress);
    terminal::progress(&"");
    done?;
    for group in backtest.groups() {
        found.evaluations += group.counts.evaluations;
        found.failures += group.counts.failures;
        for rule in &group.rules {
            if let rules::Health::Bad(why) = &rule.last.health {
                let group = group.key.name.clone();
                found.failing.push((group, rule.name.clone(), why.clone()));
            }
        }
    }
    Ok(found)
}

impl Found {
    fn to_json(&self) -> Json {
        let totals: Vec<Json> = self
            .totals
            .iter()
            .map(|(receiver, total)| {
                json!({
                    "receiver": receiver,
                    "notifications": total.notifications,
                    "firing": total.firing,
                    "alerts": total.alerts,
                })
            })
            .collect();
        let failing: Vec<Json> = self
            .failing
            .iter()
            .map(|(group, rule, why)| json!({"group": group, "rule": rule, "lastError": why}))
            .collect();
        json!({
            "notifications": self.listed.iter().map(told_json).collect::<Vec<_>>(),
            "receivers": totals,
            "evaluations": self.evaluations,
            "failures": self.failures,
            "failing": failing,
        })
    }
}

fn told_json(told: &Told) -> Json {
    let alerts = told
        .alerts
        .iter()
        .map(|alert| json!({"labels": alert.labels, "status": status(alert.is_firing)}));
    json!({
        "at": time(told.at),
        "receiver": told.receiver,
        "integration": told.integration,
        "group": told.group,
        "status": status(told.is_firing),
        "reason": told.reason,
        "alerts": alerts.collect::<Vec<_>>(),
        "truncatedAlerts": told.truncated,
    })
}

fn difference_json(difference: &Difference) -> Json {
    let all = |episodes: &[Episode]| episodes.iter().map(episode_json).collect::<Vec<_>>();
    let changed = difference.changed.iter().map(|changed| {
        let mut json = episode_json(&changed.ours);
        json["other"] = json!({
            "firingAt": time(changed.other.0),
            "resolvedAt": changed.other.1.map(time),
        });
        json
    });
    json!({
        "onlyRules": all(&difference.only_ours),
        "onlyOther": all(&difference.only_other),
        "changed": changed.collect::<Vec<_>>(),
    })
}

fn episode_json(episode: &Episode) -> Json {
    json!({
        "receiver": episode.receiver,
        "labels": episode.labels,
        "firingAt": time(episode.firing_at),
        "resolvedAt": episode.resolved_at.map(time),
    })
}

fn show_notifications(found: &Found) {
    let mut table = Table::new(&["TIME", "RECEIVER", "STATUS", "ALERTS", "REASON"]);
    for told in &found.listed {
        table.push(vec![
            time(told.at),
            format!("{}/{}", told.receiver, told.integration),
            status(told.is_firing).to_owned(),
            alerts(told),
            told.reason.clone(),
        ]);
    }
    terminal::print(&table);
    terminal::print(&"");
}

fn alerts(told: &Told) -> String {
    let shown = told.alerts.iter().take(ALERTS_SHOWN);
    let mut texts: Vec<String> = shown.map(alert).collect();
    let more = (told.alerts.len() + told.truncated).saturating_sub(texts.len());
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join(" ")
}

/// The alert, marked with `-` when it is over.
fn alert(alert: &ToldAlert) -> String {
    let sign = if alert.is_firing { "" } else { "-" };
    format!("{sign}{}", named(&alert.labels))
}

/// `Name{label="value"}`
fn named(labels: &BTreeMap<String, String>) -> String {
    let name = labels.get("alertname").map_or("", String::as_str);
    let others = labels.iter().filter(|(name, _)| *name != "alertname");
    let others: Vec<String> = others
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{name}{{{}}}", others.join(","))
}

fn show_totals(found: &Found) {
    let mut table = Table::new(&["RECEIVER", "NOTIFICATIONS", "FIRING", "ALERTS"]);
    let mut notifications = 0;
    for (receiver, total) in found.totals.iter() {
        notifications += total.notifications;
        table.push(vec![
            receiver.to_owned(),
            total.notifications.to_string(),
            total.firing.to_string(),
            total.alerts.to_string(),
        ]);
    }
    terminal::print(&table);
    let listed = found.listed.len() as u64;
    if notifications > listed {
        terminal::print(&format!("{} are not listed", notifications - listed));
    }
    terminal::print(&format!(
        "{} evaluations of rules, {} failed",
        found.evaluations, found.failures
    ));
    for (group, rule, why) in &found.failing {
        terminal::complain(&format!("group {group}, rule {rule}: {why}"));
    }
}

fn show_difference(difference: &Difference) {
    terminal::print(&"");
    if difference.is_empty() {
        terminal::print(&"the other rules tell the same");
        return;
    }
    let mut table = Table::new(&["", "RECEIVER", "ALERT", "FIRING", "RESOLVED"]);
    let mut push = |sign: &str, episode: &Episode, at: TimestampMs, end: Option<TimestampMs>| {
        table.push(vec![
            sign.to_owned(),
            episode.receiver.clone(),
            named(&episode.labels),
            time(at),
            end.map_or_else(|| "-".to_owned(), time),
        ]);
    };
    for episode in &difference.only_ours {
        push("<", episode, episode.firing_at, episode.resolved_at);
    }
    for episode in &difference.only_other {
        push(">", episode, episode.firing_at, episode.resolved_at);
    }
    for changed in &difference.changed {
        let ours = &changed.ours;
        push("< changed", ours, ours.firing_at, ours.resolved_at);
        push("> changed", ours, changed.other.0, changed.other.1);
    }
    terminal::print(&table);
    terminal::print(&format!(
        "< only with --rules: {}, > only with --diff: {}, at other times: {}",
        difference.only_ours.len(),
        difference.only_other.len(),
        difference.changed.len()
    ));
}

const fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

fn time(at: TimestampMs) -> String {
    promql::number::rfc3339(at.0)
}
