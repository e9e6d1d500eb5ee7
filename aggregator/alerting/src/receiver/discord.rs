//! Discord: webhooks with one embed.

use super::exchange::{Request, Step};
use super::json::Object;
use super::rendering::{Rendered, Rendering};
use super::truncate::to_characters;

const TITLE_CHARACTERS_MAX: usize = 256;
const DESCRIPTION_CHARACTERS_MAX: usize = 4096;
const CONTENT_CHARACTERS_MAX: usize = 2000;
const RED: i64 = 0x99_2D_22;
const GREEN: i64 = 0x2E_CC_71;

pub(super) fn open(rendering: &Rendering<'_>) -> Rendered<Step> {
    let url = rendering.needed_secret("webhook_url", "webhook_url_file")?;
    let embed = Object::default()
        .with(
            "title",
            to_characters(rendering.text("title")?, TITLE_CHARACTERS_MAX),
        )
        .with(
            "description",
            to_characters(rendering.text("message")?, DESCRIPTION_CHARACTERS_MAX),
        )
        .with(
            "color",
            if rendering.notification.is_firing() {
                RED
            } else {
                GREEN
            },
        );
    let content = to_characters(rendering.text("content")?, CONTENT_CHARACTERS_MAX);
    let avatar = rendering.text("avatar_url")?;
    // Discord refuses the whole message for an avatar that is no URL.
    let is_url = avatar.starts_with("https://") || avatar.starts_with("http://");
    let body = Object::default()
        .with("content", content)
        .with("embeds", vec![embed.into()])
        .with_text("username", rendering.text("username")?)
        .with_some("avatar_url", is_url.then_some(avatar));
    Ok(Request::json(url, body.into_body()).once())
}
