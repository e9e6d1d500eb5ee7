//! The workload of the storage comparison: hosts whose series move as recorded ones do, without end and by a seed.
//!
//! A **host** is one cohort of about a thousand series: a node exporter (the recorded scrapes, scaled, CPUs extended to eight), 22
//! containers with 20 series each as cAdvisor has them (CPU time to the nanosecond, memory in pages of 4 KiB, two in five of the
//! containers idle), and two request histograms of twelve buckets. 97 hosts are about 100,000 series.
//!
//! How a recorded series becomes another host's: its changes within one interval are multiplied by a factor of the host and one of the
//! series (log-normal), rounded to the series' own granularity, up or down by chance so that the mean stays, and added up
//! ([`node`]). So no two hosts are alike, constant series stay constant, counters never fall, and every value has as many digits as the
//! recorded ones have. The recording is walked in a circle from a place of the host's own.
//!
//! Rows are made one after the other and never held: what a host holds is some forty bytes per series, and its label sets.
//! The same shape and host number give the same rows, to the bit.

mod container;
mod decimal;
mod histogram;
mod node;

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use fastrand::Rng;
use model::{Labels, LabelsBuilder, METRIC_NAME, MetricType, TimestampMs};

use crate::Recording;
use container::Container;
use histogram::RequestHistogram;
use node::{Node, NodeProfile};

/// Hosts of the whole workload.
pub const HOSTS: usize = 97;

/// What hosts are made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whatever differs between two runs comes from here.
    pub seed: u64,
    /// The time between two rows: whole seconds.
    pub interval: Duration,
    /// Whether rows come up to 5 ms late, one in a hundred up to 45 ms, instead of just in time.
    pub jitter: bool,
    /// CPUs of a host.
    pub cpus: usize,
    /// Containers of a host.
    pub containers: usize,
    /// Request histograms of a host.
    pub histograms: usize,
}

impl Shape {
    /// Returns the shape of the whole workload: a thousand series every 15 s, just in time.
    pub const fn whole() -> Self {
        Self {
            seed: 0x9e37_79b9_7f4a_7c15,
            interval: Duration::from_secs(15),
            jitter: false,
            cpus: 8,
            containers: 22,
            histograms: 2,
        }
    }

    /// Returns the shape of a bare node: about 500 series, as they were recorded.
    pub const fn node_only() -> Self {
        Self {
            cpus: 2,
            containers: 0,
            histograms: 0,
            ..Self::whole()
        }
    }
}

/// Makes hosts.
#[derive(Clone, Debug)]
pub struct Workload {
    shape: Shape,
    profile: Arc<NodeProfile>,
}

impl Workload {
    /// Returns the workload of this shape, its nodes after `recording`.
    pub fn new(shape: Shape, recording: &Recording) -> anyhow::Result<Self> {
        let seconds = shape.interval.as_secs();
        ensure!(
            seconds > 0 && shape.interval.subsec_nanos() == 0,
            "an interval of {:?} is not one of whole seconds, as the recording needs it",
            shape.interval
        );
        let profile = NodeProfile::new(recording, shape.cpus, usize::try_from(seconds)?)?;
        Ok(Self {
            shape,
            profile: Arc::new(profile),
        })
    }

    /// Returns host `number`, whose first row is at `start`.
    pub fn host(&self, number: usize, start: TimestampMs) -> Host {
        Host::new(self.shape, Arc::clone(&self.profile), number, start)
    }
}

/// A series of a host.
#[derive(Clone, Debug)]
pub struct HostSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its metric's type.
    pub kind: MetricType,
}

/// One host: its series, and an endless run of rows.
#[derive(Debug)]
pub struct Host {
    name: String,
    series: Vec<HostSeries>,
    rng: Rng,
    interval_ms: i64,
    jitter: bool,
    due: TimestampMs,
    node: Node,
    containers: Vec<Container>,
    histograms: Vec<RequestHistogram>,
}

impl Host {
    fn new(shape: Shape, profile: Arc<NodeProfile>, number: usize, start: TimestampMs) -> Self {
        // Mixed, so that neighbours do not begin alike.
        let seed = shape.seed ^ (number as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
        let mut rng = Rng::with_seed(seed);
        let names = Names::new(number, &mut rng);
        let mut series = Vec::new();
        let node = Node::new(profile, &names, &mut rng, &mut series);
        let containers = (0..shape.containers)
            .map(|ordinal| Container::new(ordinal, &names, shape.interval, &mut rng, &mut series))
            .collect();
        let histograms = (0..shape.histograms)
            .map(|ordinal| {
                RequestHistogram::new(ordinal, &names, shape.interval, &mut rng, &mut series)
            })
            .collect();
        Self {
            name: names.node,
            series,
            rng,
            interval_ms: i64::try_from(shape.interval.as_millis()).unwrap_or(i64::MAX),
            jitter: shape.jitter,
            due: start,
            node,
            containers,
            histograms,
        }
    }

    /// Returns the host's name: the label `node` of all its series.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the series, in the order of the values of a row.
    pub fn series(&self) -> &[HostSeries] {
        &self.series
    }

    /// Puts the values of the next row into `values`, one per series, and returns its time.
    pub fn next_row(&mut self, values: &mut Vec<f64>) -> TimestampMs {
        values.clear();
        self.node.put(&mut self.rng, values);
        for container in &mut self.containers {
            container.put(&mut self.rng, values);
        }
        for histogram in &mut self.histograms {
            histogram.put(&mut self.rng, values);
        }
        let late = match (self.jitter, self.rng.u8(..100)) {
            (false, _) => 0,
            (true, 0) => self.rng.i64(5..=45),
            (true, _) => self.rng.i64(0..=5),
        };
        let at = self
            .due
            .saturating_add(Duration::from_millis(late.unsigned_abs()));
        self.due = TimestampMs(self.due.0.saturating_add(self.interval_ms));
        at
    }
}

/// What a host is called, in the many ways that labels have.
#[derive(Debug)]
struct Names {
    node: String,
    address: String,
    suffix: String,
}

impl Names {
    fn new(number: usize, rng: &mut Rng) -> Self {
        let (high, low) = (number / 200, number % 200 + 10);
        Self {
            node: format!("ip-10-0-{high}-{low}.eu-central-1.compute.internal"),
            address: format!("10.0.{high}.{low}"),
            suffix: text(rng, b"bcdfghjklmnpqrstvwxz2456789", 5),
        }
    }
}

/// Returns `length` characters of an alphabet.
fn text(rng: &mut Rng, alphabet: &[u8], length: usize) -> String {
    (0..length)
        .map(|_| char::from(alphabet[rng.usize(..alphabet.len())]))
        .collect()
}

/// Returns a factor whose logarithm is normal around 0 with this deviation.
fn log_normal(rng: &mut Rng, deviation: f64) -> f64 {
    (normal(rng) * deviation).exp()
}

/// Returns a normal deviate: twelve uniform ones, added up, are near enough.
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
}

/// Returns a whole number near `value`, up or down by chance, so that the mean is `value`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, and workloads stay far below"
)]
fn round_by_chance(rng: &mut Rng, value: f64) -> i64 {
    (value + rng.f64()).floor() as i64
}

fn labels(name: &str, own: &[(&str, &str)], common: &[(&str, &str)]) -> Labels {
    let mut builder = LabelsBuilder::new();
    for (name, value) in common.iter().chain(own) {
        builder.set(*name, *value);
    }
    builder.set(METRIC_NAME, name);
    builder.build()
}

#[cfg(test)]
mod tests;
