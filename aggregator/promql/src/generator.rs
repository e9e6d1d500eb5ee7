//! Random expressions of the whole language, well typed and bounded, for tests: properties, comparison with a real Prometheus, fuzzing.
//!
//! A [`Generator`] makes texts from [`Choices`] (a seed, or bytes of a fuzzer) within a [`Grammar`]: which series there are, and which
//! parts of the language are left out. Functions, aggregations and operators come from the language's own tables, so that what is added
//! there is generated from then on. Every text parses; evaluation may fail for the data's sake (two series where there may be one).
//!
//! What depends on the query's own bounds (`start()`, `@ end()`, `step()`, `range()`) is written out, or given as the numbers that
//! it means: the same choices make the same expression in both forms, so that an instant query can stand for a step of a range query.

mod calls;
mod choices;
mod data;
mod literals;
mod selectors;
mod vectors;

use std::collections::BTreeSet;

pub use self::choices::Choices;
pub use self::data::random_store;
use crate::functions::{FUNCTIONS, Function};
use crate::{AggregateOp, Operator};

/// A part of the language that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Functions and aggregations marked experimental.
    Experimental,
    /// `anchored` and `smoothed`.
    ExtendedRanges,
    /// `fill`, `fill_left`, `fill_right`.
    Fill,
    /// Arithmetic where durations stand.
    DurationExpressions,
    /// Numbers where durations stand, and durations where numbers stand.
    DurationNumbers,
    /// Quoted names.
    QuotedNames,
    /// `start()`, `end()`, `step()`, `range()`, also behind `@` and in durations.
    QueryBounds,
    /// Series of native histograms.
    NativeHistograms,
    /// Subqueries.
    Subqueries,
    /// Subqueries inside subqueries.
    NestedSubqueries,
    /// Comparisons between vectors without `bool`, which drop series.
    FiltersBetweenVectors,
    /// `rate` and `increase` of anything but counters as they are stored.
    RatesOfAnything,
    /// Underscores in numbers.
    Underscores,
    /// Sorting: the order of series in the result of an instant query.
    Sorting,
    /// Comments, other blanks, keywords in capitals.
    Spelling,
    /// Infinities and NaN as literals.
    OddNumbers,
}

/// How the bounds of the query are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryBounds {
    /// As `start()`, `end()`, `step()`, `range()`.
    Written,
    /// As the numbers that they mean, in milliseconds.
    Given {
        /// The start of the query.
        start_ms: i64,
        /// Its end, as it was asked for.
        end_ms: i64,
        /// Its step.
        step_ms: i64,
    },
}

/// The series that expressions are about.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Metrics of floats that rise.
    pub counters: &'static [&'static str],
    /// Other metrics of floats.
    pub gauges: &'static [&'static str],
    /// Metrics of classic buckets, with a label `le`.
    pub buckets: &'static [&'static str],
    /// Metrics with native histograms.
    pub natives: &'static [&'static str],
    /// Metrics with anything.
    pub mixed: &'static [&'static str],
    /// Metrics that `info` joins.
    pub infos: &'static [&'static str],
    /// Labels and some of their values.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// Seconds between which most samples lie.
    pub span: (i64, i64),
}

/// What may be generated.
#[derive(Clone, Debug)]
pub struct Grammar {
    vocabulary: Vocabulary,
    without: BTreeSet<Feature>,
    words_without: BTreeSet<&'static str>,
    nodes_max: u32,
    fractions: &'static [&'static str],
}

