use super::*;

fn refusal(input: &str) -> Option<String> {
    OpenMetricsParser::new(input.as_bytes())
        .find_map(Result::err)
        .map(|error| error.to_string())
}

/// Puts the closing line below `body`.
fn check(body: &str, expected: Option<&str>) {
    assert_eq!(
        refusal(&format!("{body}\n# EOF\n")).as_deref(),
        expected,
        "{body}"
    );
}

#[test]
fn good_expositions_pass() {
    for body in [
        "# TYPE up gauge",
        "up 1",
        "# HELP up a \\\"word\\\"\n# TYPE up gauge\nup{job=\"x\"} 1\nup{job=\"y\"} 0",
        // A time may repeat, also when it is finer than we keep, and the metrics of a family may have differing ones.
        "# TYPE t gauge\nt{a=\"1\"} 1 5.0001\nt{a=\"1\"} 2 5.0002\nt{a=\"1\"} 3 5.0002\nt{a=\"2\"} 1",
        "# TYPE req counter\nreq_total 3 # {id=\"é\"} 1 2.5\nreq_created 100.5",
        "# TYPE req counter\nreq_total 3 7.25 # {} NaN",
        "# TYPE size_bytes summary\n# UNIT size_bytes bytes\nsize_bytes{quantile=\"0\"} 1\nsize_bytes{quantile=\"1e0\"} NaN\nsize_bytes_sum 0\nsize_bytes_count 0",
        "# TYPE h histogram\nh_bucket{le=\"1e-3\",a=\"1\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 2 # {} 1\nh_sum{a=\"1\"} 3\nh_count{a=\"1\"} 2\nh_created{a=\"1\"} 9\nh_bucket{le=\"+Inf\"} 0",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1 10\nh_bucket{le=\"+Inf\"} 2 10\nh_bucket{le=\"1\"} 1 20\nh_bucket{le=\"+Inf\"} 3 20",
        "# TYPE g gaugehistogram\ng_bucket{le=\"-1\"} 1\ng_bucket{le=\"+Inf\"} 1\ng_gcount 1\ng_gsum -4",
        "# TYPE state stateset\nstate{state=\"on\"} 1\nstate{state=\"off\"} 0",
        "# TYPE le stateset\nle{le=\"on\"} 1",
        "# TYPE build info\nbuild_info{version=\"1\"} 1",
        "# TYPE \"my.metric\" gauge\n{\"my.metric\",\"l.x\"=\"v\"} 1\n{\"my.metric\"} 2",
        "a_total 1\na_created 2\na_info 3",
    ] {
        check(body, None);
    }
}

#[test]
fn bad_expositions_are_refused_with_their_place() {
    for (body, expected) in [
        (
            "\n",
            "line 1, column 1: expected a metric name, found end of line",
        ),
        (
            "up  1",
            "line 1, column 4: expected a number as the sample's value, found \" 1\"",
        ),
        (
            "up 1\r",
            "line 1, column 4: expected a number as the sample's value, found \"1\\r\"",
        ),
        (
            "up 1 ",
            "line 1, column 6: expected a timestamp in seconds, found end of line",
        ),
        (
            "#comment",
            "line 1, column 2: expected # TYPE, # HELP, # UNIT or # EOF, found \"comment\"",
        ),
        (
            "# NOTE a b",
            "line 1, column 3: expected TYPE, HELP or UNIT, found \"NOTE a b\"",
        ),
        (
            "up 1\n# HELP up x",
            "line 2, column 1: expected metadata before the family's samples, found \"# HELP up x\"",
        ),
        (
            "# TYPE a gauge\n# TYPE b gauge\n# HELP a x\n# TYPE c gauge",
            "line 3, column 1: expected a name that no earlier family has, found family \"a\"",
        ),
        (
            "# TYPE a_total gauge\na_total 1\n# TYPE a counter\na_total 1",
            "line 4, column 1: expected a name that no earlier family has, found family \"a\"",
        ),
        (
            "# UNIT a_s s\n# TYPE a_s info",
            "line 2, column 12: expected no unit for an info or a stateset, found \"info\"",
        ),
        (
            "# UNIT s s",
            "line 1, column 8: expected a family whose name ends with its unit, found \"s s\"",
        ),
        (
            "up 1\nup 2",
            "line 2, column 1: expected each series once, found \"up 2\"",
        ),
        (
            "a{b=\"\"} 1\na 2",
            "line 2, column 1: expected each series once, found \"a 2\"",
        ),
        (
            "# TYPE a gauge\na{b=\"1\"} 1\na{b=\"2\"} 1\na{b=\"1\"} 1 5",
            "line 4, column 1: expected the samples of one metric side by side, found \"a{b=\\\"1\\\"} 1 5\"",
        ),
        (
            "a 1 5\na 1 4.9",
            "line 2, column 5: expected timestamps of a metric that do not go backwards, found \"4.9\"",
        ),
        (
            "# TYPE c counter\nc_total +Inf 1e400",
            "line 2, column 14: expected a timestamp in seconds, found \"1e400\"",
        ),
        (
            "# TYPE c counter\nc_total -0.5",
            "line 2, column 9: expected a value that is not negative, found \"-0.5\"",
        ),
        (
            "# TYPE s summary\ns_count 0.5",
            "line 2, column 9: expected a whole number as a count, found \"0.5\"",
        ),
        (
            "# TYPE s summary\ns 0.5",
            "line 2, column 1: expected a label quantile from 0 to 1, found \"s 0.5\"",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"inf\"} 1",
            "line 2, column 1: expected the last bucket's le spelt +Inf, found \"h_bucket{le=\\\"inf\\\"} 1\"",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} Inf",
            "line 2, column 21: expected a whole number as a count, found \"Inf\"",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 1",
            "line 3, column 1: expected buckets in ascending order of le, found \"h_bucket{le=\\\"1.0\\\"} 1\"",
        ),
        (
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nother 1",
            "line 2, column 1: expected a bucket with le=\"+Inf\" in each histogram, found family \"h\"",
        ),
        (
            "# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gcount 1\ng_gsum -1",
            "line 4, column 1: expected no negative sum in a gaugehistogram without negative bounds, found family \"g\"",
        ),
        (
            "# TYPE g gauge\ng 1 # {} 1",
            "line 2, column 5: expected exemplars on counters' totals and histograms' buckets only, found \"# {} 1\"",
        ),
        (
            "# TYPE c counter\nc_total 1 # {\"x\"} 1",
            "line 2, column 13: expected labels without a metric name, found \"{\\\"x\\\"} 1\"",
        ),
    ] {
        check(body, Some(expected));
    }
}

