//! What the collector says of itself.

use telemetry::{Counter, Gauge, GaugeFamily, Registry};

/// Counters and gauges of the collector.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Files that held something unexpected or could not be read.
    pub(crate) file_errors: Counter,
    pub(crate) groups: GaugeFamily<1>,
    /// Groups left out because there are too many.
    pub(crate) refused: Counter,
    pub(crate) last_recorded: Counter,
    pub(crate) last_missed: Counter,
    pub(crate) nameless: Counter,
    pub(crate) names_found: Counter,
    pub(crate) watch_errors: Counter,
    pub(crate) superseded: Counter,
    pub(crate) cri_connected: Gauge,
    pub(crate) cri_events: Counter,
    pub(crate) cri_errors: Counter,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        let last = registry.counter_family(
            "promontory_container_last_readings_total",
            "Containers that ended, by whether their last values were read in time.",
            ["outcome"],
            2,
        );
        Self {
            file_errors: registry.counter(
                "promontory_container_file_errors_total",
                "Files of cgroups that held something unexpected or could not be read.",
            ),
            groups: registry.gauge_family(
                "promontory_container_groups",
                "Cgroups that are read, by what they are.",
                ["kind"],
                4,
            ),
            refused: registry.counter(
                "promontory_container_groups_refused_total",
                "Cgroups that were found and left out because there are more than --containers.max, or too many others.",
            ),
            last_recorded: last.with(["recorded"]),
            last_missed: last.with(["missed"]),
            nameless: registry.counter(
                "promontory_container_nameless_total",
                "Containers shown without names because nothing told them in time.",
            ),
            names_found: registry.counter(
                "promontory_container_names_found_total",
                "Containers named by what runtimes and the kubelet leave on the disk, not by the runtime itself.",
            ),
            watch_errors: registry.counter(
                "promontory_container_watch_errors_total",
                "Cgroups and processes that could not be watched, and events that were lost; their ends may be missed.",
            ),
            superseded: registry.counter(
                "promontory_container_superseded_total",
                "Containers that ended because another of the same name in the same pod began.",
            ),
            cri_connected: registry.gauge(
                "promontory_container_cri_connected",
                "Whether the runtime's socket answers.",
            ),
            cri_events: registry.counter(
                "promontory_container_cri_events_total",
                "Events of the runtime.",
            ),
            cri_errors: registry.counter(
                "promontory_container_cri_errors_total",
                "Calls of the runtime that failed.",
            ),
        }
    }
}
