//! `index`: which series there are, and where their chunks lie.

use std::path::Path;

use files::FileSystem;
use model::{Labels, TimeRange, TimestampMs};

use crate::bytes::{Malformed, Reader};
use crate::error::{BlockError, Damage};
use crate::window::Window;

const FILE: &str = "index";
const MAGIC: u32 = 0xBAAA_D700;
const VERSION: u8 = 2;
const HEADER_BYTES: u64 = 5;
/// Six places and a checksum.
const CONTENTS_BYTES: u64 = 6 * 8 + 4;
const CHECKSUM_BYTES: u64 = 4;
/// Entries of series begin at multiples of this, and are referred to by the multiple.
const SERIES_ALIGNMENT: u64 = 16;
/// The longest length in front of an entry.
const LENGTH_BYTES: u64 = 10;

/// An index, opened.
#[derive(Debug)]
pub(crate) struct Index {
    window: Window,
    symbols: Symbols,
    /// References of all series, in order.
    series: Vec<u32>,
}

/// A series, as the index has it.
#[derive(Debug)]
pub(crate) struct SeriesEntry {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<ChunkPlace>,
}

/// A chunk, as the index has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPlace {
    pub(crate) times: TimeRange,
    pub(crate) reference: u64,
}

/// Where the parts are; 0: there is none.
struct Contents {
    symbols: u64,
    series: u64,
    postings_table: u64,
    /// Where the part behind the series begins.
    series_end: u64,
}

impl Index {
    /// Opens the index of the block in `folder`. When the list of all series is damaged, that is reported and the entries of series are
    /// looked for where they should be.
    pub(crate) fn open(
        files: &dyn FileSystem,
        folder: &Path,
        damaged: &mut dyn FnMut(Damage),
    ) -> Result<Self, BlockError> {
        let path = folder.join(FILE);
        let mut window = Window::open(files, &path).map_err(BlockError::io("read", &path))?;
        let contents = read_contents(&mut window)?;
        let symbols = section(&mut window, contents.symbols)
            .and_then(|bytes| Symbols::parse(bytes).map_err(|Malformed(what)| what.to_owned()))
            .map_err(|what| BlockError::unreadable(&path, format!("its symbols: {what}")))?;
        let series = match all_series(&mut window, contents.postings_table) {
            Ok(series) => series,
            Err(what) => {
                damaged(Damage {
                    path,
                    offset: contents.postings_table,
                    what: format!(
                        "the list of all series: {what}; they are looked for one by one instead"
                    ),
                });
                find_series(&mut window, &contents)
            }
        };
        Ok(Self {
            window,
            symbols,
            series,
        })
    }

    /// Returns how many series there are.
    pub(crate) const fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns the reference of a series by its number.
    pub(crate) fn reference(&self, number: usize) -> u64 {
        self.series.get(number).copied().map_or(0, u64::from)
    }

    /// Returns the series with this reference.
    pub(crate) fn series(&mut self, reference: u64) -> Result<SeriesEntry, Damage> {
        let offset = reference.saturating_mul(SERIES_ALIGNMENT);
        let entry = read_entry(&mut self.window, offset).and_then(|bytes| {
            parse_entry(bytes, &self.symbols).map_err(|Malformed(what)| what.to_owned())
        });
        entry.map_err(|what| Damage {
            path: self.window.path().to_owned(),
            offset,
            what: format!("a series is left out: {what}"),
        })
    }

    /// Returns where a series is, for messages.
    pub(crate) fn place(&self, reference: u64, what: String) -> Damage {
        Damage {
            path: self.window.path().to_owned(),
            offset: reference.saturating_mul(SERIES_ALIGNMENT),
            what,
        }
    }
}

