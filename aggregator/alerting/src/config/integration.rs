//! The integrations of receivers: what each kind needs, and what it takes over from the global settings.

use config::{Node, NodeValue, Position};

use super::schema;
use super::settings::{Field, Setting, Settings, is_template};
use super::{Reader, http};
use crate::receiver::{STYLE_PLAIN, STYLE_RICH};

/// What a notification is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum IntegrationKind {
    Discord,
    Email,
    Incidentio,
    Jira,
    Mattermost,
    MsTeams,
    MsTeamsV2,
    OpsGenie,
    PagerDuty,
    Pushover,
    RocketChat,
    Slack,
    Sns,
    Telegram,
    VictorOps,
    Webex,
    Webhook,
    WeChat,
}

impl IntegrationKind {
    /// All of them, by name.
    pub const ALL: &[Self] = &[
        Self::Discord,
        Self::Email,
        Self::Incidentio,
        Self::Jira,
        Self::Mattermost,
        Self::MsTeams,
        Self::MsTeamsV2,
        Self::OpsGenie,
        Self::PagerDuty,
        Self::Pushover,
        Self::RocketChat,
        Self::Slack,
        Self::Sns,
        Self::Telegram,
        Self::VictorOps,
        Self::Webex,
        Self::Webhook,
        Self::WeChat,
    ];

    /// Returns the name as in `NAME_configs`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discord => "discord",
            Self::Email => "email",
            Self::Incidentio => "incidentio",
            Self::Jira => "jira",
            Self::Mattermost => "mattermost",
            Self::MsTeams => "msteams",
            Self::MsTeamsV2 => "msteamsv2",
            Self::OpsGenie => "opsgenie",
            Self::PagerDuty => "pagerduty",
            Self::Pushover => "pushover",
            Self::RocketChat => "rocketchat",
            Self::Slack => "slack",
            Self::Sns => "sns",
            Self::Telegram => "telegram",
            Self::VictorOps => "victorops",
            Self::Webex => "webex",
            Self::Webhook => "webhook",
            Self::WeChat => "wechat",
        }
    }

    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::Discord => schema::DISCORD,
            Self::Email => schema::EMAIL,
            Self::Incidentio => schema::INCIDENTIO,
            Self::Jira => schema::JIRA,
            Self::Mattermost => schema::MATTERMOST,
            Self::MsTeams => schema::MSTEAMS,
            Self::MsTeamsV2 => schema::MSTEAMS_V2,
            Self::OpsGenie => schema::OPSGENIE,
            Self::PagerDuty => schema::PAGERDUTY,
            Self::Pushover => schema::PUSHOVER,
            Self::RocketChat => schema::ROCKETCHAT,
            Self::Slack => schema::SLACK,
            Self::Sns => schema::SNS,
            Self::Telegram => schema::TELEGRAM,
            Self::VictorOps => schema::VICTOROPS,
            Self::Webex => schema::WEBEX,
            Self::Webhook => schema::WEBHOOK,
            Self::WeChat => schema::WECHAT,
        }
    }
}

/// One integration of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// What it sends to.
    pub kind: IntegrationKind,
    /// Its place among those of its kind, from 0.
    pub index: usize,
    /// Whether a notification is sent when the alerts are resolved.
    pub send_resolved: bool,
    /// Its settings, those of `global` taken over.
    pub settings: Settings,
}

impl Integration {
    /// Reads an integration; what is missing in it is taken from `global`.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        kind: IntegrationKind,
        index: usize,
        node: &Node,
        global: &Settings,
    ) -> Self {
        let name = kind.name();
        let place = format!("{name} config");
        let before = reader.mistakes.len();
        let mut settings = Settings::read(reader, node, kind.fields(), &place);
        if let (NodeValue::Map(_), Some(group)) =
            (&node.value, settings.group("http_config").cloned())
        {
            let at = node.get("http_config").map_or(node.at, |http| http.at);
            http::check(reader, at, &group);
        }
        // What could not be read is missing, but not by mistake.
        if reader.mistakes.len() == before {
            if matches!(node.value, NodeValue::Null) && !may_be_empty(kind) {
                reader.refuse::<()>(node.at, format!("missing {name} config"));
            } else if let Err(message) =
                check(kind, &mut settings).and_then(|()| take_over(kind, &mut settings, global))
            {
                reader.refuse::<()>(node.at, message);
            }
        }
        Self {
            kind,
            index,
            send_resolved: settings.flag("send_resolved"),
            settings,
        }
    }
}

