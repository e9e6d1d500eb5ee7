//! What makes a value safe at one kind of place.

use super::context::{Context, Element, State};
use super::transition::{Scanner, is_harmless_attribute};
use super::{UNSAFE, css, script, url};
use crate::escape;
use crate::format::{self, Bounded};
use crate::json;
use crate::value::{Safe, Value};

/// A step of escaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escaper {
    /// Text between tags.
    Html,
    /// A value in quotes.
    Attribute,
    /// A value without quotes.
    UnquotedAttribute,
    /// The content of `title` and `textarea`.
    PlainContent,
    AttributeName,
    /// Comments are left out, and values in them.
    Comment,
    UrlFilter,
    UrlNormalizer,
    UrlQuery,
    Srcset,
    JsValue,
    JsString,
    JsTemplate,
    JsRegexp,
    CssString,
    CssValue,
    /// The function `html`, in place of one of the first.
    HtmlFunction,
    /// The function `urlquery`.
    UrlQueryFunction,
}

impl Escaper {
    /// Returns the function that can stand in for this: it escapes at least as much.
    pub(super) const fn function(self) -> Option<&'static str> {
        match self {
            Self::Html | Self::Attribute | Self::PlainContent => Some("html"),
            Self::UrlQuery | Self::UrlNormalizer => Some("urlquery"),
            _ => None,
        }
    }

    /// Whether `next` has nothing left to do behind this.
    pub(super) const fn covers(self, next: Self) -> bool {
        match self {
            Self::Comment => matches!(next, Self::Attribute | Self::Html),
            Self::CssString | Self::JsRegexp | Self::JsString | Self::JsTemplate => {
                matches!(next, Self::Attribute)
            }
            Self::UrlQuery => matches!(next, Self::UrlNormalizer),
            _ => false,
        }
    }

    /// Writes `value` made safe into `out`, and returns that.
    pub(crate) fn apply(self, value: &Value, mut out: Bounded) -> Bounded {
        let printed;
        let (text, safe) = match value {
            Value::String(text) => (&**text, None),
            Value::Safe(safe, text) => (&**text, Some(*safe)),
            Value::Absent | Value::Nil => ("", None),
            value => {
                let mut plain = Bounded::new(out.limit());
                format::print_indirect(&mut plain, std::slice::from_ref(value));
                printed = plain.finish().unwrap_or_default();
                (printed.as_str(), None)
            }
        };
        let out_ref = &mut out;
        let is_html = safe == Some(Safe::Html);
        match self {
            Self::Html if is_html => out_ref.push_str(text),
            Self::Html | Self::PlainContent | Self::Attribute if !is_html => {
                escape::replace(out_ref, text, html_text)
            }
            Self::PlainContent => escape::replace(out_ref, text, html_kept),
            Self::Html | Self::Attribute => {
                escape::replace(out_ref, &text_of_html(text), html_kept)
            }
            Self::UnquotedAttribute if is_html => unquoted(out_ref, &text_of_html(text), true),
            Self::UnquotedAttribute => unquoted(out_ref, text, false),
            Self::AttributeName => out_ref.push_str(attribute_name(text)),
            Self::Comment => {}
            Self::UrlFilter if safe == Some(Safe::Url) || url::is_safe(text) => {
                out_ref.push_str(text)
            }
            Self::UrlFilter => {
                out_ref.push('#');
                out_ref.push_str(UNSAFE);
            }
            Self::UrlQuery if safe != Some(Safe::Url) => url::escape(out_ref, text),
            Self::UrlQuery | Self::UrlNormalizer => url::normalize(out_ref, text),
            Self::Srcset if safe == Some(Safe::Url) => {
                let mut normalized = Bounded::new(out_ref.limit());
                url::normalize(&mut normalized, text);
                escape::replace(
                    out_ref,
                    &normalized.finish().unwrap_or_default(),
                    |character| (character == ',').then_some("%2c"),
                );
            }
            Self::Srcset => url::srcset(out_ref, text),
            Self::JsValue => js_value(out_ref, value),
            Self::JsString => js_literal(out_ref, text, js_string),
            Self::JsTemplate => js_literal(out_ref, text, js_template),
            Self::JsRegexp if text.is_empty() => out_ref.push_str("(?:)"),
            Self::JsRegexp => js_literal(out_ref, text, js_regexp),
            Self::CssString => css_string(out_ref, text),
            Self::CssValue => css_value(out_ref, text),
            Self::HtmlFunction => escape::html(out_ref, text_or_nothing(value, text)),
            Self::UrlQueryFunction => escape::query(out_ref, text_or_nothing(value, text)),
        }
        out
    }
}

/// Functions print nothing as what it is.
const fn text_or_nothing<'t>(value: &Value, text: &'t str) -> &'t str {
    if value.is_nothing() {
        "<no value>"
    } else {
        text
    }
}

const fn html_text(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        _ => html_kept(character),
    }
}

/// Character references that are there stay.
const fn html_kept(character: char) -> Option<&'static str> {
    Some(match character {
        '\0' => "\u{fffd}",
        '"' => "&#34;",
        '\'' => "&#39;",
        '+' => "&#43;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => return None,
    })
}

