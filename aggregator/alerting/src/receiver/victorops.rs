//! Splunk On-Call, once VictorOps.

use std::collections::BTreeMap;

use super::exchange::{Request, Step};
use super::json::Json;
use super::rendering::{Rendered, Rendering};
use super::text::{below, hash};
use super::truncate::to_characters;

const MESSAGE_CHARACTERS_MAX: usize = 20_480;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let settings = rendering.settings();
    let key = rendering.needed_secret("api_key", "api_key_file")?;
    let kind = match rendering.text("message_type")? {
        _ if !rendering.notification.is_firing() => "RECOVERY".to_owned(),
        kind if matches!(kind.as_str(), "INFO" | "WARNING" | "CRITICAL") => kind,
        _ => "CRITICAL".to_owned(),
    };
    let message = to_characters(rendering.text("state_message")?, MESSAGE_CHARACTERS_MAX);
    let mut event: BTreeMap<String, String> = [
        ("message_type", kind),
        ("entity_id", hash(&rendering.notification.group_key)),
        (
            "entity_display_name",
            rendering.text("entity_display_name")?,
        ),
        ("state_message", message),
        ("monitoring_tool", rendering.text("monitoring_tool")?),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), text))
    .collect();
    for (name, text) in settings.map("custom_fields").into_iter().flatten() {
        event.insert(name.clone(), rendering.render(name, text)?);
    }
    let path = format!("{key}/{}", rendering.text("routing_key")?);
    let url = below(settings.text("api_url"), &path);
    let body = format!("{}\n", Json::from(&event));
    Ok(Request::json(url, body.into_bytes()).once())
}
