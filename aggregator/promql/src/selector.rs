//! The selectors of an expression, wherever they stand in it: what they select, and how far back they look.

use model::{Matcher, TimestampMs};
use storage::Budget;

use crate::ast::{AtModifier, DurationExpr, Expr, ExprKind, TimeModifiers};
use crate::engine::duration::{QuerySpan, offset_ms, positive_ms};
use crate::{EngineConfig, ParserOptions, QueryError, parse_within};

/// Returns the matchers of each selector in `text`, in order of place: which series the expression looks at. Their memory is charged to
/// the budget, and stays so.
pub fn selectors(
    text: &str,
    options: ParserOptions,
    budget: &dyn Budget,
) -> Result<Vec<Vec<Matcher>>, QueryError> {
    let expr = parse_within(text, options, budget)?;
    let mut found = Vec::new();
    collect(&expr, budget, &mut found)?;
    Ok(found)
}

/// Recurses at most as deep as trees are high, [`crate::EXPRESSION_HEIGHT_MAX`].
fn collect(
    expr: &Expr,
    budget: &dyn Budget,
    found: &mut Vec<Vec<Matcher>>,
) -> Result<(), QueryError> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => found.push(selector.to_matchers(budget)?),
        ExprKind::Matrix(matrix) => found.push(matrix.selector.to_matchers(budget)?),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, budget, found)?,
        ExprKind::Call(call) => {
            for arg in &call.args {
                collect(arg, budget, found)?;
            }
        }
        ExprKind::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                collect(param, budget, found)?;
            }
            collect(&aggregate.expr, budget, found)?;
        }
        ExprKind::Binary(binary) => {
            collect(&binary.left, budget, found)?;
            collect(&binary.right, budget, found)?;
        }
        ExprKind::Unary(unary) => collect(&unary.expr, budget, found)?,
        ExprKind::Paren(inner) => collect(inner, budget, found)?,
    }
    Ok(())
}

/// Returns a time before all samples that an evaluation at the instant `at` looks at; `at` when it looks at none.
pub fn earliest(
    expr: &Expr,
    at: TimestampMs,
    config: &EngineConfig,
) -> Result<TimestampMs, QueryError> {
    let lookback = i64::try_from(config.lookback.as_millis()).unwrap_or(i64::MAX);
    let found = Looking { at: at.0, lookback }.earliest(expr, at.0)?;
    Ok(TimestampMs(found))
}

/// What all parts of an evaluation have in common, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Looking {
    at: i64,
    lookback: i64,
}

impl Looking {
    /// An instant query has no step, and spans nothing.
    const SPAN: QuerySpan = QuerySpan {
        step_seconds: 0.0,
        range_seconds: 0.0,
    };

    /// Recurses at most as deep as trees are high, [`crate::EXPRESSION_HEIGHT_MAX`].
    fn earliest(self, expr: &Expr, at: i64) -> Result<i64, QueryError> {
        let of_all = |parts: &[&Expr]| {
            let mut found = at;
            for part in parts {
                found = found.min(self.earliest(part, at)?);
            }
            Ok(found)
        };
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => Ok(at),
            ExprKind::Vector(selector) => {
                let looks = self.looks_at(&selector.time, at)?;
                Ok(looks.saturating_sub(self.lookback))
            }
            ExprKind::Matrix(matrix) => {
                let looks = self.looks_at(&matrix.selector.time, at)?;
                // Those that are anchored or smoothed want a sample before the range.
                let before = matrix.selector.extended.map_or(0, |_| self.lookback);
                let range = Self::range(&matrix.range)?;
                Ok(looks.saturating_sub(range).saturating_sub(before))
            }
            ExprKind::Subquery(subquery) => {
                let looks = self.looks_at(&subquery.time, at)?;
                let first = looks.saturating_sub(Self::range(&subquery.range)?);
                self.earliest(&subquery.expr, first)
            }
            ExprKind::Call(call) => of_all(&call.args.iter().collect::<Vec<_>>()),
            ExprKind::Aggregate(aggregate) => {
                let mut parts: Vec<&Expr> = aggregate.param.iter().collect();
                parts.push(&aggregate.expr);
                of_all(&parts)
            }
            ExprKind::Binary(binary) => of_all(&[&binary.left, &binary.right]),
            ExprKind::Unary(unary) => self.earliest(&unary.expr, at),
            ExprKind::Paren(inner) => self.earliest(inner, at),
        }
    }

    fn looks_at(self, time: &TimeModifiers, at: i64) -> Result<i64, QueryError> {
        let from = match time.at {
            Some(AtModifier::Time(fixed)) => fixed,
            Some(AtModifier::Start | AtModifier::End) => self.at,
            None => at,
        };
        let offset = match &time.offset {
            Some(offset) => offset_ms(offset, Self::SPAN)?,
            None => 0,
        };
        Ok(from.saturating_sub(offset))
    }

    fn range(range: &DurationExpr) -> Result<i64, QueryError> {
        positive_ms(range, Self::SPAN)
    }
}

#[cfg(test)]
mod tests {
    use storage::Unlimited;

    use super::*;

    #[test]
    fn every_selector_is_found() {
        let found = |text: &str| -> Vec<String> {
            let sets = selectors(text, ParserOptions::default(), &Unlimited).unwrap();
            let set = |set: &Vec<Matcher>| {
                let mut pairs: Vec<_> = set
                    .iter()
                    .map(|m| format!("{}{}", m.name(), m.value()))
                    .collect();
                pairs.sort();
                pairs.join(" ")
            };
            sets.iter().map(set).collect()
        };
        assert_eq!(found("1 + 2"), Vec::<String>::new());
        assert_eq!(
            found(
                "-(a{x=\"1\"}) / topk(scalar(b), sum by (y) (rate(c[5m]))) + max_over_time(d[1h:5m] offset 1m)"
            ),
            ["__name__a x1", "__name__b", "__name__c", "__name__d"]
        );
        assert!(selectors("a{", ParserOptions::default(), &Unlimited).is_err());
    }
    #[test]
    fn what_is_looked_at_has_a_beginning() {
        let check = |text: &str, seconds_before: i64| {
            let expr = crate::parse(text, ParserOptions::default()).unwrap();
            let at = TimestampMs(100_000_000);
            let found = earliest(&expr, at, &EngineConfig::default()).unwrap();
            assert_eq!((at.0 - found.0) / 1_000, seconds_before, "{text}");
        };
        check("1 + time()", 0);
        check("up", 300);
        check("up offset 1h", 3_900);
        check("rate(a[10m]) / rate(b[5m] offset 10m)", 900);
        check("topk(scalar(max_over_time(a[1h])), -(b))", 3_600);
        check("max_over_time(rate(a[5m])[1h:1m] offset 1h)", 7_500);
        check("a @ 99000", 1_300);
        check("max_over_time((a @ end())[1d:1h])", 300);
    }
}
