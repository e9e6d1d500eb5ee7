//! Binary operators and how they match series.

use super::{Abandoned, Parsed, Parser};
use crate::ast::{Binary, Expr, ExprKind, FillValue, GroupSide, Matching};
use crate::token::{Keyword, Modifier, Operator, TokenKind};

impl Parser<'_> {
    /// Folds operators that bind tighter than `above` onto `left`.
    pub(super) fn operators(&mut self, mut left: Expr, above: u8) -> Parsed<Expr> {
        while let Some(op) = self.peek_operator() {
            let binding = op.binding();
            if binding <= above {
                break;
            }
            self.advance();
            let (return_bool, matching) = self.matching()?;
            // `^` leans right: its right side may hold another of its kind.
            let right = self.expression(if op == Operator::Pow {
                binding - 1
            } else {
                binding
            })?;
            let range = left.range.to(right.range);
            let binary = Binary {
                op,
                left,
                right,
                return_bool,
                matching,
            };
            left = self.node(ExprKind::Binary(Box::new(binary)), range)?;
        }
        Ok(left)
    }

    fn peek_operator(&self) -> Option<Operator> {
        match self.peek().kind {
            TokenKind::Operator(op) | TokenKind::Word(Some(Keyword::Operator(op))) => Some(op),
            _ => None,
        }
    }

    fn matching(&mut self) -> Parsed<(bool, Matching)> {
        let return_bool = self.take_modifier(Modifier::Bool).is_some();
        let mut matching = Matching::default();
        if self.take_modifier(Modifier::On).is_some() {
            matching.on = true;
            matching.labels = self.grouping_labels()?;
            self.group_side(&mut matching)?;
        } else if self.take_modifier(Modifier::Ignoring).is_some() {
            matching.labels = self.grouping_labels()?;
            self.group_side(&mut matching)?;
        }
        self.fill(&mut matching)?;
        Ok((return_bool, matching))
    }

    fn group_side(&mut self, matching: &mut Matching) -> Parsed<()> {
        matching.group = if self.take_modifier(Modifier::GroupLeft).is_some() {
            Some(GroupSide::Left)
        } else if self.take_modifier(Modifier::GroupRight).is_some() {
            Some(GroupSide::Right)
        } else {
            return Ok(());
        };
        if self.peek().kind == TokenKind::LeftParen {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    fn fill(&mut self, matching: &mut Matching) -> Parsed<()> {
        let start = self.peek().range;
        let mut any = false;
        loop {
            let (left, right) = if self.take_modifier(Modifier::Fill).is_some() {
                (true, true)
            } else if self.take_modifier(Modifier::FillLeft).is_some() {
                (true, false)
            } else if self.take_modifier(Modifier::FillRight).is_some() {
                (false, true)
            } else {
                break;
            };
            any = true;
            let value = FillValue(self.fill_value()?);
            let twice =
                (left && matching.fill_left.is_some()) || (right && matching.fill_right.is_some());
            if twice {
                self.report(start, "fill values may not be set multiple times", None);
            }
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        if any && !self.options.fill_modifiers {
            self.report(
                start,
                "binop fill modifiers are experimental and not enabled",
                None,
            );
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(TokenKind::LeftParen, "fill modifier", "\"(\"")?;
        let value = self.signed_number("fill modifier", "number")?;
        self.expect(TokenKind::RightParen, "fill modifier", "\")\"")?;
        Ok(value)
    }

    /// Parses `(label, ...)`; keywords and quoted names are labels, a comma may end the list.
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.expect(TokenKind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::RightParen => {
                    self.advance();
                    return Ok(labels);
                }
                TokenKind::Word(_) | TokenKind::Number if self.is_label_name(token.range) => {
                    self.advance();
                    labels.push(self.slice(token.range).to_owned());
                }
                TokenKind::String => {
                    self.advance();
                    labels.push(self.utf8_name(token, CONTEXT)?);
                }
                _ => {
                    self.unexpected(CONTEXT, "label");
                    return Err(Abandoned);
                }
            }
            match self.peek().kind {
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::RightParen => {}
                _ => {
                    self.unexpected(CONTEXT, "\",\" or \")\"");
                    return Err(Abandoned);
                }
            }
        }
    }

    fn is_label_name(&self, range: crate::TextRange) -> bool {
        let text = self.slice(range);
        !text.contains(':') && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }
}
