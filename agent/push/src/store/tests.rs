use std::collections::BTreeMap;

use proptest::prelude::*;
use rows::{CohortDefinition, Row};

use super::*;
use crate::{Body, Full, Harvest, Names};

mod twin;

use twin::Twin;

fn read(text: &str) -> Pushed {
    let body = Body {
        bytes: text.as_bytes(),
        ..Body::default()
    };
    let read = body.read(Names::Classic, 1 << 24);
    read.unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn key(pairs: &[(&str, &str)]) -> GroupKey {
    GroupKey::new(pairs.iter().copied())
}

fn at(ms: i64) -> Now {
    Now {
        wall: TimestampMs(1_700_000_000_000 + ms),
        monotonic: Monotonic::from_origin(Duration::from_millis(u64::try_from(ms).unwrap())),
    }
}

/// What a store of rows would have: the last value of each series that has not ended.
#[derive(Default)]
struct Reader {
    series: BTreeMap<(CohortId, usize), String>,
    next_row: BTreeMap<CohortId, u64>,
    last: BTreeMap<CohortId, TimestampMs>,
    ended: Vec<CohortId>,
    /// By series: the time of the last sample, and the value unless it has ended.
    samples: BTreeMap<String, (TimestampMs, Option<u64>)>,
}

impl Reader {
    fn take(&mut self, harvest: Harvest) {
        for CohortDefinition {
            cohort,
            first_slot,
            series,
            ..
        } in harvest.definitions
        {
            for (slot, series) in (usize::from(first_slot)..).zip(series) {
                let known = self
                    .series
                    .insert((cohort, slot), series.labels.to_string());
                assert_eq!(known, None, "each slot is defined once");
            }
        }
        self.ended.extend(harvest.ended);
        for row in harvest.rows {
            assert!(
                !self.ended.contains(&row.cohort),
                "an ended cohort has rows"
            );
            self.take_row(&row);
        }
    }

    fn take_row(&mut self, row: &Row) {
        let next = self.next_row.entry(row.cohort).or_default();
        assert_eq!(row.counter, *next, "rows are counted without gaps");
        *next += 1;
        let before = self.last.insert(row.cohort, row.at);
        assert!(before < Some(row.at), "rows rise");
        for slot in row.presence.iter() {
            let series = &self.series[&(row.cohort, slot)];
            let value = row.floats[slot];
            let value = (!model::is_stale(value)).then(|| value.to_bits());
            let sample = self.samples.entry(series.clone()).or_default();
            // As a store does it: of two samples at one time, the first counts.
            if row.at > sample.0 {
                *sample = (row.at, value);
            }
        }
    }

    fn live(&self) -> BTreeMap<String, u64> {
        let live = |(series, (_, value)): (&String, &(TimestampMs, Option<u64>))| {
            Some((series.clone(), (*value)?))
        };
        self.samples.iter().filter_map(live).collect()
    }
}

/// Everything that has a value.
fn live(store: &Store) -> BTreeMap<String, u64> {
    let mut live = BTreeMap::new();
    for group in store.groups.values() {
        for (labels, value) in group.layout.series.iter().zip(&group.layout.values) {
            if let Some(Value::Float(value)) = value {
                let twice = live.insert(labels.to_string(), value.to_bits());
                assert_eq!(twice, None, "{labels} is in two places");
            }
        }
    }
    live
}

fn check_maps(store: &Store) {
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut live, mut bytes) = (0, 0);
    for (id, group) in &store.groups {
        assert_eq!(store.by_key.get(&group.key), Some(id));
        live += group.layout.live();
        bytes += group.bytes;
        assert_eq!(
            group.layout.live(),
            group.order.len() + 2,
            "{:?}",
            group.key
        );
        assert!(
            group
                .families
                .is_sorted_by(|a, b| a.about.name < b.about.name)
        );
        for family in &group.families {
            *families.entry(&family.about.name).or_default() += 1;
            for slot in group.slots(family) {
                let labels = &group.layout.series[usize::from(*slot)];
                let place = Place {
                    group: *id,
                    slot: *slot,
                };
                assert_eq!(store.series.get(labels), Some(&place), "{labels}");
            }
        }
        let mut measured = group.clone();
        measured.measure();
        assert_eq!(measured.bytes, group.bytes);
        assert_eq!(
            group.ends.is_some(),
            store.ends.iter().any(|(_, g)| g == id)
        );
    }
    assert_eq!((store.live, store.bytes), (live, bytes));
    let counted = store.families.iter().filter(|(_, family)| !family.is_own);
    let counted: BTreeMap<&str, usize> = counted.map(|(name, f)| (&**name, f.groups)).collect();
    assert_eq!(counted, families);
}

#[derive(Clone, Debug)]
enum Operation {
    Push(usize, Mode, String, Option<u64>),
    Delete(usize),
    Wipe,
    Pass(i64),
    Harvest,
    Sample,
}

