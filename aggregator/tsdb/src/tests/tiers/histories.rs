//! Random histories of days with tiers: what is answered from tiers is what is answered from samples, whatever becomes of the files.

use proptest::prelude::*;

use super::*;

/// Queries of each kind, some of which fit the grid.
const SOME: [&str; 5] = [
    "increase(c_total[1h])",
    "sum_over_time(g[30m])",
    "avg_over_time(g[2h])",
    "count_over_time(sometimes[2h])",
    "sometimes",
];
const DAYS: i64 = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Rows of the past, of the agent of all others or of one whose rows lie on another shard, if there is one.
    Late {
        other: bool,
        from: i64,
        rows: i64,
    },
    /// Says again what the gauge was, from a minute on.
    Correct {
        from: i64,
        minutes: i64,
    },
    /// Deletes a series, or all, from a minute on.
    Delete {
        series: usize,
        from: i64,
        minutes: i64,
    },
    Clean,
    /// Time passes, and what is due is done, with what is in memory or without.
    Keep {
        hours: u64,
        sealed: bool,
    },
    /// Opens the store again, with other tiers and classes.
    Reopen {
        tiers: u8,
        classes: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let minute = 0..DAYS * 24 * 60;
    // Whole days too.
    let starts = prop_oneof![3 => minute.clone(), 1 => (0..DAYS).prop_map(|day| day * 24 * 60)];
    let lengths = prop_oneof![2 => 0..90_i64, 1 => Just(24 * 60 - 1), 1 => Just(24 * 60)];
    prop_oneof![
        4 => (any::<bool>(), minute.clone(), 1..40_i64).prop_map(|(other, from, rows)| Step::Late { other, from, rows }),
        1 => (minute, 1..200_i64).prop_map(|(from, minutes)| Step::Correct { from, minutes }),
        3 => (0..4_usize, starts, lengths).prop_map(|(series, from, minutes)| Step::Delete { series, from, minutes }),
        2 => Just(Step::Clean),
        4 => (prop_oneof![Just(0), Just(7_u64)], any::<bool>()).prop_map(|(hours, sealed)| Step::Keep { hours, sealed }),
        3 => (0..4_u8, 0..3_u8).prop_map(|(tiers, classes)| Step::Reopen { tiers, classes }),
    ]
}

fn classes(which: u8) -> Vec<RetentionClass> {
    let class = |name: &str, of: &str| RetentionClass {
        name: name.to_owned(),
        matchers: vec![Matcher::equal("__name__", of)],
        retention: YEAR,
    };
    match which {
        0 => Vec::new(),
        1 => vec![class("slo", "g")],
        _ => vec![class("slos", "g"), class("rest", "c_total")],
    }
}

fn tiers(which: u8) -> TierRetention {
    let kept = |bit: u8| (which >> bit & 1 == 1).then_some(YEAR * 10);
    TierRetention {
        five_minutes: kept(0),
        one_hour: kept(1),
    }
}

/// Returns an agent whose rows lie on the other of two shards.
fn elsewhere() -> String {
    let shard_of = |agent: &str| xxh3_64(format!("{agent}\0c").as_bytes()) % 2;
    let names = (2..).map(|number| format!("node-{number}"));
    let mut others = names.filter(|name| shard_of(name) != shard_of("node-1"));
    others.next().unwrap()
}

struct History {
    story: Story,
    store: Option<Tsdb>,
    epoch: u64,
}

impl History {
    fn new(shards: u16) -> Self {
        let (mut story, store) = Story::new(|world| world.config.shards = NonZeroU16::new(shards));
        story.live(&store, DAYS, MINUTE);
        Self {
            story,
            store: Some(store),
            epoch: 1,
        }
    }

