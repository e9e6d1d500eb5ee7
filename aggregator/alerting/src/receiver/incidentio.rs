//! incident.io: an alert source over HTTP.

use http_shell::header::AUTHORIZATION;

use super::exchange::{Request, Step};
use super::rendering::{Rendered, Rendering};
use super::webhook;
use crate::notification::Notification;

const VERSION: &str = "1";
/// What incident.io takes.
const BODY_BYTES_MAX: usize = 512 * 1024;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let url = match rendering.text("url")? {
        none if none.is_empty() => rendering.needed_secret("url", "url_file")?,
        url => url,
    };
    let mut request = Request::json(url, body(rendering)?);
    if let Some(token) = rendering.secret("alert_source_token", "alert_source_token_file")? {
        request = request.with(AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(request.once())
}

/// Returns the message; of one that is too large, the first alert alone: usually one is made of a group anyway.
fn body(rendering: &Rendering<'_>) -> Rendered<Vec<u8>> {
    let body = webhook::message(rendering, VERSION)?;
    if body.len() <= BODY_BYTES_MAX {
        return Ok(body);
    }
    let cut = first_alert(rendering.notification);
    webhook::message(&rendering.of(&cut), VERSION)
}

fn first_alert(notification: &Notification) -> Notification {
    let dropped = notification.data.alerts.len().saturating_sub(1);
    let mut cut = notification.clone();
    cut.data.alerts.truncate(1);
    cut.truncated_alerts += dropped;
    cut
}
