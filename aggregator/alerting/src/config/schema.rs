//! What may be set where, and what holds when it is not.

use super::settings::Field as F;

pub(super) static GLOBAL: &[F] = &[
    F::duration("resolve_timeout"),
    F::group("http_config", HTTP),
    F::url("jira_api_url"),
    F::text("smtp_from"),
    F::text_or("smtp_hello", "localhost"),
    F::address("smtp_smarthost"),
    F::text("smtp_auth_username"),
    F::secret("smtp_auth_password"),
    F::file("smtp_auth_password_file"),
    F::secret("smtp_auth_secret"),
    F::file("smtp_auth_secret_file"),
    F::text("smtp_auth_identity"),
    F::flag_or("smtp_require_tls", true),
    F::tls("smtp_tls_config"),
    F::flag("smtp_force_implicit_tls"),
    F::secret_url("slack_api_url"),
    F::file("slack_api_url_file"),
    F::secret("slack_app_token"),
    F::file("slack_app_token_file"),
    F::url_or("slack_app_url", "https://slack.com/api/chat.postMessage"),
    F::url_or("pagerduty_url", "https://events.pagerduty.com/v2/enqueue"),
    F::url_or("opsgenie_api_url", "https://api.opsgenie.com/"),
    F::secret("opsgenie_api_key"),
    F::file("opsgenie_api_key_file"),
    F::url_or("wechat_api_url", "https://qyapi.weixin.qq.com/cgi-bin/"),
    F::secret("wechat_api_secret"),
    F::file("wechat_api_secret_file"),
    F::text("wechat_api_corp_id"),
    F::url_or(
        "victorops_api_url",
        "https://alert.victorops.com/integrations/generic/20131114/alert/",
    ),
    F::secret("victorops_api_key"),
    F::file("victorops_api_key_file"),
    F::url_or("telegram_api_url", "https://api.telegram.org"),
    F::secret("telegram_bot_token"),
    F::file("telegram_bot_token_file"),
    F::url_or("webex_api_url", "https://webexapis.com/v1/messages"),
    F::url_or("rocketchat_api_url", "https://open.rocket.chat/"),
    F::secret("rocketchat_token"),
    F::file("rocketchat_token_file"),
    F::secret("rocketchat_token_id"),
    F::file("rocketchat_token_id_file"),
    F::secret_url("mattermost_webhook_url"),
    F::file("mattermost_webhook_url_file"),
];

/// The client of HTTP, as in all of Prometheus.
pub(super) const HTTP: &[F] = &[
    F::group(
        "basic_auth",
        &[
            F::text("username"),
            F::file("username_file"),
            F::text("username_ref"),
            F::secret("password"),
            F::file("password_file"),
            F::text("password_ref"),
        ],
    ),
    F::group(
        "authorization",
        &[
            F::text_or("type", "Bearer"),
            F::secret("credentials"),
            F::file("credentials_file"),
            F::text("credentials_ref"),
        ],
    ),
    F::group(
        "oauth2",
        &[
            F::text("client_id"),
            F::secret("client_secret"),
            F::file("client_secret_file"),
            F::text("client_secret_ref"),
            F::text("client_certificate_key_id"),
            F::secret("client_certificate_key"),
            F::file("client_certificate_key_file"),
            F::text("client_certificate_key_ref"),
            F::text("grant_type"),
            F::text("signature_algorithm"),
            F::text("iss"),
            F::text("audience"),
            F::map_tree("claims"),
            F::texts("scopes"),
            F::text("token_url"),
            F::map("endpoint_params"),
            F::tls("tls_config"),
            F::text("proxy_url"),
            F::text("no_proxy"),
            F::flag("proxy_from_environment"),
            F::map_tree("proxy_connect_header"),
        ],
    ),
    F::secret("bearer_token"),
    F::file("bearer_token_file"),
    F::tls("tls_config"),
    F::flag_or("follow_redirects", true),
    F::flag_or("enable_http2", true),
    F::text("proxy_url"),
    F::text("no_proxy"),
    F::flag("proxy_from_environment"),
    F::map_tree("proxy_connect_header"),
    F::map_tree("http_headers"),
];

/// The client of TLS, as in all of Prometheus.
pub(super) const TLS: &[F] = &[
    F::text("ca"),
    F::text("cert"),
    F::secret("key"),
    F::file("ca_file"),
    F::file("cert_file"),
    F::file("key_file"),
    F::text("ca_ref"),
    F::text("cert_ref"),
    F::text("key_ref"),
    F::text("server_name"),
    F::flag("insecure_skip_verify"),
    F::tls_version("min_version"),
    F::tls_version("max_version"),
];

