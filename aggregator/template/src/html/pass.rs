//! The pass that gives every action its escapers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Rewrite;
use super::context::{Context, Delimiter, Slash, State, UrlPart};
use super::escapers::Escaper;
use super::transition::Scanner;
use crate::ast::{Arm, Branch, Call, Command, Node, Pipeline, Span, Term, Tree};
use crate::error::{Error, ErrorKind};

/// The deepest nesting of templates and actions within each other.
const DEPTH_MAX: usize = 128;
/// Nodes that one pass may visit: templates are visited once for each context, bodies of loops up to twice.
const VISITS_MAX: usize = 1_000_000;

type Trees = BTreeMap<Arc<str>, Arc<Tree>>;

/// What comes out.
pub(crate) struct Escaped {
    pub(crate) root: Arc<Tree>,
    /// The templates that are needed.
    pub(crate) trees: Trees,
    /// Those that cannot be made safe on their own, and why.
    pub(crate) failed: BTreeMap<Arc<str>, Error>,
}

/// Makes `root` safe and the templates that it calls; with `all` the others as well, for functions that render by name.
pub(crate) fn escape(root: &Arc<Tree>, trees: &Trees, all: bool) -> Result<Escaped, Error> {
    let mut pass = Pass {
        trees,
        made: Trees::new(),
        ends: BTreeMap::new(),
        entered: Vec::new(),
        called: BTreeSet::new(),
        loops: Vec::new(),
        depth: 0,
        visits: 0,
    };
    let escaped = pass.whole(root)?;
    let mut failed = BTreeMap::new();
    if all {
        for (name, tree) in trees {
            let mark = pass.entered.len();
            match pass.whole(tree) {
                Ok(tree) => {
                    pass.made.insert(Arc::clone(name), tree);
                }
                Err(error) => {
                    pass.forget(mark);
                    failed.insert(Arc::clone(name), error);
                }
            }
        }
    }
    Ok(Escaped {
        root: escaped,
        trees: pass.made,
        failed,
    })
}

struct Pass<'t> {
    trees: &'t Trees,
    /// Escaped templates, under their names and what is added for contexts other than text.
    made: Trees,
    /// Where these end; while a template is being escaped, what is assumed.
    ends: BTreeMap<Arc<str>, Context>,
    /// The keys of `ends` in the order in which they came.
    entered: Vec<Arc<str>>,
    called: BTreeSet<Arc<str>>,
    /// For each loop around this: contexts at its `break` and `continue`.
    loops: Vec<Vec<Context>>,
    depth: usize,
    visits: usize,
}

