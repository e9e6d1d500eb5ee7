//! The tree of an expression, with places on every node.
//!
//! Trees are equal when they mean the same: places do not count. Their height is bounded by the parser
//! ([`crate::EXPRESSION_HEIGHT_MAX`]), so recursion over them, dropping them included, is safe on any stack.

use model::MatchOp;

use crate::TextRange;
use crate::functions::Function;
use crate::token::{AggregateOp, Operator};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// One text.
    String,
    /// Series with one value each.
    Vector,
    /// Series with the samples of a range.
    Matrix,
}

impl ValueType {
    /// Returns the name that error messages use.
    pub const fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub range: TextRange,
    height: u16,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1`, `0x10`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(Vec<u8>),
    /// `metric{label="value"}`
    Vector(VectorSelector),
    /// `metric[5m]`
    Matrix(Box<MatrixSelector>),
    /// `expr[1h:5m]`
    Subquery(Box<Subquery>),
    /// `rate(...)`
    Call(Call),
    /// `sum by (job) (...)`
    Aggregate(Box<Aggregate>),
    /// `a + b`
    Binary(Box<Binary>),
    /// `-a`
    Unary(Box<Unary>),
    /// `(a)`
    Paren(Box<Expr>),
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// Its value, seconds for a duration.
    pub value: f64,
    /// Whether it was written as a duration.
    pub is_duration: bool,
}

impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        self.is_duration == other.is_duration
            && (self.value.to_bits() == other.value.to_bits()
                || (self.value.is_nan() && other.value.is_nan()))
    }
}

/// A matcher as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMatcher {
    /// The label.
    pub name: String,
    /// The comparison.
    pub op: MatchOp,
    /// The value or expression.
    pub value: String,
}

/// An instant selector; the order of its matchers means nothing.
#[derive(Clone, Debug, Default)]
pub struct VectorSelector {
    /// The name outside the braces, if any; it is no part of `matchers`.
    pub name: Option<String>,
    /// The matchers inside the braces; a quoted name is one of `__name__`.
    pub matchers: Vec<LabelMatcher>,
    /// Offset and `@`.
    pub time: TimeModifiers,
    /// `anchored` or `smoothed`.
    pub extended: Option<Extended>,
}

/// How values outside the range of a selector are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// The last sample before the range belongs to it.
    Anchored,
    /// Values at the ends are interpolated.
    Smoothed,
}

/// A range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// What is selected; time modifiers are kept here.
    pub selector: VectorSelector,
    /// The range.
    pub range: DurationExpr,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// Over which range.
    pub range: DurationExpr,
    /// How often; `None`: the engine's default.
    pub step: Option<DurationExpr>,
    /// Offset and `@`.
    pub time: TimeModifiers,
}

/// Where in time a selector or subquery looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeModifiers {
    /// How far back.
    pub offset: Option<DurationExpr>,
    /// From which instant.
    pub at: Option<AtModifier>,
}

/// The instant of an `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// Milliseconds since the epoch.
    Time(i64),
    /// `start()` of the query.
    Start,
    /// `end()` of the query.
    End,
}

/// Arithmetic in the place of a duration.
#[derive(Clone, Debug)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub range: TextRange,
    height: u16,
}

/// The kinds of duration expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A number of seconds or a duration.
    Literal(NumberLiteral),
    /// `step()`: the step of the query.
    Step,
    /// `range()`: from the start to the end of the query.
    Range,
    /// `min_of(a, b)` (`false`) or `max_of(a, b)` (`true`)
    Extreme(bool, Box<(DurationExpr, DurationExpr)>),
    /// `-a`
    Negative(Box<DurationExpr>),
    /// `(a)`
    Paren(Box<DurationExpr>),
    /// `a + b`
    Binary(Operator, Box<(DurationExpr, DurationExpr)>),
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// The arguments.
    pub args: Vec<Expr>,
}

impl Call {
    /// Returns the place of the argument that is a range, if there is one.
    pub fn range_arg(&self) -> Option<usize> {
        self.args
            .iter()
            .position(|arg| arg.value_type() == ValueType::Matrix)
    }
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operation.
    pub op: AggregateOp,
    /// The parameter of `topk` and its like.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// The labels of the clause.
    pub grouping: Vec<String>,
    /// Whether the clause is `without`.
    pub without: bool,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: Operator,
    /// The left side.
    pub left: Expr,
    /// The right side.
    pub right: Expr,
    /// Whether a comparison returns 0 and 1.
    pub return_bool: bool,
    /// How series are matched.
    pub matching: Matching,
}

