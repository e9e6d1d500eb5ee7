//! E-mail: what is sent to whom, as text of RFC 5322 and MIME.
//!
//! The same notification makes the same mail, its identity included: a server that was given it twice can tell.

mod mime;

use std::collections::BTreeMap;

use super::rendering::{Rendered, Rendering, fail};
use super::smtp::Mail;
use super::text::hash;

/// The subject when none is set.
const SUBJECT: &str = r#"{{ template "email.default.subject" . }}"#;
/// How much of a hash names a thread.
const THREAD_CHARACTERS: usize = 16;
/// The most addresses of one mail.
const RECIPIENTS_MAX: usize = 1_000;

/// Returns the mail of a notification.
pub(super) fn mail(rendering: &Rendering<'_>) -> Rendered<Mail> {
    let from = rendering.text("from")?;
    let to = rendering.text("to")?;
    let senders = addresses("from", &from)?;
    let [sender] = senders.as_slice() else {
        return Err(fail("from must be exactly one address"));
    };
    let recipients = addresses("to", &to)?;
    Ok(Mail {
        from: sender.clone(),
        to: recipients,
        content: content(rendering, &from, &to, sender)?,
    })
}

fn content(rendering: &Rendering<'_>, from: &str, to: &str, sender: &str) -> Rendered<Vec<u8>> {
    let mut text = String::new();
    for (name, value) in headers(rendering, from, to, sender)? {
        text.push_str(&format!("{name}: {}\r\n", mime::header(&value)));
    }
    let notification = rendering.notification;
    let boundary = hash(&format!("{} {}", notification.group_key, rendering.now));
    text.push_str(&format!(
        "Date: {}\r\nContent-Type: multipart/alternative; boundary={boundary}\r\nMIME-Version: 1.0\r\n\r\n",
        mime::date(&rendering.now)
    ));
    let settings = rendering.settings();
    // The last part is the one that readers prefer.
    let parts = [
        (
            "text/plain",
            settings.has("text").then(|| rendering.text("text")),
        ),
        (
            "text/html",
            settings.has("html").then(|| rendering.html("html")),
        ),
    ];
    for (kind, part) in parts {
        let Some(part) = part else { continue };
        text.push_str(&format!(
            "--{boundary}\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Type: {kind}; charset=UTF-8\r\n\r\n"
        ));
        text.push_str(&mime::quoted_printable(&part?));
        text.push_str("\r\n");
    }
    text.push_str(&format!("--{boundary}--\r\n"));
    Ok(text.into_bytes())
}

fn headers(
    rendering: &Rendering<'_>,
    from: &str,
    to: &str,
    sender: &str,
) -> Rendered<BTreeMap<String, String>> {
    let settings = rendering.settings();
    let notification = rendering.notification;
    let mut headers = BTreeMap::new();
    for (name, text) in settings.map("headers").into_iter().flatten() {
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            || name.is_empty()
        {
            return Err(fail(format!("{name:?} is no name of a header")));
        }
        headers.insert(name.clone(), rendering.render(name, text)?);
    }
    let mut default = |name: &str, value: String| {
        headers.entry(name.to_owned()).or_insert(value);
    };
    default("From", from.to_owned());
    default("To", to.to_owned());
    default("Subject", rendering.render("subject", SUBJECT)?);
    let identity = hash(&format!(
        "{} {} {} {} {}",
        notification.receiver,
        notification.integration.index,
        notification.group_key,
        notification.data.status,
        notification.at
    ));
    let domain = sender
        .rsplit_once('@')
        .map_or("localhost", |(_, domain)| domain);
    default("Message-Id", format!("<{identity}@{domain}>"));
    if let Some(threading) = settings
        .group("threading")
        .filter(|threading| threading.flag("enabled"))
    {
        let day = match threading.text("thread_by_date") {
            "none" => String::new(),
            _ => mime::day(&rendering.now),
        };
        let group: String = hash(&notification.group_key)
            .chars()
            .take(THREAD_CHARACTERS)
            .collect();
        // No mail has this identity; readers gather what refers to it all the same.
        let root = format!("<alert-{group}-{day}@alertmanager>");
        default("References", root.clone());
        default("In-Reply-To", root);
    }
    Ok(headers)
}

/// Returns the bare addresses of a list such as `Ops <ops@example.org>, me@example.org`.
fn addresses(name: &str, list: &str) -> Rendered<Vec<String>> {
    let mut addresses = Vec::new();
    for item in split(list) {
        let address = match item.rsplit_once('<') {
            Some((_, rest)) => rest.trim_end().strip_suffix('>').unwrap_or_default(),
            None => item.trim(),
        };
        let is_part = |part: &str| {
            let is_plain =
                |byte: u8| byte > b' ' && byte != 0x7f && !b"<>,;:\"()[]\\@".contains(&byte);
            !part.is_empty() && part.bytes().all(is_plain)
        };
        let is_address = address
            .split_once('@')
            .is_some_and(|(local, domain)| is_part(local) && is_part(domain));
        if !is_address || item.chars().any(char::is_control) {
            return Err(fail(format!("{name}: {:?} is no address", item.trim())));
        }
        addresses.push(address.to_owned());
    }
    if addresses.is_empty() || addresses.len() > RECIPIENTS_MAX {
        return Err(fail(format!(
            "{name}: between 1 and {RECIPIENTS_MAX} addresses are needed"
        )));
    }
    Ok(addresses)
}

/// Splits a list at its commas, but not at those inside quotes.
fn split(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut is_quoted = false;
    for character in list.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_addresses_are_read() {
        let read = |list| addresses("to", list).map_err(|failure| failure.reason);
        assert_eq!(
            read("a@b.c, \"Ops, night\" <ops@b.c>,, Me <me@b.c> ").unwrap(),
            ["a@b.c", "ops@b.c", "me@b.c"]
        );
        for bad in [
            "",
            "a",
            "a@",
            "a b@c",
            "a@b\r\nRCPT TO:<x@y>",
            "<a@b",
            "a@b@c",
            "Me <a@b> x",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
