//! The body around its sections: version, flags, compression.

use std::borrow::Cow;
use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, DParameter};

use super::by_slot::{self, Coded};
use super::bytes::{ByteReader, put_varint};
use super::error::{DecodeError, EncodeError};
use super::{BODY_BYTES_MAX, VERSION, VERSION_COLUMNS, sample_columns, samples};
use crate::{MetricMetadata, SeriesExemplar, SeriesSample};

/// The rest of the body is one zstd frame, after the length that it decompresses to.
const FLAG_ZSTD: u8 = 1;
/// The largest window, as a power of two, that a compressor uses and a decompressor takes.
const WINDOW_LOG_MAX: u32 = 20;
/// Below this many bytes the attempt to compress is not worth its time.
const COMPRESS_BYTES_MIN: usize = 128;

/// Tag and length of a section.
const SECTION_BYTES_MAX: usize = 5;

/// What a section holds. Sections come at most once each, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Rows = 1,
    Histograms = 2,
    StartTimes = 3,
    Exemplars = 4,
    Samples = 5,
    Metadata = 6,
    SampleColumns = 7,
    SampleExemplars = 8,
}

impl Section {
    const ALL: [Self; 8] = [
        Self::Rows,
        Self::Histograms,
        Self::StartTimes,
        Self::Exemplars,
        Self::Samples,
        Self::Metadata,
        Self::SampleColumns,
        Self::SampleExemplars,
    ];

    /// Returns the first version of the format that has the section.
    const fn since(self) -> u8 {
        match self {
            Self::SampleColumns | Self::SampleExemplars => VERSION_COLUMNS,
            Self::Rows
            | Self::Histograms
            | Self::StartTimes
            | Self::Exemplars
            | Self::Samples
            | Self::Metadata => VERSION,
        }
    }
}

/// Returns the body: `rows` is the section of rows, written already.
pub(super) fn assemble(
    rows: &[u8],
    coded: &[Coded<'_>],
    samples: &[SeriesSample],
    metadata: &[MetricMetadata],
) -> Result<Vec<u8>, EncodeError> {
    let mut payload = Vec::with_capacity(rows.len() + 64);
    let mut scratch = Vec::new();
    let mut section = |section: Section, put: &mut dyn FnMut(&mut Vec<u8>)| {
        scratch.clear();
        put(&mut scratch);
        put_section(&mut payload, section, &scratch);
    };
    if !coded.is_empty() {
        section(Section::Rows, &mut |out| out.extend_from_slice(rows));
    }
    if coded.iter().any(|coded| !coded.row.histograms.is_empty()) {
        section(Section::Histograms, &mut |out| {
            by_slot::put_histograms(out, coded)
        });
    }
    if coded.iter().any(|coded| !coded.row.start_times.is_empty()) {
        section(Section::StartTimes, &mut |out| {
            by_slot::put_start_times(out, coded)
        });
    }
    if coded.iter().any(|coded| !coded.row.exemplars.is_empty()) {
        section(Section::Exemplars, &mut |out| {
            by_slot::put_exemplars(out, coded)
        });
    }
    if !samples.is_empty() {
        section(Section::Samples, &mut |out| {
            samples::put_samples(out, samples)
        });
    }
    if !metadata.is_empty() {
        section(Section::Metadata, &mut |out| {
            samples::put_metadata(out, metadata)
        });
    }
    EncodeError::check("bytes", payload.len() + 2, BODY_BYTES_MAX)?;
    // Codes of distances are dense: on recorded node metrics, compressing them took 1 % (at 1 s) to 3 % (at 15 s) off, and 6 ns a
    // sample. Key rows, with distances from zero, lose 12 %; texts and histograms far more.
    let dense = rows.len() + SECTION_BYTES_MAX >= payload.len()
        && coded.iter().all(|coded| coded.base.is_some());
    Ok(close(VERSION, &payload, !dense))
}

/// Returns the body of samples in columns, their exemplars, and metadata.
pub(super) fn assemble_columns(
    samples: &[SeriesSample],
    exemplars: &[SeriesExemplar],
    metadata: &[MetricMetadata],
) -> Result<Vec<u8>, EncodeError> {
    let mut payload = Vec::with_capacity(samples.len() * 4 + 64);
    let mut scratch = Vec::with_capacity(samples.len() * 4 + 64);
    let mut section = |section: Section, put: &mut dyn FnMut(&mut Vec<u8>)| {
        scratch.clear();
        put(&mut scratch);
        put_section(&mut payload, section, &scratch);
    };
    if !metadata.is_empty() {
        section(Section::Metadata, &mut |out| {
            samples::put_metadata(out, metadata);
        });
    }
    if !samples.is_empty() {
        section(Section::SampleColumns, &mut |out| {
            sample_columns::put_samples(out, samples);
        });
    }
    if !exemplars.is_empty() {
        section(Section::SampleExemplars, &mut |out| {
            sample_columns::put_exemplars(out, exemplars);
        });
    }
    EncodeError::check("bytes", payload.len() + 2, BODY_BYTES_MAX)?;
    // Of remote-written node metrics compressing took 5 % off (2.65 B a sample became 2.51), and 20 ns.
    let dense = metadata.is_empty()
        && exemplars.is_empty()
        && samples
            .iter()
            .all(|sample| matches!(sample.value, model::Value::Float(_)));
    Ok(close(VERSION_COLUMNS, &payload, !dense))
}

fn put_section(payload: &mut Vec<u8>, section: Section, bytes: &[u8]) {
    payload.push(section as u8);
    put_varint(payload, bytes.len() as u64);
    payload.extend_from_slice(bytes);
}

/// Returns the next section; `after` is the one before.
pub(super) fn next_section<'a>(
    reader: &mut ByteReader<'a>,
    version: u8,
    after: Option<Section>,
) -> Result<Option<(Section, ByteReader<'a>)>, DecodeError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let tag = reader.byte()?;
    let section = Section::ALL
        .into_iter()
        .find(|section| *section as u8 == tag)
        .filter(|section| section.since() <= version)
        .filter(|section| after.is_none_or(|after| after < *section))
        .ok_or(DecodeError::Malformed(
            "a section is unknown or out of order",
        ))?;
    let length = reader.count("bytes in a section", BODY_BYTES_MAX)?;
    Ok(Some((section, ByteReader::new(reader.take(length)?))))
}

