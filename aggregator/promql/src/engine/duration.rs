//! Duration expressions to milliseconds.

use crate::QueryError;
use crate::ast::{DurationExpr, DurationKind};
use crate::functions::float;
use crate::token::Operator;

/// What `step()` and `range()` stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuerySpan {
    pub(crate) step_seconds: f64,
    pub(crate) range_seconds: f64,
}

/// Returns the seconds of an expression that does not depend on the query's step or range.
pub(crate) fn constant(expr: &DurationExpr) -> Option<f64> {
    evaluate(expr, None)
}

/// Returns an offset in milliseconds.
pub(crate) fn offset_ms(expr: &DurationExpr, span: QuerySpan) -> Result<i64, QueryError> {
    let seconds = evaluate(expr, Some(span)).unwrap_or(f64::NAN);
    seconds_to_ms(seconds).ok_or_else(|| QueryError::BadData("duration is out of range".to_owned()))
}

/// Returns a range or step in milliseconds, at least 1.
pub(crate) fn positive_ms(expr: &DurationExpr, span: QuerySpan) -> Result<i64, QueryError> {
    let ms = offset_ms(expr, span)?;
    if ms <= 0 {
        return Err(QueryError::BadData(
            "duration must be greater than 0".to_owned(),
        ));
    }
    Ok(ms)
}

/// Returns the whole milliseconds of a duration; `None` for NaN and what 64-bit nanoseconds cannot hold, Prometheus' own bound: some 292
/// years, and what a duration is printed as reads back.
pub(crate) fn seconds_to_ms(seconds: f64) -> Option<i64> {
    const MS_MAX: u64 = i64::MAX.unsigned_abs() / 1_000_000;
    timestamp_ms(seconds).filter(|ms| ms.unsigned_abs() <= MS_MAX)
}

/// Returns the whole milliseconds of a point in time; `None` for NaN and what 64 bits cannot hold.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the bound is that of the milliseconds"
)]
pub(crate) fn timestamp_ms(seconds: f64) -> Option<i64> {
    const SECONDS_MAX: f64 = 9_223_372_036_854_775.0;
    (seconds.abs() < SECONDS_MAX).then(|| (seconds * 1_000.0).round() as i64)
}

fn evaluate(expr: &DurationExpr, span: Option<QuerySpan>) -> Option<f64> {
    Some(match &expr.kind {
        DurationKind::Literal(literal) => literal.value,
        DurationKind::Step => span?.step_seconds,
        DurationKind::Range => span?.range_seconds,
        DurationKind::Extreme(greatest, pair) => {
            let (a, b) = (evaluate(&pair.0, span)?, evaluate(&pair.1, span)?);
            if *greatest {
                float::max(a, b)
            } else {
                float::min(a, b)
            }
        }
        DurationKind::Negative(inner) => -evaluate(inner, span)?,
        DurationKind::Paren(inner) => evaluate(inner, span)?,
        DurationKind::Binary(op, pair) => {
            let (a, b) = (evaluate(&pair.0, span)?, evaluate(&pair.1, span)?);
            match op {
                Operator::Add => a + b,
                Operator::Sub => a - b,
                Operator::Mul => a * b,
                // Refused by being NaN, as Prometheus refuses division by zero.
                Operator::Div | Operator::Mod if b == 0.0 => f64::NAN,
                Operator::Div => a / b,
                Operator::Mod => a % b,
                Operator::Pow => float::pow(a, b),
                _ => return None,
            }
        }
    })
}
