use std::collections::BTreeMap;
use std::path::Path;

use model::{Value, is_stale};
use proptest::prelude::*;

use super::*;

/// A sampler, what was told of its cohorts, and its clock.
struct Bench {
    sampler: Sampler,
    job: Job,
    series: HashMap<CohortId, Vec<Labels>>,
    now: i64,
}

impl Bench {
    fn new(keys: &str) -> Self {
        let target = Labels::from_pairs([("job", "j"), ("instance", "i")]).expect("valid");
        Self {
            sampler: Sampler::new(CohortIds::from(CohortId(7)), "scrape/j/i", target),
            job: job(keys),
            series: HashMap::new(),
            now: 0,
        }
    }

    fn scrape(&mut self, format: Format, body: &[u8]) -> (Scraped, BTreeMap<String, f64>) {
        self.take(Ok((format, body)))
    }

    fn text(&mut self, body: &str) -> BTreeMap<String, f64> {
        let (scraped, values) = self.scrape(Format::Text, body.as_bytes());
        assert_eq!(scraped.error, None);
        values
    }

    /// Returns the values of all rows by series, without the labels of the target, and without the report.
    fn take(&mut self, body: Result<(Format, &[u8]), String>) -> (Scraped, BTreeMap<String, f64>) {
        self.now += 1_000;
        let took = Duration::from_millis(5);
        let scraped = self
            .sampler
            .scrape(&self.job, body, TimestampMs(self.now), took);
        let values = self.values(&scraped);
        (scraped, values)
    }

    fn values(&mut self, scraped: &Scraped) -> BTreeMap<String, f64> {
        for definition in &scraped.definitions {
            let series = self.series.entry(definition.cohort).or_default();
            assert_eq!(series.len(), usize::from(definition.first_slot));
            series.extend(definition.series.iter().map(|series| series.labels.clone()));
        }
        let mut values = BTreeMap::new();
        for row in &scraped.rows {
            assert_eq!(row.at, TimestampMs(self.now));
            assert_eq!(row.floats.len(), row.presence.slots());
            for slot in row.presence.iter() {
                let labels = self.series[&row.cohort][slot]
                    .filtered(|name| !["job", "instance"].contains(&name));
                values.insert(labels.to_string(), row.floats[slot]);
            }
        }
        values
    }
}

fn job(keys: &str) -> Job {
    let text = format!("scrape_configs:\n- job_name: j\n{keys}");
    let jobs = crate::read_jobs(Path::new("p.yml"), &text).expect("valid");
    jobs.into_iter().next().expect("a job")
}

fn shown(values: &BTreeMap<String, f64>) -> String {
    let mut shown = Vec::new();
    for (name, value) in values
        .iter()
        .filter(|(name, _)| *name != "scrape_duration_seconds")
    {
        let name = name.strip_prefix("scrape_").unwrap_or(name);
        shown.push(if is_stale(*value) {
            format!("{name} stale")
        } else {
            format!("{name} {value}")
        });
    }
    shown.join(", ")
}

#[test]
fn series_that_vanish_are_marked_and_counted_again_when_they_return() {
    let mut bench = Bench::new("");
    let expected = [
        (
            "a 1\nb{x=\"y\"} 2\n",
            "a 1, b{x=\"y\"} 2, samples_post_metric_relabeling 2, samples_scraped 2, series_added 2, up 1",
        ),
        (
            "a 3\nb{x=\"y\"} 2\n",
            "a 3, b{x=\"y\"} 2, samples_post_metric_relabeling 2, samples_scraped 2, series_added 0, up 1",
        ),
        (
            "a 4\n",
            "a 4, b{x=\"y\"} stale, samples_post_metric_relabeling 1, samples_scraped 1, series_added 0, up 1",
        ),
        (
            "a 4\n",
            "a 4, samples_post_metric_relabeling 1, samples_scraped 1, series_added 0, up 1",
        ),
        (
            "b{x=\"y\"} 5\nc 1\na 4\n",
            "a 4, b{x=\"y\"} 5, c 1, samples_post_metric_relabeling 3, samples_scraped 3, series_added 2, up 1",
        ),
        (
            "",
            "a stale, b{x=\"y\"} stale, c stale, samples_post_metric_relabeling 0, samples_scraped 0, series_added 0, up 1",
        ),
        // An empty body is no content: what was there before it is not new.
        (
            "a 4\n",
            "a 4, samples_post_metric_relabeling 1, samples_scraped 1, series_added 0, up 1",
        ),
    ];
    for (body, values) in expected {
        assert_eq!(shown(&bench.text(body)), values, "{body}");
    }
}

