//! Sets of templates, and programs made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ast::{Tree, is_empty};
use crate::builtins::BUILTINS;
use crate::environment::Environment;
use crate::error::{Error, Source};
use crate::function::Function;
use crate::html;
use crate::machine::{self, Limits};
use crate::parser;
use crate::value::Value;

/// Whether what comes out is a plain text or HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Values are written as they are.
    Text,
    /// Values are escaped for the place where they are written: Go's html/template.
    Html,
}

/// A set of functions, those that every template has left out.
#[derive(Clone, Copy, Debug)]
pub struct Functions(pub(crate) &'static [&'static [Function]]);

impl Functions {
    pub(crate) fn get(self, name: &str) -> Option<&'static Function> {
        let sets = self.0.iter().copied().chain([BUILTINS]);
        sets.flatten().find(|function| function.name == name)
    }

    /// Returns the names of all functions, those that every template has included.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.0
            .iter()
            .copied()
            .chain([BUILTINS])
            .flatten()
            .map(|function| function.name)
    }
}

/// Templates by name, as files define them. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Templates {
    functions: Functions,
    trees: Arc<BTreeMap<Arc<str>, Arc<Tree>>>,
}

impl Templates {
    /// Returns an empty set whose templates may use `functions`.
    pub fn new(functions: Functions) -> Self {
        Self {
            functions,
            trees: Arc::default(),
        }
    }

    /// Adds what `text` defines, and `text` itself under the name of its file. A template takes the place of an older one of its
    /// name, unless it is empty. After an error the set is as before.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let trees = self.parse(file, text, &[])?;
        let known = Arc::make_mut(&mut self.trees);
        for tree in trees {
            insert(known, tree);
        }
        Ok(())
    }

    /// Returns a program that renders `text`, which may use the templates of this set and define its own. `variables` are names,
    /// `$` included, that `text` may use beside `$`; [`Program::render`] takes their values.
    ///
    /// `name` is what errors call the text. In [`Mode::Html`], what is reached from `text` is escaped here, once.
    pub fn compile(
        &self,
        name: &str,
        text: &str,
        mode: Mode,
        variables: &[&str],
    ) -> Result<Program, Error> {
        let mut parsed = self.parse(name, text, variables)?.into_iter();
        let mut trees = Arc::clone(&self.trees);
        let root = parsed
            .next()
            .map_or_else(|| Arc::new(Tree::empty(name)), Arc::new);
        for tree in parsed {
            insert(Arc::make_mut(&mut trees), tree);
        }
        let (root, trees, unsafe_trees) = match mode {
            Mode::Text => (root, trees, BTreeMap::new()),
            Mode::Html => {
                let renders_by_name = self.functions.get("tmpl").is_some();
                let escaped = html::escape(&root, &trees, renders_by_name)?;
                (escaped.root, Arc::new(escaped.trees), escaped.failed)
            }
        };
        Ok(Program {
            root,
            trees,
            unsafe_trees,
            variables: std::iter::once("$")
                .chain(variables.iter().copied())
                .map(Arc::from)
                .collect(),
            templates: self.clone(),
            mode,
        })
    }

    fn parse(&self, file: &str, text: &str, variables: &[&str]) -> Result<Vec<Tree>, Error> {
        let source = Arc::new(Source {
            file: file.into(),
            text: text.into(),
        });
        parser::parse(
            &source,
            &file.into(),
            &|name| self.functions.get(name),
            variables,
        )
    }
}

fn insert(trees: &mut BTreeMap<Arc<str>, Arc<Tree>>, tree: Tree) {
    if is_empty(&tree.body) && trees.contains_key(&tree.name) {
        return;
    }
    trees.insert(Arc::clone(&tree.name), Arc::new(tree));
}

/// A text that can be rendered any number of times.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Arc<Tree>,
    pub(crate) trees: Arc<BTreeMap<Arc<str>, Arc<Tree>>>,
    /// Templates that cannot be made safe on their own, and why.
    pub(crate) unsafe_trees: BTreeMap<Arc<str>, Error>,
    /// The names of those that exist before the text; `$` is the first.
    pub(crate) variables: Vec<Arc<str>>,
    /// What the text was compiled with.
    pub(crate) templates: Templates,
    pub(crate) mode: Mode,
}

impl Program {
    /// Returns the name of the variable that every template has.
    pub(crate) fn dollar(&self) -> Arc<str> {
        self.variables
            .first()
            .map_or_else(|| "$".into(), Arc::clone)
    }

    /// Returns what comes out with `data` as `.` and `$`; `variables` are the values of those that the program was compiled with.
    pub fn render(
        &self,
        data: &Value,
        variables: &[Value],
        environment: &mut dyn Environment,
        limits: Limits,
    ) -> Result<String, Error> {
        machine::render(self, data, variables, environment, limits)
    }
}
