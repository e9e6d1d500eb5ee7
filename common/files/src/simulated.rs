//! Files in memory that behave like the worst disk which still keeps its promises.

mod faults;
mod inode;
mod random;
mod world;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Entry, File, FileSystem, Open, SharedFile, Space};

pub use faults::{Fault, Operation};
use inode::{Inode, SharedInode};
use world::World;

/// Files in memory with a disk's accidents; clones share them, so a test keeps one to cause accidents with.
///
/// * [`crash`](Self::crash): a power cut. Of what was not synced, each file keeps nothing, all, a torn prefix, or random sectors of
///   512 bytes (a seed decides), each folder a prefix of its unsynced entries. Handles die, locks are free.
/// * [`kill`](Self::kill): the death of the process. Handles die, locks are free, bytes stay.
/// * [`fail`](Self::fail): chosen operations fail. A sync that fails loses what it should have synced for good, even if a later one
///   succeeds, as on Linux.
/// * [`cut_power_in`](Self::cut_power_in): everything fails from the n-th change on, until `crash`: to try every crash point.
/// * [`set_capacity`](Self::set_capacity): the disk fills up, in blocks of 4096 bytes.
/// * [`flip_bit`](Self::flip_bit): rot.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    world: Arc<Mutex<World>>,
}

impl Simulated {
    /// Returns an empty disk without limits, faults, or folders other than the root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power and starts the machine again; `seed` decides which unsynced bytes and entries survive. Clears planned faults.
    pub fn crash(&self, seed: u64) {
        self.world().crash(seed);
    }

    /// Kills the process: its handles are dead and its locks free; every byte written stays.
    pub fn kill(&self) {
        self.world().end_life();
    }

    /// Lets the operations of this kind whose index, counted from now, is in `which` fail with `fault`.
    pub fn fail(&self, operation: Operation, which: Range<u64>, fault: Fault) {
        self.world().faults.plan(operation, which, fault);
    }

    /// Returns how many operations have failed as planned so far.
    pub fn faults_hit(&self) -> u64 {
        self.world().faults.hit()
    }

    /// Forgets all planned faults and gives power back without a crash.
    pub fn heal(&self) {
        self.world().faults.clear();
    }

    /// Cuts the power in the midst of the change (write, sync, rename, ...) with this index, counted from now: it may take effect, but
    /// it and all calls after it fail until [`crash`](Self::crash).
    pub fn cut_power_in(&self, change: u64) {
        self.world().faults.cut_power_in(change);
    }

    /// Returns how many changes were attempted so far: the range of crash points of a run.
    pub fn changes(&self) -> u64 {
        self.world().faults.changes()
    }

    /// Returns whether a cut announced by [`cut_power_in`](Self::cut_power_in) has come.
    pub fn power_is_cut(&self) -> bool {
        self.world().faults.power_is_cut()
    }

    /// Limits the disk to `bytes` (`None`: no limit). Files that exceed it already stay.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// Returns the bytes that files take, in whole blocks.
    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    /// Flips one bit of a file, on the disk and in memory alike. The file must exist and have that bit.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let inode = self.world().find(path)?;
        lock(&inode).flip_bit(bit)
    }

    /// Returns a file's bytes as a process sees them.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.world().find(path)?;
        Ok(lock(&inode).bytes().to_vec())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// A test that panicked with the lock held has failed already; what it left is as good as any crash.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileSystem for Simulated {
    fn open(&self, path: &Path, how: Open) -> io::Result<SharedFile> {
        let mut world = self.world();
        let (inode, life) = world.open(path, how)?;
        lock(&inode).opened();
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            inode,
            life,
            handle: world.next_handle(),
            writable: how.write,
        }))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let inode = self.world().find(path)?;
        let len = lock(&inode).len();
        Ok(len)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.world().exists(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.world().list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world().rename(from, to)
    }

    fn rename_folder(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world().rename_folder(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.world().link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.world().remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.world().sync_folder(folder)
    }

    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        self.world().create_folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.world().remove_folder(folder)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.world().space(path)
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    inode: SharedInode,
    /// The life of the process in which it was opened.
    life: u64,
    /// Names the handle to the file's lock.
    handle: u64,
    writable: bool,
}

impl SimulatedFile {
    /// Runs `work` unless the handle is dead, a fault is due, or the power is off; `work` learns whether to stop half-way.
    fn run<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Inode, &World, Progress) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = self.disk.world();
        world.check_life(self.life)?;
        if operation.needs_write() && !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let verdict = match world.faults.judge(operation) {
            Ok(verdict) => verdict,
            Err(error) => {
                if operation == Operation::SyncData {
                    lock(&self.inode).lose_unsynced();
                }
                return Err(error);
            }
        };
        let progress = match verdict {
            faults::Verdict::Short => Progress::Half,
            faults::Verdict::Go | faults::Verdict::LastBreath => Progress::Whole,
        };
        let result = work(&mut lock(&self.inode), &world, progress);
        verdict.conclude(result)
    }
}

/// How far a write gets before a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Whole,
    Half,
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let world = self.disk.world();
        world.check_life(self.life)?;
        Ok(lock(&self.inode).len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.run(Operation::Read, |inode, _, _| Ok(inode.read(offset, out)))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.run(Operation::Write, |inode, world, progress| {
            let bytes = match progress {
                Progress::Whole => bytes,
                Progress::Half => &bytes[..bytes.len() / 2],
            };
            inode.write(offset, bytes, world.free_blocks())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(Operation::SetLen, |inode, _, _| {
            inode.set_len(len);
            Ok(())
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.run(Operation::Preallocate, |inode, world, _| {
            inode.preallocate(len, world.free_blocks())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(Operation::SyncData, |inode, world, _| {
            // A sync cut off by a power cut promised nothing.
            if !world.faults.power_is_cut() {
                inode.sync();
            }
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        let world = self.disk.world();
        world.check_life(self.life)?;
        Ok(lock(&self.inode).try_lock(self.handle))
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        lock(&self.inode).closed(self.handle);
    }
}
