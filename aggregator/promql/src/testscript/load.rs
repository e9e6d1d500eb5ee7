//! `load`: series at regular intervals, classic histograms as native ones, start times.

mod classic;
mod hints;

pub(super) use self::hints::as_stored;

use std::collections::BTreeMap;

use model::{Labels, TimestampMs, Value};
use storage::MemoryStore;

use super::script::Line;
use super::series;

/// Everything loaded since the last `clear`.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    series: BTreeMap<Labels, BTreeMap<i64, Sample>>,
}

/// A sample with the start time of its counter (0: not known).
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) value: Value,
    pub(super) start: i64,
}

impl Loaded {
    /// Adds the series of one `load`.
    pub(super) fn load(&mut self, head: &str, body: &[Line<'_>]) -> Result<(), String> {
        let (command, step) = head
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{head:?} has no interval"))?;
        let step = model::parse_duration(step.trim()).map_err(|error| error.to_string())?;
        let step_ms = i64::try_from(step.as_millis()).map_err(|error| error.to_string())?;
        let mut here: BTreeMap<Labels, BTreeMap<i64, Sample>> = BTreeMap::new();
        let mut starts: Option<(Labels, Vec<i64>)> = None;
        for line in body {
            let text = line.text;
            let wrong = |what: String| format!("line {}: {what}", line.number);
            let (selector, values) = series::split(text).map_err(wrong)?;
            if let Some(selector) = selector.strip_suffix("@st") {
                let labels = series::labels(selector).map_err(wrong)?;
                starts = Some((labels, start_offsets(values).map_err(wrong)?));
                continue;
            }
            let described = series::describe(text).map_err(wrong)?;
            let offsets = match starts.take() {
                Some((labels, offsets)) if labels == described.labels => offsets,
                _ => Vec::new(),
            };
            let samples = described
                .items
                .into_iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    let at = step_ms.checked_mul(i64::try_from(index).ok()?)?;
                    let offset = offsets.get(index).copied().unwrap_or(0);
                    let sample = Sample {
                        value: item?.value,
                        start: if offset == NO_START {
                            0
                        } else {
                            at.saturating_add(offset)
                        },
                    };
                    let sample = if offsets.is_empty() {
                        Sample { start: 0, ..sample }
                    } else {
                        sample
                    };
                    Some((at, sample))
                })
                .collect();
            here.insert(described.labels, samples);
        }
        if command.eq_ignore_ascii_case("load_with_nhcb") {
            classic::add_native(&mut here);
        }
        for (labels, samples) in here {
            self.series.entry(labels).or_default().extend(samples);
        }
        Ok(())
    }

    /// Returns a store with everything loaded.
    pub(super) fn store(&self) -> MemoryStore {
        let store = MemoryStore::new();
        for (labels, samples) in &self.series {
            let stored = as_stored(samples.values().map(|sample| &sample.value));
            for ((at, sample), value) in samples.iter().zip(stored) {
                store.insert_started(labels, TimestampMs(*at), value, TimestampMs(sample.start));
            }
        }
        store
    }
}

/// Marks a sample whose start is not told.
const NO_START: i64 = i64::MIN;

/// Parses start times, each relative to its sample.
fn start_offsets(text: &str) -> Result<Vec<i64>, String> {
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        let bad = || format!("{item:?} is no start time");
        if let Some(gap) = item.strip_prefix('_') {
            let count = match gap.strip_prefix('x') {
                None => 1,
                Some(count) => count.parse::<usize>().map_err(|_| bad())?,
            };
            out.extend((0..count.min(100_000)).map(|_| NO_START));
            continue;
        }
        let (sequence, count) = match item.rsplit_once('x') {
            Some((sequence, count)) => (sequence, count.parse::<usize>().map_err(|_| bad())?),
            None => (item, 0),
        };
        let split = sequence
            .char_indices()
            .skip(1)
            .find(|(_, c)| matches!(c, '+' | '-'))
            .map_or(sequence.len(), |(at, _)| at);
        let (first, step) = sequence.split_at(split);
        let mut offset = signed_ms(first).ok_or_else(bad)?;
        let step = if step.is_empty() {
            0
        } else {
            signed_ms(step).ok_or_else(bad)?
        };
        for _ in 0..=count.min(100_000) {
            out.push(offset);
            offset += step;
        }
    }
    Ok(out)
}

fn signed_ms(text: &str) -> Option<i64> {
    let (sign, duration) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let ms = model::parse_duration(duration).ok()?.as_millis();
    Some(sign * i64::try_from(ms).ok()?)
}
