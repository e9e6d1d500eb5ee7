use proptest::prelude::*;

use super::*;
use crate::Body;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

fn read(content_type: &str, text: &str) -> Result<Pushed, String> {
    let body = Body {
        content_type,
        bytes: text.as_bytes(),
        ..Body::default()
    };
    let read = body.read(Names::Classic, 1 << 20);
    read.map_err(|error| error.to_string())
}

/// Families and samples, a line each.
fn shown(pushed: &Pushed) -> Vec<String> {
    let mut lines = Vec::new();
    for family in pushed.families() {
        lines.push(format!("{} {} {:?}", family.kind, family.name, family.help));
        for sample in family.samples() {
            let value = match sample.value() {
                model::Value::Float(value) => gofloat::format_g(value),
                model::Value::Histogram(histogram) => format!("schema {}", histogram.schema),
            };
            lines.push(format!("{sample} {value}"));
        }
    }
    lines
}

#[test]
fn text_becomes_families() {
    for (text, expected) in [
        ("", &[][..]),
        ("\n# a comment\n# TYPE m counter\n# HELP n words\n", &[]),
        ("m 1\n", &["unknown m \"\"", "m 1"]),
        (
            "# HELP m some\\nwords\n# TYPE m gauge\nm{b=\"2\",a=\"1\"} NaN\n",
            &["gauge m \"some\\nwords\"", "m{a=\"1\",b=\"2\"} NaN"],
        ),
        (
            "m 1\nn 2\nm{x=\"\"} 3\n",
            &[
                "unknown m \"\"",
                "m 1",
                "m{x=\"\"} 3",
                "unknown n \"\"",
                "n 2",
            ],
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n",
            &[
                "histogram h \"\"",
                "h_bucket{le=\"1.0\"} 1",
                "h_bucket{le=\"+Inf\"} 0",
                "h_sum 0",
                "h_count 0",
            ],
        ),
        (
            "# TYPE h histogram\nh_count{x=\"b\"} 2\nh_bucket{x=\"a\",le=\"+Inf\"} 3\nh_bucket{le=\"5e-1\",x=\"a\"} 1\nh_sum{x=\"a\"} 9\n",
            &[
                "histogram h \"\"",
                "h_bucket{x=\"a\",le=\"0.5\"} 1",
                "h_bucket{x=\"a\",le=\"+Inf\"} 3",
                "h_sum{x=\"a\"} 9",
                "h_count{x=\"a\"} 3",
                "h_bucket{x=\"b\",le=\"+Inf\"} 2",
                "h_sum{x=\"b\"} 0",
                "h_count{x=\"b\"} 2",
            ],
        ),
        (
            "# TYPE s summary\ns{quantile=\"0.9\"} 9\ns{quantile=\"0.5\"} 5\ns_count 4\n",
            &[
                "summary s \"\"",
                "s{quantile=\"0.5\"} 5",
                "s{quantile=\"0.9\"} 9",
                "s_sum 0",
                "s_count 4",
            ],
        ),
        // Without a histogram of that name, these are families of their own.
        (
            "h_count 1\nh_sum 2\n",
            &[
                "unknown h_count \"\"",
                "h_count 1",
                "unknown h_sum \"\"",
                "h_sum 2",
            ],
        ),
    ] {
        let pushed = read("", text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&pushed), expected, "{text}");
    }
}

