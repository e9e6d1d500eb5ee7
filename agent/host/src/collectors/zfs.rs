//! ZFS: `spl/kstat/zfs`, its caches, and its pools.

use std::path::Path;

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::FamilyCache;
use crate::folder::Folder;
use crate::host::Moment;
use crate::kept_file::read_once;
use crate::{Family, Paths, Sink, scan};

/// Files, and what the names of their metrics begin with. Which of them there are differs by version.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "zfs_abd"),
    ("arcstats", "zfs_arc"),
    ("dbufstats", "zfs_dbuf"),
    ("dmu_tx", "zfs_dmu_tx"),
    ("dnodestats", "zfs_dnode"),
    ("fm", "zfs_fm"),
    ("vdev_cache_stats", "zfs_vdev_cache"),
    ("vdev_mirror_stats", "zfs_vdev_mirror"),
    ("xuio_stats", "zfs_xuio"),
    ("zfetchstats", "zfs_zfetch"),
    ("zil", "zfs_zil"),
];

static STATE: Family = Family::gauge(
    "node_zfs_zpool_state",
    "kstat.zfs.misc.state",
    &["zpool", "state"],
);
const STATES: [&str; 7] = [
    "online",
    "degraded",
    "faulted",
    "offline",
    "removed",
    "unavail",
    "suspended",
];

/// The types of named statistics that are numbers of 64 bits; those of the others differ in what they mean.
const INT64: &[u8] = b"3";
const UINT64: &[u8] = b"4";

/// The first line of a table of named statistics, and of one of columns.
const NAMED: [&[u8]; 3] = [b"name", b"type", b"data"];
const FIRST_COLUMN: &[u8] = b"nread";
const COLUMNS_MIN: usize = 12;

#[derive(Debug)]
pub(super) struct Zfs {
    folder: Folder,
    families: FamilyCache,
}

impl Zfs {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            folder: Folder::new(paths.procfs.join("spl/kstat/zfs")),
            families: FamilyCache::default(),
        }
    }

    fn sample_pool(&mut self, pool: &Folder, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let name = &*pool.name();
        for file in pool.entries()? {
            let path = pool.path().join(&file);
            match file.as_str() {
                "io" => self.sample_columns(name, &path, sink)?,
                "state" => sample_state(name, &path, sink)?,
                file if file.starts_with("objset-") => self.sample_dataset(name, &path, sink)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sample_file(
        &mut self,
        file: &str,
        prefix: &str,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let path = self.folder.path().join(file);
        let bytes = match read(&path) {
            Err(error) if error.is_missing() => return Ok(()),
            read => read?,
        };
        for_named(&bytes, |name, kind, value| {
            if kind == UINT64 || kind == INT64 {
                let number = scan::integer(value)?;
                self.sample(prefix, file, name, &[], &[], number, sink);
            }
            Some(())
        })
        .ok_or_else(|| CollectError::parse(&path, "a table of names, types and numbers"))
    }

    /// The name of a dataset stands among its numbers, before them.
    fn sample_dataset(
        &mut self,
        pool: &str,
        path: &Path,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let bytes = read(path)?;
        let mut dataset = String::new();
        for_named(&bytes, |name, kind, value| {
            if name == b"dataset_name" {
                dataset = scan::text(value).into_owned();
            } else if kind == UINT64 {
                let number = scan::integer(value)?;
                let (labels, values) = (&["zpool", "dataset"], [pool, &*dataset]);
                self.sample(
                    "zfs_zpool_dataset",
                    "objset",
                    name,
                    labels,
                    &values,
                    number,
                    sink,
                );
            }
            Some(())
        })
        .ok_or_else(|| CollectError::parse(path, "a table of names, types and numbers"))
    }

    fn sample_columns(
        &mut self,
        pool: &str,
        path: &Path,
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        let bytes = read(path)?;
        let is_heading = |line: &&[u8]| {
            scan::words(line).next() == Some(FIRST_COLUMN)
                && scan::words(line).count() >= COLUMNS_MIN
        };
        let mut lines = scan::lines(&bytes).skip_while(|line| !is_heading(line));
        let heading = lines.next().unwrap_or_default();
        for line in lines {
            let mut numbers = scan::words(line);
            for name in scan::words(heading) {
                let number = numbers
                    .next()
                    .and_then(scan::integer)
                    .ok_or_else(|| CollectError::parse(path, "a number in each column"))?;
                self.sample("zfs_zpool", "io", name, &["zpool"], &[pool], number, sink);
            }
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what a name is made of, and what is sampled"
    )]
    fn sample(
        &mut self,
        prefix: &str,
        file: &str,
        name: &[u8],
        labels: &'static [&'static str],
        values: &[&str],
        number: f64,
        sink: &mut dyn Sink,
    ) {
        let name = scan::text(name);
        let family = self.families.get(&format!("{prefix} {name}"), || {
            // A statistic may be called by a path of words.
            let last = name.rsplit('.').next().unwrap_or_default();
            let family = Family::dynamic(
                format!("node_{prefix}_{}", last.replace('-', "_")),
                format!("kstat.zfs.misc.{file}.{name}"),
                MetricType::Unknown,
            );
            Some(family.with_labels(labels))
        });
        if let Some(family) = family {
            sink.sample(family, values, number);
        }
    }
}

impl Collector for Zfs {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let pools = self
            .folder
            .folders()
            .map_err(|error| error.missing_as("there is no ZFS"))?;
        for (file, prefix) in FILES {
            self.sample_file(file, prefix, sink)?;
        }
        for pool in pools {
            self.sample_pool(&pool, sink)?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CollectError> {
    read_once(path).map_err(|error| CollectError::read(path, error))
}

fn sample_state(pool: &str, path: &Path, sink: &mut dyn Sink) -> Result<(), CollectError> {
    let bytes = read(path)?;
    let state = scan::text(bytes.trim_ascii()).to_lowercase();
    for known in STATES {
        sink.sample(&STATE, &[pool, known], f64::from(u8::from(known == state)));
    }
    Ok(())
}

/// Calls `take` with name, type and value of each named statistic; a value may have blanks inside.
fn for_named(bytes: &[u8], mut take: impl FnMut(&[u8], &[u8], &[u8]) -> Option<()>) -> Option<()> {
    let mut lines = scan::lines(bytes).skip_while(|line| !scan::words(line).eq(NAMED));
    lines.next()?;
    for line in lines {
        let mut words = scan::words(line);
        let (Some(name), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        // The words are parts of the line, so what follows the second is its rest.
        let rest = line
            .trim_ascii_start()
            .get(name.len()..)?
            .trim_ascii_start();
        let value = rest.get(kind.len()..)?.trim_ascii();
        if !value.is_empty() {
            take(name, kind, value)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_statistics_begin_below_their_heading() {
        let text = b"12 1 0x01\nname type data\nhits  4  7\ndataset_name 7 a  b c\nodd\nempty 4\n";
        let mut seen = Vec::new();
        let done = for_named(text, |name, kind, value| {
            seen.push(
                [name, kind, value]
                    .map(|word| scan::text(word).into_owned())
                    .join("|"),
            );
            Some(())
        });
        assert_eq!(done, Some(()));
        assert_eq!(seen, ["hits|4|7", "dataset_name|7|a  b c"]);
        assert_eq!(for_named(b"hits 4 7", |_, _, _| Some(())), None);
        assert_eq!(for_named(b"name type data\nhits 4 x", |_, _, _| None), None);
    }
}
