use std::collections::BTreeSet;

use super::*;
use crate::ast::{Expr, ExprKind};
use crate::{ParserOptions, parse};

const VOCABULARY: Vocabulary = Vocabulary {
    counters: &["c_total"],
    gauges: &["g", "utf8.name"],
    buckets: &["b_bucket"],
    natives: &["h"],
    mixed: &["x"],
    infos: &["target_info"],
    labels: &[("a", &["1", "2"]), ("dotted.label", &["x"]), ("le", &["1"])],
    span: (0, 300),
};

fn words(expr: &Expr, found: &mut BTreeSet<&'static str>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {}
        ExprKind::Subquery(subquery) => words(&subquery.expr, found),
        ExprKind::Paren(inner) => words(inner, found),
        ExprKind::Unary(unary) => words(&unary.expr, found),
        ExprKind::Call(call) => {
            found.insert(call.function.name);
            call.args.iter().for_each(|arg| words(arg, found));
        }
        ExprKind::Aggregate(aggregate) => {
            found.insert(aggregate.op.as_str());
            aggregate.param.iter().for_each(|param| words(param, found));
            words(&aggregate.expr, found);
        }
        ExprKind::Binary(binary) => {
            found.insert(binary.op.as_str());
            words(&binary.left, found);
            words(&binary.right, found);
        }
    }
}

#[test]
fn everything_parses_prints_and_comes_up() {
    let grammar = Grammar::new(VOCABULARY);
    let mut found = BTreeSet::new();
    for seed in 0..20_000 {
        let mut generator = Generator::new(&grammar, Choices::seeded(seed), QueryBounds::Written);
        let text = generator.any_expression();
        let expr = parse(&text, ParserOptions::default())
            .unwrap_or_else(|error| panic!("seed {seed}: {text}: {error}"));
        words(&expr, &mut found);
        let printed = expr.to_string();
        let again = parse(&printed, ParserOptions::default())
            .unwrap_or_else(|error| panic!("seed {seed}: {text} printed as {printed}: {error}"));
        assert!(again == expr, "seed {seed}: {text} printed as {printed}");
    }
    let all: BTreeSet<&str> = FUNCTIONS
        .iter()
        .map(|function| function.name)
        .chain(AggregateOp::ALL.iter().map(|op| op.as_str()))
        .chain(Operator::ALL.iter().map(|op| op.as_str()))
        .collect();
    let missing: Vec<_> = all.difference(&found).collect();
    assert!(missing.is_empty(), "never generated: {missing:?}");
}

#[test]
fn what_is_left_out_stays_out() {
    let grammar = Grammar::new(VOCABULARY)
        .without([
            Feature::Experimental,
            Feature::ExtendedRanges,
            Feature::Fill,
            Feature::DurationExpressions,
        ])
        .without_words(["rate", "stddev", "atan2"]);
    let strict = ParserOptions {
        experimental_functions: false,
        duration_expressions: false,
        extended_range_selectors: false,
        fill_modifiers: false,
    };
    for seed in 0..3_000 {
        let mut generator = Generator::new(&grammar, Choices::seeded(seed), QueryBounds::Written);
        let text = generator.any_expression();
        let expr = parse(&text, strict).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut found = BTreeSet::new();
        words(&expr, &mut found);
        for word in ["rate", "stddev", "atan2"] {
            assert!(!found.contains(word), "{text}");
        }
    }
}

#[test]
fn bytes_that_end_end_the_expression() {
    let grammar = Grammar::new(VOCABULARY);
    for bytes in [&[][..], &[255; 3], &[7, 200, 13, 4, 90, 33, 21, 20, 22]] {
        let choices = Choices::from_bytes(bytes);
        let text = Generator::new(&grammar, choices, QueryBounds::Written).any_expression();
        assert!(parse(&text, ParserOptions::default()).is_ok(), "{text}");
    }
}
