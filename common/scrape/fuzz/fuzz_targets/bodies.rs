//! Bodies of a target, one after the other, cut at zero bytes: no panic, and what is remembered of one changes nothing of the next.

#![no_main]

use std::path::Path;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use model::{Labels, TimestampMs, is_stale};
use rows::CohortId;
use scrape::{CohortIds, Format, Sampler, Scraped, read_jobs};

fn sampler() -> Sampler {
    Sampler::new(CohortIds::from(CohortId(0)), "fuzz", Labels::empty())
}

/// Returns how many values the rows hold that are no marks, and their bits together.
fn live(scraped: &Scraped) -> (usize, u64) {
    let rows = scraped.rows.iter();
    let values = rows.flat_map(|row| row.presence.iter().map(|slot| row.floats[slot]));
    // In any order: slots are given in the order in which series first came.
    let live = values.filter(|value| !is_stale(*value));
    live.fold((0, 0), |(count, sum), value| {
        (count + 1, sum ^ value.to_bits())
    })
}

fuzz_target!(|input: &[u8]| {
    let text = "scrape_configs: [{job_name: fuzz, scrape_native_histograms: true}]";
    let jobs = read_jobs(Path::new("fuzz"), text).expect("valid");
    let mut remembering = sampler();
    let (format, bodies) = match input.split_first() {
        Some((b'p', rest)) => (Format::Protobuf, rest),
        Some((b'o', rest)) => (Format::OpenMetrics, rest),
        _ => (Format::Text, input),
    };
    for (second, body) in (1..).zip(bodies.split(|byte| *byte == 0)) {
        let at = TimestampMs(second * 1_000);
        let one = remembering.scrape(&jobs[0], Ok((format, body)), at, Duration::ZERO);
        let other = sampler().scrape(&jobs[0], Ok((format, body)), at, Duration::ZERO);
        assert_eq!(one.error, other.error);
        assert_eq!(one.tally.kept, other.tally.kept);
        assert_eq!(one.samples.len(), other.samples.len());
        // Series that are not new make another row: it says how many are.
        if one.tally.added == other.tally.added {
            assert_eq!(live(&one), live(&other));
        }
    }
});
