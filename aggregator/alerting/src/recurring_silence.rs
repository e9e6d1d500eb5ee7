//! Silences that come again: matchers, and the times at which alerts that match are not told of.
//!
//! They stand in the section `recurring_silences` of the configuration file, which is ours, and name entries of `time_intervals` there.
//! Unlike the time intervals of a route they choose alerts, and unlike a [`Silence`] they have no end and are nobody's to end: what is
//! no longer wanted is taken out of the file. While one silences, it is shown among the silences with the beginning and the end of this
//! occurrence, under a name that follows from the one in the file.

use config::Node;
use model::{Matcher, TimestampMs};
use template::Time;

use crate::TimeInterval;
use crate::config::{Reader, TimeIntervals};
use crate::receiver::hash;
use crate::silence::{Silence, SilenceRequest, silences_everything};

/// A silence that comes again.
#[derive(Clone, Debug)]
pub struct RecurringSilence {
    /// What the file calls it.
    pub name: String,
    /// A UUID, as the API wants the names of silences to be.
    pub id: String,
    /// What an alert has to satisfy.
    pub matchers: Vec<Matcher>,
    /// Why.
    pub comment: String,
    /// When: in one of these.
    times: Vec<TimeInterval>,
}

const FIELDS: &[&str] = &["name", "matchers", "time_intervals", "comment"];
const MINUTE_MS: i64 = 60_000;
/// How far to either side of now the bounds of an occurrence are looked for, in minutes: a day. Each minute costs a look at a calendar.
const OCCURRENCE_MINUTES_MAX: i64 = 24 * 60;

impl RecurringSilence {
    /// Whether alerts that match are silenced at `now`.
    pub fn is_active(&self, now: TimestampMs) -> bool {
        let time = Time::from_unix_ms(now.0);
        self.times.iter().any(|times| times.contains(&time))
    }

    /// Returns this occurrence as a silence; `None`: it does not silence now. One that lasts longer than a day to either side of `now` is
    /// shown to begin or end there.
    pub fn occurrence(&self, now: TimestampMs) -> Option<Silence> {
        if !self.is_active(now) {
            return None;
        }
        let minute = now.0.div_euclid(MINUTE_MS);
        let at = |minute: i64| TimestampMs(minute.saturating_mul(MINUTE_MS));
        let (first, last) = (
            minute - OCCURRENCE_MINUTES_MAX,
            minute + OCCURRENCE_MINUTES_MAX,
        );
        let before = (first..minute).rev();
        let starts = before.take_while(|minute| self.is_active(at(*minute)));
        let starts_at = at(starts.last().unwrap_or(minute));
        let mut after = minute + 1..last;
        let ends_at = at(after
            .find(|minute| !self.is_active(at(*minute)))
            .unwrap_or(last));
        Some(Silence {
            id: self.id.clone(),
            request: SilenceRequest {
                id: None,
                matcher_sets: vec![self.matchers.clone()],
                starts_at,
                ends_at,
                created_by: format!("recurring_silences: {}", self.name),
                comment: self.comment.clone(),
                annotations: Default::default(),
            },
            updated_at: starts_at,
        })
    }

    /// Reads the section; `times` are those that it may name.
    pub(crate) fn read_all(
        reader: &mut Reader<'_>,
        node: &Node,
        times: &TimeIntervals,
    ) -> Vec<Self> {
        let mut silences = Vec::<Self>::new();
        for item in reader.items(node).unwrap_or_default() {
            let silence = Self::read(reader, item, times);
            let name = &silence.name;
            if name.is_empty() {
                reader.refuse::<()>(item.at, "missing name in recurring silence");
            } else if silences.iter().any(|other| other.name == *name) {
                let message = format!("recurring silence {name:?} is not unique");
                reader.refuse::<()>(item.at, message);
            }
            silences.push(silence);
        }
        silences
    }

    fn read(reader: &mut Reader<'_>, node: &Node, times: &TimeIntervals) -> Self {
        let (mut name, mut comment) = (String::new(), String::new());
        let (mut matchers, mut parts) = (Vec::new(), Vec::new());
        for (key, at, value) in reader.entries(node) {
            match key {
                "name" => name = reader.text(value).unwrap_or_default(),
                "comment" => comment = reader.text(value).unwrap_or_default(),
                "matchers" => matchers = reader.matchers(value),
                "time_intervals" => {
                    for item in reader.items(value).unwrap_or_default() {
                        let named = reader.text(item).unwrap_or_default();
                        match times.get(&named) {
                            Some(of_name) => parts.extend(of_name.iter().cloned()),
                            None => drop(reader.refuse::<()>(
                                item.at,
                                format!(
                                    "undefined time interval {named:?} used in recurring silence"
                                ),
                            )),
                        }
                    }
                }
                _ => reader.unknown(at, key, "recurring silence", FIELDS.iter().copied()),
            }
        }
        if silences_everything(&matchers) {
            let message = format!(
                "recurring silence {name:?} needs at least one matcher that does not match the empty string"
            );
            reader.refuse::<()>(node.at, message);
        }
        if node.get("time_intervals").is_none() {
            let message =
                format!("recurring silence {name:?} needs time_intervals, of those defined there");
            reader.refuse::<()>(node.at, message);
        }
        Self {
            id: id(&name),
            name,
            matchers,
            comment,
            times: parts,
        }
    }
}

