//! The codec against everything that may come: random rows, histories, mutilated bytes.

use std::sync::Arc;

use model::{
    Buckets, CounterReset, Exemplar, Histogram, Labels, Metadata, MetricType, STALE_NAN, Span,
    TimestampMs, Value,
};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::{
    Batch, BatchNumber, CohortId, MetricMetadata, Presence, Row, SeriesExemplar, SeriesSample, Slot,
};

/// Values that metrics have, and values that they should not have.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-2_000i64..2_000).prop_map(|v| v as f64),
        3 => (0i64..1_000_000_000, 0u8..10).prop_map(|(m, e)| m as f64 / 10f64.powi(i32::from(e))),
        2 => (0u64..1 << 40).prop_map(|pages| (pages * 4_096) as f64),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => -1e20..1e20,
        1 => prop::sample::select(vec![
            0.0, -0.0, STALE_NAN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX,
            9_007_199_254_740_991.0, 9_007_199_254_740_992.0, -9_007_199_254_740_993.0, 999_999_999_999_999.9, 1e15, 1e-15, 0.1 + 0.2,
        ]),
    ]
}

fn time() -> impl Strategy<Value = TimestampMs> {
    prop_oneof![9 => 1_790_000_000_000i64..1_790_000_100_000, 1 => any::<i64>()]
        .prop_map(TimestampMs)
}

fn histogram() -> impl Strategy<Value = Arc<Histogram>> {
    let side = || prop::collection::vec((0i32..5, 0u32..4), 0..3);
    let shape = (
        side(),
        side(),
        -4i8..=8,
        prop::collection::btree_set(-50i32..50, 0..6),
    );
    (
        shape,
        any::<bool>(),
        0u8..4,
        prop::collection::vec(float(), 32),
        any::<bool>(),
    )
        .prop_map(
            |((positive, negative, schema, bounds), integer, reset, floats, custom)| {
                let spans = |side: &[(i32, u32)]| -> Vec<Span> {
                    side.iter()
                        .map(|(offset, length)| Span {
                            offset: *offset,
                            length: *length,
                        })
                        .collect()
                };
                let length =
                    |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
                let (mut positive, mut negative) = (spans(&positive), spans(&negative));
                let bounds: Vec<f64> = bounds.iter().map(|bound| f64::from(*bound) / 8.0).collect();
                if custom {
                    positive = vec![Span {
                        offset: 0,
                        length: u32::try_from(bounds.len()).unwrap(),
                    }];
                    negative.clear();
                }
                let counts = |from: usize, spans: &[Span]| -> Vec<f64> {
                    floats[from..from + length(spans)]
                        .iter()
                        .map(|count| if *count < 0.0 { -count } else { *count })
                        .collect()
                };
                let whole = |counts: Vec<f64>| counts.iter().map(|count| count.to_bits()).collect();
                let (up, down) = (counts(2, &positive), counts(16, &negative));
                Arc::new(Histogram {
                    reset: [
                        CounterReset::Unknown,
                        CounterReset::Reset,
                        CounterReset::NotReset,
                        CounterReset::Gauge,
                    ][usize::from(reset)],
                    schema: if custom { -53 } else { schema },
                    zero_threshold: if custom { 0.0 } else { floats[0] },
                    sum: floats[1],
                    positive_spans: positive,
                    negative_spans: negative,
                    custom_bounds: if custom { bounds } else { vec![] },
                    buckets: if integer {
                        Buckets::Integer {
                            count: floats[30].to_bits(),
                            zero: floats[31].to_bits(),
                            positive: whole(up),
                            negative: whole(down),
                        }
                    } else {
                        Buckets::Float {
                            count: floats[30],
                            zero: floats[31],
                            positive: up,
                            negative: down,
                        }
                    },
                })
            },
        )
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-zé]{1,4}", "[ -~é]{1,20}", 0..4)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    (labels(), float(), time()).prop_map(|(labels, value, at)| Exemplar { labels, value, at })
}

