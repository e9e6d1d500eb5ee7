//! What a group takes over from the one that it replaces.

use std::collections::{BTreeMap, VecDeque};

use super::Group;
use crate::rule::Rule;

impl Group {
    /// Takes over alerts, what was written and how rules did from `old`, the group of the same name before a reload. Rules are the same
    /// when name and labels are; series of rules that are no more end at the next evaluation.
    pub(crate) fn inherit(&mut self, old: Self) {
        let mut rules: BTreeMap<_, VecDeque<Rule>> = BTreeMap::new();
        for rule in old.rules {
            rules.entry(rule.identity()).or_default().push_back(rule);
        }
        for rule in &mut self.rules {
            if let Some(same) = rules
                .get_mut(&rule.identity())
                .and_then(VecDeque::pop_front)
            {
                rule.inherit(same);
            }
        }
        self.abandoned = old.abandoned;
        for rule in rules.into_values().flatten() {
            self.abandoned.extend(rule.written);
        }
        (self.seen_at, self.seen_kept, self.is_restored) =
            (old.seen_at, old.seen_kept, old.is_restored);
        self.known_since = old.known_since;
        (self.last, self.counts) = (old.last, old.counts);
    }

    /// Ends the group: returns the series to be ended with it.
    pub(crate) fn into_series(self) -> Vec<model::Labels> {
        let mut series = self.abandoned;
        series.extend(self.rules.into_iter().flat_map(|rule| rule.written));
        series
    }
}
