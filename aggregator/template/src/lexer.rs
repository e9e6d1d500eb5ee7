//! Texts and actions, cut into tokens. Comments and what `{{-` and `-}}` trim are left out here.

/// What a token is; where it stands is in [`Item`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Text,
    LeftDelimiter,
    RightDelimiter,
    /// Space inside an action: it separates operands.
    Space,
    Declare,
    Assign,
    Pipe,
    LeftParen,
    RightParen,
    Dot,
    /// `.name`
    Field,
    /// `$` or `$name`
    Variable,
    Identifier,
    Keyword(Keyword),
    Bool(bool),
    Number,
    Character,
    /// In double quotes.
    String,
    /// In back quotes.
    RawString,
    /// Any other printable character of ASCII; only the comma means something.
    Other(char),
    End,
    /// The text cannot be read on from here.
    Bad(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Keyword {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "nil" => Self::Nil,
            "range" => Self::Range,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }
}

/// A token and the bytes of the text that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) token: Token,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";

/// Yields the items of one text; after [`Token::End`] or [`Token::Bad`] only that again.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    in_action: bool,
    parens: usize,
    bad: Option<Item>,
}

impl<'t> Lexer<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            in_action: false,
            parens: 0,
            bad: None,
        }
    }

    pub(crate) fn next(&mut self) -> Item {
        if let Some(bad) = &self.bad {
            return bad.clone();
        }
        let start = self.at;
        let item = if self.in_action {
            self.action_item()
        } else {
            self.text_item()
        };
        item.unwrap_or_else(|message| {
            let bad = Item {
                token: Token::Bad(message),
                start,
                end: start,
            };
            self.bad.insert(bad).clone()
        })
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Returns the item of `bytes` bytes from here and moves behind it.
    fn take(&mut self, token: Token, bytes: usize) -> Item {
        let start = self.at;
        self.at += bytes;
        Item {
            token,
            start,
            end: self.at,
        }
    }

    fn text_item(&mut self) -> Result<Item, String> {
        loop {
            let rest = self.rest();
            if rest.is_empty() {
                return Ok(self.take(Token::End, 0));
            }
            let Some(bytes) = rest.find(LEFT) else {
                return Ok(self.take(Token::Text, rest.len()));
            };
            let (text, action) = rest.split_at(bytes);
            let marker = left_trim(action.get(LEFT.len()..).unwrap_or_default());
            let kept = if marker {
                text.trim_end_matches(is_space).len()
            } else {
                bytes
            };
            if kept > 0 {
                let item = self.take(Token::Text, kept);
                self.at = item.start + bytes;
                return Ok(item);
            }
            self.at += bytes;
            let opening = LEFT.len() + if marker { 2 } else { 0 };
            let inside = action.get(opening..).unwrap_or_default();
            if inside.starts_with("/*") {
                self.at += opening;
                self.skip_comment(inside)?;
                continue;
            }
            self.in_action = true;
            self.parens = 0;
            let item = self.take(Token::LeftDelimiter, LEFT.len());
            self.at = item.start + opening;
            return Ok(item);
        }
    }

    fn skip_comment(&mut self, comment: &str) -> Result<(), String> {
        let end = comment.get(2..).and_then(|inner| inner.find("*/"));
        let end = end.ok_or("unclosed comment")? + 4;
        let after = comment.get(end..).unwrap_or_default();
        let (bytes, trims) =
            right_delimiter(after).ok_or("comment ends before closing delimiter")?;
        self.at += end + bytes;
        if trims {
            self.skip_space();
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn action_item(&mut self) -> Result<Item, String> {
        let rest = self.rest();
        if let Some((bytes, trims)) = right_delimiter(rest) {
            if self.parens > 0 {
                return Err("unclosed left paren".to_owned());
            }
            let item = self.take(Token::RightDelimiter, bytes);
            if trims {
                self.skip_space();
            }
            self.in_action = false;
            return Ok(item);
        }
        let mut characters = rest.chars();
        let Some(first) = characters.next() else {
            return Err("unclosed action".to_owned());
        };
        let second = characters.next();
        match first {
            _ if is_space(first) => Ok(self.space(rest)),
            '=' => Ok(self.take(Token::Assign, 1)),
            ':' if second == Some('=') => Ok(self.take(Token::Declare, 2)),
            ':' => Err("expected :=".to_owned()),
            '|' => Ok(self.take(Token::Pipe, 1)),
            '"' => self.quoted(rest, '"', Token::String, "unterminated quoted string"),
            '\'' => self.quoted(
                rest,
                '\'',
                Token::Character,
                "unterminated character constant",
            ),
            '`' => {
                let inner = rest.get(1..).and_then(|inner| inner.find('`'));
                let bytes = inner.ok_or("unterminated raw quoted string")? + 2;
                Ok(self.take(Token::RawString, bytes))
            }
            '$' => self.name(Token::Variable, Token::Variable),
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                self.name(Token::Field, Token::Dot)
            }
            '.' | '+' | '-' | '0'..='9' => self.number(rest),
            _ if is_alphanumeric(first) => self.word(rest),
            '(' => {
                self.parens += 1;
                Ok(self.take(Token::LeftParen, 1))
            }
            ')' => {
                self.parens = self.parens.checked_sub(1).ok_or("unexpected right paren")?;
                Ok(self.take(Token::RightParen, 1))
            }
            ' '..='~' => Ok(self.take(Token::Other(first), 1)),
            _ => Err(format!(
                "unrecognized character in action: U+{:04X}",
                u32::from(first)
            )),
        }
    }

    /// A run of space; the last of it belongs to a trimming delimiter that follows.
    fn space(&mut self, rest: &str) -> Item {
        let bytes = rest.len() - rest.trim_start_matches(is_space).len();
        let trimming = rest
            .get(bytes - 1..)
            .is_some_and(|last| right_delimiter(last).is_some());
        self.take(Token::Space, bytes - usize::from(trimming))
    }

    fn quoted(
        &mut self,
        rest: &str,
        quote: char,
        token: Token,
        unterminated: &str,
    ) -> Result<Item, String> {
        let mut characters = rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                _ if character == quote => return Ok(self.take(token, at + 1)),
                '\n' => break,
                '\\' if matches!(characters.next(), None | Some((_, '\n'))) => break,
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    /// `.name` or `$name`, of which the name may be missing.
    fn name(&mut self, token: Token, bare: Token) -> Result<Item, String> {
        let after = self.rest().get(1..).unwrap_or_default();
        let bytes = word_bytes(after);
        check_terminated(after.get(bytes..).unwrap_or_default())?;
        Ok(self.take(if bytes == 0 { bare } else { token }, 1 + bytes))
    }

    fn word(&mut self, rest: &str) -> Result<Item, String> {
        let bytes = word_bytes(rest);
        let (word, after) = rest.split_at(bytes);
        check_terminated(after)?;
        let token = match word {
            "true" => Token::Bool(true),
            "false" => Token::Bool(false),
            _ => Keyword::from_word(word).map_or(Token::Identifier, Token::Keyword),
        };
        Ok(self.take(token, bytes))
    }

    fn number(&mut self, rest: &str) -> Result<Item, String> {
        let bytes = number_bytes(rest.as_bytes());
        let after = rest.get(bytes..).unwrap_or_default();
        match after.chars().next() {
            Some(next) if is_alphanumeric(next) || matches!(next, '+' | '-') => {
                let end = bytes + next.len_utf8();
                Err(format!(
                    "bad number syntax: {:?}",
                    rest.get(..end).unwrap_or(rest)
                ))
            }
            _ => Ok(self.take(Token::Number, bytes)),
        }
    }
}

/// Returns the length of what looks like a number at the start of `text`; whether it is one is seen when it is read.
fn number_bytes(text: &[u8]) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let mut at = usize::from(matches!(byte(0), b'+' | b'-'));
    let mut is_digit: fn(u8) -> bool = |byte| byte.is_ascii_digit() || byte == b'_';
    let mut exponents: &[u8] = b"eE";
    if byte(at) == b'0' {
        at += 1;
        match byte(at) {
            b'x' | b'X' => {
                is_digit = |byte| byte.is_ascii_hexdigit() || byte == b'_';
                exponents = b"pP";
                at += 1;
            }
            b'o' | b'O' | b'b' | b'B' => {
                exponents = b"";
                at += 1;
            }
            _ => {}
        }
    }
    let digits = |mut at: usize| {
        while is_digit(byte(at)) {
            at += 1;
        }
        at
    };
    at = digits(at);
    if byte(at) == b'.' {
        at = digits(at + 1);
    }
    if exponents.contains(&byte(at)) {
        at += 1;
        at += usize::from(matches!(byte(at), b'+' | b'-'));
        while byte(at).is_ascii_digit() || byte(at) == b'_' {
            at += 1;
        }
    }
    at
}

fn check_terminated(rest: &str) -> Result<(), String> {
    match rest.chars().next() {
        None | Some('.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
        Some(next) if is_space(next) || rest.starts_with(RIGHT) => Ok(()),
        Some(next) => Err(format!("bad character U+{:04X} {next:?}", u32::from(next))),
    }
}

fn word_bytes(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_alphanumeric).len()
}

/// Whether `after`, which follows `{{`, trims what precedes it.
fn left_trim(after: &str) -> bool {
    let mut characters = after.chars();
    characters.next() == Some('-') && characters.next().is_some_and(is_space)
}

/// Returns the length of the delimiter at the start of `text` and whether it trims what follows.
fn right_delimiter(text: &str) -> Option<(usize, bool)> {
    if text.starts_with(RIGHT) {
        return Some((RIGHT.len(), false));
    }
    let inner = text.strip_prefix(is_space)?.strip_prefix('-')?;
    inner.starts_with(RIGHT).then_some((2 + RIGHT.len(), true))
}

const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || character.is_alphabetic() || character.is_numeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(Token, &str)> {
        let mut lexer = Lexer::new(text);
        let mut words = Vec::new();
        loop {
            let item = lexer.next();
            match item.token {
                Token::End | Token::Bad(_) => {
                    words.push((item.token, ""));
                    return words;
                }
                Token::Space => {}
                _ => words.push((item.token, text.get(item.start..item.end).unwrap())),
            }
        }
    }

    #[test]
    fn an_action_is_cut_into_words() {
        let expected = [
            (Token::Text, "a "),
            (Token::LeftDelimiter, "{{"),
            (Token::Variable, "$x"),
            (Token::Declare, ":="),
            (Token::Field, ".Labels"),
            (Token::Field, ".job"),
            (Token::Pipe, "|"),
            (Token::Identifier, "printf"),
            (Token::String, r#""%q\"""#),
            (Token::Number, "-0x1F"),
            (Token::RightDelimiter, "}}"),
            (Token::End, ""),
        ];
        assert_eq!(
            words(r#"a {{$x := .Labels.job | printf "%q\"" -0x1F}}"#),
            expected
        );
    }

    #[test]
    fn markers_trim_and_comments_vanish() {
        let text = "a \n{{- /* note */ -}}\n b {{- 1 -}} c";
        let texts: Vec<_> = words(text)
            .into_iter()
            .filter(|(token, _)| *token == Token::Text)
            .map(|(_, text)| text)
            .collect();
        assert_eq!(texts, ["a", "b", "c"]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let cases = [
            ("{{", "unclosed action"),
            ("{{/* a", "unclosed comment"),
            ("{{/* a */ b}}", "comment ends before closing delimiter"),
            ("{{\"a}}", "unterminated quoted string"),
            ("{{`a}}", "unterminated raw quoted string"),
            ("{{'a}}", "unterminated character constant"),
            ("{{(1}}", "unclosed left paren"),
            ("{{1)}}", "unexpected right paren"),
            ("{{$x : 1}}", "expected :="),
            ("{{3k}}", "bad number syntax: \"3k\""),
            ("{{1+2i}}", "bad number syntax: \"1+\""),
            ("{{a@b}}", "bad character U+0040 '@'"),
        ];
        for (text, expected) in cases {
            let last = words(text).pop().unwrap().0;
            assert_eq!(last, Token::Bad(expected.to_owned()), "{text}");
        }
    }
}