/// Whether an integration may have no settings of its own.
const fn may_be_empty(kind: IntegrationKind) -> bool {
    matches!(
        kind,
        IntegrationKind::Slack
            | IntegrationKind::OpsGenie
            | IntegrationKind::WeChat
            | IntegrationKind::RocketChat
    )
}

type Checked = Result<(), String>;

fn fail(message: impl Into<String>) -> Checked {
    Err(message.into())
}

fn at_most_one(settings: &Settings, name: &str, file: &str) -> Checked {
    if settings.has(name) && settings.has(file) {
        return fail(format!("at most one of {name} & {file} must be configured"));
    }
    Ok(())
}

fn one_of(settings: &Settings, name: &str, file: &str) -> Checked {
    if !settings.has(name) && !settings.has(file) {
        return fail(format!("one of {name} or {file} must be configured"));
    }
    at_most_one(settings, name, file)
}

fn needs(settings: &Settings, name: &str, message: &str) -> Checked {
    if settings.has(name) {
        Ok(())
    } else {
        fail(message)
    }
}

fn has_authorization(settings: &Settings) -> bool {
    let http = settings.group("http_config");
    http.is_some_and(|http| {
        ["authorization", "bearer_token", "bearer_token_file"]
            .iter()
            .any(|name| http.has(name))
    })
}

/// Checks an integration by itself.
fn check(kind: IntegrationKind, settings: &mut Settings) -> Checked {
    match kind {
        IntegrationKind::Discord | IntegrationKind::MsTeams => {
            one_of(settings, "webhook_url", "webhook_url_file")
        }
        IntegrationKind::MsTeamsV2 => {
            check_style(settings)?;
            one_of(settings, "webhook_url", "webhook_url_file")
        }
        IntegrationKind::Email => check_email(settings),
        IntegrationKind::Incidentio => check_incidentio(settings),
        IntegrationKind::Jira => {
            needs(settings, "project", "missing project in jira_config")?;
            needs(settings, "issue_type", "missing issue_type in jira_config")?;
            match settings.text("api_type") {
                "auto" | "cloud" | "datacenter" => Ok(()),
                _ => fail("unknown api_type on jira_config, must be auto, cloud or datacenter"),
            }
        }
        IntegrationKind::Mattermost => {
            let attachments = settings.groups("attachments").iter();
            for part in attachments.chain([&*settings]) {
                check_fields(part, "Mattermost")?;
            }
            at_most_one(settings, "webhook_url", "webhook_url_file")
        }
        IntegrationKind::OpsGenie => check_opsgenie(settings),
        IntegrationKind::PagerDuty => {
            let keys = [
                "routing_key",
                "service_key",
                "routing_key_file",
                "service_key_file",
            ];
            if !keys.iter().any(|key| settings.has(key)) {
                return fail("missing service or routing key in PagerDuty config");
            }
            at_most_one(settings, "routing_key", "routing_key_file")?;
            at_most_one(settings, "service_key", "service_key_file")?;
            if !settings.has("source") {
                let client = settings.text("client").to_owned();
                settings.set("source", Setting::Text(client));
            }
            add_default_details(settings);
            Ok(())
        }
        IntegrationKind::Pushover => {
            one_of(settings, "user_key", "user_key_file")?;
            one_of(settings, "token", "token_file")?;
            if settings.flag("html") && settings.flag("monospace") {
                return fail("at most one of monospace & html must be configured");
            }
            Ok(())
        }
        IntegrationKind::RocketChat => {
            at_most_one(settings, "token", "token_file")?;
            at_most_one(settings, "token_id", "token_id_file")
        }
        IntegrationKind::Slack => check_slack(settings),
        IntegrationKind::Sns => {
            if let Some(signature) = settings.group("sigv4") {
                check_sigv4(signature)?;
            }
            // Of three, one or all: so Alertmanager has it.
            let targets = ["target_arn", "topic_arn", "phone_number"];
            if targets.iter().filter(|name| settings.has(name)).count() % 2 == 0 {
                return fail(
                    "must provide either a Target ARN, Topic ARN, or Phone Number for SNS config",
                );
            }
            Ok(())
        }
        IntegrationKind::Telegram => check_telegram(settings),
        IntegrationKind::VictorOps => check_victorops(settings),
        IntegrationKind::Webex => {
            needs(settings, "room_id", "missing room_id on webex_config")?;
            if has_authorization(settings) {
                Ok(())
            } else {
                fail("missing webex_configs.http_config.authorization")
            }
        }
        IntegrationKind::Webhook => one_of(settings, "url", "url_file"),
        IntegrationKind::WeChat => {
            if !settings.has("message_type") {
                settings.set("message_type", Setting::Text("text".to_owned()));
            }
            match settings.text("message_type") {
                "text" | "markdown" => at_most_one(settings, "api_secret", "api_secret_file"),
                other => fail(format!(
                    "weChat message type {other:?} does not match valid options ^(text|markdown)$"
                )),
            }
        }
    }
}

