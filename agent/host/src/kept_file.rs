//! Files that the kernel writes anew at each reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::CollectError;
use crate::scan;

/// The most that is read of any file; `/proc/cpuinfo` of 1,000 CPUs is 1.5 MB.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// A buffer starts with a page: seq files fill what they are given, in one call where it fits.
const BUFFER_BYTES: usize = 4 << 10;

const NOT_AT_ALL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A file of procfs or sysfs, kept open and read from its start each time.
///
/// Not for files that are replaced (`os-release`): a kept descriptor would go on reading the old one.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

/// What a file held, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) bytes: &'a [u8],
    path: &'a Path,
}

impl<'a> Content<'a> {
    pub(crate) fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        scan::lines(self.bytes)
    }

    /// Returns the one number that the file holds.
    pub(crate) fn number(self) -> Result<f64, CollectError> {
        scan::float(self.bytes.trim_ascii()).ok_or_else(|| self.without("a number"))
    }

    /// Returns the error for content that is not `expected`.
    pub(crate) fn without(self, expected: &'static str) -> CollectError {
        CollectError::parse(self.path, expected)
    }
}

impl KeptFile {
    /// Opens nothing yet.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file; the bytes stay until the next reading. A failed read closes it, so that the next one opens it anew.
    pub(crate) fn read(&mut self) -> Result<Content<'_>, CollectError> {
        match self.fill() {
            Ok(len) => Ok(Content {
                bytes: self.buffer.get(..len).unwrap_or_default(),
                path: &self.path,
            }),
            Err(source) => {
                self.file = None;
                Err(CollectError::read(&self.path, source))
            }
        }
    }

    /// Returns whether the kernel has nothing new to show since the file was opened or this last returned `false`.
    ///
    /// Only files of procfs that can be polled (`mountinfo`) say so; of all others, and before the first reading, it is `false`.
    pub(crate) fn is_unchanged(&self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let news = PollFlags::ERR | PollFlags::PRI;
        let mut polled = [PollFd::new(file, PollFlags::PRI)];
        let is_of_procfs = fstatfs(file).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC);
        is_of_procfs
            && poll(&mut polled, Some(&NOT_AT_ALL)).is_ok()
            && polled.iter().all(|file| !file.revents().intersects(news))
    }

    fn fill(&mut self) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        fill_from(&mut self.buffer, |buffer, at| file.read_at(buffer, at))
    }
}

/// Reads a file that may be replaced between two readings.
pub(crate) fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut buffer = Vec::new();
    let len = fill_from(&mut buffer, |buffer, at| file.read_at(buffer, at))?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Returns how many bytes at the start of `buffer` were read; the buffer grows, up to [`FILE_BYTES_MAX`], and never shrinks.
fn fill_from(
    buffer: &mut Vec<u8>,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut len = 0;
    loop {
        if len == buffer.len() {
            if len >= FILE_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    format!("it has more than {FILE_BYTES_MAX} bytes"),
                ));
            }
            buffer.resize((len * 2).clamp(BUFFER_BYTES, FILE_BYTES_MAX), 0);
        }
        let room = buffer.get_mut(len..).unwrap_or_default();
        match read_at(room, len as u64) {
            Ok(0) => return Ok(len),
            Ok(more) => len += more.min(room.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_shows_new_content_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stat");
        std::fs::write(&path, vec![b'a'; 10_000]).unwrap();
        let mut kept = KeptFile::new(path.clone());
        assert_eq!(kept.read().unwrap().bytes, vec![b'a'; 10_000]);
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(kept.read().unwrap().bytes, b"short");
    }

    #[test]
    fn only_a_list_of_mounts_says_that_it_is_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"x").unwrap();
        let mut plain = KeptFile::new(dir.path().join("file"));
        plain.read().unwrap();
        assert!(!plain.is_unchanged());
        let mut mounts = KeptFile::new(PathBuf::from("/proc/self/mountinfo"));
        assert!(!mounts.is_unchanged());
        if mounts.read().is_ok() {
            // Others may mount at this moment, but not all the time.
            assert!((0..100).any(|_| mounts.is_unchanged()));
        }
    }

    #[test]
    fn a_missing_file_is_found_when_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let mut kept = KeptFile::new(path.clone());
        assert!(kept.read().unwrap_err().is_missing());
        std::fs::write(&path, b"here").unwrap();
        assert_eq!(kept.read().unwrap().bytes, b"here");
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let endless = fill_from(&mut Vec::new(), |buffer, _| {
            buffer.fill(b'x');
            Ok(buffer.len())
        });
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