impl Pass<'_> {
    /// Escapes a template that begins and ends in text.
    fn whole(&mut self, tree: &Arc<Tree>) -> Result<Arc<Tree>, Error> {
        self.depth = 0;
        self.loops.clear();
        let (body, end) = self.list(tree, Context::default(), &tree.body)?;
        if end.state != State::Text && end.state != State::Dead {
            return Err(fail(
                tree,
                0,
                format!(
                    "{:?} ends in a non-text context: {:?}",
                    tree.name, end.state
                ),
            ));
        }
        Ok(Arc::new(Tree {
            body,
            ..Tree::clone(tree)
        }))
    }

    fn list(
        &mut self,
        tree: &Tree,
        start: Context,
        nodes: &[Node],
    ) -> Result<(Vec<Node>, Context), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(tree.source.error(
                ErrorKind::Limit,
                0,
                format!("templates are nested more than {DEPTH_MAX} deep"),
            ));
        }
        let mut escaped = Vec::with_capacity(nodes.len());
        let mut context = start;
        for node in nodes {
            self.visits += 1;
            if self.visits > VISITS_MAX {
                return Err(tree.source.error(
                    ErrorKind::Limit,
                    0,
                    "templates are too large to be escaped",
                ));
            }
            let (node, next) = self.node(tree, context, node)?;
            escaped.push(node);
            context = next;
            if context.state == State::Dead {
                break;
            }
        }
        self.depth -= 1;
        Ok((escaped, context))
    }

    fn node(
        &mut self,
        tree: &Tree,
        context: Context,
        node: &Node,
    ) -> Result<(Node, Context), Error> {
        Ok(match node {
            Node::Text(at, text) => {
                let (text, next) =
                    escape_text(context, text).map_err(|message| fail(tree, *at, message))?;
                (Node::Text(*at, text.into()), next)
            }
            Node::Action { pipeline, .. } => {
                let (escapers, rewrite, next) = action(context, pipeline)
                    .map_err(|message| fail(tree, pipeline.span.start, message))?;
                let node = Node::Action {
                    pipeline: Arc::clone(pipeline),
                    escapers,
                    rewrite,
                };
                (node, next)
            }
            Node::If(branch) => {
                let (branch, next) = self.branch(tree, context, branch, "if")?;
                (Node::If(branch), next)
            }
            Node::With(branch) => {
                let (branch, next) = self.branch(tree, context, branch, "with")?;
                (Node::With(branch), next)
            }
            Node::Range(span, branch) => {
                let (branch, next) = self.range(tree, context, branch, *span)?;
                (Node::Range(*span, branch), next)
            }
            Node::Template(call) => {
                let (name, next) = self.call(tree, context, call)?;
                let call = Call {
                    name,
                    ..call.clone()
                };
                (Node::Template(call), next)
            }
            Node::Break | Node::Continue => {
                if let Some(ends) = self.loops.last_mut() {
                    ends.push(context);
                }
                (node.clone(), Context::of(State::Dead))
            }
        })
    }

    fn branch(
        &mut self,
        tree: &Tree,
        start: Context,
        branch: &Branch,
        name: &str,
    ) -> Result<(Branch, Context), Error> {
        let (otherwise, mut end) = self.list(tree, start.clone(), &branch.otherwise)?;
        let mut arms = Vec::with_capacity(branch.arms.len());
        for arm in branch.arms.iter().rev() {
            let (body, arm_end) = self.list(tree, start.clone(), &arm.body)?;
            end = join(tree, arm.pipeline.span, &arm_end, &end, name)?;
            arms.push(Arm {
                pipeline: Arc::clone(&arm.pipeline),
                body,
            });
        }
        arms.reverse();
        Ok((Branch { arms, otherwise }, end))
    }

    /// A loop's body may run once, again, or not at all: it has to end where it began, or where it ends from there.
    fn range(
        &mut self,
        tree: &Tree,
        start: Context,
        branch: &Branch,
        span: Span,
    ) -> Result<(Branch, Context), Error> {
        let mut arms = Vec::new();
        let mut end = start.clone();
        for arm in &branch.arms {
            let (body, once) = self.iteration(tree, start.clone(), &arm.body, span)?;
            end = once;
            if end != start {
                let (_, again) = self.iteration(tree, end.clone(), &arm.body, span)?;
                end = join(tree, span, &end, &again, "range").map_err(|error| Error {
                    message: format!("on range loop re-entry: {}", error.message),
                    ..error
                })?;
            }
            arms.push(Arm {
                pipeline: Arc::clone(&arm.pipeline),
                body,
            });
        }
        let (otherwise, other_end) = self.list(tree, start, &branch.otherwise)?;
        let end = join(tree, span, &end, &other_end, "range")?;
        Ok((Branch { arms, otherwise }, end))
    }

    fn iteration(
        &mut self,
        tree: &Tree,
        start: Context,
        body: &[Node],
        span: Span,
    ) -> Result<(Vec<Node>, Context), Error> {
        self.loops.push(Vec::new());
        let (body, mut end) = self.list(tree, start, body)?;
        for left in self.loops.pop().unwrap_or_default() {
            end = join(tree, span, &end, &left, "range").map_err(|error| Error {
                message: format!("at range loop break or continue: {}", error.message),
                ..error
            })?;
        }
        Ok((body, end))
    }

    /// Escapes a template for the place where it is called. Returns its name for that place, and where it ends.
    fn call(
        &mut self,
        tree: &Tree,
        context: Context,
        call: &Call,
    ) -> Result<(Arc<str>, Context), Error> {
        let key: Arc<str> = if context == Context::default() {
            Arc::clone(&call.name)
        } else {
            format!("{}${context:?}", call.name).into()
        };
        self.called.insert(Arc::clone(&key));
        if let Some(end) = self.ends.get(&key) {
            return Ok((key, end.clone()));
        }
        let Some(callee) = self.trees.get(&call.name).map(Arc::clone) else {
            return Err(fail(
                tree,
                call.span.start,
                format!("no such template {:?}", call.name),
            ));
        };
        let loops = std::mem::take(&mut self.loops);
        let end = self.callee(&callee, &key, context)?;
        self.loops = loops;
        Ok((key, end))
    }

    /// Takes back where templates end that were entered since: what was found out under a wrong assumption may be wrong.
    fn forget(&mut self, mark: usize) {
        for key in self.entered.drain(mark..) {
            self.ends.remove(&key);
        }
    }

    /// Where a template ends that calls itself depends on where it ends: first that is assumed to be where it begins, then where it
    /// ended under that assumption.
    fn callee(
        &mut self,
        callee: &Arc<Tree>,
        key: &Arc<str>,
        start: Context,
    ) -> Result<Context, Error> {
        let mut assumed = start.clone();
        for _ in 0..2 {
            let mark = self.entered.len();
            self.entered.push(Arc::clone(key));
            self.ends.insert(Arc::clone(key), assumed.clone());
            self.called.remove(key);
            let (body, end) = self.list(callee, start.clone(), &callee.body)?;
            if end == assumed || !self.called.contains(key) {
                self.ends.insert(Arc::clone(key), end.clone());
                let tree = Tree {
                    body,
                    ..Tree::clone(callee)
                };
                self.made.insert(Arc::clone(key), Arc::new(tree));
                return Ok(end);
            }
            self.forget(mark);
            assumed = end;
        }
        Err(fail(
            callee,
            0,
            format!(
                "cannot compute output context for template {:?}",
                callee.name
            ),
        ))
    }
}

