//! Connection tracking: `sys/net/netfilter/nf_conntrack_*`, and the sums over all CPUs of `net/stat/nf_conntrack`.

use super::Collector;
use crate::error::CollectError;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, Paths, Sink, scan};

static ENTRIES: Family = Family::gauge(
    "node_nf_conntrack_entries",
    "Number of currently allocated flow entries for connection tracking.",
    &[],
);
static LIMIT: Family = Family::gauge(
    "node_nf_conntrack_entries_limit",
    "Maximum size of connection tracking table.",
    &[],
);

/// By the names of the columns.
static STATISTICS: [(&[u8], Family); 8] = [
    (
        b"found",
        Family::gauge(
            "node_nf_conntrack_stat_found",
            "Number of searched entries which were successful.",
            &[],
        ),
    ),
    (
        b"invalid",
        Family::gauge(
            "node_nf_conntrack_stat_invalid",
            "Number of packets seen which can not be tracked.",
            &[],
        ),
    ),
    (
        b"ignore",
        Family::gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
            &[],
        ),
    ),
    (
        b"insert",
        Family::gauge(
            "node_nf_conntrack_stat_insert",
            "Number of entries inserted into the list.",
            &[],
        ),
    ),
    (
        b"insert_failed",
        Family::gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
            &[],
        ),
    ),
    (
        b"drop",
        Family::gauge(
            "node_nf_conntrack_stat_drop",
            "Number of packets dropped due to conntrack failure.",
            &[],
        ),
    ),
    (
        b"early_drop",
        Family::gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
            &[],
        ),
    ),
    (
        b"search_restart",
        Family::gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
            &[],
        ),
    ),
];

#[derive(Debug)]
pub(super) struct Conntrack {
    count: KeptFile,
    limit: KeptFile,
    statistics: KeptFile,
}

impl Conntrack {
    pub(super) fn new(paths: &Paths) -> Self {
        let setting = |name| {
            let folder = paths.procfs.join("sys/net/netfilter");
            KeptFile::in_one_piece(folder.join(name))
        };
        Self {
            count: setting("nf_conntrack_count"),
            limit: setting("nf_conntrack_max"),
            statistics: KeptFile::new(paths.procfs.join("net/stat/nf_conntrack")),
        }
    }

    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let count = self.count.read()?.number()?;
        sink.sample(&ENTRIES, &[], count);
        let limit = self.limit.read()?.number()?;
        sink.sample(&LIMIT, &[], limit);
        sample_sums(self.statistics.read()?, sink)
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        self.read(sink)
            .map_err(|error| error.missing_as("nothing tracks connections"))
    }
}

/// A line of names stands above one line of hexadecimal numbers per CPU; which columns there are differs by kernel.
fn sample_sums(content: Content<'_>, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let wrong = || content.without("names above hexadecimal numbers");
    let names = content.lines().next().ok_or_else(wrong)?;
    for (name, family) in &STATISTICS {
        let column = scan::words(names).position(|word| word == *name);
        let mut sum = 0_u64;
        if let Some(column) = column {
            for line in content.lines().skip(1) {
                let word = scan::words(line).nth(column).ok_or_else(wrong)?;
                sum = sum.wrapping_add(scan::hexadecimal(word).ok_or_else(wrong)?);
            }
        }
        sink.sample(family, &[], sum as f64);
    }
    Ok(())
}