#[test]
fn the_end_must_be_there_and_be_the_end() {
    for (input, expected) in [
        (
            "",
            Some("line 1, column 1: expected # EOF as the last line, found end of input"),
        ),
        (
            "up 1\n",
            Some("line 2, column 1: expected # EOF as the last line, found end of input"),
        ),
        ("# EOF", None),
        ("# EOF\n", None),
        (
            "# EOF\n\n",
            Some("line 2, column 1: expected nothing after # EOF, found end of line"),
        ),
        (
            "# EOF \n",
            Some("line 1, column 7: expected a metric name, found end of line"),
        ),
    ] {
        assert_eq!(refusal(input).as_deref(), expected, "{input:?}");
    }
}

#[test]
fn parsers_end_after_an_error_and_after_the_end() {
    let mut parser = OpenMetricsParser::new(b"0\nup 1\n# EOF\n");
    assert!(matches!(parser.next(), Some(Err(_))));
    assert!(parser.next().is_none());
    let mut parser = OpenMetricsParser::new(b"# EOF\n");
    assert!(matches!(parser.next(), Some(Ok(Entry::Eof))));
    assert!(parser.next().is_none());
}

#[test]
fn times_are_kept_as_milliseconds() {
    for (text, millis) in [
        ("000", 0),
        ("1.1", 1_100),
        ("-1.5e0", -1_500),
        ("1520879607.789", 1_520_879_607_789),
        ("0.0005", 1),
        ("12345678901234567890.1234567890", i64::MAX),
    ] {
        let input = format!("up 1 {text}\n# EOF\n");
        match OpenMetricsParser::new(input.as_bytes()).next() {
            Some(Ok(Entry::Sample(sample))) => {
                assert_eq!(sample.at, Some(model::TimestampMs(millis)))
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_prometheus_takes_is_taken_by_who_asks_for_that() {
    let long = "x".repeat(EXEMPLAR_CHARS_MAX);
    for body in [
        "a 1\nb 1\na{l=\"1\"} 2\n",
        "a 1\na 1\n",
        "a 1\n# TYPE a gauge\n",
        "# TYPE c counter\nc 1\n",
        "# TYPE c counter\nc_total -1\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 0.5\n",
        "# TYPE g gauge\ng 1 # {trace_id=\"t\"} 1\n",
        &format!("# TYPE c counter\nc_total 1 # {{l=\"{long}\"}} 1\n"),
    ] {
        assert!(refusal(&format!("{body}# EOF\n")).is_some(), "{body}");
        let whole = format!("{body}# EOF\n");
        let entries: Result<Vec<_>, _> = OpenMetricsParser::lenient(whole.as_bytes()).collect();
        let entries = entries.unwrap_or_else(|error| panic!("{error}: {body}"));
        assert!(matches!(entries.last(), Some(Entry::Eof)), "{body}");
        let is_long = |entry: &Entry<'_>| match entry {
            Entry::Sample(sample) => sample.exemplar.as_ref().is_some_and(|exemplar| {
                (exemplar.labels.iter()).any(|(_, value)| value.decode() == long)
            }),
            _ => false,
        };
        assert!(!entries.iter().any(is_long), "{body}");
    }
    for body in ["a 1\n", "a one\n# EOF\n", "# EOF\na 1\n"] {
        let mut entries = OpenMetricsParser::lenient(body.as_bytes());
        assert!(entries.any(|entry| entry.is_err()), "{body}");
    }
}
