//! How fast answers are written, on one core: `cargo test --release -p api -- --ignored --nocapture speed`.

use std::fs;

use model::TimestampMs;
use promql::{Column, Grid, GridSeries, QueryResult};

use super::world::labels;
use crate::json::Json;
use crate::samples::write_result;

const SERIES: u32 = 1_000;
const POINTS: u32 = 1_000;
const RUNS: u32 = 7;
/// What writing must reach whatever the values are, in bytes a second.
const BYTES_PER_SECOND_MIN: f64 = 300e6;

fn matrix(step_ms: i64, value: impl Fn(u32, u32) -> f64) -> QueryResult {
    let start = TimestampMs(1_795_412_760_000);
    let grid = Grid {
        start,
        end: TimestampMs(start.0 + i64::from(POINTS - 1) * step_ms),
        step_ms,
    };
    let series = (0..SERIES).map(|series| {
        let instance = format!("node-{series}.example:9100");
        GridSeries {
            labels: labels(&[
                ("__name__", "node_cpu_seconds_total"),
                ("instance", &instance),
                ("mode", "idle"),
            ]),
            column: Column {
                floats: (0..POINTS).map(|point| value(series, point)).collect(),
                histograms: Vec::new(),
            },
        }
    });
    let series = series.collect();
    QueryResult::Grid { grid, series }
}

/// What this thread has had of a core: on a shared machine, the clock measures the others.
fn on_core_ns() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let first = text.split(' ').next().expect("three numbers");
    first.parse().expect("a number")
}

#[test]
#[ignore = "a measurement"]
fn speed_of_a_large_matrix() {
    let mut slow = Vec::new();
    for (what, result) in [
        (
            "whole numbers",
            matrix(15_000, |series, point| f64::from(series * 1_000 + point)),
        ),
        (
            "two decimals",
            matrix(15_000, |series, point| {
                f64::from(series * 1_000 + point) / 100.0
            }),
        ),
        (
            "all digits",
            matrix(15_000, |series, point| {
                f64::from(series * 1_000 + point).sin().mul_add(1e3, 2e3)
            }),
        ),
        (
            "all digits, odd times",
            matrix(15_001, |series, point| {
                f64::from(series * 1_000 + point + 1).ln()
            }),
        ),
    ] {
        let mut best = f64::INFINITY;
        let mut bytes = 0_u32;
        for _ in 0..RUNS {
            let begun = on_core_ns();
            let mut json = Json::default();
            write_result(&mut json, &result);
            let written = json.finish().expect("no budget").len();
            best = best.min((on_core_ns() - begun) * 1e-9);
            bytes = u32::try_from(written).expect("some megabytes");
        }
        let speed = f64::from(bytes) / best;
        let nanoseconds = best * 1e9 / f64::from(SERIES * POINTS);
        println!(
            "{what}: {:.0} MB/s, {nanoseconds:.0} ns a sample, {bytes} bytes, {SERIES} series with {POINTS} points",
            speed / 1e6
        );
        if speed < BYTES_PER_SECOND_MIN {
            slow.push(what);
        }
    }
    assert!(
        slow.is_empty() || cfg!(debug_assertions),
        "too slow: {slow:?}"
    );
}
