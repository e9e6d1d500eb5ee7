//! The selectors of an expression, wherever they stand in it.

use model::{Matcher, MatcherError};

use crate::ast::{Expr, ExprKind};
use crate::{ParseErrors, ParserOptions, parse};

/// Returns the matchers of each selector in `text`, in order of place: which series the expression looks at.
pub fn selectors(text: &str, options: ParserOptions) -> Result<Vec<Vec<Matcher>>, ParseErrors> {
    let expr = parse(text, options)?;
    let mut found = Vec::new();
    collect(&expr, &mut found)
        .map_err(|error| ParseErrors::single(expr.range, text, &error.to_string()))?;
    Ok(found)
}

/// Recurses at most as deep as trees are high, [`crate::EXPRESSION_HEIGHT_MAX`].
fn collect(expr: &Expr, found: &mut Vec<Vec<Matcher>>) -> Result<(), MatcherError> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => found.push(selector.to_matchers()?),
        ExprKind::Matrix(matrix) => found.push(matrix.selector.to_matchers()?),
        ExprKind::Subquery(subquery) => collect(&subquery.expr, found)?,
        ExprKind::Call(call) => {
            for arg in &call.args {
                collect(arg, found)?;
            }
        }
        ExprKind::Aggregate(aggregate) => {
            if let Some(param) = &aggregate.param {
                collect(param, found)?;
            }
            collect(&aggregate.expr, found)?;
        }
        ExprKind::Binary(binary) => {
            collect(&binary.left, found)?;
            collect(&binary.right, found)?;
        }
        ExprKind::Unary(unary) => collect(&unary.expr, found)?,
        ExprKind::Paren(inner) => collect(inner, found)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_found() {
        let found = |text: &str| -> Vec<String> {
            let sets = selectors(text, ParserOptions::default()).unwrap();
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
        assert!(selectors("a{", ParserOptions::default()).is_err());
    }
}
