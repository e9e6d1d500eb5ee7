//! What happened last, for whoever has to understand a violation.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Lines kept.
const LINES_MAX: usize = 160;

/// The last notable events of a run.
#[derive(Debug, Default)]
pub(crate) struct Story {
    lines: VecDeque<String>,
    /// Lines that were forgotten.
    earlier: u64,
}

impl Story {
    pub(crate) fn tell(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
            self.earlier += 1;
        }
        self.lines
            .push_back(format!("{:>10.3} s  {what}", now.as_secs_f64()));
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.earlier > 0 {
            writeln!(f, "  ... {} earlier events", self.earlier)?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
