//! Bytes per sample on the wire, and CPU time at both ends.
//!
//! The recording is cut into four disjoint ranges of time that run side by side, as four agents' cohorts would: about 2,000 samples in
//! a batch, and no copies that would compress away. Each batch goes rows -> encoder -> frame -> decoder, and must come back to the bit.
//!
//! `cargo run --release -p benches --bin wire -- [--data FOLDER]`

#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use benches::{Recording, cpu_time};
use model::TimestampMs;
use rows::{
    BatchContents, BatchDecoder, BatchEncoder, BatchNumber, CohortId, Epoch, KEY_INTERVAL,
    NumberSet, Presence, Row,
};
use wire::{AgentMessage, FrameDecoder, StoreMessage, decode_message, encode_message};

/// Ranges of time.
const COHORTS: usize = 4;
const EPOCH: Epoch = Epoch(0x9e37_79b9_7f4a_7c15);
/// Runs that CPU time is averaged over.
const REPEATS: u32 = 60;
/// The first number of a batch: not a small one, which would have a shorter envelope.
const FIRST_NUMBER: u64 = 100_000;
/// QUIC short header with an 8-byte connection id (1 + 8 + 2), AEAD tag (16), stream frame (8), UDP (8), IPv4 (20).
const PACKET_OVERHEAD_BYTES: f64 = 63.0;
/// What a datagram of 1,200 bytes (QUIC's least) leaves for stream bytes.
const PACKET_STREAM_BYTES: f64 = 1_200.0 - 35.0;

fn main() -> anyhow::Result<()> {
    let recording = Recording::load(&data_folder()?)?;
    println!(
        "{} scrapes of {} series, as {COHORTS} cohorts side by side",
        recording.scrapes.len(),
        recording.series.len()
    );
    for cohorts in [COHORTS, 1] {
        for spacing in [1, 15] {
            report(spacing, &measure(&recording, spacing, cohorts)?);
        }
    }
    Ok(())
}

fn data_folder() -> anyhow::Result<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(PathBuf::from("../shared/bench-data")),
        (Some(flag), Some(folder), None) if flag == "--data" => Ok(folder.into()),
        _ => bail!("usage: wire [--data FOLDER], the folder of node-scrapes.tar.zst"),
    }
}

/// What was counted of one kind of batch.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    batches: u64,
    samples: u64,
    body_bytes: u64,
    frame_bytes: u64,
}

#[derive(Debug, Default)]
struct Figures {
    key: Count,
    delta: Count,
    compressed: u64,
    acknowledgement_bytes: u64,
    encode: Duration,
    decode: Duration,
    timed_samples: u64,
}

/// Measures streams that each carry `cohorts` cohorts in a batch.
fn measure(recording: &Recording, spacing: usize, cohorts: usize) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    // Every phase of the spacing: 15 s leaves too few rows otherwise.
    let runs: Vec<_> = (0..spacing)
        .flat_map(|phase| {
            (0..COHORTS)
                .step_by(cohorts)
                .map(move |first| (phase, first))
        })
        .map(|(phase, first)| batches(recording, phase, spacing, first..first + cohorts))
        .collect();
    for run in &runs {
        count_and_verify(run, &mut figures)?;
    }
    let repeats = REPEATS.div_ceil(u32::try_from(spacing)?);
    for _ in 0..repeats {
        for run in &runs {
            time(run, &mut figures)?;
        }
    }
    Ok(figures)
}

/// Returns the batches of a run: row `n` of these cohorts, for each `n`.
fn batches(
    recording: &Recording,
    phase: usize,
    spacing: usize,
    cohorts: Range<usize>,
) -> Vec<Vec<Arc<Row>>> {
    let range = recording.scrapes.len() / COHORTS;
    (phase..range)
        .step_by(spacing)
        .enumerate()
        .map(|(counter, at)| {
            cohorts
                .clone()
                .map(|cohort| {
                    let scrape = &recording.scrapes[cohort * range + at];
                    Arc::new(row(cohort, counter, at, scrape))
                })
                .collect()
        })
        .collect()
}

fn row(cohort: usize, counter: usize, at: usize, scrape: &[Option<f64>]) -> Row {
    let mut presence = Presence::filled(scrape.len(), false);
    for (slot, value) in scrape.iter().enumerate() {
        presence.set(slot, value.is_some());
    }
    // A few milliseconds of jitter, as timers have.
    let millis = 1_790_000_000_000 + at * 1_000 + (at * 7 + cohort * 3) % 5;
    Row {
        cohort: CohortId(u32::try_from(cohort).unwrap_or(0)),
        counter: counter as u64,
        at: TimestampMs(i64::try_from(millis).unwrap_or(0)),
        presence,
        floats: scrape.iter().map(|value| value.unwrap_or(0.0)).collect(),
        histograms: Vec::new(),
        start_times: Vec::new(),
        exemplars: Vec::new(),
    }
}

fn contents(rows: &[Arc<Row>]) -> BatchContents<'_> {
    BatchContents {
        rows,
        ..BatchContents::default()
    }
}