fn unquoted(out: &mut Bounded, text: &str, keeps_references: bool) {
    if text.is_empty() {
        // Without a value, what follows would become it.
        return out.push_str(UNSAFE);
    }
    for character in text.chars() {
        let replacement = match character {
            '\0' => "&#xfffd;",
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\u{b}' => "&#11;",
            '\u{c}' => "&#12;",
            '\r' => "&#13;",
            ' ' => "&#32;",
            '=' => "&#61;",
            '`' => "&#96;",
            '&' if keeps_references => "&",
            '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{ffff}' => {
                out.push_str(&format!("&#x{:x};", u32::from(character)));
                continue;
            }
            _ => match html_text(character) {
                Some(replacement) => replacement,
                None => {
                    out.push(character);
                    continue;
                }
            },
        };
        out.push_str(replacement);
    }
}

fn attribute_name(name: &str) -> &str {
    let lower = name.to_lowercase();
    let is_plain = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain && is_harmless_attribute(&lower) {
        name
    } else {
        UNSAFE
    }
}

/// Returns the text in a fragment of HTML, its tags and comments left out.
fn text_of_html(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut context = Context::default();
    let mut scanner = Scanner::new(html);
    while !scanner.is_done() {
        // The contents of scripts and style sheets are passed over as one.
        let in_content = context.element != Element::None && !context.state.is_in_tag();
        let content = Context {
            state: State::PlainContent,
            ..context.clone()
        };
        // What cannot be read is text no more.
        let Ok((next, read)) = scanner.advance(if in_content { &content } else { &context }) else {
            break;
        };
        if matches!(context.state, State::Text | State::PlainContent) {
            let tag = if next.state == context.state {
                None
            } else {
                read.rfind('<')
            };
            out.push_str(read.get(..tag.unwrap_or(read.len())).unwrap_or_default());
        }
        if read.is_empty() && next == context {
            break;
        }
        context = next;
    }
    out
}

/// Writes a value as JavaScript: as JSON, in a form that is safe in HTML.
fn js_value(out: &mut Bounded, value: &Value) {
    let text = match value {
        // A time has a form in JSON; others print themselves.
        Value::Time(_) => None,
        value => value.own_text(),
    };
    let mut json = Bounded::new(out.limit());
    let written = match text {
        Some(text) => json::write(&mut json, &Value::from(text)),
        None => json::write(&mut json, value),
    };
    if let Err(error) = written {
        let error = error.replace("*/", "* /");
        return out.push_str(&format!(" /* {error} */null "));
    }
    let json = json.finish().unwrap_or_default();
    // A word must not run into another.
    let is_word =
        json.starts_with(script::is_identifier_part) || json.ends_with(script::is_identifier_part);
    let space = if is_word { " " } else { "" };
    out.push_str(space);
    out.push_str(&json);
    out.push_str(space);
}

fn js_literal(out: &mut Bounded, text: &str, replacement: fn(char) -> Option<&'static str>) {
    for character in text.chars() {
        match character {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(character)))
            }
            _ => match replacement(character) {
                Some(replacement) => out.push_str(replacement),
                None => out.push(character),
            },
        }
    }
}

const fn js_string(character: char) -> Option<&'static str> {
    Some(match character {
        '"' => "\\u0022",
        '`' => "\\u0060",
        '&' => "\\u0026",
        '\'' => "\\u0027",
        '+' => "\\u002b",
        '/' => "\\/",
        '<' => "\\u003c",
        '>' => "\\u003e",
        '\\' => "\\\\",
        _ => return None,
    })
}

const fn js_template(character: char) -> Option<&'static str> {
    match character {
        '$' => Some("\\u0024"),
        '{' => Some("\\u007b"),
        '}' => Some("\\u007d"),
        _ => js_string(character),
    }
}

const fn js_regexp(character: char) -> Option<&'static str> {
    Some(match character {
        '"' => "\\u0022",
        '&' => "\\u0026",
        '\'' => "\\u0027",
        '+' => "\\u002b",
        '<' => "\\u003c",
        '>' => "\\u003e",
        '$' => "\\$",
        '(' => "\\(",
        ')' => "\\)",
        '*' => "\\*",
        '-' => "\\-",
        '.' => "\\.",
        '/' => "\\/",
        '?' => "\\?",
        '[' => "\\[",
        '\\' => "\\\\",
        ']' => "\\]",
        '^' => "\\^",
        '{' => "\\{",
        '|' => "\\|",
        '}' => "\\}",
        _ => return None,
    })
}

fn css_string(out: &mut Bounded, text: &str) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\0' | '\t' | '\n' | '\u{c}' | '\r' | '"' | '&' | '\'' | '(' | ')' | '+' | '/'
            | ':' | ';' | '<' | '>' | '{' | '}' => {
                out.push_str(&format!("\\{:x}", u32::from(character)));
                // A digit or space that follows would belong to the escape.
                if characters
                    .peek()
                    .is_none_or(|next| next.is_ascii_hexdigit() || css::is_space(*next))
                {
                    out.push(' ');
                }
            }
            _ => out.push(character),
        }
    }
}

/// Writes a value of a property, when it is a plain one: no strings, functions or ends of declarations.
fn css_value(out: &mut Bounded, text: &str) {
    let decoded = css::decode(text);
    let has_special = decoded.contains([
        '\0', '"', '\'', '(', ')', '/', ';', '@', '[', '\\', ']', '`', '{', '}', '<', '>',
    ]);
    let words: String = decoded
        .chars()
        .filter(|character| {
            character.is_ascii() && css::is_name_character(*character) && *character != '-'
        })
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let runs_code = words.contains("expression") || words.contains("mozbinding");
    if has_special || decoded.contains("--") || runs_code {
        out.push_str(UNSAFE);
    } else {
        out.push_str(&decoded);
    }
}
