//! The values that templates work on.
//!
//! Go's templates look at the types of what they are given: a map of texts has other missing keys than a map of anything, a list of
//! pairs has methods, a time prints as a time. So values here are typed as well: scalars by their variant, lists, maps and structs by
//! a static description with a name, what the elements are, and methods.
//!
//! Values are shared, never changed. Their nesting is bounded by [`VALUE_DEPTH_MAX`], which bounds every recursion over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::function::Function;
use crate::time::{Duration, Time};

/// The deepest nesting of lists, maps and structs.
pub const VALUE_DEPTH_MAX: u8 = 50;

/// A value of a template. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// There is none: the data is missing. Prints as `<no value>`.
    #[default]
    Absent,
    /// Go's nil in a place where anything may stand, for instance a missing key of a map of anything.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    String(Arc<str>),
    /// A text that need not be escaped where its kind is expected.
    Safe(Safe, Arc<str>),
    /// A whole number with names: a month, a day of the week.
    Named(&'static NamedInts, i64),
    /// An instant in a time zone.
    Time(Time),
    /// A span of time.
    Duration(Duration),
    /// A list.
    List(List),
    /// A map from texts.
    Map(Map),
    /// Named fields.
    Struct(Struct),
}

/// What a text is safe as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// A fragment of HTML.
    Html,
    /// A URL.
    Url,
}

impl Safe {
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Html => "template.HTML",
            Self::Url => "template.URL",
        }
    }
}

/// A type of whole numbers with names.
#[derive(Debug)]
pub struct NamedInts {
    pub(crate) name: &'static str,
    /// The name of `first`, of `first + 1`, ...
    pub(crate) names: &'static [&'static str],
    pub(crate) first: i64,
}

impl NamedInts {
    pub(crate) fn text(&self, value: i64) -> Option<&'static str> {
        let index = usize::try_from(value.checked_sub(self.first)?).ok()?;
        self.names.get(index).copied()
    }
}

/// What the elements of a list or map are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Any,
    String,
    Struct(&'static StructType),
}

/// What a map holds.
pub(crate) type Entries = BTreeMap<Arc<str>, Value>;

/// A type of lists.
#[derive(Debug)]
pub(crate) struct ListType {
    pub(crate) name: &'static str,
    pub(crate) element: Element,
    pub(crate) methods: &'static [Function],
    /// How lists of this type print themselves, when they do.
    pub(crate) text: Option<fn(&[Value]) -> String>,
}

/// A type of maps from texts.
#[derive(Debug)]
pub(crate) struct MapType {
    pub(crate) name: &'static str,
    pub(crate) element: Element,
    pub(crate) methods: &'static [Function],
    /// How maps of this type print themselves, when they do.
    pub(crate) text: Option<fn(&Entries) -> String>,
}

/// A type of structs.
#[derive(Debug)]
pub(crate) struct StructType {
    pub(crate) name: &'static str,
    /// Whether Go has a pointer to it here; it then prints with `&`.
    pub(crate) pointer: bool,
    pub(crate) fields: &'static [FieldType],
}

impl PartialEq for StructType {
    /// Types are statics: the same one or not.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for StructType {}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct FieldType {
    pub(crate) name: &'static str,
    /// Its name in JSON; a field without is seen by printing only.
    pub(crate) json: Option<&'static str>,
}

impl FieldType {
    pub(crate) const fn new(name: &'static str, json: &'static str) -> Self {
        Self {
            name,
            json: Some(json),
        }
    }

    /// A field that Go's code has for itself.
    pub(crate) const fn hidden(name: &'static str) -> Self {
        Self { name, json: None }
    }
}

/// A list whose elements are of one type.
#[derive(Clone, Debug)]
pub struct List {
    pub(crate) kind: &'static ListType,
    pub(crate) items: Arc<[Value]>,
    depth: u8,
}

/// A map from texts to values of one type.
#[derive(Clone, Debug)]
pub struct Map {
    pub(crate) kind: &'static MapType,
    pub(crate) entries: Arc<Entries>,
    depth: u8,
}

/// Values for the fields of a type.
#[derive(Clone, Debug)]
pub struct Struct {
    pub(crate) kind: &'static StructType,
    pub(crate) fields: Arc<[Value]>,
    depth: u8,
}

/// `[]string`.
pub(crate) static STRINGS: ListType = ListType {
    name: "[]string",
    element: Element::String,
    methods: &[],
    text: None,
};

/// `[]interface {}`.
pub(crate) static ANY_LIST: ListType = ListType {
    name: "[]interface {}",
    element: Element::Any,
    methods: &[],
    text: None,
};

/// `map[string]string`.
pub(crate) static STRING_MAP: MapType = MapType {
    name: "map[string]string",
    element: Element::String,
    methods: &[],
    text: None,
};

/// `map[string]interface {}`.
pub(crate) static ANY_MAP: MapType = MapType {
    name: "map[string]interface {}",
    element: Element::Any,
    methods: &[],
    text: None,
};

/// The nesting would exceed [`VALUE_DEPTH_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

fn depth_over<'v>(values: impl Iterator<Item = &'v Value>) -> Result<u8, TooDeep> {
    let deepest = values.map(Value::depth).max().unwrap_or(0);
    if deepest < VALUE_DEPTH_MAX {
        Ok(deepest + 1)
    } else {
        Err(TooDeep)
    }
}

