//! Which series may come in: limits, checked once where a slot is defined, each slot singly.
//!
//! What is counted are *active* series: those of cohorts that had a row lately. A series that an agent has in two cohorts or two
//! epochs counts once for the agent, so a restarted agent does not meet its own past.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use clock::Monotonic;
use model::Labels;
use rows::AgentId;
use storage::RefusalReason;

use crate::config::Limits;
use crate::hashing::{AsIs, hash_of};
use crate::memory::Full;
use crate::occupancy::Occupancy;

/// The most labels of a series.
const LABELS_MAX: usize = 64;
/// The longest label name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The longest label value, in bytes.
const VALUE_BYTES_MAX: usize = 2_048;
/// The most bytes of all names and values of a series.
pub(crate) const SERIES_BYTES_MAX: usize = 8 * 1_024;
/// A reason is told to operators at most this often, however many series it refuses.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Counts active series and says which new ones may come.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    /// By agent and hash of the labels: in how many slots the series stands.
    agents: HashMap<AgentId, HashMap<u64, u32, BuildHasherDefault<AsIs>>>,
    occupancy: Arc<Occupancy>,
    /// By reason, when it was told last.
    told: HashMap<RefusalReason, Monotonic>,
}

/// A limit that stands against a series: how far it is used, what it is, and the setting.
struct Against {
    reason: RefusalReason,
    present: u64,
    limit: u64,
    setting: &'static str,
}

impl Admission {
    pub(crate) fn new(limits: Limits, occupancy: Arc<Occupancy>) -> Self {
        Self {
            limits,
            agents: HashMap::new(),
            occupancy,
            told: HashMap::new(),
        }
    }

    /// Counts one more slot of this series, unless a limit stands against it; counts the refusal then.
    pub(crate) fn admit(
        &mut self,
        agent: &AgentId,
        labels: &Labels,
        now: Monotonic,
        full: Option<Full>,
    ) -> Result<(), RefusalReason> {
        let admitted = self.admit_again(agent, labels, now, full);
        if let Err(reason) = admitted {
            self.occupancy.refused(reason);
        }
        admitted
    }

    /// Does as [`admit`](Self::admit) for a series whose refusal was counted before.
    pub(crate) fn admit_again(
        &mut self,
        agent: &AgentId,
        labels: &Labels,
        now: Monotonic,
        full: Option<Full>,
    ) -> Result<(), RefusalReason> {
        let refused = if !within_bounds(labels) {
            Some(RefusalReason::Labels)
        } else if self.is_active(agent, labels) {
            None
        } else {
            let against = self.against(agent, labels, now, full);
            if let Some(against) = &against {
                self.tell(agent, against, now);
            } else {
                self.occupancy.new_series(agent, now);
            }
            against.map(|against| against.reason)
        };
        if let Some(reason) = refused {
            return Err(reason);
        }
        self.count(agent, labels);
        Ok(())
    }

    fn is_active(&self, agent: &AgentId, labels: &Labels) -> bool {
        self.agents
            .get(agent)
            .is_some_and(|slots_of| slots_of.contains_key(&hash(labels)))
    }

    /// Returns the first limit that stands against a new series.
    fn against(
        &self,
        agent: &AgentId,
        labels: &Labels,
        now: Monotonic,
        full: Option<Full>,
    ) -> Option<Against> {
        let limits = &self.limits;
        let tenant = labels.get(&limits.tenant_label);
        let present = self.occupancy.of(agent, labels.metric_name(), tenant, now);
        let memory = full.map(|full| match full {
            Full::Heads(used) => (used, limits.head_bytes_max, "--storage.head.max-bytes"),
            Full::Process { used, mark } => (used, mark, "--storage.memory.limit"),
        });
        let memory = memory.map(|(present, limit, setting)| Against {
            reason: RefusalReason::Memory,
            present,
            limit,
            setting,
        });
        let exception = limits.exceptions.get(agent);
        let counted = [
            (
                RefusalReason::SeriesPerAgent,
                Some(present.agent),
                exception.map_or(Some(limits.series_per_agent), |own| *own),
                if exception.is_some() {
                    "--limits.series-by-remote-write"
                } else {
                    "--limits.series-per-agent"
                },
            ),
            (
                RefusalReason::SeriesPerMetric,
                present.metric,
                limits.series_per_metric,
                "--limits.series-per-metric",
            ),
            (
                RefusalReason::SeriesPerTenant,
                present.tenant,
                limits.series_per_tenant,
                "--limits.series-per-tenant",
            ),
            (
                RefusalReason::NewSeriesRate,
                Some(present.new_in_minute),
                limits.new_series_per_minute.filter(|_| exception.is_none()),
                "--limits.new-series-per-minute",
            ),
        ];
        let counted = counted
            .into_iter()
            .find_map(|(reason, present, limit, setting)| {
                let (present, limit) = present.zip(limit)?;
                (present >= limit).then_some(Against {
                    reason,
                    present,
                    limit,
                    setting,
                })
            });
        memory.or(counted)
    }

    fn tell(&mut self, agent: &AgentId, against: &Against, now: Monotonic) {
        let last = self.told.get(&against.reason);
        if last.is_some_and(|last| now.saturating_since(*last) < TELL_EVERY) {
            return;
        }
        self.told.insert(against.reason, now);
        tracing::warn!(
            %agent,
            reason = against.reason.as_str(),
            present = against.present,
            limit = against.limit,
            setting = against.setting,
            "new series are refused, known ones flow on; raise the setting or send fewer series"
        );
    }

