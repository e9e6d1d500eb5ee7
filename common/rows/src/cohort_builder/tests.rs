use std::collections::BTreeMap;

use model::MetricType;
use proptest::prelude::*;

use super::*;

static CPU: Family = Family::counter("cpu_total", "CPU.", &["cpu", "mode"]);
static UP: Family = Family::gauge("up", "Up.", &[]);

fn builder() -> CohortBuilder {
    CohortBuilder::new(
        CohortId(3),
        Arc::from("node/fast"),
        &[("job", "node-exporter"), ("instance", "n1")],
    )
}

fn collect(builder: &mut CohortBuilder, cpus: &[&str]) -> Collected {
    let mut sink = builder.begin(TimestampMs(1));
    for (value, cpu) in (1_u32..).zip(cpus) {
        sink.sample(&CPU, &[cpu, "user"], f64::from(value));
    }
    sink.finish()
}

#[test]
fn the_first_row_defines_its_slots_and_families_and_the_second_does_not() {
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    sink.sample(&UP, &[], 1.0);
    sink.sample(&CPU, &["0", "user"], 2.5);
    let first = sink.finish();
    let definition = first.definition.unwrap();
    assert_eq!(definition.first_slot, 0);
    let labels: Vec<String> = definition
        .series
        .iter()
        .map(|series| series.labels.to_string())
        .collect();
    assert_eq!(
        labels,
        [
            r#"up{instance="n1", job="node-exporter"}"#,
            r#"cpu_total{cpu="0", instance="n1", job="node-exporter", mode="user"}"#
        ]
    );
    assert_eq!(definition.series[1].kind, MetricType::Counter);
    let metrics: Vec<&str> = first.metadata.iter().map(|of| &*of.metric).collect();
    assert_eq!(metrics, ["up", "cpu_total"]);
    assert_eq!(first.row.floats, [1.0, 2.5]);
    assert_eq!((first.row.counter, first.row.presence.count()), (0, 2));

    let mut sink = builder.begin(TimestampMs(2));
    sink.sample(&UP, &[], 0.0);
    let second = sink.finish();
    assert!(second.definition.is_none() && second.metadata.is_empty());
    assert_eq!(second.row.counter, 1);
    assert_eq!(second.row.presence.iter().collect::<Vec<_>>(), [0]);
    assert_eq!(second.row.floats, [0.0, 0.0], "an absent slot holds 0");
}

#[test]
fn a_series_that_comes_in_the_middle_is_appended_and_the_rest_stay() {
    let mut builder = builder();
    collect(&mut builder, &["a", "c"]);
    let grown = collect(&mut builder, &["a", "b", "c"]);
    assert_eq!(grown.definition.unwrap().first_slot, 2);
    assert_eq!(grown.row.floats, [1.0, 3.0, 2.0]);
    let again = collect(&mut builder, &["a", "b", "c"]);
    assert!(again.definition.is_none());
    assert_eq!(builder.definition().series.len(), 3);
}

#[test]
fn a_duplicate_is_dropped_and_the_first_value_stays() {
    let mut builder = builder();
    let twice = collect(&mut builder, &["a", "a", "b"]);
    assert_eq!((twice.duplicates, twice.refused), (1, 0));
    assert_eq!(twice.row.floats, [1.0, 3.0]);
}

#[test]
fn values_cannot_be_shifted_between_labels() {
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    sink.sample(&CPU, &["a", "bc"], 1.0);
    sink.sample(&CPU, &["ab", "c"], 2.0);
    assert_eq!(sink.finish().row.floats, [1.0, 2.0]);
}

#[test]
fn labels_known_at_run_time_are_told_apart_by_name_and_an_empty_one_is_none() {
    let family = |labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Family::dynamic("a".to_owned(), String::new(), MetricType::Unknown)
            .with_further_labels(labels)
    };
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    sink.sample(&family(&["x"]), &["v"], 1.0);
    sink.sample(&family(&["y"]), &["v"], 2.0);
    sink.sample(&family(&["x", "y"]), &["v", ""], 3.0);
    sink.sample(&family(&["x", "y"]), &["", "v"], 4.0);
    let collected = sink.finish();
    assert_eq!(collected.row.floats, [1.0, 2.0]);
    assert_eq!(collected.duplicates, 2);
}

