//! Standard output and standard error, the only place where anything is printed.

use std::error::Error;
use std::io::{ErrorKind, Write, stderr, stdout};

use crate::Failure;

/// Prints to standard output; a reader that has gone away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::System("write to standard output", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints why the process ends, with all causes, to standard error.
pub(crate) fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    // Nobody is left to be told that nobody listens.
    drop(writeln!(stderr(), "promontory-agent: {text}"));
}
