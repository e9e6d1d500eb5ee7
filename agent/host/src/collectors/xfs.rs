//! Mounted XFS file systems: `fs/xfs/DEVICE/stats/stats`.

use super::Collector;
use crate::error::CollectError;
use crate::folder::{Folder, optional};
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{Family, Paths, Sink, scan};

/// A counter of a file system.
macro_rules! counter {
    ($name:literal, $help:literal) => {
        Family::counter(concat!("node_xfs_", $name, "_total"), $help, &["device"])
    };
}

/// By the word that a line starts with: the counters in the order of its numbers.
static LINES: [(&str, &[Family]); 8] = [
    (
        "extent_alloc",
        &[
            counter!(
                "extent_allocation_extents_allocated",
                "Number of extents allocated for a filesystem."
            ),
            counter!(
                "extent_allocation_blocks_allocated",
                "Number of blocks allocated for a filesystem."
            ),
            counter!(
                "extent_allocation_extents_freed",
                "Number of extents freed for a filesystem."
            ),
            counter!(
                "extent_allocation_blocks_freed",
                "Number of blocks freed for a filesystem."
            ),
        ],
    ),
    (
        "abt",
        &[
            counter!(
                "allocation_btree_lookups",
                "Number of allocation B-tree lookups for a filesystem."
            ),
            counter!(
                "allocation_btree_compares",
                "Number of allocation B-tree compares for a filesystem."
            ),
            counter!(
                "allocation_btree_records_inserted",
                "Number of allocation B-tree records inserted for a filesystem."
            ),
            counter!(
                "allocation_btree_records_deleted",
                "Number of allocation B-tree records deleted for a filesystem."
            ),
        ],
    ),
    (
        "blk_map",
        &[
            counter!(
                "block_mapping_reads",
                "Number of block map for read operations for a filesystem."
            ),
            counter!(
                "block_mapping_writes",
                "Number of block map for write operations for a filesystem."
            ),
            counter!(
                "block_mapping_unmaps",
                "Number of block unmaps (deletes) for a filesystem."
            ),
            counter!(
                "block_mapping_extent_list_insertions",
                "Number of extent list insertions for a filesystem."
            ),
            counter!(
                "block_mapping_extent_list_deletions",
                "Number of extent list deletions for a filesystem."
            ),
            counter!(
                "block_mapping_extent_list_lookups",
                "Number of extent list lookups for a filesystem."
            ),
            counter!(
                "block_mapping_extent_list_compares",
                "Number of extent list compares for a filesystem."
            ),
        ],
    ),
    (
        "bmbt",
        &[
            counter!(
                "block_map_btree_lookups",
                "Number of block map B-tree lookups for a filesystem."
            ),
            counter!(
                "block_map_btree_compares",
                "Number of block map B-tree compares for a filesystem."
            ),
            counter!(
                "block_map_btree_records_inserted",
                "Number of block map B-tree records inserted for a filesystem."
            ),
            counter!(
                "block_map_btree_records_deleted",
                "Number of block map B-tree records deleted for a filesystem."
            ),
        ],
    ),
    (
        "dir",
        &[
            counter!(
                "directory_operation_lookup",
                "Number of file name directory lookups which miss the operating systems directory name lookup cache."
            ),
            counter!(
                "directory_operation_create",
                "Number of times a new directory entry was created for a filesystem."
            ),
            counter!(
                "directory_operation_remove",
                "Number of times an existing directory entry was created for a filesystem."
            ),
            counter!(
                "directory_operation_getdents",
                "Number of times the directory getdents operation was performed for a filesystem."
            ),
        ],
    ),
    (
        "ig",
        &[
            counter!(
                "inode_operation_attempts",
                "Number of times the OS looked for an XFS inode in the inode cache."
            ),
            counter!(
                "inode_operation_found",
                "Number of times the OS looked for and found an XFS inode in the inode cache."
            ),
            counter!(
                "inode_operation_recycled",
                "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled."
            ),
            counter!(
                "inode_operation_missed",
                "Number of times the OS looked for an XFS inode in the cache, but did not find it."
            ),
            counter!(
                "inode_operation_duplicates",
                "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process."
            ),
            counter!(
                "inode_operation_reclaims",
                "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose."
            ),
            counter!(
                "inode_operation_attribute_changes",
                "Number of times the OS explicitly changed the attributes of an XFS inode."
            ),
        ],
    ),
    (
        "rw",
        &[
            counter!(
                "write_calls",
                "Number of write(2) system calls made to files in a filesystem."
            ),
            counter!(
                "read_calls",
                "Number of read(2) system calls made to files in a filesystem."
            ),
        ],
    ),
    (
        "vnodes",
        &[
            counter!(
                "vnode_active",
                "Number of vnodes not on free lists for a filesystem."
            ),
            counter!(
                "vnode_allocate",
                "Number of times vn_alloc called for a filesystem."
            ),
            counter!(
                "vnode_get",
                "Number of times vn_get called for a filesystem."
            ),
            counter!(
                "vnode_hold",
                "Number of times vn_hold called for a filesystem."
            ),
            counter!(
                "vnode_release",
                "Number of times vn_rele called for a filesystem."
            ),
            counter!(
                "vnode_reclaim",
                "Number of times vn_reclaim called for a filesystem."
            ),
            counter!(
                "vnode_remove",
                "Number of times vn_remove called for a filesystem."
            ),
        ],
    ),
];

#[derive(Debug)]
pub(super) struct Xfs {
    file_systems: Folder,
}

impl Xfs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            file_systems: Folder::new(paths.sysfs.join("fs/xfs")),
        }
    }
}

impl Collector for Xfs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for folder in optional(self.file_systems.folders())?.unwrap_or_default() {
            // Beside the file systems lies the sum of all, which has no folder of this name.
            let path = folder.path().join("stats/stats");
            if !path.exists() {
                continue;
            }
            let bytes = read_once(&path).map_err(|error| CollectError::read(&path, error))?;
            sample(&folder.name(), &bytes, sink)
                .ok_or_else(|| CollectError::parse(&path, "lines of a word and its numbers"))?;
        }
        Ok(())
    }
}

/// What a kernel does not count is 0.
fn sample(device: &str, bytes: &[u8], sink: &mut dyn Sink) -> Option<()> {
    for (start, counters) in &LINES {
        let line =
            scan::lines(bytes).find(|line| scan::words(line).next() == Some(start.as_bytes()));
        let mut numbers = scan::words(line.unwrap_or_default()).skip(1);
        for counter in *counters {
            let count = match numbers.next() {
                Some(word) => scan::number(word)?,
                None => 0,
            };
            sink.sample(counter, &[device], count as f64);
        }
    }
    Some(())
}
