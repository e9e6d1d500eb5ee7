//! Reading text: from one context to the next.

use super::context::{Attribute, Context, Delimiter, Element, Quote, Slash, State, UrlPart};
use super::{css, script};

/// Reads a text from its start to its end, some of it at a time.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    rest: &'t str,
    /// For an element whose end tag was looked for: how much of the rest stands behind the place where that begins.
    content_end: Option<(Element, Option<usize>)>,
}

impl<'t> Scanner<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self {
            rest: text,
            content_end: None,
        }
    }

    pub(super) const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads on from `context`. Returns the context behind what was read, and that; `Err` says why no browser can be trusted to read
    /// it in one way.
    pub(super) fn advance(&mut self, context: &Context) -> Result<(Context, &'t str), String> {
        let (next, bytes) = if context.delimiter == Delimiter::None {
            match self.content_end(context) {
                Some(0) => (Context::default(), 0),
                Some(end) => transition(context, self.rest.get(..end).unwrap_or_default())?,
                None => transition(context, self.rest)?,
            }
        } else {
            in_value(context, self.rest)?
        };
        let (read, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        Ok((next, read))
    }

    /// Returns where the end tag of the element stands in whose content this is.
    fn content_end(&mut self, context: &Context) -> Option<usize> {
        // An end tag in a literal or comment of a script is escaped instead.
        let hidden = context.state.is_script_literal() || context.state.is_comment();
        let element = context.element;
        if element == Element::None || element == Element::Script && hidden {
            return None;
        }
        let length = self.rest.len();
        // The text is searched once for an element, and again behind an end tag that was passed.
        let behind = match self.content_end {
            Some((known, behind))
                if known == element && behind.is_none_or(|behind| behind <= length) =>
            {
                behind
            }
            _ => end_tag(element, self.rest).map(|end| length - end),
        };
        self.content_end = Some((element, behind));
        behind.map(|behind| length - behind)
    }
}

fn end_tag(element: Element, text: &str) -> Option<usize> {
    let name = element.name();
    text.match_indices("</").map(|(at, _)| at).find(|at| {
        let after = text.get(at + 2..).unwrap_or_default();
        let named = after
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name));
        named
            && after
                .get(name.len()..)
                .is_some_and(|rest| rest.starts_with(['>', ' ', '\t', '\n', '\u{c}', '/']))
    })
}

/// Reads the value of an attribute, up to its end when that is there.
fn in_value(context: &Context, text: &str) -> Result<(Context, usize), String> {
    let end = match context.delimiter {
        Delimiter::Quote(quote) => text.find(quote.character()),
        Delimiter::SpaceOrTagEnd | Delimiter::None => {
            text.find([' ', '\t', '\n', '\u{c}', '\r', '>'])
        }
    };
    if context.delimiter == Delimiter::SpaceOrTagEnd {
        let value = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
        if let Some(bad) = value.find(['"', '\'', '<', '=', '`']) {
            let bad = value.get(bad..=bad).unwrap_or_default();
            return Err(format!("{bad:?} in unquoted attr: {:?}", beginning(value)));
        }
    }
    let Some(end) = end else {
        return Ok((
            inside_of_value(context, &decode_entities(text))?,
            text.len(),
        ));
    };
    let value = text.get(..end).unwrap_or_default();
    let is_script_type =
        context.state == State::Attribute && context.attribute == Attribute::ScriptType;
    let element = if is_script_type && !script::is_js_type(value) {
        // What follows is no script, but data for one.
        Element::None
    } else {
        context.element
    };
    let quote = usize::from(context.delimiter != Delimiter::SpaceOrTagEnd);
    let after = Context {
        element,
        ..Context::of(State::Tag)
    };
    Ok((after, end + quote))
}

