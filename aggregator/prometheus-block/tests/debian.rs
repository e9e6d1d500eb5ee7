//! Blocks made by Debian's promtool and prometheus, read back to the bit. Skipped, with a word, where these are absent.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is a test"
)]

#[path = "debian/peer.rs"]
mod peer;
#[path = "debian/remote_write.rs"]
mod remote_write;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use files::Disk;
use model::{
    Buckets, CounterReset, Histogram, Labels, STALE_NAN, Sample, Span, TimeRange, TimestampMs,
    Value,
};
use prometheus_block::{Block, Damage, Meta, Visitor};

use peer::{PROMETHEUS, PROMTOOL, Prometheus, is_there};
use remote_write::{Series, write_request};

#[derive(Default)]
struct Found {
    series: BTreeMap<Labels, Vec<Sample>>,
    damages: Vec<Damage>,
}

impl Visitor for Found {
    type Error = Infallible;

    fn series(&mut self, labels: &Labels, samples: Vec<Sample>) -> Result<(), Infallible> {
        self.series
            .entry(labels.clone())
            .or_default()
            .extend(samples);
        Ok(())
    }

    fn damaged(&mut self, damage: Damage) {
        self.damages.push(damage);
    }
}

/// Reads all blocks in a folder, in order of time.
fn read_all(folder: &Path) -> BTreeMap<Labels, Vec<Sample>> {
    let mut blocks: Vec<(Meta, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            Some((Meta::read(&Disk, &path).unwrap()?, path))
        })
        .collect();
    blocks.sort_by_key(|(meta, _)| meta.times.start);
    let mut found = Found::default();
    for (meta, path) in blocks {
        let mut block = Block::open(&Disk, &path).unwrap();
        assert_eq!(block.damages(), []);
        let visited = block.visit(TimeRange::ALL, &mut found).unwrap();
        assert_eq!(
            visited.samples, meta.samples,
            "as its meta.json counts them"
        );
    }
    assert_eq!(found.damages, []);
    found.series
}

#[track_caller]
fn assert_same(found: &[Sample], expected: &[Sample], of: &str) {
    assert_eq!(found.len(), expected.len(), "{of}");
    let mut known = 0;
    for (found, expected) in found.iter().zip(expected) {
        let (mut found, mut expected) = (found.clone(), expected.clone());
        // What is known of resets depends on where chunks begin, and 2.42 forgets that the newest chunk is one of a gauge.
        for sample in [&mut found, &mut expected] {
            if let Value::Histogram(histogram) = &mut sample.value {
                known += usize::from(histogram.reset != CounterReset::Unknown);
                Arc::make_mut(histogram).reset = CounterReset::Unknown;
            }
        }
        let same = found.at == expected.at && found.value.same_bits(&expected.value);
        assert!(same, "{of}: {found:?} instead of {expected:?}");
    }
    if of.contains("integers") || of.contains("gauges") {
        assert!(known > expected.len() / 2, "{known}");
    }
}

#[test]
fn blocks_of_promtool_hold_the_floats_that_it_was_given() {
    if !is_there(PROMTOOL) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let (text, blocks) = (folder.path().join("text"), folder.path().join("blocks"));
    let mut expected: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    let mut exposition = "# TYPE temperature gauge\n".to_owned();
    const START: i64 = 1_700_000_000;
    for id in 0..7u32 {
        let name = format!("r\u{e4}um \"{id}\"");
        let labels = Labels::from_pairs([("__name__", "temperature"), ("room", &name)]).unwrap();
        let samples = expected.entry(labels).or_default();
        for row in 0..600u32 {
            let value = match row % 97 {
                5 => f64::NEG_INFINITY,
                6 => -0.0,
                7 => f64::from(row).sqrt() * 1e-9,
                8 => 1e300,
                _ => f64::from(row * id) / 10.0,
            };
            // Every 15 s, with some jitter and gaps of hours.
            let seconds = START + i64::from(row * 15 + row % 3 + row / 200 * 9_000);
            let escaped = name.replace('"', "\\\"");
            writeln!(
                exposition,
                "temperature{{room=\"{escaped}\"}} {value:?} {seconds}"
            )
            .unwrap();
            samples.push(Sample {
                at: TimestampMs(seconds * 1_000),
                value: Value::Float(value),
            });
        }
    }
    exposition.push_str("# EOF\n");
    fs::write(&text, exposition.replace("inf", "Inf")).unwrap();
    let made = Command::new(PROMTOOL)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &blocks])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let found = read_all(&blocks);
    assert!(found.keys().eq(expected.keys()));
    for (labels, samples) in &expected {
        assert_same(&found[labels], samples, &labels.to_string());
    }
}

