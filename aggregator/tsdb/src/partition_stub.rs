//! Stand-in while `partition` is being built.
#![allow(dead_code, reason = "stand-in")]
use crate::index::{HeadIndex, HeadIndexView, IndexRead, SeriesId};
use crate::merge_runs::Arrived;
use files::FileSystem;
use model::{Exemplar, Labels, Metadata, TimeRange, TimestampMs};
use std::path::Path;
use std::sync::Arc;
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub(crate) struct PartitionError;
impl PartitionError {
    pub(crate) fn is_damage(&self) -> bool {
        false
    }
    pub(crate) fn offset(&self) -> u64 {
        0
    }
}
pub(crate) struct PartitionKey {
    pub(crate) shard: u16,
    pub(crate) span: TimeRange,
}
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimesId(u32);
pub(crate) struct PartitionSummary {
    pub(crate) bytes: u64,
    pub(crate) series: u64,
    pub(crate) samples: u64,
    pub(crate) times: TimeRange,
}
pub(crate) struct PartitionWriter;
impl PartitionWriter {
    pub(crate) fn create(
        _f: &dyn FileSystem,
        _p: &Path,
        _k: PartitionKey,
    ) -> Result<Self, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn add_times(&mut self, _t: &[TimestampMs]) -> Result<TimesId, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn start_series(&mut self, _l: &Labels) -> Result<(), PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn add_page(
        &mut self,
        _t: TimesId,
        _r: usize,
        _a: u64,
        _p: &[u8],
    ) -> Result<(), PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn add_exemplar(&mut self, _e: &Exemplar) -> Result<(), PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn add_metadata(&mut self, _m: &str, _x: &Metadata) -> Result<(), PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn finish(self) -> Result<PartitionSummary, PartitionError> {
        Err(PartitionError)
    }
}
#[derive(Debug)]
pub(crate) struct Partition {
    index: StubIndex,
}
#[derive(Debug)]
pub(crate) struct StubIndex;
impl Partition {
    pub(crate) fn open(_f: &dyn FileSystem, _p: &Path) -> Result<Self, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn index(&self) -> &StubIndex {
        &self.index
    }
    pub(crate) fn labels(&self, _i: SeriesId) -> Result<Option<Labels>, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn read(&self, _i: SeriesId, _r: TimeRange) -> Result<Vec<Arrived>, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn exemplars(
        &self,
        _i: SeriesId,
        _r: TimeRange,
    ) -> Result<Vec<Exemplar>, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn metadata(&self) -> Result<Vec<(Arc<str>, Metadata)>, PartitionError> {
        Err(PartitionError)
    }
    pub(crate) fn path(&self) -> &Path {
        Path::new("")
    }
}
impl IndexRead for StubIndex {
    type Error = PartitionError;
    fn all(&self) -> roaring::RoaringBitmap {
        Default::default()
    }
    fn names(&self) -> Result<Vec<String>, Self::Error> {
        Err(PartitionError)
    }
    fn find_value(&self, _n: &str, _v: &str) -> Result<Option<u32>, Self::Error> {
        Err(PartitionError)
    }
    fn visit_values(
        &self,
        _n: &str,
        _p: &str,
        _v: &mut dyn FnMut(&str, u32) -> std::ops::ControlFlow<()>,
    ) -> Result<(), Self::Error> {
        Err(PartitionError)
    }
    fn union(
        &self,
        _n: &str,
        _v: &[u32],
        _o: &mut roaring::RoaringBitmap,
    ) -> Result<(), Self::Error> {
        Err(PartitionError)
    }
    fn with_name(&self, _n: &str) -> Result<roaring::RoaringBitmap, Self::Error> {
        Err(PartitionError)
    }
    fn labels(&self, _s: SeriesId) -> Result<Option<Labels>, Self::Error> {
        Err(PartitionError)
    }
}
