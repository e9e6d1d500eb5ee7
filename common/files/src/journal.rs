//! A file of frames, each durable before the next: what a store is about to do.
//!
//! The file is used over and over. All frames since it was begun anew carry the same *generation*, and those of earlier ones, which
//! still stand behind them, another. The store says which generation counts: when it begins another, all frames are void at once.
//!
//! FORMAT.md draws a frame. Frames follow each other from the start of the file; the first one that is cut, does not check, or is of another
//! generation is the end. Zeros are written ahead of the frames, so that most syncs change no length.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::{FileSystem, Open, SharedFile};

/// What frames of a generation may take: more does not go into a journal.
pub(crate) const JOURNAL_BYTES_MAX: usize = 1 << 20;
/// Zeros written ahead at a time.
const STEP_BYTES: u64 = 64 << 10;
const HEADER_BYTES: usize = 20;

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    file: SharedFile,
    generation: u64,
    end: u64,
    /// So long the file was made.
    written_ahead: u64,
}

impl Journal {
    /// Opens the journal at `path`, creating it when missing, readable by its owner only, and hands each frame of `generation` to `take`.
    pub(crate) fn open(
        files: &dyn FileSystem,
        path: &Path,
        generation: u64,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Self> {
        let is_new = !files.exists(path)?;
        let file = files.open(path, Open::create().unix_mode(0o600))?;
        if is_new {
            files.sync_folder(path.parent().unwrap_or_else(|| Path::new("")))?;
        }
        let len = file.len()?;
        let mut bytes = vec![
            0;
            usize::try_from(len)
                .unwrap_or(usize::MAX)
                .min(JOURNAL_BYTES_MAX)
        ];
        file.read_exact_at(0, &mut bytes)?;
        let mut end = 0;
        while let Some(body) = body_at(&bytes, end, generation) {
            take(body);
            end += HEADER_BYTES + body.len();
        }
        Ok(Self {
            file,
            generation,
            end: end as u64,
            written_ahead: len,
        })
    }

    /// Whether a body of so many bytes has room behind the frames of this generation.
    pub(crate) fn has_room_for(&self, body_bytes: usize) -> bool {
        let end = self.end + (HEADER_BYTES + body_bytes) as u64;
        end <= JOURNAL_BYTES_MAX as u64
    }

    /// Appends a frame; it is durable when this returns. After an error nothing may be appended before a generation is begun: it is unknown
    /// whether the frame is there.
    pub(crate) fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let body_bytes = u32::try_from(body.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
        frame.extend_from_slice(&body_bytes.to_le_bytes());
        frame.extend_from_slice(&self.generation.to_le_bytes());
        frame.extend_from_slice(&checksum(self.generation, self.end, body).to_le_bytes());
        frame.extend_from_slice(body);
        let end = self.end + frame.len() as u64;
        if end > self.written_ahead {
            let ahead = end.next_multiple_of(STEP_BYTES);
            frame.resize(usize::try_from(ahead - self.end).unwrap_or(frame.len()), 0);
            self.written_ahead = ahead;
        }
        self.file.write_at(self.end, &frame)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Begins a generation that no frame of the file has: what is there is void.
    pub(crate) fn begin(&mut self, generation: u64) {
        (self.generation, self.end) = (generation, 0);
    }

    /// Cuts off all that is there, durably: frames of somebody else's generations.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_data()?;
        (self.end, self.written_ahead) = (0, 0);
        Ok(())
    }
}

/// Returns the name of the journal of the store at `path`.
pub(crate) fn journal_of(path: &Path) -> PathBuf {
    path.with_extension("journal")
}

/// Returns the body of the frame at `place`, if there is one of `generation`.
fn body_at(bytes: &[u8], place: usize, generation: u64) -> Option<&[u8]> {
    let (header, rest) = bytes.get(place..)?.split_at_checked(HEADER_BYTES)?;
    let (length, header) = header.split_first_chunk()?;
    let (of, checked) = header.split_first_chunk()?;
    let body = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let is_whole = u64::from_le_bytes(*of) == generation
        && *checked == checksum(generation, place as u64, body).to_le_bytes();
    is_whole.then_some(body)
}

fn checksum(generation: u64, place: u64, body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&generation.to_le_bytes());
    hash.update(&place.to_le_bytes());
    hash.update(body);
    hash.digest()
}
