//! Two backtests side by side: which alerts only one of them tells of, and which are told of at other times.

use std::collections::BTreeMap;

use model::TimestampMs;

use crate::Told;

/// An alert that a receiver is told of, from the first notification that says that it fires to the first that says that it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Who is told.
    pub receiver: String,
    /// The alert's labels.
    pub labels: BTreeMap<String, String>,
    /// When it is told to fire.
    pub firing_at: TimestampMs,
    /// When it is told to be over; `None`: never within the time that was replayed, or to nobody who wants to know.
    pub resolved_at: Option<TimestampMs>,
}

/// A receiver and the labels of an alert.
type Key = (String, BTreeMap<String, String>);
type Span = (TimestampMs, Option<TimestampMs>);

/// The episodes of a backtest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Episodes {
    by_alert: BTreeMap<Key, Vec<Span>>,
}

impl Episodes {
    /// Takes the next notification.
    pub fn add(&mut self, told: &Told) {
        for alert in &told.alerts {
            let key = (told.receiver.clone(), alert.labels.clone());
            let spans = self.by_alert.entry(key).or_default();
            match (spans.last_mut(), alert.is_firing) {
                (Some((_, None)), true) => {}
                (_, true) => spans.push((told.at, None)),
                (Some((_, resolved @ None)), false) => *resolved = Some(told.at),
                (_, false) => {}
            }
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.by_alert.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An episode that both have, at other times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// How the first has it.
    pub ours: Episode,
    /// When the other tells that it fires, and that it is over.
    pub other: Span,
}

/// What differs, by receiver, alert and time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What only the first tells.
    pub only_ours: Vec<Episode>,
    /// What only the other tells.
    pub only_other: Vec<Episode>,
    /// What both tell, at other times.
    pub changed: Vec<Changed>,
}

impl Difference {
    /// Compares two backtests. Episodes of an alert are the same when they overlap.
    pub fn of(ours: &Episodes, other: &Episodes) -> Self {
        let mut difference = Self::default();
        for (key, spans) in &ours.by_alert {
            let others = other.by_alert.get(key).map_or(&[][..], Vec::as_slice);
            difference.compare(key, spans, others);
        }
        for (key, spans) in &other.by_alert {
            if !ours.by_alert.contains_key(key) {
                difference.compare(key, &[], spans);
            }
        }
        difference
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.only_ours.is_empty() && self.only_other.is_empty() && self.changed.is_empty()
    }

    /// Walks over the spans of one alert, both in order of time.
    fn compare(&mut self, key: &Key, mut ours: &[Span], mut others: &[Span]) {
        loop {
            match (ours.split_first(), others.split_first()) {
                (Some((first, rest)), Some((other, others_rest))) => {
                    if ends_before(*first, *other) {
                        self.only_ours.push(episode(key, *first));
                        ours = rest;
                    } else if ends_before(*other, *first) {
                        self.only_other.push(episode(key, *other));
                        others = others_rest;
                    } else {
                        if first != other {
                            self.changed.push(Changed {
                                ours: episode(key, *first),
                                other: *other,
                            });
                        }
                        (ours, others) = (rest, others_rest);
                    }
                }
                (Some((first, rest)), None) => {
                    self.only_ours.push(episode(key, *first));
                    ours = rest;
                }
                (None, Some((other, rest))) => {
                    self.only_other.push(episode(key, *other));
                    others = rest;
                }
                (None, None) => return,
            }
        }
    }
}

fn ends_before(span: Span, next: Span) -> bool {
    span.1.is_some_and(|end| end < next.0)
}

fn episode((receiver, labels): &Key, (firing_at, resolved_at): Span) -> Episode {
    Episode {
        receiver: receiver.clone(),
        labels: labels.clone(),
        firing_at,
        resolved_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ToldAlert;

    fn episodes(told: &[(i64, &str, bool)]) -> Episodes {
        let mut episodes = Episodes::default();
        for (at, alert, is_firing) in told {
            episodes.add(&Told {
                at: TimestampMs(*at),
                receiver: "r".to_owned(),
                integration: "webhook[0]".to_owned(),
                group: String::new(),
                reason: String::new(),
                is_firing: *is_firing,
                alerts: vec![ToldAlert {
                    labels: BTreeMap::from([("alertname".to_owned(), (*alert).to_owned())]),
                    is_firing: *is_firing,
                }],
                truncated: 0,
            });
        }
        episodes
    }

    #[test]
    fn alerts_of_one_side_and_other_times_are_told_apart() {
        let ours = episodes(&[
            (10, "a", true),
            (20, "a", true),
            (30, "a", false),
            (90, "a", true),
            (10, "b", true),
        ]);
        assert_eq!(ours.len(), 3);
        let other = episodes(&[
            (12, "a", true),
            (30, "a", false),
            (50, "a", true),
            (60, "a", false),
            (10, "b", true),
            (40, "c", true),
        ]);
        assert!(Difference::of(&ours, &ours).is_empty());
        let found = Difference::of(&ours, &other);
        let short = |all: &[Episode]| -> Vec<(String, i64)> {
            let of = |one: &Episode| (one.labels["alertname"].clone(), one.firing_at.0);
            all.iter().map(of).collect()
        };
        assert_eq!(short(&found.only_ours), [("a".to_owned(), 90)]);
        assert_eq!(
            short(&found.only_other),
            [("a".to_owned(), 50), ("c".to_owned(), 40)]
        );
        assert_eq!(found.changed.len(), 1);
        assert_eq!(found.changed[0].other.0, TimestampMs(12));
    }
}
