//! The bounds of a spool.

use std::time::Duration;

/// The bounds of a spool; `Default` is what an agent uses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most bytes of segments on disk: 512 MiB, about a month of outage of a node with 2,000 series at 15 s.
    pub bytes_max: u64,
    /// The most of the volume, in percent of its size: 10.
    pub volume_percent_max: u8,
    /// When a segment is full: 4 MiB. One whose definitions alone take more than a quarter may grow to four times what they take.
    pub segment_bytes: u64,
    /// The longest that a written batch stays unsynced: 1 s, what a power cut may cost.
    pub sync_interval: Duration,
    /// The most bytes that stay unsynced: 1 MiB.
    pub sync_bytes: u64,
    /// How often cursors are written: 10 s. Losing one costs sending again what the aggregator then recognises.
    pub cursor_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bytes_max: 512 << 20,
            volume_percent_max: 10,
            segment_bytes: 4 << 20,
            sync_interval: Duration::from_secs(1),
            sync_bytes: 1 << 20,
            cursor_interval: Duration::from_secs(10),
        }
    }
}