impl Grammar {
    /// Returns the whole language over these series, in expressions of a dozen nodes at most.
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            vocabulary,
            without: BTreeSet::new(),
            words_without: BTreeSet::new(),
            nodes_max: 12,
            fractions: &["", "", ".5", ".001"],
        }
    }

    /// Sets the fractions of a second that `@` may name, each with its point.
    #[must_use]
    pub fn fractions(mut self, fractions: &'static [&'static str]) -> Self {
        self.fractions = fractions;
        self
    }

    /// Leaves parts of the language out.
    #[must_use]
    pub fn without(mut self, features: impl IntoIterator<Item = Feature>) -> Self {
        self.without.extend(features);
        self
    }

    /// Leaves functions, aggregations and operators out, by their names.
    #[must_use]
    pub fn without_words(mut self, words: impl IntoIterator<Item = &'static str>) -> Self {
        self.words_without.extend(words);
        self
    }

    /// Sets how many calls, operators and selectors an expression has at most.
    #[must_use]
    pub fn nodes_max(mut self, nodes: u32) -> Self {
        self.nodes_max = nodes;
        self
    }

    fn has(&self, feature: Feature) -> bool {
        !self.without.contains(&feature)
    }

    fn has_word(&self, word: &str) -> bool {
        !self.words_without.contains(word)
    }

    fn has_function(&self, function: &Function) -> bool {
        const BOUNDS: [&str; 4] = ["start", "end", "step", "range"];
        self.has_word(function.name)
            && (!function.experimental || self.has(Feature::Experimental))
            && (!function.name.starts_with("sort") || self.has(Feature::Sorting))
            && (!BOUNDS.contains(&function.name) || self.has(Feature::QueryBounds))
            && (!function.name.starts_with("histogram_")
                || function.name.starts_with("histogram_quantile")
                || function.name == "histogram_fraction"
                || self.has(Feature::NativeHistograms))
    }

    fn has_operator(&self, op: Operator) -> bool {
        let trims = matches!(op, Operator::TrimUpper | Operator::TrimLower);
        self.has_word(op.as_str()) && (!trims || self.has(Feature::NativeHistograms))
    }

    fn has_aggregation(&self, op: AggregateOp) -> bool {
        self.has_word(op.as_str()) && (!op.is_experimental() || self.has(Feature::Experimental))
    }
}

/// What a vector should consist of, so that most of what is generated means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Float,
    Counter,
    Buckets,
    Native,
    Any,
}

/// A text, and whether operators may be put beside it.
#[derive(Clone, Debug)]
struct Text {
    text: String,
    /// It is one operand, whatever stands beside it.
    is_primary: bool,
    /// It may go without parentheses beside an operator: its type stays right however it is taken apart.
    may_stand_bare: bool,
}

impl Text {
    fn primary(text: String) -> Self {
        Self {
            text,
            is_primary: true,
            may_stand_bare: true,
        }
    }
}

/// Makes expressions.
#[derive(Clone, Debug)]
pub struct Generator<'a> {
    grammar: &'a Grammar,
    bounds: QueryBounds,
    choices: Choices,
    functions: Vec<&'static Function>,
    aggregations: Vec<AggregateOp>,
    operators: Vec<Operator>,
    /// Subqueries around what is generated now.
    subqueries: u32,
}

impl<'a> Generator<'a> {
    /// Returns a generator that makes what `choices` say.
    pub fn new(grammar: &'a Grammar, choices: Choices, bounds: QueryBounds) -> Self {
        let functions = FUNCTIONS.iter().filter(|f| grammar.has_function(f));
        let aggregations = AggregateOp::ALL.iter().copied();
        let operators = Operator::ALL.iter().copied();
        Self {
            grammar,
            bounds,
            choices,
            functions: functions.collect(),
            aggregations: aggregations
                .filter(|op| grammar.has_aggregation(*op))
                .collect(),
            operators: operators.filter(|op| grammar.has_operator(*op)).collect(),
            subqueries: 0,
        }
    }

    /// Returns an expression that a range query takes: an instant vector, or at times a scalar.
    pub fn expression(&mut self) -> String {
        let nodes = 1 + self.choices.below(self.grammar.nodes_max);
        let text = if self.choices.one_in(16) {
            self.scalar(nodes)
        } else {
            let kind = self.kind();
            self.vector(kind, nodes)
        };
        self.spelled(&text.text)
    }

    /// Returns an expression of any type: range vectors and strings too.
    pub fn any_expression(&mut self) -> String {
        match self.choices.below(24) {
            0 => {
                let nodes = 1 + self.choices.below(self.grammar.nodes_max);
                let text = self.matrix(Kind::Any, nodes, "");
                self.spelled(&text)
            }
            1 => self.string(),
            _ => self.expression(),
        }
    }

    fn kind(&mut self) -> Kind {
        if !self.grammar.has(Feature::NativeHistograms) {
            return *self.choices.of(&[Kind::Float, Kind::Float, Kind::Buckets]);
        }
        *self.choices.of(&[
            Kind::Float,
            Kind::Float,
            Kind::Float,
            Kind::Float,
            Kind::Native,
            Kind::Native,
            Kind::Buckets,
            Kind::Any,
        ])
    }

    /// Puts a text beside an operator: in parentheses unless it can do without.
    fn operand(&mut self, text: Text) -> String {
        let bare = text.is_primary || (text.may_stand_bare && self.choices.one_in(3));
        if bare {
            return text.text;
        }
        format!("({})", text.text)
    }

    /// Puts a text where only one operand may stand.
    fn primary(text: Text) -> String {
        if text.is_primary {
            return text.text;
        }
        format!("({})", text.text)
    }
}

#[cfg(test)]
mod tests;
