//! What recorded scrapes take and cost: `cargo test --release -p tsdb figures -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use clock::{Clock as _, SystemClock};
use files::Disk;
use model::TimestampMs;
use storage::SegmentValues;
use tempfile::TempDir;

use super::*;
use crate::merge_runs::Arrival;
use crate::page::{Column, ColumnValues, encode_page};

const HOSTS: usize = 20;

/// Returns the recorded series, row by row; `None` when the recording is not there.
fn recording() -> Option<BTreeMap<String, Vec<f64>>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the shared test data lies is said by the environment"
    )]
    let (folder, must) = (
        std::env::var("PROMONTORY_CONFORMANCE"),
        std::env::var("CI").is_ok_and(|ci| ci == "true"),
    );
    let folder = folder.map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let Ok(file) = std::fs::File::open(folder.join("bench-data/node-scrapes.tar.zst")) else {
        assert!(!must, "the recorded scrapes are missing");
        println!("skipped: no recorded scrapes");
        return None;
    };
    let mut tar = Vec::new();
    zstd::Decoder::new(file)
        .unwrap()
        .take(1 << 30)
        .read_to_end(&mut tar)
        .unwrap();
    let mut scrapes = BTreeMap::new();
    let mut at = 0;
    while at + 512 <= tar.len() && tar[at] != 0 {
        let text = |from: usize, to: usize| {
            std::str::from_utf8(&tar[at + from..at + to])
                .unwrap()
                .trim_end_matches('\0')
                .trim()
        };
        let bytes = usize::from_str_radix(text(124, 136), 8).unwrap();
        if text(0, 100).ends_with(".txt") {
            scrapes.insert(
                text(0, 100).to_owned(),
                std::str::from_utf8(&tar[at + 512..at + 512 + bytes]).unwrap(),
            );
        }
        at += 512 + bytes.next_multiple_of(512);
    }
    let mut series: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (row, text) in scrapes.values().enumerate() {
        for (key, value) in text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
        {
            let column = series.entry(key.to_owned()).or_default();
            column.resize(row, f64::NAN);
            column.push(value.parse().unwrap());
        }
    }
    Some(series)
}

/// Returns rows 15 s apart: every 15th row from each of 15 starts, end to end, counters continued over the joints.
fn thinned(values: &[f64]) -> Vec<f64> {
    let rises = values.windows(2).all(|pair| pair[0] <= pair[1]);
    let mut out: Vec<f64> = Vec::new();
    for start in 0..15 {
        let part: Vec<f64> = values.iter().skip(start).step_by(15).copied().collect();
        let base = match (rises, out.last()) {
            (true, Some(last)) => last - part[0],
            _ => 0.0,
        };
        // Sums of decimals leave the decimals; what was measured did not.
        out.extend(part.iter().map(|value| {
            if base == 0.0 {
                *value
            } else {
                ((value + base) * 1e9).round() / 1e9
            }
        }));
    }
    out
}

fn seconds(work: impl FnOnce()) -> f64 {
    let clock = SystemClock::default();
    let start = clock.monotonic();
    work();
    clock.monotonic().saturating_since(start).as_secs_f64()
}

fn report(what: &str, columns: &[Vec<f64>], rows: usize) {
    let mut scratch = Scratch::default();
    let samples: usize = columns.iter().map(Vec::len).sum();
    let mut pages: Vec<Vec<u8>> = Vec::new();
    let rounds = 20;
    let encode = seconds(|| {
        for _ in 0..rounds {
            pages.clear();
            for values in columns.iter().flat_map(|column| column.chunks(rows)) {
                let mut page = Vec::new();
                let column = Column {
                    rows: values.len(),
                    presence: None,
                    values: ColumnValues::Floats(values),
                    start_times: None,
                };
                encode_page(&column, &mut scratch, &mut page).unwrap();
                pages.push(page);
            }
        }
    });
    let decode = seconds(|| {
        for _ in 0..rounds {
            for page in &pages {
                std::hint::black_box(crate::page::decode_page(page, &mut scratch).unwrap());
            }
        }
    });
    let bytes: usize = pages.iter().map(Vec::len).sum();
    let per_sample = |seconds: f64| seconds * 1e9 / (samples * rounds) as f64;
    println!(
        "{what}, {rows} rows/page: {:.3} B/sample, encode {:.1} ns, decode {:.1} ns",
        bytes as f64 / samples as f64,
        per_sample(encode),
        per_sample(decode)
    );
}

