//! Executing: walks a tree, evaluates its pipelines and writes what comes out.
//!
//! Every node, operand and iteration costs a step, as does every [`BYTES_PER_STEP`] bytes that a function makes; output and depth are
//! bounded as well. A template can thus cost no more than its [`Limits`], whatever it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;

use crate::ast::{Arm, Branch, Call, Command, Node, Number, Operand, Pipeline, Span, Term, Tree};
use crate::environment::Environment;
use crate::error::{Error, Failure};
use crate::format::{self, Bounded};
use crate::function::{Function, Kind};
use crate::html::Rewrite;
use crate::templates::Program;
use crate::time::{DURATION_METHODS, Duration, TIME_METHODS};
use crate::value::{Value, int};

/// What one rendering may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes, operands and iterations.
    pub steps: u64,
    /// Bytes of the output, and of every text that a function makes.
    pub output_bytes: usize,
}

impl Default for Limits {
    /// Enough for an e-mail about 3,000 alerts with twenty labels and annotations each, in Alertmanager's own form; about a
    /// second of work at most.
    fn default() -> Self {
        Self {
            steps: 10_000_000,
            output_bytes: 16 * 1024 * 1024,
        }
    }
}

/// The deepest nesting of bodies, parentheses and templates in execution. A level takes up to 6 KB of stack in builds for debugging.
pub const DEPTH_MAX: usize = 128;
/// How much of the text a message shows.
const CONTEXT_CHARACTERS: usize = 60;
/// Bytes that cost a step.
const BYTES_PER_STEP: usize = 16;
/// The deepest nesting of templates that functions render.
const RENDERINGS_MAX: usize = 10;

/// How a list of nodes was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One template that is being executed.
struct Frame<'t> {
    tree: &'t Tree,
    /// Those in scope, the innermost last.
    variables: Vec<(Arc<str>, Value)>,
}

impl Frame<'_> {
    fn fail(&self, span: Span, failure: impl Into<Failure>) -> Error {
        let failure = failure.into();
        let source = &self.tree.source;
        let text = self.shown(span).trim_end();
        let context = match text.char_indices().nth(CONTEXT_CHARACTERS) {
            Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
            None => text.to_owned(),
        };
        let message = format!(
            "executing {:?} at <{context}>: {}",
            self.tree.name, failure.message
        );
        source.error(failure.kind, span.start, message)
    }

    /// Returns the text at `span`.
    fn shown(&self, span: Span) -> &str {
        let text = self.tree.source.text.get(span.start..span.end);
        text.unwrap_or_default()
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| **known == *name);
        found.map(|(_, value)| value)
    }

    fn assign(&mut self, name: &str, value: Value) -> Result<(), String> {
        let found = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| **known == *name);
        match found {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => Err(format!("undefined variable: {name}")),
        }
    }
}

/// One rendering.
pub(crate) struct Machine<'m> {
    program: &'m Program,
    environment: &'m mut dyn Environment,
    limits: Limits,
    steps_left: u64,
    depth: usize,
    out: Bounded,
    /// What the outermost template was given.
    data: &'m Value,
    /// Names of route labels that are being rendered, the outermost first.
    pub(crate) route_labels: Vec<Arc<str>>,
    renderings: usize,
    /// Expressions that are compiled, by their text.
    pub(crate) regexes: BTreeMap<String, Regex>,
}

impl std::fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("steps_left", &self.steps_left)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

/// Renders the root of `program` with `data`; `variables` are those that it was compiled with.
pub(crate) fn render(
    program: &Program,
    data: &Value,
    variables: &[Value],
    environment: &mut dyn Environment,
    limits: Limits,
) -> Result<String, Error> {
    let mut machine = Machine {
        program,
        environment,
        limits,
        steps_left: limits.steps,
        depth: 0,
        out: Bounded::new(limits.output_bytes),
        data,
        route_labels: Vec::new(),
        renderings: 0,
        regexes: BTreeMap::new(),
    };
    machine.run(&program.root, data, variables)?;
    Ok(machine.out.finish().unwrap_or_default())
}

impl<'m> Machine<'m> {
    pub(crate) fn environment(&mut self) -> &mut dyn Environment {
        &mut *self.environment
    }

