//! Our own test scripts: `tests/scripts/*.test`, in the language of `promql::testscript`.

use std::collections::BTreeSet;
use std::path::Path;

use promql::ast::{
    AtModifier, DurationExpr, DurationKind, Expr, ExprKind, Extended, GroupSide, Matching,
    TimeModifiers,
};
use promql::testscript::{run, settings};
use promql::{AggregateOp, Function, Modifier, Operator, ParserOptions, parse};

#[test]
fn our_own_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let (mut passed, mut failed) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let report = run(&std::fs::read_to_string(&path).unwrap(), &settings());
        for failure in &report.failures {
            println!("{}:{} {}", path.display(), failure.line, failure.what);
        }
        passed += report.passed;
        failed += report.failures.len();
    }
    assert_eq!(failed, 0, "failures");
    assert!(passed > 150, "{passed} statements");
}

/// What the language has beside functions, aggregations, operators and the modifiers of [`Modifier`].
const FORMS: &[&str] = &["@", "subquery", "min_of duration", "max_of duration"];

#[test]
fn our_own_scripts_use_the_whole_language() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut used = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for query in text.lines().filter_map(query) {
            // What must fail may fail to parse.
            if let Ok(expr) = parse(query, ParserOptions::default()) {
                note(&expr, &mut used);
            }
        }
    }
    let functions = Function::all().iter().map(|function| function.name);
    let inventory: BTreeSet<&str> = functions
        .chain(AggregateOp::ALL.iter().map(|op| op.as_str()))
        .chain(Operator::ALL.iter().map(|op| op.as_str()))
        .chain(Modifier::ALL.iter().map(|modifier| modifier.as_str()))
        .chain(FORMS.iter().copied())
        .collect();
    let missing: Vec<_> = inventory.difference(&used).collect();
    assert!(missing.is_empty(), "no script of ours uses {missing:?}");
}

/// Returns the expression of a line that evaluates one.
fn query(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("eval")?;
    let words = if rest.trim_start().starts_with("range") {
        7
    } else {
        3
    };
    let mut rest = rest.trim_start();
    for _ in 0..words {
        rest = rest.split_once(char::is_whitespace)?.1.trim_start();
    }
    Some(rest)
}

fn note(expr: &Expr, used: &mut BTreeSet<&'static str>) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Vector(selector) => {
            note_extended(selector.extended, used);
            note_time(&selector.time, used);
        }
        ExprKind::Matrix(matrix) => {
            note_extended(matrix.selector.extended, used);
            note_time(&matrix.selector.time, used);
            note_duration(&matrix.range, used);
        }
        ExprKind::Subquery(subquery) => {
            used.insert("subquery");
            note(&subquery.expr, used);
            note_time(&subquery.time, used);
            note_duration(&subquery.range, used);
            subquery
                .step
                .iter()
                .for_each(|step| note_duration(step, used));
        }
        ExprKind::Call(call) => {
            used.insert(call.function.name);
            call.args.iter().for_each(|arg| note(arg, used));
        }
        ExprKind::Aggregate(aggregate) => {
            used.insert(aggregate.op.as_str());
            if aggregate.without {
                used.insert("without");
            } else if !aggregate.grouping.is_empty() {
                used.insert("by");
            }
            aggregate.param.iter().for_each(|param| note(param, used));
            note(&aggregate.expr, used);
        }
        ExprKind::Binary(binary) => {
            used.insert(binary.op.as_str());
            if binary.return_bool {
                used.insert("bool");
            }
            note_matching(&binary.matching, used);
            note(&binary.left, used);
            note(&binary.right, used);
        }
        ExprKind::Unary(unary) => note(&unary.expr, used),
        ExprKind::Paren(inner) => note(inner, used),
    }
}

fn note_extended(extended: Option<Extended>, used: &mut BTreeSet<&'static str>) {
    used.extend(extended.map(|extended| match extended {
        Extended::Anchored => "anchored",
        Extended::Smoothed => "smoothed",
    }));
}

fn note_time(time: &TimeModifiers, used: &mut BTreeSet<&'static str>) {
    used.extend(time.at.map(|at| match at {
        AtModifier::Time(_) => "@",
        AtModifier::Start => "start",
        AtModifier::End => "end",
    }));
    if let Some(offset) = &time.offset {
        used.insert("offset");
        note_duration(offset, used);
    }
}

fn note_duration(duration: &DurationExpr, used: &mut BTreeSet<&'static str>) {
    match &duration.kind {
        DurationKind::Literal(_) => {}
        DurationKind::Step => drop(used.insert("step")),
        DurationKind::Range => drop(used.insert("range")),
        DurationKind::Negative(inner) | DurationKind::Paren(inner) => note_duration(inner, used),
        DurationKind::Extreme(greatest, pair) => {
            used.insert(if *greatest {
                "max_of duration"
            } else {
                "min_of duration"
            });
            note_duration(&pair.0, used);
            note_duration(&pair.1, used);
        }
        DurationKind::Binary(_, pair) => {
            note_duration(&pair.0, used);
            note_duration(&pair.1, used);
        }
    }
}

fn note_matching(matching: &Matching, used: &mut BTreeSet<&'static str>) {
    if matching.on {
        used.insert("on");
    } else if !matching.labels.is_empty() {
        used.insert("ignoring");
    }
    used.extend(matching.group.map(|side| match side {
        GroupSide::Left => "group_left",
        GroupSide::Right => "group_right",
    }));
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => drop(used.insert("fill")),
        (left, right) => {
            used.extend(left.map(|_| "fill_left"));
            used.extend(right.map(|_| "fill_right"));
        }
    }
}