#[test]
#[ignore = "measures; run it in release"]
fn figures() {
    let Some(series) = recording() else {
        return;
    };
    let raw: Vec<Vec<f64>> = series.values().cloned().collect();
    let thin: Vec<Vec<f64>> = raw.iter().map(|values| thinned(values)).collect();
    for (what, columns) in [("1 s", &raw), ("15 s", &thin)] {
        for rows in [24, 120, 480] {
            report(what, columns, rows);
        }
    }
    partition_figures(&series.keys().zip(&thin).collect::<Vec<_>>(), 120);
    partition_figures(&series.keys().zip(&thin).collect::<Vec<_>>(), 480);
}

fn partition_figures(columns: &[(&String, &Vec<f64>)], rows: usize) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("partition");
    let key = PartitionKey {
        shard: 0,
        span: TimeRange::ALL,
    };
    let mut scratch = Scratch::default();
    let mut summary = None;
    let write = seconds(|| {
        let mut writer = PartitionWriter::create(&Disk, &path, key).unwrap();
        let mut sorted: Vec<(Labels, usize, &Vec<f64>)> = Vec::new();
        let mut ids = Vec::new();
        for host in 0..HOSTS {
            let times: Vec<TimestampMs> = (0i64..495)
                .map(|row| TimestampMs(row * 15_000 + (row * row) % 5))
                .collect();
            ids.push(
                times
                    .chunks(rows)
                    .map(|times| writer.add_times(times).unwrap())
                    .collect::<Vec<_>>(),
            );
            for (name, values) in columns {
                let (metric, rest) = name.split_once('{').unwrap_or((name, ""));
                let mut labels = Labels::empty().to_builder();
                labels
                    .set("__name__", metric)
                    .set("job", "node-exporter")
                    .set("instance", format!("node-{host}.example.internal:9100"));
                for pair in rest.trim_end_matches('}').split("\",") {
                    if let Some((name, value)) = pair.split_once("=\"") {
                        labels.set(name, value.trim_end_matches('"'));
                    }
                }
                sorted.push((labels.build(), host, values));
            }
        }
        sorted.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (labels, host, values) in sorted {
            writer.start_series(&labels).unwrap();
            for (number, values) in values[..495].chunks(rows).enumerate() {
                let mut page = Vec::new();
                let column = Column {
                    rows: values.len(),
                    presence: None,
                    values: ColumnValues::Floats(values),
                    start_times: None,
                };
                encode_page(&column, &mut scratch, &mut page).unwrap();
                writer
                    .add_page(ids[host][number], 0, Arrival::at(number as u64), &page)
                    .unwrap();
            }
        }
        summary = Some(writer.finish().unwrap());
    });
    let summary = summary.unwrap();
    let cache = Arc::new(Cache::new(32 << 20));
    let partition = Partition::open(&Disk, &path, &cache).unwrap();
    let scan = seconds(|| {
        for id in partition.index().all() {
            std::hint::black_box(partition.read(id, TimeRange::ALL).unwrap());
        }
    });
    let (header, areas) = (&partition.header, partition.header.index);
    let index = areas.values.bytes + areas.postings.bytes + areas.series.bytes + areas.root.bytes;
    let directory = header.times.bytes + header.pages.bytes + header.page_lists.bytes;
    let per_sample = |bytes: u64| bytes as f64 / summary.samples as f64;
    println!(
        "partition of {} series, {rows} rows/page: file {:.3} B/sample (directories {:.3}), index {:.1} B/series, write {:.0} ns/sample, scan {:.1} ns/sample",
        summary.series,
        per_sample(summary.bytes),
        per_sample(directory),
        index as f64 / summary.series as f64,
        write * 1e9 / summary.samples as f64,
        scan * 1e9 / summary.samples as f64
    );
}

