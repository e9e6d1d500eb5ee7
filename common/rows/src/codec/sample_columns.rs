//! Samples with times of their own in columns, and their exemplars: what a store that receives series one by one writes to its log.
//!
//! Samples of one cohort that stand together are a group, and a group has a column each of slots, times, start times and values. Series
//! that a sender scrapes together come together: their slots follow each other and their times are the same, so that both columns are a
//! few bytes. A value has no earlier one to lean on, for a log segment replays alone; its code (`float_column`) against zero is as long as its
//! decimal digits need. Where a series has several samples in a group, each leans on the one before.

use model::{Exemplar, TimestampMs, Value};

use super::bits::{BitReader, BitWriter};
use super::by_slot::{put_labels, take_labels};
use super::bytes::{ByteReader, put_float_near, put_signed, put_varint, unzigzag, zigzag};
use super::error::DecodeError;
use super::float_column::{put_value, take_value};
use super::weight::{self, Budget};
use super::{SAMPLES_MAX, histogram};
use crate::{CohortId, SLOTS_MAX, SeriesExemplar, SeriesSample, Slot};

/// The group has a column of start times.
const FLAG_STARTS: u8 = 1;
/// The group has histograms: a bit per sample says which they are.
const FLAG_HISTOGRAMS: u8 = 2;

/// Appends `samples`.
pub(super) fn put_samples(out: &mut Vec<u8>, samples: &[SeriesSample]) {
    put_varint(out, samples.len() as u64);
    let mut at = TimestampMs(0);
    for group in samples.chunk_by(|a, b| a.cohort == b.cohort) {
        put_group(out, group, at);
        at = group.last().map_or(at, |sample| sample.at);
    }
}

/// Reads what [`put_samples`] wrote.
pub(super) fn take_samples(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
) -> Result<Vec<SeriesSample>, DecodeError> {
    let count = reader.count("samples with times of their own", SAMPLES_MAX)?;
    budget.pay(count)?;
    let mut samples = Vec::with_capacity(count);
    let mut at = TimestampMs(0);
    while samples.len() < count {
        take_group(reader, budget, count - samples.len(), at, &mut samples)?;
        at = samples.last().map_or(at, |sample| sample.at);
    }
    Ok(samples)
}

fn put_group(out: &mut Vec<u8>, group: &[SeriesSample], before: TimestampMs) {
    let Some(first) = group.first() else { return };
    put_varint(out, u64::from(first.cohort.0));
    put_varint(out, group.len() as u64);
    let started = group.iter().any(|sample| sample.start != TimestampMs(0));
    let histograms = group
        .iter()
        .any(|sample| matches!(sample.value, Value::Histogram(_)));
    let flag = |flag: u8, set: bool| if set { flag } else { 0 };
    out.push(flag(FLAG_STARTS, started) | flag(FLAG_HISTOGRAMS, histograms));
    put_slots(out, group);
    put_times(out, before, group.iter().map(|sample| sample.at));
    if started {
        put_times(out, TimestampMs(0), group.iter().map(|sample| sample.start));
    }
    if histograms {
        let mut bytes = vec![0_u8; group.len().div_ceil(8)];
        for (index, sample) in group.iter().enumerate() {
            bytes[index / 8] |=
                u8::from(matches!(sample.value, Value::Histogram(_))) << (index % 8);
        }
        out.extend_from_slice(&bytes);
    }
    put_floats(out, group);
    if histograms {
        let mut base = None;
        for sample in group {
            if let Value::Histogram(value) = &sample.value {
                histogram::put(out, value, base);
                base = Some(value);
            }
        }
    }
}

