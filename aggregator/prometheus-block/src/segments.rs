//! `chunks/`: the files that hold the chunks.

use std::path::{Path, PathBuf};

use files::FileSystem;

use crate::bytes::{Malformed, Reader};
use crate::chunk::{ChunkError, Encoding};
use crate::error::{BlockError, Damage};
use crate::window::Window;

const FOLDER: &str = "chunks";
const MAGIC: u32 = 0x85BD_40DD;
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
/// Length, encoding.
const CHUNK_HEADER_BYTES: u64 = 5 + 1;
const CHECKSUM_BYTES: u64 = 4;

/// The segments of a block.
#[derive(Debug)]
pub(crate) struct Segments {
    folder: PathBuf,
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    window: Window,
    /// Why nothing in it can be read.
    refused: Option<&'static str>,
}

/// A chunk's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) data: &'a [u8],
}

impl Segments {
    pub(crate) fn open(files: &dyn FileSystem, folder: &Path) -> Result<Self, BlockError> {
        let folder = folder.join(FOLDER);
        let entries = files
            .list(&folder)
            .map_err(BlockError::io("read folder", &folder))?;
        // Numbered in order of their names, from 0, whatever the numbers in the names are.
        let mut names: Vec<_> = entries
            .into_iter()
            .filter(|entry| !entry.folder)
            .map(|entry| entry.name)
            .filter(|name| {
                let digits = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
                name.to_str().is_some_and(digits)
            })
            .collect();
        names.sort_unstable();
        let segments = names
            .into_iter()
            .map(|name| {
                let path = folder.join(name);
                let failed = || BlockError::io("read", &path);
                let mut window = Window::open(files, &path).map_err(failed())?;
                let header = window.at(0, HEADER_BYTES).map_err(failed())?;
                let refused = check_header(header).err().map(|Malformed(what)| what);
                Ok(Segment { window, refused })
            })
            .collect::<Result<_, BlockError>>()?;
        Ok(Self { folder, segments })
    }

    /// Returns the chunk with this reference: the segment's number above, the offset in it below 32 bits.
    pub(crate) fn chunk(&mut self, reference: u64) -> Result<Stored<'_>, Damage> {
        let (number, offset) = (reference >> 32, reference & u64::from(u32::MAX));
        let segment = usize::try_from(number)
            .ok()
            .and_then(|number| self.segments.get_mut(number));
        let Some(segment) = segment else {
            return Err(Damage {
                path: self.folder.join(format!("{:06}", number.saturating_add(1))),
                offset,
                what: format!("there is no such file; chunk {reference} is left out"),
            });
        };
        let path = segment.window.path().to_owned();
        segment.chunk(offset).map_err(|what| Damage {
            path,
            offset,
            what: format!("chunk {reference} is left out: {what}"),
        })
    }

    /// Returns where a chunk is, for messages.
    pub(crate) fn place(&self, reference: u64) -> (PathBuf, u64) {
        let number = usize::try_from(reference >> 32).ok();
        let segment = number.and_then(|number| self.segments.get(number));
        let path = segment.map_or(self.folder.as_path(), |segment| segment.window.path());
        (path.to_owned(), reference & u64::from(u32::MAX))
    }
}

fn check_header(bytes: &[u8]) -> Result<(), Malformed> {
    let mut from = Reader::new(bytes);
    if from.u32("the file is cut off")? != MAGIC {
        return Err(Malformed("the file is no segment of chunks"));
    }
    if from.u8("the file is cut off")? != VERSION {
        return Err(Malformed("the version of the file is not known"));
    }
    Ok(())
}

impl Segment {
    fn chunk(&mut self, offset: u64) -> Result<Stored<'_>, String> {
        if let Some(what) = self.refused {
            return Err(what.to_owned());
        }
        let window = &mut self.window;
        let head = window
            .at(offset, CHUNK_HEADER_BYTES)
            .map_err(|error| error.to_string())?;
        let mut from = Reader::new(head);
        let before = head.len();
        let length = from
            .uvarint("it is cut off")
            .map_err(|error| error.to_string())?;
        let length_bytes = (before - from.rest().len()) as u64;
        let cut_off = || "it is cut off, or its length is wrong".to_owned();
        let whole = length
            .checked_add(length_bytes + 1 + CHECKSUM_BYTES)
            .filter(|whole| {
                offset
                    .checked_add(*whole)
                    .is_some_and(|end| end <= window.len())
            })
            .ok_or_else(cut_off)?;
        let bytes = window
            .at(offset, whole)
            .map_err(|error| error.to_string())?;
        let mut from = Reader::new(bytes);
        let mut parts = || {
            from.uvarint("")?;
            let covered = usize::try_from(length + 1).map_err(|_| Malformed(""))?;
            let covered = from.take(covered, "")?;
            Ok((covered, from.u32("")?))
        };
        let (covered, checksum) = parts().map_err(|_: Malformed| cut_off())?;
        if crc32c::crc32c(covered) != checksum {
            return Err("it does not match its checksum".to_owned());
        }
        let (encoding, data) = covered.split_first().ok_or_else(cut_off)?;
        let encoding =
            Encoding::from_number(*encoding).map_err(|error: ChunkError| error.to_string())?;
        Ok(Stored { encoding, data })
    }
}
