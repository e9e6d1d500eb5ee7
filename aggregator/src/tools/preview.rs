//! `promontory alerts preview`: what a receiver would be sent, for an example alert; with `--send`, also sends it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use alerting::{
    Config, Data, Deliver as _, Integration, MatcherMode, Notification, Outcome, Preview, Reach,
    Receiver, Sender, SenderConfig, load_templates, preview,
};
use anyhow::Context as _;
use clock::{Clock as _, SystemClock};
use config::Settings;
use serde_json::{Value, json};
use template::{Alert, RouteLabels, Time, Zone};

use crate::terminal::{self, Printer};

/// A configuration file may be so long.
const CONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a message may take with `--send`.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long the example alert has been firing.
const FIRING_FOR_MS: i64 = 65 * 60 * 1000;
const EXAMPLE: [(&str, &str); 3] = [
    ("alertname", "ExampleAlert"),
    ("instance", "example-1:9100"),
    ("severity", "warning"),
];
const EXAMPLE_ANNOTATIONS: [(&str, &str); 3] = [
    ("summary", "This is an example: nothing is wrong"),
    ("runbook_url", "https://runbooks.example.org/example"),
    ("value", "42"),
];

/// What one integration would be sent, or was.
struct Shown {
    name: String,
    made: Result<Preview, String>,
    sent: Option<Result<(), String>>,
}

/// `promontory alerts preview`
pub(crate) fn alerts_preview(settings: &Settings) -> anyhow::Result<ExitCode> {
    let path = settings.path("config");
    let config = read(path)?;
    let receiver = find(&config, settings.text("receiver"), path)?;
    let templates = load_templates(&config.templates).context("cannot load the templates")?;
    let data = data(receiver, settings, &now())?;
    let sender = settings.switch("send").then(|| {
        let config = SenderConfig {
            reach: Reach::Ordinary,
            within: SEND_WITHIN,
            now: Arc::new(now),
        };
        Sender::new(templates.clone(), config)
    });
    let runtime = runtime::multi_thread("promontory", 1, runtime::BLOCKING_THREADS)?;
    let mut shown = Vec::new();
    for integration in &receiver.integrations {
        let notification = Arc::new(notification(receiver, integration, &data, &now()));
        let made = preview(&notification, &templates, now());
        shown.push(Shown {
            name: format!("{}[{}]", integration.kind.name(), integration.index),
            made: made.map_err(|failure| failure.reason),
            sent: sender.as_ref().map(|sender| {
                match runtime.block_on(sender.deliver(&notification)) {
                    Outcome::Delivered { .. } => Ok(()),
                    Outcome::Retry { failure, .. } | Outcome::GiveUp(failure) => {
                        Err(failure.reason)
                    }
                }
            }),
        });
    }
    if settings.text("output") == "json" {
        let list: Vec<Value> = shown.iter().map(as_json).collect();
        terminal::print(&serde_json::to_string_pretty(&list)?);
    } else {
        print(&shown);
    }
    let is_well = |shown: &Shown| shown.made.is_ok() && !matches!(shown.sent, Some(Err(_)));
    Ok(if shown.iter().all(is_well) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn now() -> Time {
    let since = SystemClock::new().wall().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    Time::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let reading = || format!("cannot read {}", path.display());
    let bytes = fs::metadata(path).with_context(reading)?.len();
    anyhow::ensure!(
        bytes <= CONFIG_BYTES_MAX,
        "{} has {bytes} bytes, more than the {CONFIG_BYTES_MAX} that a configuration may have",
        path.display()
    );
    let text = fs::read_to_string(path).with_context(reading)?;
    Ok(Config::parse(
        path,
        &text,
        MatcherMode::Fallback,
        &Zone::utc(),
    )?)
}

fn find<'c>(config: &'c Config, name: &str, path: &Path) -> anyhow::Result<&'c Receiver> {
    let receiver = config.receivers.get(name);
    let receiver = receiver.with_context(|| {
        let names: Vec<&str> = config.receivers.keys().map(String::as_str).collect();
        format!(
            "{} has no receiver {name:?}; it has {}",
            path.display(),
            names.join(", ")
        )
    })?;
    anyhow::ensure!(
        !receiver.integrations.is_empty(),
        "receiver {name:?} has no integrations: nobody would be told"
    );
    Ok(receiver)
}

