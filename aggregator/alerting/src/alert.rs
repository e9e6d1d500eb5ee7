//! Alerts, as they come in and as they are kept.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Labels, LabelsError, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::texts::{Annotations, Interner, Pairs};

/// The hash of an alert's labels, by which Alertmanager and its clients name it: FNV-1a over names and values, each ended by 0xFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Returns that of these labels.
    pub fn of(labels: &Labels) -> Self {
        Self::of_pairs(labels.iter())
    }

    /// Returns that of names and values, which are sorted by name and not empty.
    fn of_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        const SEPARATOR: u8 = 0xff;
        let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        let add_text = |hash, text: &str| add(text.bytes().fold(hash, add), SEPARATOR);
        Self(pairs.fold(OFFSET, |hash, (name, value)| {
            add_text(add_text(hash, name), value)
        }))
    }

    /// Returns what `text` names: sixteen hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An alert as somebody sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted<'a> {
    /// Its labels; empty values are the same as none.
    pub labels: Pairs<'a>,
    /// Its annotations.
    pub annotations: Pairs<'a>,
    /// Since when it fires; when not given, since its end or since now.
    pub starts_at: Option<TimestampMs>,
    /// When it ends or has ended; when not given, `resolve_timeout` from now.
    pub ends_at: Option<TimestampMs>,
    /// Where it came from.
    pub generator_url: Cow<'a, str>,
}

/// An alert as it is kept. Cloning is cheap: texts are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its labels: its identity.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Annotations,
    /// Where it came from.
    pub generator_url: Arc<str>,
    /// When it fires.
    pub span: Span,
}

/// From when to when an alert fires, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Since when it fires.
    pub starts_at: TimestampMs,
    /// When it ends: it fires before, and is resolved from then on.
    pub ends_at: TimestampMs,
    /// When it came last.
    pub updated_at: TimestampMs,
    /// Whether the end was not given but comes from `resolve_timeout`.
    pub times_out: bool,
}

impl Posted<'_> {
    /// Returns when this fires, taken at `now`; `Err` says what is wrong with it, in Alertmanager's words.
    pub(crate) fn accept(
        &self,
        now: TimestampMs,
        resolve_timeout: Duration,
    ) -> Result<Span, String> {
        if let Some((_, value)) = self.labels.iter().find(|(name, _)| name.is_empty()) {
            let value = value.to_owned();
            let error = LabelsError::EmptyName { value };
            return Err(format!("invalid label set: {error}"));
        }
        if self.pairs().next().is_none() {
            return Err("at least one label pair required".to_owned());
        }
        if self.annotations.iter().any(|(name, _)| name.is_empty()) {
            return Err("invalid annotations: invalid name \"\"".to_owned());
        }
        let starts_at = self.starts_at.or(self.ends_at).unwrap_or(now);
        let ends_at = self
            .ends_at
            .unwrap_or_else(|| now.saturating_add(resolve_timeout));
        if ends_at < starts_at {
            return Err("start time must be before end time".to_owned());
        }
        Ok(Span {
            starts_at,
            ends_at,
            updated_at: now,
            times_out: self.ends_at.is_none(),
        })
    }

    /// Returns the hash of its labels.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_pairs(self.pairs())
    }

    /// Returns the labels that have a value.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().filter(|(_, value)| !value.is_empty())
    }

    /// Returns the value of a label; none is the empty one.
    pub(crate) fn value_or_empty(&self, name: &str) -> &str {
        let mut pairs = self.labels.iter();
        pairs
            .find(|(one, _)| *one == name)
            .map_or("", |(_, value)| value)
    }

    /// Returns the alert that this is; `Err` when its labels are no set of labels.
    pub(crate) fn alert(&self, span: Span, interner: &mut Interner) -> Result<Alert, LabelsError> {
        Ok(Alert {
            labels: Labels::from_pairs(self.labels.iter())?,
            annotations: Annotations::new(&self.annotations, interner),
            generator_url: interner.intern(&self.generator_url),
            span,
        })
    }
}

impl Span {
    /// Whether it is over at `now`.
    pub fn is_resolved(&self, now: TimestampMs) -> bool {
        self.ends_at <= now
    }

    /// Whether whoever sent it last said that it is over.
    pub(crate) fn was_ended(&self) -> bool {
        self.ends_at <= self.updated_at
    }

