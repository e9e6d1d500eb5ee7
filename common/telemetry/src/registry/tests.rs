use exposition::{Entry as Line, OpenMetricsParser, Part};
use model::Labels;

use super::*;
use crate::{OTHER, series_labels};

/// Takes samples as a collector does.
#[derive(Default)]
struct Rows(Vec<(Labels, f64)>);

impl Visitor for Rows {
    fn family(&mut self, _: &Family<'_>) {}

    fn sample(&mut self, family: &Family<'_>, part: Part, labels: &[(&str, &str)], value: f64) {
        self.0.push((series_labels(family, part, labels), value));
    }
}

fn filled() -> Registry {
    let registry = Registry::new();
    registry.gauge("z_gauge", "Last.").set(-1.5);
    let refused = registry.counter_family(
        "a_refused_total",
        "Refused\nthings.",
        ["reason", "side"],
        10,
    );
    refused.with(["late", "in"]).add(2);
    refused.with(["early", "\"out\""]).inc();
    let seconds = registry.histogram("m_seconds", "Spent.", &[0.1, 1.0]);
    seconds.observe(0.1);
    seconds.observe(7.0);
    registry
}

#[test]
fn families_are_exposed_sorted_in_both_formats() {
    let registry = filled();
    assert_eq!(
        registry.expose(Format::Text),
        "# HELP a_refused_total Refused\\nthings.\n\
         # TYPE a_refused_total counter\n\
         a_refused_total{reason=\"early\",side=\"\\\"out\\\"\"} 1\n\
         a_refused_total{reason=\"late\",side=\"in\"} 2\n\
         # HELP m_seconds Spent.\n\
         # TYPE m_seconds histogram\n\
         m_seconds_bucket{le=\"0.1\"} 1\n\
         m_seconds_bucket{le=\"1\"} 1\n\
         m_seconds_bucket{le=\"+Inf\"} 2\n\
         m_seconds_sum 7.1\n\
         m_seconds_count 2\n\
         # HELP z_gauge Last.\n\
         # TYPE z_gauge gauge\n\
         z_gauge -1.5\n"
    );
    let openmetrics = registry.expose(Format::OpenMetrics);
    let entries: Result<Vec<Line<'_>>, _> =
        OpenMetricsParser::new(openmetrics.as_bytes()).collect();
    assert_eq!(
        entries.expect("what we expose is strictly valid").len(),
        6 + 8 + 1
    );
}

#[test]
fn visitors_see_the_series_that_a_scrape_would() {
    let mut rows = Rows::default();
    filled().gather(&mut rows);
    let rows: Vec<String> = (rows.0.iter())
        .map(|(labels, value)| format!("{labels} {value}"))
        .collect();
    assert_eq!(
        rows,
        [
            "a_refused_total{reason=\"early\", side=\"\\\"out\\\"\"} 1",
            "a_refused_total{reason=\"late\", side=\"in\"} 2",
            "m_seconds_bucket{le=\"0.1\"} 1",
            "m_seconds_bucket{le=\"1.0\"} 1",
            "m_seconds_bucket{le=\"+Inf\"} 2",
            "m_seconds_sum 7.1",
            "m_seconds_count 2",
            "z_gauge -1.5",
        ]
    );
}

#[test]
fn a_full_family_counts_under_other() {
    let registry = Registry::new();
    let family = registry.counter_family("x_total", "X.", ["a"], 2);
    for value in ["1", "2", "3", "4", "1", OTHER] {
        family.with([value]).inc();
    }
    let text = registry.expose(Format::Text);
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            "x_total{a=\"1\"} 2",
            "x_total{a=\"2\"} 1",
            "x_total{a=\"other\"} 3"
        ]
    );
    assert!(family.remove(["1"]) && !family.remove(["1"]));
    family.with(["3"]).inc();
    assert!(registry.expose(Format::Text).contains("x_total{a=\"3\"} 1"));
}

#[test]
fn the_generation_changes_with_the_series_only() {
    let registry = Registry::new();
    let mut last = registry.generation();
    let mut changed = || {
        let now = registry.generation();
        std::mem::replace(&mut last, now) != now
    };
    let family = registry.gauge_family("x", "X.", ["a"], 1);
    assert!(changed());
    family.with(["1"]).set(1.0);
    assert!(changed());
    family.with(["1"]).set(2.0);
    assert!(!changed());
    family.with(["2"]).set(1.0);
    assert!(changed(), "the overflow metric appears");
    family.with(["3"]).set(1.0);
    assert!(!changed());
    family.remove(["1"]);
    assert!(changed());
    registry.gauge_family("x", "X.", ["a"], 1);
    assert!(!changed());
}

#[test]
fn the_same_name_is_the_same_metric() {
    let registry = Registry::new();
    registry.counter("x_total", "X.").inc();
    registry.clone().counter("x_total", "X.").inc();
    assert_eq!(registry.counter("x_total", "X.").value(), 2.0);
}

#[test]
fn callbacks_run_before_each_gathering() {
    let registry = Registry::new();
    let gauge = registry.gauge("x", "X.");
    let inner = registry.clone();
    registry.on_gather(move || {
        gauge.inc();
        inner.gauge("y", "Y.").set(5.0);
    });
    assert!(registry.expose(Format::Text).contains("\nx 1\n"));
    let second = registry.expose(Format::Text);
    assert!(second.contains("\nx 2\n") && second.ends_with("\ny 5\n"));
}

fn panics(register: impl FnOnce(&Registry) + std::panic::UnwindSafe) -> bool {
    std::panic::catch_unwind(|| {
        let registry = Registry::new();
        registry.counter_family("taken_total", "T.", ["a"], 1);
        registry.histogram("taken_seconds", "T.", &[1.0]);
        register(&registry);
    })
    .is_err()
}

#[test]
fn mistakes_of_the_program_panic_where_they_are_made() {
    assert!(!panics(|_| ()));
    assert!(panics(|registry| drop(registry.gauge("a.b", "X."))));
    assert!(panics(|registry| drop(registry.counter("x", "X."))));
    assert!(panics(|registry| drop(registry.gauge("x_total", "X."))));
    assert!(panics(|registry| drop(
        registry.counter("taken_total", "X.")
    )));
    assert!(panics(|registry| drop(registry.counter_family(
        "taken_total",
        "X.",
        ["b"],
        1
    ))));
    assert!(panics(|registry| drop(registry.gauge_family(
        "x",
        "X.",
        ["a-b"],
        1
    ))));
    assert!(panics(|registry| drop(registry.histogram(
        "taken_seconds",
        "X.",
        &[2.0]
    ))));
}