fn check_email(settings: &mut Settings) -> Checked {
    needs(settings, "to", "missing to address in email config")?;
    let mut headers = std::collections::BTreeMap::new();
    for (name, value) in settings.map("headers").into_iter().flatten() {
        let name = canonical_header(name);
        if headers.contains_key(&name) {
            return fail(format!("duplicate header {name:?} in email config"));
        }
        headers.insert(name, value.clone());
    }
    if let Some(threading) = settings
        .group("threading")
        .filter(|threading| threading.flag("enabled"))
    {
        for header in ["References", "In-Reply-To"] {
            if headers.contains_key(header) {
                return fail(format!(
                    "conflicting configuration: threading.enabled conflicts with custom {header} header"
                ));
            }
        }
        if !matches!(threading.text("thread_by_date"), "none" | "daily") {
            return fail("threading.thread_by_date must be either 'none' or 'daily'");
        }
    }
    settings.set("headers", Setting::Map(headers));
    Ok(())
}

/// Returns a header's name with the first letter of each word in upper case, the others in lower.
pub(super) fn canonical_header(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + &rest.to_lowercase()
    });
    words.collect::<Vec<_>>().join("-")
}

fn check_incidentio(settings: &Settings) -> Checked {
    one_of(settings, "url", "url_file")?;
    at_most_one(settings, "alert_source_token", "alert_source_token_file")?;
    let has_token = settings.has("alert_source_token") || settings.has("alert_source_token_file");
    if has_authorization(settings) && has_token {
        return fail(
            "cannot specify alert_source_token or alert_source_token_file when using http_config.authorization",
        );
    }
    if settings.has("http_config") && !has_authorization(settings) && !has_token {
        return fail(
            "at least one of alert_source_token, alert_source_token_file or http_config.authorization must be configured",
        );
    }
    Ok(())
}

fn check_opsgenie(settings: &Settings) -> Checked {
    at_most_one(settings, "api_key", "api_key_file")?;
    for responder in settings.groups("responders") {
        let shown = ["id", "name", "username", "type"]
            .map(|name| responder.text(name))
            .join(" ");
        if !["id", "username", "name"]
            .iter()
            .any(|name| responder.has(name))
        {
            return fail(format!(
                "opsGenieConfig responder {{{shown}}} has to have at least one of id, username or name specified"
            ));
        }
        let kind = responder.text("type");
        let is_template = is_template(kind)
            .map_err(|error| format!("opsGenieConfig responder {{{shown}}} type contains invalid template syntax: {error}"))?;
        let known = ["team", "teams", "user", "escalation", "schedule"];
        if !is_template && !known.contains(&kind.to_lowercase().as_str()) {
            return fail(format!(
                "opsGenieConfig responder {{{shown}}} type does not match valid options ^(team|teams|user|escalation|schedule)$"
            ));
        }
    }
    Ok(())
}