#[test]
fn of_a_failed_scrape_nothing_is_stored_but_marks() {
    let mut bench = Bench::new("  sample_limit: 3\n");
    bench.text("a 1\nb 2\n");
    let (scraped, values) = bench.scrape(Format::Text, b"a 2\nb 3\nnonsense\n");
    assert!(scraped.error.is_some_and(|why| why.contains("line 3")));
    assert_eq!(shown(&values), "a stale, b stale, samples_post_metric_relabeling 2, samples_scraped 3, series_added 0, up 0".replace("scraped 3", "scraped 2"));
    bench.text("a 1\nb 2\n");
    let (scraped, values) = bench.scrape(Format::Text, b"a 2\nb 3\nc 4\nd 5\n");
    assert!(
        scraped
            .error
            .is_some_and(|why| why.contains("sample limit exceeded"))
    );
    assert_eq!(values["up"], 0.0);
    assert!(is_stale(values["a"]) && !values.contains_key("d"));
    let (scraped, values) = bench.take(Err("no route".to_owned()));
    assert_eq!(scraped.error.as_deref(), Some("no route"));
    assert_eq!(
        shown(&values),
        "samples_post_metric_relabeling 0, samples_scraped 0, series_added 0, up 0"
    );
    // OpenMetrics that is cut off is no short exposition.
    let (scraped, _) = bench.scrape(Format::OpenMetrics, b"# TYPE a gauge\na 1\n");
    assert!(scraped.error.is_some_and(|why| why.contains("# EOF")));
}

#[test]
fn only_values_that_change_need_no_parser() {
    let mut bench = Bench::new(
        "  metric_relabel_configs: [{source_labels: [__name__], regex: dropped, action: drop}]\n",
    );
    let body = "# HELP a About a.\n# TYPE a counter\na{l=\"1\"} 1\na{l=\"2\"} 2\ndropped 3\nb 4\n";
    let replayed = |bench: &mut Bench, body: &str| {
        let (scraped, values) = bench.scrape(Format::Text, body.as_bytes());
        (
            scraped.tally.replayed,
            scraped.tally.exposed,
            scraped.tally.kept,
            values["b"],
        )
    };
    assert_eq!(replayed(&mut bench, body), (false, 4, 3, 4.0));
    assert_eq!(
        replayed(&mut bench, &body.replace("b 4", "b 1e3")),
        (true, 4, 3, 1_000.0)
    );
    assert_eq!(
        replayed(&mut bench, &body.replace("a{l=\"2\"} 2\n", "")),
        (false, 3, 2, 4.0)
    );
    assert_eq!(
        replayed(&mut bench, &body.replace("a{l=\"2\"} 2\n", "")),
        (true, 3, 2, 4.0)
    );
    bench.sampler.reconfigure();
    assert_eq!(
        replayed(&mut bench, &body.replace("a{l=\"2\"} 2\n", "")),
        (false, 3, 2, 4.0)
    );
}

#[test]
fn a_series_that_comes_twice_counts_once() {
    let mut bench = Bench::new("");
    for _ in 0..2 {
        let (scraped, values) = bench.scrape(Format::Text, b"a{x=\"1\"} 1\na{ x=\"1\" } 2\nup 0\n");
        assert_eq!((scraped.tally.kept, scraped.tally.duplicates), (3, 1));
        assert_eq!((values["a{x=\"1\"}"], values["up"]), (1.0, 1.0));
    }
}

#[test]
fn times_of_their_own_are_kept_or_not() {
    let body = b"a 1 5000\nb 2\n";
    let mut bench = Bench::new("");
    let (scraped, values) = bench.scrape(Format::Text, body);
    assert_eq!(scraped.samples.len(), 1);
    assert_eq!(scraped.samples[0].at, TimestampMs(5_000));
    assert!(!values.contains_key("a"));
    let (_, values) = bench.scrape(Format::Text, b"b 2\n");
    assert!(!values.contains_key("a"), "nobody knows when it ended");

    let mut tracking = Bench::new("  track_timestamps_staleness: true\n");
    tracking.scrape(Format::Text, body);
    let (_, values) = tracking.scrape(Format::Text, b"b 2\n");
    assert!(is_stale(values["a"]));

    let mut ignoring = Bench::new("  honor_timestamps: false\n");
    let (scraped, values) = ignoring.scrape(Format::Text, body);
    assert_eq!((scraped.samples.len(), values["a"]), (0, 1.0));
}