/// What happens to a cohort between two rows.
#[derive(Clone, Debug)]
struct Step {
    growth: usize,
    /// Slot (modulo the layout) and its new value; `None` is absence.
    moves: Vec<(usize, Option<f64>)>,
    histograms: Vec<(usize, Option<Arc<Histogram>>)>,
    start_times: Vec<(usize, TimestampMs)>,
    exemplars: Vec<(usize, Exemplar)>,
    at: TimestampMs,
    batch_ends: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0usize..1_000;
    let growth = prop_oneof![3 => Just(0usize), 1 => 1usize..5, 1 => 50usize..150];
    (
        growth,
        prop::collection::vec((slot(), prop::option::weighted(0.9, float())), 0..40),
        prop::collection::vec((slot(), prop::option::weighted(0.8, histogram())), 0..3),
        prop::collection::vec((slot(), time()), 0..3),
        prop::collection::vec((slot(), exemplar()), 0..3),
        time(),
        any::<bool>(),
    )
        .prop_map(
            |(growth, moves, histograms, start_times, exemplars, at, batch_ends)| Step {
                growth,
                moves,
                histograms,
                start_times,
                exemplars,
                at,
                batch_ends,
            },
        )
}

fn empty_row(cohort: u32) -> Row {
    Row {
        cohort: CohortId(cohort),
        counter: 0,
        at: TimestampMs(0),
        presence: Presence::filled(0, true),
        floats: vec![],
        histograms: vec![],
        start_times: vec![],
        exemplars: vec![],
    }
}

/// Returns the row after `row`.
fn next_row(row: &Row, step: &Step) -> Row {
    let slots = row.floats.len() + step.growth;
    let mut next = row.clone();
    next.counter += 1;
    next.at = step.at;
    next.floats.resize(slots, 0.0);
    next.presence = Presence::filled(slots, false);
    row.presence
        .iter()
        .for_each(|slot| next.presence.set(slot, true));
    (next.start_times, next.exemplars) = (vec![], vec![]);
    if slots == 0 {
        return next;
    }
    let mut histograms: std::collections::BTreeMap<Slot, Arc<Histogram>> =
        next.histograms.drain(..).collect();
    let narrow = |slot: usize| Slot::try_from(slot % slots).unwrap();
    for (slot, value) in &step.moves {
        histograms.remove(&narrow(*slot));
        next.presence.set(slot % slots, value.is_some());
        next.floats[slot % slots] = value.unwrap_or(0.0);
    }
    for (slot, histogram) in &step.histograms {
        // The second alternative moves the counts, and keeps the shape.
        let moved = histograms.get(&narrow(*slot)).map(|h| {
            Arc::new(Histogram {
                sum: 1.5,
                ..Histogram::clone(h)
            })
        });
        let Some(histogram) = histogram.clone().or(moved) else {
            continue;
        };
        next.presence.set(slot % slots, true);
        next.floats[slot % slots] = 0.0;
        histograms.insert(narrow(*slot), histogram);
    }
    next.histograms = histograms.into_iter().collect();
    let present = |slot: &usize| next.presence.contains(slot % slots);
    let mut starts: Vec<_> = step
        .start_times
        .iter()
        .filter(|(slot, _)| present(slot))
        .map(|(slot, at)| (narrow(*slot), *at))
        .collect();
    starts.sort_by_key(|(slot, _)| *slot);
    starts.dedup_by_key(|(slot, _)| *slot);
    let mut exemplars: Vec<_> = step
        .exemplars
        .iter()
        .filter(|(slot, _)| present(slot))
        .map(|(slot, exemplar)| (narrow(*slot), exemplar.clone()))
        .collect();
    exemplars.sort_by_key(|(slot, _)| *slot);
    exemplars.dedup_by_key(|(slot, _)| *slot);
    (next.start_times, next.exemplars) = (starts, exemplars);
    next
}

/// Returns the batches of a history of up to three cohorts.
fn batches(steps: &[(u32, Step)]) -> Vec<Vec<Arc<Row>>> {
    let mut last: Vec<Row> = (0..3).map(empty_row).collect();
    let mut batches = vec![vec![]];
    for (cohort, step) in steps {
        let row = next_row(&last[*cohort as usize], step);
        last[*cohort as usize] = row.clone();
        batches.last_mut().unwrap().push(Arc::new(row));
        if step.batch_ends {
            batches.push(vec![]);
        }
    }
    batches
}

