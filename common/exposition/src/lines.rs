//! An input cut into lines.

use crate::ParseError;
use crate::error::Fault;

/// The longest line that a parser takes, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The lines of an input, numbered from 1, without their line feeds.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            number: 0,
        }
    }

    /// Returns the next line; `None` at the end of the input. An input without a final line feed ends in a line all the same.
    pub(crate) fn next_line(&mut self) -> Option<Result<&'a [u8], ParseError>> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        if line.len() > LINE_BYTES_MAX {
            let fault = Fault::new(
                LINE_BYTES_MAX,
                "a line of at most 1048576 bytes",
                line.get(LINE_BYTES_MAX..).unwrap_or_default(),
            );
            return Some(Err(fault.on(self.number)));
        }
        Some(Ok(line))
    }

    /// Returns the number of the line returned last; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bounded() {
        let mut lines = Lines::new(b"a\n\nb");
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line() {
            seen.push((lines.number(), line.expect("short lines")));
        }
        assert_eq!(seen, [(1, &b"a"[..]), (2, b""), (3, b"b")]);

        let mut long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(matches!(Lines::new(&long).next_line(), Some(Err(error)) if error.line == 1));
        long.pop();
        assert!(
            matches!(Lines::new(&long).next_line(), Some(Ok(line)) if line.len() == LINE_BYTES_MAX)
        );
    }
}