/// How the series of two vectors are matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// The labels of the clause.
    pub labels: Vec<String>,
    /// Whether the clause is `on`.
    pub on: bool,
    /// Which side has many series per match.
    pub group: Option<GroupSide>,
    /// The labels taken from the side that has one.
    pub include: Vec<String>,
    /// What stands for a missing series on the left.
    pub fill_left: Option<FillValue>,
    /// What stands for a missing series on the right.
    pub fill_right: Option<FillValue>,
}

/// A value that stands for a missing series; NaN equals itself.
#[derive(Clone, Copy, Debug)]
pub struct FillValue(pub f64);

impl PartialEq for FillValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits() || (self.0.is_nan() && other.0.is_nan())
    }
}

/// The side of `group_left` or `group_right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSide {
    /// Many on the left.
    Left,
    /// Many on the right.
    Right,
}

/// A sign before an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Whether it is a minus.
    pub negative: bool,
    /// What is signed.
    pub expr: Expr,
}

impl VectorSelector {
    /// Returns the texts of the matchers inside the braces, sorted.
    pub(crate) fn sorted_matchers(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        texts
    }
}

impl PartialEq for VectorSelector {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.time == other.time
            && self.extended == other.extended
            && (self.matchers == other.matchers
                || self.sorted_matchers() == other.sorted_matchers())
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for DurationExpr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Expr {
    /// Returns the node; its height is one more than its highest child's.
    pub fn new(kind: ExprKind, range: TextRange) -> Self {
        let below = match &kind {
            ExprKind::Number(_) | ExprKind::String(_) => 0,
            ExprKind::Vector(selector) => selector.time.height(),
            ExprKind::Matrix(matrix) => matrix.range.height.max(matrix.selector.time.height()),
            ExprKind::Subquery(subquery) => subquery
                .expr
                .height
                .max(subquery.range.height)
                .max(subquery.step.as_ref().map_or(0, |step| step.height))
                .max(subquery.time.height()),
            ExprKind::Call(call) => call.args.iter().map(|arg| arg.height).max().unwrap_or(0),
            ExprKind::Aggregate(aggregate) => aggregate
                .expr
                .height
                .max(aggregate.param.as_ref().map_or(0, |param| param.height)),
            ExprKind::Binary(binary) => binary.left.height.max(binary.right.height),
            ExprKind::Unary(unary) => unary.expr.height,
            ExprKind::Paren(inner) => inner.height,
        };
        Self {
            kind,
            range,
            height: below.saturating_add(1),
        }
    }

    /// Returns the number of nodes on the longest way down.
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// Returns the type of the value.
    pub fn value_type(&self) -> ValueType {
        let mut expr = self;
        loop {
            return match &expr.kind {
                ExprKind::Number(_) => ValueType::Scalar,
                ExprKind::String(_) => ValueType::String,
                ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
                ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
                ExprKind::Call(call) => call.function.returns,
                ExprKind::Binary(binary) => {
                    // The left side may be a long chain: it is walked, not recursed into.
                    if binary.right.value_type() != ValueType::Scalar {
                        return ValueType::Vector;
                    }
                    expr = &binary.left;
                    if matches!(expr.kind, ExprKind::Binary(_)) {
                        continue;
                    }
                    match expr.value_type() {
                        ValueType::Scalar => ValueType::Scalar,
                        ValueType::String | ValueType::Vector | ValueType::Matrix => {
                            ValueType::Vector
                        }
                    }
                }
                ExprKind::Unary(unary) => {
                    expr = &unary.expr;
                    continue;
                }
                ExprKind::Paren(inner) => {
                    expr = inner;
                    continue;
                }
            };
        }
    }

    /// Returns the expression inside any parentheses.
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}

impl DurationExpr {
    /// Returns the node; its height is one more than its highest child's.
    pub fn new(kind: DurationKind, range: TextRange) -> Self {
        let below = match &kind {
            DurationKind::Literal(_) | DurationKind::Step | DurationKind::Range => 0,
            DurationKind::Extreme(_, pair) | DurationKind::Binary(_, pair) => {
                pair.0.height.max(pair.1.height)
            }
            DurationKind::Negative(inner) | DurationKind::Paren(inner) => inner.height,
        };
        Self {
            kind,
            range,
            height: below.saturating_add(1),
        }
    }

    /// Returns the number of nodes on the longest way down.
    pub const fn height(&self) -> u16 {
        self.height
    }

    /// Returns the literal of this many seconds.
    pub fn seconds(value: f64) -> Self {
        Self::new(
            DurationKind::Literal(NumberLiteral {
                value,
                is_duration: false,
            }),
            TextRange::default(),
        )
    }
}

impl TimeModifiers {
    fn height(&self) -> u16 {
        self.offset.as_ref().map_or(0, |offset| offset.height)
    }
}