#[test]
fn text_that_is_wrong_says_where() {
    for (text, part) in [
        ("m 1", "line 1: unexpected end of input stream"),
        ("m\n", "line 1, column 2"),
        ("m x\n", "expected a number"),
        (
            "# TYPE m counter\n# TYPE m counter\n",
            "line 2: second TYPE line for metric name \"m\"",
        ),
        ("m 1\n# TYPE m counter\n", "or TYPE reported after samples"),
        ("# HELP m a\n# HELP m b\n", "line 2: second HELP line"),
        ("# TYPE m info\n", "unknown metric type \"info\""),
        (
            "# TYPE h histogram\nh 1\n",
            "metric family \"h\": is a histogram",
        ),
        ("# TYPE h histogram\nh_bucket 1\n", "lacks the label \"le\""),
        (
            "# TYPE h histogram\nh_bucket{le=\"x\"} 1\n",
            "expected float as value for \"le\" label, got \"x\"",
        ),
        ("# TYPE s summary\ns 1\n", "lacks the label \"quantile\""),
        (
            "# TYPE h histogram\nh_count 1\n# TYPE h histogram\n",
            "second TYPE line",
        ),
        (
            "# TYPE h histogram\nh_count 1\nh_count 2\n",
            "h_count comes twice",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1\n",
            "h_bucket{le=\"1.0\"} comes twice",
        ),
        (
            "m{__x=\"1\"} 1\n",
            "inconsistent with existing metrics: series of metric family \"m\" have the label \"__x\"",
        ),
        (
            "{\"a.b\"} 1\n",
            "metric family \"a.b\": is not a valid name",
        ),
        ("m{\"a.b\"=\"1\"} 1\n", "the label \"a.b\""),
    ] {
        let error = read("", text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
    let body = Body {
        bytes: b"{\"a.b\",\"c.d\"=\"1\"} 1\n",
        ..Body::default()
    };
    assert_eq!(body.read(Names::Utf8, 100).unwrap().samples(), 1);
    assert!(read("", "m 1 1\n").unwrap().has_timestamps());
    let many: String = (0..=SERIES_MAX)
        .map(|i| format!("m{{i=\"{i}\"}} 1\n"))
        .collect();
    assert!(
        read("", &many)
            .unwrap_err()
            .contains("at most 16382 series")
    );
    let help = format!("# HELP m {}\nm 1\n", "x".repeat(TEXT_BYTES_MAX + 1));
    assert!(read("", &help).unwrap_err().contains("help text"));
}

#[test]
fn openmetrics_becomes_what_text_would_be() {
    let text = "# TYPE c counter\n# HELP c words\nc_total{a=\"1\"} 5\nc_created{a=\"1\"} 100\n# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n# TYPE g gauge\ng 1\n# TYPE q gaugehistogram\nq_bucket{le=\"+Inf\"} 2\nq_gsum 3\nq_gcount 2\n# EOF\n";
    let pushed = read(OPENMETRICS, text).unwrap();
    assert_eq!(
        shown(&pushed),
        [
            "counter c_total \"words\"",
            "c_total{a=\"1\"} 5",
            "gauge c_created \"words\"",
            "c_created{a=\"1\"} 100",
            "info b_info \"\"",
            "b_info{v=\"1\"} 1",
            "histogram h \"\"",
            "h_bucket{le=\"1.0\"} 1",
            "h_bucket{le=\"+Inf\"} 2",
            "h_sum 3",
            "h_count 2",
            "summary s \"\"",
            "s{quantile=\"0.5\"} 1",
            "s_sum 2",
            "s_count 3",
            "gauge g \"\"",
            "g 1",
            "gaugehistogram q \"\"",
            "q_bucket{le=\"+Inf\"} 2",
            "q_gsum 3",
            "q_gcount 2",
        ]
    );
    assert!(
        read(OPENMETRICS, "g 1\n")
            .unwrap_err()
            .contains("text format parsing error")
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "([#mhs_bucketTYPE histogram0-9{}=\",.\n ]|(\n# TYPE (h|m|s) (histogram|summary|gauge)\n)|(h_(bucket|sum|count)(\\{le=\"[0-9]\"\\})? [0-9]\n)){0,30}") {
        if let Ok(pushed) = read("", &text) {
            let samples: usize = pushed.families().map(|family| family.samples().count()).sum();
            prop_assert_eq!(samples, pushed.samples());
        }
        drop(read(OPENMETRICS, &text));
    }
}