fn check_fields(settings: &Settings, name: &str) -> Checked {
    for field in settings.groups("fields") {
        needs(
            field,
            "title",
            &format!("missing title in {name} field configuration"),
        )?;
        needs(
            field,
            "value",
            &format!("missing value in {name} field configuration"),
        )?;
    }
    Ok(())
}

fn check_style(settings: &Settings) -> Checked {
    match settings.text("style") {
        STYLE_PLAIN | STYLE_RICH => Ok(()),
        _ => fail(format!("style must be {STYLE_PLAIN} or {STYLE_RICH}")),
    }
}

fn check_slack(settings: &Settings) -> Checked {
    check_style(settings)?;
    check_fields(settings, "Slack")?;
    for action in settings.groups("actions") {
        needs(action, "type", "missing type in Slack action configuration")?;
        needs(action, "text", "missing text in Slack action configuration")?;
        if !action.has("url") && !action.has("name") {
            return fail("missing name or url in Slack action configuration");
        }
        if let Some(confirmation) = action.group("confirm") {
            needs(
                confirmation,
                "text",
                "missing text in Slack confirmation configuration",
            )?;
        }
    }
    at_most_one(settings, "api_url", "api_url_file")?;
    at_most_one(settings, "app_token", "app_token_file")?;
    let has_url = settings.has("api_url") || settings.has("api_url_file");
    let has_token = settings.has("app_token") || settings.has("app_token_file");
    if has_url && has_token {
        return fail(
            "at most one of api_url/api_url_file & app_token/app_token_file must be configured",
        );
    }
    let posts_as_bot = match settings.get("api_url") {
        Some(Setting::Secret(url)) => url.expose() == "https://slack.com/api/chat.postMessage",
        _ => false,
    };
    if settings.flag("update_message") && !posts_as_bot {
        return fail(
            "update_message can only be used with bot tokens. api_url must be set to https://slack.com/api/chat.postMessage",
        );
    }
    Ok(())
}

/// Adds what PagerDuty is told of every notification, unless it is given otherwise.
fn add_default_details(settings: &mut Settings) {
    const DETAILS: [(&str, &str); 4] = [
        ("firing", "{{ .Alerts.Firing | toJson }}"),
        ("resolved", "{{ .Alerts.Resolved | toJson }}"),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ];
    let mut details = match settings.get("details") {
        Some(Setting::Tree(Node {
            value: NodeValue::Map(entries),
            ..
        })) => entries.clone(),
        _ => Vec::new(),
    };
    let at = Position::default();
    for (name, text) in DETAILS {
        if !details.iter().any(|(known, _, _)| known == name) {
            let value = NodeValue::Scalar(text.to_owned());
            details.push((name.to_owned(), at, Node { at, value }));
        }
    }
    let value = NodeValue::Map(details);
    settings.set("details", Setting::Tree(Node { at, value }));
}

fn check_sigv4(signature: &Settings) -> Checked {
    if signature.has("access_key") != signature.has("secret_key") {
        return fail(
            "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
        );
    }
    if signature.has("external_id") && !signature.has("role_arn") {
        return fail("external_id can only be used with role_arn");
    }
    Ok(())
}

fn check_telegram(settings: &Settings) -> Checked {
    at_most_one(settings, "bot_token", "bot_token_file")?;
    let has_chat = settings.integer("chat_id") != 0;
    match (has_chat, settings.has("chat_id_file")) {
        (false, false) => return fail("missing chat_id or chat_id_file on telegram_config"),
        (true, true) => return fail("at most one of chat_id & chat_id_file must be configured"),
        _ => {}
    }
    match settings.text("parse_mode") {
        "" | "Markdown" | "MarkdownV2" | "HTML" => Ok(()),
        _ => fail(
            "unknown parse_mode on telegram_config, must be Markdown, MarkdownV2, HTML or empty string",
        ),
    }
}

