//! Arithmetic in the place of a duration.

use super::{Abandoned, EXPRESSION_HEIGHT_MAX, NESTING_MAX, Parsed, Parser};
use crate::TextRange;
use crate::ast::{DurationExpr, DurationKind, NumberLiteral};
use crate::engine::duration;
use crate::token::{Keyword, Modifier, Operator, TokenKind};

impl Parser<'_> {
    /// Parses a whole duration expression, as brackets hold.
    pub(super) fn duration(&mut self, context: &str) -> Parsed<DurationExpr> {
        let expr = self.duration_above(0, context)?;
        self.require_enabled(&expr);
        Ok(as_duration(expr))
    }

    /// Parses what may follow `offset`: one operand with at most signs before it.
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        let expr = self.duration_prefix("offset", true)?;
        self.require_enabled(&expr);
        if let Some(seconds) = duration::constant(&expr)
            && duration::seconds_to_ms(seconds).is_none()
        {
            self.report(expr.range, "duration out of range", None);
        }
        Ok(as_duration(expr))
    }

    /// Notes a constant that cannot be a range or step; others are judged when the query's step is known.
    pub(super) fn require_positive(&mut self, expr: &DurationExpr) {
        let Some(seconds) = duration::constant(expr) else {
            return;
        };
        if seconds.is_nan() || duration::seconds_to_ms(seconds).is_none() {
            self.report(expr.range, "duration out of range", None);
        } else if seconds <= 0.0 {
            self.report(expr.range, "duration must be greater than 0", None);
        }
    }

    fn require_enabled(&mut self, expr: &DurationExpr) {
        if !self.options.duration_expressions && !matches!(expr.kind, DurationKind::Literal(_)) {
            self.report(
                expr.range,
                "experimental duration expression is not enabled",
                None,
            );
        }
    }

    fn duration_above(&mut self, above: u8, context: &str) -> Parsed<DurationExpr> {
        let mut left = self.duration_prefix(context, false)?;
        while let TokenKind::Operator(op) = self.peek().kind {
            let arithmetic = matches!(
                op,
                Operator::Add
                    | Operator::Sub
                    | Operator::Mul
                    | Operator::Div
                    | Operator::Mod
                    | Operator::Pow
            );
            if !arithmetic || op.binding() <= above {
                break;
            }
            self.advance();
            let right_above = if op == Operator::Pow {
                op.binding() - 1
            } else {
                op.binding()
            };
            let right = self.duration_nested(right_above, context)?;
            let range = left.range.to(right.range);
            left = self.duration_node(DurationKind::Binary(op, Box::new((left, right))), range)?;
        }
        Ok(left)
    }

    fn duration_nested(&mut self, above: u8, context: &str) -> Parsed<DurationExpr> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(self.too_deep(format!(
                "expression is nested more than {NESTING_MAX} levels deep"
            )));
        }
        let result = self.duration_above(above, context);
        self.depth -= 1;
        result
    }

    fn duration_prefix(&mut self, context: &str, operand_only: bool) -> Parsed<DurationExpr> {
        let token = self.peek();
        let TokenKind::Operator(sign @ (Operator::Add | Operator::Sub)) = token.kind else {
            return self.duration_primary(context);
        };
        self.advance();
        let operand = if operand_only {
            self.duration_primary(context)?
        } else {
            self.duration_nested(Operator::Mul.binding(), context)?
        };
        let range = token.range.to(operand.range);
        let kind = match (sign, operand.kind) {
            (Operator::Sub, DurationKind::Literal(literal)) => {
                DurationKind::Literal(NumberLiteral {
                    value: -literal.value,
                    ..literal
                })
            }
            (Operator::Sub, kind) => {
                let operand = DurationExpr::new(kind, operand.range);
                DurationKind::Negative(Box::new(operand))
            }
            (_, kind) => kind,
        };
        self.duration_node(kind, range)
    }

    fn duration_primary(&mut self, context: &str) -> Parsed<DurationExpr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.advance();
                let literal = self.number(token)?;
                self.duration_node(DurationKind::Literal(literal), token.range)
            }
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.duration_nested(0, context)?;
                let close = self.expect(TokenKind::RightParen, context, "\")\"")?;
                self.duration_node(
                    DurationKind::Paren(Box::new(inner)),
                    token.range.to(close.range),
                )
            }
            TokenKind::Word(Some(Keyword::Modifier(Modifier::Step))) => {
                self.duration_call(DurationKind::Step, context)
            }
            TokenKind::Word(Some(Keyword::Modifier(Modifier::Range))) => {
                self.duration_call(DurationKind::Range, context)
            }
            TokenKind::Word(keyword) => match self.extreme(keyword, token.range) {
                Some(greatest) => self.duration_extreme(greatest, context),
                None => {
                    self.unexpected(context, "number, duration, step(), or range()");
                    Err(Abandoned)
                }
            },
            _ => {
                self.unexpected(context, "number, duration, step(), or range()");
                Err(Abandoned)
            }
        }
    }

    fn extreme(&self, keyword: Option<Keyword>, range: TextRange) -> Option<bool> {
        match keyword {
            Some(_) => None,
            None if self.slice(range).eq_ignore_ascii_case("min_of") => Some(false),
            None if self.slice(range).eq_ignore_ascii_case("max_of") => Some(true),
            None => None,
        }
    }

    fn duration_call(&mut self, kind: DurationKind, context: &str) -> Parsed<DurationExpr> {
        let start = self.advance().range;
        self.expect(TokenKind::LeftParen, context, "\"(\"")?;
        let close = self.expect(TokenKind::RightParen, context, "\")\"")?;
        self.duration_node(kind, start.to(close.range))
    }

    fn duration_extreme(&mut self, greatest: bool, context: &str) -> Parsed<DurationExpr> {
        let start = self.advance().range;
        self.expect(TokenKind::LeftParen, context, "\"(\"")?;
        let left = self.duration_nested(0, context)?;
        self.expect(TokenKind::Comma, context, "\",\"")?;
        let right = self.duration_nested(0, context)?;
        let close = self.expect(TokenKind::RightParen, context, "\")\"")?;
        self.duration_node(
            DurationKind::Extreme(greatest, Box::new((left, right))),
            start.to(close.range),
        )
    }

    fn duration_node(&mut self, kind: DurationKind, range: TextRange) -> Parsed<DurationExpr> {
        let expr = DurationExpr::new(kind, range);
        if expr.height() > EXPRESSION_HEIGHT_MAX {
            return Err(self.too_deep(format!(
                "duration has more than {EXPRESSION_HEIGHT_MAX} operations inside one another"
            )));
        }
        Ok(expr)
    }
}

/// Makes a duration of a number of seconds that stands alone, as Prometheus does: `[300]` is `[5m]`, also when printed. Inside
/// arithmetic numbers stay what they are.
fn as_duration(mut expr: DurationExpr) -> DurationExpr {
    if let DurationKind::Literal(literal) = &mut expr.kind {
        let millis = literal.value * 1_000.0;
        // Durations are printed in whole milliseconds; what is none stays a number, so that it reads back.
        literal.is_duration |= millis.fract() == 0.0 && millis.abs() < MILLIS_MAX;
    }
    expr
}

/// Up to here every whole number of milliseconds is exact.
const MILLIS_MAX: f64 = 9_007_199_254_740_992.0;
