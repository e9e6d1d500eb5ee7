//! A host's node exporter: recorded series, scaled.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use exposition::{Entry, TextParser};
use fastrand::Rng;
use model::MetricType;

use super::decimal::Granularity;
use super::{HostSeries, Names, labels, log_normal, round_by_chance};
use crate::Recording;

/// The deviation of the logarithm of a host's factor, and of a series'.
const HOST_DEVIATION: f64 = 0.5;
const SERIES_DEVIATION: f64 = 0.5;

/// What the recording says of each series, shared by all hosts.
#[derive(Debug)]
pub(super) struct NodeProfile {
    series: Vec<Profile>,
    /// Seconds between two rows.
    seconds: usize,
}

/// One series, as recorded: one value per second.
#[derive(Debug)]
struct Profile {
    name: String,
    own: Vec<(String, String)>,
    kind: MetricType,
    values: Arc<[f64]>,
    granularity: Option<Granularity>,
    /// Only rises: its changes go on where the recording ends. Others walk the recording to and fro.
    rises: bool,
    constant: bool,
    /// Where it begins in the recording, beside the host's own place: copies of a CPU must not move together.
    shift: usize,
}

impl NodeProfile {
    pub(super) fn new(recording: &Recording, cpus: usize, seconds: usize) -> anyhow::Result<Self> {
        ensure!(
            recording.scrapes.len() > seconds,
            "{} recorded scrapes are too few for an interval of {seconds} s",
            recording.scrapes.len()
        );
        let mut series = Vec::new();
        let mut per_cpu: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (slot, raw) in recording.series.iter().enumerate() {
            let profile = Profile::new(recording, slot, raw)?;
            if let Some((_, cpu)) = profile.own.iter().find(|(name, _)| name == "cpu") {
                per_cpu.entry(cpu.clone()).or_default().push(series.len());
            }
            series.push(profile);
        }
        let recorded: Vec<Vec<usize>> = per_cpu.into_values().collect();
        for cpu in recorded.len()..cpus {
            let Some(of) = recorded.get(cpu % recorded.len().max(1)) else {
                break;
            };
            let copies: Vec<Profile> = of.iter().map(|at| series[*at].of_cpu(cpu)).collect();
            series.extend(copies);
        }
        Ok(Self { series, seconds })
    }
}

impl Profile {
    fn new(recording: &Recording, slot: usize, raw: &str) -> anyhow::Result<Self> {
        let line = format!("{raw} 0\n");
        let entry = TextParser::new(line.as_bytes())
            .next()
            .context("a line is there")?;
        let Entry::Sample(sample) = entry.with_context(|| format!("cannot read {raw}"))? else {
            anyhow::bail!("{raw} is no series");
        };
        let mut values: Vec<f64> = Vec::with_capacity(recording.scrapes.len());
        for scrape in &recording.scrapes {
            let value = scrape.get(slot).copied().flatten();
            // A value that is absent stays as it was.
            values.push(value.or_else(|| values.last().copied()).unwrap_or(0.0));
        }
        let name = sample.series.name().decode().into_owned();
        let pairs = sample.series.labels();
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        let counts = name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_sum");
        Ok(Self {
            own: pairs.collect(),
            kind: if counts {
                MetricType::Counter
            } else {
                MetricType::Gauge
            },
            name,
            granularity: Granularity::of(&values),
            rises: values.windows(2).all(|pair| pair[0] <= pair[1]),
            constant: values
                .windows(2)
                .all(|pair| pair[0].to_bits() == pair[1].to_bits()),
            values: values.into(),
            shift: 0,
        })
    }

    fn of_cpu(&self, cpu: usize) -> Self {
        let own = self.own.iter().map(|(name, value)| match name.as_str() {
            "cpu" => (name.clone(), cpu.to_string()),
            _ => (name.clone(), value.clone()),
        });
        Self {
            own: own.collect(),
            name: self.name.clone(),
            values: Arc::clone(&self.values),
            shift: cpu * 61,
            ..*self
        }
    }

    /// Returns how much the series changes in `seconds` from a second of the circle on.
    fn change(&self, from: usize, seconds: usize) -> f64 {
        if self.rises {
            let last = self.values.len() - 1;
            let (rounds, end) = (
                (from % last + seconds) / last,
                (from % last + seconds) % last,
            );
            let whole = self.values[last] - self.values[0];
            self.values[end] + whole * rounds as f64 - self.values[from % last]
        } else {
            self.to_and_fro(from + seconds) - self.to_and_fro(from)
        }
    }

    fn to_and_fro(&self, second: usize) -> f64 {
        let last = self.values.len() - 1;
        let at = second % (2 * last);
        self.values[if at <= last { at } else { 2 * last - at }]
    }
}

/// One host's node exporter.
#[derive(Debug)]
pub(super) struct Node {
    profile: Arc<NodeProfile>,
    /// By series.
    states: Vec<State>,
    /// The host's place in the recording.
    second: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    factor: f64,
    steps: i64,
    value: f64,
}

impl Node {
    pub(super) fn new(
        profile: Arc<NodeProfile>,
        names: &Names,
        rng: &mut Rng,
        series: &mut Vec<HostSeries>,
    ) -> Self {
        let instance = format!("{}:9100", names.address);
        let pod = format!("node-exporter-{}", names.suffix);
        let common = [
            ("container", "node-exporter"),
            ("endpoint", "https"),
            ("instance", instance.as_str()),
            ("job", "node-exporter"),
            ("namespace", "monitoring"),
            ("node", names.node.as_str()),
            ("pod", pod.as_str()),
            ("service", "node-exporter"),
        ];
        let of_host = log_normal(rng, HOST_DEVIATION);
        let mut states = Vec::with_capacity(profile.series.len());
        for recorded in &profile.series {
            let own = recorded
                .own
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            series.push(HostSeries {
                labels: labels(&recorded.name, &own.collect::<Vec<_>>(), &common),
                kind: recorded.kind,
            });
            states.push(State::new(
                recorded,
                of_host * log_normal(rng, SERIES_DEVIATION),
                rng,
            ));
        }
        Self {
            second: rng.usize(..10_000),
            states,
            profile,
        }
    }

    pub(super) fn put(&mut self, rng: &mut Rng, values: &mut Vec<f64>) {
        let seconds = self.profile.seconds;
        for (recorded, state) in self.profile.series.iter().zip(&mut self.states) {
            if !recorded.constant {
                state.go_on(
                    recorded,
                    recorded.change(self.second + recorded.shift, seconds),
                    rng,
                );
            }
            values.push(state.value);
        }
        self.second += seconds;
    }
}

impl State {
    fn new(recorded: &Profile, factor: f64, rng: &mut Rng) -> Self {
        let first = recorded.values[0];
        let mut state = Self {
            factor,
            steps: 0,
            value: first,
        };
        if let (Some(granularity), false) = (recorded.granularity, recorded.constant) {
            state.steps = round_by_chance(rng, granularity.steps(first) * factor);
            state.value = granularity.value(state.steps);
        }
        state
    }

    fn go_on(&mut self, recorded: &Profile, change: f64, rng: &mut Rng) {
        if change == 0.0 {
            return;
        }
        match recorded.granularity {
            Some(granularity) => {
                self.steps += round_by_chance(rng, granularity.steps(change) * self.factor);
                self.value = granularity.value(self.steps);
            }
            None => self.value += change * self.factor,
        }
    }
}
