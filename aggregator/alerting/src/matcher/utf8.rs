//! The parser for UTF-8: names and values are words or Go's quoted strings.

use std::iter::Peekable;
use std::str::CharIndices;

use model::{MatchOp, Matcher};

use super::is_reserved;

pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let mut parser = Parser {
        lexer: Lexer {
            text,
            characters: text.char_indices().peekable(),
            column: 0,
        },
        ahead: None,
        matchers: Vec::new(),
    };
    parser.all()?;
    Ok(parser.matchers)
}

pub(super) fn parse_one(text: &str) -> Result<Matcher, String> {
    if text.starts_with('{') || text.ends_with('}') {
        return Err(format!("unexpected open or close brace: {text}"));
    }
    let mut matchers = parse(text)?;
    match (matchers.pop(), matchers.len()) {
        (Some(matcher), 0) => Ok(matcher),
        (Some(_), others) => Err(format!("expected 1 matcher, found {}", others + 1)),
        (None, _) => Err("no matchers".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OpenBrace,
    CloseBrace,
    Comma,
    Operator(MatchOp),
    Word,
    Quoted,
}

/// A token, its text and its columns, which count characters from 0.
#[derive(Clone, Copy, Debug)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    start: usize,
    end: usize,
}

struct Lexer<'t> {
    text: &'t str,
    characters: Peekable<CharIndices<'t>>,
    column: usize,
}

impl<'t> Lexer<'t> {
    fn take(&mut self) -> Option<char> {
        let (_, character) = self.characters.next()?;
        self.column += 1;
        Some(character)
    }

    fn peek(&mut self) -> Option<char> {
        self.characters.peek().map(|(_, character)| *character)
    }

    fn offset(&mut self) -> usize {
        self.characters
            .peek()
            .map_or(self.text.len(), |(at, _)| *at)
    }

