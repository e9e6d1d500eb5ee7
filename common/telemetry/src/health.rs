//! Whether the process can serve, and if not, why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Named conditions; ready when all are met. Clones are one.
///
/// A process without conditions is ready. Being alive needs no type: a process that answers is.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Conditions>>);

/// By name: why the condition is not met.
type Conditions = BTreeMap<&'static str, Option<String>>;

/// A condition that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The condition.
    pub name: &'static str,
    /// Why it is not met, in words for an operator.
    pub reason: String,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl Readiness {
    /// Returns a readiness without conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the condition `name`, not met for `reason`; the part that owns it says when it is.
    pub fn condition(&self, name: &'static str, reason: impl Into<String>) -> Condition {
        let condition = Condition {
            name,
            readiness: self.clone(),
        };
        condition.unmet(reason);
        condition
    }

    /// Returns whether all conditions are met.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Option::is_none)
    }

    /// Returns the conditions that are not met, sorted by name; empty means ready.
    pub fn unmet(&self) -> Vec<Unmet> {
        let unmet = |(name, reason): (&&'static str, &Option<String>)| {
            let reason = reason.clone()?;
            Some(Unmet { name, reason })
        };
        self.lock().iter().filter_map(unmet).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition, held by the part that meets it. Dropped, it stays as it is: a part that died unready keeps the process so.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Condition {
    /// Says that the condition is met.
    pub fn met(&self) {
        self.readiness.lock().insert(self.name, None);
    }

    /// Says that the condition is not met, and why.
    pub fn unmet(&self, reason: impl Into<String>) {
        let reason = Some(reason.into());
        self.readiness.lock().insert(self.name, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_condition_is_met() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let replay = readiness.condition("store", "replaying the log");
        let listener = readiness.condition("listener", "not bound yet");
        listener.met();
        let unmet: Vec<String> = readiness.unmet().iter().map(Unmet::to_string).collect();
        assert_eq!(unmet, ["store: replaying the log"]);
        assert!(!readiness.is_ready());
        replay.met();
        assert!(readiness.is_ready() && readiness.unmet().is_empty());
        replay.clone().unmet("the disk is full");
        drop(replay);
        assert_eq!(readiness.unmet()[0].reason, "the disk is full");
    }
}