const KEYS: [&[(&str, &str)]; 5] = [
    &[("job", "a")],
    &[("job", "b")],
    &[("job", "a"), ("x", "1")],
    &[("job", "a"), ("p", "")],
    &[("job", "a"), ("x", "2"), ("y", "1")],
];

/// A family with a few series: sometimes twice the same, sometimes another group's.
fn family() -> impl Strategy<Value = String> {
    let labels = prop_oneof![
        Just(String::new()),
        "[12]".prop_map(|x| format!("{{x=\"{x}\"}}")),
        "[12]".prop_map(|y| format!("{{y=\"{y}\"}}")),
        Just("{job=\"b\"}".to_owned()),
        Just("{p=\"\"}".to_owned()),
    ];
    let samples = prop::collection::vec((labels, 0_u32..9), 0..4);
    let kind = prop_oneof![4 => Just("counter"), 2 => Just("gauge"), 1 => Just("untyped")];
    let plain = ("[mn]|h_count", kind, samples).prop_map(|(name, kind, samples)| {
        let mut text = format!("# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            text.push_str(&format!("{name}{labels} {value}\n"));
        }
        text
    });
    let histogram = ("[12]", 0_u32..9, any::<bool>()).prop_map(|(bound, count, is_labelled)| {
        let label = if is_labelled { "y=\"1\"," } else { "" };
        format!("# TYPE h histogram\nh_bucket{{{label}le=\"{bound}\"}} {count}\nh_sum{{{label}}} {count}\nh_count{{{label}}} {count}\n")
    });
    prop_oneof![3 => plain, 1 => histogram]
}

