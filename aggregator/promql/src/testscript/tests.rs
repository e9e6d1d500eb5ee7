use super::*;

fn failures(script: &str) -> Vec<(usize, String)> {
    let report = run(script, &settings());
    report
        .failures
        .into_iter()
        .map(|failure| (failure.line, failure.what))
        .collect()
}

const DATA: &str = "load 1m\n  m{a=\"x\"} 1+1x5\n  m{a=\"y\"} 10 _ stale 4\n  h {{schema:0 sum:3 count:2 buckets:[1 1]}}\n\n";

#[test]
fn what_is_right_passes() {
    let script = format!(
        "{DATA}
# comments are nothing
eval instant at 1m m
  m{{a=\"x\"}} 2
  m{{a=\"y\"}} 10

eval range from 0 to 3m step 1m m
  m{{a=\"x\"}} 1 2 3 4
  m{{a=\"y\"}} 10 10 _ 4

eval instant at 1m rate(m)
  expect fail msg: expected type range vector in call to function \"rate\", got instant vector

eval instant at 0 h
  h {{{{schema:0 sum:3 count:2 buckets:[1 1]}}}}

eval instant at 0 1 + 1
  2

eval instant at 2m m[2m]
  expect range vector from 1m to 2m step 1m
  m{{a=\"x\"}} 2 3

clear
eval instant at 1m m
"
    );
    assert_eq!(failures(&script), []);
    assert_eq!(run(&script, &settings()).passed, 7);
}

#[test]
fn what_is_wrong_fails_with_its_line() {
    for (statement, part) in [
        (
            "eval instant at 1m m{a=\"x\"}\n  m{a=\"x\"} 3",
            "expected 3, found 2",
        ),
        ("eval instant at 1m m{a=\"x\"}", "unexpected series"),
        ("eval instant at 1m m{a=\"z\"}\n  m{a=\"z\"} 1", "no series"),
        (
            "eval instant at 1m m{a=\"x\"}\n  expect fail",
            "expected failure",
        ),
        ("eval instant at 1m (", "failed: 1:2: parse error"),
        (
            "eval instant at 1m m{a=\"x\"}\n  expect warn\n  m{a=\"x\"} 2",
            "expected warning, found none",
        ),
        (
            "eval instant at 1m rate(m{a=\"x\"}[2m])\n  expect no_info\n  {a=\"x\"} 0.0166666666",
            "unexpected info",
        ),
        (
            "eval instant at 0 h\n  h {{schema:0 sum:3 count:2 buckets:[2 1]}}",
            "expected {count:2",
        ),
        (
            "eval instant at 0 h\n  h {{schema:0 sum:3 count:2 buckets:[1 1] counter_reset_hint:gauge}}",
            "counter reset hint",
        ),
        (
            "eval range from 0 to 2m step 1m m{a=\"x\"}\n  m{a=\"x\"} 1 _ 3",
            "expected nothing, found 2",
        ),
        (
            "eval range from 0 to 2m step 1m m{a=\"x\"}\n  m{a=\"x\"} 1 2 3 4",
            "4 values expected over 3 instants",
        ),
        (
            "eval instant at 1m sort_desc(m)\n  expect ordered\n  m{a=\"x\"} 2\n  m{a=\"y\"} 10",
            "expected at",
        ),
        (
            "eval instant at 1m \"a\"\n  expect string \"b\"",
            "expected \"b\"",
        ),
        // 0 is near nothing, not even a very small number.
        ("eval instant at 1m vector(1e-17)\n  {} 0", "expected 0"),
    ] {
        let found = failures(&format!("{DATA}{statement}\n"));
        let [(line, what)] = found.as_slice() else {
            panic!("{statement}: {found:?}");
        };
        assert_eq!(*line, 6, "{statement}");
        assert!(what.contains(part), "{statement}: {what}");
    }
}

#[test]
fn hidden_repetitions_find_what_one_evaluation_hides() {
    // Without its time the vector differs from evaluation to evaluation: only the functions named in the language are exempt.
    let found = failures("eval instant at 1m vector(scalar(vector(time())))\n  {} 60\n");
    assert_eq!(found, []);
    let script = format!("{DATA}eval instant at 1m m{{a=\"x\"}}\n  m{{a=\"x\"}} 2\n");
    let wrong = EngineConfig {
        lookback: Duration::from_millis(1),
        ..settings()
    };
    assert_eq!(
        run(&script, &wrong).failed,
        0,
        "samples stand at the minute"
    );
}

#[test]
fn bad_scripts_are_told() {
    for (script, part) in [
        ("lod 1m", "unknown statement"),
        ("load\n  m 1", "no interval"),
        ("load 1x\n  m 1", "duration"),
        ("load 1m\n  m 1+1xq", "repetitions"),
        ("load 1m\n  m {{sum:}}", "bad value"),
        ("load 1m\n  m {{sum:1", "unclosed histogram"),
        ("load 1m\n  m{a=\"b 1", "unclosed brace"),
        ("eval instant on 1m m", "expected \"at\""),
        ("eval range from 0 to 1m m", "expected \"step\""),
        (
            "eval instant at 1m m\n  expect nonsense",
            "unknown expectation",
        ),
        (
            "eval instant at 1m m\n  expect warn\n  expect no_warn",
            "contradicts",
        ),
    ] {
        let found = failures(script);
        assert!(
            found.iter().any(|(_, what)| what.contains(part)),
            "{script}: {found:?}"
        );
    }
}

#[test]
fn short_forms_of_values() {
    let value = |text: &str| {
        series::items(text)
            .expect("a sequence")
            .into_iter()
            .map(|item| match item.map(|item| item.value) {
                Some(model::Value::Float(value)) => value.to_string(),
                Some(model::Value::Histogram(_)) => "h".to_owned(),
                None => "_".to_owned(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (short, long) in [
        ("1 -2 +3 .5 0x2", "1 -2 3 0.5 0 0 0"),
        ("_ _x2 1", "_ _ _ 1"),
        ("1x2", "1 1 1"),
        ("1+2x2 5-1x1", "1 3 5 5 4"),
        ("-1-1x1 1e2x1 1e-2+1x1", "-1 -2 100 100 0.01 1.01"),
        ("1m Inf", "60 inf"),
        (
            "{{}} {{sum:1}}x1 {{}}+{{sum:1 count:2}}x2 1",
            "h h h h h h 1",
        ),
    ] {
        assert_eq!(value(short), long, "{short}");
    }
}
