//! Measures the time from process start to the first `rate()`, five times in fresh folders: `cargo run --release -p tests --bin first-rate`.
//!
//! Fails when the median is above `--most SECONDS` (3 by default).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::process::ExitCode;
use std::time::Duration;

use tests::processes::Up;

const RUNS: usize = 5;
const QUERY: &str = "sum by (mode) (rate(node_cpu_seconds_total[5s]))";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let most = match arguments.as_slice() {
        [] => 3.0,
        [flag, seconds] if flag == "--most" => seconds.parse().unwrap_or(3.0),
        _ => {
            println!("usage: first-rate [--most SECONDS]");
            return ExitCode::from(2);
        }
    };
    let mut times: Vec<Duration> = (0..RUNS).map(|_| first_rate()).collect();
    let shown: Vec<String> = times.iter().map(seconds).collect();
    times.sort();
    let median = times[RUNS / 2];
    println!(
        "first rate(): {} s after process start; median {} s, at most {most} s",
        shown.join(", "),
        seconds(&median)
    );
    if median.as_secs_f64() <= most {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Starts `promontory up` in an empty folder; returns when its first rate could be had.
fn first_rate() -> Duration {
    let mut up = Up::new(&[]);
    let took = up.await_answer(QUERY);
    up.stop();
    took
}

fn seconds(time: &Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}
