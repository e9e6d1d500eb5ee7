//! Tokens to trees: a Pratt parser that reports several mistakes at once.
//!
//! Recursion is bounded by [`NESTING_MAX`], the height of trees (long chains of operators) by [`EXPRESSION_HEIGHT_MAX`]. After a
//! mistake in an argument list it goes on behind the next comma or parenthesis, so that the next mistake is seen as well.

mod aggregate;
mod binary;
mod call;
mod duration;
mod literal;
mod modifiers;
mod selector;
mod suggest;

pub(crate) use self::literal::number_value;

use storage::{Budget, BudgetExceeded, Unlimited};

use crate::ast::{Expr, ExprKind, NumberLiteral, Unary};
use crate::lexer::lex;
use crate::token::{Keyword, Modifier, Operator, Token, TokenKind};
use crate::{LineColumn, ParseError, ParseErrors, ParserOptions, QueryError, TextRange, check};

/// Parentheses, calls and signs inside one another that are accepted.
pub const NESTING_MAX: usize = 128;
/// Nodes above one another that are accepted: longer chains of operators need parentheses, or another form.
pub const EXPRESSION_HEIGHT_MAX: u16 = 512;
/// Mistakes reported at once.
const ERRORS_MAX: usize = 20;

/// What a token takes, in bytes of memory: before the parser sees it, and in the tree at most.
const TOKEN_BYTES: u64 = size_of::<Token>() as u64;
const NODE_BYTES: u64 = 192;
/// Tokens between two charges.
const TOKENS_PER_CHARGE: usize = 512;

/// Returns the tree of `text`, of correct syntax and types.
pub fn parse(text: &str, options: ParserOptions) -> Result<Expr, ParseErrors> {
    parsed(text, options, &Unlimited).0
}

/// Returns the tree of `text`, of correct syntax and types; its memory is charged to the budget, and stays so.
pub fn parse_within(
    text: &str,
    options: ParserOptions,
    budget: &dyn Budget,
) -> Result<Expr, QueryError> {
    // As many tokens as there are bytes, in a list that has doubled.
    let tokens_bytes = 2 * TOKEN_BYTES * text.len() as u64;
    budget.charge(0, tokens_bytes)?;
    let (result, refused) = parsed(text, options, budget);
    budget.release(tokens_bytes);
    match refused {
        Some(refused) => Err(refused.into()),
        None => Ok(result?),
    }
}

fn parsed(
    text: &str,
    options: ParserOptions,
    budget: &dyn Budget,
) -> (Result<Expr, ParseErrors>, Option<BudgetExceeded>) {
    let mut parser = Parser::new(text, options, budget);
    let expr = parser.whole();
    let (mut errors, mut refused) = (parser.errors, parser.refused);
    if let Some(expr) = &expr
        && errors.is_empty()
        && refused.is_none()
    {
        (errors, refused) = check::check(text, expr, budget);
    }
    (settled(text, errors, expr), refused)
}

fn settled(text: &str, errors: Vec<ParseError>, expr: Option<Expr>) -> Result<Expr, ParseErrors> {
    match (ParseErrors::from_list(errors), expr) {
        (None, Some(expr)) => Ok(expr),
        (Some(errors), _) => Err(errors),
        (None, None) => Err(ParseErrors::single(
            TextRange::default(),
            text,
            "no expression found in input",
        )),
    }
}

/// Returns the matchers of a series selector, as `match[]` takes them; their memory is charged to the budget, and stays so.
pub fn parse_selector(
    text: &str,
    options: ParserOptions,
    budget: &dyn Budget,
) -> Result<Vec<model::Matcher>, QueryError> {
    let expr = parse_within(text, options, budget)?;
    match &expr.kind {
        ExprKind::Vector(selector)
            if selector.time == crate::ast::TimeModifiers::default()
                && selector.extended.is_none() =>
        {
            selector.to_matchers(budget)
        }
        _ => Err(QueryError::Parse(ParseErrors::single(
            expr.range,
            text,
            "expected a series selector without modifiers, such as metric{label=\"value\"}",
        ))),
    }
}

/// Stands where there are no tokens at all.
const NO_TOKEN: Token = Token {
    kind: TokenKind::Eof,
    range: TextRange { start: 0, end: 0 },
};

/// A mistake was noted; whoever called may go on elsewhere.
#[derive(Debug)]
struct Abandoned;

type Parsed<T> = Result<T, Abandoned>;

