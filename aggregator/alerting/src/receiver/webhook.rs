//! A URL of one's own: version 4 of Alertmanager's message, or a payload of one's own.

use template::Limits;

use super::exchange::{Request, Step};
use super::json::Json;
use super::rendering::{Rendered, Rendering, fail};
use crate::config::Setting;

/// The version of the message.
const VERSION: &str = "4";

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let url = rendering.needed_secret("url", "url_file")?;
    let body = match rendering.settings().get("payload") {
        Some(Setting::Tree(payload)) => {
            format!("{}\n", rendering.tree("payload", payload)?).into_bytes()
        }
        _ => message(rendering, VERSION)?,
    };
    Ok(Request::json(url, body).once())
}

/// Returns the data of a notification as JSON, with the version and what the group is.
pub(super) fn message(rendering: &Rendering<'_>, version: &str) -> Rendered<Vec<u8>> {
    let notification = rendering.notification;
    let limits = Limits::default();
    let data = notification.data.to_json(limits).ok_or_else(|| {
        let most = limits.output_bytes;
        fail(format!(
            "the message takes more than {most} bytes; set max_alerts, or group by more labels"
        ))
    })?;
    let members = data.strip_suffix('}').unwrap_or(&data);
    let (version, key) = (Json::from(version), Json::from(&*notification.group_key));
    let truncated = notification.truncated_alerts;
    Ok(format!(
        "{members},\"version\":{version},\"groupKey\":{key},\"truncatedAlerts\":{truncated}}}\n"
    )
    .into_bytes())
}
