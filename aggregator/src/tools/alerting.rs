//! `promontory check alertmanager-config`, `promontory check routes`, `promontory alerts explain`.

use std::path::Path;
use std::process::ExitCode;

use alerting::{Config, MatcherMode, RouteTree, TemplateFileError, load_templates, parse_matcher};
use config::Settings;
use http_shell::Form;
use model::{Labels, LabelsBuilder, MatchOp};

use super::client::Caller;
use super::table::Table;
use crate::alerting_service::local_zone;
use crate::terminal;

/// `promontory check alertmanager-config`
pub(crate) fn check_config(paths: &[String]) -> ExitCode {
    let mut failed = 0;
    for path in paths {
        let checked = load(path);
        let templates = checked
            .as_ref()
            .map_or(Ok(()), |config| load_templates(&config.templates).map(drop));
        failed += usize::from(checked.is_err() || templates.is_err());
        terminal::print(&report(path, &checked, &templates));
    }
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    terminal::complain(&format!("failed to validate {failed} file(s)"));
    ExitCode::FAILURE
}

fn report(
    path: &str,
    checked: &Result<Config, String>,
    templates: &Result<(), TemplateFileError>,
) -> String {
    let config = match checked {
        Ok(config) => config,
        Err(mistakes) => return format!("Checking '{path}'  FAILED: {mistakes}\n\n"),
    };
    let mut report = format!(
        "Checking '{path}'  SUCCESS\nFound:\n - global config\n - route\n - {} inhibit rules\n - {} receivers\n - {} templates\n",
        config.inhibit_rules.len(),
        config.receivers.len(),
        config.templates.len()
    );
    match templates {
        Err(error) => report.push_str(&format!("  FAILED: {error}\n")),
        Ok(()) if !config.templates.is_empty() => report.push_str("  SUCCESS\n"),
        Ok(()) => {}
    }
    for warning in &config.warnings {
        report.push_str(&format!(" warning: {warning}\n"));
    }
    report.push('\n');
    report
}

fn load(path: &str) -> Result<Config, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read it: {error}"))?;
    Config::parse(Path::new(path), &text, MatcherMode::Fallback, &local_zone())
        .map_err(|mistakes| mistakes.to_string())
}

/// `promontory check routes`
pub(crate) fn check_routes(
    settings: &Settings,
    file: &[String],
    labels: &[String],
) -> anyhow::Result<ExitCode> {
    let path = file.first().map(String::as_str).unwrap_or_default();
    let config = load(path).map_err(|mistakes| anyhow::anyhow!("{path}: {mistakes}"))?;
    let tree = RouteTree::new(&config.route);
    if labels.is_empty() {
        terminal::print(&format!("Routing tree:\n{}\n", tree.draw()));
        return Ok(ExitCode::SUCCESS);
    }
    let labels = read_labels(labels)?;
    if settings.switch("tree") {
        terminal::print(&format!(
            "Matching routes:\n{}\n",
            tree.draw_matching(&labels)
        ));
    }
    let receivers = tree.receivers(&labels).join(",");
    terminal::print(&receivers);
    match settings.optional_text("verify.receivers") {
        Some(expected) if expected != receivers => {
            terminal::print(&"WARNING: Expected receivers did not match resolved receivers.");
            Ok(ExitCode::FAILURE)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Reads `name=value`; of a name that comes twice, the last value counts.
fn read_labels(texts: &[String]) -> anyhow::Result<Labels> {
    let mut labels = LabelsBuilder::new();
    for text in texts {
        let matcher = parse_matcher(text, MatcherMode::Fallback)
            .map_err(|error| anyhow::anyhow!("failed to parse labels: {error}"))?;
        anyhow::ensure!(
            matcher.op() == MatchOp::Equal,
            "failed to parse labels: {text:?} is no name=value"
        );
        labels.set(matcher.name(), matcher.value());
    }
    Ok(labels.build())
}

/// `promontory alerts explain`
pub(crate) fn explain(settings: &Settings, matchers: &[String]) -> anyhow::Result<ExitCode> {
    let mut form = Form::default();
    for matcher in matchers {
        form = form.with("filter", matcher.as_str());
    }
    for name in ["start", "end"] {
        form = form.with(name, settings.optional_text(name).unwrap_or_default());
    }
    let path = format!("/api/v1/alerts/history?{}", form.encode());
    let data = Caller::of_server(settings)?.get(&path)?;
    super::show(settings, &data, || {
        let columns = [
            "TIME", "EVENT", "OF", "ALERTS", "RECEIVER", "GROUP", "DETAIL",
        ];
        let mut table = Table::new(&columns);
        for event in data.as_array().into_iter().flatten() {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let alerts = event["alerts"].as_array().into_iter().flatten();
            let alerts: Vec<&str> = alerts.filter_map(|one| one.as_str()).collect();
            let span = |late: &serde_json::Value| {
                let time = |name: &str| late[name].as_str().unwrap_or_default().to_owned();
                format!("{} to {}", time("start"), time("end"))
            };
            table.push(vec![
                text("time"),
                text("event"),
                event.get("late").map(span).unwrap_or_default(),
                alerts.join(" "),
                text("receiver"),
                text("group"),
                text("detail"),
            ]);
        }
        table
    })
}
