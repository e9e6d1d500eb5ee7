use std::fmt::Write as _;

use super::*;

/// Prints what was parsed, one entry per line.
fn parsed(input: &[u8]) -> String {
    let mut out = String::new();
    for entry in TextParser::new(input) {
        let written = match entry {
            Ok(Entry::Help { family, text }) => writeln!(out, "help {family} {text:?}"),
            Ok(Entry::Type { family, kind }) => writeln!(out, "type {family} {kind}"),
            Ok(Entry::Comment(text)) => writeln!(out, "comment \"{}\"", text.escape_ascii()),
            Ok(Entry::Sample(sample)) => {
                let labels = sample.series.to_labels();
                let at = sample.at.map_or(String::new(), |at| format!(" @{}", at.0));
                writeln!(out, "{labels} {}{at}", sample.value)
            }
            Ok(other) => writeln!(out, "{other:?}"),
            Err(error) => writeln!(out, "error {error}"),
        };
        written.expect("a String takes all");
    }
    out
}

fn check(input: &str, expected: &str) {
    assert_eq!(parsed(input.as_bytes()).trim_end(), expected, "{input:?}");
}

#[test]
fn everything_prometheus_reads_is_read() {
    for (input, expected) in [
        ("", ""),
        ("\n \t\n", ""),
        ("a 1", "a 1"),
        ("a 1\n", "a 1"),
        ("  a\t 1\t \n", "a 1"),
        ("a 1 1520879607789", "a 1 @1520879607789"),
        ("a 1 -5 ", "a 1 @-5"),
        (
            "a{} 0x",
            "error line 1, column 5: expected a number as the sample's value, found \"0x\"",
        ),
        (
            "a +Inf\na -inf\na NaN\na 1e-7",
            "a inf\na -inf\na NaN\na 0.0000001",
        ),
        ("a{b=\"c\"}1", "a{b=\"c\"} 1"),
        ("a { b = \"c\" , } 1", "a{b=\"c\"} 1"),
        (
            "a{b=\"x\\\\y\\\"z\\nw\\q\"} 1",
            "a{b=\"x\\\\y\\\"z\\nw\\\\q\"} 1",
        ),
        ("a{b=\"日本\"} 1", "a{b=\"日本\"} 1"),
        (
            "{\"my.metric\", \"l.x\"=\"v\"} 1",
            "{\"my.metric\", \"l.x\"=\"v\"} 1",
        ),
        ("a:b 1", "a:b 1"),
        (
            "a_total 1\n# TYPE a counter\na_total 1",
            "a_total 1\ntype a counter\na_total 1",
        ),
        (
            "# HELP a x \\\\ \\n \\\" y",
            "help a \"x \\\\ \\n \\\\\\\" y\"",
        ),
        ("#\tHELP  a\tx", "help a \"x\""),
        ("# HELP a", "help a \"\""),
        ("# TYPE a  untyped ", "type a unknown"),
        ("# TYPE \"a.b\" gauge", "type a.b gauge"),
        ("# EOF", "comment \" EOF\""),
        ("#", "comment \"\""),
        ("#HELP a x", "comment \"HELP a x\""),
        ("# HELP", "comment \" HELP\""),
        ("# HELPFUL a", "comment \" HELPFUL a\""),
        ("# HELP a.b x", "comment \" HELP a.b x\""),
    ] {
        check(input, expected);
    }
    assert_eq!(parsed(b"# \xff\n"), "comment \" \\xff\"\n");
}

#[test]
fn the_rest_is_refused_with_its_place() {
    for (input, expected) in [
        (
            "a\n",
            "line 1, column 2: expected a number as the sample's value, found end of line",
        ),
        (
            "a 1\nb 1 1.5\n",
            "line 2, column 5: expected a timestamp in whole milliseconds, found \"1.5\"",
        ),
        (
            "a 1 1 1",
            "line 1, column 7: expected end of line, found \"1\"",
        ),
        (
            "a 1 99999999999999999999",
            "line 1, column 5: expected a timestamp in whole milliseconds, found \"99999999999999999999\"",
        ),
        (
            "a-b 1",
            "line 1, column 2: expected a blank or `{` after a metric name, found \"-b 1\"",
        ),
        (
            "a{b=\"c\n\"} 1",
            "line 1, column 5: expected a closing double quote, found \"\\\"c\"",
        ),
        (
            "# TYPE a",
            "line 1, column 9: expected a metric type such as counter or gauge, found end of line",
        ),
        (
            "# TYPE a meh",
            "line 1, column 10: expected a metric type such as counter or gauge, found \"meh\"",
        ),
        (
            "# TYPE a gauge x",
            "line 1, column 16: expected end of line, found \"x\"",
        ),
        (
            "# HELP 1 x",
            "line 1, column 8: expected a metric name, found \"1 x\"",
        ),
        (
            "a 1e999",
            "line 1, column 3: expected a number as the sample's value, found \"1e999\"",
        ),
        (
            "a 1 # {} 1",
            "line 1, column 5: expected a timestamp in whole milliseconds, found \"# {} 1\"",
        ),
    ] {
        let all = parsed(input.as_bytes());
        assert_eq!(
            all.lines().last(),
            Some(format!("error {expected}").as_str()),
            "{input:?}"
        );
    }
    for input in [&b"a{b=\"\xff\"} 1"[..], b"# HELP a \xff"] {
        assert!(parsed(input).contains("expected UTF-8 text"));
    }
}

#[test]
fn text_cannot_forge_a_staleness_mark() {
    for input in ["a NaN", "a nan"] {
        match TextParser::new(input.as_bytes()).next() {
            Some(Ok(Entry::Sample(sample))) => {
                assert_eq!(sample.value.to_bits(), f64::NAN.to_bits());
                assert!(!model::is_stale(sample.value));
            }
            other => panic!("{other:?}"),
        }
    }
}
