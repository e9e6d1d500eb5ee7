//! Where in HTML a piece of text is.

/// All that has to be known at a point of a text to go on reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Context {
    pub(super) state: State,
    pub(super) delimiter: Delimiter,
    pub(super) url_part: UrlPart,
    pub(super) slash: Slash,
    /// For each template literal of JavaScript that is open around this: how many braces are open in its expression.
    pub(super) braces: Vec<u32>,
    pub(super) attribute: Attribute,
    pub(super) element: Element,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    #[default]
    Text,
    /// In a tag, where an attribute may begin.
    Tag,
    AttributeName,
    AfterName,
    /// Behind `=`.
    BeforeValue,
    Comment,
    /// The content of `title` and `textarea`: text without tags.
    PlainContent,
    /// The value of an attribute that is only text.
    Attribute,
    Url,
    /// Several URLs with sizes.
    Srcset,
    /// The `content` of a `meta`, and a URL in it.
    MetaContent,
    MetaUrl,
    Js,
    JsString(Quote),
    JsTemplate,
    JsRegexp,
    JsBlockComment,
    JsLineComment,
    /// `<!--` and `-->` begin comments in scripts too.
    JsOpenComment,
    JsCloseComment,
    Css,
    CssString(Quote),
    CssUrl(Option<Quote>),
    CssBlockComment,
    CssLineComment,
    /// Never reached: behind `break` or `continue`.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quote {
    Double,
    Single,
}

impl Quote {
    pub(super) const fn character(self) -> char {
        match self {
            Self::Double => '"',
            Self::Single => '\'',
        }
    }
}

/// What ends an attribute's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Delimiter {
    /// This is no attribute's value.
    #[default]
    None,
    Quote(Quote),
    SpaceOrTagEnd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UrlPart {
    /// Nothing of it yet.
    #[default]
    None,
    BeforeQuery,
    QueryOrFragment,
    /// One of these, depending on a branch.
    Unknown,
}

/// What a slash would be in JavaScript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slash {
    #[default]
    Regexp,
    Division,
    /// One of these, depending on a branch.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attribute {
    #[default]
    Plain,
    Script,
    /// `type` of a `script`.
    ScriptType,
    Style,
    Url,
    Srcset,
    MetaContent,
}

impl Attribute {
    /// Returns where its value begins.
    pub(super) const fn value_state(self) -> State {
        match self {
            Self::Plain | Self::ScriptType => State::Attribute,
            Self::Script => State::Js,
            Self::Style => State::Css,
            Self::Url => State::Url,
            Self::Srcset => State::Srcset,
            Self::MetaContent => State::MetaContent,
        }
    }
}

/// Elements whose content or attributes are read in a way of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    #[default]
    None,
    Script,
    Style,
    Textarea,
    Title,
    Meta,
}

impl Element {
    pub(super) fn named(name: &str) -> Self {
        let elements = [
            Self::Script,
            Self::Style,
            Self::Textarea,
            Self::Title,
            Self::Meta,
        ];
        let found = elements
            .into_iter()
            .find(|element| element.name().eq_ignore_ascii_case(name));
        found.unwrap_or(Self::None)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Script => "script",
            Self::Style => "style",
            Self::Textarea => "textarea",
            Self::Title => "title",
            Self::Meta => "meta",
        }
    }

    pub(super) const fn content_state(self) -> State {
        match self {
            Self::None | Self::Meta => State::Text,
            Self::Script => State::Js,
            Self::Style => State::Css,
            Self::Textarea | Self::Title => State::PlainContent,
        }
    }
}

impl State {
    pub(super) const fn is_comment(self) -> bool {
        matches!(
            self,
            Self::Comment
                | Self::JsBlockComment
                | Self::JsLineComment
                | Self::JsOpenComment
                | Self::JsCloseComment
                | Self::CssBlockComment
                | Self::CssLineComment
        )
    }

    /// Strings, regular expressions and template literals of scripts.
    pub(super) const fn is_script_literal(self) -> bool {
        matches!(self, Self::JsString(_) | Self::JsRegexp | Self::JsTemplate)
    }

    pub(super) const fn is_in_tag(self) -> bool {
        matches!(
            self,
            Self::Tag | Self::AttributeName | Self::AfterName | Self::BeforeValue | Self::Attribute
        )
    }
}

impl Context {
    pub(super) fn of(state: State) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Returns the context of an action at this point, for which nothing more is read: the start of an attribute's name or value.
    pub(super) fn nudged(mut self) -> Self {
        match self.state {
            State::Tag => self.state = State::AttributeName,
            State::BeforeValue => {
                self.state = self.attribute.value_state();
                self.delimiter = Delimiter::SpaceOrTagEnd;
                self.attribute = Attribute::Plain;
            }
            State::AfterName => {
                self.state = State::AttributeName;
                self.attribute = Attribute::Plain;
            }
            _ => {}
        }
        self
    }

    /// Returns the context behind two branches that end in `self` and `other`; `None` when there is none that fits both.
    pub(super) fn joined(&self, other: &Self) -> Option<Self> {
        if self.state == State::Dead || self == other {
            return Some(other.clone());
        }
        if other.state == State::Dead {
            return Some(self.clone());
        }
        let mut joined = Self {
            url_part: other.url_part,
            ..self.clone()
        };
        if joined == *other {
            joined.url_part = UrlPart::Unknown;
            return Some(joined);
        }
        joined = Self {
            slash: other.slash,
            ..self.clone()
        };
        if joined == *other {
            joined.slash = Slash::Unknown;
            return Some(joined);
        }
        let nudged = (self.clone().nudged(), other.clone().nudged());
        if nudged.0 == *self && nudged.1 == *other {
            return None;
        }
        nudged.0.joined(&nudged.1)
    }
}