fn read_contents(window: &mut Window) -> Result<Contents, BlockError> {
    let path = window.path().to_owned();
    let refused = |what: &str| BlockError::unreadable(&path, what);
    let failed = || BlockError::io("read", &path);
    let mut head = Reader::new(window.at(0, HEADER_BYTES).map_err(failed())?);
    let malformed = |Malformed(what): Malformed| refused(what);
    if head.u32("it is cut off").map_err(malformed)? != MAGIC {
        return Err(refused("it is no index of a block"));
    }
    match head.u8("it is cut off").map_err(malformed)? {
        VERSION => {}
        1 => {
            return Err(refused(
                "its format 1 is no longer read; a Prometheus of any 2.x version rewrites the block when it compacts it",
            ));
        }
        version => {
            return Err(refused(&format!(
                "its format {version} is not known, only {VERSION} is"
            )));
        }
    }
    let start = window
        .len()
        .checked_sub(CONTENTS_BYTES)
        .ok_or_else(|| refused("it is cut off"))?;
    let bytes = window.at(start, CONTENTS_BYTES).map_err(failed())?;
    let mut from = Reader::new(bytes);
    let mut place = || from.u64("it is cut off").map_err(malformed);
    // Symbols, series, label indices, label offset table, postings, postings offset table.
    let places = [place()?, place()?, place()?, place()?, place()?, place()?];
    let covered = &bytes[..bytes.len().saturating_sub(4)];
    let checksum = from.u32("it is cut off").map_err(malformed)?;
    if crc32c::crc32c(covered) != checksum {
        return Err(refused(
            "its table of contents does not match its checksum; the file is damaged or cut off",
        ));
    }
    let [symbols, series, .., postings_table] = places;
    let behind = places.into_iter().filter(|place| *place > series);
    Ok(Contents {
        symbols,
        series,
        postings_table,
        series_end: behind.min().unwrap_or(start).min(start),
    })
}

/// Reads a part: its length, as many bytes, their checksum. Memory is taken for what the file has only.
fn section(window: &mut Window, offset: u64) -> Result<Vec<u8>, String> {
    if offset < HEADER_BYTES {
        return Err("there is none".to_owned());
    }
    let failed = |error: std::io::Error| error.to_string();
    let cut_off = || "it is cut off, or its length is wrong".to_owned();
    let mut head = Reader::new(window.at(offset, 4).map_err(failed)?);
    let length = u64::from(head.u32("").map_err(|_| cut_off())?);
    let start = offset.saturating_add(4);
    let end = start.saturating_add(length).saturating_add(CHECKSUM_BYTES);
    if end > window.len() {
        return Err(cut_off());
    }
    let mut bytes = window
        .at(start, length + CHECKSUM_BYTES)
        .map_err(failed)?
        .to_vec();
    let checksum = bytes.split_off(bytes.len().saturating_sub(4));
    let checksum = Reader::new(&checksum).u32("").map_err(|_| cut_off())?;
    if crc32c::crc32c(&bytes) != checksum {
        return Err("it does not match its checksum".to_owned());
    }
    Ok(bytes)
}

/// Returns the list of all series, which is the posting of the empty name and value.
fn all_series(window: &mut Window, table: u64) -> Result<Vec<u32>, String> {
    let bytes = section(window, table)?;
    let offset = place_of_all(&bytes).map_err(|Malformed(what)| what.to_owned())?;
    let bytes = section(window, offset)?;
    let mut from = Reader::new(&bytes);
    let cut_off = |Malformed(what)| String::from(what);
    let count = from.u32("it is cut off").map_err(cut_off)?;
    if u64::from(count) * 4 != from.rest().len() as u64 {
        return Err("its number of entries is wrong".to_owned());
    }
    let mut series = Vec::with_capacity(count as usize);
    for _ in 0..count {
        series.push(from.u32("it is cut off").map_err(cut_off)?);
    }
    if series.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("its entries do not rise".to_owned());
    }
    Ok(series)
}

fn place_of_all(table: &[u8]) -> Result<u64, Malformed> {
    let mut from = Reader::new(table);
    let count = from.u32("its table is cut off")?;
    // Sorted by name and value, so it comes first; looking on costs nothing.
    for _ in 0..count {
        if from.u8("its table is cut off")? != 2 {
            return Err(Malformed("its table has an entry of another kind"));
        }
        let name = from.counted("its table is cut off")?;
        let value = from.counted("its table is cut off")?;
        let offset = from.uvarint("its table is cut off")?;
        if name.is_empty() && value.is_empty() {
            return Ok(offset);
        }
    }
    if count == 0 {
        return Err(Malformed("its table is empty"));
    }
    Err(Malformed("its table does not have it"))
}

/// Finds the entries of series by their checksums.
fn find_series(window: &mut Window, contents: &Contents) -> Vec<u32> {
    let mut found = Vec::new();
    let mut offset = contents.series.next_multiple_of(SERIES_ALIGNMENT);
    while offset < contents.series_end {
        let length = read_entry(window, offset).map_or(0, |bytes| bytes.len() as u64);
        if length > 0
            && let Ok(reference) = u32::try_from(offset / SERIES_ALIGNMENT)
        {
            found.push(reference);
        }
        // The length before it and the checksum behind are at least five bytes, which the alignment swallows or the next step skips.
        offset = (offset + length + 1).next_multiple_of(SERIES_ALIGNMENT);
    }
    found
}

