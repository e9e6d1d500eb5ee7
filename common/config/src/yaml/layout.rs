//! Layout that Go's YAML takes and our parser, which follows YAML 1.2, does not.
//!
//! People break a quoted text, or what stands in `[]` or `{}`, wherever they like:
//! ```yaml
//! text: "{{ range .Alerts }}
//! {{ .Labels.instance }}{{ end }}"
//! ```
//! Such lines have to be indented deeper than the key; in Go they need not. Spaces at their start mean nothing, nor does a space between
//! a colon and a tab: where the parser misses them they are put in, and the text is parsed again. Places are told as they are in the
//! file. What a text may cost that is mistaken everywhere is bounded; it is refused then as the parser refuses it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Marker, ScanError};

use super::Position;

/// Put at the start of a line at a time: more than people indent.
const INDENT: usize = 32;
/// The most that is put at the start of a line.
const INDENT_MAX: usize = 128 * INDENT;
/// Characters that are parsed again, in all, before the text is refused.
const REPEATED_MAX: usize = 16 * 1024 * 1024;
/// Copying so many bytes costs as much as parsing a character.
const COPIED_PER_PARSED: usize = 16;

/// A text in which spaces are put where they mean nothing.
pub(super) struct Layout<'a> {
    text: Cow<'a, str>,
    /// By line, and column from 1: how many spaces were put there.
    added: BTreeMap<(usize, usize), usize>,
    /// Characters that may still be parsed again.
    left: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            added: BTreeMap::new(),
            left: REPEATED_MAX,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns where in the file a place of the text is.
    pub(super) fn place(&self, marker: Marker) -> Position {
        let Position { line, mut column } = marker.into();
        for ((_, at), spaces) in self.added.range((line, 0)..=(line, usize::MAX)) {
            // What was there has moved behind the spaces.
            column -= column.saturating_sub(*at).min(*spaces);
        }
        Position { line, column }
    }

    /// Puts spaces where `error` misses them; returns whether it did, so that the text may be parsed again.
    pub(super) fn mend(&mut self, error: &ScanError) -> bool {
        let marker = *error.marker();
        let places = match error.info() {
            "invalid indentation in quoted scalar" => self.lines_of_quoted(marker),
            "invalid indentation"
            | "invalid indentation in flow construct"
            | "tab cannot be used as indentation" => vec![self.line_of(marker)],
            "':' must be followed by a valid YAML whitespace" => self.behind_colon(marker),
            _ => return false,
        };
        let cost = marker.index() + (self.text.len() + INDENT * places.len()) / COPIED_PER_PARSED;
        let Some(left) = self.left.checked_sub(cost) else {
            return false;
        };
        self.left = left;
        !places.is_empty() && self.put(&places)
    }

    /// Puts spaces at places, which come in the order of the text.
    fn put(&mut self, places: &[Place]) -> bool {
        let mut text = String::with_capacity(self.text.len() + INDENT * places.len());
        let mut done = 0;
        for place in places {
            let spaces = self.added.entry(place.at).or_default();
            *spaces += place.spaces;
            if *spaces > INDENT_MAX {
                return false;
            }
            text.push_str(self.text.get(done..place.byte).unwrap_or_default());
            text.extend(std::iter::repeat_n(' ', place.spaces));
            done = place.byte;
        }
        text.push_str(self.text.get(done..).unwrap_or_default());
        self.text = Cow::Owned(text);
        true
    }

    /// Returns the starts of all lines but the first of the quoted text that begins at `marker`. Lines that end a document stay: they are
    /// refused wherever they stand.
    fn lines_of_quoted(&self, marker: Marker) -> Vec<Place> {
        let begin = self.byte_of(marker);
        let mut rest = self.text.get(begin..).unwrap_or_default().char_indices();
        let quote = rest.next().map(|(_, quote)| quote);
        let (mut places, mut line) = (Vec::new(), marker.line());
        while let Some((offset, c)) = rest.next() {
            let after = rest.as_str();
            match c {
                '\\' if quote == Some('"') && !after.starts_with(['\r', '\n']) => {
                    rest.next();
                }
                // Two of them are one of the text.
                '\'' if quote == Some('\'') && after.starts_with('\'') => {
                    rest.next();
                }
                _ if Some(c) == quote => break,
                '\n' | '\r' if c == '\n' || !after.starts_with('\n') => {
                    line += 1;
                    if !after.starts_with(['\r', '\n']) && !ends_document(after) {
                        places.push(Place::line(line, begin + offset + 1));
                    }
                }
                _ => {}
            }
        }
        places
    }

    /// Returns the start of the line that `marker` is in.
    fn line_of(&self, marker: Marker) -> Place {
        let before = self.text.get(..self.byte_of(marker)).unwrap_or_default();
        let start = before.rfind(['\r', '\n']).map_or(0, |last| last + 1);
        Place::line(marker.line(), start)
    }

    /// Returns the place behind the colon that tabs follow up to `marker`.
    fn behind_colon(&self, marker: Marker) -> Vec<Place> {
        let before = self.text.get(..self.byte_of(marker)).unwrap_or_default();
        let colon = before.trim_end_matches([' ', '\t']);
        // All that was trimmed is ASCII.
        let blanks = before.len() - colon.len();
        let column = self.place(marker).column.saturating_sub(blanks);
        vec![Place {
            at: (marker.line(), column),
            byte: colon.len(),
            spaces: 1,
        }]
    }

    fn byte_of(&self, marker: Marker) -> usize {
        let place = self.text.char_indices().nth(marker.index());
        place.map_or(self.text.len(), |(byte, _)| byte)
    }
}

