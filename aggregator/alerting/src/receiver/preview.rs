//! What would be sent, without sending it.

use template::{Templates, Time};

use super::exchange::Step;
use super::rendering::{Rendered, Rendering};
use super::{email, open};
use crate::IntegrationKind;
use crate::notification::{Failure, Notification};

/// A message, its secrets replaced by `<secret>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The method, or `MAIL`.
    pub method: String,
    /// The URL, or the recipients.
    pub target: String,
    /// The headers that are particular to it.
    pub headers: Vec<(String, String)>,
    /// The body, or the mail with its headers.
    pub body: String,
}

/// Returns the first message that a notification makes. Secrets' files are read, so that mistakes in them show; nothing is sent.
pub fn preview(
    notification: &Notification,
    templates: &Templates,
    now: Time,
) -> Result<Preview, Failure> {
    let rendering = Rendering::new(notification, templates, now);
    let mut preview = render(&rendering)?;
    for secret in rendering.into_secrets() {
        // In a URL a secret stands encoded.
        for form in [http_shell::encode_component(&secret), secret] {
            if form.is_empty() {
                continue;
            }
            let hide = |text: &mut String| *text = text.replace(&form, "<secret>");
            hide(&mut preview.target);
            hide(&mut preview.body);
            preview
                .headers
                .iter_mut()
                .for_each(|(_, value)| hide(value));
        }
    }
    Ok(preview)
}

fn render(rendering: &Rendering<'_>) -> Rendered<Preview> {
    if rendering.notification.integration.kind == IntegrationKind::Email {
        let mail = email::mail(rendering)?;
        return Ok(Preview {
            method: "MAIL".to_owned(),
            target: mail.to.join(", "),
            headers: Vec::new(),
            body: String::from_utf8_lossy(&mail.content).into_owned(),
        });
    }
    Ok(match open(rendering)? {
        Step::Send(request, _) => Preview {
            method: request.method.to_string(),
            target: request.url,
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
        },
        Step::Done(_) => Preview {
            method: "NONE".to_owned(),
            target: String::new(),
            headers: Vec::new(),
            body: String::new(),
        },
    })
}