fn operation() -> impl Strategy<Value = Operation> {
    let mode = prop_oneof![Just(Mode::Replace), Just(Mode::Merge), Just(Mode::Sum)];
    let families = prop::collection::vec(family(), 0..4).prop_map(|families| {
        // Of two families with one name, text lets only the first declare a type.
        let mut names = BTreeSet::new();
        let name = |family: &String| family.split(' ').nth(2).map(str::to_owned);
        let has_histogram = families.iter().any(|f| name(f).as_deref() == Some("h"));
        let is_first = |family: &String| {
            let name = name(family).unwrap_or_default();
            (name != "h_count" || !has_histogram) && names.insert(name)
        };
        families.into_iter().filter(is_first).collect::<String>()
    });
    let timed = prop::option::weighted(0.2, 1_u64..50);
    prop_oneof![
        12 => (0..KEYS.len(), mode, families, timed).prop_map(|(k, m, f, t)| Operation::Push(k, m, f, t)),
        2 => (0..KEYS.len()).prop_map(Operation::Delete),
        1 => Just(Operation::Wipe),
        4 => (0_i64..30).prop_map(Operation::Pass),
        4 => Just(Operation::Harvest),
        1 => Just(Operation::Sample),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_store_agrees_with_its_twin(operations in prop::collection::vec(operation(), 1..60), check_types: bool) {
        let config = StoreConfig { check_types, ..StoreConfig::default() };
        let mut store = Store::new(config);
        store.reserve("own", MetricType::Counter);
        let (mut twin, mut reader, mut ms) = (Twin::new(check_types), Reader::default(), 0);
        store.open(CohortId(7), at(0));
        for operation in operations {
            let now = at(ms);
            store.expire(now);
            twin.expire(ms);
            match operation {
                Operation::Push(number, mode, text, ttl) => {
                    let (key, pushed) = (key(KEYS[number]), read(&text));
                    let for_so_long = ttl.map_or(Ttl::Default, |ttl| Ttl::After(Duration::from_millis(ttl)));
                    let done = store.push(&key, &pushed, mode, for_so_long, now);
                    let expected = twin.push(KEYS[number], &pushed, mode, ttl, ms);
                    prop_assert_eq!(done.is_ok(), expected, "{} {:?}: {:?}", text, mode, done);
                }
                Operation::Delete(number) => {
                    let was_there = store.delete(&key(KEYS[number]), now);
                    prop_assert_eq!(was_there, twin.delete(KEYS[number]));
                }
                Operation::Wipe => {
                    store.wipe(now);
                    twin.wipe();
                }
                Operation::Pass(time) => ms += time,
                Operation::Harvest => reader.take(store.harvest()),
                Operation::Sample => {
                    for number in 0..3 {
                        store.sample(Part { number, parts: 3 }, TimestampMs(now.wall.0 - 20), now);
                    }
                }
            }
            check_maps(&store);
            prop_assert_eq!(live(&store), twin.live());
        }
        reader.take(store.harvest());
        prop_assert_eq!(reader.live(), twin.live());
    }
}

fn push(store: &mut Store, pairs: &[(&str, &str)], text: &str, ms: i64) -> Result<(), PushError> {
    store.push(&key(pairs), &read(text), Mode::Merge, Ttl::Default, at(ms))
}

#[test]
fn limits_are_said_and_change_nothing() {
    let mut store = Store::new(StoreConfig {
        groups_max: 2,
        bytes_max: 8_000,
        ..StoreConfig::default()
    });
    let many: String = (0..50).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
    push(&mut store, &[("job", "a")], "m 1\n", 0).unwrap();
    let error = push(&mut store, &[("job", "a")], &many, 1).unwrap_err();
    assert!(error.to_string().contains("--push.max-bytes"), "{error}");
    assert_eq!(store.stats().series, 3);
    push(&mut store, &[("job", "b")], "m 1\n", 2).unwrap();
    let error = push(&mut store, &[("job", "c")], "m 1\n", 3).unwrap_err();
    assert_eq!(error, PushError::Full(Full::Groups { groups: 2 }));
    // Neither does a push that would only leave the time of its failure.
    let error = push(&mut store, &[("job", "d")], "m 1 1\n", 4).unwrap_err();
    assert_eq!(error, PushError::Full(Full::Groups { groups: 2 }));
    assert!(store.delete(&key(&[("job", "a")]), at(5)));
    push(&mut store, &[("job", "c")], "m 1\n", 6).unwrap();
    check_maps(&store);
}

#[test]
fn series_that_come_and_go_do_not_pile_up() {
    let mut store = Store::new(StoreConfig::default());
    store.open(CohortId(0), at(0));
    let mut reader = Reader::default();
    for version in 0..1_000 {
        let text = format!("m{{version=\"{version}\"}} 1\n");
        push(&mut store, &[("job", "a")], &text, version).unwrap();
        if version % 7 == 0 {
            reader.take(store.harvest());
        }
    }
    reader.take(store.harvest());
    let group = store.groups.values().next().unwrap();
    assert!(group.layout.len() <= 64, "{}", group.layout.len());
    assert!(store.series.len() <= 64);
    assert_eq!((reader.live(), reader.live().len()), (live(&store), 3));
    check_maps(&store);
}

#[test]
fn a_type_may_change_where_nobody_else_has_the_family() {
    let mut store = Store::new(StoreConfig::default());
    store.open(CohortId(0), at(0));
    let mut reader = Reader::default();
    push(&mut store, &[("job", "a")], "# TYPE m gauge\nm 1\n", 0).unwrap();
    reader.take(store.harvest());
    push(&mut store, &[("job", "a")], "# TYPE m counter\nm 2\n", 1).unwrap();
    reader.take(store.harvest());
    assert_eq!(reader.live(), live(&store));
    push(&mut store, &[("job", "b")], "# TYPE m counter\nm 2\n", 2).unwrap();
    let error = push(&mut store, &[("job", "b")], "# TYPE m gauge\nm 2\n", 3).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "metric family m has type gauge but should have counter, as group {job=\"a\"} has it"
        ),
        "{error}"
    );
    store.reserve("own", MetricType::Counter);
    let error = push(&mut store, &[("job", "b")], "own 2\n", 4).unwrap_err();
    assert!(
        error.to_string().ends_with("as this agent has it"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_summed_is_refused() {
    let mut store = Store::new(StoreConfig::default());
    let mut sum = |text: &str| {
        let done = store.push(
            &key(&[("job", "a")]),
            &read(text),
            Mode::Sum,
            Ttl::Default,
            at(0),
        );
        done.map_err(|error| error.to_string())
    };
    const HISTOGRAM: &str =
        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum -3\nh_count 2\n";
    for _ in 0..3 {
        sum("# TYPE c counter\nc 1.5\n# TYPE g gauge\ng 7\n").unwrap();
        sum(HISTOGRAM).unwrap();
    }
    for (text, why) in [
        (
            "# TYPE c counter\nc -1\n",
            "increments are finite and not negative",
        ),
        (
            "# TYPE c counter\nc NaN\n",
            "increments are finite and not negative",
        ),
        ("# TYPE c gauge\nc 1\n", "should have counter"),
        (
            "# TYPE h histogram\nh_bucket{le=\"2\"} 1\nh_count 2\n",
            "its buckets are not those that are there",
        ),
        (
            "# TYPE h histogram\nh_count 2\n",
            "its buckets are not those that are there",
        ),
    ] {
        let error = sum(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let group = store.groups.values().next().unwrap();
    let values: Vec<f64> = (group.order.iter())
        .map(|slot| match group.layout.value(*slot) {
            Some(Value::Float(value)) => *value,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, [4.5, 7.0, 3.0, 6.0, -9.0, 6.0]);
}

#[test]
fn a_group_that_returns_within_its_last_moment_is_there() {
    let mut store = Store::new(StoreConfig::default());
    store.open(CohortId(0), at(0));
    let mut reader = Reader::default();
    push(&mut store, &[("job", "a")], "m 1\n", 0).unwrap();
    for harvested in [false, true] {
        assert!(store.delete(&key(&[("job", "a")]), at(5)));
        if harvested {
            reader.take(store.harvest());
        }
        push(&mut store, &[("job", "a")], "m 2\n", 5).unwrap();
    }
    reader.take(store.harvest());
    assert_eq!(reader.live(), live(&store));
}
