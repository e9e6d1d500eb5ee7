//! Who has how many active series, and how far limits are used: written by the log thread, read by whoever asks.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Monotonic;
use rows::AgentId;
use storage::{RefusalCounts, RefusalReason};

use crate::report::{LimitsUsed, SeriesOwners};

/// Counts of active series by who has them.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    /// Agents for whom the limits of one agent do not hold.
    exceptions: BTreeSet<AgentId>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    agents: HashMap<AgentId, AgentCounts>,
    metrics: HashMap<String, u64>,
    tenants: HashMap<String, u64>,
    refused: RefusalCounts,
}

#[derive(Debug, Default)]
struct AgentCounts {
    series: u64,
    minute_began: Monotonic,
    new_in_minute: u64,
}

/// How many series those have whom one more would belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) agent: u64,
    pub(crate) metric: Option<u64>,
    pub(crate) tenant: Option<u64>,
    pub(crate) new_in_minute: u64,
}

impl Occupancy {
    /// Returns counts of nothing; the limits of one agent do not hold for `exceptions`.
    pub(crate) fn new(exceptions: impl IntoIterator<Item = AgentId>) -> Self {
        Self {
            exceptions: exceptions.into_iter().collect(),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn of(
        &self,
        agent: &AgentId,
        metric: Option<&str>,
        tenant: Option<&str>,
        now: Monotonic,
    ) -> Present {
        let counts = self.lock();
        let agent = counts.agents.get(agent);
        let count = |of: &HashMap<String, u64>, key: &str| of.get(key).copied().unwrap_or(0);
        Present {
            agent: agent.map_or(0, |agent| agent.series),
            metric: metric.map(|metric| count(&counts.metrics, metric)),
            tenant: tenant.map(|tenant| count(&counts.tenants, tenant)),
            new_in_minute: agent.map_or(0, |agent| agent.new_in_minute(now)),
        }
    }

    /// Notes that an agent brings a series that it did not have.
    pub(crate) fn new_series(&self, agent: &AgentId, now: Monotonic) {
        let mut counts = self.lock();
        let agent = entry(&mut counts.agents, agent);
        if agent.new_in_minute(now) == 0 {
            agent.minute_began = now;
            agent.new_in_minute = 0;
        }
        agent.new_in_minute += 1;
    }

    /// Notes that a series is active.
    pub(crate) fn add(&self, agent: &AgentId, metric: Option<&str>, tenant: Option<&str>) {
        let mut counts = self.lock();
        let counts = &mut *counts;
        entry(&mut counts.agents, agent).series += 1;
        for (counts, key) in [(&mut counts.metrics, metric), (&mut counts.tenants, tenant)] {
            if let Some(key) = key {
                match counts.get_mut(key) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(key.to_owned(), 1)),
                }
            }
        }
    }