/// Returns how many decimals the values of a column have.
fn decimals(values: &[f64]) -> i32 {
    let fits = |digits: &i32| {
        let scale = 10f64.powi(*digits);
        let mut numbers = values.iter().filter(|value| value.is_finite());
        numbers.all(|value| ((value * scale).round() / scale - value).abs() <= value.abs() * 1e-15)
    };
    (0..12).find(fits).unwrap_or(12)
}

/// Makes a day of 15 s rows of a series on one host: stretches of the recording in random order, counters continued over the joints, the
/// increments or values scaled by a random factor and rounded by chance to the series' own decimals.
fn day_of(values: &[f64], random: &mut fastrand::Rng) -> Vec<f64> {
    let thin = thinned(values);
    let rises = thin.windows(2).all(|pair| pair[0] <= pair[1]);
    let constant = thin
        .windows(2)
        .all(|pair| pair[0].to_bits() == pair[1].to_bits());
    let scale = 10f64.powi(decimals(values));
    let normal: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
    let factor = (0.5 * normal).exp();
    let mut out = Vec::with_capacity(ROWS_OF_DAY);
    let mut total = thin[0];
    while out.len() < ROWS_OF_DAY {
        let rows = 20 + random.usize(0..40);
        let from = 1 + random.usize(0..thin.len() - rows - 1);
        for row in from..from + rows {
            let value = if constant {
                thin[0]
            } else if rises {
                let more = (thin[row] - thin[row - 1]) * factor * scale;
                let more = (more + random.f64()).floor();
                total = ((total * scale).round() + more) / scale;
                total
            } else {
                (thin[row] * factor * scale + random.f64()).floor() / scale
            };
            out.push(value);
        }
    }
    out.truncate(ROWS_OF_DAY);
    out
}

const ROWS_OF_DAY: usize = 5_760;
const MERGED_HOSTS: usize = 12;

fn labels_of(name: &str, host: usize) -> Labels {
    let (metric, rest) = name.split_once('{').unwrap_or((name, ""));
    let mut labels = Labels::empty().to_builder();
    labels
        .set("__name__", metric)
        .set("job", "node-exporter")
        .set("instance", format!("node-{host}.example.internal:9100"));
    for pair in rest.trim_end_matches('}').split("\",") {
        if let Some((name, value)) = pair.split_once("=\"") {
            labels.set(name, value.trim_end_matches('"'));
        }
    }
    labels.build()
}

