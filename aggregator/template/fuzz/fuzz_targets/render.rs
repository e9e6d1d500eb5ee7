//! Any text: parsing, escaping and rendering never panic, and end within their limits.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use template::{Alert, Fixed, Limits, Mode, NOTIFICATION_FUNCTIONS, Notification, RuleData, RuleTemplate, SampleValue, Templates, Time, Value};

const LIMITS: Limits = Limits {
    steps: 20_000,
    output_bytes: 50_000,
};

fuzz_target!(|text: &str| {
    let labels = BTreeMap::from([("alertname".to_owned(), "<A>".to_owned()), ("job".to_owned(), "é".to_owned())]);
    let alert = |status: &str| Alert {
        status: status.to_owned(),
        labels: labels.clone(),
        annotations: labels.clone(),
        starts_at: Time::from_unix_ms(1_700_000_000_123),
        ends_at: Time::zero(),
        generator_url: "javascript:x".to_owned(),
        fingerprint: "0".to_owned(),
    };
    let data = Value::from(&Notification {
        alerts: vec![alert("firing"), alert("resolved")],
        group_labels: labels.clone(),
        ..Notification::default()
    });
    let mut environment = Fixed(Time::from_unix_ms(1_800_000_000_000));
    for mode in [Mode::Text, Mode::Html] {
        if let Ok(program) = Templates::new(NOTIFICATION_FUNCTIONS).compile("fuzz", text, mode, &[]) {
            drop(program.render(&data, &[], &mut environment, LIMITS));
        }
    }
    if let Ok(template) = RuleTemplate::parse("fuzz", text) {
        let data = RuleData::new(labels.clone(), labels.clone(), "http://x/y", SampleValue::Float(1.5));
        drop(template.expand(&data, &mut environment, LIMITS));
    }
});
