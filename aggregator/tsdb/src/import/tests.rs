//! Imports into a store on a simulated disk.

use std::sync::Arc;
use std::time::Duration;

use model::{Buckets, CounterReset, Histogram, Matcher, Span};
use storage::AppendOutcome;

use super::*;
use crate::testing::*;

const SOURCE: &str = "01HF0000000000000000000000";

fn importer(world: &World) -> Importer {
    let clock: SharedClock = Arc::<clock::SimulatedClock>::clone(&world.clock);
    Importer::open(&world.config, Arc::new(world.disk.clone()), &clock).unwrap()
}

fn float(at: i64, value: f64) -> Sample {
    Sample {
        at: TimestampMs(at),
        value: Value::Float(value),
    }
}

fn histogram(at: i64, count: u64) -> Sample {
    let histogram = Histogram {
        reset: CounterReset::NotReset,
        sum: 0.1,
        positive_spans: vec![Span {
            offset: 3,
            length: 2,
        }],
        buckets: Buckets::Integer {
            count,
            zero: 0,
            positive: vec![count, 0],
            negative: vec![],
        },
        ..Histogram::stale()
    };
    Sample {
        at: TimestampMs(at),
        value: Value::Histogram(Arc::new(histogram)),
    }
}

/// Series with floats, with histograms, with both; every 15 s over six hours.
fn series() -> Vec<(Labels, Vec<Sample>)> {
    let start = START_MS - 6 * 3_600_000;
    let of = |id: &str, sample: &dyn Fn(i64) -> Sample| {
        let of_id = labels(&[
            ("id", id),
            ("instance", id.trim_end_matches(['1', '2'])),
            ("job", "node"),
        ]);
        (of_id, (0..1_440).map(sample).collect())
    };
    let at = move |row: i64| start + row * 15_000;
    vec![
        of("a1", &move |row| float(at(row), row as f64 / 10.0)),
        of("a2", &move |row| {
            float(at(row), f64::from_bits(row.unsigned_abs() << 40))
        }),
        of("b1", &move |row| histogram(at(row), row.unsigned_abs())),
        of("b2", &move |row| {
            if row % 7 == 0 {
                histogram(at(row), 1)
            } else {
                float(at(row), f64::NAN)
            }
        }),
    ]
}

fn expected() -> Contents {
    let text = |sample: &Sample| (sample.at.0, text_of(&sample.value));
    series()
        .into_iter()
        .map(|(labels, samples)| (labels, samples.iter().map(text).collect()))
        .collect()
}

/// Imports everything, in passes of as many spans as may be.
fn import_all(importer: &mut Importer) -> Result<ImportSummary, ImportError> {
    let series = series();
    let mut spans: Vec<i64> = series
        .iter()
        .flat_map(|(_, samples)| samples.iter().map(|sample| span_of(sample.at)))
        .collect();
    spans.sort_unstable();
    spans.dedup();
    let at_once = importer.spans_at_once().min(2);
    let mut import = importer.begin(SOURCE);
    for spans in spans.chunks(at_once) {
        for (labels, samples) in &series {
            let within = |sample: &&Sample| spans.contains(&span_of(sample.at));
            let part: Vec<Sample> = samples.iter().filter(within).cloned().collect();
            import.series(labels, &part)?;
        }
        import.end_pass()?;
    }
    import.commit(TimestampMs::MIN)
}

#[test]
fn what_is_imported_is_found_to_the_bit_and_lives_with_the_rest() {
    let world = World::new();
    let mut into = importer(&world);
    assert_eq!(into.imported(SOURCE), None);
    let summary = import_all(&mut into).unwrap();
    assert_eq!(summary.samples, 4 * 1_440);
    assert_eq!(into.imported(SOURCE), Some(TimestampMs::MIN));
    drop(into);
    let (store, report) = world.open();
    assert_eq!(report.damage_count, 0);
    assert!(contents(&store) == expected());

    let mut agent = Agent::new("node-1", 1);
    let own = [labels(&[("id", "live")])];
    storage::Appender::define(&store, &agent.source, definition(0, "fast", &own)).unwrap();
    let row = agent.row(0, START_MS, &[Some(1.0)]);
    let batch = agent.batch(&[row], &[]);
    let outcome = append(&store, &agent.source, &batch);
    assert!(matches!(outcome, AppendOutcome::Stored(_)));
    drop(store);
    let again = world.open().0;
    assert_eq!(contents(&again).len(), 5);
    assert_eq!(dump(&again).len(), 4 * 1_440 + 1);
}

