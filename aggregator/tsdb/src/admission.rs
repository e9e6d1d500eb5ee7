//! Which series may come in: limits, checked once where a slot is defined, each slot singly.
//!
//! What is counted are *active* series: those of cohorts that had a row lately. A series that an agent has in two cohorts or two
//! epochs counts once for the agent, so a restarted agent does not meet its own past.

use std::collections::HashMap;
use std::time::Duration;

use clock::Monotonic;
use model::Labels;
use rows::AgentId;
use storage::RefusalReason;
use xxhash_rust::xxh3::Xxh3;

use crate::config::Limits;

/// The most labels of a series.
const LABELS_MAX: usize = 64;
/// The longest label name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest label value, in bytes.
const VALUE_BYTES_MAX: usize = 2_048;
/// The most bytes of all names and values of a series.
pub(crate) const SERIES_BYTES_MAX: usize = 8 * 1_024;

/// Counts active series and says which new ones may come.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    agents: HashMap<AgentId, AgentSeries>,
    /// Kept only while there is a limit on them.
    by_metric: HashMap<String, u64>,
    by_tenant: HashMap<String, u64>,
}

#[derive(Debug, Default)]
struct AgentSeries {
    /// By hash of the labels: in how many slots the series stands.
    slots_of: HashMap<u128, u32>,
    minute_began: Monotonic,
    new_in_minute: u64,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            agents: HashMap::new(),
            by_metric: HashMap::new(),
            by_tenant: HashMap::new(),
        }
    }

    /// Counts one more slot of this series, unless a limit stands against it.
    pub(crate) fn admit(
        &mut self,
        agent: &AgentId,
        labels: &Labels,
        now: Monotonic,
        head_bytes: u64,
    ) -> Result<(), RefusalReason> {
        if !within_bounds(labels) {
            return Err(RefusalReason::Labels);
        }
        if !self.is_active(agent, labels) {
            self.check_new(agent, labels, now, head_bytes)?;
        }
        self.count(agent, labels);
        Ok(())
    }

    fn is_active(&self, agent: &AgentId, labels: &Labels) -> bool {
        self.agents
            .get(agent)
            .is_some_and(|series| series.slots_of.contains_key(&hash(labels)))
    }

    fn check_new(
        &mut self,
        agent: &AgentId,
        labels: &Labels,
        now: Monotonic,
        head_bytes: u64,
    ) -> Result<(), RefusalReason> {
        if head_bytes >= self.limits.head_bytes_max {
            return Err(RefusalReason::Memory);
        }
        let series = self.agents.entry(agent.clone()).or_default();
        if series.slots_of.len() as u64 >= self.limits.series_per_agent {
            return Err(RefusalReason::SeriesPerAgent);
        }
        let full = |counts: &HashMap<String, u64>, key: Option<&str>, limit: Option<u64>| {
            let present = key.and_then(|key| counts.get(key)).copied().unwrap_or(0);
            limit.is_some_and(|limit| key.is_some() && present >= limit)
        };
        let limits = &self.limits;
        if full(
            &self.by_metric,
            labels.metric_name(),
            limits.series_per_metric,
        ) {
            return Err(RefusalReason::SeriesPerMetric);
        }
        let tenant = labels.get(&limits.tenant_label);
        if full(&self.by_tenant, tenant, limits.series_per_tenant) {
            return Err(RefusalReason::SeriesPerTenant);
        }
        if now.saturating_since(series.minute_began) >= Duration::from_mins(1) {
            series.minute_began = now;
            series.new_in_minute = 0;
        }
        if limits
            .new_series_per_minute
            .is_some_and(|limit| series.new_in_minute >= limit)
        {
            return Err(RefusalReason::NewSeriesRate);
        }
        series.new_in_minute += 1;
        Ok(())
    }

    /// Counts one more slot of this series, whatever the limits: it was admitted before.
    pub(crate) fn count(&mut self, agent: &AgentId, labels: &Labels) {
        let series = self.agents.entry(agent.clone()).or_default();
        let slots = series.slots_of.entry(hash(labels)).or_default();
        *slots += 1;
        if *slots > 1 {
            return;
        }
        if self.limits.series_per_metric.is_some() {
            add(&mut self.by_metric, labels.metric_name());
        }
        if self.limits.series_per_tenant.is_some() {
            add(&mut self.by_tenant, labels.get(&self.limits.tenant_label));
        }
    }

    /// Takes back one slot of this series.
    pub(crate) fn release(&mut self, agent: &AgentId, labels: &Labels) {
        let Some(series) = self.agents.get_mut(agent) else {
            return;
        };
        let key = hash(labels);
        let Some(slots) = series.slots_of.get_mut(&key) else {
            return;
        };
        *slots -= 1;
        if *slots > 0 {
            return;
        }
        series.slots_of.remove(&key);
        if series.slots_of.is_empty() && self.limits.new_series_per_minute.is_none() {
            self.agents.remove(agent);
        }
        subtract(&mut self.by_metric, labels.metric_name());
        subtract(&mut self.by_tenant, labels.get(&self.limits.tenant_label));
    }
}

