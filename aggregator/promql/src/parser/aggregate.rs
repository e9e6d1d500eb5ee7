//! Aggregations.

use super::{Abandoned, Parsed, Parser};
use crate::ast::{Aggregate, Expr, ExprKind};
use crate::token::{AggregateOp, Modifier};

impl Parser<'_> {
    /// Parses an aggregation whose operation is next; the clause may stand before or behind the arguments.
    pub(super) fn aggregate(&mut self, op: AggregateOp) -> Parsed<Expr> {
        let start = self.advance().range;
        let mut clause = self.clause()?;
        let (args, close) = self.arguments("aggregation")?;
        let mut range = start.to(close);
        if clause.is_none() {
            let before = self.at;
            clause = self.clause()?;
            if self.at > before {
                range = range.to(self.tokens[self.at - 1].range);
            }
        }
        let (without, grouping) = clause.unwrap_or_default();
        if args.is_empty() {
            self.report(
                range,
                "no arguments for aggregate expression provided",
                None,
            );
            return Err(Abandoned);
        }
        if op.is_experimental() && !self.options.experimental_functions {
            self.report(
                range,
                format!(
                    "{op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
                ),
                None,
            );
        }
        let expected = 1 + usize::from(op.takes_parameter());
        let found = args.len();
        let mut args = args.into_iter();
        let param = if op.takes_parameter() {
            args.next()
        } else {
            None
        };
        let (Some(expr), true) = (args.next(), found == expected) else {
            self.report(
                range,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {found}"
                ),
                None,
            );
            return Err(Abandoned);
        };
        let aggregate = Aggregate {
            op,
            param,
            expr,
            grouping,
            without,
        };
        self.node(ExprKind::Aggregate(Box::new(aggregate)), range)
    }

    fn clause(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        if self.take_modifier(Modifier::By).is_some() {
            return Ok(Some((false, self.grouping_labels()?)));
        }
        if self.take_modifier(Modifier::Without).is_some() {
            return Ok(Some((true, self.grouping_labels()?)));
        }
        Ok(None)
    }
}