fn check_victorops(settings: &Settings) -> Checked {
    needs(
        settings,
        "routing_key",
        "missing Routing key in VictorOps config",
    )?;
    at_most_one(settings, "api_key", "api_key_file")?;
    let reserved = [
        "routing_key",
        "message_type",
        "state_message",
        "entity_display_name",
        "monitoring_tool",
        "entity_id",
        "entity_state",
    ];
    let custom = settings.map("custom_fields");
    match reserved
        .iter()
        .find(|name| custom.is_some_and(|fields| fields.contains_key(**name)))
    {
        Some(name) => fail(format!(
            "victorOps config contains custom field {name} which cannot be used as it conflicts with the fixed/static fields"
        )),
        None => Ok(()),
    }
}

/// Takes over what is missing from the global settings, and checks that all is there then.
fn take_over(kind: IntegrationKind, settings: &mut Settings, global: &Settings) -> Checked {
    match kind {
        IntegrationKind::Email => {}
        IntegrationKind::MsTeamsV2 if settings.has("http_config") => {
            // Only here the proxy alone can be the global one.
            if let (Some(own), Some(shared)) =
                (settings.group("http_config"), global.group("http_config"))
            {
                let mut own = own.clone();
                own.inherit("proxy_url", shared, "proxy_url");
                settings.set("http_config", Setting::Group(own));
            }
        }
        _ => settings.inherit("http_config", global, "http_config"),
    }
    match kind {
        IntegrationKind::Email => take_over_email(settings, global),
        IntegrationKind::Jira => {
            settings.inherit("api_url", global, "jira_api_url");
            needs(settings, "api_url", "no global Jira Cloud URL set")
        }
        IntegrationKind::Mattermost => {
            pair(
                settings,
                ["webhook_url", "webhook_url_file"],
                global,
                ["mattermost_webhook_url", "mattermost_webhook_url_file"],
            );
            either(
                settings,
                "webhook_url",
                "webhook_url_file",
                "missing webhook_url or webhook_url_file on mattermost_config",
            )
        }
        IntegrationKind::OpsGenie => {
            settings.inherit("api_url", global, "opsgenie_api_url");
            end_with_slash(settings);
            pair(
                settings,
                ["api_key", "api_key_file"],
                global,
                ["opsgenie_api_key", "opsgenie_api_key_file"],
            );
            either(
                settings,
                "api_key",
                "api_key_file",
                "no global OpsGenie API Key set either inline or in a file",
            )
        }
        IntegrationKind::PagerDuty => {
            settings.inherit("url", global, "pagerduty_url");
            needs(settings, "url", "no global PagerDuty URL set")
        }
        IntegrationKind::RocketChat => {
            settings.inherit("api_url", global, "rocketchat_api_url");
            pair(
                settings,
                ["token_id", "token_id_file"],
                global,
                ["rocketchat_token_id", "rocketchat_token_id_file"],
            );
            either(
                settings,
                "token_id",
                "token_id_file",
                "no global Rocketchat TokenID set either inline or in a file",
            )?;
            pair(
                settings,
                ["token", "token_file"],
                global,
                ["rocketchat_token", "rocketchat_token_file"],
            );
            either(
                settings,
                "token",
                "token_file",
                "no global Rocketchat Token set either inline or in a file",
            )
        }
        IntegrationKind::Slack => take_over_slack(settings, global),
        IntegrationKind::Telegram => {
            settings.inherit("api_url", global, "telegram_api_url");
            pair(
                settings,
                ["bot_token", "bot_token_file"],
                global,
                ["telegram_bot_token", "telegram_bot_token_file"],
            );
            either(
                settings,
                "bot_token",
                "bot_token_file",
                "missing bot_token or bot_token_file on telegram_config",
            )
        }
        IntegrationKind::VictorOps => {
            settings.inherit("api_url", global, "victorops_api_url");
            end_with_slash(settings);
            pair(
                settings,
                ["api_key", "api_key_file"],
                global,
                ["victorops_api_key", "victorops_api_key_file"],
            );
            either(
                settings,
                "api_key",
                "api_key_file",
                "no global VictorOps API Key set",
            )
        }
        IntegrationKind::Webex => {
            settings.inherit("api_url", global, "webex_api_url");
            Ok(())
        }
        IntegrationKind::WeChat => {
            settings.inherit("api_url", global, "wechat_api_url");
            pair(
                settings,
                ["api_secret", "api_secret_file"],
                global,
                ["wechat_api_secret", "wechat_api_secret_file"],
            );
            either(
                settings,
                "api_secret",
                "api_secret_file",
                "no global Wechat Api Secret set either inline or in a file",
            )?;
            settings.inherit("corp_id", global, "wechat_api_corp_id");
            end_with_slash(settings);
            needs(settings, "corp_id", "no global Wechat CorpID set")
        }
        IntegrationKind::Discord
        | IntegrationKind::Incidentio
        | IntegrationKind::MsTeams
        | IntegrationKind::MsTeamsV2
        | IntegrationKind::Pushover
        | IntegrationKind::Sns
        | IntegrationKind::Webhook => Ok(()),
    }
}

