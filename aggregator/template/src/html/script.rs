//! JavaScript, as far as needed to know where literals and comments begin and end.

use super::context::{Context, Quote, Slash, State};
use super::transition::beginning;

/// How deep template literals may be nested.
const LITERALS_MAX: usize = 64;

/// Reads on in a script.
pub(super) fn transition(context: &Context, text: &str) -> Result<(Context, usize), String> {
    match context.state {
        State::JsString(Quote::Double) => in_literal(context, text, &['\\', '"']),
        State::JsString(Quote::Single) => in_literal(context, text, &['\\', '\'']),
        State::JsRegexp => in_literal(context, text, &['\\', '/', '[', ']']),
        State::JsTemplate => in_template(context, text),
        State::JsBlockComment => Ok(in_comment(context, text, text.find("*/").map(|at| at + 2))),
        State::JsLineComment | State::JsOpenComment | State::JsCloseComment => {
            // The line break is not part of the comment.
            Ok(in_comment(
                context,
                text,
                text.find(['\n', '\r', '\u{2028}', '\u{2029}']),
            ))
        }
        _ => in_script(context, text),
    }
}

fn in_comment(context: &Context, text: &str, end: Option<usize>) -> (Context, usize) {
    let mut next = context.clone();
    if end.is_some() {
        next.state = State::Js;
    }
    (next, end.unwrap_or(text.len()))
}

fn in_script(context: &Context, text: &str) -> Result<(Context, usize), String> {
    let mut next = context.clone();
    let Some(at) = text.find(['"', '`', '\'', '/', '{', '}', '<', '-', '#']) else {
        next.slash = context.slash.after(text);
        return Ok((next, text.len()));
    };
    let (before, rest) = text.split_at(at);
    next.slash = context.slash.after(before);
    let mut bytes = 1;
    match rest.as_bytes().first() {
        Some(b'"') => begin_literal(&mut next, State::JsString(Quote::Double)),
        Some(b'\'') => begin_literal(&mut next, State::JsString(Quote::Single)),
        Some(b'`') => begin_literal(&mut next, State::JsTemplate),
        Some(b'/') if rest.starts_with("//") => (next.state, bytes) = (State::JsLineComment, 2),
        Some(b'/') if rest.starts_with("/*") => (next.state, bytes) = (State::JsBlockComment, 2),
        Some(b'/') => match next.slash {
            Slash::Regexp => next.state = State::JsRegexp,
            Slash::Division => next.slash = Slash::Regexp,
            Slash::Unknown => {
                let shown = beginning(rest);
                return Err(format!("'/' could start a division or regexp: {shown:?}"));
            }
        },
        Some(b'<') if rest.starts_with("<!--") => (next.state, bytes) = (State::JsOpenComment, 4),
        Some(b'-') if rest.starts_with("-->") => (next.state, bytes) = (State::JsCloseComment, 3),
        Some(b'#') if rest.starts_with("#!") => (next.state, bytes) = (State::JsLineComment, 2),
        Some(b'{') => {
            if let Some(open) = next.braces.last_mut() {
                *open += 1;
            }
            next.slash = next.slash.after("{");
        }
        Some(b'}') => match next.braces.last_mut() {
            Some(0) => {
                next.braces.pop();
                next.state = State::JsTemplate;
            }
            Some(open) => {
                *open -= 1;
                next.slash = next.slash.after("}");
            }
            None => next.slash = next.slash.after("}"),
        },
        _ => {}
    }
    Ok((next, at + bytes))
}

fn begin_literal(context: &mut Context, state: State) {
    context.state = state;
    context.slash = Slash::Regexp;
}

/// Strings and regular expressions; the second of `specials` ends them.
fn in_literal(
    context: &Context,
    text: &str,
    specials: &[char],
) -> Result<(Context, usize), String> {
    let mut in_class = false;
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(specials)) {
        let at = from + found;
        from = at + 1;
        match text.as_bytes().get(at) {
            Some(b'\\') => {
                let escaped = text.get(from..).and_then(|rest| rest.chars().next());
                from += escaped.ok_or_else(|| unfinished(text))?.len_utf8();
            }
            Some(b'[') => in_class = true,
            Some(b']') => in_class = false,
            Some(b'/') if is_script_end(text, at) => from = at + 2,
            Some(_) if !in_class => {
                let mut next = context.clone();
                next.state = State::Js;
                next.slash = Slash::Division;
                return Ok((next, at + 1));
            }
            _ => {}
        }
    }
    if in_class {
        return Err(format!(
            "unfinished JS regexp charset: {:?}",
            beginning(text)
        ));
    }
    Ok((context.clone(), text.len()))
}

