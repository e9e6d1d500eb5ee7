//! Trees to text over several lines, as Prometheus' own prettifier lays them out.
//!
//! A node whose text is at most [`LINE_BYTES_MAX`] long stands on one line; a longer one is split: what it holds comes two blanks
//! further in. Operands stand further in than their operator, which has a line to itself; arguments have a line each; selectors,
//! numbers and texts are never split. Comments are lost: trees have none.

use std::fmt::{self, Write};

use super::{write_aggregate_head, write_matching, write_subquery_suffix};
use crate::ast::{Aggregate, Binary, Expr, ExprKind, Subquery};

/// A longer node is split.
const LINE_BYTES_MAX: usize = 100;
const INDENT: &str = "  ";

/// Writes `expr` over as many lines as it needs; what is written reads back as the same tree. The text may be some hundred times
/// as long as that on one line, since each line of a deep tree begins with blanks: `out` bounds it.
pub fn prettify(expr: &Expr, out: &mut dyn Write) -> fmt::Result {
    let mut pretty = Pretty {
        out,
        after_sign: false,
        line_bytes_max: LINE_BYTES_MAX,
    };
    pretty.expr(expr, 0)
}

struct Pretty<'a> {
    out: &'a mut dyn Write,
    /// A sign has just been written: what it stands before begins without blanks, whatever its level.
    after_sign: bool,
    line_bytes_max: usize,
}

impl Pretty<'_> {
    /// Writes an expression that begins a line at this level.
    fn expr(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        if let ExprKind::Unary(unary) = &expr.kind {
            let sign = if unary.negative { "-" } else { "+" };
            self.begin(level)?;
            self.out.write_str(sign)?;
            self.after_sign = true;
            return self.expr(&unary.expr, level);
        }
        let is_short = fits(expr, self.line_bytes_max);
        match &expr.kind {
            // As in Prometheus, a short subquery stands at the left edge, wherever it belongs.
            ExprKind::Subquery(_) if is_short => self.whole(expr, 0),
            ExprKind::Aggregate(aggregate) if !is_short => self.aggregate(aggregate, level),
            ExprKind::Binary(binary) if !is_short => self.binary(binary, level),
            ExprKind::Subquery(subquery) => self.subquery(subquery, level),
            ExprKind::Call(call) if !is_short => {
                self.begin(level)?;
                self.out.write_str(call.function.name)?;
                self.list(call.args.iter(), level)
            }
            ExprKind::Paren(inner) if !is_short => {
                self.begin(level)?;
                self.list(std::iter::once(&**inner), level)
            }
            _ => self.whole(expr, level),
        }
    }

    fn whole(&mut self, expr: &Expr, level: usize) -> fmt::Result {
        self.begin(level)?;
        write!(self.out, "{expr}")
    }

    fn aggregate(&mut self, aggregate: &Aggregate, level: usize) -> fmt::Result {
        self.begin(level)?;
        write_aggregate_head(self.out, aggregate)?;
        self.list(aggregate.param.iter().chain([&aggregate.expr]), level)
    }

    fn binary(&mut self, binary: &Binary, level: usize) -> fmt::Result {
        self.expr(&binary.left, level + 1)?;
        self.out.write_char('\n')?;
        self.begin(level)?;
        let bool_word = if binary.return_bool { " bool" } else { "" };
        write!(self.out, "{}{bool_word}", binary.op)?;
        write_matching(self.out, &binary.matching)?;
        self.out.write_char('\n')?;
        self.expr(&binary.right, level + 1)
    }

    fn subquery(&mut self, subquery: &Subquery, level: usize) -> fmt::Result {
        self.expr(&subquery.expr, level)?;
        write_subquery_suffix(self.out, subquery)
    }

    /// Writes a list in parentheses, an item a line.
    fn list<'e>(&mut self, items: impl Iterator<Item = &'e Expr>, level: usize) -> fmt::Result {
        self.out.write_char('(')?;
        let mut before = "\n";
        for item in items {
            self.out.write_str(before)?;
            self.expr(item, level + 1)?;
            before = ",\n";
        }
        self.out.write_char('\n')?;
        self.begin(level)?;
        self.out.write_char(')')
    }

    /// Begins a line.
    fn begin(&mut self, level: usize) -> fmt::Result {
        if std::mem::take(&mut self.after_sign) {
            return Ok(());
        }
        (0..level).try_for_each(|_| self.out.write_str(INDENT))
    }
}