    fn store(&self) -> &Tsdb {
        self.store.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        let store = self.store.take().unwrap();
        let story = &mut self.story;
        self.epoch += 1;
        match *step {
            Step::Late { other, from, rows } => {
                // Never at one time on both: merges of a shard do not know which came first.
                let (name, second) = if other {
                    (elsewhere(), 40_000)
                } else {
                    ("node-1".to_owned(), 20_000)
                };
                story.agent = Agent::new(&name, self.epoch);
                let minutes = from..(from + rows).min(DAYS * 24 * 60);
                let rows: Vec<_> = minutes
                    .map(|minute| story.row(BEGIN + minute * MINUTE + second))
                    .collect();
                story.send(&store, &rows);
            }
            Step::Correct { from, minutes } => {
                story.agent = Agent::new("node-1", self.epoch).lane(Lane::Correction);
                let end = (from + minutes).min(DAYS * 24 * 60);
                story.correct(&store, from * MINUTE..end * MINUTE);
            }
            Step::Delete {
                series,
                from,
                minutes,
            } => {
                let start = TimestampMs(BEGIN + from * MINUTE);
                let end = TimestampMs(start.0 + minutes * MINUTE + MINUTE - 1);
                let of = ["c_total", "g", "sometimes"].get(series);
                let of = of.map(|name| vec![Matcher::equal("__name__", *name)]);
                let sets: Vec<_> = of.into_iter().collect();
                store.delete(&sets, TimeRange::new(start, end)).unwrap();
            }
            Step::Clean => {
                store.clean_deletes().unwrap();
                assert_eq!(store.stats().partitions_hit, 0);
                assert_eq!(story.world.catalogue().deletes.len(), 0);
            }
            Step::Keep { hours, sealed } => {
                if sealed {
                    seal(&store);
                }
                story.world.clock.advance(Duration::from_hours(hours));
                assert!(store.keep());
            }
            Step::Reopen {
                tiers: kept,
                classes: split,
            } => {
                drop(store);
                story.world.config.tiers = tiers(kept);
                story.world.config.retention_classes = classes(split);
                self.store = Some(story.world.open().0);
                return;
            }
        }
        self.store = Some(store);
    }

    /// Returns what is answered of the gauge, which is of a class of its own.
    fn of_the_class(&self, raw_only: bool) -> Answers {
        let mut answers = self.answers(raw_only);
        answers.retain(|(text, _)| text.contains("(g["));
        answers
    }

    fn answers(&self, raw_only: bool) -> Answers {
        let grids = [
            grid(2 * HOUR, DAYS * DAY - HOUR, HOUR),
            grid(DAY - HOUR, DAY + HOUR, 5 * MINUTE),
        ];
        let answers = grids.map(|grid| answers_of(&SOME, self.store(), grid, raw_only));
        answers.concat()
    }
}

fn check(shards: u16, steps: &[Step], more: &[Step]) {
    let mut history = History::new(shards);
    for (number, step) in steps.iter().enumerate() {
        history.take(step);
        let raw = history.answers(true);
        assert_eq!(history.answers(false), raw, "after {number}, {step:?}");
    }
    let rest = [
        Step::Reopen {
            tiers: 3,
            classes: 1,
        },
        Step::Keep {
            hours: 7,
            sealed: true,
        },
        Step::Keep {
            hours: 7,
            sealed: true,
        },
        Step::Clean,
    ];
    let before = history.answers(true);
    for step in &rest {
        history.take(step);
        assert_eq!(history.answers(true), before, "{step:?}");
        assert_eq!(history.answers(false), before, "{step:?}");
    }
    let stats = history.store().stats();
    let days = stats.tiers.0 / 2;
    assert!(days <= 4 && stats.tiers.0 == 2 * days, "{stats:?}");
    if shards > 1 {
        return;
    }
    // One class goes before the other.
    history.store = None;
    history.story.world.config.retention = Duration::from_hours(24 * 15);
    history.store = Some(history.story.world.open().0);
    let days_later = Duration::from_hours(24 * 20);
    history.story.world.clock.advance(days_later);
    assert!(history.store().keep());
    assert_eq!(history.answers(false), before, "one class gone");
    for step in more {
        let step = match step {
            Step::Reopen { tiers, .. } => &Step::Reopen {
                tiers: *tiers,
                classes: 1,
            },
            step => step,
        };
        history.take(step);
        let raw = history.of_the_class(true);
        assert_eq!(history.of_the_class(false), raw, "one class gone, {step:?}");
    }
    if more.is_empty() {
        let year = YEAR + Duration::from_hours(24 * 5);
        history.story.world.clock.advance(year);
        assert!(history.store().keep());
        assert_eq!(history.store().stats().partitions, 2 * days);
        assert_eq!(history.answers(false), before, "samples gone");
    }
}

#[test]
fn a_tier_that_is_hit_while_none_is_kept_is_made_anew_when_it_is() {
    let delete = Step::Delete {
        series: 0,
        from: 8,
        minutes: 53,
    };
    let none_kept = Step::Reopen {
        tiers: 0,
        classes: 0,
    };
    check(1, &[delete, none_kept, Step::Clean], &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn tiers_answer_as_samples_do_whatever_becomes_of_them(shards in 1..3_u16, steps in prop::collection::vec(step(), 1..10), more in prop::collection::vec(step(), 0..6)) {
        check(shards, &steps, &more);
    }
}