/// Returns the UUID (version 8: of one's own making) that follows from a name: the same after a restart, and on both sides of a pair.
fn id(name: &str) -> String {
    let hash = hash(&format!("recurring silence {name}"));
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use template::Zone;

    use super::*;
    use crate::{Config, MatcherMode};

    fn parse(silences: &str) -> Result<Vec<RecurringSilence>, String> {
        let text = format!(
            "
route: {{receiver: a}}
receivers: [{{name: a}}]
time_intervals:
- name: sunday-night
  time_intervals: [{{weekdays: [sunday], times: [{{start_time: '02:00', end_time: '04:00'}}], location: Europe/Berlin}}]
- name: evenings
  time_intervals: [{{times: [{{start_time: '22:00', end_time: '24:00'}}]}}, {{times: [{{start_time: '00:00', end_time: '01:00'}}]}}]
- name: may
  time_intervals: [{{months: [may]}}]
recurring_silences:
{silences}
"
        );
        let path = Path::new("am.yml");
        Config::parse(path, &text, MatcherMode::Fallback, &Zone::utc())
            .map(|config| config.recurring_silences)
            .map_err(|mistakes| mistakes.to_string())
    }

    fn at(text: &str) -> TimestampMs {
        TimestampMs(Time::parse_rfc3339(text).unwrap().unix_ms())
    }

    /// Returns from when until when it silences at an instant.
    fn bounds(times: &str, now: &str) -> Option<(TimestampMs, TimestampMs)> {
        let text = format!("- {{name: x, matchers: [a=b], time_intervals: [{times}]}}");
        let [silence] = &parse(&text).unwrap()[..] else {
            panic!("one silence")
        };
        let occurrence = silence.occurrence(at(now))?.request;
        Some((occurrence.starts_at, occurrence.ends_at))
    }

    #[test]
    fn occurrences_have_their_bounds_by_the_clock_of_their_place() {
        let cases = [
            // Two in the morning is 01:00 UTC in winter, midnight in summer.
            ("sunday-night", "2026-01-04T00:59:59Z", None),
            (
                "sunday-night",
                "2026-01-04T01:00:00Z",
                Some(("2026-01-04T01:00:00Z", "2026-01-04T03:00:00Z")),
            ),
            (
                "sunday-night",
                "2026-01-04T02:59:59.9Z",
                Some(("2026-01-04T01:00:00Z", "2026-01-04T03:00:00Z")),
            ),
            ("sunday-night", "2026-01-04T03:00:00Z", None),
            (
                "sunday-night",
                "2026-07-05T01:30:00Z",
                Some(("2026-07-05T00:00:00Z", "2026-07-05T02:00:00Z")),
            ),
            ("sunday-night", "2026-07-06T01:30:00Z", None),
            // The clock goes forward: there is only one hour of it. The clock goes back: there are three.
            (
                "sunday-night",
                "2026-03-29T01:30:00Z",
                Some(("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z")),
            ),
            (
                "sunday-night",
                "2026-10-25T01:30:00Z",
                Some(("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z")),
            ),
            // Parts that meet are one occurrence; two intervals are as one.
            (
                "evenings",
                "2026-02-01T23:00:00Z",
                Some(("2026-02-01T22:00:00Z", "2026-02-02T01:00:00Z")),
            ),
            (
                "evenings, sunday-night",
                "2026-07-05T00:30:00Z",
                Some(("2026-07-04T22:00:00Z", "2026-07-05T02:00:00Z")),
            ),
            // A long one is shown for a day to either side.
            (
                "may",
                "2026-05-01T12:00:30Z",
                Some(("2026-05-01T00:00:00Z", "2026-05-02T12:00:00Z")),
            ),
        ];
        for (times, now, expected) in cases {
            let expected = expected.map(|(start, end)| (at(start), at(end)));
            assert_eq!(bounds(times, now), expected, "{times} at {now}");
        }
    }

    #[test]
    fn what_silences_nothing_or_everything_is_refused() {
        let cases = [
            (
                "- {matchers: [a=b], time_intervals: [may]}",
                "missing name in recurring silence",
            ),
            (
                "- {name: x, matchers: [a=b], time_intervals: [may]}\n- {name: x, matchers: [a=c], time_intervals: [may]}",
                "recurring silence \"x\" is not unique",
            ),
            (
                "- {name: x, time_intervals: [may]}",
                "needs at least one matcher",
            ),
            (
                "- {name: x, matchers: ['a=~\".*\"'], time_intervals: [may]}",
                "needs at least one matcher",
            ),
            ("- {name: x, matchers: [a=b]}", "needs time_intervals"),
            (
                "- {name: x, matchers: [a=b], time_intervals: [june]}",
                "am.yml:12:47: undefined time interval \"june\" used in recurring silence",
            ),
            (
                "- {name: x, matchers: [a=b], time_interval: [may]}",
                "did you mean time_intervals?",
            ),
        ];
        for (text, expected) in cases {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn names_are_uuids_that_stay() {
        assert_eq!(id("weekly"), id("weekly"));
        assert_ne!(id("weekly"), id("monthly"));
        let parts: Vec<usize> = id("weekly").split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
    }
}
