//! Contextual escaping: makes a template safe as HTML, whatever the values are.
//!
//! A pass over a tree follows, text by text, what a browser would be reading: text, a tag, an attribute's value, a URL in it, a script,
//! a style sheet. Each action gets the escapers for the place where it writes. Branches have to end in the same place, so that one
//! answer holds; a template that is called in different places is escaped once for each. What cannot be told is refused.
//!
//! As in Go, authors of templates are trusted and values are not; comments of HTML, scripts and style sheets are left out.

mod context;
mod css;
mod escapers;
mod pass;
mod script;
mod transition;
mod url;

pub(crate) use escapers::Escaper;
pub(crate) use pass::escape;

/// What escapers do in place of the last command of a pipeline, when that was an escaper (`html`, `urlquery`) itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewrite {
    Nothing,
    WithoutLast,
    /// The only command: its arguments are printed.
    ArgumentsOnly,
}

/// What stands in place of a value that would not be safe; easy to search for.
const UNSAFE: &str = "ZgotmplZ";
