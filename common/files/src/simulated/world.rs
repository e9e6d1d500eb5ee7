//! The folders of a simulated disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::faults::{Faults, Operation};
use super::inode::{BLOCK_BYTES, Inode, SharedInode};
use super::lock;
use super::random::Random;
use crate::layer::Create;
use crate::{Entry, Open, Space};

/// What an unlimited disk says its size is.
const TOTAL_BYTES: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct World {
    folders: BTreeMap<PathBuf, Folder>,
    used_blocks: Arc<AtomicU64>,
    pub(super) capacity: Option<u64>,
    pub(super) faults: Faults,
    life: u64,
    handles: u64,
}

/// The files of one folder. Folders in it are found by their paths.
#[derive(Debug, Default)]
struct Folder {
    now: BTreeMap<OsString, SharedInode>,
    durable: BTreeMap<OsString, SharedInode>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Link(OsString, SharedInode),
    Unlink(OsString),
    Rename(OsString, OsString),
}

impl Default for World {
    fn default() -> Self {
        let roots = [PathBuf::new(), PathBuf::from("/")];
        Self {
            folders: roots.map(|root| (root, Folder::default())).into(),
            used_blocks: Arc::default(),
            capacity: None,
            faults: Faults::default(),
            life: 0,
            handles: 0,
        }
    }
}

