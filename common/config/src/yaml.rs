//! YAML as a tree that knows where everything stands.
//!
//! One document of maps, lists and scalars. Keys are texts and come once; aliases are resolved, and so is the merge key: `<<: *base`
//! brings the entries of another map, or of several, where a map has none of its own. What a hostile or mistaken file can cost is
//! bounded: bytes, depth, and nodes after aliases are resolved (so that aliases of aliases do not explode).
//! What Go's YAML takes of the layout is taken, too ([`layout`]).

mod layout;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use self::layout::Layout;

use crate::{Mistake, Origin};

/// The largest file, in bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The deepest nesting.
const DEPTH_MAX: usize = 64;
/// The most nodes, those of resolved aliases counted again.
const NODES_MAX: usize = 500_000;

/// The key whose value is merged into the map.
const MERGE: &str = "<<";

/// A place in a text: line and column from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Self {
        Self {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where.
    pub at: Position,
    /// What.
    pub value: NodeValue,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeValue {
    /// Nothing: an empty value, `null` or `~`.
    Null,
    /// Any scalar, as written; a number or a truth value is told from a text only by whoever reads it.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map: key, where the key stands, value; in the order of the file.
    Map(Vec<(String, Position, Node)>),
}

impl Node {
    /// Returns the number of nodes in this tree.
    fn nodes(&self) -> usize {
        match &self.value {
            NodeValue::Null | NodeValue::Scalar(_) => 1,
            NodeValue::List(items) => 1 + items.iter().map(Self::nodes).sum::<usize>(),
            NodeValue::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|(_, _, value)| value.nodes())
                    .sum::<usize>()
            }
        }
    }

    /// Returns what kind of value this is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self.value {
            NodeValue::Null => "nothing",
            NodeValue::Scalar(_) => "a scalar",
            NodeValue::List(_) => "a list",
            NodeValue::Map(_) => "a map",
        }
    }

    /// Returns the value under `key`, when this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            NodeValue::Map(entries) => entries
                .iter()
                .find(|(name, _, _)| name == key)
                .map(|(_, _, value)| value),
            NodeValue::Null | NodeValue::Scalar(_) | NodeValue::List(_) => None,
        }
    }
}

/// Returns the one document in `text`; an empty text is [`NodeValue::Null`], and empty documents after the first are nothing. `path` is
/// for the message.
pub fn parse_yaml(path: &Path, text: &str) -> Result<Node, Mistake> {
    let mistake = |at: Position, what: String| Mistake {
        origin: Origin::File {
            path: path.to_owned(),
            at,
        },
        what,
    };
    if text.len() > BYTES_MAX {
        return Err(mistake(
            Position::default(),
            format!("{} bytes are more than the {BYTES_MAX} allowed", text.len()),
        ));
    }
    let mut layout = Layout::new(text);
    loop {
        match Loader::default().load(&layout) {
            Ok(document) => return Ok(document),
            Err(Stop::Refused((at, what))) => return Err(mistake(at, what)),
            Err(Stop::Unread(error)) if layout.mend(&error) => {}
            Err(Stop::Unread(error)) => {
                let at = layout.place(*error.marker());
                return Err(mistake(at, error.info().to_owned()));
            }
        }
    }
}

type Refusal = (Position, String);

/// Why a text is no document.
enum Stop {
    /// It is YAML, but more than we take.
    Refused(Refusal),
    /// It is no YAML.
    Unread(ScanError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[derive(Default)]
struct Loader {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    document: Option<Node>,
    /// Where a document begins that is not the first.
    another: Option<Position>,
    documents: usize,
}

/// A collection whose end has not come.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Position, Node)>,
        key: Option<(String, Position)>,
    },
}

