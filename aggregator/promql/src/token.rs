//! The words of the language.

use std::fmt;

use crate::TextRange;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Eof,
    /// A name, perhaps a keyword, perhaps with colons.
    Word(Option<Keyword>),
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    Operator(Operator),
}

/// A token and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) range: TextRange,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl $name {
            /// All, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the text of the language.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Returns the one of this name, in any case of letters.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str().eq_ignore_ascii_case(word))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// A binary operator.
    Operator {
        Add => "+",
        Sub => "-",
        Mul => "*",
        Div => "/",
        Mod => "%",
        Pow => "^",
        Atan2 => "atan2",
        Equal => "==",
        NotEqual => "!=",
        Less => "<",
        LessEqual => "<=",
        Greater => ">",
        GreaterEqual => ">=",
        TrimUpper => "</",
        TrimLower => ">/",
        And => "and",
        Or => "or",
        Unless => "unless",
    }
}

words! {
    /// An aggregation.
    AggregateOp {
        Sum => "sum",
        Avg => "avg",
        Count => "count",
        Min => "min",
        Max => "max",
        Group => "group",
        Stddev => "stddev",
        Stdvar => "stdvar",
        Topk => "topk",
        Bottomk => "bottomk",
        CountValues => "count_values",
        Quantile => "quantile",
        Limitk => "limitk",
        LimitRatio => "limit_ratio",
    }
}

words! {
    /// A modifier.
    Modifier {
        Offset => "offset",
        Anchored => "anchored",
        Smoothed => "smoothed",
        By => "by",
        Without => "without",
        On => "on",
        Ignoring => "ignoring",
        GroupLeft => "group_left",
        GroupRight => "group_right",
        Fill => "fill",
        FillLeft => "fill_left",
        FillRight => "fill_right",
        Bool => "bool",
        Start => "start",
        End => "end",
        Step => "step",
        Range => "range",
    }
}

/// A word with a meaning of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Operator(Operator),
    Aggregate(AggregateOp),
    Modifier(Modifier),
}

impl Keyword {
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        let letters = |operator: &Operator| {
            matches!(
                operator,
                Operator::And | Operator::Or | Operator::Unless | Operator::Atan2
            )
        };
        Operator::from_word(word)
            .filter(letters)
            .map(Self::Operator)
            .or_else(|| AggregateOp::from_word(word).map(Self::Aggregate))
            .or_else(|| Modifier::from_word(word).map(Self::Modifier))
    }

    /// Returns whether the word may stand for a metric where an expression begins.
    pub(crate) const fn may_name_metric(self) -> bool {
        !matches!(
            self,
            Self::Operator(Operator::Atan2)
                | Self::Modifier(
                    Modifier::Bool
                        | Modifier::On
                        | Modifier::Ignoring
                        | Modifier::GroupLeft
                        | Modifier::GroupRight
                )
        )
    }
}

impl Operator {
    /// Returns whether the result is a comparison's.
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessEqual
                | Self::Greater
                | Self::GreaterEqual
        )
    }

    /// Returns whether it combines sets of series.
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// Returns how tightly it binds; more is tighter.
    pub(crate) const fn binding(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And | Self::Unless => 2,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::TrimUpper
            | Self::TrimLower => 3,
            Self::Add | Self::Sub => 4,
            Self::Mul | Self::Div | Self::Mod | Self::Atan2 => 5,
            Self::Pow => 6,
        }
    }
}

impl AggregateOp {
    /// Returns whether a parameter comes before the vector.
    pub const fn takes_parameter(self) -> bool {
        matches!(
            self,
            Self::Topk
                | Self::Bottomk
                | Self::CountValues
                | Self::Quantile
                | Self::Limitk
                | Self::LimitRatio
        )
    }

    /// Returns whether it is behind the switch for experimental functions.
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}
