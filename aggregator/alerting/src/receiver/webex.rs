//! Webex: a bot's messages to a room. Its token is that of `http_config`.

use super::exchange::{Request, Step};
use super::json::Object;
use super::rendering::{Rendered, Rendering};
use super::truncate::to_bytes;

const MESSAGE_BYTES_MAX: usize = 7_439;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let message = to_bytes(rendering.text("message")?, MESSAGE_BYTES_MAX);
    let body = Object::default()
        .with("markdown", message)
        .with_text("roomId", rendering.text("room_id")?);
    let url = rendering.settings().text("api_url");
    Ok(Request::json(url, body.into_body()).once())
}