    /// Counts one more slot of this series, whatever the limits: it was admitted before.
    pub(crate) fn count(&mut self, agent: &AgentId, labels: &Labels) {
        let slots_of = match self.agents.get_mut(agent) {
            Some(known) => known,
            None => self.agents.entry(agent.clone()).or_default(),
        };
        let slots = slots_of.entry(hash(labels)).or_default();
        *slots += 1;
        if *slots == 1 {
            let tenant = labels.get(&self.limits.tenant_label);
            self.occupancy.add(agent, labels.metric_name(), tenant);
        }
    }

    /// Forgets what is known of agents that are gone.
    pub(crate) fn sweep(&self, now: Monotonic) {
        self.occupancy.sweep(now);
    }

    /// Takes back one slot of this series.
    pub(crate) fn release(&mut self, agent: &AgentId, labels: &Labels) {
        let Some(slots_of) = self.agents.get_mut(agent) else {
            return;
        };
        let key = hash(labels);
        let Some(slots) = slots_of.get_mut(&key) else {
            return;
        };
        *slots -= 1;
        if *slots > 0 {
            return;
        }
        slots_of.remove(&key);
        if slots_of.is_empty() {
            self.agents.remove(agent);
        }
        let tenant = labels.get(&self.limits.tenant_label);
        self.occupancy.subtract(agent, labels.metric_name(), tenant);
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

/// 64 bits: among a million series of one agent there are two of one hash once in 40 million times, and they count as one.
fn hash(labels: &Labels) -> u64 {
    hash_of(labels, 0)
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
        Admission::new(limits, Arc::default())
    }

    const NOW: Monotonic = Monotonic::ORIGIN;

    #[test]
    fn an_agents_series_count_once_however_many_slots_they_have() {
        let mut admission = admission(|limits| limits.series_per_agent = 2);
        let agent: AgentId = "a".parse().unwrap();
        let other: AgentId = "b".parse().unwrap();
        for id in [0, 1, 0, 1] {
            assert_eq!(admission.admit(&agent, &labels("m", id), NOW, None), Ok(()));
        }
        let full = Err(RefusalReason::SeriesPerAgent);
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, None), full);
        assert_eq!(admission.admit(&other, &labels("m", 2), NOW, None), Ok(()));
        admission.release(&agent, &labels("m", 0));
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, None), full);
        admission.release(&agent, &labels("m", 0));
        assert_eq!(admission.admit(&agent, &labels("m", 2), NOW, None), Ok(()));
    }

    #[test]
    fn an_exception_has_a_bound_of_its_own_or_none() {
        let [bounded, free]: [AgentId; 2] = ["bounded", "free"].map(|id| id.parse().unwrap());
        let mut admission = admission(|limits| {
            limits.series_per_agent = 1;
            limits.new_series_per_minute = Some(1);
            limits.exceptions = [(bounded.clone(), Some(3)), (free.clone(), None)].into();
        });
        for id in 0..3 {
            assert_eq!(
                admission.admit(&bounded, &labels("m", id), NOW, None),
                Ok(())
            );
            assert_eq!(admission.admit(&free, &labels("m", id), NOW, None), Ok(()));
        }
        let full = Err(RefusalReason::SeriesPerAgent);
        assert_eq!(admission.admit(&bounded, &labels("m", 3), NOW, None), full);
        assert_eq!(admission.admit(&free, &labels("m", 3), NOW, None), Ok(()));
    }

    #[test]
    fn each_limit_refuses_with_its_own_reason() {
        let agent: AgentId = "a".parse().unwrap();
        let mut per_metric = admission(|limits| limits.series_per_metric = Some(1));
        assert_eq!(per_metric.admit(&agent, &labels("m", 0), NOW, None), Ok(()));
        assert_eq!(
            per_metric.admit(&agent, &labels("m", 1), NOW, None),
            Err(RefusalReason::SeriesPerMetric)
        );
        assert_eq!(per_metric.admit(&agent, &labels("n", 1), NOW, None), Ok(()));

        let mut rate = admission(|limits| limits.new_series_per_minute = Some(1));
        assert_eq!(rate.admit(&agent, &labels("m", 0), NOW, None), Ok(()));
        assert_eq!(
            rate.admit(&agent, &labels("m", 1), NOW, None),
            Err(RefusalReason::NewSeriesRate)
        );
        let later = NOW + Duration::from_mins(1);
        assert_eq!(rate.admit(&agent, &labels("m", 1), later, None), Ok(()));

        let mut per_tenant = admission(|limits| limits.series_per_tenant = Some(1));
        let of_tenant = |tenant: &str, id: &str| {
            Labels::from_pairs([("__name__", "m"), ("tenant", tenant), ("id", id)]).unwrap()
        };
        for (tenant, id, expected) in [
            ("a", "0", Ok(())),
            ("a", "1", Err(RefusalReason::SeriesPerTenant)),
            ("b", "1", Ok(())),
        ] {
            let series = of_tenant(tenant, id);
            assert_eq!(per_tenant.admit(&agent, &series, NOW, None), expected);
        }
        assert_eq!(per_tenant.admit(&agent, &labels("m", 2), NOW, None), Ok(()));

        let mut memory = admission(|_| ());
        let known = labels("m", 9);
        assert_eq!(memory.admit(&agent, &known, NOW, None), Ok(()));
        for full in [Full::Heads(10), Full::Process { used: 9, mark: 9 }] {
            assert_eq!(
                memory.admit(&agent, &labels("m", 0), NOW, Some(full)),
                Err(RefusalReason::Memory)
            );
            assert_eq!(memory.admit(&agent, &known, NOW, Some(full)), Ok(()));
        }
        let long = Labels::from_pairs([("x", "y".repeat(VALUE_BYTES_MAX + 1))]).unwrap();
        for bad in [Labels::empty(), long] {
            assert_eq!(
                memory.admit(&agent, &bad, NOW, None),
                Err(RefusalReason::Labels)
            );
        }
    }
}
