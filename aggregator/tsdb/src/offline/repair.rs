//! Making a damaged folder usable again, as far as its files can be read. Nothing is removed: what is damaged is set aside.
//!
//! In this order, so that a crash in between leaves a folder that can be repaired once more:
//! 1. For each partition that is damaged, what is readable of it is written to a new file beside it, synced.
//! 2. The catalogue names the new files instead of the damaged ones, and no longer those that are missing or have nothing readable. A
//!    catalogue that cannot be read is set aside and made anew from the headers of all partition files: the log is replayed from its
//!    beginning, and only numbers of batches that are still in the log count as durable, so that agents send again whatever else they
//!    still have. Deletes that no merge has carried out are forgotten, for they stood in the catalogue alone. What is then stored twice is one sample to queries.
//! 3. Damaged partition files get the extension `damaged`.
//!
//! A file that the operating system does not give, or that a later program wrote, is left as it is, and an error when all others are
//! repaired: nothing is known to be lost of it.
//!
//! The log is not touched: replay leaves out what is damaged in it, and keeps the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rows::StoreId;

use super::log::{Found, LogWalk};
use super::{DAMAGED, Damages, Offline};
use crate::catalogue::{Catalogue, Contents, Level, PartitionEntry, Tier};
use crate::partition::{Partition, PartitionError, PartitionKey, PartitionSummary};
use crate::querier::with_sources;
use crate::report::Damage;
use crate::tier::{BEREFT, bereave};
use crate::tsdb::{LOG_FOLDER, OpenError, PARTITION_FOLDER, new_store_id};

/// What a repair does, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAction {
    /// The catalogue is made anew.
    RebuildCatalogue {
        /// What is wrong with the present one.
        why: String,
        /// Partition files that the new one names.
        partitions: u64,
        /// Whether the identity of the store was found in the log; otherwise it gets a new one, and agents take it for another.
        same_store: bool,
    },
    /// What is readable of a partition goes to a new file, and the old one is set aside.
    Rewrite {
        /// The damaged file.
        file: String,
        /// The new file.
        into: String,
        /// Samples that it keeps.
        samples: u64,
        /// Samples that its header speaks of and that are not readable.
        lost: u64,
    },
    /// Nothing of a partition is readable: it is set aside.
    SetAside {
        /// The file.
        file: String,
        /// Why it cannot be read.
        why: String,
    },
    /// The catalogue no longer names a file that is missing.
    Forget {
        /// The file.
        file: String,
        /// Samples that the catalogue speaks of.
        samples: u64,
    },
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// In order; none: the folder needs no repair.
    pub actions: Vec<RepairAction>,
    /// What the damage is, the first thousand places.
    pub damages: Vec<Damage>,
    /// All damages, listed or not.
    pub damage_count: u64,
}

