//! Chunks: what a series has in a stretch of time, some 120 samples, as one bit string.

mod floats;
mod histograms;

use model::{CounterReset, Sample, TimestampMs, Value};

use crate::bytes::Malformed;

/// The most numbers (samples, and the buckets of histograms) that one series may have in the range that is read at once.
pub const CELLS_MAX: usize = 8 << 20;

/// How the samples of a chunk are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Floats, by differences of differences and XOR: number 1.
    Xor,
    /// Native histograms with integer counts: number 2.
    Histogram,
    /// Native histograms with float counts: number 3.
    FloatHistogram,
}

/// Why a chunk cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A newer Prometheus wrote it.
    #[error(
        "its encoding {number}{} is not known; write the block with a Prometheus that does not use it, or with its feature turned off",
        name_of(*.number)
    )]
    Encoding {
        /// The encoding's number.
        number: u8,
    },
    /// Its bytes contradict the format.
    #[error("{0}")]
    Malformed(&'static str),
}

impl From<Malformed> for ChunkError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Malformed(what)
    }
}

fn name_of(number: u8) -> &'static str {
    match number {
        4 => " (XOR2, floats with start times)",
        5 | 6 => " (histograms with start times)",
        _ => "",
    }
}

impl Encoding {
    /// Returns the encoding with this number.
    pub const fn from_number(number: u8) -> Result<Self, ChunkError> {
        match number {
            1 => Ok(Self::Xor),
            2 => Ok(Self::Histogram),
            3 => Ok(Self::FloatHistogram),
            number => Err(ChunkError::Encoding { number }),
        }
    }
}

/// Appends the samples of a chunk to `out`, timestamps strictly rising, and returns how many numbers they are made of; `out` is as
/// before after an error.
///
/// A histogram after the first of its chunk is known to follow without a counter reset, as Prometheus has it.
pub fn decode_chunk(
    encoding: Encoding,
    data: &[u8],
    out: &mut Vec<Sample>,
) -> Result<usize, ChunkError> {
    let before = out.len();
    let decoded = match encoding {
        Encoding::Xor => floats::decode(data, out),
        Encoding::Histogram => histograms::decode_integers(data, out),
        Encoding::FloatHistogram => histograms::decode_floats(data, out),
    };
    let rising = || {
        let new = &out[before..];
        new.windows(2).all(|pair| pair[0].at < pair[1].at)
    };
    let checked = match decoded {
        Ok(_) if !rising() => Err(Malformed("its timestamps do not rise")),
        other => other,
    };
    if checked.is_err() {
        out.truncate(before);
    }
    Ok(checked?)
}

/// A timestamp that is stored as the difference of its difference to the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    at: i64,
    delta: i64,
}

impl Time {
    /// Takes the next difference of differences. Sums may overflow with foreign bytes; then timestamps do not rise.
    const fn advance(&mut self, difference: i64) {
        self.delta = self.delta.wrapping_add(difference);
        self.at = self.at.wrapping_add(self.delta);
    }

    fn sample(self, value: Value) -> Sample {
        Sample {
            at: TimestampMs(self.at),
            value,
        }
    }
}

/// Returns what is known of counter resets before a sample, by the flags of its chunk.
const fn reset_of(flags: u8, first: bool) -> CounterReset {
    match flags >> 6 {
        0b11 => CounterReset::Gauge,
        _ if !first => CounterReset::NotReset,
        0b10 => CounterReset::Reset,
        // That there was none since the chunk before helps only those who are sure to have that chunk.
        _ => CounterReset::Unknown,
    }
}
