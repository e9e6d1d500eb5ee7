//! The one place that writes to standard output and standard error.

use std::fmt::Display;

/// Prints a result.
#[expect(clippy::print_stdout, reason = "this is where results are printed")]
pub(crate) fn print(text: &dyn Display) {
    println!("{text}");
}

/// Says what is going on, or wrong.
#[expect(
    clippy::print_stderr,
    reason = "this is where people are told how it goes"
)]
pub(crate) fn say(text: &dyn Display) {
    eprintln!("compare: {text}");
}
