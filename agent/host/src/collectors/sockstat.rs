//! Sockets in use: `net/sockstat` and `net/sockstat6`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::host::Moment;
use crate::kept_file::{Content, KeptFile};
use crate::{Family, Paths, Sink, scan};

static USED: Family = Family::gauge(
    "node_sockstat_sockets_used",
    "Number of IPv4 sockets in use.",
    &[],
);

/// The states that are reported; the kernel may count others.
const STATES: [&[u8]; 6] = [b"inuse", b"orphan", b"tw", b"alloc", b"mem", b"memory"];

#[derive(Debug)]
pub(super) struct Sockstat {
    files: [KeptFile; 2],
    families: FamilyCache,
    page_bytes: f64,
    key: String,
}

impl Sockstat {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            files: ["net/sockstat", "net/sockstat6"]
                .map(|file| KeptFile::in_one_piece(paths.procfs.join(file))),
            families: FamilyCache::default(),
            page_bytes: rustix::param::page_size() as f64,
            key: String::new(),
        }
    }
}

impl Collector for Sockstat {
    fn collect(&mut self, moment: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let mut names = Names {
            families: &mut self.families,
            key: &mut self.key,
            page_bytes: self.page_bytes,
        };
        for file in &mut self.files {
            // A kernel without IPv4 or IPv6 has none.
            if let Some(content) = file.read_if_there(moment.now)? {
                names.sample(content, sink)?;
            }
        }
        Ok(())
    }
}

struct Names<'a> {
    families: &'a mut FamilyCache,
    key: &'a mut String,
    page_bytes: f64,
}

impl Names<'_> {
    /// Reads lines of `PROTOCOL: state number state number ...`.
    fn sample(&mut self, content: Content<'_>, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let wrong = || content.without("lines of `protocol: state number ...`");
        for line in content.lines() {
            let (protocol, states) = scan::split_once(line, b':').ok_or_else(wrong)?;
            let protocol = scan::text(protocol);
            let mut words = scan::words(states);
            while let Some(state) = words.next() {
                let number = words.next().and_then(scan::integer).ok_or_else(wrong)?;
                if &*protocol == "sockets" {
                    if state == b"used" {
                        sink.sample(&USED, &[], number);
                    }
                } else if STATES.contains(&state) {
                    let state = scan::text(state);
                    self.one(&protocol, &state, number, sink);
                    if &*state == "mem" {
                        self.one(&protocol, "mem_bytes", number * self.page_bytes, sink);
                    }
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, protocol: &str, state: &str, value: f64, sink: &mut dyn Sink) {
        self.key.clear();
        self.key.extend(["node_sockstat_", protocol, "_", state]);
        let family = self.families.get(self.key, || {
            Some(Family::dynamic(
                format!("node_sockstat_{protocol}_{state}"),
                format!("Number of {protocol} sockets in state {state}."),
                MetricType::Gauge,
            ))
        });
        if let Some(family) = family {
            sink.sample(family, &[], value);
        }
    }
}