    /// Returns what becomes of this when `newer` comes, of the same alert. Two that overlap are one: it began when the first did,
    /// and an end that was given outlasts one that comes of a timeout.
    pub(crate) fn followed_by(&self, newer: Self, now: TimestampMs) -> Self {
        let within = |at: TimestampMs| self.starts_at < at && at < self.ends_at;
        if !within(newer.starts_at) && !within(newer.ends_at) {
            return newer;
        }
        let keeps_end = if newer.is_resolved(now) {
            self.is_resolved(now)
        } else {
            !self.times_out
        };
        let ends_at = if keeps_end {
            newer.ends_at.max(self.ends_at)
        } else {
            newer.ends_at
        };
        Self {
            starts_at: newer.starts_at.min(self.starts_at),
            ends_at,
            ..newer
        }
    }

    /// Whether `other` differs in more than that it goes on: what has to survive a restart.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.starts_at == other.starts_at
            && self.was_ended() == other.was_ended()
            && (!self.was_ended() || self.ends_at == other.ends_at)
    }
}

impl Alert {
    /// Whether it does not fire at `now`.
    pub fn is_resolved(&self, now: TimestampMs) -> bool {
        self.span.is_resolved(now)
    }

    /// Takes what `posted`, which has the same labels, says at `now`; returns whether that is more than that the alert goes on.
    pub(crate) fn update(
        &mut self,
        posted: &Posted<'_>,
        span: Span,
        now: TimestampMs,
        interner: &mut Interner,
    ) -> bool {
        let before = self.span;
        self.span = before.followed_by(span, now);
        let mut is_news = !self.span.says_the_same_as(&before);
        if !self.annotations.are(&posted.annotations) {
            self.annotations = Annotations::new(&posted.annotations, interner);
            is_news = true;
        }
        if *self.generator_url != *posted.generator_url {
            self.generator_url = interner.intern(&posted.generator_url);
            is_news = true;
        }
        is_news
    }

    /// Returns what Alertmanager sorts the alerts of a notification by: job, instance, then the labels; those without come last.
    pub(crate) fn order(&self) -> impl Ord {
        let part = |name| {
            let value = self.labels.get(name);
            (value.is_none(), value.unwrap_or_default())
        };
        (
            part("job"),
            part("instance"),
            self.labels.len(),
            &self.labels,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000_000);
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn posted(starts: Option<i64>, ends: Option<i64>) -> Posted<'static> {
        Posted {
            labels: [("alertname", "a")].into_iter().collect(),
            starts_at: starts.map(TimestampMs),
            ends_at: ends.map(TimestampMs),
            ..Posted::default()
        }
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        let of = |pairs: &[(&str, &str)]| {
            Fingerprint::of(&Labels::from_pairs(pairs.iter().copied()).unwrap()).to_string()
        };
        // As Debian's alertmanager 0.25 shows them.
        assert_eq!(of(&[]), "cbf29ce484222325");
        assert_eq!(of(&[("alertname", "a")]), "d258efc389808447");
    }

    #[test]
    fn missing_times_are_made_up() {
        let accept = |starts, ends| {
            let alert = posted(starts, ends).accept(NOW, TIMEOUT).unwrap();
            (alert.starts_at.0, alert.ends_at.0, alert.times_out)
        };
        assert_eq!(accept(None, None), (1_000_000, 1_300_000, true));
        assert_eq!(accept(Some(5), None), (5, 1_300_000, true));
        assert_eq!(accept(None, Some(7)), (7, 7, false));
        let refused = posted(Some(9), Some(7)).accept(NOW, TIMEOUT);
        assert_eq!(refused.unwrap_err(), "start time must be before end time");
        let refused = Posted::default().accept(NOW, TIMEOUT);
        assert_eq!(refused.unwrap_err(), "at least one label pair required");
    }

    #[test]
    fn alerts_that_overlap_are_one() {
        let alert = |starts, ends: Option<i64>, at| {
            let posted = posted(Some(starts), ends);
            posted.accept(TimestampMs(at), TIMEOUT).unwrap()
        };
        let old = alert(100, Some(2_000_000), 900_000);
        let merged = old.followed_by(alert(500_000, None, 1_000_000), NOW);
        assert_eq!((merged.starts_at.0, merged.ends_at.0), (100, 2_000_000));
        let merged = old.followed_by(alert(500_000, Some(999_000), 1_000_000), NOW);
        assert_eq!((merged.starts_at.0, merged.ends_at.0), (100, 999_000));
        let apart = old.followed_by(alert(3_000_000, None, 3_000_000), TimestampMs(3_000_000));
        assert_eq!(apart.starts_at.0, 3_000_000);
        let timed = alert(100, None, 900_000);
        let shorter = timed.followed_by(alert(200, Some(1_100_000), 1_000_000), NOW);
        assert_eq!(shorter.ends_at.0, 1_100_000);
    }
}