/// Returns whether the text of `expr` is at most `bytes` long, without writing more of it than that.
fn fits(expr: &Expr, bytes: usize) -> bool {
    struct Room(usize);
    impl Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    write!(Room(bytes), "{expr}").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParserOptions, parse};

    fn parsed(text: &str) -> Expr {
        parse(text, ParserOptions::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// With lines of 10 bytes, so that little is enough to be split.
    fn narrow(text: &str) -> String {
        let mut out = String::new();
        let mut pretty = Pretty {
            out: &mut out,
            after_sign: false,
            line_bytes_max: 10,
        };
        pretty.expr(&parsed(text), 0).expect("strings take all");
        out
    }

    fn check(text: &str, lines: &[&str]) {
        assert_eq!(narrow(text), lines.join("\n"), "{text}");
        assert_eq!(parsed(&narrow(text)), parsed(text), "{text}");
    }

    #[test]
    fn what_is_short_is_not_split() {
        for text in [
            "1 + 2",
            "(x)",
            "a_long_name_of_a_metric[10m] @ end()",
            "-long_selector",
        ] {
            check(text, &[text]);
        }
    }

    #[test]
    fn lists_have_a_line_for_each_item() {
        check("rate(errors[1m])", &["rate(", "  errors[1m]", ")"]);
        check(
            "quantile(0.9, some_metric) by(b,a)",
            &["quantile by (b, a) (", "  0.9,", "  some_metric", ")"],
        );
        check(
            "sum(rate(errors[1m])) without()",
            &["sum without () (", "  rate(", "    errors[1m]", "  )", ")"],
        );
        check(
            "((a_long_name))",
            &["(", "  (", "    a_long_name", "  )", ")"],
        );
    }

    #[test]
    fn operands_stand_further_in_than_their_operator() {
        check("one_a + one_b", &["  one_a", "+", "  one_b"]);
        check("one > bool two_b", &["  one", "> bool", "  two_b"]);
        check(
            "a_a * on(x) group_left b_b - 1000",
            &[
                "    a_a",
                "  * on (x) group_left ()",
                "    b_b",
                "-",
                "  1000",
            ],
        );
        check(
            "(one_a + one_b)",
            &["(", "    one_a", "  +", "    one_b", ")"],
        );
    }

    #[test]
    fn signs_stand_before_what_they_sign() {
        check("-rate(errors[1m])", &["-rate(", "  errors[1m]", ")"]);
        check(
            "abs(-(one_a + one_b))",
            &[
                "abs(",
                "  -(",
                "      one_a",
                "    +",
                "      one_b",
                "  )",
                ")",
            ],
        );
        check("-one_a ^ one_b", &["-one_a", "^", "  one_b"]);
    }

    #[test]
    fn subqueries_keep_their_brackets_on_the_last_line() {
        check(
            "max_over_time(rate(errors[1m])[1h:] @ 1 offset 1m)",
            &[
                "max_over_time(",
                "  rate(",
                "    errors[1m]",
                "  )[1h:] @ 1.000 offset 1m",
                ")",
            ],
        );
        check("rate(a[5m:1m])", &["rate(", "a[5m:1m]", ")"]);
    }

    #[test]
    fn lines_of_a_hundred_are_left_alone() {
        let name = "n".repeat(48);
        let mut out = String::new();
        prettify(&parsed(&format!("{name}+ {name}a")), &mut out).expect("strings take all");
        assert_eq!(out, format!("{name} + {name}a"));
        out.clear();
        prettify(&parsed(&format!("{name}a+{name}a")), &mut out).expect("strings take all");
        assert_eq!(out, format!("  {name}a\n+\n  {name}a"));
    }
}
