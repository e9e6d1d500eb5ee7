//! Silences: matchers and a span of time in which alerts that match are not told of.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use model::{Labels, MatchOp, Matcher, TimestampMs};

use crate::record::SilenceRecord;
use crate::routing::matches_all;

/// A silence as somebody asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SilenceRequest {
    /// The silence that it changes; none: it is a new one.
    pub id: Option<String>,
    /// An alert is silenced when it satisfies all matchers of one of these sets.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// From when; from now on when that is past.
    pub starts_at: TimestampMs,
    /// Until when.
    pub ends_at: TimestampMs,
    /// Who asks.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// What else there is to say.
    pub annotations: BTreeMap<String, String>,
}

/// A silence as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// What it silences, and the rest of what was asked for.
    pub request: SilenceRequest,
    /// When it was changed last.
    pub updated_at: TimestampMs,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// It has not begun.
    Pending,
    /// It silences.
    Active,
    /// It is over.
    Expired,
}

impl SilenceState {
    /// Returns the word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for SilenceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Silence {
    /// Returns where it stands at `now`.
    pub fn state(&self, now: TimestampMs) -> SilenceState {
        if now < self.request.starts_at {
            SilenceState::Pending
        } else if now < self.request.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    /// Whether another version of it holds in its place: the one that was changed last, or else the one that is written the greater.
    fn is_before(&self, other: &Self) -> bool {
        let written = |silence| serde_json::to_vec(&SilenceRecord::from(silence)).ok();
        match self.updated_at.cmp(&other.updated_at) {
            Ordering::Equal => written(self) < written(other),
            unequal => unequal == Ordering::Less,
        }
    }

    /// Returns the time of a change made now: after the change before, whatever the clock says.
    fn next_change(&self, now: TimestampMs) -> TimestampMs {
        let next = self.updated_at.saturating_add(Duration::from_millis(1));
        next.max(now)
    }

    fn matches(&self, labels: &Labels) -> bool {
        let mut sets = self.request.matcher_sets.iter();
        sets.any(|matchers| matches_all(matchers, labels))
    }

    /// What it takes, about, in bytes.
    fn bytes(&self) -> usize {
        let matchers = self.request.matcher_sets.iter().flatten();
        let matchers: usize = matchers
            .map(|matcher| matcher.name().len() + matcher.value().len())
            .sum();
        let annotations = self.request.annotations.iter();
        let annotations: usize = annotations
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.request.comment.len() + self.request.created_by.len() + matchers + annotations
    }
}

/// Why a silence is not set or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// It is not there.
    #[error("silence not found")]
    NotFound,
    /// What is asked for makes no silence.
    #[error("{0}")]
    Invalid(String),
    /// It comes again by the configuration file.
    #[error(
        "silence {id} comes again by recurring_silences of the configuration file, under the name {name:?}; change it there"
    )]
    Recurs {
        /// What it is called here.
        id: String,
        /// What it is called there.
        name: String,
    },
    /// There is no room for it.
    #[error(
        "there are {count} silences already, and {limit} are allowed; end some, or raise the limit"
    )]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// The silences, by their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Silences(BTreeMap<String, Silence>);

/// What a silence may take, in bytes.
const SILENCE_BYTES_MAX: usize = 64 * 1024;

impl Silences {
    pub(crate) fn restore(&mut self, silence: Silence) {
        self.0.insert(silence.id.clone(), silence);
    }

