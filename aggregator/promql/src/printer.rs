//! Trees to text; what is printed reads back as the same tree.

mod pretty;

use std::fmt::{self, Display, Write};
use std::time::Duration;

use crate::ast::{
    Aggregate, AtModifier, Binary, DurationExpr, DurationKind, Expr, ExprKind, Extended, GroupSide,
    LabelMatcher, Matching, NumberLiteral, Subquery, TimeModifiers, VectorSelector,
};
use crate::token::Operator;
use crate::unquote::quote;
use gofloat::format_f;

pub use pretty::prettify;

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(literal) => literal.fmt(f),
            ExprKind::String(value) => f.write_str(&quote(value)),
            ExprKind::Vector(selector) => {
                write_selector(f, selector)?;
                write_time(f, &selector.time)?;
                write_extended(f, selector.extended)
            }
            ExprKind::Matrix(matrix) => {
                write_selector(f, &matrix.selector)?;
                write!(f, "[{}]", matrix.range)?;
                write_extended(f, matrix.selector.extended)?;
                write_time(f, &matrix.selector.time)
            }
            ExprKind::Subquery(subquery) => {
                subquery.expr.fmt(f)?;
                write_subquery_suffix(f, subquery)
            }
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_list(f, &call.args)?;
                f.write_char(')')
            }
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Unary(unary) => {
                let sign = if unary.negative { '-' } else { '+' };
                write!(f, "{sign}{}", unary.expr)
            }
            ExprKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_duration {
            return f.write_str(&format_f(self.value));
        }
        if self.value.is_sign_negative() {
            f.write_char('-')?;
        }
        // Durations are whole milliseconds, and below 2^53 of them.
        let duration = Duration::try_from_secs_f64(self.value.abs()).unwrap_or(Duration::MAX);
        let rounded = duration.saturating_add(Duration::from_micros(500));
        f.write_str(&model::format_duration(rounded))
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_aggregate_head(f, self)?;
        f.write_char('(')?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.left.kind {
            // The sign of `+Inf` would be read as one before the whole power.
            ExprKind::Number(literal)
                if self.op == Operator::Pow && literal.value == f64::INFINITY =>
            {
                f.write_str("Inf")?;
            }
            _ => self.left.fmt(f)?,
        }
        write!(f, " {}", self.op)?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        write_matching(f, &self.matching)?;
        write!(f, " {}", self.right)
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal(literal) => literal.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Extreme(greatest, pair) => {
                let name = if *greatest { "max_of" } else { "min_of" };
                write!(f, "{name}({}, {})", pair.0, pair.1)
            }
            DurationKind::Negative(inner) => write!(f, "-{inner}"),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
            DurationKind::Binary(op, pair) => write!(f, "{} {op} {}", pair.0, pair.1),
        }
    }
}

/// Writes what stands before the parentheses.
fn write_aggregate_head(f: &mut dyn Write, aggregate: &Aggregate) -> fmt::Result {
    f.write_str(aggregate.op.as_str())?;
    if aggregate.without {
        f.write_str(" without (")?;
    } else if aggregate.grouping.is_empty() {
        return Ok(());
    } else {
        f.write_str(" by (")?;
    }
    write_names(f, &aggregate.grouping)?;
    f.write_str(") ")
}

/// Writes what follows the expression of a subquery.
fn write_subquery_suffix(f: &mut dyn Write, subquery: &Subquery) -> fmt::Result {
    write!(f, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        write!(f, "{step}")?;
    }
    f.write_char(']')?;
    write_time(f, &subquery.time)
}

fn write_matching(f: &mut dyn Write, matching: &Matching) -> fmt::Result {
    if matching.on || !matching.labels.is_empty() || matching.group.is_some() {
        f.write_str(if matching.on { " on (" } else { " ignoring (" })?;
        write_names(f, &matching.labels)?;
        f.write_char(')')?;
    }
    if let Some(side) = matching.group {
        f.write_str(match side {
            GroupSide::Left => " group_left (",
            GroupSide::Right => " group_right (",
        })?;
        write_names(f, &matching.include)?;
        f.write_char(')')?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => {
            write!(f, " fill ({})", format_f(left.0))
        }
        (left, right) => {
            if let Some(left) = left {
                write!(f, " fill_left ({})", format_f(left.0))?;
            }
            if let Some(right) = right {
                write!(f, " fill_right ({})", format_f(right.0))?;
            }
            Ok(())
        }
    }
}

/// Matchers come sorted by their texts, as in Prometheus.
fn write_selector(f: &mut dyn Write, selector: &VectorSelector) -> fmt::Result {
    f.write_str(selector.name.as_deref().unwrap_or_default())?;
    if selector.matchers.is_empty() && selector.name.is_some() {
        return Ok(());
    }
    write!(f, "{{{}}}", selector.sorted_matchers().join(","))
}

impl Display for LabelMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.name)?;
        write!(f, "{}{}", self.op, quote(self.value.as_bytes()))
    }
}

fn write_time(f: &mut dyn Write, time: &TimeModifiers) -> fmt::Result {
    match time.at {
        None => {}
        Some(AtModifier::Start) => f.write_str(" @ start()")?,
        Some(AtModifier::End) => f.write_str(" @ end()")?,
        Some(AtModifier::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let ms = ms.unsigned_abs();
            write!(f, " @ {sign}{}.{:03}", ms / 1_000, ms % 1_000)?;
        }
    }
    match &time.offset {
        None => Ok(()),
        Some(offset) => write!(f, " offset {offset}"),
    }
}

fn write_extended(f: &mut dyn Write, extended: Option<Extended>) -> fmt::Result {
    match extended {
        None => Ok(()),
        Some(Extended::Anchored) => f.write_str(" anchored"),
        Some(Extended::Smoothed) => f.write_str(" smoothed"),
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, exprs: &[Expr]) -> fmt::Result {
    for (index, expr) in exprs.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        expr.fmt(f)?;
    }
    Ok(())
}

fn write_names(f: &mut dyn Write, names: &[String]) -> fmt::Result {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_name(f, name)?;
    }
    Ok(())
}

fn write_name(f: &mut dyn Write, name: &str) -> fmt::Result {
    let classic = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if classic {
        f.write_str(name)
    } else {
        f.write_str(&quote(name.as_bytes()))
    }
}