impl Offline {
    /// Repairs the folder; without `apply` it only says what it would do.
    pub fn repair(&self, apply: bool) -> Result<RepairReport, OpenError> {
        let mut damages = Damages::default();
        let mut actions = Vec::new();
        let present = self.partition_files()?;
        let read = self.read_catalogue()?;
        let rebuilt = read.is_err();
        let mut contents = match read {
            Ok(contents) => contents,
            Err(why) => {
                let (contents, same_store) = self.rebuilt()?;
                actions.push(RepairAction::RebuildCatalogue {
                    why,
                    partitions: contents.partitions.len() as u64,
                    same_store,
                });
                contents
            }
        };
        let mut aside: Vec<String> = Vec::new();
        let mut failed = None;
        if rebuilt {
            // Files without a readable header are in no catalogue.
            for name in present
                .iter()
                .filter(|name| !contents.partitions.contains_key(*name))
            {
                let path = self.partition_path(name);
                let why = match Partition::peek(&*self.files, &path) {
                    Ok(_) => String::new(),
                    Err(error) if error.is_damage() => with_sources(&error),
                    Err(error) => return Err(out_of_reach(&path, &error)),
                };
                aside.push(name.clone());
                actions.push(RepairAction::SetAside {
                    file: name.clone(),
                    why,
                });
            }
        }
        for (name, entry) in contents.partitions.clone() {
            if !present.contains(&name) {
                contents.partitions.remove(&name);
                bereave(contents.partitions.values_mut(), &entry);
                actions.push(RepairAction::Forget {
                    file: name,
                    samples: entry.samples,
                });
                continue;
            }
            let action = match self.repair_partition(&name, apply, &mut damages) {
                Ok(None) => continue,
                Ok(Some(action)) => action,
                // The others are repaired all the same.
                Err(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
            };
            let Some(entry) = contents.partitions.remove(&name) else {
                continue;
            };
            let mut is_whole = false;
            if let RepairAction::Rewrite {
                into,
                samples,
                lost,
                ..
            } = &action
            {
                is_whole = *lost == 0;
                let path = self.partition_path(into);
                let bytes = if apply {
                    self.files
                        .len(&path)
                        .map_err(OpenError::io("measure partition", &path))?
                } else {
                    0
                };
                let samples = match entry.tier {
                    Tier::Raw => *samples,
                    // Of a tier it is how many it sums up.
                    _ if is_whole || entry.class.starts_with(BEREFT) => entry.samples,
                    // None, and it is made anew of the samples.
                    _ => 0,
                };
                let entry = PartitionEntry {
                    bytes,
                    samples,
                    ..entry.clone()
                };
                contents.partitions.insert(into.clone(), entry);
            }
            if !is_whole {
                bereave(contents.partitions.values_mut(), &entry);
            }
            aside.push(name);
            actions.push(action);
        }
        if apply && !actions.is_empty() {
            self.commit(contents, rebuilt)?;
            let folder = self.folder.join(PARTITION_FOLDER);
            for name in &aside {
                let path = folder.join(name);
                self.set_aside(&path)?;
            }
            self.files
                .sync_folder(&folder)
                .map_err(OpenError::io("sync folder", &folder))?;
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(RepairReport {
            actions,
            damages: damages.listed,
            damage_count: damages.count,
        })
    }

    /// Reads a partition; when it is damaged, writes what is readable of it beside it.
    fn repair_partition(
        &self,
        name: &str,
        apply: bool,
        damages: &mut Damages,
    ) -> Result<Option<RepairAction>, OpenError> {
        let path = self.partition_path(name);
        let mut damaged = |error: &PartitionError| {
            damages.add(Damage {
                file: path.clone(),
                offset: 0,
                what: with_sources(error),
            });
        };
        let partition = match Partition::open(&*self.files, &path, &self.cache) {
            Ok(partition) => partition,
            Err(error) if !error.is_damage() => return Err(out_of_reach(&path, &error)),
            Err(error) => {
                damaged(&error);
                let why = with_sources(&error);
                return Ok(Some(RepairAction::SetAside {
                    file: name.to_owned(),
                    why,
                }));
            }
        };
        let mut whole = true;
        let mut unread = None;
        let verified = partition.verify(&mut |error| {
            whole = false;
            if error.is_of_the_file() {
                damaged(&error);
            } else {
                unread.get_or_insert(error);
            }
        });
        // What a failing disk does not give now is not lost.
        if let Some(error) = unread {
            return Err(out_of_reach(&path, &error));
        }
        if whole {
            return Ok(None);
        }
        if verified.samples == 0 {
            let why = "no sample of it is readable".to_owned();
            return Ok(Some(RepairAction::SetAside {
                file: name.to_owned(),
                why,
            }));
        }
        let into = format!("{}-repaired.redb", name.trim_end_matches(".redb"));
        let mut samples = verified.samples;
        if apply {
            let failed = |error: PartitionError| OpenError::Io {
                attempted: "write the repaired partition",
                path: self.partition_path(&into),
                source: std::io::Error::other(with_sources(&error)),
            };
            let new = self.partition_path(&into);
            self.remove_if_there(&new)?;
            let mut unread = None;
            let mut lost = |error: PartitionError| {
                if !error.is_of_the_file() {
                    unread.get_or_insert(error);
                }
            };
            let summary = partition.salvage(&*self.files, &new, &mut lost);
            if let Some(error) = unread {
                self.remove_if_there(&new)?;
                return Err(out_of_reach(&path, &error));
            }
            let summary = summary.map_err(failed)?;
            samples = summary.map_or(0, |summary| summary.samples);
        }
        Ok(Some(RepairAction::Rewrite {
            file: name.to_owned(),
            into,
            samples,
            lost: partition.summary().samples.saturating_sub(samples),
        }))
    }

    /// Returns what a catalogue would say that knows nothing but the partition files and the log, and whether the store's identity was
    /// found.
    fn rebuilt(&self) -> Result<(Contents, bool), OpenError> {
        let log = LogWalk {
            files: &self.files,
            folder: self.folder.join(LOG_FOLDER),
            store_id: None,
        };
        let store_id = log.written_by()?;
        let mut partitions: BTreeMap<String, (PartitionKey, PartitionSummary)> = BTreeMap::new();
        for name in self.partition_files()? {
            let path = self.partition_path(&name);
            match Partition::peek(&*self.files, &path) {
                Ok(found) => {
                    partitions.insert(name, found);
                }
                // It is set aside by whoever asked for this.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(out_of_reach(&path, &error)),
            }
        }
        let shards = partitions.values().map(|(key, _)| key.shard).max();
        let shards = shards.map_or(1, |last| last.saturating_add(1));
        let first = self.first_position(store_id)?;
        // All before the log's first record is in partitions or lost; all from there on is replayed. Without a log, positions go on
        // behind those of the partitions.
        let sealed = match first {
            Some(first) => first.saturating_sub(1),
            None => self.last_arrival(partitions.keys())?,
        };
        let entries = partitions.into_iter().map(|(name, (key, summary))| {
            let entry = entry_of(&name, &key, &summary, sealed);
            (name, entry)
        });
        let contents = Contents {
            partitions: entries.collect(),
            sealed: vec![sealed; usize::from(shards)],
            ..Contents::empty(store_id.unwrap_or_else(new_store_id), shards)
        };
        Ok((contents, store_id.is_some()))
    }

    /// Returns the position of the log's first readable record.
    fn first_position(&self, store_id: Option<StoreId>) -> Result<Option<u64>, OpenError> {
        let log = LogWalk {
            files: &self.files,
            folder: self.folder.join(LOG_FOLDER),
            store_id,
        };
        let mut first: Option<u64> = None;
        log.run(&mut |found| {
            if let Found::End(Some((from, _))) = found {
                first = Some(first.map_or(from, |first| first.min(from)));
            }
            Ok(())
        })?;
        Ok(first)
    }

    /// Returns the greatest position that a page of these files arrived at.
    fn last_arrival<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<u64, OpenError> {
        let mut last = 0;
        for name in names {
            let path = self.partition_path(name);
            if let Ok(partition) = Partition::open(&*self.files, &path, &self.cache) {
                last = last.max(partition.last_arrival());
            }
        }
        Ok(last)
    }

    fn commit(&self, contents: Contents, rebuilt: bool) -> Result<(), OpenError> {
        let path = Catalogue::path(&self.folder);
        let failed = |error: crate::catalogue::CatalogueError| OpenError::Catalogue {
            path: path.clone(),
            what: error.to_string(),
        };
        let (files, folder) = (std::sync::Arc::clone(&self.files), self.folder.clone());
        if rebuilt {
            let there = self
                .files
                .exists(&path)
                .map_err(OpenError::io("look for the catalogue", &path))?;
            if there {
                self.set_aside(&path)?;
            }
            Catalogue::create(files, folder, contents).map_err(failed)?;
            return Ok(());
        }
        let catalogue = Catalogue::open(files, folder).map_err(failed)?;
        let mut catalogue = catalogue.ok_or_else(|| OpenError::Catalogue {
            path: path.clone(),
            what: "it is missing".to_owned(),
        })?;
        catalogue.commit(contents).map_err(failed)
    }

    /// Gives a file the extension `damaged`; one that was set aside under that name before gives way to `damaged.1` and so on.
    fn set_aside(&self, path: &Path) -> Result<(), OpenError> {
        let name = |count: u32| -> PathBuf {
            let mut name = path.as_os_str().to_owned();
            if count > 0 {
                name.push(format!(".{count}"));
            }
            name.push(".");
            name.push(DAMAGED);
            name.into()
        };
        for aside in (0..1_000).map(name) {
            let taken = self
                .files
                .exists(&aside)
                .map_err(OpenError::io("look for file", &aside))?;
            if !taken {
                return self
                    .files
                    .rename(path, &aside)
                    .map_err(OpenError::io("set aside", path));
            }
        }
        let full = std::io::Error::other("a thousand of its name are set aside already");
        Err(OpenError::io("set aside", path)(full))
    }

    /// Removes what an earlier repair was writing when it was stopped.
    fn remove_if_there(&self, path: &Path) -> Result<(), OpenError> {
        match self.files.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(OpenError::io("remove file", path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the error for a file that is not damaged and cannot be read now, or by this program.
fn out_of_reach(path: &Path, error: &PartitionError) -> OpenError {
    OpenError::Io {
        attempted: "read partition",
        path: path.to_owned(),
        source: std::io::Error::other(with_sources(error)),
    }
}

/// Returns what a catalogue says of a file that only its header speaks of.
fn entry_of(
    name: &str,
    key: &PartitionKey,
    summary: &PartitionSummary,
    sealed: u64,
) -> PartitionEntry {
    let tier = Tier::of_name(name);
    PartitionEntry {
        shard: key.shard,
        times: summary.times,
        bytes: summary.bytes,
        samples: summary.samples,
        until: sealed,
        level: match tier {
            Tier::Raw => Level::Sealed,
            Tier::Minutes5 | Tier::Hour => Level::Day,
        },
        tier,
        // Nobody knows of what a tier was made: nothing else is to be made in its place of what is left of that.
        class: match tier {
            Tier::Raw => String::new(),
            Tier::Minutes5 | Tier::Hour => BEREFT.to_owned(),
        },
        deleted: 0,
    }
}