fn history(steps: usize) -> impl Strategy<Value = Vec<Vec<Arc<Row>>>> {
    prop::collection::vec((0u32..3, step()), 0..steps).prop_map(|steps| batches(&steps))
}

fn rows_only(rows: &[Arc<Row>]) -> BatchContents<'_> {
    BatchContents {
        rows,
        ..BatchContents::default()
    }
}

fn encode_all(batches: &[Vec<Arc<Row>>]) -> Vec<Arc<[u8]>> {
    let mut encoder = BatchEncoder::new();
    batches
        .iter()
        .map(|rows| encoder.encode(&rows_only(rows)).unwrap().bytes)
        .collect()
}

fn assert_same(batch: &Batch, rows: &[Arc<Row>]) {
    assert_eq!(batch.rows.len(), rows.len());
    for (decoded, row) in batch.rows.iter().zip(rows) {
        assert!(
            decoded.row.same_bits(row),
            "{:#?}\nbecame\n{:#?}",
            row,
            decoded.row
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_round_trip_to_the_bit(history in history(30)) {
        let mut decoder = BatchDecoder::new();
        for (rows, bytes) in history.iter().zip(encode_all(&history)) {
            assert_same(&decoder.decode(BatchNumber(0), bytes).unwrap(), rows);
        }
    }

    /// A log that wrote the base rows down can go on with the bytes as they came, at any point.
    #[test]
    fn installed_bases_do_as_well_as_decoded_ones(history in history(20), cut in 0usize..20) {
        let bytes = encode_all(&history);
        let cut = cut.min(bytes.len());
        let mut first = BatchDecoder::new();
        for bytes in &bytes[..cut] { first.decode(BatchNumber(0), Arc::clone(bytes)).unwrap(); }
        let mut second = BatchDecoder::new();
        for cohort in (0..3).map(CohortId) {
            if let Some(row) = first.base(cohort) {
                let written = encode_key_row(row).unwrap();
                let read = decode_key_row(&written).unwrap();
                prop_assert!(read.same_bits(row));
                second.install_base(Arc::new(read)).unwrap();
            }
        }
        for (rows, bytes) in history[cut..].iter().zip(&bytes[cut..]) {
            assert_same(&second.decode(BatchNumber(0), Arc::clone(bytes)).unwrap(), rows);
        }
    }

    /// Whatever is lost, no row is decoded against a row that it was not encoded against, and a failure changes nothing.
    #[test]
    fn a_lost_batch_is_an_error_or_harmless(history in history(20), lost in subsequence((0..20).collect::<Vec<usize>>(), 0..6)) {
        let bytes = encode_all(&history);
        let mut decoder = BatchDecoder::new();
        for (index, (rows, bytes)) in history.iter().zip(&bytes).enumerate() {
            if lost.contains(&index) { continue; }
            let before: Vec<_> = (0..3).map(|c| decoder.base_counter(CohortId(c))).collect();
            match decoder.decode(BatchNumber(0), Arc::clone(bytes)) {
                Ok(batch) => assert_same(&batch, rows),
                Err(DecodeError::MissingBase { .. }) => {
                    let after: Vec<_> = (0..3).map(|c| decoder.base_counter(CohortId(c))).collect();
                    prop_assert_eq!(before, after);
                    assert_same(&decoder.decode(BatchNumber(0), key_batch(rows)).unwrap(), rows);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_stream_may_begin_anywhere(history in history(20), skipped in subsequence((0..20).collect::<Vec<usize>>(), 0..10)) {
        let mut transcoder = Transcoder::new();
        let mut receiver = BatchDecoder::new();
        for (index, (rows, bytes)) in history.iter().zip(encode_all(&history)).enumerate() {
            if skipped.contains(&index) {
                transcoder.skip(BatchNumber(0), bytes).unwrap();
            } else {
                let sent = transcoder.send(BatchNumber(0), bytes).unwrap();
                assert_same(&receiver.decode(BatchNumber(0), sent).unwrap(), rows);
            }
        }
    }

    #[test]
    fn mutilated_bytes_are_refused_or_decode_to_something(
        history in history(12), mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in 0usize..40, open in any::<bool>()
    ) {
        let mut decoder = BatchDecoder::new();
        for bytes in encode_all(&history) {
            let mut mutilated = bytes.to_vec();
            if open {
                // Past the compression, where the sections are.
                let payload = body::open(&bytes, VERSION).unwrap().1.into_owned();
                mutilated = [&[VERSION, 0][..], &payload].concat();
            }
            for (at, byte) in &mutations { let at = at.index(mutilated.len()); mutilated[at] = *byte; }
            mutilated.truncate(mutilated.len() - cut.min(mutilated.len()));
            if let Ok(batch) = BatchDecoder::new().decode(BatchNumber(0), mutilated.clone().into()) {
                check_decoded(&batch);
            }
            if let Ok(batch) = decoder.decode(BatchNumber(0), mutilated.into()) {
                check_decoded(&batch);
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..3) {
        let body: Vec<u8> = match kind {
            0 => bytes,
            1 => [&[VERSION, 0][..], &bytes].concat(),
            // A section of rows with a true length.
            _ => {
                let mut body = vec![VERSION, 0, 1];
                bytes::put_varint(&mut body, bytes.len() as u64);
                [body, bytes].concat()
            }
        };
        if let Ok(batch) = BatchDecoder::new().decode(BatchNumber(0), body.into()) { check_decoded(&batch); }
    }

    #[test]
    fn samples_and_metadata_round_trip(
        samples in prop::collection::vec((any::<u32>(), 0u16..16_384, time(), float(), prop::option::weighted(0.2, histogram())), 0..20),
        metadata in prop::collection::vec(("[a-z_:]{0,20}", 0usize..8, ".{0,80}", "[a-z]{0,8}"), 0..20),
    ) {
        let samples: Vec<_> = samples.into_iter().map(|(cohort, slot, at, float, histogram)| SeriesSample {
            cohort: CohortId(cohort), slot, at, value: histogram.map_or(Value::Float(float), Value::Histogram), start: TimestampMs(0),
        }).collect();
        let kinds = [MetricType::Unknown, MetricType::Counter, MetricType::Gauge, MetricType::Histogram, MetricType::GaugeHistogram,
            MetricType::Summary, MetricType::Info, MetricType::StateSet];
        let metadata: Vec<_> = metadata.into_iter().map(|(metric, kind, help, unit)| MetricMetadata {
            metric: metric.into(), metadata: Metadata { kind: kinds[kind], help, unit },
        }).collect();
        let contents = BatchContents { rows: &[], samples: &samples, metadata: &metadata };
        let bytes = BatchEncoder::new().encode(&contents).unwrap().bytes;
        let batch = BatchDecoder::new().decode(BatchNumber(7), bytes).unwrap();
        prop_assert_eq!(batch.number, BatchNumber(7));
        prop_assert_eq!(batch.metadata, metadata);
        prop_assert_eq!(batch.samples.len(), samples.len());
        for (a, b) in batch.samples.iter().zip(&samples) {
            prop_assert_eq!((a.cohort, a.slot, a.at), (b.cohort, b.slot, b.at));
            prop_assert!(a.value.same_bits(&b.value));
        }
    }

    #[test]
    fn sample_columns_round_trip(samples in loose_samples(), exemplars in prop::collection::vec((any::<u32>(), 0u16..16_384, exemplar()), 0..5)) {
        let exemplars: Vec<_> = exemplars.into_iter().map(|(cohort, slot, exemplar)| SeriesExemplar { cohort: CohortId(cohort), slot, exemplar }).collect();
        let contents = SampleContents { samples: &samples, exemplars: &exemplars, metadata: &[] };
        let bytes = encode_samples(&contents).unwrap();
        let batch = BatchDecoder::new().decode(BatchNumber(7), Arc::clone(&bytes)).unwrap();
        prop_assert_eq!(batch.samples.len(), samples.len());
        for (a, b) in batch.samples.iter().zip(&samples) {
            prop_assert_eq!((a.cohort, a.slot, a.at, a.start), (b.cohort, b.slot, b.at, b.start));
            prop_assert!(a.value.same_bits(&b.value));
        }
        prop_assert_eq!(batch.exemplars.len(), exemplars.len());
        for (a, b) in batch.exemplars.iter().zip(&exemplars) {
            prop_assert_eq!((a.cohort, a.slot, &a.exemplar.labels, a.exemplar.at), (b.cohort, b.slot, &b.exemplar.labels, b.exemplar.at));
            prop_assert_eq!(a.exemplar.value.to_bits(), b.exemplar.value.to_bits());
        }
        let refused = BatchDecoder::of_agents().decode(BatchNumber(7), bytes).unwrap_err();
        prop_assert_eq!(refused, DecodeError::Version { found: 2, newest: 1 });
    }

    #[test]
    fn mutilated_columns_are_refused_or_decode_to_something(
        samples in loose_samples(), mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in 0usize..40
    ) {
        let bytes = encode_samples(&SampleContents { samples: &samples, ..SampleContents::default() }).unwrap();
        let payload = body::open(&bytes, VERSION_COLUMNS).unwrap().1.into_owned();
        let mut mutilated = [&[VERSION_COLUMNS, 0][..], &payload].concat();
        for (at, byte) in &mutations { let at = at.index(mutilated.len()); mutilated[at] = *byte; }
        mutilated.truncate(mutilated.len() - cut.min(mutilated.len()));
        if let Ok(batch) = BatchDecoder::new().decode(BatchNumber(0), mutilated.into()) {
            let again = SampleContents { samples: &batch.samples, exemplars: &batch.exemplars, metadata: &batch.metadata };
            encode_samples(&again).unwrap();
        }
    }
}

/// Samples as a sender of scraped series brings them, and wild ones.
fn loose_samples() -> impl Strategy<Value = Vec<SeriesSample>> {
    let sample = (
        prop_oneof![4 => Just(3u32), 1 => any::<u32>()],
        prop_oneof![5 => Just(None), 1 => (0u16..16_384).prop_map(Some)],
        prop_oneof![4 => Just(None), 1 => time().prop_map(Some)],
        float(),
        prop::option::weighted(0.1, histogram()),
        prop::option::weighted(0.1, time()),
        0u16..2,
    );
    prop::collection::vec(sample, 0..60).prop_map(|list| {
        let (mut slot, mut at) = (0, TimestampMs(1_790_000_000_000));
        list.into_iter()
            .map(|(cohort, jump, time, float, histogram, start, step)| {
                slot = jump.unwrap_or((slot + step) % 16_384);
                at = time.unwrap_or(at);
                SeriesSample {
                    cohort: CohortId(cohort),
                    slot,
                    at,
                    value: histogram.map_or(Value::Float(float), Value::Histogram),
                    start: start.unwrap_or(TimestampMs(0)),
                }
            })
            .collect()
    })
}

fn key_batch(rows: &[Arc<Row>]) -> Arc<[u8]> {
    BatchEncoder::new().encode(&rows_only(rows)).unwrap().bytes
}

/// What was decoded keeps the rules, so that it can be encoded again.
fn check_decoded(batch: &Batch) {
    for decoded in &batch.rows {
        weight::check(&decoded.row).unwrap();
        assert!(
            decode_key_row(&encode_key_row(&decoded.row).unwrap())
                .unwrap()
                .same_bits(&decoded.row)
        );
    }
}

fn plain_row(cohort: u32, counter: u64, floats: &[f64]) -> Arc<Row> {
    Arc::new(Row {
        counter,
        at: TimestampMs(1_790_000_000_000 + 1_000 * counter.cast_signed()),
        presence: Presence::filled(floats.len(), true),
        floats: floats.to_vec(),
        ..empty_row(cohort)
    })
}

#[test]
fn a_row_leans_on_its_base_and_on_nothing_else() {
    let mut encoder = BatchEncoder::new();
    let mut encode = |row: Arc<Row>| encoder.encode(&rows_only(&[row])).unwrap().bytes;
    let batches: Vec<_> = (0..3)
        .map(|n| encode(plain_row(9, n, &[n as f64, 2.0])))
        .collect();
    let mut decoder = BatchDecoder::new();
    decoder
        .decode(BatchNumber(0), Arc::clone(&batches[0]))
        .unwrap();
    let missing = DecodeError::MissingBase {
        cohort: CohortId(9),
        counter: 2,
        base: 1,
    };
    assert_eq!(
        decoder
            .decode(BatchNumber(2), Arc::clone(&batches[2]))
            .unwrap_err(),
        missing
    );
    assert_eq!(decoder.base_counter(CohortId(9)), Some(0));
    let batch = decoder
        .decode(BatchNumber(1), Arc::clone(&batches[1]))
        .unwrap();
    assert_eq!(batch.rows[0].base.as_ref().unwrap().counter, 0);
    decoder
        .decode(BatchNumber(2), Arc::clone(&batches[2]))
        .unwrap();
}

#[test]
fn key_rows_come_in_time_and_on_demand() {
    let mut encoder = BatchEncoder::new();
    let keys =
        |encoder: &mut BatchEncoder, row| encoder.encode(&rows_only(&[row])).unwrap().key_rows;
    let row = |n: u64| plain_row(0, n, &[1.0; 70]);
    for n in 0..130 {
        assert_eq!(keys(&mut encoder, row(n)), usize::from(n % 64 == 0), "{n}");
    }
    encoder.forget(CohortId(0));
    assert_eq!(keys(&mut encoder, row(130)), 1);
    encoder.reset();
    assert_eq!(keys(&mut encoder, row(131)), 1);
    assert_eq!(keys(&mut encoder, row(131)), 1, "the counter did not rise");
    assert_eq!(
        keys(&mut encoder, plain_row(0, 132, &[1.0; 3])),
        1,
        "the layout shrank"
    );
}

#[test]
fn a_batch_that_cannot_be_encoded_changes_nothing() {
    let mut encoder = BatchEncoder::new();
    let good = |n| plain_row(0, n, &[1.5, 2.0]);
    encoder.encode(&rows_only(&[good(0)])).unwrap();
    let mut bad = Row::clone(&good(1));
    bad.presence.set(1, false);
    let error = encoder
        .encode(&rows_only(&[good(1), Arc::new(bad)]))
        .unwrap_err();
    let source = RowError::Absent { slot: 1 };
    assert_eq!(
        error,
        EncodeError::Row {
            cohort: CohortId(0),
            counter: 1,
            source
        }
    );
    let batch = encoder.encode(&rows_only(&[good(1)])).unwrap();
    assert_eq!((batch.key_rows, batch.samples), (0, 2));
}

#[test]
fn lies_about_lengths_are_refused_before_anything_is_allocated() {
    let body = |section: u8, contents: &[u8]| -> Arc<[u8]> {
        let mut body = vec![VERSION, 0, section];
        bytes::put_varint(&mut body, contents.len() as u64);
        [&body, contents].concat().into()
    };
    let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let huge_row = [&[1, 0, 0, 0, 0][..], &many].concat();
    for bytes in [
        body(1, &many),
        body(1, &huge_row),
        body(5, &many),
        body(6, &many),
        body(6, &[&[1][..], &many].concat()),
        // 4,096 empty rows of 16,384 slots: 256 bytes each would become 150 KiB.
        body(
            1,
            &[
                &[0x80, 0x20][..],
                &[&[0, 0, 0, 0, 0x80, 0x80, 1][..], &[0; 256]]
                    .concat()
                    .repeat(4_096),
            ]
            .concat(),
        ),
        Arc::from([&[VERSION, 1][..], &many].concat()),
        vec![VERSION; BODY_BYTES_MAX + 1].into(),
    ] {
        let error = BatchDecoder::new()
            .decode(BatchNumber(0), bytes)
            .unwrap_err();
        assert!(matches!(error, DecodeError::Limit { .. }), "{error}");
    }
    for bytes in [
        &[][..],
        &[VERSION],
        &[VERSION, 2],
        &[VERSION, 1, 5, 1, 2, 3],
        &[VERSION, 0, 9, 0],
        &[VERSION, 0, 2, 0, 1, 0],
    ] {
        let error = BatchDecoder::new()
            .decode(BatchNumber(0), bytes.into())
            .unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    }
    let error = BatchDecoder::new()
        .decode(BatchNumber(0), Arc::from([3, 0]))
        .unwrap_err();
    assert_eq!(
        error,
        DecodeError::Version {
            found: 3,
            newest: 2
        }
    );
}

/// Both ends must weigh alike, or a batch is made that nobody takes.
#[test]
fn the_heaviest_batch_is_taken_and_the_next_heavier_is_not_made() {
    let full = vec![1.5; 16_384];
    let mut rows: Vec<_> = (0..31).map(|cohort| plain_row(cohort, 0, &full)).collect();
    let mut mixed = Row::clone(&plain_row(31, 0, &[0.0; 100]));
    let labels = Labels::from_pairs([("trace_id", "0123456789abcdef")]).unwrap();
    let histogram = Histogram {
        sum: 3.0,
        positive_spans: vec![Span {
            offset: 0,
            length: 3,
        }],
        buckets: Buckets::Integer {
            count: 6,
            zero: 0,
            positive: vec![1, 2, 3],
            negative: vec![],
        },
        ..Histogram::stale()
    };
    for slot in 0..50 {
        mixed.histograms.push((slot, Arc::new(histogram.clone())));
        mixed.start_times.push((slot, TimestampMs(1)));
        mixed.exemplars.push((
            slot,
            Exemplar {
                labels: labels.clone(),
                value: 1.0,
                at: TimestampMs(2),
            },
        ));
    }
    let missing = WEIGHT_MAX - 31 * 16_384 - weight::of_row(&mixed);
    let mut twice = mixed.clone();
    twice.counter = 1;
    rows.push(Arc::new(mixed));
    // In the same batch, so that its histograms are those of the base.
    let missing = missing - weight::of_row(&twice);
    rows.push(Arc::new(twice));
    rows.push(plain_row(32, 0, &full[..missing]));
    let bytes = BatchEncoder::new().encode(&rows_only(&rows)).unwrap().bytes;
    assert_same(
        &BatchDecoder::new().decode(BatchNumber(0), bytes).unwrap(),
        &rows,
    );
    rows.push(plain_row(33, 0, &[1.0]));
    let error = BatchEncoder::new().encode(&rows_only(&rows)).unwrap_err();
    assert!(matches!(error, EncodeError::Limit { .. }), "{error}");
}

#[test]
fn a_compression_bomb_stays_small() {
    let zeros = vec![0; 64 << 20];
    let bomb = zstd::bulk::compress(&zeros, 19).unwrap();
    for claim in [64 << 20, BODY_BYTES_MAX as u64, 10] {
        let mut body = vec![VERSION, 1];
        bytes::put_varint(&mut body, claim);
        body.extend_from_slice(&bomb);
        assert!(
            BatchDecoder::new()
                .decode(BatchNumber(0), body.into())
                .is_err()
        );
    }
}

#[test]
fn a_transcoder_hands_on_the_bytes_that_it_can() {
    let row = |n: u64| plain_row(0, n, &[n as f64, 1.5]);
    let bytes = encode_all(&(0..4).map(|n| vec![row(n)]).collect::<Vec<_>>());
    let mut transcoder = Transcoder::new();
    let mut send = |n: usize| {
        transcoder
            .send(BatchNumber(n as u64), Arc::clone(&bytes[n]))
            .unwrap()
    };
    assert!(Arc::ptr_eq(&send(0), &bytes[0]) && Arc::ptr_eq(&send(1), &bytes[1]));
    transcoder.forget_sent();
    let mut send = |n: usize| {
        transcoder
            .send(BatchNumber(n as u64), Arc::clone(&bytes[n]))
            .unwrap()
    };
    assert_eq!(send(2), key_batch(&[row(2)]));
    assert!(Arc::ptr_eq(&send(3), &bytes[3]));
}

#[test]
fn lying_lengths_of_columns_are_refused_before_memory_is_taken() {
    for section in [
        // More samples than the section has.
        &[0xff, 0xff, 0x03][..],
        // Groups: empty, larger than the section says, with an unknown flag.
        &[2, 5, 0, 0],
        &[2, 5, 3, 0],
        &[2, 5, 2, 4],
        // Runs of slots: past the group, before the first slot, past the last one.
        &[2, 5, 2, 0, 0, 5],
        &[2, 5, 2, 0, 1, 3],
        &[2, 5, 2, 0, 0xfe, 0xff, 1, 3],
        // A run of times past the group.
        &[2, 5, 2, 0, 0, 3, 5],
        // A value that is absent.
        &[1, 5, 1, 0, 0, 0, 2, 62],
        // Bits of histograms past the last sample.
        &[1, 5, 1, 2, 0, 0, 2, 2],
    ] {
        let mut body = vec![VERSION_COLUMNS, 0, 7];
        bytes::put_varint(&mut body, section.len() as u64);
        body.extend_from_slice(section);
        let error = BatchDecoder::new()
            .decode(BatchNumber(0), body.into())
            .unwrap_err();
        assert!(
            matches!(error, DecodeError::Malformed(_) | DecodeError::Limit { .. }),
            "{section:?}: {error}"
        );
    }
}

#[test]
fn a_start_time_is_not_lost_on_the_way_from_an_agent() {
    let sample = SeriesSample {
        cohort: CohortId(4),
        slot: 0,
        at: TimestampMs(9),
        value: Value::Float(1.0),
        start: TimestampMs(3),
    };
    let contents = BatchContents {
        samples: &[sample],
        ..BatchContents::default()
    };
    let error = BatchEncoder::new().encode(&contents).unwrap_err();
    let cohort = CohortId(4);
    assert_eq!(error, EncodeError::StartTime { cohort });
}

/// The examples of FORMAT.md, the second one.
#[test]
fn the_columns_are_those_of_the_format_document() {
    let sample = |slot, at: i64, value, start| SeriesSample {
        cohort: CohortId(5),
        slot,
        at: TimestampMs(1_790_000_000_000 + at),
        value: Value::Float(value),
        start: TimestampMs(start),
    };
    let samples = [
        sample(0, 0, 100.0, 0),
        sample(1, 0, 0.25, 1_789_000_000_000),
        sample(2, 3, 4096.0, 1_789_000_000_000),
        sample(2, 1_003, 4097.0, 1_789_000_000_000),
    ];
    let exemplars = [SeriesExemplar {
        cohort: CohortId(5),
        slot: 2,
        exemplar: Exemplar {
            labels: Labels::from_pairs([("id", "a")]).unwrap(),
            value: 0.0,
            at: TimestampMs(7),
        },
    }];
    let contents = SampleContents {
        samples: &samples,
        exemplars: &exemplars,
        metadata: &[],
    };
    let bytes = encode_samples(&contents).unwrap();
    assert_eq!(hex_of(&bytes), example(2));
}

/// The example of FORMAT.md.
#[test]
fn the_bytes_are_those_of_the_format_document() {
    let mut encoder = BatchEncoder::new();
    let mut second = Row::clone(&plain_row(5, 1, &[100.0, 0.25, 8192.0, f64::NAN, 0.0]));
    second.presence.set(4, false);
    second.start_times = vec![(0, TimestampMs(1_790_000_000_000))];
    let rows = [
        plain_row(5, 0, &[100.0, 0.5, 4096.0, 0.0, 1.0]),
        Arc::new(second),
    ];
    let bytes = encoder.encode(&rows_only(&rows)).unwrap().bytes;
    assert_eq!(hex_of(&bytes), example(1));
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the digits of an example of FORMAT.md, counted from 1.
fn example(number: usize) -> String {
    let document = include_str!("../../FORMAT.md");
    let example = document.split("```hex").nth(number).unwrap();
    let lines = example.split("```").next().unwrap().lines();
    lines
        .map(|line| line.split('#').next().unwrap())
        .flat_map(str::split_whitespace)
        .collect()
}
