//! `meta.json`: which block this is.

use std::io;
use std::path::Path;

use files::{FileSystem, Open};
use model::{TimeRange, TimestampMs};
use serde::Deserialize;

use crate::error::BlockError;

pub(crate) const FILE: &str = "meta.json";
const VERSION: u32 = 1;
/// Blocks that were made of very many others have long ones; this is longer.
const BYTES_MAX: u64 = 16 << 20;
const ULID_BYTES: usize = 26;

/// Which block it is, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The block's identity.
    pub ulid: String,
    /// The times of its samples; in the file, the end is one beyond.
    pub times: TimeRange,
    /// Samples, as whoever wrote it counted them.
    pub samples: u64,
    /// Series, likewise.
    pub series: u64,
    /// Chunks, likewise.
    pub chunks: u64,
    /// The blocks that it was compacted from; their samples are in it.
    pub parents: Vec<Parent>,
}

/// A block that another was compacted from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Parent {
    /// Its identity.
    pub ulid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: u32,
    ulid: String,
    min_time: i64,
    max_time: i64,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    compaction: Compaction,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    num_samples: u64,
    num_series: u64,
    num_chunks: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Compaction {
    parents: Vec<Parent>,
}

impl Meta {
    /// Reads the `meta.json` of the block in `folder`; `None` when there is none, so that the folder is no block.
    pub fn read(files: &dyn FileSystem, folder: &Path) -> Result<Option<Self>, BlockError> {
        let path = folder.join(FILE);
        let failed = || BlockError::io("read", &path);
        let file = match files.open(&path, Open::read()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed())?,
        };
        let len = file.len().map_err(failed())?;
        if len > BYTES_MAX {
            return Err(BlockError::unreadable(
                &path,
                format!("it has {len} bytes, at most {BYTES_MAX} are read"),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(0, &mut bytes).map_err(failed())?;
        Self::parse(&bytes)
            .map(Some)
            .map_err(|what| BlockError::unreadable(&path, what))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            return Err(format!(
                "it is of version {}, only {VERSION} is known",
                file.version
            ));
        }
        // Identities become keys and parts of messages.
        let is_ulid = |text: &str| {
            text.len() == ULID_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !is_ulid(&file.ulid) {
            return Err(format!("{:?} is no ULID", file.ulid));
        }
        Ok(Self {
            ulid: file.ulid,
            times: TimeRange::new(
                TimestampMs(file.min_time),
                TimestampMs(file.max_time.saturating_sub(1)),
            ),
            samples: file.stats.num_samples,
            series: file.stats.num_series,
            chunks: file.stats.num_chunks,
            parents: file.compaction.parents,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_writes_is_understood() {
        let text = br#"{"ulid":"01HF0000000000000000000000","minTime":1000,"maxTime":7200000,
            "stats":{"numSamples":3,"numSeries":2,"numChunks":1,"numTombstones":4},
            "compaction":{"level":2,"sources":["01HF0000000000000000000001"],
              "parents":[{"ulid":"01HF0000000000000000000001","minTime":0,"maxTime":1}]},"version":1,"new":{}}"#;
        let meta = Meta::parse(text).unwrap();
        assert_eq!(meta.times.end, TimestampMs(7_199_999));
        assert_eq!((meta.samples, meta.series, meta.chunks), (3, 2, 1));
        assert_eq!(meta.parents[0].ulid, "01HF0000000000000000000001");
    }

    #[test]
    fn other_versions_and_identities_are_refused() {
        let with = |ulid: &str, version: u32| {
            Meta::parse(
                format!(r#"{{"ulid":"{ulid}","minTime":0,"maxTime":1,"version":{version}}}"#)
                    .as_bytes(),
            )
        };
        assert!(with("01HF0000000000000000000000", 1).is_ok());
        assert!(
            with("01HF0000000000000000000000", 2)
                .unwrap_err()
                .contains("version 2")
        );
        assert!(
            with("../../../../../../../etc/x", 1)
                .unwrap_err()
                .contains("ULID")
        );
        assert!(Meta::parse(b"{").is_err());
    }
}