pub(super) static TRACING: &[F] = &[
    F::text_or("client_type", "grpc"),
    F::text("endpoint"),
    F::text("sampling_fraction"),
    F::flag("insecure"),
    F::tls("tls_config"),
    F::map_tree("headers"),
    F::text("compression"),
    F::duration("timeout"),
];

const SEND_RESOLVED: F = F::flag_or("send_resolved", true);
const KEEP_RESOLVED: F = F::flag_or("send_resolved", false);
const HTTP_CONFIG: F = F::group("http_config", HTTP);
/// Ours: how a message looks.
const STYLE: F = F::text_or("style", crate::receiver::STYLE_PLAIN);
/// Title, value and whether there is room for others beside it.
const MESSAGE_FIELDS: &[F] = &[F::text("title"), F::text("value"), F::flag("short")];

pub(super) static DISCORD: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret_url("webhook_url"),
    F::file("webhook_url_file"),
    F::text("content"),
    F::text_or("title", r#"{{ template "discord.default.title" . }}"#),
    F::text_or("message", r#"{{ template "discord.default.message" . }}"#),
    F::text("username"),
    F::text("avatar_url"),
];

pub(super) static EMAIL: &[F] = &[
    KEEP_RESOLVED,
    F::text("to"),
    F::text("from"),
    F::text("hello"),
    F::address("smarthost"),
    F::text("auth_username"),
    F::secret("auth_password"),
    F::file("auth_password_file"),
    F::secret("auth_secret"),
    F::file("auth_secret_file"),
    F::text("auth_identity"),
    F::map("headers"),
    F::text_or("html", r#"{{ template "email.default.html" . }}"#),
    F::text("text"),
    F::flag("require_tls"),
    F::tls("tls_config"),
    F::flag("force_implicit_tls"),
    F::group(
        "threading",
        &[F::flag("enabled"), F::text("thread_by_date")],
    ),
];

pub(super) static INCIDENTIO: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::url("url"),
    F::file("url_file"),
    F::secret("alert_source_token"),
    F::file("alert_source_token_file"),
    F::count("max_alerts"),
    F::go_duration("timeout"),
];

const JIRA_FIELD: &[F] = &[F::text("template"), F::flag_or("enable_update", true)];

pub(super) static JIRA: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::url("api_url"),
    F::text_or("api_type", "auto"),
    F::text("project"),
    F::text_or_group(
        "summary",
        JIRA_FIELD,
        r#"{{ template "jira.default.summary" . }}"#,
    ),
    F::text_or_group(
        "description",
        JIRA_FIELD,
        r#"{{ template "jira.default.description" . }}"#,
    ),
    F::texts("labels"),
    F::text_or("priority", r#"{{ template "jira.default.priority" . }}"#),
    F::text("issue_type"),
    F::text("reopen_transition"),
    F::text("resolve_transition"),
    F::text("wont_fix_resolution"),
    F::duration("reopen_duration"),
    F::map_tree("fields"),
];

const MATTERMOST_ATTACHMENT: &[F] = &[
    F::text("fallback"),
    F::text("color"),
    F::text("pretext"),
    F::text("text"),
    F::text("author_name"),
    F::text("author_link"),
    F::text("author_icon"),
    F::text("title"),
    F::text("title_link"),
    F::groups("fields", MESSAGE_FIELDS),
    F::text("thumb_url"),
    F::text("footer"),
    F::text("footer_icon"),
    F::text("image_url"),
];

pub(super) static MATTERMOST: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret_url("webhook_url"),
    F::file("webhook_url_file"),
    F::text("channel"),
    F::text_or(
        "username",
        r#"{{ template "mattermost.default.username" . }}"#,
    ),
    F::text_or("text", r#"{{ template "mattermost.default.text" . }}"#),
    F::text_or(
        "fallback",
        r#"{{ template "mattermost.default.fallback" . }}"#,
    ),
    F::text_or("color", r#"{{ template "mattermost.default.color" . }}"#),
    F::text("pretext"),
    F::text("author_name"),
    F::text("author_link"),
    F::text("author_icon"),
    F::text_or("title", r#"{{ template "mattermost.default.title" . }}"#),
    F::text_or(
        "title_link",
        r#"{{ template "mattermost.default.titlelink" . }}"#,
    ),
    F::groups("fields", MESSAGE_FIELDS),
    F::text("thumb_url"),
    F::text("footer"),
    F::text("footer_icon"),
    F::text("image_url"),
    F::text("icon_url"),
    F::text("icon_emoji"),
    F::groups("attachments", MATTERMOST_ATTACHMENT),
    F::text("type"),
    F::group("props", &[F::text("card")]),
    F::group(
        "priority",
        &[
            F::text("priority"),
            F::flag("requested_ack"),
            F::flag("persistent_notifications"),
        ],
    ),
];

pub(super) static MSTEAMS: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret_url("webhook_url"),
    F::file("webhook_url_file"),
    F::text_or("title", r#"{{ template "msteams.default.title" . }}"#),
    F::text_or("summary", r#"{{ template "msteams.default.summary" . }}"#),
    F::text_or("text", r#"{{ template "msteams.default.text" . }}"#),
];

pub(super) static MSTEAMS_V2: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret_url("webhook_url"),
    F::file("webhook_url_file"),
    F::text_or("title", r#"{{ template "msteamsv2.default.title" . }}"#),
    F::text_or("text", r#"{{ template "msteamsv2.default.text" . }}"#),
    STYLE,
];

pub(super) static OPSGENIE: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret("api_key"),
    F::file("api_key_file"),
    F::url("api_url"),
    F::text_or("message", r#"{{ template "opsgenie.default.message" . }}"#),
    F::text_or(
        "description",
        r#"{{ template "opsgenie.default.description" . }}"#,
    ),
    F::text_or("source", r#"{{ template "opsgenie.default.source" . }}"#),
    F::map("details"),
    F::text("entity"),
    F::groups(
        "responders",
        &[
            F::text("id"),
            F::text("name"),
            F::text("username"),
            F::text("type"),
        ],
    ),
    F::text("actions"),
    F::text("tags"),
    F::text("note"),
    F::text("priority"),
    F::flag("update_alerts"),
];

pub(super) static PAGERDUTY: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret("service_key"),
    F::file("service_key_file"),
    F::secret("routing_key"),
    F::file("routing_key_file"),
    F::url("url"),
    F::text_or("client", r#"{{ template "pagerduty.default.client" . }}"#),
    F::text_or(
        "client_url",
        r#"{{ template "pagerduty.default.clientURL" . }}"#,
    ),
    F::text_or(
        "description",
        r#"{{ template "pagerduty.default.description" .}}"#,
    ),
    F::map_tree("details"),
    F::groups("images", &[F::text("src"), F::text("alt"), F::text("href")]),
    F::groups("links", &[F::text("href"), F::text("text")]),
    F::text("source"),
    F::text("severity"),
    F::text("class"),
    F::text("component"),
    F::text("group"),
    F::go_duration("timeout"),
];

pub(super) static PUSHOVER: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret("user_key"),
    F::file("user_key_file"),
    F::secret("token"),
    F::file("token_file"),
    F::text_or("title", r#"{{ template "pushover.default.title" . }}"#),
    F::text_or("message", r#"{{ template "pushover.default.message" . }}"#),
    F::text_or("url", r#"{{ template "pushover.default.url" . }}"#),
    F::text("url_title"),
    F::text("device"),
    F::text("sound"),
    F::text_or(
        "priority",
        r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#,
    ),
    F::unit_duration_or("retry", 60),
    F::unit_duration_or("expire", 3600),
    F::unit_duration("ttl"),
    F::flag("html"),
    F::flag("monospace"),
];

pub(super) static ROCKETCHAT: &[F] = &[
    KEEP_RESOLVED,
    HTTP_CONFIG,
    F::url("api_url"),
    F::secret("token_id"),
    F::file("token_id_file"),
    F::secret("token"),
    F::file("token_file"),
    F::text("channel"),
    F::text_or(
        "color",
        r#"{{ if eq .Status "firing" }}red{{ else }}green{{ end }}"#,
    ),
    F::text_or("title", r#"{{ template "rocketchat.default.title" . }}"#),
    F::text_or(
        "title_link",
        r#"{{ template "rocketchat.default.titlelink" . }}"#,
    ),
    F::text_or("text", r#"{{ template "rocketchat.default.text" . }}"#),
    F::groups("fields", MESSAGE_FIELDS),
    F::flag("short_fields"),
    F::text_or("emoji", r#"{{ template "rocketchat.default.emoji" . }}"#),
    F::text_or(
        "icon_url",
        r#"{{ template "rocketchat.default.iconurl" . }}"#,
    ),
    F::text("image_url"),
    F::text("thumb_url"),
    F::flag("link_names"),
    // Alertmanager gives these no names for YAML of their own, so that they are written in lower case.
    F::groups(
        "actions",
        &[
            F::text("type"),
            F::text("text"),
            F::text("url"),
            F::text("imageurl"),
            F::flag("iswebview"),
            F::text("webviewheightratio"),
            F::text("msg"),
            F::flag("msginchatwindow"),
            F::text("msgprocessingtype"),
        ],
    ),
];

pub(super) static SLACK: &[F] = &[
    KEEP_RESOLVED,
    HTTP_CONFIG,
    F::secret_url("api_url"),
    F::file("api_url_file"),
    F::secret("app_token"),
    F::file("app_token_file"),
    F::url("app_url"),
    F::text("channel"),
    F::text_or("username", r#"{{ template "slack.default.username" . }}"#),
    F::text_or("color", r#"{{ template "slack.default.color" . }}"#),
    F::text_or("title", r#"{{ template "slack.default.title" . }}"#),
    F::text_or(
        "title_link",
        r#"{{ template "slack.default.titlelink" . }}"#,
    ),
    F::text_or("pretext", r#"{{ template "slack.default.pretext" . }}"#),
    F::text_or("text", r#"{{ template "slack.default.text" . }}"#),
    F::text("message_text"),
    F::groups("fields", MESSAGE_FIELDS),
    F::flag("short_fields"),
    F::text_or("footer", r#"{{ template "slack.default.footer" . }}"#),
    F::text_or("fallback", r#"{{ template "slack.default.fallback" . }}"#),
    F::text_or(
        "callback_id",
        r#"{{ template "slack.default.callbackid" . }}"#,
    ),
    F::text_or(
        "icon_emoji",
        r#"{{ template "slack.default.iconemoji" . }}"#,
    ),
    F::text_or("icon_url", r#"{{ template "slack.default.iconurl" . }}"#),
    F::text("image_url"),
    F::text("thumb_url"),
    F::flag("link_names"),
    F::texts("mrkdwn_in"),
    F::groups(
        "actions",
        &[
            F::text("type"),
            F::text("text"),
            F::text("url"),
            F::text("style"),
            F::text("name"),
            F::text("value"),
            F::group(
                "confirm",
                &[
                    F::text("text"),
                    F::text("title"),
                    F::text("ok_text"),
                    F::text("dismiss_text"),
                ],
            ),
        ],
    ),
    F::flag("update_message"),
    F::go_duration("timeout"),
    STYLE,
];

pub(super) static SNS: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::text("api_url"),
    F::group(
        "sigv4",
        &[
            F::text("region"),
            F::text("access_key"),
            F::secret("secret_key"),
            F::text("profile"),
            F::text("role_arn"),
            F::text("external_id"),
            F::flag("use_fips_sts_endpoint"),
            F::text("service_name"),
        ],
    ),
    F::text("topic_arn"),
    F::text("phone_number"),
    F::text("target_arn"),
    F::text_or("subject", r#"{{ template "sns.default.subject" . }}"#),
    F::text_or("message", r#"{{ template "sns.default.message" . }}"#),
    F::map("attributes"),
    F::flag("use_aws_http_client"),
];

pub(super) static TELEGRAM: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::url("api_url"),
    F::secret("bot_token"),
    F::file("bot_token_file"),
    F::integer("chat_id"),
    F::file("chat_id_file"),
    F::integer("message_thread_id"),
    F::text_or("message", r#"{{ template "telegram.default.message" . }}"#),
    F::flag("disable_notifications"),
    F::text_or("parse_mode", "HTML"),
];

pub(super) static VICTOROPS: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret("api_key"),
    F::file("api_key_file"),
    F::url("api_url"),
    F::text("routing_key"),
    F::text_or("message_type", "CRITICAL"),
    F::text_or(
        "state_message",
        r#"{{ template "victorops.default.state_message" . }}"#,
    ),
    F::text_or(
        "entity_display_name",
        r#"{{ template "victorops.default.entity_display_name" . }}"#,
    ),
    F::text_or(
        "monitoring_tool",
        r#"{{ template "victorops.default.monitoring_tool" . }}"#,
    ),
    F::map("custom_fields"),
];

pub(super) static WEBEX: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::url("api_url"),
    F::text_or("message", r#"{{ template "webex.default.message" . }}"#),
    F::text("room_id"),
];

pub(super) static WEBHOOK: &[F] = &[
    SEND_RESOLVED,
    HTTP_CONFIG,
    F::secret_template_url("url"),
    F::file("url_file"),
    F::count("max_alerts"),
    F::go_duration("timeout"),
    F::tree("payload"),
];

pub(super) static WECHAT: &[F] = &[
    KEEP_RESOLVED,
    HTTP_CONFIG,
    F::secret("api_secret"),
    F::file("api_secret_file"),
    F::text("corp_id"),
    F::text_or("message", r#"{{ template "wechat.default.message" . }}"#),
    F::url("api_url"),
    F::text_or("to_user", r#"{{ template "wechat.default.to_user" . }}"#),
    F::text_or("to_party", r#"{{ template "wechat.default.to_party" . }}"#),
    F::text_or("to_tag", r#"{{ template "wechat.default.to_tag" . }}"#),
    F::text_or("agent_id", r#"{{ template "wechat.default.agent_id" . }}"#),
    F::text_or("message_type", "text"),
];