struct Parser<'a> {
    text: &'a str,
    options: ParserOptions,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Set when bounds are exceeded: nothing further makes sense.
    fatal: bool,
    lexer_failed: bool,
    errors: Vec<ParseError>,
    budget: &'a dyn Budget,
    /// Why there will be no tree, though the text may be right.
    refused: Option<BudgetExceeded>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: ParserOptions, budget: &'a dyn Budget) -> Self {
        let (tokens, failure) = lex(text);
        let mut parser = Self {
            text,
            options,
            tokens,
            at: 0,
            depth: 0,
            fatal: false,
            lexer_failed: failure.is_some(),
            errors: Vec::new(),
            budget,
            refused: None,
        };
        if let Some(failure) = failure {
            parser.report(failure.range, failure.message, None);
        }
        parser
    }

    fn whole(&mut self) -> Option<Expr> {
        if self.peek().kind == TokenKind::Eof {
            if !self.lexer_failed {
                self.report(TextRange::default(), "no expression found in input", None);
            }
            return None;
        }
        let expr = self.expression(0).ok()?;
        if self.peek().kind != TokenKind::Eof {
            self.unexpected("", "");
            return None;
        }
        Some(expr)
    }

    /// Parses operators that bind tighter than `above`, and what they combine.
    fn expression(&mut self, above: u8) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(self.too_deep(format!(
                "expression is nested more than {NESTING_MAX} levels deep"
            )));
        }
        let result = self.prefix().and_then(|first| self.operators(first, above));
        self.depth -= 1;
        result
    }

    fn prefix(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Operator(sign @ (Operator::Add | Operator::Sub)) => {
                self.advance();
                // A sign binds like `*`: only `^` and modifiers go first.
                let operand = self.expression(Operator::Mul.binding())?;
                Ok(signed(sign == Operator::Sub, token.range, operand))
            }
            _ => {
                let primary = self.primary()?;
                self.modifiers(primary)
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.advance();
                let literal = self.number(token)?;
                self.node(ExprKind::Number(literal), token.range)
            }
            TokenKind::String => {
                self.advance();
                let value = crate::unquote::unquote(self.slice(token.range));
                self.node(ExprKind::String(value), token.range)
            }
            TokenKind::LeftParen => self.parenthesised(),
            TokenKind::LeftBrace => self.selector(None),
            TokenKind::Word(None) => self.name_or_call(),
            TokenKind::Word(Some(keyword)) => self.keyword(keyword),
            _ => {
                self.unexpected("", "");
                Err(Abandoned)
            }
        }
    }

    fn parenthesised(&mut self) -> Parsed<Expr> {
        let open = self.advance();
        let inner = self.expression(0)?;
        let close = self.expect(TokenKind::RightParen, "", "\")\"")?;
        self.node(ExprKind::Paren(Box::new(inner)), open.range.to(close.range))
    }

    fn name_or_call(&mut self) -> Parsed<Expr> {
        let name = self.advance();
        if self.peek().kind == TokenKind::LeftParen {
            self.call(name)
        } else {
            self.selector(Some(name))
        }
    }

    fn keyword(&mut self, keyword: Keyword) -> Parsed<Expr> {
        let next = self.peek_at(1).kind;
        match keyword {
            Keyword::Aggregate(op) if self.begins_aggregation(next) => self.aggregate(op),
            Keyword::Modifier(
                Modifier::Start | Modifier::End | Modifier::Step | Modifier::Range,
            ) if next == TokenKind::LeftParen => self.name_or_call(),
            known if known.may_name_metric() => {
                let name = self.advance();
                self.selector(Some(name))
            }
            _ => {
                self.unexpected("", "");
                Err(Abandoned)
            }
        }
    }

    fn begins_aggregation(&self, next: TokenKind) -> bool {
        match next {
            TokenKind::LeftParen => true,
            TokenKind::Word(Some(Keyword::Modifier(Modifier::By | Modifier::Without))) => {
                // "sum by (x) (y)" against a metric called "sum" at the end: the clause needs its list.
                self.peek_at(2).kind == TokenKind::LeftParen
            }
            _ => false,
        }
    }

    // The cursor.

    fn peek(&self) -> Token {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Token {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens
            .get((self.at + ahead).min(last))
            .copied()
            .unwrap_or(NO_TOKEN)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
            if self.at.is_multiple_of(TOKENS_PER_CHARGE) {
                self.charge(TOKENS_PER_CHARGE as u64 * NODE_BYTES);
            }
        }
        token
    }

    fn charge(&mut self, bytes: u64) {
        let charged = self.budget.charge(0, bytes);
        self.stop_unless(charged);
    }

    /// Looks at the budget, before something that takes a while.
    fn may_go_on(&mut self) -> bool {
        let checked = self.budget.check();
        self.stop_unless(checked);
        self.refused.is_none()
    }

    /// What the budget refuses ends the parsing: no token is left.
    fn stop_unless(&mut self, allowed: Result<(), BudgetExceeded>) {
        if let Err(refused) = allowed {
            self.refused = Some(refused);
            self.fatal = true;
            self.at = self.tokens.len().saturating_sub(1);
        }
    }

    fn take_if(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.advance())
    }

    fn take_modifier(&mut self, modifier: Modifier) -> Option<Token> {
        self.take_if(TokenKind::Word(Some(Keyword::Modifier(modifier))))
    }

    fn expect(&mut self, kind: TokenKind, context: &str, expected: &str) -> Parsed<Token> {
        self.take_if(kind).ok_or_else(|| {
            self.unexpected(context, expected);
            Abandoned
        })
    }

    fn slice(&self, range: TextRange) -> &'a str {
        self.text
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    fn node(&mut self, kind: ExprKind, range: TextRange) -> Parsed<Expr> {
        let expr = Expr::new(kind, range);
        if expr.height() > EXPRESSION_HEIGHT_MAX {
            return Err(self.too_deep(format!(
                "expression has more than {EXPRESSION_HEIGHT_MAX} operations inside one another"
            )));
        }
        Ok(expr)
    }

    // Mistakes.

    fn too_deep(&mut self, message: String) -> Abandoned {
        if !self.fatal {
            self.fatal = true;
            self.errors.clear();
            self.note(self.peek().range, message, None);
        }
        Abandoned
    }

    fn report(&mut self, range: TextRange, message: impl Into<String>, hint: Option<String>) {
        if !self.fatal {
            self.note(range, message.into(), hint);
        }
    }

    fn note(&mut self, range: TextRange, message: String, hint: Option<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ParseError {
                range,
                place: LineColumn::of(self.text, range.start as usize),
                message,
                hint,
            });
        }
    }

    /// Notes that the next token does not fit, with what would.
    fn unexpected(&mut self, context: &str, expected: &str) {
        let token = self.peek();
        // What stopped the lexer has been reported.
        if token.kind == TokenKind::Eof && self.lexer_failed {
            return;
        }
        let mut message = format!("unexpected {}", self.describe(token));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        let hint = suggest::keyword(self.slice(token.range), token.kind);
        self.report(token.range, message, hint);
    }

    fn describe(&self, token: Token) -> String {
        let text = self.slice(token.range);
        let short = |text: &str| {
            if text.chars().count() > 10 {
                format!("{:?}...", text.chars().take(10).collect::<String>())
            } else {
                format!("{text:?}")
            }
        };
        match token.kind {
            TokenKind::Eof => "end of input".to_owned(),
            TokenKind::Word(None) if text.contains(':') => format!("metric identifier {text:?}"),
            TokenKind::Word(None) => format!("identifier {text:?}"),
            TokenKind::Word(Some(Keyword::Aggregate(_))) => format!("<aggr:{text}>"),
            TokenKind::Word(Some(Keyword::Modifier(
                Modifier::Start | Modifier::End | Modifier::Step | Modifier::Range,
            ))) => short(text),
            TokenKind::Word(Some(Keyword::Modifier(_))) => format!("<{text}>"),
            TokenKind::Word(Some(Keyword::Operator(_))) | TokenKind::Operator(_) => {
                format!("<op:{text}>")
            }
            TokenKind::At | TokenKind::EqualRegex | TokenKind::NotEqualRegex => {
                format!("<op:{text}>")
            }
            TokenKind::Number => format!("number {}", short(text)),
            TokenKind::Duration => format!("duration {}", short(text)),
            TokenKind::String => format!("string {}", short(text)),
            TokenKind::LeftParen
            | TokenKind::RightParen
            | TokenKind::LeftBrace
            | TokenKind::RightBrace
            | TokenKind::LeftBracket
            | TokenKind::RightBracket
            | TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::Equal => short(text),
        }
    }
}

fn signed(negative: bool, sign: TextRange, operand: Expr) -> Expr {
    let range = sign.to(operand.range);
    if let ExprKind::Number(literal) = operand.kind {
        let value = if negative {
            -literal.value
        } else {
            literal.value
        };
        return Expr::new(ExprKind::Number(NumberLiteral { value, ..literal }), range);
    }
    Expr::new(
        ExprKind::Unary(Box::new(Unary {
            negative,
            expr: operand,
        })),
        range,
    )
}

#[cfg(test)]
mod tests;
