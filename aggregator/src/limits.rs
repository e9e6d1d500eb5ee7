//! Limits as metrics: what each is, how far it is used by whoever uses it most, and what it refused.

use std::sync::Arc;

use ingest::REMOTE_WRITE_ID;
use storage::RefusalReason;
use telemetry::Registry;
use tsdb::{Limits, Tsdb};

/// As many as there are limits, and reasons to refuse a series.
const LABEL_SETS_MAX: usize = 16;

/// The limit of all who send by remote write together.
const BY_REMOTE_WRITE: &str = "series_by_remote_write";

/// Shows the limits on series and memory; limits that are off have no `promontory_limit`.
pub(crate) fn show(registry: &Registry, limits: &Limits, store: &Arc<Tsdb>) {
    let limit = registry.gauge_family(
        "promontory_limit",
        "What a limit is set to: series, new series a minute, or bytes.",
        ["limit"],
        LABEL_SETS_MAX,
    );
    let used = registry.gauge_family(
        "promontory_limit_used",
        "How far a limit is used by the agent, metric or tenant that uses it most, by remote write, or by the process.",
        ["limit"],
        LABEL_SETS_MAX,
    );
    let refused = registry.counter_family(
        "promontory_series_refused_total",
        "Definitions of series refused, by reason; a series counts each time that it is defined.",
        ["reason"],
        LABEL_SETS_MAX,
    );
    for reason in RefusalReason::ALL.into_iter().filter(refuses_series) {
        refused.with([reason.as_str()]);
    }
    let exceptions = limits.exceptions.iter();
    let by_remote_write = exceptions
        .filter(|(writer, _)| writer.as_str() == REMOTE_WRITE_ID)
        .find_map(|(_, bound)| *bound);
    let configured = [
        ("series_per_agent", Some(limits.series_per_agent)),
        (BY_REMOTE_WRITE, by_remote_write),
        ("series_per_metric", limits.series_per_metric),
        ("series_per_tenant", limits.series_per_tenant),
        ("new_series_per_minute", limits.new_series_per_minute),
        ("head_bytes", Some(limits.head_bytes_max)),
    ];
    for (name, value) in configured {
        if let Some(value) = value {
            limit.with([name]).set(float(value));
        }
    }
    let store = Arc::downgrade(store);
    registry.on_gather(move || {
        let Some(store) = store.upgrade() else { return };
        let stats = store.stats();
        let of = stats.limits_used;
        let writers = of.series_by_exception.iter();
        let by_remote_write = writers
            .filter(|(writer, _)| writer.as_str() == REMOTE_WRITE_ID)
            .map(|(_, series)| *series)
            .sum();
        for (name, value) in [
            ("series_per_agent", of.series_per_agent),
            (BY_REMOTE_WRITE, by_remote_write),
            ("series_per_metric", of.series_per_metric),
            ("series_per_tenant", of.series_per_tenant),
            ("new_series_per_minute", of.new_series_per_minute),
            ("head_bytes", stats.head_bytes),
        ] {
            used.with([name]).set(float(value));
        }
        if let Some((bytes, bytes_max)) = stats.memory {
            used.with(["memory_bytes"]).set(float(bytes));
            limit.with(["memory_bytes"]).set(float(bytes_max));
        }
        for (reason, series) in of.series_refused.iter() {
            refused.with([reason.as_str()]).raise_to(float(series));
        }
    });
}

const fn refuses_series(reason: &RefusalReason) -> bool {
    match reason {
        RefusalReason::SeriesPerAgent
        | RefusalReason::SeriesPerTenant
        | RefusalReason::SeriesPerMetric
        | RefusalReason::NewSeriesRate
        | RefusalReason::Memory
        | RefusalReason::Labels => true,
        RefusalReason::TooOld | RefusalReason::TooNew | RefusalReason::Undefined => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use clock::SimulatedClock;
    use exposition::Format;
    use files::Simulated;
    use model::{Labels, MetricType};
    use rows::{AgentId, CohortDefinition, CohortId, Epoch, SeriesDefinition};
    use storage::{Appender, Lane, Source};
    use tsdb::TsdbConfig;

    use super::*;

    fn define(store: &Tsdb, agent: &AgentId, series: usize) {
        let source = Source {
            agent: agent.clone(),
            epoch: Epoch(1),
            lane: Lane::Live,
        };
        let series = (0..series).map(|id| SeriesDefinition {
            labels: Labels::from_pairs([("__name__", "m"), ("id", &id.to_string())]).unwrap(),
            kind: MetricType::Gauge,
        });
        let definition = CohortDefinition {
            cohort: CohortId(0),
            name: "c".into(),
            first_slot: 0,
            series: series.collect(),
        };
        store.define(&source, definition).unwrap();
    }

    #[test]
    fn each_limit_is_shown_with_its_own_use() {
        let writer: AgentId = REMOTE_WRITE_ID.parse().unwrap();
        let mut config = TsdbConfig::at("/data");
        config.limits.series_per_agent = 10;
        config.limits.exceptions = [(writer.clone(), Some(70))].into();
        let limits = config.limits.clone();
        let clock = Arc::new(SimulatedClock::starting_at(SystemTime::UNIX_EPOCH));
        let (store, _) = Tsdb::open(config, Arc::new(Simulated::new()), clock).unwrap();
        let store = Arc::new(store);
        define(&store, &writer, 60);
        define(&store, &"a".parse().unwrap(), 12);
        // What was taken before the end is decided on.
        store.close();
        let registry = Registry::new();
        show(&registry, &limits, &store);
        let shown = registry.expose(Format::Text);
        for line in [
            "promontory_limit{limit=\"series_per_agent\"} 10",
            "promontory_limit{limit=\"series_by_remote_write\"} 70",
            "promontory_limit_used{limit=\"series_per_agent\"} 10",
            "promontory_limit_used{limit=\"series_by_remote_write\"} 60",
            "promontory_limit_used{limit=\"new_series_per_minute\"} 10",
            "promontory_limit_used{limit=\"series_per_metric\"} 70",
            "promontory_series_refused_total{reason=\"series_per_agent\"} 2",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
        }
        let off = "promontory_limit{limit=\"new_series_per_minute\"}";
        assert!(!shown.contains(off), "{shown}");
    }
}
