//! From text to trees.
//!
//! Definitions stand at the top level or come from `block`; each becomes a tree of its own. Nesting is bounded by [`NESTING_MAX`],
//! so that neither this nor anything that walks a tree can overflow the stack.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::ast::{Arm, Branch, Call, Command, Node, Operand, Pipeline, Span, Term, Tree};
use crate::error::{Error, ErrorKind, Source};
use crate::function::Function;
use crate::html::Rewrite;
use crate::lexer::{Item, Keyword, Lexer, Token};
use crate::literal;

/// The deepest nesting of actions and parentheses within each other.
pub const NESTING_MAX: usize = 64;
/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Returns the trees in `text`: first that of the text itself, under `name`, then those that it defines.
pub(crate) fn parse(
    source: &Arc<Source>,
    name: &Arc<str>,
    function: &dyn Fn(&str) -> Option<&'static Function>,
    variables: &[&str],
) -> Result<Vec<Tree>, Error> {
    if source.text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "{} bytes are more than the {TEXT_BYTES_MAX} allowed",
            source.text.len()
        );
        return Err(source.error(ErrorKind::Limit, 0, message));
    }
    let mut parser = Parser {
        source,
        lexer: Lexer::new(&source.text),
        ahead: VecDeque::new(),
        function,
        variables: std::iter::once("$")
            .chain(variables.iter().copied())
            .map(Arc::from)
            .collect(),
        ranges: 0,
        depth: 0,
        trees: Vec::new(),
        defined: BTreeSet::new(),
    };
    let body = parser.top_level()?;
    parser.add(Arc::clone(name), body, 0)?;
    parser.trees.rotate_right(1);
    Ok(parser.trees)
}

struct Parser<'t> {
    source: &'t Arc<Source>,
    lexer: Lexer<'t>,
    ahead: VecDeque<Item>,
    function: &'t dyn Fn(&str) -> Option<&'static Function>,
    /// Those in scope, the innermost last.
    variables: Vec<Arc<str>>,
    /// How many `range` are open.
    ranges: usize,
    depth: usize,
    trees: Vec<Tree>,
    /// Names of trees with a body.
    defined: BTreeSet<Arc<str>>,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListEnd {
    End,
    Else,
}

impl<'t> Parser<'t> {
    fn text(&self, item: &Item) -> &'t str {
        let source: &'t Source = self.source;
        source.text.get(item.start..item.end).unwrap_or_default()
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Error> {
        Err(self.source.error(ErrorKind::Syntax, at, message))
    }

    fn unexpected<T>(&self, item: &Item, context: &str) -> Result<T, Error> {
        match &item.token {
            Token::Bad(message) => self.fail(item.start, message.clone()),
            Token::End => self.fail(item.start, format!("unexpected EOF in {context}")),
            _ => self.fail(
                item.start,
                format!("unexpected {:?} in {context}", self.text(item)),
            ),
        }
    }

    fn peek_at(&mut self, index: usize) -> &Item {
        while self.ahead.len() <= index {
            let item = self.lexer.next();
            self.ahead.push_back(item);
        }
        &self.ahead[index]
    }

    fn peek(&mut self) -> &Item {
        self.peek_at(0)
    }

    fn next(&mut self) -> Item {
        self.ahead.pop_front().unwrap_or_else(|| self.lexer.next())
    }

    fn skip_space(&mut self) {
        while self.peek().token == Token::Space {
            self.ahead.pop_front();
        }
    }

    fn next_non_space(&mut self) -> Item {
        self.skip_space();
        self.next()
    }

    fn expect_end_of_action(&mut self, context: &str) -> Result<Item, Error> {
        let item = self.next_non_space();
        if item.token == Token::RightDelimiter {
            Ok(item)
        } else {
            self.unexpected(&item, context)
        }
    }

    fn add(&mut self, name: Arc<str>, body: Vec<Node>, at: usize) -> Result<(), Error> {
        let empty = crate::ast::is_empty(&body);
        if !empty && !self.defined.insert(Arc::clone(&name)) {
            return self.fail(at, format!("multiple definition of template {name:?}"));
        }
        self.trees.push(Tree {
            name,
            source: Arc::clone(self.source),
            body,
        });
        Ok(())
    }