fn fail(tree: &Tree, at: usize, message: impl Into<String>) -> Error {
    tree.source.error(ErrorKind::Escaping, at, message)
}

fn join(tree: &Tree, span: Span, a: &Context, b: &Context, name: &str) -> Result<Context, Error> {
    a.joined(b).ok_or_else(|| {
        let message = format!(
            "{{{{{name}}}}} branches end in different contexts: {:?}, {:?}",
            a.state, b.state
        );
        fail(tree, span.start, message)
    })
}

/// Returns the escapers of an action, what they take over from its pipeline, and the context behind it.
fn action(
    context: Context,
    pipeline: &Pipeline,
) -> Result<(Vec<Escaper>, Rewrite, Context), String> {
    if !pipeline.variables.is_empty() {
        return Ok((Vec::new(), Rewrite::Nothing, context));
    }
    let mut context = context.nudged();
    check_functions(pipeline, &context)?;
    let mut escapers = Vec::new();
    match context.state {
        State::Text => escapers.push(Escaper::Html),
        State::PlainContent => escapers.push(Escaper::PlainContent),
        State::Tag | State::AttributeName | State::AfterName | State::BeforeValue => {
            context.state = State::AttributeName;
            escapers.push(Escaper::AttributeName);
        }
        // Escaped as the attribute that it is, below.
        State::Attribute | State::MetaContent | State::Dead => {}
        State::MetaUrl => escapers.push(Escaper::UrlFilter),
        State::Url | State::CssString(_) | State::CssUrl(_) => {
            url_escapers(&context, &mut escapers)?
        }
        State::Srcset => escapers.push(Escaper::Srcset),
        State::Js => {
            escapers.push(Escaper::JsValue);
            // Behind a value, a slash divides.
            context.slash = Slash::Division;
        }
        State::JsString(_) => escapers.push(Escaper::JsString),
        State::JsTemplate => escapers.push(Escaper::JsTemplate),
        State::JsRegexp => escapers.push(Escaper::JsRegexp),
        State::Css => escapers.push(Escaper::CssValue),
        State::Comment
        | State::JsBlockComment
        | State::JsLineComment
        | State::JsOpenComment
        | State::JsCloseComment
        | State::CssBlockComment
        | State::CssLineComment => escapers.push(Escaper::Comment),
    }
    match context.delimiter {
        Delimiter::None => {}
        Delimiter::SpaceOrTagEnd => escapers.push(Escaper::UnquotedAttribute),
        Delimiter::Quote(_) => escapers.push(Escaper::Attribute),
    }
    let (escapers, rewrite) = merged(pipeline, &escapers);
    Ok((escapers, rewrite, context))
}

fn url_escapers(context: &Context, escapers: &mut Vec<Escaper>) -> Result<(), String> {
    let normalizer = match context.state {
        State::CssString(_) => Escaper::CssString,
        _ => Escaper::UrlNormalizer,
    };
    match context.url_part {
        UrlPart::None => escapers.extend([Escaper::UrlFilter, normalizer]),
        UrlPart::BeforeQuery => escapers.push(normalizer),
        UrlPart::QueryOrFragment => escapers.push(Escaper::UrlQuery),
        UrlPart::Unknown => {
            return Err("the action appears in an ambiguous context within a URL".to_owned());
        }
    }
    Ok(())
}

