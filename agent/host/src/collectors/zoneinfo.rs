//! Memory of each zone: `zoneinfo`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::host::Moment;
use crate::kept_file::KeptFile;
use crate::{Family, Paths, Sink, scan};

const ZONE: &[&str] = &["node", "zone"];

/// A number of a zone, by the kernel's name.
macro_rules! field {
    ($field:literal, $kind:ident, $name:literal, $help:literal) => {
        (
            $field,
            Family::$kind(concat!("node_zoneinfo_", $name), $help, ZONE),
        )
    };
}

/// By the kernel's names.
static FIELDS: [(&[u8], Family); 34] = [
    field!(b"high", gauge, "high_pages", "Zone watermark pages_high"),
    field!(b"low", gauge, "low_pages", "Zone watermark pages_low"),
    field!(
        b"managed",
        gauge,
        "managed_pages",
        "Present pages managed by the buddy system"
    ),
    field!(b"min", gauge, "min_pages", "Zone watermark pages_min"),
    field!(
        b"nr_active_anon",
        gauge,
        "nr_active_anon_pages",
        "Number of anonymous pages recently more used"
    ),
    field!(
        b"nr_active_file",
        gauge,
        "nr_active_file_pages",
        "Number of active pages with file-backing"
    ),
    field!(
        b"nr_anon_pages",
        gauge,
        "nr_anon_pages",
        "Number of anonymous pages currently used by the system"
    ),
    field!(
        b"nr_anon_transparent_hugepages",
        gauge,
        "nr_anon_transparent_hugepages",
        "Number of anonymous transparent huge pages currently used by the system"
    ),
    field!(
        b"nr_dirtied",
        counter,
        "nr_dirtied_total",
        "Page dirtyings since bootup"
    ),
    field!(
        b"nr_dirty",
        gauge,
        "nr_dirty_pages",
        "Number of dirty pages"
    ),
    field!(
        b"nr_file_pages",
        gauge,
        "nr_file_pages",
        "Number of file pages"
    ),
    field!(
        b"nr_free_pages",
        gauge,
        "nr_free_pages",
        "Total number of free pages in the zone"
    ),
    field!(
        b"nr_inactive_anon",
        gauge,
        "nr_inactive_anon_pages",
        "Number of anonymous pages recently less used"
    ),
    field!(
        b"nr_inactive_file",
        gauge,
        "nr_inactive_file_pages",
        "Number of inactive pages with file-backing"
    ),
    field!(
        b"nr_isolated_anon",
        gauge,
        "nr_isolated_anon_pages",
        "Temporary isolated pages from anon lru"
    ),
    field!(
        b"nr_isolated_file",
        gauge,
        "nr_isolated_file_pages",
        "Temporary isolated pages from file lru"
    ),
    field!(
        b"nr_kernel_stack",
        gauge,
        "nr_kernel_stacks",
        "Number of kernel stacks"
    ),
    field!(
        b"nr_mapped",
        gauge,
        "nr_mapped_pages",
        "Number of mapped pages"
    ),
    field!(
        b"nr_shmem",
        gauge,
        "nr_shmem_pages",
        "Number of shmem pages (included tmpfs/GEM pages)"
    ),
    field!(
        b"nr_slab_reclaimable",
        gauge,
        "nr_slab_reclaimable_pages",
        "Number of reclaimable slab pages"
    ),
    field!(
        b"nr_slab_unreclaimable",
        gauge,
        "nr_slab_unreclaimable_pages",
        "Number of unreclaimable slab pages"
    ),
    field!(
        b"nr_unevictable",
        gauge,
        "nr_unevictable_pages",
        "Number of unevictable pages"
    ),
    field!(
        b"nr_writeback",
        gauge,
        "nr_writeback_pages",
        "Number of writeback pages"
    ),
    field!(
        b"nr_written",
        counter,
        "nr_written_total",
        "Page writings since bootup"
    ),
    field!(
        b"numa_foreign",
        counter,
        "numa_foreign_total",
        "Was intended here, hit elsewhere"
    ),
    field!(
        b"numa_hit",
        counter,
        "numa_hit_total",
        "Allocated in intended node"
    ),
    field!(
        b"numa_interleave",
        counter,
        "numa_interleave_total",
        "Interleaver preferred this zone"
    ),
    field!(
        b"numa_local",
        counter,
        "numa_local_total",
        "Allocation from local node"
    ),
    field!(
        b"numa_miss",
        counter,
        "numa_miss_total",
        "Allocated in non intended node"
    ),
    field!(
        b"numa_other",
        counter,
        "numa_other_total",
        "Allocation from other node"
    ),
    field!(
        b"present",
        gauge,
        "present_pages",
        "Physical pages existing within the zone"
    ),
    field!(
        b"spanned",
        gauge,
        "spanned_pages",
        "Total pages spanned by the zone, including holes"
    ),
    field!(
        b"scanned",
        gauge,
        "scanned_pages",
        "Pages scanned since last reclaim"
    ),
    field!(
        b"nr_mlock_stack",
        gauge,
        "nr_mlock_stack_pages",
        "mlock()ed pages found and moved off LRU"
    ),
];

