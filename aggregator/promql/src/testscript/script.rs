//! A script as commands with their bodies.

/// A line that is not empty once trimmed and freed of comments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
}

/// A command; its body ends at the first empty line.
#[derive(Debug)]
pub(super) enum Command<'a> {
    Clear,
    Load { head: &'a str, body: &'a [Line<'a>] },
    Eval { head: &'a str, body: &'a [Line<'a>] },
}

/// Returns all lines, trimmed; comments are empty.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            let line = line.trim();
            Line {
                number: index + 1,
                text: if line.starts_with('#') { "" } else { line },
            }
        })
        .collect()
}

/// Returns the command at a line, which is not empty, and the line after it.
pub(super) fn command<'a>(lines: &'a [Line<'a>], at: usize) -> (Option<Command<'a>>, usize) {
    let head = lines[at].text;
    let word = head.split_whitespace().next().unwrap_or_default();
    let word = word.to_ascii_lowercase();
    let body_end = || {
        lines[at + 1..]
            .iter()
            .position(|line| line.text.is_empty())
            .map_or(lines.len(), |length| at + 1 + length)
    };
    if word == "clear" {
        (Some(Command::Clear), at + 1)
    } else if word.starts_with("load") {
        let end = body_end();
        let body = &lines[at + 1..end];
        (Some(Command::Load { head, body }), end)
    } else if word.starts_with("eval") {
        let end = body_end();
        let body = &lines[at + 1..end];
        (Some(Command::Eval { head, body }), end)
    } else {
        (None, at + 1)
    }
}