impl List {
    pub(crate) fn new(kind: &'static ListType, items: Vec<Value>) -> Result<Self, TooDeep> {
        Ok(Self {
            kind,
            depth: depth_over(items.iter())?,
            items: items.into(),
        })
    }
}

impl Map {
    pub(crate) fn new(kind: &'static MapType, entries: Entries) -> Result<Self, TooDeep> {
        Ok(Self {
            kind,
            depth: depth_over(entries.values())?,
            entries: Arc::new(entries),
        })
    }

    /// Returns what is under `key`, or what Go takes for a missing one: the empty value of the elements' type.
    pub(crate) fn get(&self, key: &str) -> Value {
        match self.entries.get(key) {
            Some(value) => value.clone(),
            None => match self.kind.element {
                Element::String => Value::from(""),
                Element::Any | Element::Struct(_) => Value::Nil,
            },
        }
    }
}

impl Struct {
    /// `fields` in the order of the type.
    pub(crate) fn new(kind: &'static StructType, fields: Vec<Value>) -> Result<Self, TooDeep> {
        debug_assert_eq!(kind.fields.len(), fields.len());
        Ok(Self {
            kind,
            depth: depth_over(fields.iter())?,
            fields: fields.into(),
        })
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        let index = self
            .kind
            .fields
            .iter()
            .position(|field| field.name == name)?;
        self.fields.get(index)
    }

    /// Returns a field that templates may use.
    pub(crate) fn visible_field(&self, name: &str) -> Option<&Value> {
        let is_visible = |field: &FieldType| field.name == name && field.json.is_some();
        self.field(name)
            .filter(|_| self.kind.fields.iter().any(is_visible))
    }
}

impl Value {
    /// Returns a list of texts.
    pub fn strings<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::flat_list(
            &STRINGS,
            texts
                .into_iter()
                .map(|text| Self::from(text.as_ref()))
                .collect(),
        )
    }

    /// Returns a map from texts to texts.
    pub fn string_map<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::flat_map(&STRING_MAP, entries)
    }

    /// Returns a list of anything; `None` when it would be nested deeper than [`VALUE_DEPTH_MAX`].
    pub fn list(items: Vec<Self>) -> Option<Self> {
        List::new(&ANY_LIST, items).ok().map(Self::List)
    }

    /// Returns a map from texts to anything; `None` when it would be nested deeper than [`VALUE_DEPTH_MAX`].
    pub fn map(entries: BTreeMap<Arc<str>, Self>) -> Option<Self> {
        Map::new(&ANY_MAP, entries).ok().map(Self::Map)
    }

    /// A list of what is not nested deeply: texts, pairs, alerts.
    pub(crate) fn flat_list(kind: &'static ListType, items: Vec<Self>) -> Self {
        List::new(kind, items).map_or(Self::Absent, Self::List)
    }

    pub(crate) fn flat_map<K: AsRef<str>, V: AsRef<str>>(
        kind: &'static MapType,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (Arc::from(key.as_ref()), Self::from(value.as_ref())))
            .collect();
        Map::new(kind, entries).map_or(Self::Absent, Self::Map)
    }

    pub(crate) fn flat_struct(kind: &'static StructType, fields: Vec<Self>) -> Self {
        Struct::new(kind, fields).map_or(Self::Absent, Self::Struct)
    }

    const fn depth(&self) -> u8 {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            Self::Struct(fields) => fields.depth,
            Self::Absent
            | Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Safe(..)
            | Self::Named(..)
            | Self::Time(_)
            | Self::Duration(_) => 0,
        }
    }

    /// Whether this is neither nothing nor the zero of its type.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Absent | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Named(_, value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) | Self::Safe(_, text) => !text.is_empty(),
            Self::Time(_) | Self::Struct(_) => true,
            Self::Duration(duration) => duration.nanoseconds() != 0,
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
        }
    }

    /// Returns the name of the type in Go.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Absent | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::Safe(safe, _) => safe.type_name(),
            Self::Named(named, _) => named.name,
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::List(list) => list.kind.name,
            Self::Map(map) => map.kind.name,
            Self::Struct(fields) => fields.kind.name,
        }
    }

    pub(crate) const fn is_nothing(&self) -> bool {
        matches!(self, Self::Absent | Self::Nil)
    }

    /// Returns the whole number in this, whatever its type.
    pub(crate) const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) | Self::Named(_, value) => Some(*value),
            Self::Duration(duration) => Some(duration.nanoseconds()),
            Self::Absent
            | Self::Nil
            | Self::Bool(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Safe(..)
            | Self::Time(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Struct(_) => None,
        }
    }

    /// Returns the text in this, whatever it is safe as; an empty one when this is none.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::String(text) | Self::Safe(_, text) => text,
            _ => "",
        }
    }

    /// Returns how this prints itself, when its type says how.
    pub(crate) fn own_text(&self) -> Option<String> {
        match self {
            Self::Time(time) => Some(time.to_string()),
            Self::Duration(duration) => Some(duration.to_string()),
            Self::Named(named, value) => Some(named.text(*value).map_or_else(
                || {
                    let kind = named.name.trim_start_matches("time.");
                    format!("%!{kind}({value})")
                },
                str::to_owned,
            )),
            Self::List(list) => list.kind.text.map(|text| text(&list.items)),
            Self::Map(map) => map.kind.text.map(|text| text(&map.entries)),
            Self::Absent
            | Self::Nil
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::Safe(..)
            | Self::Struct(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// Returns a length as a value; lengths are far below the range of integers.
pub(crate) fn int(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}
