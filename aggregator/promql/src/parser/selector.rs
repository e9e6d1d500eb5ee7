//! Selectors: a name, matchers in braces, or both.

use model::{METRIC_NAME, MatchOp, Matcher};
use storage::Budget;

use super::{Abandoned, Parsed, Parser};
use crate::QueryError;
use crate::ast::{Expr, ExprKind, LabelMatcher, VectorSelector};
use crate::token::{Operator, Token, TokenKind};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// Parses a selector whose name, if it has one, is behind.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Parsed<Expr> {
        let mut range = name.map_or_else(|| self.peek().range, |name| name.range);
        let mut selector = VectorSelector {
            name: name.map(|name| self.slice(name.range).to_owned()),
            ..VectorSelector::default()
        };
        if self.peek().kind == TokenKind::LeftBrace {
            self.advance();
            range = range.to(self.matchers(&mut selector)?.range);
        }
        self.node(ExprKind::Vector(selector), range)
    }

    /// Parses matchers up to the closing brace, which it returns.
    fn matchers(&mut self, selector: &mut VectorSelector) -> Parsed<Token> {
        loop {
            let token = self.peek();
            match token.kind {
                TokenKind::RightBrace => return Ok(self.advance()),
                TokenKind::Word(_) => {
                    self.advance();
                    let name = self.slice(token.range).to_owned();
                    selector.matchers.push(self.matcher(token, name)?);
                }
                TokenKind::String => {
                    self.advance();
                    let name = self.utf8_name(token, CONTEXT)?;
                    let quoted = self.quoted(token, name)?;
                    selector.matchers.push(quoted);
                }
                _ => {
                    self.unexpected(CONTEXT, "identifier or \"}\"");
                    return Err(Abandoned);
                }
            }
            match self.peek().kind {
                TokenKind::Comma => {
                    self.advance();
                }
                TokenKind::RightBrace => {}
                _ => {
                    self.unexpected(CONTEXT, "\",\" or \"}\"");
                    return Err(Abandoned);
                }
            }
        }
    }

    /// A quoted text is a label's name when a comparison follows, else the metric's.
    fn quoted(&mut self, token: Token, name: String) -> Parsed<LabelMatcher> {
        if matches!(self.peek().kind, TokenKind::Comma | TokenKind::RightBrace) {
            return Ok(LabelMatcher {
                name: METRIC_NAME.to_owned(),
                op: MatchOp::Equal,
                value: name,
            });
        }
        self.matcher(token, name)
    }

    fn matcher(&mut self, start: Token, name: String) -> Parsed<LabelMatcher> {
        let op = match self.peek().kind {
            TokenKind::Equal => MatchOp::Equal,
            TokenKind::Operator(Operator::NotEqual) => MatchOp::NotEqual,
            TokenKind::EqualRegex => MatchOp::Regex,
            TokenKind::NotEqualRegex => MatchOp::NotRegex,
            _ => {
                self.unexpected(CONTEXT, "label matching operator");
                return Err(Abandoned);
            }
        };
        self.advance();
        let token = self.expect(TokenKind::String, CONTEXT, "string")?;
        let range = start.range.to(token.range);
        let value = match String::from_utf8(crate::unquote::unquote(self.slice(token.range))) {
            Ok(value) => value,
            Err(_) => {
                self.report(
                    token.range,
                    "label values are UTF-8: this one can match nothing",
                    None,
                );
                String::new()
            }
        };
        if !self.may_go_on() {
            return Err(Abandoned);
        }
        if let Err(error) = Matcher::new(name.as_str(), op, value.as_str()) {
            self.report(range, error.to_string(), None);
        }
        Ok(LabelMatcher { name, op, value })
    }
}

impl VectorSelector {
    /// Returns all matchers, that of the name last; their memory is charged to the budget.
    pub fn to_matchers(&self, budget: &dyn Budget) -> Result<Vec<Matcher>, QueryError> {
        let mut matchers = Vec::with_capacity(self.matchers.len() + 1);
        for LabelMatcher { name, op, value } in &self.matchers {
            budget.check()?;
            let matcher = Matcher::new(name.as_str(), *op, value.as_str())
                .map_err(|error| QueryError::Execution(error.to_string()))?;
            budget.charge(0, matcher.memory_bytes())?;
            matchers.push(matcher);
        }
        if let Some(name) = &self.name {
            let matcher = Matcher::equal(METRIC_NAME, name.as_str());
            budget.charge(0, matcher.memory_bytes())?;
            matchers.push(matcher);
        }
        Ok(matchers)
    }
}
