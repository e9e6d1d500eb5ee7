//! The data that cases are rendered with: `data.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use template::{
    Alert, CONSOLE_FUNCTIONS, Environment, Error, Functions, Limits, Mode, NOTIFICATION_FUNCTIONS,
    Notification, RouteLabels, RuleData, RuleTemplate, Sample, SampleValue, Templates, Time, Value,
};

/// Everything in `data.json`.
#[derive(Debug)]
pub(crate) struct Data(Json);

impl Data {
    pub(crate) fn read() -> Self {
        let path = folder().join("data.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    pub(crate) fn now(&self) -> Time {
        time(&self.0["now"])
    }

    /// Renders `text` with the data called `name`.
    pub(crate) fn render(
        &self,
        templates: &Templates,
        name: &str,
        mode: Mode,
        text: &str,
    ) -> Result<String, Error> {
        if self.0["notifications"].get(name).is_some() {
            let data = Value::from(&self.notification(name));
            let program = templates.compile("", text, mode, &[])?;
            return program.render(
                &data,
                &[],
                &mut template::Fixed(self.now()),
                Limits::default(),
            );
        }
        let rule = &self.0["rules"][name];
        let data = rule_data(rule);
        let mut environment = RuleEnvironment {
            now: self.now(),
            rule,
        };
        match mode {
            Mode::Text => RuleTemplate::parse("case", text)?.expand(
                &data,
                &mut environment,
                Limits::default(),
            ),
            Mode::Html => {
                let program = Templates::new(CONSOLE_FUNCTIONS).compile(
                    "case",
                    text,
                    mode,
                    RuleData::VARIABLES,
                )?;
                program.render(
                    data.value(),
                    data.variables(),
                    &mut environment,
                    Limits::default(),
                )
            }
        }
    }

    /// Returns the data called `name` as they are written.
    pub(crate) fn written(&self, name: &str) -> String {
        self.0["notifications"][name].to_string()
    }

    pub(crate) fn notification(&self, name: &str) -> Notification {
        let json = &self.0["notifications"][name];
        assert!(json.is_object(), "no data {name:?}");
        Notification {
            receiver: string(&json["receiver"]),
            status: string(&json["status"]),
            alerts: json["alerts"]
                .as_array()
                .unwrap()
                .iter()
                .map(alert)
                .collect(),
            notification_reason: string(&json["notification_reason"]),
            group_labels: map(&json["groupLabels"]),
            common_labels: map(&json["commonLabels"]),
            common_annotations: map(&json["commonAnnotations"]),
            route_labels: RouteLabels::Templates(map(&json["routeLabels"])),
            external_url: string(&json["externalURL"]),
        }
    }

    pub(crate) fn rule(&self, name: &str) -> (RuleData, RuleEnvironment<'_>) {
        let rule = &self.0["rules"][name];
        (
            rule_data(rule),
            RuleEnvironment {
                now: self.now(),
                rule,
            },
        )
    }
}

fn rule_data(rule: &Json) -> RuleData {
    let url = string(&rule["externalURL"]);
    let value = SampleValue::Float(rule["value"].as_f64().unwrap());
    RuleData::new(
        map(&rule["labels"]),
        map(&rule["externalLabels"]),
        &url,
        value,
    )
}

pub(crate) struct RuleEnvironment<'d> {
    now: Time,
    rule: &'d Json,
}

impl Environment for RuleEnvironment<'_> {
    fn now(&self) -> Time {
        self.now.clone()
    }

    fn external_url(&self) -> &str {
        self.rule["externalURL"].as_str().unwrap()
    }

    fn query(&mut self, expression: &str) -> Result<Vec<Sample>, String> {
        let samples = self.rule["queries"].get(expression);
        let samples = samples
            .ok_or_else(|| format!("no answer to {expression:?}"))?
            .as_array()
            .unwrap();
        let sample = |json: &Json| Sample {
            labels: map(&json["labels"]).into_iter().collect(),
            value: SampleValue::Float(json["value"].as_f64().unwrap()),
        };
        Ok(samples.iter().map(sample).collect())
    }
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Returns a folder of others' data; `None` where it is not at hand.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find the conformance data by the environment"
)]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let base = std::env::var("PROMONTORY_CONFORMANCE").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = base.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "conformance data must be present in CI: set PROMONTORY_CONFORMANCE"
    );
    println!("skipped: no {name}");
    None
}

/// Returns Alertmanager's own templates.
pub(crate) fn default_templates() -> Option<Templates> {
    let folder = shared("alertmanager-testdata")?.join("template");
    let mut templates = empty_templates(NOTIFICATION_FUNCTIONS);
    for file in ["default.tmpl", "email.tmpl"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        templates.add(file, &text).unwrap();
    }
    Some(templates)
}

pub(crate) fn empty_templates(functions: Functions) -> Templates {
    Templates::new(functions)
}

fn alert(json: &Json) -> Alert {
    Alert {
        status: string(&json["status"]),
        labels: map(&json["labels"]),
        annotations: map(&json["annotations"]),
        starts_at: time(&json["startsAt"]),
        ends_at: time(&json["endsAt"]),
        generator_url: string(&json["generatorURL"]),
        fingerprint: string(&json["fingerprint"]),
    }
}

fn time(json: &Json) -> Time {
    Time::parse_rfc3339(json.as_str().unwrap()).unwrap()
}

fn string(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

fn map(json: &Json) -> BTreeMap<String, String> {
    let entries = json.as_object().unwrap().iter();
    entries
        .map(|(key, value)| (key.clone(), string(value)))
        .collect()
}
