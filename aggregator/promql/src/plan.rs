//! What each part of an expression came to and cost.

use std::time::Duration;

use crate::TextRange;
use crate::ast::{Expr, ExprKind};

/// A node of an expression, as it was evaluated; what is below it counts with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNode {
    /// How many nodes are above it.
    pub depth: usize,
    /// What it is: `selector`, `range selector`, `subquery`, `binary`, the name of a function or an aggregation, ...
    pub kind: &'static str,
    /// Its text.
    pub range: TextRange,
    /// Series of its value.
    pub series: u64,
    /// Values of these series, over all instants.
    pub points: u64,
    /// Samples read from the store.
    pub samples_read: u64,
    /// How long it took, as far as the budget tells.
    pub took: Duration,
    /// Bytes that its value holds.
    pub value_bytes: u64,
}

/// The nodes of a query that is being explained, in the order of their beginnings: each before those below it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    nodes: Vec<PlanNode>,
    depth: usize,
}

/// A node that is being evaluated.
#[derive(Debug)]
pub(crate) struct Open {
    place: usize,
    began: Duration,
    samples_read: u64,
}

impl Plan {
    /// Notes that a node begins, when so many samples have been read.
    pub(crate) fn begin(&mut self, expr: &Expr, now: Duration, samples_read: u64) -> Open {
        let place = self.nodes.len();
        self.nodes.push(PlanNode {
            depth: self.depth,
            kind: kind(expr),
            range: expr.range,
            series: 0,
            points: 0,
            samples_read: 0,
            took: Duration::ZERO,
            value_bytes: 0,
        });
        self.depth += 1;
        Open {
            place,
            began: now,
            samples_read,
        }
    }

    /// Notes what it came to.
    pub(crate) fn end(
        &mut self,
        open: &Open,
        now: Duration,
        samples_read: u64,
        (series, points, bytes): (u64, u64, u64),
    ) {
        self.depth -= 1;
        if let Some(node) = self.nodes.get_mut(open.place) {
            node.took = now.saturating_sub(open.began);
            node.samples_read = samples_read - open.samples_read;
            (node.series, node.points, node.value_bytes) = (series, points, bytes);
        }
    }

    pub(crate) fn into_nodes(self) -> Vec<PlanNode> {
        self.nodes
    }
}

fn kind(expr: &Expr) -> &'static str {
    match &expr.kind {
        ExprKind::Number(_) => "number",
        ExprKind::String(_) => "string",
        ExprKind::Vector(_) => "selector",
        ExprKind::Matrix(_) => "range selector",
        ExprKind::Subquery(_) => "subquery",
        ExprKind::Call(call) => call.function.name,
        ExprKind::Aggregate(aggregate) => aggregate.op.as_str(),
        ExprKind::Binary(binary) => binary.op.as_str(),
        ExprKind::Unary(_) => "sign",
        ExprKind::Paren(inner) => kind(inner),
    }
}