fn ends_document(line: &str) -> bool {
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Where spaces are to be put.
struct Place {
    /// Line and column, from 1.
    at: (usize, usize),
    byte: usize,
    spaces: usize,
}

impl Place {
    const fn line(line: usize, byte: usize) -> Self {
        Self {
            at: (line, 1),
            byte,
            spaces: INDENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::yaml::{NodeValue, parse_yaml};

    fn load(text: &str) -> Result<crate::Node, String> {
        parse_yaml(Path::new("f"), text).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn lines_are_broken_as_go_takes_it() {
        for (loose, strict) in [
            ("a:\n  b: \"c\n  d\"", "a: {b: c d}"),
            ("a:\n  b: \"c\nd\"\n  e: f", "a: {b: c d, e: f}"),
            ("a:\n  - b: 'c\n\n  it''s'", "a: [{b: \"c\\nit's\"}]"),
            ("a:\n  b: \"c \\\n \\\"d\"", "a: {b: 'c \"d'}"),
            ("a:\n  b: \"\\\\\"\n  c: \"d\n e\"", "a: {b: '\\', c: d e}"),
            ("a:\r\n  b: \"c\r\n  d\"\r\n", "a: {b: c d}"),
            ("a:\n  b: 'c\n\td'", "a: {b: c d}"),
            ("a:\n  b: 'c\n- d\n---e'", "a: {b: c - d ---e}"),
            ("a: [\nb, {\nc: d\n}\n]", "a: [b, {c: d}]"),
            (
                "a:\n  b: {c: d,\n  e: f\n}\n  g: h",
                "a: {b: {c: d, e: f}, g: h}",
            ),
            ("a:\tb\nc: d", "a: b\nc: d"),
            ("a: \"ü\nü\"\nb: [\"x\ny\"]", "a: ü ü\nb: [x y]"),
        ] {
            let (loose_values, strict_values) = (values(loose), values(strict));
            assert_eq!(loose_values, strict_values, "{loose:?}");
        }
    }

    /// Returns the values of a text, without their places.
    fn values(text: &str) -> String {
        fn write(node: &crate::Node) -> String {
            match &node.value {
                NodeValue::Null => "null".to_owned(),
                NodeValue::Scalar(text) => format!("{text:?}"),
                NodeValue::List(items) => {
                    format!("{:?}", items.iter().map(write).collect::<Vec<_>>())
                }
                NodeValue::Map(entries) => {
                    let entry = |(key, _, value): &(String, crate::Position, crate::Node)| {
                        format!("{key:?}: {}", write(value))
                    };
                    format!("{:?}", entries.iter().map(entry).collect::<Vec<_>>())
                }
            }
        }
        load(text).map_or_else(|error| error, |node| write(&node))
    }

    #[test]
    fn places_are_those_of_the_file() {
        let node = load("a:\n  b: {c: \"d\n e\", f: g}\n  h:\ti\n").expect("valid");
        let a = node.get("a").expect("a");
        let f = a.get("b").and_then(|b| b.get("f")).expect("f");
        assert_eq!((f.at.line, f.at.column), (3, 9));
        let h = a.get("h").expect("h");
        assert_eq!((h.at.line, h.at.column), (4, 6));
        assert_eq!(
            load("a:\n  b: \"c\nd\" e").map(drop),
            Err("f:3:4: invalid trailing content after double-quoted scalar".to_owned())
        );
    }

    #[test]
    fn what_go_refuses_stays_refused() {
        for text in [
            "a:\n  b: \"c\n---\nd\"",
            "a:\n  b: \"c\n",
            "a:\n\tb: c",
            "a: [\nb",
            "a:\n  - b\n c: d",
        ] {
            assert!(load(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_mistaken_everywhere_costs_no_more_than_its_bound() {
        let line = "- a: {b: \"c\nd\"}\n";
        let many = line.repeat(20_000);
        assert!(load(&many).is_err_and(|error| error.contains("invalid indentation")));
    }
}