    fn top_level(&mut self) -> Result<Vec<Node>, Error> {
        let mut body = Vec::new();
        loop {
            let item = self.next();
            match item.token {
                Token::End => return Ok(body),
                Token::Text => body.push(Node::Text(item.start, self.text(&item).into())),
                Token::LeftDelimiter => {
                    self.skip_space();
                    if self.peek().token == Token::Keyword(Keyword::Define) {
                        self.next();
                        self.definition()?;
                        continue;
                    }
                    match self.action(&item)? {
                        Parsed::Node(node) => body.push(node),
                        Parsed::ListEnd(ListEnd::End, at) => {
                            return self.fail(at, "unexpected {{end}}");
                        }
                        Parsed::ListEnd(ListEnd::Else, at) => {
                            return self.fail(at, "unexpected {{else}}");
                        }
                    }
                }
                _ => return self.unexpected(&item, "input"),
            }
        }
    }

    fn definition(&mut self) -> Result<(), Error> {
        let item = self.next_non_space();
        let name = self.template_name(&item, "define clause")?;
        self.expect_end_of_action("define clause")?;
        let body = self.own_list("define clause")?;
        self.add(name, body, item.start)
    }

    /// The body of a template of its own: it sees no variables and no `range` of what is around it.
    fn own_list(&mut self, context: &str) -> Result<Vec<Node>, Error> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, end, at) = self.list()?;
        if end != ListEnd::End {
            return self.fail(at, format!("unexpected {{{{else}}}} in {context}"));
        }
        self.variables = variables;
        self.ranges = ranges;
        Ok(body)
    }

    /// Nodes up to an `end` or `else`, which is consumed, up to its delimiter (of `else if` and `else with`: up to the keyword).
    fn list(&mut self) -> Result<(Vec<Node>, ListEnd, usize), Error> {
        self.depth += 1;
        let mut body = Vec::new();
        loop {
            let item = self.next();
            match item.token {
                Token::Text => body.push(Node::Text(item.start, self.text(&item).into())),
                Token::LeftDelimiter => match self.action(&item)? {
                    Parsed::Node(node) => body.push(node),
                    Parsed::ListEnd(end, at) => {
                        self.depth -= 1;
                        return Ok((body, end, at));
                    }
                },
                Token::End => return self.fail(item.start, "unexpected EOF"),
                _ => return self.unexpected(&item, "input"),
            }
        }
    }

    /// What follows a left delimiter.
    fn action(&mut self, opening: &Item) -> Result<Parsed, Error> {
        if self.depth > NESTING_MAX {
            let message = format!("actions are nested more than {NESTING_MAX} deep");
            return Err(self.source.error(ErrorKind::Limit, opening.start, message));
        }
        self.skip_space();
        let item = self.peek().clone();
        let Token::Keyword(keyword) = item.token else {
            return self.plain_action();
        };
        if keyword == Keyword::Nil {
            return self.plain_action();
        }
        self.next();
        let node = match keyword {
            Keyword::If => Node::If(self.branch("if", Some(Keyword::If))?),
            Keyword::With => Node::With(self.branch("with", Some(Keyword::With))?),
            Keyword::Range => Node::Range(span(&item), self.branch("range", None)?),
            Keyword::Template => Node::Template(self.template_action()?),
            Keyword::Block => Node::Template(self.block()?),
            Keyword::Break => self.loop_action(&item, "break", Node::Break)?,
            Keyword::Continue => self.loop_action(&item, "continue", Node::Continue)?,
            Keyword::End => {
                self.expect_end_of_action("end")?;
                return Ok(Parsed::ListEnd(ListEnd::End, item.start));
            }
            Keyword::Else => {
                self.skip_space();
                let chained = [Keyword::If, Keyword::With].map(Token::Keyword);
                if !chained.contains(&self.peek().token) {
                    self.expect_end_of_action("else")?;
                }
                return Ok(Parsed::ListEnd(ListEnd::Else, item.start));
            }
            Keyword::Define | Keyword::Nil => return self.unexpected(&item, "command"),
        };
        Ok(Parsed::Node(node))
    }

    fn plain_action(&mut self) -> Result<Parsed, Error> {
        let pipeline = self.pipeline("command", &Token::RightDelimiter)?;
        Ok(Parsed::Node(Node::Action {
            pipeline: Arc::new(pipeline),
            escapers: Vec::new(),
            rewrite: Rewrite::Nothing,
        }))
    }

    fn loop_action(&mut self, item: &Item, name: &str, node: Node) -> Result<Node, Error> {
        self.expect_end_of_action(&format!("{{{{{name}}}}}"))?;
        if self.ranges == 0 {
            return self.fail(item.start, format!("{{{{{name}}}}} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    /// `if`, `with` and `range`: `chained` is the keyword that may follow `else`.
    fn branch(&mut self, context: &str, chained: Option<Keyword>) -> Result<Branch, Error> {
        let scope = self.variables.len();
        let is_range = chained.is_none();
        let mut arms = Vec::new();
        let otherwise = loop {
            let pipeline = Arc::new(self.pipeline(context, &Token::RightDelimiter)?);
            self.ranges += usize::from(is_range);
            let (body, end, _) = self.list()?;
            self.ranges -= usize::from(is_range);
            arms.push(Arm { pipeline, body });
            if end == ListEnd::End {
                break Vec::new();
            }
            match self.peek().token {
                Token::Keyword(keyword @ (Keyword::If | Keyword::With)) => {
                    let item = self.next();
                    if chained != Some(keyword) {
                        return self.unexpected(&item, "else clause");
                    }
                }
                _ => {
                    let (body, end, at) = self.list()?;
                    if end != ListEnd::End {
                        return self.fail(at, "expected end; found {{else}}");
                    }
                    break body;
                }
            }
        };
        self.variables.truncate(scope);
        Ok(Branch { arms, otherwise })
    }

    fn template_action(&mut self) -> Result<Call, Error> {
        let item = self.next_non_space();
        let name = self.template_name(&item, "template clause")?;
        self.skip_space();
        let pipeline = if self.peek().token == Token::RightDelimiter {
            self.next();
            None
        } else {
            let pipeline = self.pipeline("template clause", &Token::RightDelimiter)?;
            Some(Arc::new(pipeline))
        };
        Ok(Call {
            span: span(&item),
            name,
            pipeline,
        })
    }

    fn block(&mut self) -> Result<Call, Error> {
        let item = self.next_non_space();
        let name = self.template_name(&item, "block clause")?;
        let pipeline = self.pipeline("block clause", &Token::RightDelimiter)?;
        let body = self.own_list("block clause")?;
        self.add(Arc::clone(&name), body, item.start)?;
        Ok(Call {
            span: span(&item),
            name,
            pipeline: Some(Arc::new(pipeline)),
        })
    }

    fn template_name(&self, item: &Item, context: &str) -> Result<Arc<str>, Error> {
        match item.token {
            Token::String | Token::RawString => Ok(self.string(item)?),
            _ => self.unexpected(item, context),
        }
    }

    fn string(&self, item: &Item) -> Result<Arc<str>, Error> {
        literal::unquote(self.text(item))
            .map(Arc::from)
            .or_else(|message| self.fail(item.start, message))
    }

    fn pipeline(&mut self, context: &str, end: &Token) -> Result<Pipeline, Error> {
        self.skip_space();
        let start = self.peek().start;
        let mut pipeline = Pipeline {
            span: Span { start, end: start },
            variables: Vec::new(),
            assigns: false,
            commands: Vec::new(),
        };
        self.declarations(context, &mut pipeline)?;
        loop {
            let item = self.next_non_space();
            if item.token == *end {
                pipeline.span.end = item.start;
                break;
            }
            if !begins_operand(&item.token) {
                return self.unexpected(&item, context);
            }
            self.ahead.push_front(item);
            pipeline.commands.push(self.command()?);
        }
        self.check_pipeline(&pipeline, context)?;
        Ok(pipeline)
    }

    /// `$x :=`, `$x =`, and in a `range` `$i, $x :=`.
    fn declarations(&mut self, context: &str, pipeline: &mut Pipeline) -> Result<(), Error> {
        loop {
            self.skip_space();
            if self.peek().token != Token::Variable {
                return Ok(());
            }
            let has_space = self.peek_at(1).token == Token::Space;
            let after = self.peek_at(1 + usize::from(has_space)).token.clone();
            let is_comma = after == Token::Other(',');
            if !is_comma && !matches!(after, Token::Declare | Token::Assign) {
                return Ok(());
            }
            let item = self.next();
            self.next_non_space();
            let name: Arc<str> = self.text(&item).into();
            pipeline.variables.push(Arc::clone(&name));
            self.variables.push(name);
            if !is_comma {
                pipeline.assigns = after == Token::Assign;
                return Ok(());
            }
            if context != "range" || pipeline.variables.len() > 1 {
                return self.fail(item.start, format!("too many declarations in {context}"));
            }
            self.skip_space();
            if !matches!(self.peek().token, Token::Variable | Token::RightDelimiter) {
                return self.fail(item.start, "range can only initialize variables");
            }
        }
    }

    fn check_pipeline(&self, pipeline: &Pipeline, context: &str) -> Result<(), Error> {
        if pipeline.commands.is_empty() {
            return self.fail(pipeline.span.start, format!("missing value for {context}"));
        }
        for (index, command) in pipeline.commands.iter().enumerate().skip(1) {
            let operand = &command.operands[0];
            let executable = match operand.term {
                Term::Dot => !operand.fields.is_empty(),
                Term::Nil | Term::Bool(_) | Term::Number(_) | Term::String(_) => false,
                Term::Variable(_) | Term::Function(_) | Term::Pipeline(_) => true,
            };
            if !executable {
                let message = format!("non executable command in pipeline stage {}", index + 1);
                return self.fail(operand.span.start, message);
            }
        }
        Ok(())
    }

    /// Operands up to a `|`, which is consumed, or the end of the pipeline, which is not.
    fn command(&mut self) -> Result<Command, Error> {
        self.skip_space();
        let start = self.peek().start;
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            match self.peek().token {
                Token::Space => {}
                Token::Pipe => {
                    self.next();
                    break;
                }
                Token::RightDelimiter | Token::RightParen => break,
                _ => {
                    let item = self.next();
                    return self.unexpected(&item, "operand");
                }
            }
        }
        let Some(last) = operands.last() else {
            return self.fail(start, "empty command");
        };
        let end = last.span.end;
        Ok(Command {
            span: Span { start, end },
            operands,
        })
    }

    /// A term and the fields that follow without space.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let item = self.peek().clone();
        if !begins_operand(&item.token) {
            return Ok(None);
        }
        self.next();
        let mut fields = Vec::new();
        let mut end = item.end;
        let term = match &item.token {
            Token::Field => {
                fields.push(self.field_name(&item));
                Term::Dot
            }
            Token::LeftParen => {
                let (pipeline, closing) = self.parenthesized(&item)?;
                end = closing;
                Term::Pipeline(Box::new(pipeline))
            }
            _ => self.simple_term(&item)?,
        };
        while self.peek().token == Token::Field {
            let field = self.next();
            fields.push(self.field_name(&field));
            end = field.end;
        }
        if !fields.is_empty() && item.token != Token::Field && takes_no_fields(&term) {
            return self.fail(
                item.start,
                format!("unexpected . after term {:?}", self.text(&item)),
            );
        }
        Ok(Some(Operand {
            span: Span {
                start: item.start,
                end,
            },
            term,
            fields,
        }))
    }

    fn field_name(&self, item: &Item) -> Arc<str> {
        self.text(item).trim_start_matches('.').into()
    }

    fn parenthesized(&mut self, opening: &Item) -> Result<(Pipeline, usize), Error> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            let message = format!("expressions are nested more than {NESTING_MAX} deep");
            return Err(self.source.error(ErrorKind::Limit, opening.start, message));
        }
        let pipeline = self.pipeline("parenthesized pipeline", &Token::RightParen)?;
        self.depth -= 1;
        let closing = pipeline.span.end + 1;
        Ok((pipeline, closing))
    }

    fn simple_term(&self, item: &Item) -> Result<Term, Error> {
        let text = self.text(item);
        let number = |number: Result<_, String>| {
            number
                .map(Term::Number)
                .or_else(|message| self.fail(item.start, message))
        };
        match &item.token {
            Token::Dot => Ok(Term::Dot),
            Token::Keyword(_) => Ok(Term::Nil),
            Token::Bool(value) => Ok(Term::Bool(*value)),
            Token::Number => number(literal::number(text)),
            Token::Character => number(literal::character(text)),
            Token::String | Token::RawString => Ok(Term::String(self.string(item)?)),
            Token::Variable if self.variables.iter().any(|name| **name == *text) => {
                Ok(Term::Variable(text.into()))
            }
            Token::Variable => self.fail(item.start, format!("undefined variable {text:?}")),
            Token::Identifier => match (self.function)(text) {
                Some(function) => Ok(Term::Function(function)),
                None => self.fail(item.start, format!("function {text:?} not defined")),
            },
            _ => self.unexpected(item, "operand"),
        }
    }
}