fn take_group(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
    left: usize,
    before: TimestampMs,
    out: &mut Vec<SeriesSample>,
) -> Result<(), DecodeError> {
    let cohort = CohortId(reader.u32("a cohort's number is out of range")?);
    let count = reader.count("samples in a group", left)?;
    if count == 0 {
        return Err(DecodeError::Malformed("a group of samples is empty"));
    }
    let flags = reader.byte()?;
    if flags & !(FLAG_STARTS | FLAG_HISTOGRAMS) != 0 {
        return Err(DecodeError::Malformed("a flag is unknown"));
    }
    let from = out.len();
    take_slots(reader, cohort, count, out)?;
    let group = &mut out[from..];
    take_times(reader, before, group, |sample, at| sample.at = at)?;
    if flags & FLAG_STARTS != 0 {
        take_times(reader, TimestampMs(0), group, |sample, at| {
            sample.start = at;
        })?;
    }
    if flags & FLAG_HISTOGRAMS == 0 {
        return take_floats(reader, group, |_| false);
    }
    let bits = reader.take(count.div_ceil(8))?;
    if count % 8 != 0 && bits.last().is_some_and(|last| last >> (count % 8) != 0) {
        return Err(DecodeError::Malformed(
            "the bits of histograms reach past the last sample",
        ));
    }
    let is_histogram = |index: usize| bits[index / 8] >> (index % 8) & 1 == 1;
    take_floats(reader, group, is_histogram)?;
    let mut base = None;
    for (_, sample) in group
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| is_histogram(*index))
    {
        let value = histogram::take(reader, base.as_ref(), budget)?;
        base = Some(std::sync::Arc::clone(&value));
        sample.value = Value::Histogram(value);
    }
    Ok(())
}

/// Appends runs of slots that rise by one, or stay the same.
fn put_slots(out: &mut Vec<u8>, group: &[SeriesSample]) {
    let mut next = 0_i64;
    let mut rest = group;
    while let Some(first) = rest.first() {
        let step: u16 = match rest.get(1) {
            Some(second) if second.slot == first.slot => 0,
            _ => 1,
        };
        let follows = |pair: &&[SeriesSample]| pair[0].slot.checked_add(step) == Some(pair[1].slot);
        let length = 1 + rest.windows(2).take_while(follows).count();
        put_signed(out, i64::from(first.slot) - next);
        put_varint(out, 2 * (length as u64 - 1) + u64::from(step));
        next = i64::from(rest[length - 1].slot) + 1;
        rest = &rest[length..];
    }
}

fn take_slots(
    reader: &mut ByteReader<'_>,
    cohort: CohortId,
    count: usize,
    out: &mut Vec<SeriesSample>,
) -> Result<(), DecodeError> {
    const RANGE: DecodeError = DecodeError::Malformed("a slot is out of range");
    let end = out.len() + count;
    let mut next = 0_i64;
    while out.len() < end {
        let first = next.checked_add(reader.signed()?).ok_or(RANGE)?;
        let run = reader.varint()?;
        let step = (run & 1) != 0;
        let more = DecodeError::check("slots in a run", run >> 1, end - out.len() - 1)?;
        let first = Slot::try_from(first).map_err(|_| RANGE)?;
        let last = usize::from(first) + if step { more } else { 0 };
        if last >= SLOTS_MAX {
            return Err(RANGE);
        }
        let mut slot = first;
        for _ in 0..=more {
            out.push(SeriesSample {
                cohort,
                slot,
                at: TimestampMs(0),
                value: Value::Float(0.0),
                start: TimestampMs(0),
            });
            slot += Slot::from(step);
        }
        next = i64::try_from(last + 1).map_err(|_| RANGE)?;
    }
    Ok(())
}

/// Appends times as tokens: an odd one is a run of the time before, an even one a distance from it, 0 a distance of any size.
fn put_times(out: &mut Vec<u8>, mut before: TimestampMs, times: impl Iterator<Item = TimestampMs>) {
    let mut same = 0_u64;
    for at in times {
        if at == before {
            same += 1;
            continue;
        }
        put_same(out, &mut same);
        let apart = at.0.wrapping_sub(before.0);
        if zigzag(apart) >> 63 == 0 {
            put_varint(out, zigzag(apart) << 1);
        } else {
            out.push(0);
            put_signed(out, apart);
        }
        before = at;
    }
    put_same(out, &mut same);
}

fn put_same(out: &mut Vec<u8>, same: &mut u64) {
    if *same > 0 {
        put_varint(out, 2 * (*same - 1) + 1);
        *same = 0;
    }
}