impl Loader {
    fn load(mut self, layout: &Layout<'_>) -> Result<Node, Stop> {
        let mut parser = Parser::new_from_str(layout.text());
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(Stop::Unread)?;
            self.take(event, layout.place(span.start))?;
        }
        Ok(self.document.unwrap_or(Node {
            at: Position { line: 1, column: 1 },
            value: NodeValue::Null,
        }))
    }

    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Refusal> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let empty = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if empty {
                    NodeValue::Null
                } else {
                    NodeValue::Scalar(text.into_owned())
                };
                self.complete(Node { at, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(
                at,
                anchor,
                Content::Map {
                    entries: Vec::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                let node = target
                    .ok_or_else(|| (at, "alias of an anchor that is not complete".to_owned()))?;
                self.count(node.nodes(), at)?;
                self.complete(
                    Node {
                        at,
                        value: node.value,
                    },
                    0,
                )
            }
            Event::DocumentStart(_) => {
                self.documents += 1;
                self.another = (self.documents > 1).then_some(at);
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Refusal> {
        if self.open.len() >= DEPTH_MAX {
            return Err((at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.open.push(Open {
            at,
            anchor,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let Some(Open {
            at,
            anchor,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match content {
            Content::List(items) => NodeValue::List(items),
            Content::Map { entries, .. } => NodeValue::Map(merged(entries)?),
        };
        self.complete(Node { at, value }, anchor)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Refusal> {
        self.count(1, node.at)?;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => match self.another {
                None => self.document = Some(node),
                Some(_) if node.value == NodeValue::Null => {}
                Some(at) => return Err((at, "a second document; one is expected".to_owned())),
            },
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((name, at)) => entries.push((name, at, node)),
                None => {
                    let name = match node.value {
                        NodeValue::Scalar(name) => name,
                        NodeValue::Null | NodeValue::List(_) | NodeValue::Map(_) => {
                            return Err((node.at, "a key must be a text".to_owned()));
                        }
                    };
                    if let Some((_, first, _)) =
                        entries.iter().find(|(present, _, _)| *present == name)
                    {
                        return Err((
                            node.at,
                            format!("key {name:?} comes twice; the first is at {first}"),
                        ));
                    }
                    *key = Some((name, node.at));
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, more: usize, at: Position) -> Result<(), Refusal> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            Err((at, format!("more than {NODES_MAX} values")))
        } else {
            Ok(())
        }
    }
}

type Entries = Vec<(String, Position, Node)>;

/// Resolves the merge key: what a map has itself wins over what is merged, and what is merged first over what comes later.
fn merged(mut entries: Entries) -> Result<Entries, Refusal> {
    let Some(index) = entries.iter().position(|(key, _, _)| key == MERGE) else {
        return Ok(entries);
    };
    let (_, at, bases) = entries.remove(index);
    let bases = match bases.value {
        NodeValue::List(bases) => bases,
        NodeValue::Map(_) | NodeValue::Scalar(_) | NodeValue::Null => vec![bases],
    };
    for base in bases {
        let NodeValue::Map(base) = base.value else {
            return Err((
                at,
                "map merge requires map or sequence of maps as the value".to_owned(),
            ));
        };
        for entry in base {
            if !entries.iter().any(|(key, _, _)| *key == entry.0) {
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Node, String> {
        parse_yaml(Path::new("f.yml"), text).map_err(|mistake| mistake.to_string())
    }

    #[test]
    fn values_know_where_they_stand() {
        let node =
            load("a: 1\nb:\n  - x\n  - y: &k 'null'\n    z: *k\n    n: null\n").expect("valid");
        let NodeValue::List(items) = &node.get("b").expect("b").value else {
            panic!("a list")
        };
        assert_eq!((items[0].at.line, items[0].at.column), (3, 5));
        assert_eq!(
            items[1].get("z").expect("z").value,
            NodeValue::Scalar("null".to_owned())
        );
        assert_eq!(items[1].get("z").expect("z").at.line, 5);
        assert_eq!(items[1].get("n").expect("n").value, NodeValue::Null);
        assert_eq!(load("").expect("empty").value, NodeValue::Null);
        assert_eq!(load("--- x\n---\n"), load("--- x"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        for (text, message) in [
            (
                "a: 1\na: 2",
                "f.yml:2:1: key \"a\" comes twice; the first is at 1:1",
            ),
            ("[1]: 2", "f.yml:1:1: a key must be a text"),
            ("a\n---\nb", "f.yml:2:1: a second document; one is expected"),
        ] {
            assert_eq!(load(text), Err(message.to_owned()), "{text}");
        }
        assert!(load("a: [1").is_err());
        assert!(load(&"[".repeat(100)).is_err_and(|message| message.contains("nested deeper")));
    }

    #[test]
    fn merged_maps_give_what_a_map_has_not_itself() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 5}\nd: {<<: *b}\n";
        let node = load(text).expect("valid");
        let value = |map: &str, key: &str| node.get(map).and_then(|map| map.get(key)).cloned();
        let scalar = |map: &str, key: &str| match value(map, key).map(|node| node.value) {
            Some(NodeValue::Scalar(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (scalar("c", "x"), scalar("c", "y"), scalar("c", "z")),
            ("5".into(), "2".into(), "4".into())
        );
        assert_eq!(scalar("d", "z"), "4");
        assert_eq!(value("d", "<<"), None);
        assert!(load("a: {<<: 1}").is_err_and(|message| message.contains("map merge requires")));
    }

    #[test]
    fn aliases_do_not_explode() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let item = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![item; 10].join(", "));
        }
        assert!(load(&bomb).is_err_and(|message| message.contains("more than 500000 values")));
    }
}
