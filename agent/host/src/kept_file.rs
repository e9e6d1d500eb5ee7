//! Files that the kernel writes anew at each reading.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Monotonic;
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

/// So long a file that was missing is not looked for: what a kernel has not it seldom gets.
const ABSENCE: Duration = Duration::from_secs(60);

/// A file of procfs or sysfs, kept open and read from its start each time.
///
/// Not for files that are replaced (`os-release`): a kept descriptor would go on reading the old one.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    pieces: Pieces,
    opened: Option<Opened>,
    /// Until when it is taken to be missing.
    absent_until: Option<Monotonic>,
    buffer: Vec<u8>,
}

/// How the kernel prints a file of procfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pieces {
    /// As a whole: what leaves room in the buffer is all.
    One,
    /// In records: a read ends before one that does not fit into the kernel's own buffer, so that only an empty read is the end.
    Many,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// Whether the kernel prints it, rather than that it lies on a disk.
    is_of_procfs: bool,
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
        Self::printed_in(Pieces::Many, path)
    }

    /// The same of a file that the kernel prints in one piece, which takes one read less: the settings below `sys`, and what the kernel's
    /// source opens by `single_open`.
    pub(crate) const fn in_one_piece(path: PathBuf) -> Self {
        Self::printed_in(Pieces::One, path)
    }

    const fn printed_in(pieces: Pieces, path: PathBuf) -> Self {
        Self {
            path,
            pieces,
            opened: None,
            absent_until: None,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file; the bytes stay until the next reading. A failed read closes it, so that the next one opens it anew.
    pub(crate) fn read(&mut self) -> Result<Content<'_>, CollectError> {
        let filled = self.fill();
        self.content(filled)
    }

    /// Reads the file like [`read`](Self::read); `None` when there is none, and for a minute from then on.
    pub(crate) fn read_if_there(
        &mut self,
        now: Monotonic,
    ) -> Result<Option<Content<'_>>, CollectError> {
        if self.absent_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        let filled = self.fill();
        let is_missing = matches!(&filled, Err(error) if error.kind() == io::ErrorKind::NotFound);
        self.absent_until = is_missing.then(|| now + ABSENCE);
        if is_missing {
            self.opened = None;
            return Ok(None);
        }
        self.content(filled).map(Some)
    }

    /// Returns whether the kernel has nothing new to show since the file was opened or this last returned `false`.
    ///
    /// Only files of procfs that can be polled (`mountinfo`) say so; of all others, and before the first reading, it is `false`.
    pub(crate) fn is_unchanged(&self) -> bool {
        let Some(opened) = &self.opened else {
            return false;
        };
        let news = PollFlags::ERR | PollFlags::PRI;
        let mut polled = [PollFd::new(&opened.file, PollFlags::PRI)];
        opened.is_of_procfs
            && poll(&mut polled, Some(&NOT_AT_ALL)).is_ok()
            && polled.iter().all(|file| !file.revents().intersects(news))
    }

    fn content(&mut self, filled: io::Result<usize>) -> Result<Content<'_>, CollectError> {
        match filled {
            Ok(len) => Ok(Content {
                bytes: self.buffer.get(..len).unwrap_or_default(),
                path: &self.path,
            }),
            Err(source) => {
                self.opened = None;
                Err(CollectError::read(&self.path, source))
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let Opened { file, is_of_procfs } = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(Opened::open(&self.path)?),
        };
        let ends = if self.pieces == Pieces::One && *is_of_procfs {
            Ends::Short
        } else {
            Ends::Empty
        };
        fill_from(&mut self.buffer, ends, |buffer, at| {
            file.read_at(buffer, at)
        })
    }
}

impl Opened {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let is_of_procfs = fstatfs(&file).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC);
        Ok(Self { file, is_of_procfs })
    }
}

/// Reads a file that may be replaced between two readings.
pub(crate) fn read_once(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut buffer = Vec::new();
    let len = fill_from(&mut buffer, Ends::Empty, |buffer, at| {
        file.read_at(buffer, at)
    })?;
    buffer.truncate(len);
    Ok(buffer)
}

/// Which read says that the end is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// One that leaves room in the buffer.
    Short,
    /// One that has nothing.
    Empty,
}

/// Returns how many bytes at the start of `buffer` were read; the buffer grows, up to [`FILE_BYTES_MAX`], and never shrinks.
fn fill_from(
    buffer: &mut Vec<u8>,
    ends: Ends,
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
            Ok(more) if ends == Ends::Short && more < room.len() => return Ok(len + more),
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
    fn a_missing_file_is_left_alone_for_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("late");
        let mut kept = KeptFile::new(path.clone());
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        assert!(kept.read_if_there(at(1)).unwrap().is_none());
        std::fs::write(&path, b"here").unwrap();
        assert!(kept.read_if_there(at(60)).unwrap().is_none());
        let content = kept.read_if_there(at(61)).unwrap();
        assert_eq!(content.expect("it is there").bytes, b"here");
        std::fs::write(&path, b"there").unwrap();
        let content = kept.read_if_there(at(62)).unwrap();
        assert_eq!(content.expect("it stays").bytes, b"there");
    }

    #[test]
    fn what_is_printed_in_one_piece_ends_where_room_is_left() {
        for len in [0, 1, 4_095, 4_096, 4_097, 8_192, 20_000] {
            let text: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0]).collect();
            // As the kernel does: as much as fits, from where it is asked.
            let mut reads = 0;
            let mut print = |buffer: &mut [u8], at: u64| {
                reads += 1;
                let rest = text.get(usize::try_from(at).unwrap()..).unwrap_or_default();
                let fits = rest.len().min(buffer.len());
                buffer[..fits].copy_from_slice(&rest[..fits]);
                Ok(fits)
            };
            let mut buffer = Vec::new();
            for _ in 0..2 {
                let filled = fill_from(&mut buffer, Ends::Short, &mut print).unwrap();
                assert_eq!(buffer[..filled], text, "{len}");
            }
            let first = fill_from(&mut Vec::new(), Ends::Short, &mut print).unwrap();
            assert_eq!(first, text.len());
            if len == 4_095 {
                assert_eq!(reads, 3, "one read each");
            }
        }
    }

    #[test]
    fn files_of_this_kernel_in_one_piece_are_read_to_their_end() {
        for name in ["loadavg", "meminfo", "net/snmp", "net/netstat", "stat"] {
            let path = Path::new("/proc").join(name);
            let Ok(text) = std::fs::read(&path) else {
                continue;
            };
            let lines = |bytes: &[u8]| scan::lines(bytes).count();
            let mut kept = KeptFile::in_one_piece(path);
            for _ in 0..2 {
                let content = kept.read().unwrap();
                assert_eq!(lines(content.bytes), lines(&text), "{name}");
            }
        }
    }

    #[test]
    fn a_file_without_end_is_given_up() {
        let endless = fill_from(&mut Vec::new(), Ends::Empty, |buffer, _| {
            buffer.fill(b'x');
            Ok(buffer.len())
        });
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