    /// Notes that a series is not active any more.
    pub(crate) fn subtract(&self, agent: &AgentId, metric: Option<&str>, tenant: Option<&str>) {
        let mut counts = self.lock();
        let counts = &mut *counts;
        if let Some(of_agent) = counts.agents.get_mut(agent) {
            of_agent.series = of_agent.series.saturating_sub(1);
        }
        for (counts, key) in [(&mut counts.metrics, metric), (&mut counts.tenants, tenant)] {
            let Some(key) = key else { continue };
            if let Some(count) = counts.get_mut(key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
    }

    /// Forgets agents without series; not within their minute, which would begin anew.
    pub(crate) fn sweep(&self, now: Monotonic) {
        let mut counts = self.lock();
        counts
            .agents
            .retain(|_, agent| agent.series > 0 || agent.new_in_minute(now) > 0);
    }

    /// Notes that a series was not taken.
    pub(crate) fn refused(&self, reason: RefusalReason) {
        self.lock().refused.add(reason, 1);
    }

    pub(crate) fn limits_used(&self, now: Monotonic) -> LimitsUsed {
        let counts = self.lock();
        let most = |counts: &HashMap<String, u64>| counts.values().copied().max().unwrap_or(0);
        let is_exception = |agent: &AgentId| self.exceptions.contains(agent);
        let limited = || counts.agents.iter().filter(|(id, _)| !is_exception(id));
        let series = limited().map(|(_, agent)| agent.series);
        let new = limited().map(|(_, agent)| agent.new_in_minute(now));
        let series_of = |agent: &AgentId| counts.agents.get(agent).map_or(0, |agent| agent.series);
        let exceptions = self.exceptions.iter();
        LimitsUsed {
            series_per_agent: series.max().unwrap_or(0),
            series_by_exception: exceptions.map(|id| (id.clone(), series_of(id))).collect(),
            series_per_metric: most(&counts.metrics),
            series_per_tenant: most(&counts.tenants),
            new_series_per_minute: new.max().unwrap_or(0),
            series_refused: counts.refused,
        }
    }

    /// Returns those who have most, at most `limit` of each kind.
    pub(crate) fn owners(&self, limit: usize) -> SeriesOwners {
        let counts = self.lock();
        let agents = counts.agents.iter().filter(|(_, agent)| agent.series > 0);
        SeriesOwners {
            agents: top(
                agents.map(|(agent, counts)| (agent.as_str(), counts.series)),
                limit,
            ),
            metrics: top(counts.metrics.iter().map(|(n, c)| (n.as_str(), *c)), limit),
            tenants: top(counts.tenants.iter().map(|(n, c)| (n.as_str(), *c)), limit),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts: every change leaves them whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentCounts {
    fn new_in_minute(&self, now: Monotonic) -> u64 {
        if now.saturating_since(self.minute_began) < Duration::from_mins(1) {
            self.new_in_minute
        } else {
            0
        }
    }
}

fn entry<'a, K: Clone + Eq + Hash, V: Default>(map: &'a mut HashMap<K, V>, key: &K) -> &'a mut V {
    // `entry` alone would copy the key each time.
    if !map.contains_key(key) {
        map.insert(key.clone(), V::default());
    }
    map.get_mut(key).expect("inserted above when missing")
}

/// Returns the `limit` largest, the largest first, equal ones by name.
pub(crate) fn top<'a>(
    all: impl Iterator<Item = (&'a str, u64)>,
    limit: usize,
) -> Vec<(String, u64)> {
    let mut all: Vec<(&str, u64)> = all.collect();
    let order = |a: &(&str, u64), b: &(&str, u64)| b.1.cmp(&a.1).then(a.0.cmp(b.0));
    if limit < all.len() {
        all.select_nth_unstable_by(limit, order);
        all.truncate(limit);
    }
    all.sort_unstable_by(order);
    all.into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_equal_ones_by_name() {
        let all = [("d", 2), ("a", 1), ("c", 2), ("b", 3)];
        let names = |limit| {
            let found = top(all.into_iter(), limit);
            found.into_iter().map(|(name, _)| name).collect::<String>()
        };
        assert_eq!(names(10), "bcda");
        assert_eq!(names(2), "bc");
        assert_eq!(names(0), "");
    }

    #[test]
    fn those_with_a_bound_of_their_own_use_no_bound_of_others() {
        let [writer, agent]: [AgentId; 2] = ["writer", "a"].map(|id| id.parse().unwrap());
        let occupancy = Occupancy::new([writer.clone()]);
        for agent in [&writer, &writer, &agent] {
            occupancy.new_series(agent, Monotonic::ORIGIN);
            occupancy.add(agent, Some("m"), None);
        }
        let used = occupancy.limits_used(Monotonic::ORIGIN);
        assert_eq!((used.series_per_agent, used.new_series_per_minute), (1, 1));
        assert_eq!(used.series_by_exception, [(writer, 2)]);
        assert_eq!(used.series_per_metric, 3);
    }

    #[test]
    fn counts_go_back_to_nothing() {
        let occupancy = Occupancy::default();
        let agent: AgentId = "a".parse().unwrap();
        occupancy.new_series(&agent, Monotonic::ORIGIN);
        occupancy.add(&agent, Some("m"), None);
        occupancy.add(&agent, Some("m"), Some("t"));
        let used = occupancy.limits_used(Monotonic::ORIGIN);
        assert_eq!(
            (
                used.series_per_agent,
                used.series_per_metric,
                used.series_per_tenant,
                used.new_series_per_minute
            ),
            (2, 2, 1, 1)
        );
        let later = Monotonic::ORIGIN + Duration::from_mins(1);
        assert_eq!(occupancy.limits_used(later).new_series_per_minute, 0);
        occupancy.subtract(&agent, Some("m"), None);
        occupancy.subtract(&agent, Some("m"), Some("t"));
        assert_eq!(occupancy.owners(10), SeriesOwners::default());
        let kept = || occupancy.lock().agents.len();
        occupancy.sweep(Monotonic::ORIGIN);
        assert_eq!(kept(), 1);
        occupancy.sweep(later);
        assert_eq!(kept(), 0);
    }
}