fn inside_of_value(context: &Context, value: &str) -> Result<Context, String> {
    let mut context = context.clone();
    let mut rest = value;
    while !rest.is_empty() {
        let (next, bytes) = transition(&context, rest)?;
        context = next;
        rest = rest.get(bytes..).unwrap_or_default();
    }
    Ok(context)
}

/// Reads on where no attribute's value can end.
pub(super) fn transition(context: &Context, text: &str) -> Result<(Context, usize), String> {
    let all = text.len();
    let mut next = context.clone();
    match context.state {
        State::Text => return Ok(in_text(context, text)),
        State::Tag => return in_tag(context, text),
        State::AttributeName => {
            let end = end_of_name(text)?;
            if end < all {
                next.state = State::AfterName;
            }
            return Ok((next, end));
        }
        State::AfterName => {
            let at = skip_space(text);
            match text.as_bytes().get(at) {
                None => {}
                Some(b'=') => {
                    next.state = State::BeforeValue;
                    return Ok((next, at + 1));
                }
                Some(_) => {
                    next.state = State::Tag;
                    return Ok((next, at));
                }
            }
        }
        State::BeforeValue => {
            let at = skip_space(text);
            let (delimiter, bytes) = match text.as_bytes().get(at) {
                None => return Ok((next, all)),
                Some(b'"') => (Delimiter::Quote(Quote::Double), 1),
                Some(b'\'') => (Delimiter::Quote(Quote::Single), 1),
                Some(_) => (Delimiter::SpaceOrTagEnd, 0),
            };
            next.state = context.attribute.value_state();
            next.delimiter = delimiter;
            return Ok((next, at + bytes));
        }
        State::Comment => {
            if let Some(end) = text.find("-->") {
                return Ok((Context::default(), end + 3));
            }
        }
        State::Url | State::Srcset => next.url_part = url_part(context.url_part, text),
        State::MetaContent => {
            if let Some(end) = end_of_meta_url_name(text) {
                next.state = State::MetaUrl;
                return Ok((next, end));
            }
        }
        State::MetaUrl => {
            if let Some(end) = text.find(';') {
                next.state = State::MetaContent;
                return Ok((next, end + 1));
            }
        }
        State::PlainContent | State::Attribute | State::Dead => {}
        State::Js
        | State::JsString(_)
        | State::JsTemplate
        | State::JsRegexp
        | State::JsBlockComment
        | State::JsLineComment
        | State::JsOpenComment
        | State::JsCloseComment => return script::transition(context, text),
        State::Css
        | State::CssString(_)
        | State::CssUrl(_)
        | State::CssBlockComment
        | State::CssLineComment => {
            return css::transition(context, text);
        }
    }
    Ok((next, all))
}

fn in_text(context: &Context, text: &str) -> (Context, usize) {
    for (at, _) in text.match_indices('<') {
        let after = text.get(at + 1..).unwrap_or_default();
        if after.starts_with("!--") {
            return (Context::of(State::Comment), at + 4);
        }
        let name = after.strip_prefix('/').unwrap_or(after);
        let name_bytes = tag_name_bytes(name);
        if name_bytes == 0 {
            continue;
        }
        let is_end = name.len() < after.len();
        let element = if is_end {
            Element::None
        } else {
            Element::named(name.get(..name_bytes).unwrap_or_default())
        };
        let tag = Context {
            element,
            ..Context::of(State::Tag)
        };
        return (tag, at + 1 + usize::from(is_end) + name_bytes);
    }
    (context.clone(), text.len())
}

/// Letters and digits, the first a letter; `-` and `:` between them.
fn tag_name_bytes(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_alphanumeric = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return 0;
    }
    let mut end = 1;
    loop {
        match bytes.get(end) {
            Some(_) if is_alphanumeric(end) => end += 1,
            Some(b':' | b'-') if is_alphanumeric(end + 1) => end += 2,
            _ => return end,
        }
    }
}

