//! Memory of each NUMA node: `devices/system/node/nodeN`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::{FamilyCache, metric_name};
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{Family, Paths, Sink, scan};

const BYTES_PER_KILOBYTE: f64 = 1_024.0;

#[derive(Debug)]
pub(super) struct MeminfoNuma {
    nodes: Folder,
    families: FamilyCache,
}

impl MeminfoNuma {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            nodes: Folder::new(paths.sysfs.join("devices/system/node")),
            families: FamilyCache::default(),
        }
    }

    fn sample(
        &mut self,
        node: &str,
        field: &str,
        kind: MetricType,
        value: f64,
        sink: &mut dyn Sink,
    ) {
        let family = self.families.get(field, || {
            let family = Family::dynamic(
                format!("node_memory_numa_{field}"),
                format!("Memory information field {field}."),
                kind,
            );
            Some(family.with_labels(&["node"]))
        });
        if let Some(family) = family {
            sink.sample(family, &[node], value);
        }
    }

    /// Reads lines of `Node N NAME: number [kB]`.
    fn sample_memory(&mut self, node: &str, bytes: &[u8], sink: &mut dyn Sink) -> Option<()> {
        for line in scan::lines(bytes) {
            let (head, tail) = scan::split_once(line, b':')?;
            let name = scan::text(scan::words(head).nth(2)?);
            let mut words = scan::words(tail);
            let number = scan::float(words.next()?)?;
            let value = match words.next() {
                None => number,
                Some(b"kB") => number * BYTES_PER_KILOBYTE,
                Some(_) => return None,
            };
            // "Active(anon)" becomes "Active_anon".
            let field = metric_name(&name.replace(')', ""));
            self.sample(node, &field, MetricType::Gauge, value, sink);
        }
        Some(())
    }
}

impl Collector for MeminfoNuma {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for (node, folder) in self.nodes.numbered("node")? {
            let path = folder.path().join("meminfo");
            let bytes = read_once(&path).map_err(|error| CollectError::read(&path, error))?;
            self.sample_memory(&node, &bytes, sink)
                .ok_or_else(|| CollectError::parse(&path, "lines of `Node N name: number [kB]`"))?;
            let counts = optional(folder.text("numastat"))?.unwrap_or_default();
            for line in counts.lines() {
                let pair = line.split_once(' ');
                let pair = pair
                    .and_then(|(name, count)| Some((name, scan::number(count.trim().as_bytes())?)));
                let (name, count) = pair.ok_or_else(|| {
                    CollectError::parse(&folder.path().join("numastat"), "lines of `name number`")
                })?;
                let field = format!("{}_total", metric_name(name));
                self.sample(&node, &field, MetricType::Counter, count as f64, sink);
            }
        }
        Ok(())
    }
}
