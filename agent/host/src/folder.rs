//! Folders of small files: sysfs has an attribute per file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FsWord, Mode, OFlags, fstatfs, open, openat};
use rustix::io::Errno;

use crate::error::CollectError;
use crate::kept_file::Ends;
use crate::{Family, Sink, scan};

/// An attribute is at most a page.
const ATTRIBUTE_BYTES_MAX: usize = 4 << 10;
/// The type of sysfs, as `fstatfs` says it (`linux/magic.h`).
const SYSFS_MAGIC: FsWord = 0x6265_6572;
/// The most entries that are read of a folder: more than a machine has processes.
pub(crate) const ENTRIES_MAX: usize = 65_536;

/// A folder of attributes.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    opened: Option<Arc<Opened>>,
}

/// A folder as the kernel knows it.
#[derive(Debug)]
struct Opened {
    folder: OwnedFd,
    /// Whether the kernel prints its files, each in one piece: what leaves room in a buffer of a page is all.
    is_of_sysfs: bool,
}

/// An attribute that is a number, and how it is reported.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) file: &'static str,
    pub(crate) scale: Scale,
    pub(crate) family: Family,
}

/// From the kernel's unit to the metric's.
///
/// A division is not the multiplication by its inverse: the last bit may differ, and both are in use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    One,
    Times(f64),
    Per(f64),
}

impl Scale {
    pub(crate) fn of(self, number: f64) -> f64 {
        match self {
            Self::One => number,
            Self::Times(factor) => number * factor,
            Self::Per(divisor) => number / divisor,
        }
    }
}

impl Folder {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, opened: None }
    }

    /// Returns the folder kept open while it lives: worth it where many of its files are read, which the kernel then finds in one step
    /// however deep they lie. One that cannot be opened reads as before.
    pub(crate) fn opened(self) -> Self {
        Self {
            opened: Opened::open(&self.path).ok().map(Arc::new),
            ..self
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a folder in this one; whether it is there is seen when something is read.
    pub(crate) fn folder(&self, name: &str) -> Self {
        Self::new(self.path.join(name))
    }

    /// Returns the last part of the path.
    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Returns the names of all entries in order; those that are not UTF-8 are left out.
    pub(crate) fn entries(&self) -> Result<Vec<String>, CollectError> {
        let read = fs::read_dir(&self.path).and_then(|entries| {
            entries
                .take(ENTRIES_MAX)
                .map(|entry| Ok(entry?.file_name().into_string().ok()))
                .filter_map(Result::transpose)
                .collect::<io::Result<Vec<String>>>()
        });
        let mut names = read.map_err(|error| CollectError::read(&self.path, error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Returns the folders in this one, links to folders included, in order of their names.
    pub(crate) fn folders(&self) -> Result<Vec<Self>, CollectError> {
        let folders = self.entries()?.into_iter().map(|name| self.folder(&name));
        Ok(folders.filter(Self::exists).collect())
    }

    /// Returns the folders whose names are `prefix` and a number, with their numbers, in order of the names.
    ///
    /// A folder that is missing has none.
    pub(crate) fn numbered(&self, prefix: &str) -> Result<Vec<(String, Self)>, CollectError> {
        let number = |name: &str| {
            let digits = name.strip_prefix(prefix)?;
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| digits.to_owned())
        };
        let names = match self.entries() {
            Err(error) if error.is_missing() => Vec::new(),
            read => read?,
        };
        Ok(names
            .iter()
            .filter_map(|name| Some((number(name)?, self.folder(name))))
            .collect())
    }

    /// Returns the text of a file without blanks at its ends; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&self, file: &str) -> Result<String, CollectError> {
        self.read(file, |bytes| Some(scan::text(bytes).into_owned()))
    }

    /// Returns the text; `None` when the file is missing or cannot be had.
    pub(crate) fn optional_text(&self, file: &str) -> Result<Option<String>, CollectError> {
        optional(self.text(file))
    }

    /// Returns the text; empty when the file is missing or cannot be had.
    pub(crate) fn text_or_empty(&self, file: &str) -> String {
        self.text(file).unwrap_or_default()
    }

    /// Returns the whole number that a file holds, decimal or, after `0x`, hexadecimal.
    pub(crate) fn number(&self, file: &str) -> Result<f64, CollectError> {
        self.read(file, scan::integer)
    }

    /// Returns the number; `None` when the file is missing or cannot be had.
    pub(crate) fn optional_number(&self, file: &str) -> Result<Option<f64>, CollectError> {
        optional(self.number(file))
    }

    /// Returns what `parse` makes of the text; `None` when the file is missing or cannot be had.
    pub(crate) fn parsed<T>(
        &self,
        file: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, CollectError> {
        let Some(text) = self.optional_text(file)? else {
            return Ok(None);
        };
        match parse(&text) {
            Some(found) => Ok(Some(found)),
            None => Err(CollectError::parse(
                &self.path.join(file),
                "content of another form",
            )),
        }
    }

    /// Reports each of `attributes` that is there.
    pub(crate) fn sample(
        &self,
        attributes: &[Attribute],
        labels: &[&str],
        sink: &mut dyn Sink,
    ) -> Result<(), CollectError> {
        for attribute in attributes {
            if let Some(number) = self.optional_number(attribute.file)? {
                sink.sample(&attribute.family, labels, attribute.scale.of(number));
            }
        }
        Ok(())
    }

    fn read<T>(
        &self,
        file: &str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, CollectError> {
        let mut buffer = [0; ATTRIBUTE_BYTES_MAX];
        let read = match &self.opened {
            Some(opened) => opened.read(file, &mut buffer),
            None => File::open(self.path.join(file))
                .and_then(|file| read_page(file, Ends::Empty, &mut buffer)),
        };
        match read {
            Ok(bytes) => parse(bytes)
                .ok_or_else(|| CollectError::parse(&self.path.join(file), "a whole number")),
            Err(error) => Err(CollectError::read(&self.path.join(file), error)),
        }
    }
}

impl Opened {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty())?;
        let is_of_sysfs = fstatfs(&folder).is_ok_and(|found| found.f_type == SYSFS_MAGIC);
        Ok(Self {
            folder,
            is_of_sysfs,
        })
    }

    fn read<'a>(&self, file: &str, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&self.folder, file, flags, Mode::empty())?;
        let ends = if self.is_of_sysfs {
            Ends::Short
        } else {
            Ends::Empty
        };
        read_page(File::from(file), ends, buffer)
    }
}

/// Returns `None` for what is missing or cannot be had: many drivers offer a file and refuse to read it.
pub(crate) fn optional<T>(read: Result<T, CollectError>) -> Result<Option<T>, CollectError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(CollectError::Read { source, .. }) if is_refusal(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        Errno::NOENT,
        Errno::ACCESS,
        Errno::PERM,
        Errno::INVAL,
        Errno::OPNOTSUPP,
        Errno::NODATA,
        Errno::NODEV,
        Errno::NXIO,
        Errno::IO,
        Errno::AGAIN,
        Errno::ISDIR,
        Errno::NOTDIR,
    ];
    let code = error.raw_os_error();
    refusals
        .iter()
        .any(|refusal| code == Some(refusal.raw_os_error()))
}

