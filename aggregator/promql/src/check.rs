//! Types, and what else a tree must satisfy; mistakes in Prometheus' words.

use std::collections::HashSet;

use model::{METRIC_NAME, Matcher};
use storage::{Budget, BudgetExceeded};

use crate::ast::{
    Aggregate, Binary, Call, Expr, ExprKind, Extended, GroupSide, ValueType, VectorSelector,
};
use crate::functions::Variadic;
use crate::token::AggregateOp;
use crate::{LineColumn, ParseError, TextRange};

/// Mistakes reported at once.
const ERRORS_MAX: usize = 20;

/// Returns the mistakes in a tree of correct syntax.
pub(crate) fn check(
    text: &str,
    expr: &Expr,
    budget: &dyn Budget,
) -> (Vec<ParseError>, Option<BudgetExceeded>) {
    let mut checker = Checker {
        text,
        errors: Vec::new(),
        budget,
        refused: None,
    };
    checker.expr(expr);
    (checker.errors, checker.refused)
}

struct Checker<'a> {
    text: &'a str,
    errors: Vec<ParseError>,
    budget: &'a dyn Budget,
    /// Why the rest was not checked.
    refused: Option<BudgetExceeded>,
}

impl Checker<'_> {
    fn report(&mut self, range: TextRange, message: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ParseError {
                range,
                place: LineColumn::of(self.text, range.start as usize),
                message: message.into(),
                hint: None,
            });
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(selector) => self.selector(selector, expr.range),
            ExprKind::Matrix(matrix) => self.selector(&matrix.selector, expr.range),
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Unary(unary) => {
                self.expr(&unary.expr);
                let found = unary.expr.value_type();
                if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                    self.report(
                        expr.range,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
                            found.documented()
                        ),
                    );
                }
            }
            ExprKind::Subquery(subquery) => {
                self.expr(&subquery.expr);
                let found = subquery.expr.value_type();
                if found != ValueType::Vector {
                    self.report(
                        expr.range,
                        format!(
                            "subquery is only allowed on instant vector, got {} instead",
                            internal_name(found)
                        ),
                    );
                }
            }
            ExprKind::Call(call) => self.call(call, expr.range),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Binary(binary) => self.binary(binary, expr.range),
        }
    }

    fn expect(&mut self, expr: &Expr, wanted: ValueType, context: &str) {
        let found = expr.value_type();
        if found != wanted {
            self.report(
                expr.range,
                format!(
                    "expected type {} in {context}, got {}",
                    wanted.documented(),
                    found.documented()
                ),
            );
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.expr(&aggregate.expr);
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression");
        if let Some(param) = &aggregate.param {
            self.expr(param);
            let wanted = if aggregate.op == AggregateOp::CountValues {
                ValueType::String
            } else {
                ValueType::Scalar
            };
            self.expect(param, wanted, "aggregation parameter");
        }
    }

    fn call(&mut self, call: &Call, range: TextRange) {
        let function = call.function;
        let name = function.name;
        let (wanted, found) = (function.args.len(), call.args.len());
        match function.variadic {
            Variadic::No if wanted != found => self.report(
                range,
                format!("expected {wanted} argument(s) in call to {name:?}, got {found}"),
            ),
            Variadic::AtMost(_) | Variadic::Any if wanted.saturating_sub(1) > found => self.report(
                range,
                format!(
                    "expected at least {} argument(s) in call to {name:?}, got {found}",
                    wanted - 1
                ),
            ),
            Variadic::AtMost(more) if found > wanted.saturating_sub(1) + more => self.report(
                range,
                format!(
                    "expected at most {} argument(s) in call to {name:?}, got {found}",
                    wanted - 1 + more
                ),
            ),
            _ => {}
        }
        for (index, arg) in call.args.iter().enumerate() {
            if name == "info" && index == 1 {
                self.info_selector(arg);
                continue;
            }
            self.expr(arg);
            if let Some(wanted) = function.arg_type(index) {
                self.expect(arg, wanted, &format!("call to function {name:?}"));
            }
        }
        self.extended(call);
    }

    /// The second argument of `info` chooses labels: it has no name of its own and may match everything.
    fn info_selector(&mut self, arg: &Expr) {
        match &arg.kind {
            ExprKind::Vector(selector) if selector.name.is_none() => {}
            ExprKind::Vector(_) => self.report(
                arg.range,
                "expected label selectors only, got vector selector instead",
            ),
            _ => self.report(arg.range, "expected label selectors only"),
        }
    }

    /// Extended ranges are for functions that know what to do with the samples beyond.
    fn extended(&mut self, call: &Call) {
        const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
        const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];
        for arg in &call.args {
            let ExprKind::Matrix(matrix) = &arg.unwrap_parens().kind else {
                continue;
            };
            let (word, allowed): (_, &[&str]) = match matrix.selector.extended {
                None => continue,
                Some(Extended::Anchored) => ("anchored", &ANCHORED),
                Some(Extended::Smoothed) => ("smoothed", &SMOOTHED),
            };
            let name = call.function.name;
            if !allowed.contains(&name) {
                self.report(
                    arg.range,
                    format!(
                        "{word} modifier can only be used with: {} - not with {name}",
                        allowed.join(", ")
                    ),
                );
            }
        }
    }

    fn binary(&mut self, binary: &Binary, range: TextRange) {
        // Long chains lean left: the left spine is walked, not recursed into.
        let mut binary = binary;
        let mut range = range;
        loop {
            self.expr(&binary.right);
            self.binary_node(binary, range);
            match &binary.left.kind {
                ExprKind::Binary(next) => {
                    range = binary.left.range;
                    binary = next;
                }
                _ => return self.expr(&binary.left),
            }
        }
    }

    fn binary_node(&mut self, binary: &Binary, range: TextRange) {
        let op = binary.op;
        let (left, right) = (binary.left.value_type(), binary.right.value_type());
        let between = self.operator_range(binary);
        if binary.return_bool && !op.is_comparison() {
            self.report(
                between,
                "bool modifier can only be used on comparison operators",
            );
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            self.report(
                between,
                "comparisons between scalars must use BOOL modifier",
            );
        }
        let matching = &binary.matching;
        let include: HashSet<&String> = matching.include.iter().collect();
        if matching.on
            && let Some(label) = (matching.labels.iter()).find(|label| include.contains(label))
        {
            self.report(
                between,
                format!("label {label:?} must not occur in ON and GROUP clause at once"),
            );
        }
        for (side, found) in [(&binary.left, left), (&binary.right, right)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                self.report(
                    side.range,
                    "binary expression must contain only scalar and instant vector types",
                );
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left != ValueType::Vector || right != ValueType::Vector {
            if !matching.labels.is_empty() {
                self.report(
                    range,
                    "vector matching only allowed between instant vectors",
                );
            }
            if fills {
                self.report(
                    range,
                    "filling in missing series only allowed between instant vectors",
                );
            }
        } else if op.is_set() {
            if matches!(matching.group, Some(GroupSide::Left | GroupSide::Right)) {
                self.report(
                    range,
                    format!("no grouping allowed for {:?} operation", op.as_str()),
                );
            }
            if fills {
                self.report(
                    range,
                    "filling in missing series not allowed for set operators",
                );
            }
        }
        if op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            self.report(
                range,
                format!(
                    "set operator {:?} not allowed in binary scalar expression",
                    op.as_str()
                ),
            );
        }
    }

    /// Returns where the operator stands: between its sides, blanks aside.
    fn operator_range(&self, binary: &Binary) -> TextRange {
        let (start, end) = (binary.left.range.end, binary.right.range.start);
        let between = self
            .text
            .get(start as usize..end as usize)
            .unwrap_or_default();
        let blank = between.len() - between.trim_start().len();
        TextRange::new(start as usize + blank, end as usize)
    }

    fn selector(&mut self, selector: &VectorSelector, range: TextRange) {
        if let Some(name) = &selector.name {
            if let Some(other) = selector
                .matchers
                .iter()
                .find(|matcher| matcher.name == METRIC_NAME)
            {
                self.report(
                    range,
                    format!(
                        "metric name must not be set twice: {name:?} or {:?}",
                        other.value
                    ),
                );
            }
            return;
        }
        let restricts = selector.matchers.iter().any(|matcher| {
            if self.refused.is_none() {
                self.refused = self.budget.check().err();
            }
            // Whether it restricts does not matter any more then.
            self.refused.is_some()
                || Matcher::new(matcher.name.as_str(), matcher.op, matcher.value.as_str())
                    .is_ok_and(|matcher| !matcher.matches_empty())
        });
        if !restricts {
            self.report(
                range,
                "vector selector must contain at least one non-empty matcher",
            );
        }
    }
}

/// Prometheus' internal names, which one message shows.
const fn internal_name(found: ValueType) -> &'static str {
    match found {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}