    /// Returns the next token; `None` at the end.
    fn next(&mut self) -> Result<Option<Token<'t>>, String> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.take();
        }
        let (from, start) = (self.offset(), self.column);
        let Some(first) = self.take() else {
            return Ok(None);
        };
        let kind = match first {
            '{' => Kind::OpenBrace,
            '}' => Kind::CloseBrace,
            ',' => Kind::Comma,
            '=' | '!' => self.operator(first, start)?,
            '"' => {
                self.quoted(from, start)?;
                Kind::Quoted
            }
            _ if is_reserved(first) => {
                let end = self.column;
                return Err(format!("{start}:{end}: {first}: invalid input"));
            }
            _ => {
                while self.peek().is_some_and(|next| !is_reserved(next)) {
                    self.take();
                }
                Kind::Word
            }
        };
        let to = self.offset();
        Ok(Some(Token {
            kind,
            text: self.text.get(from..to).unwrap_or_default(),
            start,
            end: self.column,
        }))
    }

    fn operator(&mut self, first: char, start: usize) -> Result<Kind, String> {
        let op = match (first, self.peek()) {
            ('=', Some('~')) => MatchOp::Regex,
            ('=', _) => return Ok(Kind::Operator(MatchOp::Equal)),
            (_, Some('=')) => MatchOp::NotEqual,
            (_, Some('~')) => MatchOp::NotRegex,
            (_, next) => {
                let end = self.column;
                return Err(match next {
                    Some(_) => format!("{start}:{end}: !: expected one of '=~'"),
                    None => format!("{start}:{end}: unexpected end of input, expected one of '=~'"),
                });
            }
        };
        self.take();
        Ok(Kind::Operator(op))
    }

    fn quoted(&mut self, from: usize, start: usize) -> Result<(), String> {
        while let Some(character) = self.take() {
            match character {
                '"' => return Ok(()),
                '\\' => drop(self.take()),
                _ => {}
            }
        }
        let end = self.column;
        let shown = self.text.get(from..).unwrap_or_default();
        Err(format!("{start}:{end}: {shown}: missing end \""))
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    ahead: Option<Option<Token<'t>>>,
    matchers: Vec<Matcher>,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> Result<Option<Token<'t>>, String> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.next()?);
        }
        Ok(self.ahead.flatten())
    }

    fn next(&mut self) -> Result<Option<Token<'t>>, String> {
        let token = self.peek()?;
        self.ahead = None;
        Ok(token)
    }

    /// Takes a token that `accepts`; `Err` says what is there instead, and what was `expected`.
    fn expect(&mut self, accepts: fn(Kind) -> bool, expected: &str) -> Result<Token<'t>, String> {
        let token = self
            .peek()
            .map_err(|error| format!("{error}: {expected}"))?;
        match token {
            Some(token) if accepts(token.kind) => {
                self.ahead = None;
                Ok(token)
            }
            Some(Token {
                text, start, end, ..
            }) => Err(format!("{start}:{end}: unexpected {text}: {expected}")),
            None => Err(format!("end of input: {expected}")),
        }
    }

    fn all(&mut self) -> Result<(), String> {
        let mut open = false;
        match self.peek()? {
            None => return Ok(()),
            Some(token) if token.kind == Kind::OpenBrace => {
                open = true;
                self.ahead = None;
            }
            Some(_) => {}
        }
        let first = self.peek()?;
        if first.is_some_and(|token| token.kind != Kind::CloseBrace) {
            self.matchers()?;
        }
        self.close(open)?;
        match self
            .next()
            .map_err(|error| format!("{error}: expected end of input"))?
        {
            None => Ok(()),
            Some(Token {
                text, start, end, ..
            }) => Err(format!("{start}:{end}: {text}: expected end of input")),
        }
    }

    fn close(&mut self, open: bool) -> Result<(), String> {
        let closing = self
            .peek()?
            .is_some_and(|token| token.kind == Kind::CloseBrace);
        let before = self.peek()?.map_or(self.lexer.column, |token| token.start);
        match (open, closing) {
            (true, true) => {
                self.ahead = None;
                Ok(())
            }
            (true, false) => self
                .expect(|_| false, "expected close brace")
                .map(|_| ())
                .map_err(|error| format!("0:{before}: {error}")),
            (false, true) => Err(format!("0:{}: }}: expected opening brace", before + 1)),
            (false, false) => Ok(()),
        }
    }

    /// One or more, up to the end or a closing brace.
    fn matchers(&mut self) -> Result<(), String> {
        loop {
            self.matcher()?;
            match self
                .peek()
                .map_err(|error| format!("{error}: expected a comma or close brace"))?
            {
                None => return Ok(()),
                Some(token) if token.kind == Kind::CloseBrace => return Ok(()),
                Some(_) => drop(self.expect(
                    |kind| kind == Kind::Comma,
                    "expected a comma or close brace",
                )?),
            }
            const AFTER_COMMA: &str = "expected a matcher or close brace after comma";
            match self
                .peek()
                .map_err(|error| format!("{error}: {AFTER_COMMA}"))?
            {
                None => return Ok(()),
                Some(token) if token.kind == Kind::CloseBrace => return Ok(()),
                Some(token) if matches!(token.kind, Kind::Word | Kind::Quoted) => {}
                Some(_) => drop(self.expect(|_| false, AFTER_COMMA)?),
            }
        }
    }

    fn matcher(&mut self) -> Result<(), String> {
        let is_text = |kind| matches!(kind, Kind::Word | Kind::Quoted);
        let name = unquote(self.expect(is_text, "expected label name")?)?;
        let operator = self.expect(
            |kind| matches!(kind, Kind::Operator(_)),
            "expected an operator such as '=', '!=', '=~' or '!~'",
        )?;
        let value = unquote(self.expect(is_text, "expected label value")?)?;
        let Kind::Operator(op) = operator.kind else {
            unreachable!("only operators are taken");
        };
        let matcher = Matcher::new(name, op, value)
            .map_err(|error| format!("failed to create matcher: {error}"))?;
        self.matchers.push(matcher);
        Ok(())
    }
}

fn unquote(token: Token<'_>) -> Result<String, String> {
    let Token {
        kind,
        text,
        start,
        end,
    } = token;
    if kind != Kind::Quoted {
        return Ok(text.to_owned());
    }
    template::unquote(text).map_err(|_| format!("{start}:{end}: {text}: invalid input"))
}
