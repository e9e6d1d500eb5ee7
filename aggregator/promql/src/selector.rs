//! The selectors of an expression, wherever they stand in it.

use model::Matcher;
use storage::Budget;

use crate::ast::{Expr, ExprKind};
use crate::{ParserOptions, QueryError, parse_within};

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
}
