//! Text to tokens.
//!
//! Three places have rules of their own: braces (no keywords), brackets (durations; a colon is no part of a name) and the rest.
//! All tokens are made at once; the first character that fits nowhere ends the list, and is reported.

use crate::token::{Keyword, Modifier, Operator, Token, TokenKind};
use crate::{TextRange, unquote};

/// What the lexer stumbled over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) range: TextRange,
    pub(crate) message: String,
}

/// Returns the tokens of `text`, the last of them [`TokenKind::Eof`], and what ended the list early.
pub(crate) fn lex(text: &str) -> (Vec<Token>, Option<LexError>) {
    let mut lexer = Lexer {
        text,
        at: 0,
        parens: 0,
        in_braces: false,
        in_brackets: false,
    };
    let mut tokens = Vec::new();
    loop {
        match lexer.next_token() {
            Ok(token) => {
                tokens.push(token);
                if token.kind == TokenKind::Eof {
                    return (tokens, None);
                }
            }
            Err(error) => {
                tokens.push(Token {
                    kind: TokenKind::Eof,
                    range: error.range,
                });
                return (tokens, Some(error));
            }
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Result<Token, LexError> {
        self.skip_blanks();
        let start = self.at;
        let Some(byte) = self.peek(0) else {
            return self.end();
        };
        let kind = match byte {
            b'(' => {
                self.parens += 1;
                self.take(1, TokenKind::LeftParen)
            }
            b')' if self.parens == 0 => {
                return Err(self.error(start, "unexpected right parenthesis ')'"));
            }
            b')' => {
                self.parens -= 1;
                self.take(1, TokenKind::RightParen)
            }
            b'{' if self.in_braces => {
                return Err(self.error(start, "unexpected left brace '{'"));
            }
            b'{' => {
                self.in_braces = true;
                self.take(1, TokenKind::LeftBrace)
            }
            b'}' if !self.in_braces => {
                return Err(self.error(start, "unexpected character: '}'"));
            }
            b'}' => {
                self.in_braces = false;
                self.take(1, TokenKind::RightBrace)
            }
            b'[' if self.in_brackets => {
                return Err(self.error(start, "unexpected left bracket '['"));
            }
            b'[' if !self.in_braces => {
                self.in_brackets = true;
                self.take(1, TokenKind::LeftBracket)
            }
            b']' if !self.in_brackets => {
                return Err(self.error(start, "unexpected right bracket ']'"));
            }
            b']' => {
                self.in_brackets = false;
                self.take(1, TokenKind::RightBracket)
            }
            b',' => self.take(1, TokenKind::Comma),
            b'"' | b'\'' | b'`' => self.string(byte)?,
            _ if self.in_braces => self.inside_braces(byte)?,
            b'@' => self.take(1, TokenKind::At),
            b':' if self.in_brackets => self.take(1, TokenKind::Colon),
            b'0'..=b'9' => self.number_or_duration()?,
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) => {
                self.number_or_duration()?
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => self.word(),
            _ => self.operator(byte)?,
        };
        Ok(Token {
            kind,
            range: TextRange::new(start, self.at),
        })
    }

    fn end(&self) -> Result<Token, LexError> {
        let end = self.text.len();
        if self.in_braces {
            return Err(self.error(end, "unexpected end of input inside braces"));
        }
        if self.in_brackets {
            return Err(self.error(end, "unclosed left bracket"));
        }
        if self.parens > 0 {
            return Err(self.error(end, "unclosed left parenthesis"));
        }
        Ok(Token {
            kind: TokenKind::Eof,
            range: TextRange::new(end, end),
        })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn take(&mut self, bytes: usize, kind: TokenKind) -> TokenKind {
        self.at += bytes;
        kind
    }

    fn slice(&self, start: usize) -> &str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn error(&self, start: usize, message: impl Into<String>) -> LexError {
        LexError {
            range: TextRange::new(start, self.text.len()),
            message: message.into(),
        }
    }

    fn unexpected(&self, context: &str) -> LexError {
        let found = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or_default();
        self.error(self.at, format!("unexpected character{context}: {found:?}"))
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    while self
                        .peek(0)
                        .is_some_and(|byte| !matches!(byte, b'\n' | b'\r'))
                    {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn inside_braces(&mut self, byte: u8) -> Result<TokenKind, LexError> {
        Ok(match (byte, self.peek(1)) {
            (b'=', Some(b'~')) => self.take(2, TokenKind::EqualRegex),
            (b'=', _) => self.take(1, TokenKind::Equal),
            (b'!', Some(b'~')) => self.take(2, TokenKind::NotEqualRegex),
            (b'!', Some(b'=')) => self.take(2, TokenKind::Operator(Operator::NotEqual)),
            (b'!', _) => {
                self.at += 1;
                let found = self
                    .text
                    .get(self.at..)
                    .and_then(|rest| rest.chars().next());
                return Err(self.error(
                    self.at - 1,
                    format!(
                        "unexpected character after '!' inside braces: {:?}",
                        found.unwrap_or_default()
                    ),
                ));
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => {
                while self.peek(0).is_some_and(is_alphanumeric) {
                    self.at += 1;
                }
                TokenKind::Word(None)
            }
            _ => return Err(self.unexpected(" inside braces")),
        })
    }

    fn operator(&mut self, byte: u8) -> Result<TokenKind, LexError> {
        use Operator as O;
        let (bytes, operator) = match (byte, self.peek(1)) {
            (b'+', _) => (1, O::Add),
            (b'-', _) => (1, O::Sub),
            (b'*', _) => (1, O::Mul),
            (b'/', _) => (1, O::Div),
            (b'%', _) => (1, O::Mod),
            (b'^', _) => (1, O::Pow),
            (b'=', Some(b'=')) => (2, O::Equal),
            (b'=', Some(b'~')) => {
                return Err(self.error(self.at, "unexpected character after '=': '~'"));
            }
            (b'=', _) => return Ok(self.take(1, TokenKind::Equal)),
            (b'!', Some(b'=')) => (2, O::NotEqual),
            (b'!', _) => {
                self.at += 1;
                let found = self
                    .text
                    .get(self.at..)
                    .and_then(|rest| rest.chars().next());
                return Err(self.error(
                    self.at - 1,
                    format!(
                        "unexpected character after '!': {:?}",
                        found.unwrap_or_default()
                    ),
                ));
            }
            (b'<', Some(b'=')) => (2, O::LessEqual),
            (b'<', Some(b'/')) => (2, O::TrimUpper),
            (b'<', _) => (1, O::Less),
            (b'>', Some(b'=')) => (2, O::GreaterEqual),
            (b'>', Some(b'/')) => (2, O::TrimLower),
            (b'>', _) => (1, O::Greater),
            _ => return Err(self.unexpected("")),
        };
        Ok(self.take(bytes, TokenKind::Operator(operator)))
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        let colons = !self.in_brackets;
        while self
            .peek(0)
            .is_some_and(|byte| is_alphanumeric(byte) || (colons && byte == b':'))
        {
            self.at += 1;
        }
        let word = self.slice(start);
        if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
            return TokenKind::Number;
        }
        let keyword = Keyword::from_word(word);
        let fill = matches!(
            keyword,
            Some(Keyword::Modifier(
                Modifier::Fill | Modifier::FillLeft | Modifier::FillRight
            ))
        );
        // A metric may be called "fill": only "fill(" is the modifier.
        if fill && !self.paren_follows() {
            return TokenKind::Word(None);
        }
        TokenKind::Word(keyword)
    }

    fn paren_follows(&self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.trim_start_matches([' ', '\t', '\n', '\r'])
            .starts_with('(')
    }

    fn string(&mut self, quote: u8) -> Result<TokenKind, LexError> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let length =
            unquote::quoted_len(rest, quote).map_err(|message| self.error(start, message))?;
        Ok(self.take(length, TokenKind::String))
    }

    fn number_or_duration(&mut self) -> Result<TokenKind, LexError> {
        let start = self.at;
        if self.scan_number() {
            return Ok(TokenKind::Number);
        }
        if self.scan_duration_rest() {
            return Ok(TokenKind::Duration);
        }
        let message = format!("bad number or duration syntax: {:?}", self.slice(start));
        Err(self.error(start, message))
    }

    /// Moves over a number; says no when something else is glued to it.
    fn scan_number(&mut self) -> bool {
        let hex = self.peek(0) == Some(b'0') && matches!(self.peek(1), Some(b'x' | b'X'));
        if hex {
            self.at += 2;
            while self
                .peek(0)
                .is_some_and(|byte| byte.is_ascii_hexdigit() || byte == b'_')
            {
                self.at += 1;
            }
            return !self
                .peek(0)
                .is_some_and(|byte| is_alphanumeric(byte) || byte == b'.');
        }
        self.skip_digits();
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            self.skip_digits();
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if !self
                .peek(1 + sign)
                .is_some_and(|byte| byte.is_ascii_digit())
            {
                self.at += 1;
                return false;
            }
            self.at += 1 + sign;
            self.skip_digits();
        }
        !self
            .peek(0)
            .is_some_and(|byte| is_alphanumeric(byte) || byte == b'.')
    }

    fn skip_digits(&mut self) {
        while self
            .peek(0)
            .is_some_and(|byte| byte.is_ascii_digit() || byte == b'_')
        {
            self.at += 1;
        }
    }

    /// Moves over units and further numbers with units; the first number is behind.
    fn scan_duration_rest(&mut self) -> bool {
        loop {
            if !matches!(self.peek(0), Some(b's' | b'm' | b'h' | b'd' | b'w' | b'y')) {
                return false;
            }
            self.at += 1;
            if self.peek(0) == Some(b's') {
                self.at += 1;
            }
            if !self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                break;
            }
            while self.peek(0).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1;
            }
        }
        !self.peek(0).is_some_and(is_alphanumeric)
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