fn in_tag(context: &Context, text: &str) -> Result<(Context, usize), String> {
    let at = skip_space(text);
    let rest = text.get(at..).unwrap_or_default();
    if rest.is_empty() {
        return Ok((context.clone(), text.len()));
    }
    if rest.starts_with('>') {
        let element = match context.element {
            Element::Meta => Element::None,
            element => element,
        };
        let content = Context {
            element,
            ..Context::of(element.content_state())
        };
        return Ok((content, at + 1));
    }
    let name_bytes = end_of_name(rest)?;
    if name_bytes == 0 {
        let shown = beginning(rest);
        return Err(format!(
            "expected space, attr name, or end of tag, but got {shown:?}"
        ));
    }
    let name = rest.get(..name_bytes).unwrap_or_default().to_lowercase();
    let attribute = match (context.element, name.as_str()) {
        (Element::Script, "type") => Attribute::ScriptType,
        (Element::Meta, "content") => Attribute::MetaContent,
        (_, name) => attribute(name),
    };
    let state = if name_bytes == rest.len() {
        State::AttributeName
    } else {
        State::AfterName
    };
    let next = Context {
        attribute,
        element: context.element,
        ..Context::of(state)
    };
    Ok((next, at + name_bytes))
}

/// Returns what the value of the attribute called `name` is.
fn attribute(name: &str) -> Attribute {
    let name = match (name.strip_prefix("data-"), name.split_once(':')) {
        (Some(name), _) => name,
        (None, Some(("xmlns", _))) => return Attribute::Url,
        (None, Some((_, name))) => name,
        (None, None) => name,
    };
    match name {
        "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data"
        | "formaction" | "href" | "icon" | "longdesc" | "manifest" | "poster" | "profile"
        | "src" | "usemap" | "xmlns" => Attribute::Url,
        "srcset" => Attribute::Srcset,
        "style" => Attribute::Style,
        "srcdoc" | "srclang" => Attribute::Plain,
        _ if name.starts_with("on") => Attribute::Script,
        // What others have made up and called so.
        _ if name.contains("src") || name.contains("uri") || name.contains("url") => Attribute::Url,
        _ => Attribute::Plain,
    }
}

/// Whether what is written as the name of an attribute is only text: neither its name nor its value can do harm.
pub(super) fn is_harmless_attribute(name: &str) -> bool {
    const HARMFUL: &[&str] = &[
        "accept-charset",
        "async",
        "challenge",
        "charset",
        "content",
        "crossorigin",
        "defer",
        "enctype",
        "form",
        "formenctype",
        "formmethod",
        "formnovalidate",
        "http-equiv",
        "keytype",
        "language",
        "method",
        "novalidate",
        "pattern",
        "rel",
        "sandbox",
        "srcdoc",
        "type",
        "value",
    ];
    let short = name
        .strip_prefix("data-")
        .or_else(|| name.split_once(':').map(|(_, name)| name))
        .unwrap_or(name);
    attribute(name) == Attribute::Plain && !HARMFUL.contains(&short)
}

fn end_of_name(text: &str) -> Result<usize, String> {
    let end = text
        .find([' ', '\t', '\n', '\u{c}', '\r', '=', '>', '\'', '"', '<'])
        .unwrap_or(text.len());
    match text.as_bytes().get(end) {
        Some(bad @ (b'\'' | b'"' | b'<')) => {
            let shown = beginning(text);
            Err(format!(
                "{:?} in attribute name: {shown:?}",
                char::from(*bad).to_string()
            ))
        }
        _ => Ok(end),
    }
}

/// Returns as much of a text as a message shows.
pub(super) fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(32);
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

pub(super) fn skip_space(text: &str) -> usize {
    text.len()
        - text
            .trim_start_matches([' ', '\t', '\n', '\u{c}', '\r'])
            .len()
}

