//! Printing as Go's `fmt` does: `print`, `println`, `printf` with all verbs, flags, widths, precisions and argument indexes.
//!
//! What is asked wrongly does not fail but shows in the text: `%!d(string=hi)`, `%!s(MISSING)`, `%!(EXTRA int=1)`.

mod float;
mod quote;
mod verbs;

use crate::value::Value;

pub(crate) use float::{general, shortest};
pub(crate) use quote::is_printable;
pub use quote::quote;

use verbs::Printer;

/// Widths and precisions beyond this are mistakes, as in Go.
const NUMBER_MAX: i64 = 1_000_000;

/// A text that does not grow beyond a limit.
#[derive(Debug)]
pub(crate) struct Bounded {
    text: String,
    limit: usize,
    full: bool,
}

impl Bounded {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            full: false,
        }
    }

    pub(crate) fn push_str(&mut self, text: &str) {
        if self.text.len() + text.len() > self.limit {
            self.full = true;
        }
        if !self.full {
            self.text.push_str(text);
        }
    }

    pub(crate) fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    fn push_times(&mut self, character: char, times: usize) {
        for _ in 0..times {
            if self.full {
                break;
            }
            self.push(character);
        }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether something did not fit.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// Returns the text; `None` when something did not fit.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.full).then_some(self.text)
    }
}

/// Writes `args`, with a space between two of which neither is a text.
pub(crate) fn print(out: &mut Bounded, args: &[Value]) {
    print_with(out, args, false);
}

/// The same with what pointers point to in their place.
pub(crate) fn print_indirect(out: &mut Bounded, args: &[Value]) {
    print_with(out, args, true);
}

fn print_with(out: &mut Bounded, args: &[Value], indirect: bool) {
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Safe(..));
    let mut after_text = true;
    for arg in args {
        if !after_text && !is_text(arg) {
            out.push(' ');
        }
        after_text = is_text(arg);
        let mut printer = Printer::new(out);
        printer.indirect = indirect;
        printer.print(arg, 'v');
    }
}

/// Writes `args` with spaces between and a line break behind.
pub(crate) fn println(out: &mut Bounded, args: &[Value]) {
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        Printer::new(out).print(arg, 'v');
    }
    out.push('\n');
}

/// Writes `format` with its verbs replaced by `args`.
pub(crate) fn printf(out: &mut Bounded, format: &str, args: &[Value]) {
    Formatting {
        rest: format,
        args,
        next: 0,
        reordered: false,
    }
    .run(out);
}

/// Where the reading of a format is.
struct Formatting<'f> {
    rest: &'f str,
    args: &'f [Value],
    /// The index of the argument that comes next.
    next: usize,
    /// Whether an index was given; then it is no mistake when arguments are left.
    reordered: bool,
}

impl Formatting<'_> {
    fn run(mut self, out: &mut Bounded) {
        while let Some(at) = self.rest.find('%') {
            let (before, rest) = self.rest.split_at(at);
            out.push_str(before);
            self.rest = rest.get(1..).unwrap_or_default();
            if out.is_full() || !self.directive(out) {
                break;
            }
        }
        out.push_str(self.rest);
        if !self.reordered && self.next < self.args.len() {
            self.extra(out);
        }
    }

    fn extra(&self, out: &mut Bounded) {
        out.push_str("%!(EXTRA ");
        for (index, arg) in self.args.iter().enumerate().skip(self.next) {
            if index > self.next {
                out.push_str(", ");
            }
            if arg.is_nothing() {
                out.push_str("<nil>");
            } else {
                out.push_str(arg.type_name());
                out.push('=');
                Printer::new(out).print(arg, 'v');
            }
        }
        out.push(')');
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Writes one directive, of which the `%` is read. Returns whether the format goes on.
    fn directive(&mut self, out: &mut Bounded) -> bool {
        let mut printer = Printer::new(out);
        self.flags(&mut printer);
        let mut good = true;
        let mut after_index = self.index(&mut good);
        if self.peek() == Some('*') {
            self.skip(1);
            match self.number_argument() {
                Some(width) => printer.set_width(width),
                None => printer.out.push_str("%!(BADWIDTH)"),
            }
            after_index = false;
        } else if let Some(width) = self.number() {
            printer.flags.width = width;
            // "%[3]2d" asks for an argument and then for a width.
            good &= !after_index;
        }
        if self.peek() == Some('.') {
            self.skip(1);
            good &= !after_index;
            after_index = self.index(&mut good);
            if self.peek() == Some('*') {
                self.skip(1);
                let precision = self.number_argument();
                printer.flags.precision =
                    precision.and_then(|precision| usize::try_from(precision).ok());
                if printer.flags.precision.is_none() {
                    printer.out.push_str("%!(BADPREC)");
                }
                after_index = false;
            } else {
                printer.flags.precision = Some(self.number().flatten().unwrap_or(0));
            }
        }
        if !after_index {
            self.index(&mut good);
        }
        let Some(verb) = self.peek() else {
            printer.out.push_str("%!(NOVERB)");
            return false;
        };
        self.skip(verb.len_utf8());
        let problem = match self.args.get(self.next) {
            _ if verb == '%' => {
                printer.out.push('%');
                return true;
            }
            _ if !good => "BADINDEX",
            None => "MISSING",
            Some(arg) => {
                self.next += 1;
                printer.print_verb(arg, verb);
                return true;
            }
        };
        printer.out.push_str("%!");
        printer.out.push(verb);
        printer.out.push('(');
        printer.out.push_str(problem);
        printer.out.push(')');
        true
    }

    fn flags(&mut self, printer: &mut Printer<'_>) {
        let flags = &mut printer.flags;
        loop {
            match self.peek() {
                Some('#') => flags.sharp = true,
                Some('0') => flags.zero = true,
                Some('+') => flags.plus = true,
                Some('-') => flags.minus = true,
                Some(' ') => flags.space = true,
                _ => return,
            }
            self.skip(1);
        }
    }

    /// Reads `[n]`, which says what argument comes next. Returns whether it was there.
    fn index(&mut self, good: &mut bool) -> bool {
        if self.peek() != Some('[') {
            return false;
        }
        self.reordered = true;
        let Some(close) = self.rest.find(']') else {
            *good = false;
            self.skip(1);
            return false;
        };
        let number = self.rest.get(1..close).unwrap_or_default();
        self.skip(close + 1);
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let index = number
            .parse::<usize>()
            .ok()
            .filter(|index| is_number && (1..=self.args.len()).contains(index));
        match index {
            Some(index) => self.next = index - 1,
            None => *good = false,
        }
        true
    }

    /// Reads digits. `Some(None)` is a number that is too large.
    fn number(&mut self) -> Option<Option<usize>> {
        let bytes = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if bytes == 0 {
            return None;
        }
        let number = self
            .rest
            .get(..bytes)
            .and_then(|digits| digits.parse::<i64>().ok());
        if number.is_none_or(|number| number > NUMBER_MAX) {
            // As in Go, nothing is read on from here.
            self.rest = "";
            return Some(None);
        }
        self.skip(bytes);
        Some(number.and_then(|number| usize::try_from(number).ok()))
    }

    /// Takes an argument as a width or precision.
    fn number_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        arg.as_int()
            .filter(|number| (-NUMBER_MAX..=NUMBER_MAX).contains(number))
    }
}
