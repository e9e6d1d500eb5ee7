//! Function calls.

use super::{Abandoned, Parsed, Parser, suggest};
use crate::TextRange;
use crate::ast::{Call, Expr, ExprKind, NumberLiteral};
use crate::functions::Function;
use crate::token::{Token, TokenKind};

impl Parser<'_> {
    /// Parses the arguments of `name`, which is behind; its parenthesis is next.
    pub(super) fn call(&mut self, name: Token) -> Parsed<Expr> {
        let text = self.slice(name.range);
        // Keywords that are functions too (`start`, `step`) are read in any case of letters.
        let function = match name.kind {
            TokenKind::Word(Some(_)) => Function::find(&text.to_ascii_lowercase()),
            _ => Function::find(text),
        };
        let (args, close) = self.arguments("function call args")?;
        let range = name.range.to(close);
        let Some(function) = function else {
            let message = format!("unknown function with name {text:?}");
            self.report(name.range, message, suggest::function(text));
            return Err(Abandoned);
        };
        if function.experimental && !self.options.experimental_functions {
            self.report(
                range,
                format!("function {text:?} is not enabled"),
                Some("it is experimental: switch promql-experimental-functions on".to_owned()),
            );
        }
        self.node(ExprKind::Call(Call { function, args }), range)
    }

    /// Parses `(expr, ...)` and returns the place of the closing parenthesis. Goes on behind a bad argument.
    pub(super) fn arguments(&mut self, context: &str) -> Parsed<(Vec<Expr>, TextRange)> {
        self.expect(TokenKind::LeftParen, context, "\"(\"")?;
        let mut args = Vec::new();
        if let Some(close) = self.take_if(TokenKind::RightParen) {
            return Ok((args, close.range));
        }
        loop {
            let depth = self.depth;
            match self.expression(0) {
                Ok(arg) => args.push(arg),
                Err(Abandoned) => {
                    self.depth = depth;
                    if self.fatal || !self.skip_argument() {
                        return Err(Abandoned);
                    }
                    args.push(placeholder(self.peek().range));
                }
            }
            match self.peek().kind {
                TokenKind::RightParen => {
                    let close = self.advance();
                    return Ok((args, close.range));
                }
                TokenKind::Comma => {
                    let comma = self.advance();
                    if self.peek().kind == TokenKind::RightParen {
                        self.report(
                            comma.range,
                            "trailing commas not allowed in function call args",
                            None,
                        );
                        let close = self.advance();
                        return Ok((args, close.range));
                    }
                }
                _ => {
                    self.unexpected("", "");
                    if !self.skip_argument() {
                        return Err(Abandoned);
                    }
                }
            }
        }
    }

    /// Moves to the comma or parenthesis that ends the present argument; says no when there is none.
    fn skip_argument(&mut self) -> bool {
        let mut open: usize = 0;
        loop {
            match self.peek().kind {
                TokenKind::Eof => return false,
                TokenKind::Comma | TokenKind::RightParen if open == 0 => return true,
                TokenKind::LeftParen | TokenKind::LeftBrace | TokenKind::LeftBracket => open += 1,
                TokenKind::RightParen | TokenKind::RightBrace | TokenKind::RightBracket => {
                    open = open.saturating_sub(1);
                }
                _ => {}
            }
            self.advance();
        }
    }
}

/// Stands for an argument that did not parse; never seen by anyone, since its mistake is reported.
fn placeholder(range: TextRange) -> Expr {
    let literal = NumberLiteral {
        value: f64::NAN,
        is_duration: false,
    };
    Expr::new(ExprKind::Number(literal), range)
}