/// Returns what part of a URL follows `text`, which follows `part`.
pub(super) fn url_part(part: UrlPart, text: &str) -> UrlPart {
    if text.contains(['#', '?']) {
        UrlPart::QueryOrFragment
    } else if part == UrlPart::None && skip_space(text) != text.len() {
        UrlPart::BeforeQuery
    } else {
        part
    }
}

/// Returns the end of `url =` in the content of a `meta`.
fn end_of_meta_url_name(text: &str) -> Option<usize> {
    text.char_indices().find_map(|(at, _)| {
        let start = text
            .get(at..at + 3)
            .filter(|name| name.eq_ignore_ascii_case("url"))?;
        let after = text.get(at + start.len()..)?;
        let space = skip_space(after);
        after
            .get(space..)?
            .starts_with('=')
            .then_some(at + 3 + space + 1)
    })
}

/// Returns `text` with the character references read that stand for characters of ASCII, which is what decides over contexts.
fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let (character, bytes) = entity(reference).unwrap_or(('&', 1));
        out.push(character);
        rest = reference.get(bytes..).unwrap_or_default();
    }
    out + rest
}

/// Reads a reference; `text` begins with `&`.
fn entity(text: &str) -> Option<(char, usize)> {
    const NAMED: &[(&str, char)] = &[
        ("amp", '&'),
        ("AMP", '&'),
        ("lt", '<'),
        ("LT", '<'),
        ("gt", '>'),
        ("GT", '>'),
        ("quot", '"'),
        ("QUOT", '"'),
    ];
    // These are references only with their semicolon.
    const NAMED_FULLY: &[(&str, char)] = &[
        ("apos", '\''),
        ("Tab", '\t'),
        ("NewLine", '\n'),
        ("excl", '!'),
        ("num", '#'),
        ("dollar", '$'),
        ("percnt", '%'),
        ("lpar", '('),
        ("rpar", ')'),
        ("ast", '*'),
        ("plus", '+'),
        ("comma", ','),
        ("period", '.'),
        ("sol", '/'),
        ("colon", ':'),
        ("semi", ';'),
        ("equals", '='),
        ("quest", '?'),
        ("commat", '@'),
        ("lsqb", '['),
        ("lbrack", '['),
        ("bsol", '\\'),
        ("rsqb", ']'),
        ("rbrack", ']'),
        ("Hat", '^'),
        ("lowbar", '_'),
        ("grave", '`'),
        ("lcub", '{'),
        ("lbrace", '{'),
        ("verbar", '|'),
        ("vert", '|'),
        ("rcub", '}'),
        ("rbrace", '}'),
    ];
    let name = text.get(1..)?;
    if let Some(number) = name.strip_prefix('#') {
        let (radix, digits) = match number.strip_prefix(['x', 'X']) {
            Some(digits) => (16, digits),
            None => (10, number),
        };
        let count = digits
            .chars()
            .take_while(|digit| digit.is_digit(radix))
            .count();
        let code = u32::from_str_radix(digits.get(..count)?, radix).ok()?;
        let semicolon = usize::from(digits.get(count..)?.starts_with(';'));
        let bytes = text.len() - digits.len() + count + semicolon;
        return Some((
            char::from_u32(code)
                .filter(|character| *character != '\0')
                .unwrap_or(char::REPLACEMENT_CHARACTER),
            bytes,
        ));
    }
    let fully = NAMED_FULLY.iter().find_map(|(known, character)| {
        let rest = name.strip_prefix(known)?;
        rest.starts_with(';')
            .then_some((*character, known.len() + 2))
    });
    fully.or_else(|| {
        NAMED.iter().find_map(|(known, character)| {
            let rest = name.strip_prefix(known)?;
            Some((
                *character,
                known.len() + 1 + usize::from(rest.starts_with(';')),
            ))
        })
    })
}

impl Slash {
    /// Returns what a slash is behind `text`, which follows what `self` was the answer for.
    pub(super) fn after(self, text: &str) -> Self {
        script::slash_after(text, self)
    }
}