/// Reads what fits; what is longer is no attribute and is refused.
fn read_page(mut file: File, ends: Ends, buffer: &mut [u8]) -> io::Result<&[u8]> {
    let mut len = 0;
    loop {
        match file.read(buffer.get_mut(len..).unwrap_or_default()) {
            Ok(0) if len == buffer.len() => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(0) => break,
            Ok(more) if ends == Ends::Short && len + more < buffer.len() => {
                len += more;
                break;
            }
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..len).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_this_kernel_are_the_same_in_a_folder_that_is_kept_open() {
        let path = Path::new("/sys/class/net/lo");
        if !path.exists() {
            return;
        }
        let kept = Folder::new(path.to_owned()).opened();
        for file in ["address", "flags", "mtu", "operstate", "type"] {
            let text = fs::read_to_string(path.join(file)).unwrap();
            assert_eq!(kept.text(file).unwrap(), text.trim_ascii(), "{file}");
        }
    }

    #[test]
    fn attributes_are_read_and_what_is_none_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(dir.path().join(name), content).unwrap();
        write("number", b" 0x1303\n");
        write("text", b"two words\n");
        write("bad", b"\xff\n");
        write("long", &[b'1'; ATTRIBUTE_BYTES_MAX + 1]);
        fs::create_dir(dir.path().join("folder")).unwrap();
        let folder = Folder::new(dir.path().to_owned());
        for folder in [folder.clone(), folder.clone().opened()] {
            assert_eq!(folder.number("number").unwrap(), 4_867.0);
            assert_eq!(folder.text("text").unwrap(), "two words");
            assert_eq!(folder.text("bad").unwrap(), "\u{fffd}");
            assert_eq!(folder.optional_number("gone").unwrap(), None);
            assert_eq!(folder.optional_text("folder").unwrap(), None);
            for wrong in ["text", "long"] {
                assert!(folder.optional_number(wrong).is_err(), "{wrong}");
            }
        }
        let gone = folder.folder("gone").opened();
        assert!(gone.text("number").unwrap_err().is_missing());
        let all = ["bad", "folder", "long", "number", "text"];
        assert_eq!(folder.entries().unwrap(), all);
        let folders = folder.folders().unwrap();
        assert_eq!(folders.len(), 1);
        assert_eq!(folders[0].name(), "folder");
        assert!(folder.folder("gone").entries().unwrap_err().is_missing());
    }
}