/// Escaping functions may only come last, where they can be told from those added here.
fn check_functions(pipeline: &Pipeline, context: &Context) -> Result<(), String> {
    let last = pipeline.commands.len().saturating_sub(1);
    for (index, command) in pipeline.commands.iter().enumerate() {
        let Some(name) = escaping_function(command) else {
            continue;
        };
        let unquoted_html = name == "html"
            && context.state == State::Attribute
            && context.delimiter == Delimiter::SpaceOrTagEnd;
        if index < last || unquoted_html {
            return Err(format!(
                "predefined escaper {name:?} disallowed in template"
            ));
        }
    }
    Ok(())
}

fn escaping_function(command: &Command) -> Option<&'static str> {
    match &command.operands.first()?.term {
        Term::Function(function) => ["html", "urlquery"]
            .into_iter()
            .find(|name| *name == function.name),
        _ => None,
    }
}

/// Returns the escapers to apply, without those that have nothing to do; an escaping function at the end of the pipeline takes the
/// place of one that it is as good as.
fn merged(pipeline: &Pipeline, escapers: &[Escaper]) -> (Vec<Escaper>, Rewrite) {
    let last = pipeline.commands.last();
    let function = last.and_then(escaping_function);
    let mut rewrite = Rewrite::Nothing;
    let mut merged: Vec<Escaper> = Vec::with_capacity(escapers.len());
    for escaper in escapers {
        let mut escaper = *escaper;
        if let Some(name) = function.filter(|name| escaper.function() == Some(name)) {
            rewrite = if pipeline.commands.len() > 1 {
                Rewrite::WithoutLast
            } else {
                Rewrite::ArgumentsOnly
            };
            escaper = if name == "html" {
                Escaper::HtmlFunction
            } else {
                Escaper::UrlQueryFunction
            };
        }
        if !merged.last().is_some_and(|before| before.covers(escaper)) {
            merged.push(escaper);
        }
    }
    (merged, rewrite)
}

/// Returns a text without comments, with `<` escaped where it begins no tag, and the context behind it.
fn escape_text(start: Context, text: &str) -> Result<(String, Context), String> {
    let mut out = String::with_capacity(text.len());
    let mut context = start;
    let mut scanner = Scanner::new(text);
    while !scanner.is_done() {
        let (next, read) = scanner.advance(&context)?;
        let is_comment = context.state.is_comment() && context.delimiter == Delimiter::None;
        let begins_comment = next.state != context.state
            && next.state.is_comment()
            && next.delimiter == Delimiter::None;
        let kept = if begins_comment {
            read.get(..read.len() - opening_bytes(next.state))
                .unwrap_or_default()
        } else {
            read
        };
        if is_comment {
            out.push_str(in_place_of_comment(context.state, read));
        } else if matches!(context.state, State::Text | State::PlainContent) {
            let tag = if next.state == context.state {
                None
            } else {
                read.rfind('<')
            };
            let (plain, tag) = kept.split_at(tag.unwrap_or(kept.len()).min(kept.len()));
            escape_open_brackets(&mut out, plain);
            out.push_str(tag);
        } else if context.state.is_script_literal() {
            escape_script_tags(&mut out, kept);
        } else {
            out.push_str(kept);
        }
        debug_assert!(!read.is_empty() || next != context, "reading goes on");
        context = next;
    }
    Ok((out, context))
}

const fn opening_bytes(comment: State) -> usize {
    match comment {
        State::Comment | State::JsOpenComment => 4,
        State::JsCloseComment => 3,
        _ => 2,
    }
}

/// A comment of a script or style sheet separates words; one with a line break counts as a line break.
fn in_place_of_comment(state: State, comment: &str) -> &'static str {
    match state {
        State::JsBlockComment if comment.contains(['\n', '\r', '\u{2028}', '\u{2029}']) => "\n",
        State::JsBlockComment | State::CssBlockComment => " ",
        _ => "",
    }
}

fn escape_open_brackets(out: &mut String, text: &str) {
    for (index, part) in text.split('<').enumerate() {
        if index > 0 {
            let is_doctype = part
                .get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case("!DOCTYPE"));
            out.push_str(if is_doctype { "<" } else { "&lt;" });
        }
        out.push_str(part);
    }
}

/// Tags in literals of scripts end the script in some browsers.
fn escape_script_tags(out: &mut String, text: &str) {
    for (index, part) in text.split('<').enumerate() {
        if index > 0 {
            let is_tag = ["script", "/script", "!--"].iter().any(|tag| {
                part.get(..tag.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(tag))
            });
            out.push_str(if is_tag { "\\x3C" } else { "<" });
        }
        out.push_str(part);
    }
}