    pub(crate) const fn data(&self) -> &Value {
        self.data
    }

    /// Returns an empty text that can grow as long as texts may be.
    pub(crate) const fn new_text(&self) -> Bounded {
        Bounded::new(self.limits.output_bytes)
    }

    /// Returns `text` as a value, and charges for it.
    pub(crate) fn take_text(&mut self, text: Bounded) -> Result<Value, Failure> {
        let limit = self.limits.output_bytes;
        let text = text.finish().ok_or_else(|| {
            Failure::limit(format!("a text is longer than the {limit} bytes allowed"))
        })?;
        self.take_string(text)
    }

    pub(crate) fn take_string(&mut self, text: String) -> Result<Value, Failure> {
        self.charge_bytes(text.len())?;
        Ok(Value::from(text))
    }

    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Failure> {
        self.charge(u64::try_from(bytes / BYTES_PER_STEP).unwrap_or(u64::MAX))
    }

    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), Failure> {
        let limit = self.limits.steps;
        self.steps_left = self
            .steps_left
            .checked_sub(steps)
            .ok_or_else(|| Failure::limit(format!("more than the {limit} steps allowed")))?;
        Ok(())
    }

    /// Renders the named template with `data`, as a function's result.
    pub(crate) fn render_named(&mut self, name: &str, data: &Value) -> Result<String, Failure> {
        let program = self.program;
        match (program.trees.get(name), program.unsafe_trees.get(name)) {
            (Some(tree), _) => self.nested(program, tree, data),
            (None, Some(error)) => Err(error.clone().into()),
            (None, None) => Err(format!(
                "template: no template {name:?} associated with template {:?}",
                program.root.name
            )
            .into()),
        }
    }

    /// Renders `text`, which may use the templates at hand, with the data of the outermost template.
    pub(crate) fn render_text(&mut self, text: &str) -> Result<String, Failure> {
        self.charge_bytes(text.len())?;
        let program = self
            .program
            .templates
            .compile("", text, self.program.mode, &[])?;
        let data = self.data;
        self.nested(&program, &program.root, data)
    }

    fn nested(&mut self, program: &Program, tree: &Tree, data: &Value) -> Result<String, Failure> {
        if self.renderings >= RENDERINGS_MAX {
            return Err(Failure::limit(format!(
                "templates are rendered by functions more than {RENDERINGS_MAX} deep"
            )));
        }
        let mut inner = Machine {
            program,
            environment: &mut *self.environment,
            limits: self.limits,
            steps_left: self.steps_left,
            depth: self.depth,
            out: Bounded::new(self.limits.output_bytes),
            data: self.data,
            route_labels: std::mem::take(&mut self.route_labels),
            renderings: self.renderings + 1,
            regexes: std::mem::take(&mut self.regexes),
        };
        let result = inner.run(tree, data, &[]);
        self.steps_left = inner.steps_left;
        let text = inner.out.finish();
        self.route_labels = inner.route_labels;
        self.regexes = inner.regexes;
        result?;
        Ok(text.unwrap_or_default())
    }

    fn run(&mut self, tree: &Tree, data: &Value, variables: &[Value]) -> Result<(), Error> {
        let names = self.program.variables.iter().map(Arc::clone);
        let values = std::iter::once(data).chain(variables);
        let mut frame = Frame {
            tree,
            variables: names.zip(values.cloned()).collect(),
        };
        self.walk(&mut frame, data, &tree.body).map(|_flow| ())
    }

    fn step(&mut self, frame: &Frame<'_>, span: Span) -> Result<(), Error> {
        self.charge(1).map_err(|failure| frame.fail(span, failure))
    }

    fn enter(&mut self, frame: &Frame<'_>, span: Span) -> Result<(), Error> {
        self.step(frame, span)?;
        if self.depth >= DEPTH_MAX {
            return Err(frame.fail(
                span,
                Failure::limit(format!("exceeded maximum template depth ({DEPTH_MAX})")),
            ));
        }
        self.depth += 1;
        Ok(())
    }

    fn walk<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Value,
        nodes: &'t [Node],
    ) -> Result<Flow, Error> {
        for node in nodes {
            let flow = match node {
                Node::Text(at, text) => {
                    let span = Span {
                        start: *at,
                        end: *at,
                    };
                    self.step(frame, span)?;
                    self.write(frame, span, text)?;
                    Flow::Next
                }
                Node::Action {
                    pipeline,
                    escapers,
                    rewrite,
                } => {
                    let value = self.rewritten(frame, dot, pipeline, *rewrite)?;
                    if pipeline.variables.is_empty() {
                        self.print(frame, pipeline.span, value, escapers)?;
                    }
                    Flow::Next
                }
                Node::If(branch) => self.branch(frame, dot, branch, false)?,
                Node::With(branch) => self.branch(frame, dot, branch, true)?,
                Node::Range(_, branch) => self.range(frame, dot, branch)?,
                Node::Template(call) => self.template(frame, dot, call).map(|()| Flow::Next)?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, frame: &Frame<'_>, span: Span, text: &str) -> Result<(), Error> {
        self.out.push_str(text);
        if self.out.is_full() {
            let limit = self.limits.output_bytes;
            let failure = Failure::limit(format!(
                "the output is longer than the {limit} bytes allowed"
            ));
            return Err(frame.fail(span, failure));
        }
        Ok(())
    }

    fn print(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        value: Value,
        escapers: &[crate::html::Escaper],
    ) -> Result<(), Error> {
        let mut value = value;
        for escaper in escapers {
            let escaped = escaper.apply(&value, self.new_text());
            value = self
                .take_text(escaped)
                .map_err(|failure| frame.fail(span, failure))?;
        }
        match &value {
            Value::String(text) | Value::Safe(_, text) => self.write(frame, span, text),
            value => {
                let mut text = self.new_text();
                print_indirect(&mut text, value);
                let value = self
                    .take_text(text)
                    .map_err(|failure| frame.fail(span, failure))?;
                self.write(frame, span, value.text())
            }
        }
    }

    /// `if` and `with`.
    fn branch<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Value,
        branch: &'t Branch,
        sets_dot: bool,
    ) -> Result<Flow, Error> {
        let scope = frame.variables.len();
        let mut chosen = (&branch.otherwise, None);
        let mut last = Span::default();
        for Arm { pipeline, body } in &branch.arms {
            last = pipeline.span;
            let value = self.pipeline(frame, dot, pipeline)?;
            if value.is_true() {
                chosen = (body, sets_dot.then_some(value));
                break;
            }
        }
        let (body, value) = chosen;
        self.enter(frame, last)?;
        let flow = self.walk(frame, value.as_ref().unwrap_or(dot), body)?;
        self.depth -= 1;
        frame.variables.truncate(scope);
        Ok(flow)
    }

    fn range<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        dot: &Value,
        branch: &'t Branch,
    ) -> Result<Flow, Error> {
        let scope = frame.variables.len();
        let Some(Arm { pipeline, body }) = branch.arms.first() else {
            return Ok(Flow::Next);
        };
        let value = self.pipeline(frame, dot, pipeline)?;
        self.enter(frame, pipeline.span)?;
        let mut iteration = Iteration {
            pipeline,
            body,
            scope: frame.variables.len(),
            ran: false,
        };
        let flow = self.iterate(frame, &mut iteration, &value)?;
        let flow = if iteration.ran || flow != Flow::Next {
            Flow::Next
        } else {
            self.walk(frame, dot, &branch.otherwise)?
        };
        self.depth -= 1;
        frame.variables.truncate(scope);
        Ok(flow)
    }

    fn iterate<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        iteration: &mut Iteration<'t>,
        value: &Value,
    ) -> Result<Flow, Error> {
        match value {
            Value::List(list) => {
                for (index, item) in list.items.iter().enumerate() {
                    if !self.iteration(frame, iteration, int(index), item)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in map.entries.iter() {
                    if !self.iteration(frame, iteration, Value::String(Arc::clone(key)), item)? {
                        break;
                    }
                }
            }
            Value::Absent | Value::Nil => {}
            value => {
                let span = iteration.pipeline.span;
                let Some(count) = value.as_int() else {
                    let message = format!("range can't iterate over {}", shown(value));
                    return Err(frame.fail(span, message));
                };
                if iteration.pipeline.variables.len() > 1 {
                    let message = format!(
                        "can't use {} to iterate over more than one variable",
                        shown(value)
                    );
                    return Err(frame.fail(span, message));
                }
                for number in 0..count {
                    if !self.iteration(frame, iteration, Value::Absent, &Value::Int(number))? {
                        break;
                    }
                }
            }
        }
        Ok(Flow::Next)
    }

    /// Runs the body for one element. Returns whether there is to be another.
    fn iteration<'t>(
        &mut self,
        frame: &mut Frame<'t>,
        iteration: &mut Iteration<'t>,
        index: Value,
        item: &Value,
    ) -> Result<bool, Error> {
        let pipeline = iteration.pipeline;
        iteration.ran = true;
        self.step(frame, pipeline.span)?;
        let values = match pipeline.variables.len() {
            0 => Vec::new(),
            1 => vec![item.clone()],
            _ => vec![index, item.clone()],
        };
        let first = iteration.scope - if pipeline.assigns { 0 } else { values.len() };
        for (position, (name, value)) in pipeline.variables.iter().zip(values).enumerate() {
            if pipeline.assigns {
                frame
                    .assign(name, value)
                    .map_err(|message| frame.fail(pipeline.span, message))?;
            } else {
                frame.variables[first + position].1 = value;
            }
        }
        let flow = self.walk(frame, item, iteration.body)?;
        frame.variables.truncate(iteration.scope);
        Ok(flow != Flow::Break)
    }

    fn template(&mut self, frame: &mut Frame<'_>, dot: &Value, call: &Call) -> Result<(), Error> {
        let program = self.program;
        let Some(tree) = program.trees.get(&*call.name) else {
            return Err(frame.fail(call.span, format!("template {:?} not defined", call.name)));
        };
        self.enter(frame, call.span)?;
        let data = match &call.pipeline {
            Some(pipeline) => self.pipeline(frame, dot, pipeline)?,
            None => Value::Absent,
        };
        let mut inner = Frame {
            tree,
            variables: vec![(self.program.dollar(), data.clone())],
        };
        self.walk(&mut inner, &data, &tree.body)?;
        self.depth -= 1;
        Ok(())
    }

    /// Evaluates a pipeline of which the escaping may have taken the last command over.
    fn rewritten(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        pipeline: &Pipeline,
        rewrite: Rewrite,
    ) -> Result<Value, Error> {
        match rewrite {
            Rewrite::Nothing => self.pipeline(frame, dot, pipeline),
            Rewrite::WithoutLast => {
                let kept = pipeline.commands.len() - 1;
                self.commands(frame, dot, pipeline.span, &pipeline.commands[..kept])
            }
            Rewrite::ArgumentsOnly => {
                let mut values = Vec::new();
                for operand in pipeline
                    .commands
                    .iter()
                    .flat_map(|command| &command.operands[1..])
                {
                    values.push(self.argument(frame, dot, operand, Kind::Any)?);
                }
                let mut text = self.new_text();
                print_all_indirect(&mut text, &values);
                self.take_text(text)
                    .map_err(|failure| frame.fail(pipeline.span, failure))
            }
        }
    }

    fn pipeline(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        pipeline: &Pipeline,
    ) -> Result<Value, Error> {
        let value = self.commands(frame, dot, pipeline.span, &pipeline.commands)?;
        for name in &pipeline.variables {
            if pipeline.assigns {
                frame
                    .assign(name, value.clone())
                    .map_err(|message| frame.fail(pipeline.span, message))?;
            } else {
                frame.variables.push((Arc::clone(name), value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        span: Span,
        commands: &[Command],
    ) -> Result<Value, Error> {
        self.enter(frame, span)?;
        let mut value = None;
        for command in commands {
            value = Some(match self.command(frame, dot, command, value)? {
                Value::Nil => Value::Absent,
                value => value,
            });
        }
        self.depth -= 1;
        Ok(value.unwrap_or_default())
    }

    /// `last` is what the command before has given: it becomes the last argument.
    fn command(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        command: &Command,
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let Some((operand, args)) = command.operands.split_first() else {
            return Ok(Value::Absent);
        };
        self.step(frame, operand.span)?;
        if let (Term::Function(name), []) = (&operand.term, &operand.fields[..]) {
            return self.function(frame, dot, command.span, name, args, last);
        }
        if !operand.fields.is_empty() {
            return self.chain(frame, dot, operand, args, last);
        }
        if !args.is_empty() || last.is_some() {
            let text = frame.shown(operand.span);
            return Err(frame.fail(
                operand.span,
                format!("can't give argument to non-function {text}"),
            ));
        }
        match &operand.term {
            Term::Nil => Err(frame.fail(operand.span, "nil is not a command")),
            _ => self.term(frame, dot, operand),
        }
    }

    /// Evaluates the term of `operand` without its fields; constants take the type that their form suggests.
    fn term(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        operand: &Operand,
    ) -> Result<Value, Error> {
        match &operand.term {
            Term::Dot => Ok(dot.clone()),
            Term::Nil => Ok(Value::Nil),
            Term::Bool(truth) => Ok(Value::Bool(*truth)),
            Term::String(text) => Ok(Value::String(Arc::clone(text))),
            Term::Number(number) => match constant(*number) {
                Some(value) => Ok(value),
                None => {
                    let message = format!("{} overflows int", frame.shown(operand.span));
                    Err(frame.fail(operand.span, message))
                }
            },
            Term::Variable(name) => match frame.variable(name) {
                Some(value) => Ok(value.clone()),
                None => Err(frame.fail(operand.span, format!("undefined variable: {name}"))),
            },
            Term::Function(name) => self.function(frame, dot, operand.span, name, &[], None),
            Term::Pipeline(pipeline) => self.pipeline(frame, dot, pipeline),
        }
    }

    /// Evaluates a term with fields; the last of them may be a method that takes arguments.
    fn chain(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        operand: &Operand,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let mut receiver = self.term(frame, dot, operand)?;
        let Some((final_field, fields)) = operand.fields.split_last() else {
            return Ok(receiver);
        };
        for field in fields {
            receiver = self.field(frame, dot, operand.span, receiver, field, &[], None)?;
        }
        self.field(frame, dot, operand.span, receiver, final_field, args, last)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "where it is evaluated, what of which, and with what"
    )]
    fn field(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        span: Span,
        receiver: Value,
        name: &str,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        self.step(frame, span)?;
        let methods: &'static [Function] = match &receiver {
            Value::Absent => return Ok(Value::Absent),
            Value::Nil => {
                return Err(frame.fail(
                    span,
                    format!("nil pointer evaluating interface {{}}.{name}"),
                ));
            }
            Value::Time(_) => TIME_METHODS,
            Value::Duration(_) => DURATION_METHODS,
            Value::List(list) => list.kind.methods,
            Value::Map(map) => map.kind.methods,
            _ => &[],
        };
        if let Some(method) = methods.iter().find(|method| method.name == name) {
            return self.call(frame, dot, span, method, Some(receiver), args, last);
        }
        let has_args = !args.is_empty() || last.is_some();
        match &receiver {
            Value::Map(_) if has_args => {
                Err(frame.fail(span, format!("{name} is not a method but has arguments")))
            }
            Value::Map(map) => Ok(map.get(name)),
            Value::Struct(fields) => match fields.visible_field(name) {
                Some(_) if has_args => Err(frame.fail(
                    span,
                    format!("{name} has arguments but cannot be invoked as function"),
                )),
                Some(value) => Ok(value.clone()),
                None => Err(frame.fail(
                    span,
                    format!(
                        "can't evaluate field {name} in type {}",
                        receiver.type_name()
                    ),
                )),
            },
            _ => Err(frame.fail(
                span,
                format!(
                    "can't evaluate field {name} in type {}",
                    receiver.type_name()
                ),
            )),
        }
    }

    fn function(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        span: Span,
        function: &Function,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        match function.name {
            "and" | "or" => self.shortcut(frame, dot, span, function, args, last),
            _ => self.call(frame, dot, span, function, None, args, last),
        }
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn shortcut(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        span: Span,
        function: &Function,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        function
            .check_count(args.len() + usize::from(last.is_some()), 0)
            .map_err(|message| frame.fail(span, message))?;
        let mut value = Value::Absent;
        for arg in args {
            value = self.argument(frame, dot, arg, Kind::Any)?;
            if value.is_true() == (function.name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "where it is evaluated, what of which, and with what"
    )]
    fn call(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        span: Span,
        function: &Function,
        receiver: Option<Value>,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let receivers = usize::from(receiver.is_some());
        let count = receivers + args.len() + usize::from(last.is_some());
        function
            .check_count(count, receivers)
            .map_err(|message| frame.fail(span, message))?;
        let mut values = Vec::with_capacity(count);
        values.extend(receiver);
        for arg in args {
            let kind = function.kind(values.len()).unwrap_or(Kind::Any);
            values.push(self.argument(frame, dot, arg, kind)?);
        }
        if let Some(last) = last {
            let kind = function.kind(values.len()).unwrap_or(Kind::Any);
            values.push(
                kind.check(last)
                    .map_err(|message| frame.fail(span, message))?,
            );
        }
        (function.body)(self, &values).map_err(|failure| {
            let message = format!("error calling {}: {}", function.name, failure.message);
            frame.fail(span, Failure { message, ..failure })
        })
    }

    /// Evaluates `operand` as an argument of the given kind.
    fn argument(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Value,
        operand: &Operand,
        kind: Kind,
    ) -> Result<Value, Error> {
        self.step(frame, operand.span)?;
        let checked = match (&operand.term, kind) {
            _ if !operand.fields.is_empty() => {
                kind.check(self.chain(frame, dot, operand, &[], None)?)
            }
            (Term::Nil, Kind::Any | Kind::ListLike(_)) => kind.check(Value::Nil),
            (Term::Nil, _) => Err(format!("cannot assign nil to {}", kind.type_name())),
            (
                Term::Number(Number {
                    int: Some(number), ..
                }),
                Kind::Duration,
            ) => Ok(Value::Duration(Duration::from_nanoseconds(*number))),
            (
                Term::Number(Number {
                    int: Some(number), ..
                }),
                Kind::Int,
            ) => Ok(Value::Int(*number)),
            (Term::Bool(_) | Term::Number(_) | Term::String(_), Kind::Int | Kind::Duration) => Err(
                format!("expected integer; found {}", frame.shown(operand.span)),
            ),
            (Term::Bool(_) | Term::Number(_), Kind::String) => Err(format!(
                "expected string; found {}",
                frame.shown(operand.span)
            )),
            (
                Term::Bool(_) | Term::Number(_) | Term::String(_),
                Kind::Time | Kind::ListLike(_) | Kind::Struct(_),
            ) => Err(format!(
                "can't handle {} for arg of type {}",
                frame.shown(operand.span),
                kind.type_name()
            )),
            _ => kind.check(self.term(frame, dot, operand)?),
        };
        checked.map_err(|message| frame.fail(operand.span, message))
    }
}

/// A `range` that is running.
struct Iteration<'t> {
    pipeline: &'t Pipeline,
    body: &'t [Node],
    /// The number of variables outside of the body, those of the `range` included.
    scope: usize,
    ran: bool,
}

/// Returns a constant where no type is asked for; `None` when it does not fit.
fn constant(number: Number) -> Option<Value> {
    if number.is_float {
        return Some(Value::Float(number.float));
    }
    number.int.map(Value::Int)
}

/// Writes what an action prints: as `print` does, without the `&` of a pointer and with a text for nothing.
pub(crate) fn print_indirect(out: &mut Bounded, value: &Value) {
    print_all_indirect(out, std::slice::from_ref(value));
}

/// Writes several as `print` does, each as an action would print it.
pub(crate) fn print_all_indirect(out: &mut Bounded, values: &[Value]) {
    let values: Vec<Value> = values
        .iter()
        .map(|value| match value {
            Value::Absent | Value::Nil => Value::from("<no value>"),
            value => value.clone(),
        })
        .collect();
    format::print_indirect(out, &values);
}

/// Returns `value` for a message.
fn shown(value: &Value) -> String {
    let mut text = Bounded::new(200);
    print_indirect(&mut text, value);
    text.finish()
        .unwrap_or_else(|| value.type_name().to_owned())
}