#[test]
fn families_are_described_once_and_when_they_change() {
    let mut bench = Bench::new("");
    let told = |scraped: &Scraped| -> Vec<String> {
        let metadata = scraped.metadata.iter();
        metadata
            .map(|m| format!("{} {} {}", m.metric, m.metadata.kind, m.metadata.help))
            .filter(|text| text.starts_with('h'))
            .collect()
    };
    let body = "# HELP h About.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let (scraped, values) = bench.scrape(Format::Text, body.as_bytes());
    assert_eq!(told(&scraped), ["h histogram About."]);
    assert!(values.contains_key("h_bucket{le=\"1.0\"}"), "{values:?}");
    let kinds: Vec<MetricType> = scraped.definitions[0]
        .series
        .iter()
        .skip(5)
        .map(|s| s.kind)
        .collect();
    assert_eq!(kinds, [MetricType::Histogram; 4]);
    let (scraped, _) = bench.scrape(Format::Text, body.as_bytes());
    assert!(told(&scraped).is_empty());
    let (scraped, _) = bench.scrape(Format::Text, body.replace("About", "More").as_bytes());
    assert_eq!(told(&scraped), ["h histogram More."]);
}

#[test]
fn openmetrics_brings_exemplars() {
    let mut bench = Bench::new("");
    let body = b"# TYPE a counter\na_total 1 # {trace_id=\"t\"} 0.5\n# EOF\n";
    let (scraped, values) = bench.scrape(Format::OpenMetrics, body);
    assert_eq!(scraped.error, None);
    assert_eq!(values["a_total"], 1.0);
    let (_, exemplar) = &scraped.rows[0].exemplars[0];
    assert_eq!(
        (exemplar.labels.get("trace_id"), exemplar.value),
        (Some("t"), 0.5)
    );
}

#[test]
fn openmetrics_that_prometheus_takes_is_taken() {
    let mut bench = Bench::new("");
    let body = b"# TYPE a gauge\na{l=\"1\"} 1\n# TYPE b counter\nb 2\na{l=\"2\"} 3\n# EOF\n";
    let (scraped, values) = bench.scrape(Format::OpenMetrics, body);
    assert_eq!(scraped.error, None);
    assert_eq!((values["b"], values["up"]), (2.0, 1.0));
}

/// A protobuf message: a histogram `h` with two observations, as native buckets, with classic ones beside them.
fn native() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length], bytes].concat()
    };
    let bucket = [&[0x08, 2, 0x11][..], &1.0_f64.to_le_bytes()].concat();
    let histogram = [
        vec![0x08, 2],
        [&[0x11][..], &3.5_f64.to_le_bytes()].concat(),
        field(3, &bucket),
        vec![0x28, 0],
        [&[0x31][..], &0.001_f64.to_le_bytes()].concat(),
        vec![0x38, 0],
        field(12, &[0x08, 0, 0x10, 1]),
        field(13, &[4]),
    ]
    .concat();
    let family = [
        field(1, b"h"),
        vec![0x18, 4],
        field(4, &field(7, &histogram)),
    ]
    .concat();
    [vec![u8::try_from(family.len()).expect("short")], family].concat()
}

#[test]
fn native_histograms_come_by_protobuf() {
    let body = native();
    let mut bench = Bench::new("  scrape_native_histograms: true\n");
    let (scraped, values) = bench.scrape(Format::Protobuf, &body);
    assert_eq!(scraped.error, None);
    assert_eq!(scraped.rows[0].histograms.len(), 1);
    assert_eq!(scraped.rows[0].histograms[0].1.sum, 3.5);
    assert!(values.contains_key("h") && !values.contains_key("h_count"));
    let (scraped, _) = bench.scrape(Format::Text, b"");
    assert!(scraped.rows[0].histograms[0].1.is_stale());

    let mut classic = Bench::new("");
    let (scraped, values) = classic.scrape(Format::Protobuf, &body);
    assert!(scraped.rows[0].histograms.is_empty());
    assert_eq!(
        (
            values["h_bucket{le=\"1.0\"}"],
            values["h_bucket{le=\"+Inf\"}"],
            values["h_sum"]
        ),
        (2.0, 2.0, 3.5)
    );

    let mut both =
        Bench::new("  scrape_native_histograms: true\n  always_scrape_classic_histograms: true\n");
    let (scraped, values) = both.scrape(Format::Protobuf, &body);
    assert_eq!(scraped.rows[0].histograms.len(), 1);
    assert!(values.contains_key("h_count"));
    let (_, again) = both.scrape(Format::Protobuf, &body);
    assert_eq!(values.len(), again.len());
}