#[derive(Debug)]
pub(super) struct Zoneinfo {
    file: KeptFile,
    protections: FamilyCache,
}

impl Zoneinfo {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file: KeptFile::new(paths.procfs.join("zoneinfo")),
            protections: FamilyCache::default(),
        }
    }
}

impl Collector for Zoneinfo {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let content = self.file.read()?;
        let mut zone: Option<(String, String)> = None;
        for line in content.lines() {
            if let Some(heading) = parse_heading(line) {
                zone = Some(heading);
                continue;
            }
            let (Some((node, zone)), Some(word)) = (&zone, scan::words(line).next()) else {
                continue;
            };
            let labels = [&**node, &**zone];
            if word == b"pagesets" {
                // Counts of each CPU follow, under names that mean something else.
                continue;
            }
            if word == b"protection:" {
                sample_protections(&mut self.protections, line, labels, sink)
                    .ok_or_else(|| content.without("numbers in parentheses"))?;
            } else if let Some((_, family)) = FIELDS.iter().find(|(field, _)| *field == word) {
                let number = scan::words(line).nth(1).and_then(scan::number);
                let number = number.ok_or_else(|| content.without("a number after its name"))?;
                sink.sample(family, &labels, number as f64);
            }
        }
        Ok(())
    }
}

/// Reads `Node N, zone NAME`.
fn parse_heading(line: &[u8]) -> Option<(String, String)> {
    let (node, zone) = scan::split_once(line.strip_prefix(b"Node ")?, b',')?;
    let zone = zone.trim_ascii().strip_prefix(b"zone")?;
    let text = |bytes: &[u8]| scan::text(bytes.trim_ascii()).into_owned();
    Some((text(node), text(zone)))
}

/// Reads `protection: (A, B, ...)`.
fn sample_protections(
    families: &mut FamilyCache,
    line: &[u8],
    labels: [&str; 2],
    sink: &mut dyn Sink,
) -> Option<()> {
    let (_, numbers) = scan::split_once(line, b'(')?;
    let (numbers, _) = scan::split_once(numbers, b')')?;
    for (at, number) in numbers.split(|byte| *byte == b',').enumerate() {
        let value = scan::number(number.trim_ascii())? as f64;
        let family = families.get(&at.to_string(), || {
            let family = Family::dynamic(
                format!("node_zoneinfo_protection_{at}"),
                format!("Protection array {at}. field"),
                MetricType::Gauge,
            );
            Some(family.with_labels(ZONE))
        });
        if let Some(family) = family {
            sink.sample(family, &labels, value);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_headings() {
        let of = |node: &str, zone: &str| Some((node.to_owned(), zone.to_owned()));
        assert_eq!(parse_heading(b"Node 0, zone      DMA"), of("0", "DMA"));
        assert_eq!(parse_heading(b"Node 12, zone Normal"), of("12", "Normal"));
        for other in ["  pages free 1", "Node 0", "Node 0, DMA"] {
            assert_eq!(parse_heading(other.as_bytes()), None, "{other}");
        }
    }
}