fn take_times(
    reader: &mut ByteReader<'_>,
    mut before: TimestampMs,
    samples: &mut [SeriesSample],
    set: impl Fn(&mut SeriesSample, TimestampMs),
) -> Result<(), DecodeError> {
    let mut index = 0;
    while index < samples.len() {
        let token = reader.varint()?;
        if token & 1 == 1 {
            let more = DecodeError::check("times in a run", token >> 1, samples.len() - index - 1)?;
            for sample in &mut samples[index..=index + more] {
                set(sample, before);
            }
            index += more + 1;
            continue;
        }
        let apart = match token {
            0 => reader.signed()?,
            token => unzigzag(token >> 1),
        };
        before = TimestampMs(before.0.wrapping_add(apart));
        set(&mut samples[index], before);
        index += 1;
    }
    Ok(())
}

/// Appends a code for each float, against the one before of the same slot, or against zero.
fn put_floats(out: &mut Vec<u8>, group: &[SeriesSample]) {
    let mut bits = BitWriter::new(out);
    let (mut slot, mut before, mut exponent) = (None, 0.0, 0);
    for sample in group {
        let Value::Float(value) = sample.value else {
            continue;
        };
        if slot.replace(sample.slot) != Some(sample.slot) {
            (before, exponent) = (0.0, 0);
        }
        put_value(&mut bits, value, before, &mut exponent);
        before = value;
    }
    bits.finish();
}

fn take_floats(
    reader: &mut ByteReader<'_>,
    group: &mut [SeriesSample],
    is_histogram: impl Fn(usize) -> bool,
) -> Result<(), DecodeError> {
    let mut bits = BitReader::new(reader.rest());
    let (mut slot, mut before, mut exponent) = (None, 0.0, 0);
    for (index, sample) in group.iter_mut().enumerate() {
        if is_histogram(index) {
            continue;
        }
        if slot.replace(sample.slot) != Some(sample.slot) {
            (before, exponent) = (0.0, 0);
        }
        let value = take_value(&mut bits, before, &mut exponent)?;
        before = value.ok_or(DecodeError::Malformed("a sample is absent"))?;
        sample.value = Value::Float(before);
    }
    reader.take(bits.bytes_read())?;
    Ok(())
}

/// Appends exemplars of samples.
pub(super) fn put_exemplars(out: &mut Vec<u8>, exemplars: &[SeriesExemplar]) {
    put_varint(out, exemplars.len() as u64);
    let mut before = 0_i64;
    for SeriesExemplar {
        cohort,
        slot,
        exemplar,
    } in exemplars
    {
        put_varint(out, u64::from(cohort.0));
        put_varint(out, u64::from(*slot));
        put_float_near(out, exemplar.value, 0.0);
        put_signed(out, exemplar.at.0.wrapping_sub(before));
        before = exemplar.at.0;
        put_labels(out, &exemplar.labels);
    }
}

/// Reads what [`put_exemplars`] wrote.
pub(super) fn take_exemplars(
    reader: &mut ByteReader<'_>,
    budget: &mut Budget,
) -> Result<Vec<SeriesExemplar>, DecodeError> {
    let count = reader.count("exemplars of samples", SAMPLES_MAX)?;
    let mut exemplars = Vec::new();
    let mut before = 0_i64;
    for _ in 0..count {
        let cohort = CohortId(reader.u32("a cohort's number is out of range")?);
        let slot = reader.count("slots", SLOTS_MAX - 1)?;
        let value = reader.float_near(0.0)?;
        before = before.wrapping_add(reader.signed()?);
        let exemplar = Exemplar {
            labels: take_labels(reader)?,
            value,
            at: TimestampMs(before),
        };
        // Its texts are no longer than the input, so that they may be paid for afterwards.
        budget.pay(weight::of_exemplar(&exemplar))?;
        exemplars.push(SeriesExemplar {
            cohort,
            slot: Slot::try_from(slot)
                .map_err(|_| DecodeError::Malformed("a slot is out of range"))?,
            exemplar,
        });
    }
    Ok(exemplars)
}