/// Reads an entry of a series: its length, as many bytes, their checksum.
fn read_entry(window: &mut Window, offset: u64) -> Result<&[u8], String> {
    let failed = |error: std::io::Error| error.to_string();
    let cut_off = || "it is cut off, or its length is wrong".to_owned();
    let head = window.at(offset, LENGTH_BYTES).map_err(failed)?;
    let mut from = Reader::new(head);
    let before = head.len();
    let length = from.uvarint("").map_err(|_| cut_off())?;
    let start = offset.saturating_add((before - from.rest().len()) as u64);
    let end = start.saturating_add(length).saturating_add(CHECKSUM_BYTES);
    if end > window.len() {
        return Err(cut_off());
    }
    let bytes = window.at(start, length + CHECKSUM_BYTES).map_err(failed)?;
    let (entry, checksum) = bytes
        .split_at_checked(bytes.len().saturating_sub(4))
        .ok_or_else(cut_off)?;
    let checksum = Reader::new(checksum).u32("").map_err(|_| cut_off())?;
    if crc32c::crc32c(entry) != checksum {
        return Err("it does not match its checksum".to_owned());
    }
    Ok(entry)
}

fn parse_entry(bytes: &[u8], symbols: &Symbols) -> Result<SeriesEntry, Malformed> {
    const CUT_OFF: &str = "it is cut off";
    let mut from = Reader::new(bytes);
    let mut pairs = Vec::new();
    for _ in 0..from.uvarint(CUT_OFF)? {
        let name = symbols.get(from.uvarint(CUT_OFF)?)?;
        let value = symbols.get(from.uvarint(CUT_OFF)?)?;
        pairs.push((name, value));
    }
    let labels =
        Labels::from_pairs(pairs).map_err(|_| Malformed("its labels are no set of labels"))?;
    let mut chunks: Vec<ChunkPlace> = Vec::new();
    const TIMES: Malformed = Malformed("the times of a chunk are out of range");
    for _ in 0..from.uvarint(CUT_OFF)? {
        let (start, reference) = match chunks.last() {
            None => (from.varint(CUT_OFF)?, None),
            Some(last) => {
                let gap = from.uvarint(CUT_OFF)?;
                // Chunks may overlap in blocks of late samples; then the sum wraps around, as it did when it was written.
                let start = last.times.end.0.wrapping_add(gap.cast_signed());
                (start, Some(last.reference))
            }
        };
        let end = start
            .checked_add_unsigned(from.uvarint(CUT_OFF)?)
            .ok_or(TIMES)?;
        let reference = match reference {
            None => from.uvarint(CUT_OFF)?,
            Some(last) => last.wrapping_add_signed(from.varint(CUT_OFF)?),
        };
        chunks.push(ChunkPlace {
            times: TimeRange::new(TimestampMs(start), TimestampMs(end)),
            reference,
        });
    }
    Ok(SeriesEntry { labels, chunks })
}

/// The strings that labels are made of.
#[derive(Debug)]
struct Symbols {
    bytes: Vec<u8>,
    /// Where each begins and ends.
    places: Vec<(u32, u32)>,
}

impl Symbols {
    fn parse(bytes: Vec<u8>) -> Result<Self, Malformed> {
        const TOO_LONG: Malformed = Malformed("they are too long");
        let mut from = Reader::new(&bytes);
        let count = from.u32("they are cut off")?;
        let mut places = Vec::new();
        let at =
            |from: Reader<'_>| u32::try_from(bytes.len() - from.rest().len()).map_err(|_| TOO_LONG);
        for _ in 0..count {
            let symbol = from.counted("they are cut off")?;
            let end = at(from)?;
            let length = u32::try_from(symbol.len()).map_err(|_| TOO_LONG)?;
            places.push((end - length, end));
        }
        Ok(Self { bytes, places })
    }

    fn get(&self, number: u64) -> Result<&str, Malformed> {
        let place = usize::try_from(number)
            .ok()
            .and_then(|number| self.places.get(number));
        let (start, end) = place.ok_or(Malformed("it names a symbol that does not exist"))?;
        let bytes = self.bytes.get(*start as usize..*end as usize);
        std::str::from_utf8(bytes.unwrap_or_default())
            .map_err(|_| Malformed("a label of it is not UTF-8"))
    }
}