#[test]
fn blocks_of_prometheus_hold_the_histograms_that_it_was_sent() {
    if !is_there(PROMETHEUS) {
        return;
    }
    let prometheus = Prometheus::start();
    let sent = histograms(prometheus.now_ms());
    for series in &sent {
        // One sample each, as remote write brings them, and in order.
        for samples in series.samples.chunks(1) {
            prometheus.write(&write_request(&series.labels, samples));
        }
    }
    let snapshot = prometheus.snapshot();
    let found = read_all(&snapshot);
    for series in &sent {
        let labels = Labels::from_pairs(series.labels.iter().copied()).unwrap();
        let samples = found.get(&labels).unwrap_or_else(|| panic!("{labels}"));
        assert_same(samples, &series.samples, &labels.to_string());
    }
}

fn integer(step: u64) -> Histogram {
    Histogram {
        reset: CounterReset::Unknown,
        schema: 3,
        zero_threshold: 2f64.powi(-128),
        sum: 0.1 * f64::from(u32::try_from(step).unwrap()) - 17.25,
        positive_spans: vec![
            Span {
                offset: -7,
                length: 3,
            },
            Span {
                offset: 2,
                length: 2,
            },
        ],
        negative_spans: vec![Span {
            offset: 0,
            length: 2,
        }],
        custom_bounds: vec![],
        buckets: Buckets::Integer {
            count: 7 * step * step + step + 12,
            zero: step,
            positive: vec![step * step, 3, step * step * 2, 1, step * step * 3],
            negative: vec![8, step * step],
        },
    }
}

fn weighted(step: u64) -> Histogram {
    let weight = f64::from(u32::try_from(step).unwrap()) / 3.0;
    Histogram {
        zero_threshold: 0.001,
        buckets: Buckets::Float {
            count: weight * 4.0 + 5.5,
            zero: weight,
            positive: vec![weight, 1.5, weight, 3.0, weight],
            negative: vec![0.25, 0.75],
        },
        ..integer(step)
    }
}

/// Series with floats, integer and float histograms, counters and gauges, with marks of staleness.
fn histograms(now: i64) -> Vec<Series> {
    const ROWS: i64 = 300;
    let series = |name: &'static str, value: &dyn Fn(u64) -> Value| {
        let at = |row: i64| TimestampMs(now - (ROWS - row) * 5_000);
        let samples = (0..ROWS).map(|row| Sample {
            at: at(row),
            value: value(row.unsigned_abs()),
        });
        Series {
            labels: vec![("__name__", name), ("instance", "a:1"), ("job", "sent")],
            samples: samples.collect(),
        }
    };
    let histogram = |histogram: Histogram| Value::Histogram(Arc::new(histogram));
    vec![
        series("floats", &|row| {
            Value::Float(match row {
                100 => f64::NAN,
                200 => STALE_NAN,
                // Any bits, denormals among them.
                row => f64::from_bits(row.wrapping_mul(0x0003_9E37_79B9_7F4A)),
            })
        }),
        series("integers", &|row| histogram(integer(row))),
        series("weights", &|row| histogram(weighted(row))),
        series("gauges", &|row| {
            // Falling at first only: 2.42 cannot take a snapshot while the newest chunk of a gauge falls.
            let step = row.abs_diff(100);
            histogram(Histogram {
                reset: CounterReset::Gauge,
                ..integer(step)
            })
        }),
        series("ending", &|row| {
            histogram(if row < 150 {
                integer(row)
            } else {
                Histogram::stale()
            })
        }),
    ]
}
