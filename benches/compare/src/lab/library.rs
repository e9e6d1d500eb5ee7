//! Our storage library in this process, fed with two hours of rows that fill one span, by a clock that is moved.
//!
//! 1. The rows, batch by batch, as they would come from agents; the head is large enough for all.
//! 2. The clock passes the age of a head: every shard seals. The figure is the CPU time of the keeper's thread; what the files hold and
//!    take is asked of the store.
//! 3. Every series of every host is selected over all the two hours, each once, so that nothing comes decoded from the cache: the CPU
//!    time of this thread, look-up of series included, is the cost of decoding.
//! 4. The clock passes the end of the day: the store merges each shard's files of it. The figure is the CPU time of the thread that merges.
//!    The day has two hours of rows, so its pages are shorter than a whole day's: what it takes is an upper bound.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use benches::{Host, Shape, thread_cpu_time};
use clock::{SharedClock, SimulatedClock};
use files::Disk;
use model::{Matcher, TimeRange, TimestampMs};
use storage::{Queryable, SegmentValues, Select, SelectHints, Unlimited};
use tsdb::{Tsdb, TsdbConfig};

use super::{Lab, Stream, Streams, wall};
use crate::agents::now;
use crate::proc::Proc;
use crate::waiting::{pause, wait_until};

/// The span of a partition.
const SPAN: Duration = Duration::from_secs(2 * 3_600);
const KEEPER: &str = "tsdb-keeper";
const MERGER: &str = "tsdb-merge";
/// From the seal until the day is over and nothing more is expected of it.
const DAY: Duration = Duration::from_secs(30 * 3_600);
const MIB: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct LibraryRun {
    pub(crate) space: tsdb::PartitionSpace,
    pub(crate) samples: u64,
    pub(crate) sealing: Duration,
    pub(crate) decoding: Duration,
    pub(crate) decoded: u64,
    /// What the files take after the daily merge, and its CPU time.
    pub(crate) merged: tsdb::PartitionSpace,
    pub(crate) merging: Duration,
}

pub(super) fn run(lab: &Lab, jitter: bool) -> Result<LibraryRun> {
    let shape = Shape {
        jitter,
        ..Shape::whole()
    };
    let rows = lab.rows();
    // A whole span, or the beginning of one, of a past that retention allows.
    let span_ms = i64::try_from(SPAN.as_millis())?;
    let start = TimestampMs((now().0 / span_ms - 2) * span_ms);
    let workload = lab.workload(shape)?;
    let hosts: Vec<Host> = (0..lab.hosts())
        .map(|number| workload.host(number, start))
        .collect();
    let names: Vec<String> = hosts.iter().map(|host| host.name().to_owned()).collect();

    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&lab.work)?;
    let clock = Arc::new(SimulatedClock::starting_at(wall(start)?));
    clock.advance(SPAN);
    let store = open(folder.path(), Arc::<SimulatedClock>::clone(&clock))?;
    let mut streams = Streams::new();
    for host in hosts {
        streams.push(Stream::define(&store, host)?);
    }
    let mut samples = 0;
    for _ in 0..rows {
        samples += streams.append_all(&store)?;
    }

    let cpu_of = |thread: &str| -> Result<Duration> {
        Ok(Proc::own()
            .cpu_by_thread()?
            .get(thread)
            .copied()
            .unwrap_or_default())
    };
    let before = cpu_of(KEEPER)?;
    clock.advance(SPAN + Duration::from_secs(1));
    let within = Duration::from_secs(600);
    wait_until(
        "the seal of every shard",
        Duration::from_millis(50),
        within,
        || {
            let stats = store.stats();
            ensure!(stats.seal_failures == 0, "a seal failed");
            Ok((stats.seals >= u64::from(stats.shards) && stats.head_bytes < MIB).then_some(()))
        },
    )?;
    // What the keeper does last is not seen from here.
    pause(Duration::from_millis(500));
    let sealing = cpu_of(KEEPER)?.saturating_sub(before);
    let space = store.partition_space()?;
    ensure!(
        space.samples == samples,
        "{samples} samples were stored and {} sealed",
        space.samples
    );
    let before = thread_cpu_time();
    let range = TimeRange::new(start, start.saturating_add(SPAN));
    let mut decoded = 0;
    for name in &names {
        decoded += decode(&store, name, range)?;
    }
    let decoding = thread_cpu_time().saturating_sub(before);
    ensure!(
        decoded == samples,
        "{samples} samples were stored and {decoded} selected"
    );
    let before = cpu_of(MERGER)?;
    clock.advance(DAY);
    // Whatever is due is merged at once; there are no deletes.
    store.clean_deletes()?;
    let merging = cpu_of(MERGER)?.saturating_sub(before);
    let merged = store.partition_space()?;
    ensure!(
        merged.samples == samples && store.stats().merges > 0,
        "{samples} samples were sealed and {} are there after {} merges",
        merged.samples,
        store.stats().merges
    );
    store.close();
    Ok(LibraryRun {
        space,
        samples,
        sealing,
        decoding,
        decoded,
        merged,
        merging,
    })
}

fn open(folder: &Path, clock: SharedClock) -> Result<Tsdb> {
    let mut config = TsdbConfig::at(folder.join("data"));
    // All in one head.
    config.seal.head_bytes = 4_096 * MIB;
    config.seal.log_bytes = 4_096 * MIB;
    config.limits.head_bytes_max = 16_384 * MIB;
    let (store, _) = Tsdb::open(config, Arc::new(Disk), clock)?;
    Ok(store)
}

/// Selects every series of a host, and returns how many samples they have.
fn decode(store: &Tsdb, host: &str, range: TimeRange) -> Result<u64> {
    let matchers = [Matcher::equal("node", host)];
    let select = Select {
        matchers: &matchers,
        range,
        hints: SelectHints::default(),
    };
    let series = store.querier()?.select(&select, &Unlimited)?;
    let mut samples = 0;
    for segment in series.iter().flat_map(|series| &series.segments) {
        let SegmentValues::Floats(values) = &segment.values else {
            bail!("floats became something else");
        };
        samples += values.len() as u64;
    }
    ensure!(!series.is_empty(), "{host} has no series");
    Ok(samples)
}