/// Returns the data of a group of one alert: the one given, or the example.
fn data(receiver: &Receiver, settings: &Settings, now: &Time) -> anyhow::Result<Data> {
    let given = settings.optional_text("alert").unwrap_or_default();
    let (labels, annotations) = labels(given.trim())?;
    let status = if settings.switch("resolved") {
        "resolved"
    } else {
        "firing"
    };
    let external_url = settings
        .text("web.external-url")
        .trim_end_matches('/')
        .to_owned();
    let alert = Alert {
        status: status.to_owned(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        starts_at: Time::from_unix_ms(now.unix_ms() - FIRING_FOR_MS),
        ends_at: if status == "resolved" {
            now.clone()
        } else {
            Time::zero()
        },
        generator_url: format!("{external_url}/graph?g0.expr=up&g0.tab=1"),
        fingerprint: "0000000000000000".to_owned(),
    };
    let name = labels.get_key_value("alertname");
    Ok(Data {
        receiver: receiver.name.clone(),
        status: status.to_owned(),
        alerts: vec![alert],
        notification_reason: "first_notification".to_owned(),
        group_labels: name
            .map(|(name, value)| (name.clone(), value.clone()))
            .into_iter()
            .collect(),
        common_labels: labels,
        common_annotations: annotations,
        route_labels: RouteLabels::default(),
        external_url,
    })
}

type Texts = BTreeMap<String, String>;

/// Reads labels: `a=b,c=d`, or an object of JSON as the API takes it, with `labels` and `annotations`.
fn labels(given: &str) -> anyhow::Result<(Texts, Texts)> {
    let owned = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Texts>()
    };
    if given.is_empty() {
        return Ok((owned(&EXAMPLE), owned(&EXAMPLE_ANNOTATIONS)));
    }
    if given.starts_with('{') {
        let json: Value = serde_json::from_str(given).context("--alert is no JSON")?;
        let texts = |name: &str| -> Texts {
            let members = json[name].as_object().into_iter().flatten();
            members
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect()
        };
        let labels = texts("labels");
        anyhow::ensure!(
            !labels.is_empty(),
            "--alert has no labels: expected {{\"labels\": {{...}}, \"annotations\": {{...}}}}"
        );
        return Ok((labels, texts("annotations")));
    }
    let pairs = given.split(',').map(|pair| {
        let (name, value) = pair
            .split_once('=')
            .with_context(|| format!("--alert: {pair:?} is no NAME=VALUE"))?;
        Ok((
            name.trim().to_owned(),
            value.trim().trim_matches('"').to_owned(),
        ))
    });
    Ok((
        pairs.collect::<anyhow::Result<_>>()?,
        owned(&EXAMPLE_ANNOTATIONS),
    ))
}

fn notification(
    receiver: &Receiver,
    integration: &Integration,
    data: &Data,
    now: &Time,
) -> Notification {
    let name = data
        .group_labels
        .get("alertname")
        .map_or("", String::as_str);
    Notification {
        receiver: receiver.name.clone(),
        integration: Arc::new(integration.clone()),
        group_key: format!("{{}}:{{alertname={name:?}}}"),
        data: data.clone(),
        truncated_alerts: 0,
        remembered: BTreeMap::new(),
        at: now.clone(),
    }
}

fn as_json(shown: &Shown) -> Value {
    let mut json = match &shown.made {
        Ok(made) => {
            let headers: Vec<Value> = made
                .headers
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            json!({"method": made.method, "target": made.target, "headers": headers, "body": made.body})
        }
        Err(error) => json!({"error": error}),
    };
    json["integration"] = shown.name.as_str().into();
    if let Some(sent) = &shown.sent {
        json["sent"] = match sent {
            Ok(()) => json!({"delivered": true}),
            Err(error) => json!({"delivered": false, "error": error}),
        };
    }
    json
}

fn print(shown: &[Shown]) {
    let mut printer = Printer::new();
    for (index, shown) in shown.iter().enumerate() {
        if index > 0 {
            printer.line(&"");
        }
        printer.line(&format_args!("== {}", shown.name));
        match &shown.made {
            Ok(made) => {
                printer.line(&format_args!("{} {}", made.method, made.target));
                for (name, value) in &made.headers {
                    printer.line(&format_args!("{name}: {value}"));
                }
                printer.line(&"");
                printer.line(&pretty(&made.body));
            }
            Err(error) => printer.line(&format_args!("cannot make it: {error}")),
        }
        match &shown.sent {
            None => {}
            Some(Ok(())) => printer.line(&"sent: it was taken"),
            Some(Err(error)) => printer.line(&format_args!("not sent: {error}")),
        }
    }
    printer.finish();
}

/// Returns JSON in lines for people, anything else as it is.
fn pretty(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(json) => serde_json::to_string_pretty(&json).unwrap_or_else(|_| body.to_owned()),
        Err(_) => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_given_as_labels_or_as_json() {
        let (example, _) = labels("").unwrap();
        assert_eq!(example["alertname"], "ExampleAlert");
        let (given, _) = labels("alertname=A, severity=\"page\"").unwrap();
        assert_eq!(
            (given["alertname"].as_str(), given["severity"].as_str()),
            ("A", "page")
        );
        let json = r#"{"labels": {"alertname": "B"}, "annotations": {"summary": "s"}}"#;
        let (given, annotations) = labels(json).unwrap();
        assert_eq!(
            (given["alertname"].as_str(), annotations["summary"].as_str()),
            ("B", "s")
        );
        for bad in ["x", "{", "{}"] {
            assert!(labels(bad).is_err(), "{bad}");
        }
    }
}