fn count_and_verify(run: &[Vec<Arc<Row>>], figures: &mut Figures) -> anyhow::Result<()> {
    let (mut encoder, mut sending) = (BatchEncoder::new(), Vec::new());
    let (mut frames, mut decoder) = (FrameDecoder::new(), BatchDecoder::new());
    for (number, rows) in (FIRST_NUMBER..).map(BatchNumber).zip(run) {
        let encoded = encoder.encode(&contents(rows))?;
        let count = if encoded.key_rows > 0 {
            &mut figures.key
        } else {
            &mut figures.delta
        };
        figures.compressed += u64::from(encoded.bytes[1] & 1);
        sending.clear();
        let body = Arc::clone(&encoded.bytes);
        encode_message(&batch_message(number, body), &mut sending)?;
        count.batches += 1;
        count.samples += encoded.samples as u64;
        count.body_bytes += encoded.bytes.len() as u64;
        count.frame_bytes += sending.len() as u64;
        let mut reply = Vec::new();
        encode_message(&acknowledgement(number)?, &mut reply)?;
        figures.acknowledgement_bytes += reply.len() as u64;

        frames.push(&sending)?;
        let frame = frames.next_frame()?.context("the frame is whole")?;
        let AgentMessage::Batch { number, body, .. } = decode_message(frame)? else {
            bail!("a batch became something else");
        };
        let batch = decoder.decode(number, body)?;
        ensure!(batch.rows.len() == rows.len(), "rows were lost");
        for (decoded, row) in batch.rows.iter().zip(rows) {
            ensure!(decoded.row.same_bits(row), "a row came back changed");
        }
    }
    Ok(())
}

fn batch_message(number: BatchNumber, body: Arc<[u8]>) -> AgentMessage {
    AgentMessage::Batch {
        epoch: EPOCH,
        number,
        body,
    }
}

fn acknowledgement(number: BatchNumber) -> anyhow::Result<StoreMessage> {
    Ok(StoreMessage::Acknowledged {
        epoch: EPOCH,
        numbers: NumberSet::from_intervals([(number, number)]).context("one number is a set")?,
        refused: Vec::new(),
    })
}

fn time(run: &[Vec<Arc<Row>>], figures: &mut Figures) -> anyhow::Result<()> {
    let mut encoder = BatchEncoder::new();
    let mut sent = Vec::with_capacity(1 << 20);
    let before = cpu_time();
    for (number, rows) in (FIRST_NUMBER..).map(BatchNumber).zip(run) {
        let encoded = encoder.encode(&contents(rows))?;
        encode_message(&batch_message(number, encoded.bytes), &mut sent)?;
        figures.timed_samples += encoded.samples as u64;
    }
    figures.encode += cpu_time() - before;

    let (mut frames, mut decoder) = (FrameDecoder::new(), BatchDecoder::new());
    let before = cpu_time();
    // What a read from a socket may bring.
    for read in sent.chunks(16 << 10) {
        frames.push(read)?;
        while let Some(frame) = frames.next_frame()? {
            let AgentMessage::Batch { number, body, .. } = decode_message(frame)? else {
                bail!("a batch became something else");
            };
            std::hint::black_box(decoder.decode(number, body)?);
        }
    }
    figures.decode += cpu_time() - before;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(spacing: usize, figures: &Figures) {
    let Figures { key, delta, .. } = figures;
    let per = |bytes: u64, count: &Count| bytes as f64 / count.samples as f64;
    // In the long run a row in KEY_INTERVAL is a key row.
    let share = 1.0 / f64::from(KEY_INTERVAL);
    let steady = |key_bytes: u64, delta_bytes: u64| {
        per(key_bytes, key) * share + per(delta_bytes, delta) * (1.0 - share)
    };
    let batch_samples = delta.samples as f64 / delta.batches as f64;
    let frames = steady(key.frame_bytes, delta.frame_bytes);
    let packets = (frames * batch_samples / PACKET_STREAM_BYTES).ceil();
    let acknowledgement =
        figures.acknowledgement_bytes as f64 / (key.batches + delta.batches) as f64;
    let both_ways = packets * PACKET_OVERHEAD_BYTES + acknowledgement + PACKET_OVERHEAD_BYTES;
    let nanoseconds = |time: Duration| time.as_nanos() as f64 / figures.timed_samples as f64;
    println!(
        "\n{spacing} s spacing: {batch_samples:.0} samples in a batch; {} batches with key rows, {} without, {} compressed",
        key.batches, delta.batches, figures.compressed
    );
    println!(
        "  B/sample, bodies alone: {:.3} with key rows, {:.3} without",
        per(key.body_bytes, key),
        per(delta.body_bytes, delta)
    );
    println!(
        "  B/sample, frames (length, kind, envelope, body), one row in {KEY_INTERVAL} a key row: {frames:.3}  (must: <= 1.5)"
    );
    println!(
        "  B/sample, with QUIC, UDP and IPv4 headers and acknowledgements both ways (calculated): {:.3}",
        frames + both_ways / batch_samples
    );
    println!(
        "  CPU ns/sample = s per 1,000 M samples: {:.1} rows to frames, {:.1} frames to rows",
        nanoseconds(figures.encode),
        nanoseconds(figures.decode)
    );
}