#[test]
fn an_open_store_is_in_the_way() {
    let world = World::new();
    let (store, _) = world.open();
    let clock: SharedClock = Arc::<clock::SimulatedClock>::clone(&world.clock);
    let files: SharedFileSystem = Arc::new(world.disk.clone());
    let refused = Importer::open(&world.config, Arc::clone(&files), &clock);
    assert!(matches!(refused, Err(OpenError::Lock(_))), "{refused:?}");
    drop(store);
    assert!(Importer::open(&world.config, files, &clock).is_ok());
}

#[test]
fn the_same_source_once_more_doubles_nothing_that_queries_see() {
    let world = World::new();
    let mut into = importer(&world);
    import_all(&mut into).unwrap();
    import_all(&mut into).unwrap();
    drop(into);
    let (store, _) = world.open();
    assert!(contents(&store) == expected());
}

#[test]
fn an_import_that_ends_early_leaves_nothing() {
    let world = World::new();
    let mut into = importer(&world);
    let folder = world.config.folder.join(PARTITION_FOLDER);
    let mut import = into.begin(SOURCE);
    for (labels, samples) in series() {
        import.series(&labels, &samples).unwrap();
    }
    let (labels, samples) = &series()[0];
    assert!(import.series(labels, samples).is_err(), "out of order");
    import.end_pass().unwrap();
    drop(import);
    assert_eq!(world.disk.list(&folder).unwrap(), []);

    world
        .disk
        .set_capacity(Some(world.disk.used_bytes() + 100_000));
    let full = import_all(&mut into);
    assert!(
        matches!(full, Err(ImportError::Partition { .. })),
        "{full:?}"
    );
    assert_eq!(world.disk.list(&folder).unwrap(), []);
    world.disk.set_capacity(None);
    assert_eq!(into.imported(SOURCE), None);
    import_all(&mut into).unwrap();
}

#[test]
fn a_power_cut_leaves_all_of_an_import_or_nothing() {
    let mut cuts = 0;
    for cut in (0..).step_by(7) {
        let world = World::new();
        let mut into = importer(&world);
        world.disk.cut_power_in(cut);
        let done = import_all(&mut into).is_ok();
        drop(into);
        if !world.disk.power_is_cut() {
            break;
        }
        cuts += 1;
        world.disk.crash(cut);
        let into = importer(&world);
        let imported = into.imported(SOURCE).is_some();
        assert!(imported || !done, "cut {cut}");
        drop(into);
        let (store, report) = world.open();
        assert_eq!(report.damage_count, 0);
        let found = contents(&store);
        assert!(
            if imported {
                found == expected()
            } else {
                found.is_empty()
            },
            "cut {cut}"
        );
    }
    assert!(cuts > 3, "{cuts}");
}

#[test]
fn series_of_a_target_share_their_columns_and_gaps_move_no_cut() {
    let all: Vec<Sample> = (0..2_000).map(|at| float(at * 3_600, 1.0)).collect();
    let span = span_range(0);
    let whole: Vec<usize> = cut(&all, span).iter().map(|part| part.len()).collect();
    assert!(
        whole.iter().all(|rows| *rows <= COLUMN_ROWS_MAX),
        "{whole:?}"
    );
    assert_eq!(whole.iter().sum::<usize>(), 2_000);
    let gappy: Vec<Sample> = all.iter().skip(3).cloned().collect();
    let ends = |samples: &[Sample]| -> Vec<TimestampMs> {
        let parts = cut(samples, span);
        parts
            .iter()
            .filter_map(|part| Some(part.last()?.at))
            .collect()
    };
    assert_eq!(ends(&gappy), ends(&all));
    assert_eq!(cut(&[], span).len(), 0);
}

#[test]
fn each_series_is_imported_as_far_back_as_its_class_is_kept() {
    let mut world = World::new();
    world.config.retention = Duration::from_hours(3);
    world.config.retention_classes = vec![RetentionClass {
        name: "slo".to_owned(),
        matchers: vec![Matcher::equal("id", "a1")],
        retention: Duration::from_hours(10),
    }];
    let mut into = importer(&world);
    assert_eq!(into.oldest(), TimestampMs(START_MS - 10 * 3_600_000));
    let summary = import_all(&mut into).unwrap();
    drop(into);
    let mut expected = expected();
    for (labels, samples) in &mut expected {
        let is_kept = |at: i64| labels.get("id") == Some("a1") || at >= START_MS - 3 * 3_600_000;
        samples.retain(|(at, _)| is_kept(*at));
    }
    let kept: usize = expected.values().map(Vec::len).sum();
    assert_eq!(kept, 1_440 + 3 * 720);
    assert_eq!(summary.samples, kept as u64);
    assert_eq!(summary.too_old, 3 * 720);
    assert_eq!(contents(&world.open().0), expected);
}
