use model::Labels;

use super::*;

fn write(format: Format, fill: impl Fn(&mut Writer<'_>)) -> String {
    let mut out = String::new();
    let mut writer = Writer::new(format, &mut out);
    fill(&mut writer);
    writer.finish();
    out
}

fn check(fill: impl Fn(&mut Writer<'_>), text: &str, openmetrics: &str) {
    assert_eq!(write(Format::Text, &fill), text);
    assert_eq!(write(Format::OpenMetrics, &fill), openmetrics);
}

fn family<'a>(name: &'a str, kind: MetricType, help: &'a str) -> Family<'a> {
    Family {
        name,
        kind,
        help,
        unit: "",
    }
}

#[test]
fn counters_are_called_after_their_format() {
    check(
        |writer| {
            writer.family(&family(
                "a_total",
                MetricType::Counter,
                "What\n\"it\" \\is.",
            ));
            writer.sample(Part::Value, [("b", "c\"d\\e\nf")], 1.5e9);
            writer.sample(Part::Created, [], 1.5);
        },
        "# HELP a_total What\\n\"it\" \\\\is.\n# TYPE a_total counter\na_total{b=\"c\\\"d\\\\e\\nf\"} 1.5e+09\n",
        "# HELP a What\\n\\\"it\\\" \\\\is.\n# TYPE a counter\na_total{b=\"c\\\"d\\\\e\\nf\"} 1.5e+09\na_created 1.5\n# EOF\n",
    );
}

#[test]
fn a_counter_without_its_suffix_keeps_its_name() {
    check(
        |writer| {
            writer.family(&family("a", MetricType::Counter, ""));
            writer.sample(Part::Value, [], 1.0);
            writer.family(&family("_total", MetricType::Counter, ""));
            writer.sample(Part::Value, [], 1.0);
        },
        "# TYPE a counter\na 1\n# TYPE _total counter\n_total 1\n",
        "# TYPE a unknown\na 1\n# TYPE _total unknown\n_total 1\n# EOF\n",
    );
}

#[test]
fn histograms_summaries_and_infos_have_their_parts() {
    check(
        |writer| {
            writer.family(&family("h", MetricType::Histogram, ""));
            writer.histogram([("l", "v")], [(0.5, 1.0), (1e6, 2.0)], 3.0, 4.5);
            writer.family(&family("s", MetricType::Summary, ""));
            writer.sample(Part::Quantile(1.0), [], f64::NAN);
            writer.sample(Part::Count, [], 2.0);
            writer.family(&family("build_info", MetricType::Info, ""));
            writer.sample(Part::Value, [("version", "1")], 1.0);
            writer.family(&family("g", MetricType::GaugeHistogram, ""));
            writer.histogram([], [], 0.0, 0.0);
        },
        "# TYPE h histogram\nh_bucket{l=\"v\",le=\"0.5\"} 1\nh_bucket{l=\"v\",le=\"1e+06\"} 2\nh_bucket{l=\"v\",le=\"+Inf\"} 3\nh_sum{l=\"v\"} 4.5\nh_count{l=\"v\"} 3\n\
         # TYPE s summary\ns{quantile=\"1\"} NaN\ns_count 2\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
         # TYPE g histogram\ng_bucket{le=\"+Inf\"} 0\ng_gsum 0\ng_gcount 0\n",
        "# TYPE h histogram\nh_bucket{l=\"v\",le=\"0.5\"} 1\nh_bucket{l=\"v\",le=\"1e+06\"} 2\nh_bucket{l=\"v\",le=\"+Inf\"} 3\nh_sum{l=\"v\"} 4.5\nh_count{l=\"v\"} 3\n\
         # TYPE s summary\ns{quantile=\"1.0\"} NaN\ns_count 2\n# TYPE build info\nbuild_info{version=\"1\"} 1\n\
         # TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 0\ng_gsum 0\ng_gcount 0\n# EOF\n",
    );
}

#[test]
fn names_outside_the_alphabet_are_quoted() {
    check(
        |writer| {
            writer.family(&family("my.metric", MetricType::Gauge, "x"));
            writer.sample(
                Part::Value,
                [("__name__", "my.metric"), ("l.x", "v"), ("y", "w")],
                1.0,
            );
            writer.sample(Part::Value, [], f64::NEG_INFINITY);
        },
        "# HELP \"my.metric\" x\n# TYPE \"my.metric\" gauge\n{\"my.metric\",\"l.x\"=\"v\",y=\"w\"} 1\n{\"my.metric\"} -Inf\n",
        "# HELP \"my.metric\" x\n# TYPE \"my.metric\" gauge\n{\"my.metric\",\"l.x\"=\"v\",y=\"w\"} 1\n{\"my.metric\"} -Inf\n# EOF\n",
    );
}

#[test]
fn times_units_and_exemplars_are_written_where_they_belong() {
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", "1")]).expect("valid"),
        value: 0.25,
        at: TimestampMs(1_500),
    };
    let long = Exemplar {
        labels: Labels::from_pairs([("id", "x".repeat(127))]).expect("valid"),
        ..exemplar.clone()
    };
    let point = |millis, exemplar| Point {
        value: 1.0,
        at: Some(TimestampMs(millis)),
        exemplar,
    };
    check(
        |writer| {
            let unit = "seconds";
            writer.family(&Family {
                unit,
                ..family("a_seconds_total", MetricType::Counter, "")
            });
            writer.sample(Part::Value, [], point(-1_500, Some(&exemplar)));
            writer.sample(Part::Value, [], point(2_000, Some(&long)));
            writer.family(&Family {
                unit,
                ..family("b", MetricType::Gauge, "")
            });
            writer.sample(Part::Value, [], point(1_007, Some(&exemplar)));
        },
        "# TYPE a_seconds_total counter\na_seconds_total 1 -1500\na_seconds_total 1 2000\n# TYPE b gauge\nb 1 1007\n",
        "# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1 -1.500 # {trace_id=\"1\"} 0.25 1.500\na_seconds_total 1 2\n\
         # TYPE b gauge\nb 1 1.007\n# EOF\n",
    );
}
