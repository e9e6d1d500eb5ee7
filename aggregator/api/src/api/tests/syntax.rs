//! Expressions formatted, and as trees.

use serde_json::{Value, json};

use super::world::World;

async fn tree(world: &World, expression: &str) -> Value {
    let call = format!("POST /api/v1/parse_query query={}", encoded(expression));
    let answer = world.call(&call).await;
    assert_eq!(answer.status.as_u16(), 200, "{expression}: {}", answer.body);
    let mut json = answer.json();
    assert_eq!(json["status"], "success");
    json["data"].take()
}

fn encoded(expression: &str) -> String {
    http_shell::encode_component(expression)
}

fn selector(name: &str) -> Value {
    json!({
        "type": "vectorSelector", "name": name, "offset": 0, "timestamp": null, "startOrEnd": null,
        "anchored": false, "smoothed": false, "matchers": [{"type": "=", "name": "__name__", "value": name}],
    })
}

#[tokio::test]
async fn expressions_are_formatted() {
    let world = World::new();
    let long = "a_metric_with_a_long_name".repeat(2);
    let query = format!("sum({long}{{b='c',a!='d'}}+{long}) by (job)");
    let pretty = format!("sum by (job) (\n    {long}{{a!=\"d\",b=\"c\"}}\n  +\n    {long}\n)");
    for (query, pretty) in [("foo/bar", "foo / bar"), (&query, &pretty)] {
        for call in [
            format!("GET /api/v1/format_query?query={}", encoded(query)),
            format!("POST /api/v1/format_query query={}", encoded(query)),
        ] {
            assert_eq!(world.call(&call).await.json()["data"], *pretty, "{call}");
        }
    }
    for path in ["format_query", "parse_query"] {
        let answer = world
            .call(&format!("GET /api/v1/{path}?query=invalid_expression/"))
            .await;
        assert_eq!(answer.status.as_u16(), 400);
        let json = answer.json();
        assert_eq!(json["errorType"], "bad_data");
        let error = json["error"].as_str().unwrap();
        assert!(
            error.starts_with("invalid parameter \"query\": 1:20: parse error: "),
            "{error}"
        );
    }
    // A line for each of the many arguments, each with hundreds of blanks before it.
    let deep = format!(
        "{}label_join(up, \"d\", \",\"{}){}",
        "abs(".repeat(100),
        ",\"s\"".repeat(100_000),
        ")".repeat(100)
    );
    let answer = world
        .call(&format!("POST /api/v1/format_query query={deep}"))
        .await;
    assert_eq!(answer.status.as_u16(), 400);
    assert!(
        answer.body.contains("8388608 bytes allowed"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn trees_have_the_shapes_of_prometheus() {
    let world = World::new();
    let number = |text: &str| json!({"type": "numberLiteral", "val": text});
    let function = |name: &str, arguments: &[&str], variadic: i64, returns: &str| json!({"name": name, "argTypes": arguments, "variadic": variadic, "returnType": returns});
    let matching = |card: &str, on: bool, labels: &[&str], include: &[&str]| json!({"card": card, "on": on, "labels": labels, "include": include, "fillValues": {"lhs": null, "rhs": null}});
    let binary = |op: &str, left: &Value, right: &Value, matching: Value, returns_bool: bool| json!({"type": "binaryExpr", "op": op, "lhs": left, "rhs": right, "matching": matching, "bool": returns_bool});
    let (a, b) = (selector("a"), selector("b"));
    let mut filled = matching("one-to-one", false, &[], &[]);
    filled["fillValues"] = json!({"lhs": 1.5, "rhs": "NaN"});
    for (expression, tree_of_it) in [
        ("1e3", number("1000")),
        ("5m", number("300")),
        ("'x'", json!({"type": "stringLiteral", "val": "x"})),
        ("a", a.clone()),
        ("(a)", json!({"type": "parenExpr", "expr": a})),
        ("-a", json!({"type": "unaryExpr", "op": "-", "expr": a})),
        (
            "a{x!~\"y\"} @ end() offset -1m",
            json!({
                "type": "vectorSelector", "name": "a", "offset": -60_000, "timestamp": null, "startOrEnd": "end",
                "anchored": false, "smoothed": false,
                "matchers": [{"type": "!~", "name": "x", "value": "y"}, {"type": "=", "name": "__name__", "value": "a"}],
            }),
        ),
        (
            "rate({\"a\"}[5m] smoothed @ 1.5)",
            json!({
                "type": "call", "func": function("rate", &["matrix"], 0, "vector"),
                "args": [{
                    "type": "matrixSelector", "name": "", "range": 300_000, "offset": 0, "timestamp": 1_500,
                    "startOrEnd": null, "anchored": false, "smoothed": true,
                    "matchers": [{"type": "=", "name": "__name__", "value": "a"}],
                }],
            }),
        ),
        (
            "a[1h:] @ start()",
            json!({
                "type": "subquery", "expr": a, "range": 3_600_000, "step": 0, "offset": 0, "timestamp": null,
                "startOrEnd": "start",
            }),
        ),
        (
            "round(a)",
            json!({"type": "call", "func": function("round", &["vector", "scalar"], 1, "vector"), "args": [a]}),
        ),
        (
            "topk without (x) (3, a)",
            json!({"type": "aggregation", "op": "topk", "expr": a, "param": number("3"), "grouping": ["x"], "without": true}),
        ),
        (
            "sum(a)",
            json!({"type": "aggregation", "op": "sum", "expr": a, "param": null, "grouping": [], "without": false}),
        ),
        (
            "1 + 1",
            binary("+", &number("1"), &number("1"), Value::Null, false),
        ),
        (
            "a > bool 1",
            binary(">", &a, &number("1"), Value::Null, true),
        ),
        (
            "a + b",
            binary("+", &a, &b, matching("one-to-one", false, &[], &[]), false),
        ),
        (
            "a and on(x) b",
            binary(
                "and",
                &a,
                &b,
                matching("many-to-many", true, &["x"], &[]),
                false,
            ),
        ),
        (
            "a * ignoring(x) group_left(y) b",
            binary(
                "*",
                &a,
                &b,
                matching("many-to-one", false, &["x"], &["y"]),
                false,
            ),
        ),
        (
            "a * on() group_right b",
            binary("*", &a, &b, matching("one-to-many", true, &[], &[]), false),
        ),
        (
            "a + fill_left(1.5) fill_right(NaN) b",
            binary("+", &a, &b, filled, false),
        ),
    ] {
        assert_eq!(tree(&world, expression).await, tree_of_it, "{expression}");
    }
}

#[tokio::test]
async fn high_trees_and_wide_ones_are_written() {
    let world = World::new();
    for expression in [
        format!("{}a{}", "(".repeat(120), ")".repeat(120)),
        format!("a{}", " + a".repeat(500)),
    ] {
        // Higher than what serde reads.
        let call = format!("POST /api/v1/parse_query query={}", encoded(&expression));
        let answer = world.call(&call).await;
        assert_eq!(answer.status.as_u16(), 200);
        let count = |sign| answer.body.matches(sign).count();
        assert_eq!((count('{'), count('[')), (count('}'), count(']')));
        assert!(
            answer.body.ends_with(r#""type":"parenExpr"}}"#)
                || answer.body.ends_with(r#""type":"binaryExpr"}}"#)
        );
    }
    let mut small = super::world::config();
    small.query_limits.memory_bytes_max = 100_000;
    let small = World::over(std::sync::Arc::new(super::world::data()), small);
    let call = format!(
        "POST /api/v1/parse_query query=abs(a{})",
        "%2Ba".repeat(400)
    );
    let answer = small.call(&call).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    assert!(
        answer.body.contains("--query.max-memory"),
        "{}",
        answer.body
    );
}
