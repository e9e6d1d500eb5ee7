use std::path::Path;

use files::Simulated;
use model::{Labels, MetricType};
use rows::{Presence, SeriesDefinition, Slot};
use spool::{ReadFrom, Record, Settings};

use super::*;

const SEGMENT_BYTES: u64 = 4 << 10;

struct Case {
    disk: Simulated,
    spool: Spool,
    maker: Maker,
    counter: u64,
}

impl Case {
    fn new() -> Self {
        let disk = Simulated::new();
        let settings = Settings {
            segment_bytes: SEGMENT_BYTES,
            ..Settings::default()
        };
        let (spool, _) = Spool::open(
            Arc::new(disk.clone()),
            Path::new("/spool"),
            settings,
            Epoch(7),
        )
        .expect("an empty disk");
        Self {
            maker: Maker::new(&spool),
            disk,
            spool,
            counter: 0,
        }
    }

    fn row(&mut self, slots: usize) -> Arc<Row> {
        self.counter += 1;
        Arc::new(Row {
            cohort: CohortId(1),
            counter: self.counter,
            at: TimestampMs(0),
            presence: Presence::filled(slots, true),
            floats: vec![1.0; slots],
            histograms: vec![],
            start_times: vec![],
            exemplars: vec![],
        })
    }

    fn make(
        &mut self,
        definitions: Vec<CohortDefinition>,
        rows: Vec<Arc<Row>>,
    ) -> Result<Option<Made>, MakeError> {
        let update = Update {
            definitions,
            rows,
            ..Update::default()
        };
        self.maker.make(&mut self.spool, &update, TimestampMs(0))
    }

    /// For each batch in the spool: its number, the slots defined before it in its segment, and whether it decodes from there.
    fn batches(&mut self) -> Vec<(u64, usize, bool)> {
        let mut reader = self.spool.reader(ReadFrom::Oldest);
        let mut found = Vec::new();
        let (mut segment, mut slots, mut decoder) = (None, 0, rows::BatchDecoder::new());
        while let Some(record) = self.spool.next_record(&mut reader).expect("readable") {
            let of = match &record {
                Record::Definition { segment, .. } => *segment,
                Record::Batch(batch) => batch.segment,
            };
            if segment.replace(of) != Some(of) {
                (slots, decoder) = (0, rows::BatchDecoder::new());
            }
            match record {
                Record::Definition { body, .. } => {
                    let definition = definition::decode(&body).expect("ours");
                    assert!(usize::from(definition.first_slot) <= slots);
                    slots = slots.max(usize::from(definition.first_slot) + definition.series.len());
                }
                Record::Batch(batch) => {
                    let decoded = decoder.decode(batch.number, batch.body.into());
                    found.push((batch.number.0, slots, decoded.is_ok()));
                }
            }
        }
        found
    }
}

fn definition(first: u16, slots: u16, label_bytes: usize) -> CohortDefinition {
    let series = |slot: Slot| SeriesDefinition {
        labels: Labels::from_pairs([
            ("__name__", "m"),
            ("slot", &*slot.to_string()),
            ("long", &"x".repeat(label_bytes)),
        ])
        .expect("valid"),
        kind: MetricType::Gauge,
    };
    CohortDefinition {
        cohort: CohortId(1),
        name: Arc::from("c"),
        first_slot: first,
        series: (first..first + slots).map(series).collect(),
    }
}

#[test]
fn every_segment_stands_alone_with_all_definitions_and_key_rows() {
    let mut case = Case::new();
    let first = case.row(2);
    case.make(vec![definition(0, 2, 10)], vec![first])
        .expect("made");
    for _ in 0..200 {
        let row = case.row(2);
        case.make(vec![], vec![row]).expect("made");
    }
    assert!(case.spool.stats().segments > 2);
    let expected: Vec<_> = (0..=200).map(|number| (number, 2, true)).collect();
    assert_eq!(case.batches(), expected);
}

#[test]
fn a_definition_that_does_not_fit_a_segment_takes_its_batch_along_to_the_next() {
    let mut case = Case::new();
    let first = case.row(2);
    case.make(vec![definition(0, 2, 10)], vec![first])
        .expect("made");
    // Far larger than what is left, while the batch after it would still fit.
    let grown = case.row(4);
    case.make(vec![definition(2, 2, 3_900)], vec![grown])
        .expect("made");
    assert_eq!(case.batches(), [(0, 2, true), (1, 4, true)]);
    assert_eq!(case.spool.stats().segments, 2);
}

#[test]
fn definitions_that_come_while_the_disk_is_full_are_not_forgotten() {
    let mut case = Case::new();
    case.disk.set_capacity(Some(case.disk.used_bytes()));
    let lost = [case.row(2), case.row(2)].to_vec();
    assert!(case.make(vec![definition(0, 2, 10)], lost).is_err());
    assert_eq!(case.maker.stats().rows_lost, 2);
    let lost = case.row(2);
    assert!(case.make(vec![], vec![lost]).is_err());
    assert_eq!(case.maker.stats().rows_lost, 3);
    case.disk.set_capacity(None);
    let kept = case.row(2);
    let made = case.make(vec![], vec![kept]).expect("room again");
    let first = Made {
        last: BatchNumber(0),
        batches: 1,
    };
    assert_eq!(made, Some(first), "no number was spent on what was lost");
    assert_eq!(case.batches(), [(0, 2, true)]);
}

#[test]
fn large_updates_are_cut_into_batches() {
    let mut case = Case::new();
    let rows: Vec<_> = (0..ROWS_PER_BATCH + 1).map(|_| case.row(1)).collect();
    let made = case.make(vec![definition(0, 1, 10)], rows).expect("made");
    let two = Made {
        last: BatchNumber(1),
        batches: 2,
    };
    assert_eq!(made, Some(two));
    assert_eq!(case.make(vec![], vec![]).expect("nothing"), None);
}