fn unfinished(text: &str) -> String {
    format!(
        "unfinished escape sequence in JS string: {:?}",
        beginning(text)
    )
}

/// Whether the slash at `at` is that of `</script`, which does not end a regular expression: it is escaped.
fn is_script_end(text: &str, at: usize) -> bool {
    let start = at
        .checked_sub(1)
        .and_then(|start| text.get(start..start + "</script".len()));
    start.is_some_and(|tag| tag.eq_ignore_ascii_case("</script"))
}

fn in_template(context: &Context, text: &str) -> Result<(Context, usize), String> {
    let mut next = context.clone();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => {
                characters.next().ok_or_else(|| unfinished(text))?;
            }
            '$' if text.get(at + 1..).is_some_and(|rest| rest.starts_with('{')) => {
                if next.braces.len() >= LITERALS_MAX {
                    return Err(format!(
                        "template literals are nested more than {LITERALS_MAX} deep"
                    ));
                }
                next.braces.push(0);
                next.state = State::Js;
                return Ok((next, at + 2));
            }
            '`' => {
                next.state = State::Js;
                return Ok((next, at + 1));
            }
            _ => {}
        }
    }
    Ok((next, text.len()))
}

/// Returns what a slash is behind `text`; `before` is the answer when there is nothing but space.
///
/// This looks at the last token alone, which is wrong for some programs that nobody writes: `x = {}/2`.
pub(super) fn slash_after(text: &str, before: Slash) -> Slash {
    const BEFORE_REGEXP: &[&str] = &[
        "break",
        "case",
        "continue",
        "delete",
        "do",
        "else",
        "finally",
        "in",
        "instanceof",
        "return",
        "throw",
        "try",
        "typeof",
        "void",
    ];
    let text = text.trim_end_matches(['\t', '\n', '\u{c}', '\r', ' ', '\u{2028}', '\u{2029}']);
    let Some(last) = text.chars().next_back() else {
        return before;
    };
    match last {
        '+' | '-' => {
            // "x++ /2" divides, "x + /re/" does not.
            let run = text.len() - text.trim_end_matches(last).len();
            if run % 2 == 1 {
                Slash::Regexp
            } else {
                Slash::Division
            }
        }
        '.' if text.len() > 1
            && text
                .as_bytes()
                .get(text.len() - 2)
                .is_some_and(u8::is_ascii_digit) =>
        {
            Slash::Division
        }
        '.' | ',' | '<' | '>' | '=' | '*' | '%' | '&' | '|' | '^' | '?' | '!' | '~' | '(' | '['
        | ':' | ';' | '{' | '}' => Slash::Regexp,
        _ => {
            let word = text.trim_end_matches(is_identifier_part).len();
            let word = text.get(word..).unwrap_or_default();
            if BEFORE_REGEXP.contains(&word) {
                Slash::Regexp
            } else {
                Slash::Division
            }
        }
    }
}

pub(super) const fn is_identifier_part(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '$')
}

/// Whether the type of a `script` says that it is JavaScript, or JSON, which is escaped alike.
pub(super) fn is_js_type(mime_type: &str) -> bool {
    const KNOWN: &[&str] = &[
        "",
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/ld+json",
        "application/x-ecmascript",
        "application/x-javascript",
        "module",
        "text/ecmascript",
        "text/javascript",
        "text/javascript1.0",
        "text/javascript1.1",
        "text/javascript1.2",
        "text/javascript1.3",
        "text/javascript1.4",
        "text/javascript1.5",
        "text/jscript",
        "text/livescript",
        "text/x-ecmascript",
        "text/x-javascript",
    ];
    let name = mime_type.split(';').next().unwrap_or_default().trim();
    KNOWN.contains(&name.to_lowercase().as_str())
}
