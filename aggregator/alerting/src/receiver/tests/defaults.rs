//! Our default templates come out as Alertmanager's do.

use std::path::PathBuf;

use template::{Fixed, Limits, Mode, NOTIFICATION_FUNCTIONS, Templates, Value};

use super::world::{NOW, alert, notification, templates, time};
use crate::Data;

/// Those that the settings of integrations name, and those that templates of others build on. Our mails look otherwise.
const NAMES: &[&str] = &[
    "__alertmanager",
    "__alertmanagerURL",
    "__subject",
    "__description",
    "discord.default.content",
    "discord.default.title",
    "discord.default.message",
    "jira.default.summary",
    "jira.default.description",
    "jira.default.priority",
    "mattermost.default.color",
    "mattermost.default.username",
    "mattermost.default.title",
    "mattermost.default.titlelink",
    "mattermost.default.fallback",
    "mattermost.default.text",
    "msteams.default.summary",
    "msteams.default.title",
    "msteams.default.text",
    "msteamsv2.default.title",
    "msteamsv2.default.text",
    "opsgenie.default.message",
    "opsgenie.default.description",
    "opsgenie.default.source",
    "pagerduty.default.description",
    "pagerduty.default.client",
    "pagerduty.default.clientURL",
    "pushover.default.title",
    "pushover.default.message",
    "pushover.default.url",
    "rocketchat.default.title",
    "rocketchat.default.alias",
    "rocketchat.default.titlelink",
    "rocketchat.default.emoji",
    "rocketchat.default.iconurl",
    "rocketchat.default.text",
    "slack.default.title",
    "slack.default.username",
    "slack.default.fallback",
    "slack.default.callbackid",
    "slack.default.pretext",
    "slack.default.titlelink",
    "slack.default.iconemoji",
    "slack.default.iconurl",
    "slack.default.text",
    "slack.default.footer",
    "slack.default.color",
    "sns.default.subject",
    "sns.default.message",
    "telegram.default.message",
    "victorops.default.state_message",
    "victorops.default.entity_display_name",
    "victorops.default.monitoring_tool",
    "webex.default.message",
    "wechat.default.message",
    "wechat.default.to_user",
    "wechat.default.to_party",
    "wechat.default.to_tag",
    "wechat.default.agent_id",
    "email.default.subject",
];

#[expect(
    clippy::disallowed_methods,
    reason = "tests find the conformance data by the environment"
)]
fn theirs() -> Option<Templates> {
    let base = std::env::var("PROMONTORY_CONFORMANCE").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = base.join("alertmanager-testdata/template");
    if !folder.exists() {
        assert!(std::env::var("CI").is_err(), "no {}", folder.display());
        println!("skipped: no {}", folder.display());
        return None;
    }
    let mut templates = Templates::new(NOTIFICATION_FUNCTIONS);
    for file in ["default.tmpl", "email.tmpl"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        templates.add(file, &text).unwrap();
    }
    Some(templates)
}

fn cases() -> Vec<Data> {
    let one = notification("webhook", "url: http://h").data;
    let mut mixed = one.clone();
    mixed.alerts = vec![
        alert("firing", "db-1"),
        alert("firing", "<b>\"db\"&2</b>"),
        alert("resolved", "db-3"),
    ];
    mixed.alerts[1]
        .labels
        .insert("severity".to_owned(), "info".to_owned());
    mixed.alerts[0].labels.remove("severity");
    mixed.common_labels.remove("instance");
    mixed.common_labels.remove("severity");
    mixed.common_annotations.clear();
    let mut resolved = one.clone();
    resolved.status = "resolved".to_owned();
    resolved.alerts = vec![alert("resolved", "db-1")];
    let mut odd = mixed.clone();
    odd.group_labels.clear();
    odd.alerts[1]
        .labels
        .insert("severity".to_owned(), "odd".to_owned());
    odd.alerts[2].annotations.clear();
    vec![one, mixed, resolved, odd, Data::default()]
}

#[test]
fn defaults_come_out_as_alertmanagers() {
    let Some(theirs) = theirs() else { return };
    let ours = templates();
    let render = |templates: &Templates, name: &str, mode, data: &Value| {
        let text = format!("{{{{ template {name:?} . }}}}");
        let program = templates.compile("", &text, mode, &[]).unwrap();
        program
            .render(data, &[], &mut Fixed(time(NOW)), Limits::default())
            .unwrap()
    };
    let mut count = 0;
    for data in cases() {
        let data = Value::from(&data);
        for name in NAMES {
            for mode in [Mode::Text, Mode::Html] {
                let (our, their) = (
                    render(&ours, name, mode, &data),
                    render(&theirs, name, mode, &data),
                );
                assert_eq!(our, their, "{name} {mode:?}");
                count += 1;
            }
        }
    }
    println!("{count} renderings alike");
}
