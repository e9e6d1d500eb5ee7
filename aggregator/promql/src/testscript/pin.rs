//! Expressions whose selectors all look at one time, whenever they are evaluated.

use model::TimestampMs;

use crate::ast::{AtModifier, Expr, ExprKind, TimeModifiers};

/// Returns `expr` with `@ at` on every selector and subquery that is not below an `@` already.
pub(super) fn pinned(mut expr: Expr, at: TimestampMs) -> Expr {
    pin(&mut expr, at);
    expr
}

fn pin(expr: &mut Expr, at: TimestampMs) {
    let set = |time: &mut TimeModifiers| {
        if time.at.is_none() {
            time.at = Some(AtModifier::Time(at.0));
        }
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => set(&mut selector.time),
        ExprKind::Matrix(matrix) => set(&mut matrix.selector.time),
        // What is inside looks at the times of the subquery.
        ExprKind::Subquery(subquery) => set(&mut subquery.time),
        ExprKind::Paren(inner) => pin(inner, at),
        ExprKind::Unary(unary) => pin(&mut unary.expr, at),
        ExprKind::Binary(binary) => {
            pin(&mut binary.left, at);
            pin(&mut binary.right, at);
        }
        ExprKind::Aggregate(aggregate) => {
            if let Some(param) = &mut aggregate.param {
                pin(param, at);
            }
            pin(&mut aggregate.expr, at);
        }
        ExprKind::Call(call) => {
            // The label selector of `info` selects no samples.
            let samples = if call.function.name == "info" {
                1
            } else {
                usize::MAX
            };
            for arg in call.args.iter_mut().take(samples) {
                pin(arg, at);
            }
        }
    }
}
