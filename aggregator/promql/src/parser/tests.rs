use proptest::prelude::*;

use super::*;
use crate::ast::{AtModifier, DurationKind, Extended};

fn parsed(text: &str) -> Expr {
    parse(text, ParserOptions::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match parse(text, ParserOptions::default()) {
        Ok(expr) => panic!("{text} was read as {expr}"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn expressions_are_printed_as_they_mean() {
    for (text, printed) in [
        ("x[9223372036.854]", "x[106751d23h47m16s854ms]"),
        ("1 + 2*3 ^ 4", "1 + 2 * 3 ^ 4"),
        ("0x10 + 010 + 1_000", "16 + 8 + 1000"),
        ("+1 - -2", "1 - -2"),
        ("-x ^ 2", "-x ^ 2"),
        ("5m", "5m"),
        ("iNf / NaN", "+Inf / NaN"),
        // With its sign it would read as `+(Inf ^ x)`.
        ("Inf ^ x", "Inf ^ x"),
        ("foo{}", "foo"),
        ("foo{a='b', c!~`d.*`,}", "foo{a=\"b\",c!~\"d.*\"}"),
        ("{c=\"x\",b=\"y\",b!=\"a\"}", "{b!=\"a\",b=\"y\",c=\"x\"}"),
        ("x[300] offset 0.25", "x[5m] offset 250ms"),
        ("x[90:15] offset -60", "x[1m30s:15s] offset -1m"),
        ("x[60+1m] offset (60)", "x[60 + 1m] offset (60)"),
        ("x offset 0", "x"),
        (
            "{\"a.b\", \"l.x\"=\"v\"}",
            "{\"l.x\"=\"v\",__name__=\"a.b\"}",
        ),
        ("sum(x) by (a, \"b.c\")", "sum by (a, \"b.c\") (x)"),
        ("topk without(a) (3, x)", "topk without (a) (3, x)"),
        ("sum by () (x)", "sum(x)"),
        ("x[5m] offset 1h @ 10", "x[5m] @ 10.000 offset 1h"),
        ("x @ start() offset -2^2", "x @ start() offset -2s ^ 2"),
        ("x offset step()*2", "x offset step() * 2"),
        ("rate(x[step()+1m])", "rate(x[step() + 1m])"),
        ("x[max_of(1m, range()):]", "x[max_of(1m, range()):]"),
        ("rate(x[1m] anchored @ 5)", "rate(x[1m] anchored @ 5.000)"),
        ("x smoothed offset 1m", "x offset 1m smoothed"),
        ("a + on(x) group_left b", "a + on (x) group_left () b"),
        (
            "a * ignoring(x) group_right(y) b",
            "a * ignoring (x) group_right (y) b",
        ),
        ("a == bool on() b", "a == bool on () b"),
        (
            "a + fill_left(1) fill_right(-Inf) b",
            "a + fill_left (1) fill_right (-Inf) b",
        ),
        ("a + fill(NaN) b", "a + fill (NaN) b"),
        ("h </ 5 >/ 1", "h </ 5 >/ 1"),
        ("and or unless", "and or unless"),
        ("sum + by", "sum + by"),
        ("fill + fill", "fill + fill"),
        ("STart() + Step()", "start() + step()"),
        ("'a\\xff\\u00e9'", "\"a\\xffé\""),
        ("# only a comment\nx", "x"),
        ("x [ 5m : 30s ]", "x[5m:30s]"),
        ("a:b:c", "a:b:c"),
    ] {
        assert_eq!(parsed(text).to_string(), printed, "{text}");
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (text, same) in [
        ("a or b and c", "a or (b and c)"),
        ("a and b unless c", "(a and b) unless c"),
        ("a == b + c", "a == (b + c)"),
        ("a </ b + c", "a </ (b + c)"),
        ("a - b - c", "(a - b) - c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a atan2 b + c", "(a atan2 b) + c"),
        ("a offset 1m ^ 2", "(a offset 1m) ^ 2"),
    ] {
        assert_eq!(shape(&parsed(text)), shape(&parsed(same)), "{text}");
    }
}

/// The tree with a pair of parentheses around every operation, and none else.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Paren(inner) => shape(inner),
        ExprKind::Unary(unary) => format!("(-{})", shape(&unary.expr)),
        ExprKind::Binary(binary) => {
            format!(
                "({} {} {})",
                shape(&binary.left),
                binary.op,
                shape(&binary.right)
            )
        }
        _ => expr.to_string(),
    }
}

#[test]
fn every_node_knows_its_place() {
    let text = "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) + 2";
    let expr = parsed(text);
    let ExprKind::Binary(binary) = &expr.kind else {
        panic!("{expr:?}");
    };
    let ExprKind::Aggregate(aggregate) = &binary.left.kind else {
        panic!("{expr:?}");
    };
    let ExprKind::Call(call) = &aggregate.expr.kind else {
        panic!("{expr:?}");
    };
    let slice = |expr: &Expr| {
        text.get(expr.range.start as usize..expr.range.end as usize)
            .unwrap_or_default()
    };
    assert_eq!(slice(&expr), text);
    assert_eq!(
        slice(&binary.left),
        "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m))"
    );
    assert_eq!(slice(&aggregate.expr), "rate(x{b=\"c\"}[5m] offset 1m)");
    assert_eq!(slice(&call.args[0]), "x{b=\"c\"}[5m] offset 1m");
    assert_eq!(slice(&binary.right), "2");
}

#[test]
fn modifiers_come_in_any_order() {
    for text in [
        "x[1m] offset 5m @ 3 anchored",
        "x[1m] anchored @ 3 offset 5m",
    ] {
        let ExprKind::Matrix(matrix) = parsed(text).kind else {
            panic!("{text}");
        };
        assert_eq!(matrix.selector.time.at, Some(AtModifier::Time(3_000)));
        assert_eq!(matrix.selector.extended, Some(Extended::Anchored));
        let offset = matrix.selector.time.offset.expect("an offset");
        assert!(matches!(offset.kind, DurationKind::Literal(literal) if literal.value == 300.0));
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, message) in [
        ("", "1:1: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("1)", "1:2: parse error: unexpected right parenthesis ')'"),
        (
            "{",
            "1:2: parse error: unexpected end of input inside braces",
        ),
        ("x[5m", "1:5: parse error: unclosed left bracket"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        (
            "sum(x) by",
            "1:10: parse error: unexpected end of input in grouping opts, expected \"(\"",
        ),
        (
            "x{a}",
            "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator",
        ),
        (
            "x{a=b}",
            "1:5: parse error: unexpected identifier \"b\" in label matching, expected string",
        ),
        (
            "x offset",
            "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "x @ y",
            "1:5: parse error: unexpected identifier \"y\" in @, expected timestamp",
        ),
        ("x[0s]", "1:3: parse error: duration must be greater than 0"),
        ("x[9223372037]", "1:3: parse error: duration out of range"),
        (
            "x offset -9223372037",
            "1:10: parse error: duration out of range",
        ),
        (
            "x[5m][5m]",
            "1:6: parse error: ranges only allowed for vector selectors",
        ),
        (
            "1 offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "rate(x[5m],)",
            "1:11: parse error: trailing commas not allowed in function call args",
        ),
        (
            "\"\\q\"",
            "1:1: parse error: unknown escape sequence U+0071 'q'",
        ),
        (
            "1 == 1",
            "1:3: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "1 and x",
            "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
        ),
        (
            "x + bool y",
            "1:3: parse error: bool modifier can only be used on comparison operators",
        ),
        (
            "a + on(b) group_left(b) c",
            "1:3: parse error: label \"b\" must not occur in ON and GROUP clause at once",
        ),
        (
            "a and on(b) group_left c",
            "1:1: parse error: no grouping allowed for \"and\" operation",
        ),
        (
            "a + on(b) 1",
            "1:1: parse error: vector matching only allowed between instant vectors",
        ),
        (
            "rate(x)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "abs(x, y)",
            "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 2",
        ),
        (
            "round()",
            "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0",
        ),
        (
            "round(x, 1, 2)",
            "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
        ),
        (
            "sum()",
            "1:1: parse error: no arguments for aggregate expression provided",
        ),
        (
            "topk(x)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "topk(\"a\", x)",
            "1:6: parse error: expected type scalar in aggregation parameter, got string",
        ),
        (
            "{}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "x{__name__=\"y\"}",
            "1:1: parse error: metric name must not be set twice: \"x\" or \"y\"",
        ),
        (
            "1[5m:]",
            "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
        ),
        (
            "deriv(x[3m] smoothed)",
            "1:7: parse error: smoothed modifier can only be used with: delta, increase, rate - not with deriv",
        ),
        (
            "info(x, y)",
            "1:9: parse error: expected label selectors only, got vector selector instead",
        ),
        (
            "rte(x[5m])",
            "1:1: parse error: unknown function with name \"rte\" (did you mean \"rate\"?)",
        ),
        (
            "x ofset 5m",
            "1:3: parse error: unexpected identifier \"ofset\" (did you mean \"offset\"?)",
        ),
        ("sum(\n  x +\n)", "3:1: parse error: unexpected \")\""),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let errors = parse("clamp(rte(x), 1 +, x{a})", ParserOptions::default()).expect_err("bad");
    let places: Vec<String> = errors.iter().map(|error| error.place.to_string()).collect();
    assert_eq!(places, ["1:7", "1:18", "1:23"]);
}

#[test]
fn switches_turn_experiments_off() {
    let none = ParserOptions {
        experimental_functions: false,
        duration_expressions: false,
        extended_range_selectors: false,
        fill_modifiers: false,
    };
    for text in [
        "mad_over_time(x[5m])",
        "limitk(1, x)",
        "x offset (1m + 1m)",
        "rate(x[5m] anchored)",
        "a + fill(0) b",
    ] {
        assert!(parse(text, none).is_err(), "{text}");
        assert!(parse(text, ParserOptions::default()).is_ok(), "{text}");
    }
}

#[test]
fn hostile_depth_is_refused_and_long_chains_have_a_bound() {
    let deep = 100_000;
    for text in [
        format!("{}1{}", "(".repeat(deep), ")".repeat(deep)),
        "(".repeat(deep),
        format!("{}1", "-".repeat(deep)),
        format!("{}1", "1^".repeat(deep)),
        format!("{}x{}", "abs(".repeat(deep), ")".repeat(deep)),
        format!("{}1", "1+".repeat(deep)),
        format!("x{}", "[1m:]".repeat(deep)),
        format!("x offset {}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("x[{}1]", "1+".repeat(deep)),
        format!("x[{}1]", "-".repeat(deep)),
        format!("x{}", " offset 1m".repeat(deep)),
        "sum by (".repeat(deep),
        "{".repeat(deep),
    ] {
        assert!(parse(&text, ParserOptions::default()).is_err());
    }
    let chain = format!("{}x", "x or ".repeat(500));
    let expr = parsed(&chain);
    assert_eq!(expr.to_string(), chain);
    assert_eq!(expr.clone(), expr);
}

#[test]
fn a_zero_keeps_its_sign_in_print() {
    for text in [
        "-0s",
        "-0",
        "0s",
        "m offset -0s",
        "m[5m] offset -0",
        "m[-0s:1s]",
    ] {
        let Ok(first) = parse(text, ParserOptions::default()) else {
            continue;
        };
        let printed = first.to_string();
        assert_eq!(
            parse(&printed, ParserOptions::default()).as_ref(),
            Ok(&first),
            "{text} printed as {printed}"
        );
    }
    assert_eq!(parsed("-0s").to_string(), "-0s");
}

/// Texts of expressions by type, with parentheses wherever precedence might matter.
fn expression(depth: u32) -> impl Strategy<Value = String> {
    let name = "[a-z]{1,3}";
    let duration = prop_oneof![
        (1_u32..100).prop_map(|n| format!("{n}m")),
        (1_u32..100).prop_map(|n| format!("{n}s+step()")),
        Just("max_of(1m, range()+5)".to_owned()),
    ];
    let matcher = (
        name,
        prop::sample::select(vec!["=", "!=", "=~", "!~"]).prop_map(String::from),
        "\\PC{0,4}",
    )
        .prop_map(|(name, op, value)| {
            format!(
                "{name}{op}{}",
                crate::unquote::quote(regex::escape(&value).as_bytes())
            )
        });
    let time = prop_oneof![
        Just(String::new()),
        (-100_i32..100).prop_map(|n| format!(" offset {n}")),
        (-100_i32..100).prop_map(|n| format!(" @ {n} offset (5m*2)")),
        Just(" @ end()".to_owned()),
        Just(" offset -step()".to_owned()),
    ];
    let selector = (name, prop::collection::vec(matcher, 0..3), time.clone())
        .prop_map(|(name, matchers, time)| format!("m{name}{{{}}}{time}", matchers.join(",")));
    let range = (name, duration.clone(), time.clone())
        .prop_map(|(name, duration, time)| format!("rate(m{name}[{duration}]{time})"));
    let leaf = prop_oneof![selector, range];
    leaf.prop_recursive(depth, 32, 3, move |inner| {
        let modifier = prop_oneof![
            Just(String::new()),
            Just("on (a, b) group_left (c)".to_owned()),
            Just("ignoring (a)".to_owned()),
            Just("fill_left(1)".to_owned()),
        ];
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "atan2"]),
                modifier,
                inner.clone()
            )
                .prop_map(|(a, op, modifier, b)| format!("({a}) {op} {modifier} {b}")),
            (
                inner.clone(),
                prop::sample::select(vec!["==", "!=", ">", "<=", ">= bool"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (
                inner.clone(),
                prop::sample::select(vec!["and", "or", "unless"]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), -10.0_f64..10.0).prop_map(|(a, n)| format!("clamp_max({a}, {n})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (
                prop::sample::select(vec!["sum", "max", "count"]),
                prop::sample::select(vec!["", "by (a)", "without (a, b)"]),
                inner.clone()
            )
                .prop_map(|(op, clause, a)| format!("{op} {clause} ({a})")),
            (inner.clone(), duration.clone(), time.clone())
                .prop_map(|(a, d, time)| format!("max_over_time(({a})[{d}:1m]{time})")),
            (inner, "[a-z$]{0,5}").prop_map(|(a, text)| {
                format!("label_replace({a}, \"d\", \"{text}\", \"s\", \"(.*)\")")
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn printing_reads_back_the_same(text in expression(4)) {
        let first = parse(&text, ParserOptions::default());
        prop_assume!(first.is_ok());
        let first = first.expect("just checked");
        let printed = first.to_string();
        let second = parse(&printed, ParserOptions::default());
        prop_assert_eq!(second.as_ref(), Ok(&first), "{} printed as {}", text, printed);
        let mut pretty = String::new();
        crate::prettify(&first, &mut pretty).expect("strings take all");
        let third = parse(&pretty, ParserOptions::default());
        prop_assert_eq!(third.as_ref(), Ok(&first), "{} prettified to {}", text, pretty);
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,60}") {
        if let Ok(expr) = parse(&text, ParserOptions::default()) {
            prop_assert!(!expr.to_string().is_empty());
        }
    }

    #[test]
    fn random_words_never_panic(words in prop::collection::vec(prop_oneof![
        Just("sum"), Just("("), Just(")"), Just("{"), Just("}"), Just("["), Just("]"), Just(":"), Just(","), Just("by"),
        Just("offset"), Just("@"), Just("5m"), Just("1"), Just("-"), Just("^"), Just("x"), Just("\"s\""), Just("="), Just("=~"),
        Just("start"), Just("step"), Just("rate"), Just("on"), Just("group_left"), Just("fill"), Just("bool"), Just("and"),
        Just("anchored"), Just("min_of"), Just("</"), Just("\n"), Just("#"), Just("'"), Just("é"),
    ], 0..40)) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text, ParserOptions::default()) {
            let mut pretty = String::new();
            crate::prettify(&expr, &mut pretty).expect("strings take all");
            let again = parse(&pretty, ParserOptions::default());
            prop_assert_eq!(again.as_ref(), Ok(&expr), "{}", pretty);
            prop_assert_eq!(parse(&expr.to_string(), ParserOptions::default()), Ok(expr));
        }
    }
}
