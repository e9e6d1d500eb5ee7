//! The one place that writes to standard output and standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Prints a result; a closed pipe is nobody's mistake.
pub(crate) fn print(text: &dyn Display) {
    let text = text.to_string();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let written =
        write!(io::stdout().lock(), "{text}{newline}").and_then(|()| io::stdout().flush());
    if let Err(error) = written.or_else(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Ok(())
        } else {
            Err(error)
        }
    }) {
        complain(&format!("cannot write to standard output: {error}"));
    }
}

/// Prints many lines; once nobody reads them any more, they are dropped.
#[derive(Debug)]
pub(crate) struct Printer {
    out: io::BufWriter<io::StdoutLock<'static>>,
    failed: Option<io::Error>,
}

impl Printer {
    pub(crate) fn new() -> Self {
        Self {
            out: io::BufWriter::new(io::stdout().lock()),
            failed: None,
        }
    }

    pub(crate) fn line(&mut self, line: &dyn Display) {
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{line}").err();
        }
    }

    pub(crate) fn finish(mut self) {
        let failed = self.failed.take().or_else(|| self.out.flush().err());
        if let Some(error) = failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            complain(&format!("cannot write to standard output: {error}"));
        }
    }
}

/// Shows how far something is, on one line that the next overwrites; only where somebody may be looking.
#[expect(
    clippy::print_stderr,
    reason = "this is where the program speaks to people"
)]
pub(crate) fn progress(what: &dyn Display) {
    if io::stderr().is_terminal() {
        // Return, the text, and away with what is left of a longer one.
        eprint!("\r{what}\x1b[K");
    }
}

/// Prints what is wrong, for people.
#[expect(
    clippy::print_stderr,
    reason = "this is where the program speaks to people"
)]
pub(crate) fn complain(what: &dyn Display) {
    eprintln!("promontory: {what}");
}