/// What an action turned out to be.
enum Parsed {
    Node(Node),
    /// An `end` or `else`, and where it stands.
    ListEnd(ListEnd, usize),
}

const fn span(item: &Item) -> Span {
    Span {
        start: item.start,
        end: item.end,
    }
}

const fn begins_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Bool(_)
            | Token::Character
            | Token::Dot
            | Token::Field
            | Token::Identifier
            | Token::Number
            | Token::Keyword(Keyword::Nil)
            | Token::RawString
            | Token::String
            | Token::Variable
            | Token::LeftParen
    )
}

const fn takes_no_fields(term: &Term) -> bool {
    matches!(
        term,
        Term::Dot | Term::Nil | Term::Bool(_) | Term::Number(_) | Term::String(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtins::BUILTINS;

    fn check(text: &str) -> Result<Vec<String>, String> {
        let source = Arc::new(Source {
            file: "f".into(),
            text: text.into(),
        });
        let function = |name: &str| BUILTINS.iter().find(|function| function.name == name);
        parse(&source, &"f".into(), &function, &["$labels"])
            .map(|trees| trees.iter().map(|tree| tree.name.to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn definitions_become_trees() {
        let text = r#"{{define "a"}}x{{end}}{{block "b" .}}{{block "c" .}}y{{end}}{{end}}{{template "a"}}"#;
        assert_eq!(check(text).unwrap(), ["f", "a", "c", "b"]);
    }

    #[test]
    fn what_is_well_formed_is_taken() {
        let texts = [
            "{{if .A}}a{{else if .B}}b{{else}}c{{end}}",
            "{{with $x := .A}}{{$x}}{{else with .B}}{{.}}{{$x}}{{else}}c{{end}}",
            "{{range $i, $x := .}}{{if eq $i 1}}{{break}}{{end}}{{continue}}{{else}}none{{end}}",
            "{{range $i, $x := .}}{{break}}{{end}}",
            "{{(len .A).B | printf \"%d\"}}",
            "{{printf \"%s\" $labels.instance}}",
            "{{$x := 1}}{{$x = 2}}{{$x}}",
            "{{range 3}}{{.}}{{end}}",
            "{{printf `a` (nil)}}",
        ];
        for text in texts {
            assert!(check(text).is_ok(), "{text}: {:?}", check(text));
        }
    }

    #[test]
    fn mistakes_say_where_and_what() {
        let cases = [
            ("a\n{{.A | foo}}", "f:2:8: function \"foo\" not defined"),
            ("{{$y}}", "f:1:3: undefined variable \"$y\""),
            ("{{if .A}}", "f:1:10: unexpected EOF"),
            ("{{end}}", "f:1:3: unexpected {{end}}"),
            (
                "{{if .A}}{{else}}{{else}}{{end}}",
                "f:1:20: expected end; found {{else}}",
            ),
            ("{{break}}", "f:1:3: {{break}} outside {{range}}"),
            (
                "{{range .}}{{define \"a\"}}{{end}}{{end}}",
                "f:1:14: unexpected \"define\" in command",
            ),
            ("{{}}", "f:1:3: missing value for command"),
            ("{{if}}{{end}}", "f:1:5: missing value for if"),
            (
                "{{.A | 3}}",
                "f:1:8: non executable command in pipeline stage 2",
            ),
            ("{{true.A}}", "f:1:3: unexpected . after term \"true\""),
            ("{{$x, $y := .}}", "f:1:3: too many declarations in command"),
            ("{{printf \"a\"\"b\"}}", "f:1:13: unexpected"),
            (
                "{{define \"a\"}}x{{end}}{{define \"a\"}}y{{end}}",
                "f:1:32: multiple definition of template \"a\"",
            ),
            ("é{{,}}", "f:1:4: unexpected \",\" in command"),
        ];
        for (text, expected) in cases {
            let error = check(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn hostile_nesting_is_refused() {
        for text in [
            "{{if .}}".repeat(100_000),
            format!("{{{{{}", "(".repeat(100_000)),
            "{{block \"a\" .}}".repeat(100_000),
            format!("{{{{if .}}}}{}", "{{else if .}}".repeat(10_000)),
        ] {
            assert!(check(&text).is_err());
        }
    }
}
