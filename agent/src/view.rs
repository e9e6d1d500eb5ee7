//! What others may see of a running agent.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use exposition::Format;
use telemetry::{Condition, Readiness, Registry, Unmet};
use uplink::{UplinkStats, UplinkView};

use crate::chosen::{ChoiceError, ChosenCollectors};
use crate::latest::Latest;
use crate::{Pushing, Scraping};

/// How often somebody who waits for the first session looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A view of an agent. Clones see the same; it outlives the agent.
#[derive(Clone, Debug)]
pub struct AgentView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    latest: Arc<Latest>,
    containers: Arc<Latest>,
    chosen: ChosenCollectors,
    registry: Registry,
    pushing: Pushing,
    scraping: Scraping,
    readiness: Readiness,
    identity: Condition,
    collection: Condition,
    /// Set once the agent has an identity.
    uplink: OnceLock<UplinkView>,
}

impl AgentView {
    pub(crate) fn new(
        registry: &Registry,
        chosen: ChosenCollectors,
        pushing: Pushing,
        scraping: Scraping,
    ) -> Self {
        let readiness = Readiness::new();
        Self(Arc::new(Inner {
            latest: Arc::new(Latest::of_node()),
            containers: Arc::new(Latest::of_containers()),
            chosen,
            registry: registry.clone(),
            pushing,
            scraping,
            identity: readiness.condition("identity", "the agent has not joined yet"),
            collection: readiness.condition("collection", "nothing was collected yet"),
            readiness,
            uplink: OnceLock::new(),
        }))
    }

    /// Returns how delivery goes; `None` before the agent has an identity.
    pub fn uplink(&self) -> Option<UplinkStats> {
        self.0.uplink.get().map(UplinkView::stats)
    }

    /// Waits until the aggregator has opened the first session of this run. Cancel it as you like; it never ends if there is none.
    pub async fn session_opened(&self) {
        while self
            .uplink()
            .is_none_or(|stats| stats.delivered.sessions == 0)
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns why the agent is not ready; empty when it is: it has an identity and has collected. An aggregator that is not there
    /// does not make it unready, for rows wait in the spool.
    pub fn unmet(&self) -> Vec<Unmet> {
        self.0.readiness.unmet()
    }

    /// Returns the last rows of the node as an exposition, without the labels `job` and `instance`, as node_exporter has it.
    pub fn expose_node(&self, format: Format) -> String {
        self.0.latest.expose(format)
    }

    /// Returns the last rows of containers as an exposition, as a kubelet has it below `/metrics/cadvisor`.
    pub fn expose_containers(&self, format: Format) -> String {
        self.0.containers.expose(format)
    }

    /// Collects some of the node's collectors now, and returns what they say: those of `collect`, or all but those of `exclude`.
    ///
    /// Takes milliseconds, away from the async threads, one request after the other.
    pub async fn expose_chosen(
        &self,
        collect: &[&str],
        exclude: &[&str],
        format: Format,
    ) -> Result<String, ChoiceError> {
        self.0.chosen.expose(collect, exclude, format).await
    }

    /// Returns the agent's own metrics.
    pub fn expose_self(&self, format: Format) -> String {
        self.0.registry.expose(format)
    }

    /// Returns the agent's push API.
    pub fn pushing(&self) -> Pushing {
        self.0.pushing.clone()
    }

    /// Returns the agent's scraper.
    pub fn scraping(&self) -> Scraping {
        self.0.scraping.clone()
    }

    pub(crate) fn latest(&self) -> Arc<Latest> {
        Arc::clone(&self.0.latest)
    }

    pub(crate) fn latest_of_containers(&self) -> Arc<Latest> {
        Arc::clone(&self.0.containers)
    }

    pub(crate) fn identity_condition(&self) -> Condition {
        self.0.identity.clone()
    }

    pub(crate) fn collection_condition(&self) -> Condition {
        self.0.collection.clone()
    }

    pub(crate) fn connect(&self, uplink: UplinkView) {
        // An agent runs once: nothing is there yet.
        drop(self.0.uplink.set(uplink));
    }
}
