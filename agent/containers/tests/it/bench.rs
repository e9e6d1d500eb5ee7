//! A machine made of files, and what is taken of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use containers::{
    About, Containers, ContainersConfig, Metrics, Names, Showing, Taken, Taker, Tier,
};
use rows::{Family, Sink};
use telemetry::Registry;
use tempfile::TempDir;

pub(crate) const UID: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";

/// A machine.
pub(crate) struct Bench {
    pub(crate) root: TempDir,
    pub(crate) clock: Arc<SimulatedClock>,
    pub(crate) registry: Registry,
    pub(crate) names: Names,
    pub(crate) containers: Containers,
}

impl Bench {
    /// A machine of cgroup v2.
    pub(crate) fn v2() -> Self {
        Self::new(&[("cgroup.controllers", "cpu memory\n")], |_| {})
    }

    /// A machine with these files below its cgroups.
    pub(crate) fn new(files: &[(&str, &str)], change: impl FnOnce(&mut ContainersConfig)) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("cgroup")).unwrap();
        for (path, text) in files {
            put(&root.path().join("cgroup").join(path), text);
        }
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = Arc::new(SimulatedClock::starting_at(wall));
        let registry = Registry::new();
        let names = Names::new();
        let mut config = ContainersConfig {
            cgroupfs: root.path().join("cgroup"),
            procfs: root.path().join("proc"),
            rootfs: root.path().join("root"),
            ..ContainersConfig::default()
        };
        change(&mut config);
        let containers = Containers::new(
            config,
            names.clone(),
            Metrics::new(&registry),
            Arc::<SimulatedClock>::clone(&clock),
        );
        Self {
            root,
            clock,
            registry,
            names,
            containers,
        }
    }

    pub(crate) fn cgroup(&self, path: &str) -> PathBuf {
        self.root.path().join("cgroup").join(path)
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        put(&self.cgroup(path), text);
    }

    pub(crate) fn name(&self, runtime_id: &str, container: &str) {
        self.names.learn(About {
            id: runtime_id.to_owned(),
            container: container.to_owned(),
            image: "nginx:1".to_owned(),
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            pod_uid: UID.to_owned(),
            ..About::default()
        });
    }

    pub(crate) fn collect(&mut self, slow: bool) -> Samples {
        let mut samples = Samples::default();
        self.containers.collect(slow, &mut samples);
        samples
    }

    /// A counter of the collector itself, its labels as they are written.
    pub(crate) fn own(&self, series: &str) -> f64 {
        let text = self.registry.expose(exposition::Format::Text);
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = lines.find(|(name, _)| *name == series).unwrap();
        value.parse().unwrap()
    }
}

pub(crate) fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// An id as runtimes have them.
pub(crate) fn runtime_id(number: usize) -> String {
    format!("{number:064x}")
}

/// The path of a container of a pod, without the first `/`.
pub(crate) fn container(number: usize) -> String {
    format!("kubepods/burstable/pod{UID}/{}", runtime_id(number))
}

/// Samples by series, as they are written.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) values: BTreeMap<String, f64>,
    pub(crate) kinds: BTreeMap<String, String>,
    /// Groups by path, with what their last samples' age is.
    pub(crate) shown: BTreeMap<String, (Showing, Option<Duration>)>,
    pub(crate) ended: Vec<Showing>,
    pub(crate) doubled: Vec<String>,
}

impl Samples {
    /// The values of a family by container.
    pub(crate) fn by_container(&self, family: &str) -> Vec<(String, f64)> {
        let mut all = Vec::new();
        for (series, value) in &self.values {
            let Some(labels) = series.strip_prefix(family).filter(|l| l.starts_with('{')) else {
                continue;
            };
            let name = labels.split('"').nth(1).unwrap_or_default();
            if labels.starts_with("{container=") {
                all.push((name.to_owned(), *value));
            }
        }
        all
    }
}

impl Taker for Samples {
    fn take(&mut self, taken: Taken<'_>, give: &dyn Fn(&mut dyn Sink)) {
        assert!(matches!(taken.tier, Tier::Fast | Tier::Slow));
        give(self);
        let shown = (taken.showing, taken.last);
        self.shown.insert(taken.id.to_owned(), shown);
    }

    fn ended(&mut self, showing: Showing) {
        self.ended.push(showing);
    }
}

impl Sink for Samples {
    fn sample(&mut self, family: &Family, values: &[&str], value: f64) {
        let labels = family.labels().zip(values).filter(|(_, v)| !v.is_empty());
        let mut labels: Vec<String> = labels.map(|(n, v)| format!("{n}=\"{v}\"")).collect();
        labels.sort();
        let series = format!("{}{{{}}}", family.name(), labels.join(","));
        let kind = format!("{:?}", family.kind()).to_lowercase();
        self.kinds.insert(family.name().to_owned(), kind);
        if self.values.insert(series.clone(), value).is_some() {
            self.doubled.push(series);
        }
    }
}
