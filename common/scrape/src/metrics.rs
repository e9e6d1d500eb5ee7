//! What scraping counts.

use telemetry::{Counter, CounterFamily, Gauge, Registry};

/// Counters of all targets together; targets are shown singly by their own series and by the targets view.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) targets: Gauge,
    pub(crate) scrapes: CounterFamily<1>,
    pub(crate) missed: Counter,
    pub(crate) samples: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) bytes: Counter,
    pub(crate) replays: Counter,
    pub(crate) unfit: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &Registry) -> Self {
        Self {
            targets: registry.gauge("promontory_scrape_targets", "Targets that are scraped."),
            scrapes: registry.counter_family(
                "promontory_scrapes_total",
                "Scrapes, by outcome.",
                ["outcome"],
                2,
            ),
            missed: registry.counter(
                "promontory_scrapes_missed_total",
                "Scrapes left out because the one before took too long, or rows could not be handed on.",
            ),
            samples: registry.counter(
                "promontory_scrape_samples_total",
                "Samples taken of targets, after relabelling.",
            ),
            duplicates: registry.counter(
                "promontory_scrape_samples_duplicate_total",
                "Samples dropped because their target exposed their series twice in one scrape.",
            ),
            bytes: registry.counter(
                "promontory_scrape_body_bytes_total",
                "Bytes of bodies received, as they came.",
            ),
            replays: registry.counter(
                "promontory_scrape_replays_total",
                "Scrapes in which nothing but values had changed, so that names and labels were not read.",
            ),
            unfit: registry.gauge(
                "promontory_scrape_targets_unfit",
                "Discovered targets that cannot be scraped; the log says why.",
            ),
        }
    }
}
