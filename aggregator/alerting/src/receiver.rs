//! Sending: from a notification to a request or a mail, and on its way.
//!
//! One file per kind of integration renders its settings into a chain of [`exchange::Step`]s: plain functions, no socket, no clock,
//! tested byte for byte. [`Sender`] is the thin shell around them: it reads secrets, calls, and says how it went. Alertmanager's
//! payloads are kept as they are; what differs on purpose:
//!
//! - 429 is tried again everywhere, and `Retry-After` is obeyed.
//! - What is too large for a service is cut where people see it (`…`, "and 12 more"), never silently.
//! - Slack and Teams have a second form beside the plain one, `style: rich`.
//! - Labels are never taken for templates, whatever they contain.
//! - Link-local addresses and metadata services of clouds are out of reach unless allowed, however a name or a redirect leads there.
//!
//! Never here: when something is sent, how often it is tried.

mod discord;
mod email;
mod exchange;
mod http;
mod incidentio;
mod jira;
mod json;
mod mattermost;
mod msteams;
mod opsgenie;
mod pagerduty;
mod preview;
mod pushover;
mod rendering;
mod rich;
mod rocketchat;
mod sender;
mod slack;
mod smtp;
mod sns;
mod telegram;
mod templates;
mod text;
mod truncate;
mod victorops;
mod webex;
mod webhook;
mod wechat;

pub use preview::{Preview, preview};
pub(crate) use rich::{STYLE as STYLE_RICH, STYLE_PLAIN};
pub use sender::{Sender, SenderConfig};
pub use templates::{TemplateFileError, load_templates};
pub(crate) use text::{digest, hash};

use crate::IntegrationKind;
use exchange::Step;
use rendering::{Rendered, Rendering, fail};

/// Returns the first step of what is said to the service of an integration that is spoken to over HTTP.
fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    match rendering.notification.integration.kind {
        IntegrationKind::Discord => discord::open(rendering),
        IntegrationKind::Email => Err(fail("mails do not go over HTTP")),
        IntegrationKind::Incidentio => incidentio::open(rendering),
        IntegrationKind::Jira => jira::open(rendering),
        IntegrationKind::Mattermost => mattermost::open(rendering),
        IntegrationKind::MsTeams => msteams::open_v1(rendering),
        IntegrationKind::MsTeamsV2 => msteams::open_v2(rendering),
        IntegrationKind::OpsGenie => opsgenie::open(rendering),
        IntegrationKind::PagerDuty => pagerduty::open(rendering),
        IntegrationKind::Pushover => pushover::open(rendering),
        IntegrationKind::RocketChat => rocketchat::open(rendering),
        IntegrationKind::Slack => slack::open(rendering),
        IntegrationKind::Sns => sns::open(rendering),
        IntegrationKind::Telegram => telegram::open(rendering),
        IntegrationKind::VictorOps => victorops::open(rendering),
        IntegrationKind::Webex => webex::open(rendering),
        IntegrationKind::Webhook => webhook::open(rendering),
        IntegrationKind::WeChat => wechat::open(rendering),
    }
}

/// Returns the statuses that a service means to be tried again, beside those that all do.
fn retried(rendering: &Rendering<'_>) -> &'static [u16] {
    match rendering.notification.integration.kind {
        IntegrationKind::PagerDuty if pagerduty::is_v1(rendering) => &[403],
        _ => &[],
    }
}

#[cfg(test)]
mod tests;
