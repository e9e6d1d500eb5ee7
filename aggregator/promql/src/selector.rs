//! The selectors of an expression, for those who ask about its series rather than its value.

use model::Matcher;

use crate::ast::{Expr, ExprKind, VectorSelector};
use crate::{ParseErrors, ParserOptions, parse};

/// Returns the matchers of every selector in an expression, in order; selectors that come twice are listed once.
pub fn selectors(text: &str, options: ParserOptions) -> Result<Vec<Vec<Matcher>>, ParseErrors> {
    let expr = parse(text, options)?;
    let mut found = Vec::new();
    collect(&expr, &mut found);
    let mut sets: Vec<Vec<Matcher>> = Vec::with_capacity(found.len());
    for selector in found {
        let set = selector.to_matchers();
        let set = set.map_err(|error| ParseErrors::single(expr.range, text, &error.to_string()))?;
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    Ok(sets)
}

/// The height of trees is bounded by the parser, so this recursion is.
fn collect<'a>(expr: &'a Expr, found: &mut Vec<&'a VectorSelector>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => found.push(selector),
        ExprKind::Matrix(matrix) => found.push(&matrix.selector),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, found),
        ExprKind::Call(call) => call
            .args
            .iter()
            .for_each(|argument| collect(argument, found)),
        ExprKind::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                collect(param, found);
            }
            collect(&aggregate.expr, found);
        }
        ExprKind::Binary(binary) => {
            collect(&binary.left, found);
            collect(&binary.right, found);
        }
        ExprKind::Unary(unary) => collect(&unary.expr, found),
        ExprKind::Paren(inner) => collect(inner, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_found_once() {
        let text = "topk(scalar(k), sum(rate(a{x=\"1\"}[5m])) / -(b) + max_over_time(a{x=\"1\"}[1h:1m])) or vector(1)";
        let sets = selectors(text, ParserOptions::default()).expect("valid");
        let shown: Vec<String> = sets
            .iter()
            .map(|set| {
                set.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(selectors("sum(", ParserOptions::default()).is_err());
    }
}