/// Prints what a day takes before and after its merge, and what merging and reading cost:
/// `cargo test --release -p tsdb merge_figures -- --ignored --nocapture`; with scrape jitter as without.
#[test]
#[ignore = "measures; run it in release"]
fn merge_figures() {
    let Some(series) = recording() else {
        return;
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut all: Vec<(Labels, usize, Vec<f64>)> = Vec::new();
    for (name, values) in &series {
        let mut values = values.clone();
        values.resize(500, 0.0);
        values.iter_mut().for_each(|value| {
            if value.is_nan() {
                *value = 0.0;
            }
        });
        for host in 0..MERGED_HOSTS {
            all.push((labels_of(name, host), host, day_of(&values, &mut random)));
        }
    }
    all.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let jitters = [("aligned", 0i64), ("jittered", 5)];
    for (what, jitter) in jitters {
        let times: Vec<Vec<TimestampMs>> = (0..MERGED_HOSTS)
            .map(|_| {
                (0i64..)
                    .take(ROWS_OF_DAY)
                    .map(|row| TimestampMs(row * 15_000 + random.i64(0..=jitter)))
                    .collect()
            })
            .collect();
        merge_figures_of(what, &all, &times);
    }
}

fn merge_figures_of(what: &str, all: &[(Labels, usize, Vec<f64>)], times: &[Vec<TimestampMs>]) {
    let folder = TempDir::new().unwrap();
    let key = PartitionKey {
        shard: 0,
        span: TimeRange::ALL,
    };
    let mut scratch = Scratch::default();
    let mut paths = Vec::new();
    let mut bytes = 0;
    let wrote = seconds(|| {
        for span in 0..12 {
            let path = folder.path().join(format!("span-{span}"));
            let mut writer = PartitionWriter::create(&Disk, &path, key).unwrap();
            let rows = span * 480..(span + 1) * 480;
            let ids: Vec<TimesId> = times
                .iter()
                .map(|times| writer.add_times(&times[rows.clone()]).unwrap())
                .collect();
            for (labels, host, values) in all {
                writer.start_series(labels).unwrap();
                let mut page = Vec::new();
                let column = Column {
                    rows: 480,
                    presence: None,
                    values: ColumnValues::Floats(&values[rows.clone()]),
                    start_times: None,
                };
                encode_page(&column, &mut scratch, &mut page).unwrap();
                writer
                    .add_page(ids[*host], 0, Arrival::at(1), &page)
                    .unwrap();
            }
            bytes += writer.finish().unwrap().bytes;
            paths.push(path);
        }
    });
    let samples = (all.len() * ROWS_OF_DAY) as f64;
    println!(
        "{what}: {} series, 12 sealed files {:.3} B/sample, written in {:.1} ns/sample",
        all.len(),
        bytes as f64 / samples,
        wrote * 1e9 / samples
    );
    for rows_max in [480, 1_440, 2_880, 5_760] {
        let cache = Arc::new(Cache::new(16 << 20));
        let inputs: Vec<crate::merge::Input> = paths
            .iter()
            .map(|path| crate::merge::Input {
                partition: Arc::new(Partition::open(&Disk, path, &cache).unwrap()),
                mask: crate::deletes::Mask::default(),
            })
            .collect();
        let closing = std::sync::atomic::AtomicBool::new(false);
        let merge = crate::merge::Merge {
            files: &Disk,
            folder: folder.path().to_owned(),
            key,
            level: crate::catalogue::Level::Day,
            until: 1,
            deleted: 0,
            rows_max,
            classes: &[],
            closing: &closing,
            name: &|| format!("day-{rows_max}"),
        };
        let mut merged = Vec::new();
        let took = seconds(|| merged = merge.run(&inputs).unwrap());
        let (name, entry) = &merged[0];
        let cache = Arc::new(Cache::new(32 << 20));
        let day = Partition::open(&Disk, &folder.path().join(name), &cache).unwrap();
        let scan = seconds(|| {
            for id in day.index().all() {
                std::hint::black_box(day.read(id, TimeRange::ALL).unwrap());
            }
        });
        let (header, areas) = (&day.header, day.header.index);
        let index =
            areas.values.bytes + areas.postings.bytes + areas.series.bytes + areas.root.bytes;
        let directory = header.times.bytes + header.pages.bytes + header.page_lists.bytes;
        println!(
            "  day of {rows_max} rows/page: {:.3} B/sample (directories {:.4}, {} time columns), index {:.1} B/series, merge {:.1} ns/sample, scan {:.2} ns/sample",
            entry.bytes as f64 / samples,
            directory as f64 / samples,
            day.times.len(),
            index as f64 / all.len() as f64,
            took * 1e9 / samples,
            scan * 1e9 / samples
        );
        let first = day.read(0, TimeRange::ALL).unwrap();
        let SegmentValues::Floats(values) = &first[0].segment.values else {
            panic!("floats");
        };
        assert_eq!(values[..400], all[0].2[..400]);
    }
}