#[test]
fn a_target_that_ends_has_its_series_marked() {
    let mut bench = Bench::new("");
    bench.text("a 1\n");
    let sampler = std::mem::replace(&mut bench.sampler, Bench::new("").sampler);
    bench.now += 1_000;
    let scraped = sampler.end(TimestampMs(bench.now));
    let values = bench.values(&scraped);
    assert_eq!(values.len(), 6);
    assert!(values.values().all(|value| is_stale(*value)));
    assert_eq!(scraped.ended, [CohortId(7)]);
}

#[test]
fn large_targets_have_several_cohorts_and_worn_ones_begin_anew() {
    let mut bench = Bench::new("");
    let body = |from: usize, to: usize| -> String {
        (from..to)
            .map(|n| format!("m{{n=\"{n}\"}} {n}\n"))
            .collect()
    };
    let (scraped, values) = bench.scrape(Format::Text, body(0, 20_000).as_bytes());
    assert_eq!((scraped.rows.len(), values.len()), (2, 20_005));
    assert_eq!(scraped.definitions[1].name.as_ref(), "scrape/j/i/1");
    let values = bench.text(&body(19_990, 20_010));
    assert_eq!(
        values.values().filter(|value| is_stale(**value)).count(),
        19_990
    );
    // Most slots are dead now: what is alive lives on in a new cohort, and is not new.
    let (scraped, values) = bench.scrape(Format::Text, body(19_991, 20_010).as_bytes());
    assert_eq!(scraped.ended, [CohortId(7), CohortId(8)]);
    assert_eq!(
        (scraped.rows.len(), scraped.rows[0].cohort),
        (1, CohortId(9))
    );
    assert_eq!(scraped.tally.added, 0);
    assert!(is_stale(values["m{n=\"19990\"}"]));
    assert_eq!(values["m{n=\"20009\"}"], 20_009.0);
}

#[test]
fn limits_refuse_the_whole_scrape() {
    for (keys, body, why) in [
        (
            "  label_limit: 3\n",
            "a{b=\"c\"} 1\n",
            "label_limit exceeded",
        ),
        (
            "  metric_name_validation_scheme: legacy\n",
            "{\"a.b\"} 1\n",
            "invalid metric name",
        ),
    ] {
        let (scraped, values) = Bench::new(keys).scrape(Format::Text, body.as_bytes());
        assert!(
            scraped.error.is_some_and(|said| said.contains(why)),
            "{keys}"
        );
        assert_eq!(values["up"], 0.0);
    }
}

proptest! {
    /// Whatever was scraped before, a body means what it means to a sampler that sees it first.
    #[test]
    fn what_is_remembered_changes_nothing(bodies in prop::collection::vec("([ab](\\{x=\"[12]\"\\})? [0-3]( 7000)?\n|# TYPE a gauge\n){0,6}", 1..8)) {
        let mut bench = Bench::new("");
        for body in &bodies {
            let (scraped, values) = bench.scrape(Format::Text, body.as_bytes());
            let (fresh, expected) = Bench::new("").scrape(Format::Text, body.as_bytes());
            prop_assert_eq!(&scraped.error, &fresh.error);
            let live = |values: &BTreeMap<String, f64>| -> Vec<(String, u64)> {
                let values = values.iter().filter(|(name, value)| !is_stale(**value) && !name.starts_with("scrape_series"));
                values.map(|(name, value)| (name.clone(), value.to_bits())).collect()
            };
            prop_assert_eq!(live(&values), live(&expected));
            let stamped = |scraped: &Scraped| -> Vec<f64> {
                scraped.samples.iter().map(|s| match &s.value { Value::Float(value) => *value, Value::Histogram(_) => 0.0 }).collect()
            };
            prop_assert_eq!(stamped(&scraped), stamped(&fresh));
        }
    }

    #[test]
    fn nothing_panics(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bench = Bench::new("  scrape_native_histograms: true\n");
        bench.scrape(Format::Text, text.as_bytes());
        bench.scrape(Format::OpenMetrics, text.as_bytes());
        bench.scrape(Format::Protobuf, &bytes);
        bench.scrape(Format::Text, &bytes);
    }
}
