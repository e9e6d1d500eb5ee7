//! Reading all of a data folder: every checksum, every record, every page.

use std::path::{Path, PathBuf};

use super::log::{Found, LogWalk};
use super::{Damages, Offline};
use crate::catalogue::{Catalogue, PartitionEntry, Tier};
use crate::partition::Partition;
use crate::querier::with_sources;
use crate::report::Damage;
use crate::tsdb::{LOG_FOLDER, OpenError};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The catalogue.
    Catalogue,
    /// A segment of the log.
    Segment,
    /// A partition.
    Partition,
    /// A partition file that the catalogue does not name: the next start removes it.
    Unnamed,
}

/// A file that was read from beginning to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFile {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Bytes read.
    pub bytes: u64,
    /// Records of a segment, series of a partition, partitions of a catalogue.
    pub items: u64,
    /// Its samples, as far as readable; of a downsampling tier its summaries, and the samples of histograms that it holds.
    pub samples: u64,
    /// Damaged places.
    pub damages: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Files read, the catalogue first, then the log, then partitions by name.
    pub files: Vec<CheckedFile>,
    /// The first thousand damages.
    pub damages: Vec<Damage>,
    /// All damages, listed or not.
    pub damage_count: u64,
    /// Bytes at the log's end that a crash left of a group that was never acknowledged: no damage.
    pub torn_bytes: u64,
}

impl Offline {
    /// Reads all of the folder; `progress` is told of each file when it is done. Damage is in the report.
    pub fn check(&self, progress: &mut dyn FnMut(&CheckedFile)) -> Result<CheckReport, OpenError> {
        let mut checking = Checking {
            report: CheckReport::default(),
            damages: Damages::default(),
            progress,
        };
        let path = Catalogue::path(&self.folder);
        let catalogue = self.read_catalogue()?;
        let bytes = self.files.len(&path).unwrap_or(0);
        match &catalogue {
            Ok(contents) => {
                let items = contents.partitions.len() as u64;
                checking.done(&path, FileKind::Catalogue, (bytes, items, 0), 0);
            }
            Err(what) => {
                checking.damaged(&path, 0, what.clone());
                checking.done(&path, FileKind::Catalogue, (bytes, 0, 0), 1);
            }
        }
        let store_id = catalogue.as_ref().ok().map(|contents| contents.store_id);
        self.check_log(store_id, &mut checking)?;
        let present = self.partition_files()?;
        for name in &present {
            let entry = catalogue
                .as_ref()
                .ok()
                .map(|contents| contents.partitions.get(name));
            self.check_partition(name, entry, &mut checking)?;
        }
        let named = catalogue.iter().flat_map(|contents| &contents.partitions);
        for (name, entry) in named.filter(|(name, _)| !present.contains(*name)) {
            let path = self.partition_path(name);
            let what = format!("the file is missing, and {} samples with it", entry.samples);
            checking.damaged(&path, 0, what);
            checking.done(&path, FileKind::Partition, (0, 0, 0), 1);
        }
        let Checking {
            mut report,
            damages,
            ..
        } = checking;
        report.damage_count = damages.count;
        report.damages = damages.listed;
        Ok(report)
    }

    fn check_log(
        &self,
        store_id: Option<rows::StoreId>,
        checking: &mut Checking<'_>,
    ) -> Result<(), OpenError> {
        let walk = LogWalk {
            files: &self.files,
            folder: self.folder.join(LOG_FOLDER),
            store_id,
        };
        let mut segment = (PathBuf::new(), 0);
        let (mut records, mut samples, mut before) = (0, 0, 0);
        walk.run(&mut |found| {
            match found {
                Found::Segment { path, bytes } => {
                    segment = (path.to_owned(), bytes);
                    (records, samples, before) = (0, 0, checking.damages.count);
                }
                Found::Damage(damage) => checking.damages.add(damage),
                Found::Torn(bytes) => checking.report.torn_bytes += bytes,
                Found::Definition(_) | Found::Other => records += 1,
                Found::Batch { batch, .. } => {
                    records += 1;
                    let rows = batch.rows.iter();
                    samples += rows.map(|row| row.row.presence.count() as u64).sum::<u64>()
                        + batch.samples.len() as u64;
                }
                Found::End(_) => {
                    let damages = checking.damages.count - before;
                    let (path, bytes) = &segment;
                    let sizes = (*bytes, records, samples);
                    checking.done(path, FileKind::Segment, sizes, damages);
                }
            }
            Ok(())
        })
    }

    /// Reads a partition file; `entry`: what the catalogue says of it, when there is one.
    fn check_partition(
        &self,
        name: &str,
        entry: Option<Option<&PartitionEntry>>,
        checking: &mut Checking<'_>,
    ) -> Result<(), OpenError> {
        let path = self.partition_path(name);
        let bytes = self
            .files
            .len(&path)
            .map_err(OpenError::io("measure partition", &path))?;
        if entry == Some(None) {
            checking.done(&path, FileKind::Unnamed, (bytes, 0, 0), 0);
            return Ok(());
        }
        let before = checking.damages.count;
        let mut verified = crate::partition::Verified::default();
        match Partition::open(&*self.files, &path, &self.cache) {
            Ok(partition) => {
                verified =
                    partition.verify(&mut |error| checking.damaged(&path, 0, with_sources(&error)));
                // Of a tier the catalogue says how many samples it sums up; how many summaries it has, its own header says.
                if let Some(Some(entry)) = entry
                    && entry.tier == Tier::Raw
                    && checking.damages.count == before
                    && entry.samples != verified.samples
                {
                    let what = format!(
                        "the catalogue speaks of {} samples, the file has {}",
                        entry.samples, verified.samples
                    );
                    checking.damaged(&path, 0, what);
                }
            }
            Err(error) => checking.damaged(&path, 0, with_sources(&error)),
        }
        let damages = checking.damages.count - before;
        let sizes = (bytes, verified.series, verified.samples);
        checking.done(&path, FileKind::Partition, sizes, damages);
        Ok(())
    }
}

struct Checking<'a> {
    report: CheckReport,
    damages: Damages,
    progress: &'a mut dyn FnMut(&CheckedFile),
}

impl Checking<'_> {
    fn damaged(&mut self, file: &Path, offset: u64, what: String) {
        self.damages.add(Damage {
            file: file.to_owned(),
            offset,
            what,
        });
    }

    fn done(
        &mut self,
        path: &Path,
        kind: FileKind,
        (bytes, items, samples): (u64, u64, u64),
        damages: u64,
    ) {
        let file = CheckedFile {
            path: path.to_owned(),
            kind,
            bytes,
            items,
            samples,
            damages,
        };
        (self.progress)(&file);
        self.report.files.push(file);
    }
}
