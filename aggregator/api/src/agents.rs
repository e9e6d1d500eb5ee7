//! `/api/v1/agents`: who sends, and how late.

use http_shell::Response;
use ingest::AgentView;
use model::TimestampMs;

use crate::api::Api;
use crate::envelope::{Notes, success};
use crate::json::Json;

impl Api {
    /// `/api/v1/agents`
    pub(crate) fn agents(&self) -> Response {
        let now = TimestampMs::from(self.parts.clock.wall());
        let agents = self.parts.agents.list();
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("agents").array(|json| {
                    for agent in &agents {
                        write(json, agent, now);
                    }
                });
            });
        })
    }
}

fn write(json: &mut Json, agent: &AgentView, now: TimestampMs) {
    json.object(|json| {
        json.key("agent").string(agent.peer.agent().as_str());
        json.key("node").string(&agent.node);
        json.key("version").string(&agent.version);
        json.key("epoch").string(&agent.epoch.to_string());
        json.key("connected").raw(agent.connected);
        json.key("transport").string(agent.transport);
        for (key, value) in [
            ("cluster", agent.peer.cluster()),
            ("tenant", agent.peer.tenant()),
        ] {
            if let Some(value) = value {
                json.key(key).string(value);
            }
        }
        for (key, at) in [("lastRow", agent.last_row), ("lastSeen", agent.last_seen)] {
            if let Some(at) = at {
                json.key(key).time(at);
            }
        }
        if let Some(last_row) = agent.last_row {
            json.key("lagSeconds")
                .raw(TimestampMs(now.0.saturating_sub(last_row.0)).as_seconds());
        }
        json.key("clockAheadSeconds")
            .raw(TimestampMs(agent.clock_ahead_ms).as_seconds());
        json.key("spool").object(|json| {
            json.key("bytes").raw(agent.status.spool_bytes);
            json.key("bytesMax").raw(agent.status.spool_bytes_max);
            if let Some(oldest) = agent.status.oldest_unacknowledged {
                json.key("oldestUnacknowledged").time(oldest);
            }
            json.key("droppedBatches").raw(agent.status.dropped_batches);
            json.key("droppedSamples").raw(agent.status.dropped_samples);
        });
    });
}