    /// Takes a silence of other silences when it is newer than what is known, and returns whether it is.
    pub(crate) fn merge(&mut self, silence: Silence) -> bool {
        let is_newer = (self.get(&silence.id)).is_none_or(|known| known.is_before(&silence));
        if is_newer {
            self.restore(silence);
        }
        is_newer
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Silence> {
        self.0.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.values()
    }

    /// Returns the names of those that silence an alert with these labels.
    pub(crate) fn silencing(&self, labels: &Labels, now: TimestampMs) -> Vec<String> {
        let active = self.iter();
        active
            .filter(|silence| silence.state(now) == SilenceState::Active && silence.matches(labels))
            .map(|silence| silence.id.clone())
            .collect()
    }

    /// Sets a silence; `new_id` names it when it is a new one. Where an older one cannot be changed, it ends, and a new one follows it.
    /// Returns the names of all silences that have changed, that of the one asked for last.
    pub(crate) fn set(
        &mut self,
        mut request: SilenceRequest,
        new_id: String,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<String>, SilenceError> {
        check(&request, now)?;
        let mut changed = Vec::new();
        let mut id = new_id;
        if let Some(old_id) = request.id.take() {
            let old = self.0.get(&old_id).ok_or(SilenceError::NotFound)?;
            if can_become(old, &request, now) {
                id = old_id;
            } else if old.state(now) != SilenceState::Expired {
                self.expire(&old_id, now)?;
                changed.push(old_id);
            }
        }
        let is_new = !self.0.contains_key(&id);
        if is_new {
            request.starts_at = request.starts_at.max(now);
            let count = self.0.len();
            if count >= limit {
                return Err(SilenceError::TooMany { count, limit });
            }
        }
        let updated_at = (self.get(&id)).map_or(now, |old| old.next_change(now));
        let silence = Silence {
            id: id.clone(),
            request,
            updated_at,
        };
        let bytes = silence.bytes();
        if bytes > SILENCE_BYTES_MAX {
            let message = format!(
                "silence takes {bytes} bytes, more than the {SILENCE_BYTES_MAX} allowed; use shorter texts or fewer matchers"
            );
            return Err(SilenceError::Invalid(message));
        }
        self.0.insert(id.clone(), silence);
        changed.push(id);
        Ok(changed)
    }

    /// Ends a silence now, unless it has; one that has not begun never will.
    pub(crate) fn expire(&mut self, id: &str, now: TimestampMs) -> Result<(), SilenceError> {
        let silence = self.0.get_mut(id).ok_or(SilenceError::NotFound)?;
        match silence.state(now) {
            SilenceState::Expired => return Ok(()),
            SilenceState::Active => silence.request.ends_at = now,
            SilenceState::Pending => {
                silence.request.starts_at = now;
                silence.request.ends_at = now;
            }
        }
        silence.updated_at = silence.next_change(now);
        Ok(())
    }

    /// Forgets silences that ended `retention` ago, and returns their names.
    pub(crate) fn forget(&mut self, now: TimestampMs, retention: Duration) -> Vec<String> {
        let is_old = |silence: &Silence| silence.request.ends_at.saturating_add(retention) <= now;
        let old = self.iter().filter(|silence| is_old(silence));
        let old: Vec<String> = old.map(|silence| silence.id.clone()).collect();
        for id in &old {
            self.0.remove(id);
        }
        old
    }

    /// Returns how many there are of each state.
    pub(crate) fn counts(&self, now: TimestampMs) -> [(SilenceState, usize); 3] {
        let states = [
            SilenceState::Pending,
            SilenceState::Active,
            SilenceState::Expired,
        ];
        states.map(|state| {
            let count = self.iter().filter(|silence| silence.state(now) == state);
            (state, count.count())
        })
    }
}

fn check(request: &SilenceRequest, now: TimestampMs) -> Result<(), SilenceError> {
    let refuse = |message: &str| Err(SilenceError::Invalid(message.to_owned()));
    if request.starts_at >= request.ends_at {
        return refuse("Failed to create silence: start time must be before end time");
    }
    if request.ends_at < now {
        return refuse("Failed to create silence: end time can't be in the past");
    }
    let sets = &request.matcher_sets;
    if sets.is_empty() || sets.iter().any(Vec::is_empty) {
        return refuse("invalid silence: at least one matcher required");
    }
    if sets.iter().any(|matchers| silences_everything(matchers)) {
        return refuse("invalid silence: at least one matcher must not match the empty string");
    }
    if sets
        .iter()
        .flatten()
        .any(|matcher| matcher.name().is_empty())
    {
        return refuse("invalid silence: invalid label matcher: invalid label name \"\"");
    }
    Ok(())
}

/// Whether matchers say nothing of which alerts are meant. As with Alertmanager, `!=` and `!~` say enough.
pub(crate) fn silences_everything(matchers: &[Matcher]) -> bool {
    let says_nothing = |matcher: &Matcher| {
        matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex) && matcher.matches_empty()
    };
    matchers.iter().all(says_nothing)
}

/// Whether a silence may be changed in its place: what it has silenced so far must stay true.
fn can_become(old: &Silence, new: &SilenceRequest, now: TimestampMs) -> bool {
    if old.request.matcher_sets != new.matcher_sets {
        return false;
    }
    match old.state(now) {
        SilenceState::Active => {
            old.request.starts_at.0.div_euclid(1000) == new.starts_at.0.div_euclid(1000)
                && new.ends_at >= now
        }
        SilenceState::Pending => new.starts_at >= now,
        SilenceState::Expired => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn request(starts: i64, ends: i64) -> SilenceRequest {
        SilenceRequest {
            matcher_sets: vec![vec![Matcher::equal("a", "b")]],
            starts_at: TimestampMs(starts),
            ends_at: TimestampMs(ends),
            ..SilenceRequest::default()
        }
    }

    fn set(silences: &mut Silences, request: SilenceRequest, id: &str, now: i64) -> Vec<String> {
        let changed = silences.set(request, id.to_owned(), TimestampMs(now), 100);
        changed.unwrap()
    }

    #[test]
    fn a_silence_lives_from_pending_to_expired() {
        let mut silences = Silences::default();
        set(&mut silences, request(2 * HOUR, 3 * HOUR), "one", HOUR);
        let labels = Labels::from_pairs([("a", "b"), ("c", "d")]).unwrap();
        let silencing =
            |silences: &Silences, at| !silences.silencing(&labels, TimestampMs(at)).is_empty();
        assert!(!silencing(&silences, 2 * HOUR - 1));
        assert!(silencing(&silences, 2 * HOUR));
        assert!(!silencing(&silences, 3 * HOUR));
        silences.expire("one", TimestampMs(2 * HOUR + 5)).unwrap();
        assert!(!silencing(&silences, 2 * HOUR + 5));
        silences.expire("one", TimestampMs(2 * HOUR + 6)).unwrap();
        assert!(
            silences
                .forget(TimestampMs(3 * HOUR), Duration::from_secs(3600))
                .is_empty()
        );
        assert_eq!(
            silences.forget(TimestampMs(4 * HOUR), Duration::from_secs(3600)),
            ["one"]
        );
    }

    #[test]
    fn what_a_silence_has_silenced_stays_true() {
        let mut silences = Silences::default();
        set(&mut silences, request(0, 2 * HOUR), "one", HOUR);
        let started = silences.get("one").unwrap().request.starts_at;
        assert_eq!(started, TimestampMs(HOUR), "it begins now at the earliest");
        // A later end is no other silence; other matchers are.
        let longer = SilenceRequest {
            id: Some("one".to_owned()),
            ..request(HOUR, 5 * HOUR)
        };
        assert_eq!(set(&mut silences, longer, "two", HOUR + 9), ["one"]);
        let other = SilenceRequest {
            id: Some("one".to_owned()),
            matcher_sets: vec![vec![Matcher::equal("a", "c")]],
            ..request(HOUR, 5 * HOUR)
        };
        assert_eq!(set(&mut silences, other, "two", HOUR + 10), ["one", "two"]);
        let state = |id: &str| silences.get(id).unwrap().state(TimestampMs(HOUR + 10));
        assert_eq!(
            (state("one"), state("two")),
            (SilenceState::Expired, SilenceState::Active)
        );
    }

    #[test]
    fn what_silences_nothing_or_everything_is_refused() {
        let cases = [
            (
                request(5, 5),
                "Failed to create silence: start time must be before end time",
            ),
            (
                request(5, 6),
                "Failed to create silence: end time can't be in the past",
            ),
            (
                SilenceRequest {
                    matcher_sets: vec![vec![]],
                    ..request(5, HOUR)
                },
                "invalid silence: at least one matcher required",
            ),
            (
                SilenceRequest {
                    matcher_sets: vec![vec![Matcher::new("a", MatchOp::Regex, ".*").unwrap()]],
                    ..request(5, HOUR)
                },
                "invalid silence: at least one matcher must not match the empty string",
            ),
            (
                SilenceRequest {
                    id: Some("x".to_owned()),
                    ..request(5, HOUR)
                },
                "silence not found",
            ),
        ];
        for (request, expected) in cases {
            let refused = Silences::default().set(request, "n".to_owned(), TimestampMs(100), 1);
            assert_eq!(refused.unwrap_err().to_string(), expected);
        }
    }
}
