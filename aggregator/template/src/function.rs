//! Functions and methods: their names, what they take, and how arguments are checked as Go does.

use crate::error::Failure;
use crate::machine::Machine;
use crate::value::{ListType, StructType, Value};

/// A function, or a method whose first argument is its receiver.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Kind],
    /// What any number of further arguments are, when there may be any.
    pub(crate) rest: Option<Kind>,
    pub(crate) body: Body,
}

/// What a function does with arguments that fit its parameters.
pub(crate) type Body = fn(&mut Machine<'_>, &[Value]) -> Result<Value, Failure>;

impl Function {
    /// Returns a function of exactly `parameters`.
    pub(crate) const fn new(name: &'static str, parameters: &'static [Kind], body: Body) -> Self {
        Self {
            name,
            parameters,
            rest: None,
            body,
        }
    }

    /// Returns a function of `parameters` and then any number of `rest`.
    pub(crate) const fn variadic(
        name: &'static str,
        parameters: &'static [Kind],
        rest: Kind,
        body: Body,
    ) -> Self {
        Self {
            name,
            parameters,
            rest: Some(rest),
            body,
        }
    }

    /// Returns what the argument at `index` has to be.
    pub(crate) fn kind(&self, index: usize) -> Option<Kind> {
        self.parameters.get(index).copied().or(self.rest)
    }

    /// Checks the number of arguments.
    pub(crate) fn check_count(&self, count: usize, receivers: usize) -> Result<(), String> {
        let wanted = self.parameters.len();
        let (name, given) = (self.name, count - receivers);
        if self.rest.is_some() && count < wanted {
            let wanted = wanted - receivers;
            Err(format!(
                "wrong number of args for {name}: want at least {wanted} got {given}"
            ))
        } else if self.rest.is_none() && count != wanted {
            let wanted = wanted - receivers;
            Err(format!(
                "wrong number of args for {name}: want {wanted} got {given}"
            ))
        } else {
            Ok(())
        }
    }
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Any,
    String,
    Int,
    Time,
    Duration,
    /// A list with elements as lists of this type have.
    ListLike(&'static ListType),
    Struct(&'static StructType),
}

impl Kind {
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::String => "string",
            Self::Int => "int",
            Self::Time => "time.Time",
            Self::Duration => "time.Duration",
            Self::ListLike(kind) => kind.name,
            Self::Struct(kind) => kind.name,
        }
    }

    /// Returns `value` as what is taken, or why it is not.
    pub(crate) fn check(self, value: Value) -> Result<Value, String> {
        let fits = match (self, &value) {
            (_, Value::Absent | Value::Nil) => return self.nothing(&value),
            (Self::Any, _)
            | (Self::String, Value::String(_))
            | (Self::Int, Value::Int(_))
            | (Self::Time, Value::Time(_))
            | (Self::Duration, Value::Duration(_)) => true,
            (Self::ListLike(kind), Value::List(list)) => list.kind.element == kind.element,
            (Self::Struct(kind), Value::Struct(fields)) => fields.kind == kind,
            _ => false,
        };
        if fits {
            return Ok(value);
        }
        let (expected, got) = (self.type_name(), value.type_name());
        Err(format!(
            "wrong type for value; expected {expected}; got {got}"
        ))
    }

    /// What nothing is as an argument: nil or an empty list, where Go has such.
    fn nothing(self, value: &Value) -> Result<Value, String> {
        let expected = self.type_name();
        match self {
            Self::Any => Ok(Value::Nil),
            Self::ListLike(kind) => Ok(Value::flat_list(kind, Vec::new())),
            Self::Struct(_) => Err(format!("nil pointer of type {expected}")),
            Self::String | Self::Int | Self::Time | Self::Duration => Err(match value {
                Value::Nil => {
                    format!("wrong type for value; expected {expected}; got interface {{}}")
                }
                _ => format!("invalid value; expected {expected}"),
            }),
        }
    }
}
