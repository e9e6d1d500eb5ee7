//! The files of one cgroup, behind a trait that a map of bytes can stand in for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::layout::{Controller, Layout};

/// The most that is read of any file of a cgroup: `cgroup.procs` of 100,000 processes has less.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What most files fit into.
const BUFFER_BYTES: usize = 4 << 10;

/// A file that a cgroup may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupFile {
    /// In whose hierarchy it lies; of no importance on cgroup v2.
    pub controller: Controller,
    /// Its name.
    pub name: &'static str,
    /// Whether it is read often, or when there is no time: then it stays open. The kernel prints each of these in one piece, so that what
    /// leaves room in a buffer is all.
    pub(crate) is_kept: bool,
}

impl CgroupFile {
    pub(crate) const fn kept(controller: Controller, name: &'static str) -> Self {
        Self {
            controller,
            name,
            is_kept: true,
        }
    }

    pub(crate) const fn opened(controller: Controller, name: &'static str) -> Self {
        Self {
            controller,
            name,
            is_kept: false,
        }
    }
}

/// Where the files of a cgroup are read.
pub trait Files {
    /// Reads a whole file into `buffer`, from its start, and returns what it holds.
    fn read<'a>(&mut self, file: &CgroupFile, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]>;
}

/// Permission to keep descriptors open, shared by all cgroups. When it is used up, files are opened for each reading: slower, no less
/// right.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    free: Arc<AtomicUsize>,
}

/// One descriptor's share.
#[derive(Debug)]
struct Share(Arc<AtomicUsize>);

impl Descriptors {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            free: Arc::new(AtomicUsize::new(most)),
        }
    }

    fn take(&self) -> Option<Share> {
        let one_less = |free: usize| free.checked_sub(1);
        (self.free)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .ok()
            .map(|_| Share(Arc::clone(&self.free)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The folders of a cgroup, with the files among them that stay open.
#[derive(Debug)]
pub(crate) struct Folders {
    layout: Arc<Layout>,
    id: Arc<str>,
    descriptors: Descriptors,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    file: CgroupFile,
    handle: File,
    _share: Share,
}

impl Folders {
    /// Opens nothing yet.
    pub(crate) const fn new(layout: Arc<Layout>, id: Arc<str>, descriptors: Descriptors) -> Self {
        Self {
            layout,
            id,
            descriptors,
            open: Vec::new(),
        }
    }

    /// Closes all files, so that the next reading opens those that are there then.
    pub(crate) fn close(&mut self) {
        self.open.clear();
    }

    fn fill(&mut self, file: &CgroupFile, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if let Some(at) = self.open.iter().position(|open| open.file == *file) {
            let filled = self
                .open
                .get(at)
                .map(|open| fill(&open.handle, buffer, file.is_kept));
            if let Some(Ok(length)) = filled {
                return Ok(length);
            }
            // A file of a group that is gone says nothing more; one of the same name may have come.
            self.open.swap_remove(at);
        }
        let folder = self
            .layout
            .folder(file.controller, &self.id)
            .ok_or(io::ErrorKind::NotFound)?;
        let handle = File::open(folder.join(file.name))?;
        let length = fill(&handle, buffer, file.is_kept)?;
        if file.is_kept
            && let Some(share) = self.descriptors.take()
        {
            self.open.push(Open {
                file: *file,
                handle,
                _share: share,
            });
        }
        Ok(length)
    }
}

impl Files for Folders {
    fn read<'a>(&mut self, file: &CgroupFile, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        let length = self.fill(file, buffer)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }
}

/// Reads a file into `buffer` from its start and returns how many bytes that were; the buffer grows, up to [`FILE_BYTES_MAX`]. One that is
/// printed in one piece takes one read less.
fn fill(file: &File, buffer: &mut Vec<u8>, in_one_piece: bool) -> io::Result<usize> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= FILE_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("it has more than {FILE_BYTES_MAX} bytes"),
                ));
            }
            buffer.resize((length * 2).clamp(BUFFER_BYTES, FILE_BYTES_MAX), 0);
        }
        let room = buffer.get_mut(length..).unwrap_or_default();
        match file.read_at(room, length as u64) {
            Ok(more) => {
                length += more.min(room.len());
                if more == 0 || (in_one_piece && more < room.len()) {
                    return Ok(length);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a file once, whatever it is; `None` when that is not possible.
pub(crate) fn read_whole(path: &std::path::Path) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    let length = fill(&File::open(path).ok()?, &mut buffer, false).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_stay_open_while_the_budget_lasts_and_are_found_anew() {
        let root = tempfile::tempdir().unwrap();
        for id in ["a", "b"] {
            fs::create_dir(root.path().join(id)).unwrap();
            fs::write(root.path().join(id).join("cpu.stat"), "usage_usec 1\n").unwrap();
        }
        fs::write(root.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let layout = Arc::new(Layout::find(root.path()).unwrap());
        let descriptors = Descriptors::new(1);
        let folders = |id: &str| Folders::new(Arc::clone(&layout), id.into(), descriptors.clone());
        let (mut a, mut b) = (folders("/a"), folders("/b"));
        let file = CgroupFile::kept(Controller::Cpu, "cpu.stat");
        let mut buffer = Vec::new();
        for _ in 0..2 {
            assert_eq!(a.read(&file, &mut buffer).unwrap(), b"usage_usec 1\n");
            assert_eq!(b.read(&file, &mut buffer).unwrap(), b"usage_usec 1\n");
        }
        assert_eq!((a.open.len(), b.open.len()), (1, 0));
        fs::remove_dir_all(root.path().join("b")).unwrap();
        let gone = b.read(&file, &mut buffer).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        drop(a);
        assert_eq!(descriptors.free.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let endless = File::open("/dev/zero").unwrap();
        let error = fill(&endless, &mut Vec::new(), true).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
