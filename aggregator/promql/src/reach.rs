//! How far from the instant of its evaluation an expression looks.

use std::time::Duration;

use model::{TimeRange, TimestampMs};

use crate::ast::{AtModifier, DurationExpr, DurationKind, Expr, ExprKind, TimeModifiers};

/// Where the samples lie that an evaluation looks at: milliseconds from its instant, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    from: i64,
    to: i64,
}

impl Reach {
    /// Everywhere.
    pub const ALL: Self = Self {
        from: i64::MIN,
        to: i64::MAX,
    };

    /// Returns the reach of an expression; `None`: it looks at no samples. `lookback`: how old the newest sample of a series may be.
    pub fn of(expr: &Expr, lookback: Duration) -> Option<Self> {
        let lookback = i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX);
        of(expr, lookback)
    }

    /// Returns the reach of who looks as far as both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
        }
    }

    /// Returns where the samples lie for an evaluation at `at`.
    pub const fn around(self, at: TimestampMs) -> TimeRange {
        TimeRange::new(
            TimestampMs(at.0.saturating_add(self.from)),
            TimestampMs(at.0.saturating_add(self.to)),
        )
    }

    /// Returns the first instant at which an evaluation may see a sample at `at`.
    pub const fn first_to_see(self, at: TimestampMs) -> TimestampMs {
        TimestampMs(at.0.saturating_sub(self.to))
    }

    /// Returns the reach, as modifiers move it.
    fn moved(self, time: &TimeModifiers) -> Self {
        if matches!(time.at, Some(AtModifier::Time(_))) {
            return Self::ALL;
        }
        let Some(offset) = time.offset.as_ref().map_or(Some(0), milliseconds) else {
            return Self::ALL;
        };
        Self {
            from: self.from.saturating_sub(offset),
            to: self.to.saturating_sub(offset),
        }
    }

    /// Returns the reach of who looks so from each instant of a range back.
    fn over(self, range: &DurationExpr) -> Self {
        let Some(range) = milliseconds(range) else {
            return Self::ALL;
        };
        Self {
            from: self.from.saturating_sub(range),
            ..self
        }
    }
}

/// Recurses at most as deep as trees are high, [`crate::EXPRESSION_HEIGHT_MAX`].
fn of(expr: &Expr, lookback: i64) -> Option<Reach> {
    let back = |by: i64| Reach {
        from: by.saturating_neg(),
        to: 0,
    };
    let all = |exprs: &[&Expr]| {
        let reaches = exprs.iter().filter_map(|expr| of(expr, lookback));
        reaches.reduce(Reach::union)
    };
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => None,
        ExprKind::Vector(selector) => Some(back(lookback).moved(&selector.time)),
        ExprKind::Matrix(matrix) => {
            let selector = &matrix.selector;
            // Who is anchored or smoothed looks at the sample before the range too.
            let before = selector.extended.map_or(0, |_| lookback);
            Some(back(before).over(&matrix.range).moved(&selector.time))
        }
        ExprKind::Subquery(subquery) => {
            let inner = of(&subquery.expr, lookback)?;
            Some(inner.over(&subquery.range).moved(&subquery.time))
        }
        ExprKind::Call(call) => all(&call.args.iter().collect::<Vec<_>>()),
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate.param.iter();
            all(&param.chain([&aggregate.expr]).collect::<Vec<_>>())
        }
        ExprKind::Binary(binary) => all(&[&binary.left, &binary.right]),
        ExprKind::Unary(unary) => of(&unary.expr, lookback),
        ExprKind::Paren(inner) => of(inner, lookback),
    }
}

/// Returns a duration; `None`: it is a matter of the query.
fn milliseconds(duration: &DurationExpr) -> Option<i64> {
    match &duration.kind {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the parser bounds durations; beyond, it is the most there is"
        )]
        DurationKind::Literal(number) => Some((number.value * 1_000.0).round() as i64),
        DurationKind::Negative(inner) => Some(milliseconds(inner)?.saturating_neg()),
        DurationKind::Paren(inner) => milliseconds(inner),
        DurationKind::Step
        | DurationKind::Range
        | DurationKind::Extreme(..)
        | DurationKind::Binary(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParserOptions, parse};

    #[test]
    fn what_is_looked_at_lies_within_reach() {
        let check = |text: &str, expected: Option<(i64, i64)>| {
            let expr = parse(text, ParserOptions::default()).unwrap();
            let reach = Reach::of(&expr, Duration::from_secs(300));
            let expected = expected.map(|(from, to)| Reach {
                from: from * 1_000,
                to: to * 1_000,
            });
            assert_eq!(reach, expected, "{text}");
        };
        check("1 + 2", None);
        check("a", Some((-300, 0)));
        check("a offset 1m", Some((-360, -60)));
        check("a offset -1m", Some((-240, 60)));
        check("rate(a[10m])", Some((-600, 0)));
        check("rate(a[10m] offset 1h) + b", Some((-4_200, 0)));
        check("max_over_time(a[1h:1m] offset 5m)", Some((-4_200, -300)));
        check("topk(scalar(a offset 1h), sum(b))", Some((-3_900, 0)));
        let expr = parse("-(a @ 5)", ParserOptions::default()).unwrap();
        assert_eq!(Reach::of(&expr, Duration::ZERO), Some(Reach::ALL));
    }
}
