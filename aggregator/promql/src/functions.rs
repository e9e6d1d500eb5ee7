//! The functions of the language: their signatures here, their meaning in the modules below as free functions over slices.

pub(crate) mod classic;
pub(crate) mod float;
pub(crate) mod labels;
pub(crate) mod over_time;
pub(crate) mod quantile;
pub(crate) mod rate;
pub(crate) mod regression;
mod table;

pub(crate) use table::FUNCTIONS;

use crate::ast::ValueType;

/// A function's signature.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of the arguments may be left out (1), or repeated beyond the last (more, or without bound).
    pub variadic: Variadic,
    /// The type of its value.
    pub returns: ValueType,
    /// Whether it is behind the switch for experimental functions.
    pub experimental: bool,
}

/// How the number of arguments may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// It may not.
    No,
    /// All but the last are required; at most this many more may follow.
    AtMost(usize),
    /// All but the last are required; any number may follow.
    Any,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    /// Returns all functions, sorted by name.
    pub fn all() -> &'static [Self] {
        FUNCTIONS
    }

    /// Returns the function of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.name == name)
    }

    /// Returns the type wanted at a place among the arguments.
    pub(crate) fn arg_type(&self, index: usize) -> Option<ValueType> {
        match (self.args.get(index), self.variadic) {
            (Some(wanted), _) => Some(*wanted),
            (None, Variadic::No) => None,
            (None, _) => self.args.last().copied(),
        }
    }
}
