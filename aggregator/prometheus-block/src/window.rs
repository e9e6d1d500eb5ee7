//! A file that is read mostly in order: one stretch of it is kept.

use std::io;
use std::path::{Path, PathBuf};

use files::{FileSystem, Open, SharedFile};

/// What is read ahead.
const STRETCH_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Window {
    path: PathBuf,
    file: SharedFile,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) fn open(files: &dyn FileSystem, path: &Path) -> io::Result<Self> {
        let file = files.open(path, Open::read())?;
        Ok(Self {
            path: path.to_owned(),
            len: file.len()?,
            file,
            start: 0,
            bytes: Vec::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Returns the bytes from `offset` on: as many as asked for, or fewer at the end of the file. Memory is taken for bytes that exist only.
    pub(crate) fn at(&mut self, offset: u64, count: u64) -> io::Result<&[u8]> {
        let there = self.len.saturating_sub(offset).min(count);
        let count = usize::try_from(there).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let held = offset
            .checked_sub(self.start)
            .and_then(|from| usize::try_from(from).ok())
            .filter(|from| {
                from.checked_add(count)
                    .is_some_and(|to| to <= self.bytes.len())
            });
        let from = match held {
            Some(from) => from,
            None => {
                self.fill(offset, count)?;
                0
            }
        };
        let end = self.bytes.len().min(from + count);
        Ok(self.bytes.get(from..end).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64, count: usize) -> io::Result<()> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.bytes.clear();
        self.bytes.resize(count.max(STRETCH_BYTES).min(left), 0);
        self.start = offset;
        match self.file.read_at(offset, &mut self.bytes) {
            Ok(read) => {
                self.bytes.truncate(read);
                Ok(())
            }
            Err(error) => {
                self.bytes.clear();
                Err(error)
            }
        }
    }
}