/// Puts version and flags before `payload`, which is compressed if `try_compressing` and that makes it shorter.
fn close(version: u8, payload: &[u8], try_compressing: bool) -> Vec<u8> {
    if let Some(compressed) = try_compressing.then(|| compress(payload)).flatten() {
        let mut body = vec![version, FLAG_ZSTD];
        put_varint(&mut body, payload.len() as u64);
        body.extend_from_slice(&compressed);
        if body.len() < payload.len() + 2 {
            return body;
        }
    }
    let mut body = Vec::with_capacity(payload.len() + 2);
    body.extend_from_slice(&[version, 0]);
    body.extend_from_slice(payload);
    body
}

/// Returns version and payload of `body`; later versions than `newest` are refused.
pub(super) fn open(body: &[u8], newest: u8) -> Result<(u8, Cow<'_, [u8]>), DecodeError> {
    DecodeError::check("bytes", body.len() as u64, BODY_BYTES_MAX)?;
    let mut reader = ByteReader::new(body);
    let found = reader.byte()?;
    if !(VERSION..=newest).contains(&found) {
        return Err(DecodeError::Version { found, newest });
    }
    let payload = match reader.byte()? {
        0 => Cow::Borrowed(reader.rest()),
        FLAG_ZSTD => {
            let length = reader.count("bytes, decompressed", BODY_BYTES_MAX)?;
            Cow::Owned(decompress(reader.rest(), length)?)
        }
        _ => return Err(DecodeError::Malformed("a flag is unknown")),
    };
    Ok((found, payload))
}

thread_local! {
    // Contexts are large (hundreds of KiB) and streams are many, so that they belong to threads.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(compressor());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(decompressor());
}

fn compressor() -> Option<Compressor<'static>> {
    let mut compressor = Compressor::new(1).ok()?;
    for parameter in [
        CParameter::WindowLog(WINDOW_LOG_MAX),
        // The length stands before the frame, which has no need of a second one, nor of a checksum.
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(false),
    ] {
        compressor.set_parameter(parameter).ok()?;
    }
    Some(compressor)
}

fn decompressor() -> Option<Decompressor<'static>> {
    let mut decompressor = Decompressor::new().ok()?;
    decompressor
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .ok()?;
    Some(decompressor)
}

/// Returns `payload` compressed; `None` when it is short, or the compressor is not to be had: the payload can always go as it is.
fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    COMPRESSOR.with_borrow_mut(|compressor| compressor.as_mut()?.compress(payload).ok())
}

fn decompress(compressed: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    const BROKEN: DecodeError = DecodeError::Malformed("its compressed part is broken");
    let payload = DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = decompressor.as_mut().ok_or(BROKEN)?;
        let mut payload = Vec::with_capacity(length);
        decompressor
            .decompress_to_buffer(compressed, &mut payload)
            .map_err(|_| BROKEN)?;
        Ok(payload)
    })?;
    (payload.len() == length).then_some(payload).ok_or(BROKEN)
}