#[test]
fn parts_of_a_histogram_are_described_once_by_its_name() {
    let family = || Family::dynamic("h".to_owned(), "H.".to_owned(), MetricType::Histogram);
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    sink.sample(&family().with_labels(&["le"]).part("_bucket"), &["1"], 1.0);
    sink.sample(&family().part("_sum"), &[], 2.0);
    let collected = sink.finish();
    let metrics: Vec<&str> = collected.metadata.iter().map(|of| &*of.metric).collect();
    assert_eq!(metrics, ["h"]);
    let series = collected.definition.unwrap().series;
    let names: Vec<Option<&str>> = series.iter().map(|of| of.labels.metric_name()).collect();
    assert_eq!(names, [Some("h_bucket"), Some("h_sum")]);
}

#[test]
fn a_full_layout_refuses_and_keeps_what_it_has() {
    let mut builder = builder();
    let names: Vec<String> = (0..SLOTS_MAX + 5).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let full = collect(&mut builder, &names);
    assert_eq!((full.refused, full.row.floats.len()), (5, SLOTS_MAX));
    let again = collect(&mut builder, &["0", "x", "1"]);
    assert_eq!((again.refused, again.row.presence.count()), (1, 2));
}

#[test]
fn a_worn_layout_is_renewed() {
    let mut builder = builder();
    let names: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    collect(&mut builder, &names);
    assert!(!builder.is_worn());
    collect(&mut builder, &names[..999]);
    assert!(builder.is_worn());
    builder.renew(CohortId(4));
    let renewed = collect(&mut builder, &names[..999]);
    assert!(!builder.is_worn());
    assert_eq!((renewed.row.cohort, renewed.row.counter), (CohortId(4), 0));
    assert_eq!(renewed.row.floats.len(), 999);
    let definition = renewed.definition.unwrap();
    assert_eq!((definition.first_slot, definition.series.len()), (0, 999));
    assert_eq!(definition.series[0].labels.get("instance"), Some("n1"));
    assert!(renewed.metadata.is_empty(), "families were told before");
}

#[test]
fn a_collection_that_is_dropped_loses_no_definition() {
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    sink.sample(&UP, &[], 1.0);
    let _ = sink;
    let collected = collect(&mut builder, &["a"]);
    assert_eq!(collected.definition.unwrap().series.len(), 2);
    assert_eq!(collected.row.presence.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(collected.row.counter, 0);
}

#[test]
fn series_may_be_named_by_any_bytes() {
    let mut builder = builder();
    let mut sink = builder.begin(TimestampMs(1));
    let define = || SeriesDefinition {
        labels: model::Labels::empty(),
        kind: MetricType::Unknown,
    };
    sink.series(b"\x00\xff", 1.0, define);
    sink.series(b"\x00", 2.0, define);
    sink.series(b"\x00\xff", 3.0, define);
    let collected = sink.finish();
    assert_eq!(
        (collected.row.floats, collected.duplicates),
        (vec![1.0, 2.0], 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any order, any comings and goings: each row holds what a map would hold.
    #[test]
    fn rows_equal_a_naive_map(collections in prop::collection::vec(prop::collection::vec(0_u8..12, 0..20), 1..12)) {
        let mut builder = builder();
        let mut slots: BTreeMap<u8, usize> = BTreeMap::new();
        for series in collections {
            let mut naive: BTreeMap<u8, f64> = BTreeMap::new();
            let mut sink = builder.begin(TimestampMs(0));
            for (value, cpu) in (0_u32..).zip(&series) {
                let value = f64::from(value);
                sink.sample(&CPU, &[Decimal(*cpu).as_ref(), "user"], value);
                naive.entry(*cpu).or_insert(value);
                let next = slots.len();
                slots.entry(*cpu).or_insert(next);
            }
            let collected = sink.finish();
            prop_assert_eq!(collected.duplicates, series.len() - naive.len());
            prop_assert_eq!(collected.row.presence.count(), naive.len());
            prop_assert_eq!(collected.row.floats.len(), slots.len());
            for (cpu, value) in naive {
                let slot = slots[&cpu];
                prop_assert!(collected.row.presence.contains(slot));
                prop_assert_eq!(collected.row.floats[slot], value);
            }
        }
    }
}

/// A label value that lives long enough.
struct Decimal(u8);

impl AsRef<str> for Decimal {
    fn as_ref(&self) -> &str {
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"][usize::from(self.0)]
    }
}
