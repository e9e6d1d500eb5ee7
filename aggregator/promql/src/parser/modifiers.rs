//! What may follow an expression: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`, in any order that makes sense.

use super::{Abandoned, Parsed, Parser};
use crate::TextRange;
use crate::ast::{
    AtModifier, DurationExpr, DurationKind, Expr, ExprKind, Extended, MatrixSelector, Subquery,
    TimeModifiers,
};
use crate::token::{Keyword, Modifier, TokenKind};

impl Parser<'_> {
    /// Folds the modifiers that follow onto `expr`.
    pub(super) fn modifiers(&mut self, mut expr: Expr) -> Parsed<Expr> {
        loop {
            expr = match self.peek().kind {
                TokenKind::LeftBracket => self.bracket(expr)?,
                TokenKind::At => self.at_modifier(expr)?,
                TokenKind::Word(Some(Keyword::Modifier(Modifier::Offset))) => self.offset(expr)?,
                TokenKind::Word(Some(Keyword::Modifier(Modifier::Anchored))) => {
                    self.extended(expr, Extended::Anchored)
                }
                TokenKind::Word(Some(Keyword::Modifier(Modifier::Smoothed))) => {
                    self.extended(expr, Extended::Smoothed)
                }
                _ => return Ok(expr),
            };
        }
    }

    fn bracket(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance().range;
        let range = self.duration("subquery or range selector")?;
        self.require_positive(&range);
        if self.take_if(TokenKind::Colon).is_some() {
            return self.subquery(expr, range);
        }
        let close = self
            .expect(
                TokenKind::RightBracket,
                "subquery or range",
                "\":\" or \"]\"",
            )?
            .range;
        let whole = expr.range.to(close);
        let ExprKind::Vector(selector) = expr.kind else {
            self.report(
                open.to(close),
                "ranges only allowed for vector selectors",
                None,
            );
            return Err(Abandoned);
        };
        if selector.time.offset.is_some() {
            self.report(
                open.to(close),
                "no offset modifiers allowed before range",
                None,
            );
        } else if selector.time.at.is_some() {
            self.report(open.to(close), "no @ modifiers allowed before range", None);
        } else if selector.extended.is_some() {
            self.report(
                open.to(close),
                "no anchored or smoothed modifiers allowed before range",
                None,
            );
        }
        let matrix = MatrixSelector { selector, range };
        self.node(ExprKind::Matrix(Box::new(matrix)), whole)
    }

    fn subquery(&mut self, expr: Expr, range: DurationExpr) -> Parsed<Expr> {
        let step = if self.peek().kind == TokenKind::RightBracket {
            None
        } else {
            let step = self.duration("subquery selector")?;
            self.require_positive(&step);
            Some(step)
        };
        let close = self.expect(TokenKind::RightBracket, "subquery selector", "\"]\"")?;
        let whole = expr.range.to(close.range);
        let subquery = Subquery {
            expr,
            range,
            step,
            time: TimeModifiers::default(),
        };
        self.node(ExprKind::Subquery(Box::new(subquery)), whole)
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let offset = self.offset_duration()?;
        let end = offset.range;
        let range = expr.range;
        match time_of(&mut expr) {
            Some(time) if time.offset.is_some() => {
                self.report(range, "offset may not be set multiple times", None);
            }
            // None at all is what it means, and how it is printed.
            Some(time) => time.offset = Some(offset).filter(|offset| !is_zero(offset)),
            None => self.report(
                range,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
                None,
            ),
        }
        Ok(extend(expr, end))
    }

    fn at_modifier(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance();
        let (at, end) = self.at_value(expr.range)?;
        let range = expr.range;
        match time_of(&mut expr) {
            Some(time) if time.at.is_some() => {
                self.report(range, "@ <timestamp> may not be set multiple times", None);
            }
            Some(time) => time.at = Some(at),
            None => self.report(
                range,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
                None,
            ),
        }
        Ok(extend(expr, end))
    }

    fn at_value(&mut self, of: TextRange) -> Parsed<(AtModifier, TextRange)> {
        let bound = if self.take_modifier(Modifier::Start).is_some() {
            Some(AtModifier::Start)
        } else if self.take_modifier(Modifier::End).is_some() {
            Some(AtModifier::End)
        } else {
            None
        };
        if let Some(bound) = bound {
            self.expect(TokenKind::LeftParen, "@", "\"(\"")?;
            let close = self.expect(TokenKind::RightParen, "@", "\")\"")?;
            return Ok((bound, close.range));
        }
        let seconds = self.signed_number("@", "timestamp")?;
        let end = self.tokens[self.at.saturating_sub(1)].range;
        if let Some(ms) = crate::engine::duration::timestamp_ms(seconds) {
            return Ok((AtModifier::Time(ms), end));
        }
        self.report(
            of,
            format!(
                "timestamp out of bounds for @ modifier: {}",
                crate::number::format_fixed(seconds)
            ),
            None,
        );
        Ok((AtModifier::Time(0), end))
    }

    fn extended(&mut self, mut expr: Expr, extended: Extended) -> Expr {
        let end = self.advance().range;
        let range = expr.range;
        let word = match extended {
            Extended::Anchored => "anchored",
            Extended::Smoothed => "smoothed",
        };
        if !self.options.extended_range_selectors {
            self.report(
                range,
                format!("{word} modifier is experimental and not enabled"),
                None,
            );
        }
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => Some(&mut selector.extended),
            ExprKind::Matrix(matrix) => Some(&mut matrix.selector.extended),
            ExprKind::Subquery(_) => {
                self.report(
                    range,
                    format!("{word} modifier is not supported for subqueries"),
                    None,
                );
                None
            }
            _ => {
                self.report(range, format!("{word} modifier not implemented"), None);
                None
            }
        };
        if let Some(slot) = slot {
            if slot.is_some_and(|other| other != extended) {
                self.report(
                    range,
                    "anchored and smoothed modifiers cannot be used together",
                    None,
                );
            }
            *slot = Some(extended);
        }
        extend(expr, end)
    }
}

fn time_of(expr: &mut Expr) -> Option<&mut TimeModifiers> {
    match &mut expr.kind {
        ExprKind::Vector(selector) => Some(&mut selector.time),
        ExprKind::Matrix(matrix) => Some(&mut matrix.selector.time),
        ExprKind::Subquery(subquery) => Some(&mut subquery.time),
        _ => None,
    }
}

fn is_zero(offset: &DurationExpr) -> bool {
    matches!(&offset.kind, DurationKind::Literal(literal) if literal.value == 0.0)
}

fn extend(expr: Expr, end: TextRange) -> Expr {
    let range = expr.range.to(end);
    Expr::new(expr.kind, range)
}
