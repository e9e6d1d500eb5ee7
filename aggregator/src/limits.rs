//! Limits as metrics: what each is, how far it is used by whoever uses it most, and what it refused.

use std::sync::Arc;

use storage::RefusalReason;
use telemetry::Registry;
use tsdb::{Limits, Tsdb};

/// As many as there are limits, and reasons to refuse a series.
const LABEL_SETS_MAX: usize = 16;

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
        "How far a limit is used by the agent, metric or tenant that uses it most, or by the process.",
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
    let configured = [
        ("series_per_agent", Some(limits.series_per_agent)),
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
        for (name, value) in [
            ("series_per_agent", of.series_per_agent),
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
        RefusalReason::TooOld
        | RefusalReason::TooNew
        | RefusalReason::Undefined
        | RefusalReason::Conflict => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn float(count: u64) -> f64 {
    count as f64
}