fn add(counts: &mut HashMap<String, u64>, key: Option<&str>) {
    if let Some(key) = key {
        *counts.entry(key.to_owned()).or_default() += 1;
    }
}

fn subtract(counts: &mut HashMap<String, u64>, key: Option<&str>) {
    let Some(key) = key else { return };
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn within_bounds(labels: &Labels) -> bool {
    !labels.is_empty()
        && labels.len() <= LABELS_MAX
        && labels.text_bytes() <= SERIES_BYTES_MAX
        && labels
            .iter()
            .all(|(name, value)| name.len() <= NAME_BYTES_MAX && value.len() <= VALUE_BYTES_MAX)
}

/// 128 bits: two series of one hash would need some 10^17 series to be likely.
fn hash(labels: &Labels) -> u128 {
    let mut hash = Xxh3::new();
    for (name, value) in labels.iter() {
        hash.update(name.as_bytes());
        hash.update(&[0xff]);
        hash.update(value.as_bytes());
        hash.update(&[0xff]);
    }
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(metric: &str, id: u32) -> Labels {
        Labels::from_pairs([("__name__", metric), ("id", &id.to_string())]).unwrap()
    }

    fn admission(change: impl FnOnce(&mut Limits)) -> Admission {
        let mut limits = Limits::default();
        change(&mut limits);
        Admission::new(limits)
    }

    const NOW: Monotonic = Monotonic::ORIGIN;

    #[test]
    fn an_agents_series_count_once_however_many_slots_they_have() {
        let mut admission = admission(|limits| limits.series_per_agent = 2);
        let agent: AgentId = "a".parse().unwrap();
        let other: AgentId = "b".parse().unwrap();
        for id in [0, 1, 0, 1] {
            assert_eq!(admission.admit(&agent, &labels("m", id), NOW, 0), Ok(()));
        }
        let full = Err(RefusalReason::SeriesPerAgent);
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, 0), full);
        assert_eq!(admission.admit(&other, &labels("m", 2), NOW, 0), Ok(()));
        admission.release(&agent, &labels("m", 0));
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, 0), full);
        admission.release(&agent, &labels("m", 0));
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, 0), Ok(()));
    }

    #[test]
    fn each_limit_refuses_with_its_own_reason() {
        let agent: AgentId = "a".parse().unwrap();
        let mut per_metric = admission(|limits| limits.series_per_metric = Some(1));
        assert_eq!(per_metric.admit(&agent, &labels("m", 0), NOW, 0), Ok(()));
        assert_eq!(
            per_metric.admit(&agent, &labels("m", 1), NOW, 0),
            Err(RefusalReason::SeriesPerMetric)
        );
        assert_eq!(per_metric.admit(&agent, &labels("n", 1), NOW, 0), Ok(()));

        let mut rate = admission(|limits| limits.new_series_per_minute = Some(1));
        assert_eq!(rate.admit(&agent, &labels("m", 0), NOW, 0), Ok(()));
        assert_eq!(
            rate.admit(&agent, &labels("m", 1), NOW, 0),
            Err(RefusalReason::NewSeriesRate)
        );
        let later = NOW + Duration::from_mins(1);
        assert_eq!(rate.admit(&agent, &labels("m", 1), later, 0), Ok(()));

        let mut memory = admission(|limits| limits.head_bytes_max = 10);
        assert_eq!(
            memory.admit(&agent, &labels("m", 0), NOW, 10),
            Err(RefusalReason::Memory)
        );
        let long = Labels::from_pairs([("x", "y".repeat(VALUE_BYTES_MAX + 1))]).unwrap();
        for bad in [Labels::empty(), long] {
            assert_eq!(
                memory.admit(&agent, &bad, NOW, 0),
                Err(RefusalReason::Labels)
            );
        }
    }
}
