//! What a parsed template is made of.

use std::sync::Arc;

use crate::error::Source;
use crate::function::Function;
use crate::html::{Escaper, Rewrite};

/// Where a node stands in its text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One template: the body of a text, of a `define` or of a `block`.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<Source>,
    pub(crate) body: Vec<Node>,
}

impl Tree {
    pub(crate) fn empty(name: &str) -> Self {
        let name: Arc<str> = name.into();
        let text = "".into();
        let source = Arc::new(Source {
            file: Arc::clone(&name),
            text,
        });
        Self {
            name,
            source,
            body: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Where it begins, and what it is.
    Text(usize, Arc<str>),
    Action {
        pipeline: Arc<Pipeline>,
        /// What makes the value safe where it is written; empty in text templates.
        escapers: Vec<Escaper>,
        /// What the escapers do in place of the pipeline's last command.
        rewrite: Rewrite,
    },
    If(Branch),
    With(Branch),
    Range(Span, Branch),
    Template(Call),
    Break,
    Continue,
}

/// `if`, `with` or `range` with what follows `else`.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// The first, and one for each `else if` or `else with`. A `range` has one.
    pub(crate) arms: Vec<Arm>,
    pub(crate) otherwise: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(crate) struct Arm {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) body: Vec<Node>,
}

/// `{{template "name" pipeline}}`.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) span: Span,
    pub(crate) name: Arc<str>,
    pub(crate) pipeline: Option<Arc<Pipeline>>,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) span: Span,
    /// Variables that are declared or assigned; more than one only in a `range`.
    pub(crate) variables: Vec<Arc<str>>,
    /// Whether the variables exist already (`=`).
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) span: Span,
    /// Never empty; the first may be a function or method that takes the rest.
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) span: Span,
    pub(crate) term: Term,
    /// `.a.b` behind the term.
    pub(crate) fields: Vec<Arc<str>>,
}

#[derive(Debug)]
pub(crate) enum Term {
    /// `.`, or the start of `.a.b`.
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Variable(Arc<str>),
    Function(&'static Function),
    Pipeline(Box<Pipeline>),
}

/// A constant, which takes the type that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number {
    /// Its value when it is a whole number that fits.
    pub(crate) int: Option<i64>,
    pub(crate) float: f64,
    /// Whether it is a float where no type is asked for: it is written with a point or an exponent.
    pub(crate) is_float: bool,
}

/// Whether nothing but space and definitions is in `body`: such a template does not replace one of its name.
pub(crate) fn is_empty(body: &[Node]) -> bool {
    body.iter()
        .all(|node| matches!(node, Node::Text(_, text) if text.trim().is_empty()))
}