/// Takes a secret over, or its file, when there is neither.
fn pair(settings: &mut Settings, own: [&'static str; 2], global: &Settings, theirs: [&str; 2]) {
    if own.iter().any(|name| settings.has(name)) {
        return;
    }
    for (own, theirs) in own.into_iter().zip(theirs) {
        settings.inherit(own, global, theirs);
    }
}

fn either(settings: &Settings, name: &str, file: &str, message: &str) -> Checked {
    if settings.has(name) || settings.has(file) {
        Ok(())
    } else {
        fail(message)
    }
}

fn end_with_slash(settings: &mut Settings) {
    let url = settings.text("api_url");
    if !url.is_empty() && !url.ends_with('/') {
        let url = format!("{url}/");
        settings.set("api_url", Setting::Text(url));
    }
}

fn take_over_email(settings: &mut Settings, global: &Settings) -> Checked {
    settings.inherit("tls_config", global, "smtp_tls_config");
    settings.inherit("smarthost", global, "smtp_smarthost");
    needs(settings, "smarthost", "no global SMTP smarthost set")?;
    settings.inherit("from", global, "smtp_from");
    needs(settings, "from", "no global SMTP from set")?;
    settings.inherit("hello", global, "smtp_hello");
    settings.inherit("auth_username", global, "smtp_auth_username");
    pair(
        settings,
        ["auth_password", "auth_password_file"],
        global,
        ["smtp_auth_password", "smtp_auth_password_file"],
    );
    settings.inherit("auth_secret", global, "smtp_auth_secret");
    settings.inherit("auth_secret_file", global, "smtp_auth_secret_file");
    settings.inherit("auth_identity", global, "smtp_auth_identity");
    settings.inherit("require_tls", global, "smtp_require_tls");
    settings.inherit("force_implicit_tls", global, "smtp_force_implicit_tls");
    Ok(())
}

fn take_over_slack(settings: &mut Settings, global: &Settings) -> Checked {
    settings.inherit("app_url", global, "slack_app_url");
    needs(settings, "app_url", "no global Slack App URL set")?;
    let own_authorization = has_authorization(settings) || settings.has("api_url");
    if !own_authorization {
        pair(
            settings,
            ["app_token", "app_token_file"],
            global,
            ["slack_app_token", "slack_app_token_file"],
        );
    }
    pair(
        settings,
        ["api_url", "api_url_file"],
        global,
        ["slack_api_url", "slack_api_url_file"],
    );
    if !["api_url", "api_url_file", "app_token", "app_token_file"]
        .iter()
        .any(|name| settings.has(name))
    {
        return fail("no Slack API URL nor App token set either inline or in a file");
    }
    Ok(())
}