impl World {
    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<(SharedInode, u64)> {
        let (folder, name) = split(path)?;
        let verdict = self.faults.judge(Operation::Open)?;
        let used_blocks = Arc::clone(&self.used_blocks);
        if self.folders.contains_key(&folder.join(name)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let folder = self.folder(&folder)?;
        let inode = match (folder.now.get(name), how.create) {
            (Some(_), Create::New) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), Create::Never | Create::IfMissing) => Ok(Arc::clone(inode)),
            (None, Create::Never) => Err(io::ErrorKind::NotFound.into()),
            (None, Create::IfMissing | Create::New) => {
                let inode = Inode::new(&used_blocks);
                folder.change(Change::Link(name.to_owned(), Arc::clone(&inode)));
                Ok(inode)
            }
        };
        verdict.conclude(inode.map(|inode| (inode, self.life)))
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<SharedInode> {
        self.check_power()?;
        let (folder, name) = split(path)?;
        let inode = self.folder(&folder)?.now.get(name);
        inode
            .map(Arc::clone)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn exists(&mut self, path: &Path) -> io::Result<bool> {
        self.check_power()?;
        let path = normal(path)?;
        Ok(self.folders.contains_key(&path) || self.find(&path).is_ok())
    }

    pub(super) fn list(&mut self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.faults.judge(Operation::List)?;
        let path = normal(folder)?;
        let files = self.folder(&path)?.now.iter().map(|(name, inode)| Entry {
            name: name.clone(),
            folder: false,
            len: lock(inode).len(),
        });
        let mut entries: Vec<Entry> = files.collect();
        entries.extend(self.children(&path).map(|name| Entry {
            name: name.to_owned(),
            folder: true,
            len: 0,
        }));
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((folder, from), (target, to)) = (split(from)?, split(to)?);
        if folder != target {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let verdict = self.faults.judge(Operation::Rename)?;
        let folder = self.folder(&folder)?;
        if !folder.now.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if from != to {
            if let Some(replaced) = folder.now.get(to) {
                lock(replaced).unlinked();
            }
            folder.change(Change::Rename(from.to_owned(), to.to_owned()));
        }
        verdict.conclude(Ok(()))
    }

    pub(super) fn rename_folder(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from)?, normal(to)?);
        if from.parent() != to.parent() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let verdict = self.faults.judge(Operation::Rename)?;
        self.folder(&from)?;
        if self.folders.contains_key(&to) || self.find(&to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let paths: Vec<PathBuf> = self.folders.keys().cloned().collect();
        for path in paths {
            if let Ok(within) = path.strip_prefix(&from)
                && let Some(folder) = self.folders.remove(&path)
            {
                // Joining nothing would add a slash.
                let at = if within.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(within)
                };
                self.folders.insert(at, folder);
            }
        }
        verdict.conclude(Ok(()))
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (target, name) = split(to)?;
        let verdict = self.faults.judge(Operation::Link)?;
        let inode = self.find(from)?;
        if self.folders.contains_key(&target.join(name)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let folder = self.folder(&target)?;
        if folder.now.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        lock(&inode).linked();
        folder.change(Change::Link(name.to_owned(), inode));
        verdict.conclude(Ok(()))
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = split(path)?;
        let verdict = self.faults.judge(Operation::Remove)?;
        let folder = self.folder(&folder)?;
        let Some(inode) = folder.now.get(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        lock(inode).unlinked();
        folder.change(Change::Unlink(name.to_owned()));
        verdict.conclude(Ok(()))
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        let path = normal(folder)?;
        let verdict = self.faults.judge(Operation::SyncFolder)?;
        if !self.faults.power_is_cut() {
            let folder = self.folder(&path)?;
            for change in folder.unsynced.drain(..) {
                change.apply(&mut folder.durable);
            }
        }
        verdict.conclude(Ok(()))
    }

    pub(super) fn create_folders(&mut self, folder: &Path) -> io::Result<()> {
        let path = normal(folder)?;
        let verdict = self.faults.judge(Operation::CreateFolders)?;
        for ancestor in path.ancestors() {
            if let (Ok((parent, name)), false) =
                (split(ancestor), self.folders.contains_key(ancestor))
                && let Some(parent) = self.folders.get(&parent)
                && parent.now.contains_key(name)
            {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            self.folders.entry(ancestor.to_owned()).or_default();
        }
        verdict.conclude(Ok(()))
    }

    pub(super) fn remove_folder(&mut self, folder: &Path) -> io::Result<()> {
        let path = normal(folder)?;
        let verdict = self.faults.judge(Operation::Remove)?;
        let empty = self.folder(&path)?.now.is_empty() && self.children(&path).next().is_none();
        if !empty {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.folders.remove(&path);
        verdict.conclude(Ok(()))
    }

    pub(super) fn space(&self, path: &Path) -> io::Result<Space> {
        self.check_power()?;
        normal(path)?;
        let total_bytes = self.capacity.unwrap_or(TOTAL_BYTES);
        Ok(Space {
            total_bytes,
            free_bytes: total_bytes.saturating_sub(self.used_bytes()),
        })
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_blocks.load(Ordering::Relaxed) * BLOCK_BYTES
    }

    pub(super) fn free_blocks(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| {
            capacity.saturating_sub(self.used_bytes()) / BLOCK_BYTES
        })
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    pub(super) fn check_life(&self, life: u64) -> io::Result<()> {
        if life == self.life {
            self.check_power()
        } else {
            Err(io::Error::other(
                "the process that opened this file is dead",
            ))
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.faults.power_is_cut() {
            return Err(io::Error::other("the power is cut"));
        }
        Ok(())
    }

    pub(super) fn end_life(&mut self) {
        self.life += 1;
        for folder in self.folders.values() {
            for inode in folder.now.values() {
                lock(inode).free_lock();
            }
        }
    }

    pub(super) fn crash(&mut self, seed: u64) {
        let mut random = Random::seeded(seed);
        self.end_life();
        self.faults.clear();
        for folder in self.folders.values() {
            for inode in folder.now.values().chain(folder.durable.values()) {
                lock(inode).forget_names();
            }
        }
        for folder in self.folders.values_mut() {
            let kept = random.up_to(folder.unsynced.len());
            for change in folder.unsynced.drain(..).take(kept) {
                change.apply(&mut folder.durable);
            }
            folder.now.clone_from(&folder.durable);
            for inode in folder.now.values() {
                lock(inode).crash(&mut random);
            }
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders
            .get_mut(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The names of the folders in `path`.
    fn children<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a OsStr> {
        let children = self
            .folders
            .keys()
            .filter(move |child| child.parent() == Some(path));
        children.filter_map(|child| child.file_name())
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<OsString, SharedInode>) {
        match self {
            Self::Link(name, inode) => {
                entries.insert(name.clone(), Arc::clone(inode));
            }
            Self::Unlink(name) => {
                entries.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = entries.remove(from) {
                    entries.insert(to.clone(), inode);
                }
            }
        }
    }
}

/// The folder and the name of `path`.
fn split(path: &Path) -> io::Result<(PathBuf, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((normal(folder)?, name))
}

/// `path` without `.`; `..` is refused.
fn normal(path: &Path) -> io::Result<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = path.components().filter(|part| *part != Component::CurDir);
    Ok(parts.collect())
}
