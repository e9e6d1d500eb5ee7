//! Reads all groups and hands them out, each under its names.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::{Monotonic, SharedClock};
use rows::Sink;

use crate::config::ContainersConfig;
use crate::devices::DeviceNames;
use crate::exits::Exits;
use crate::families::{Besides, Identity, give_often, give_seldom};
use crate::files::{CgroupFile, Files, read_whole};
use crate::layout::{Controller, Layout};
use crate::metrics::Metrics;
use crate::names::{About, Names, found, found_pod};
use crate::network::Network;
use crate::place::Place;
use crate::processes;
use crate::reading::{MemoryLimits, Reading};
use crate::tree::{Group, Tree, Turn};
use crate::watch::Watcher;

/// A container waits so long for its names; then it is shown without.
const PATIENCE: Duration = Duration::from_secs(3);
/// The disk is searched so often for one name.
const SEARCHES_MAX: u32 = 3;

const PROCESSES: CgroupFile = CgroupFile::opened(Controller::Core, "cgroup.procs");

/// How often samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// What dashboards and rules use of pods and containers.
    Fast,
    /// The rest, and all of other groups.
    Slow,
}

/// A group as it is shown under one set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Showing(u64);

/// What a [`Taker`] is told of samples.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// Whose they are.
    pub showing: Showing,
    /// The group's path; of an exit, `/exit/` and the container's id.
    pub id: &'a str,
    /// Which they are.
    pub tier: Tier,
    /// How long ago they were read, when they are the group's last.
    pub last: Option<Duration>,
}

/// Takes samples of groups.
pub trait Taker {
    /// Takes samples: `give` hands them to a sink, in the same order each time.
    fn take(&mut self, taken: Taken<'_>, give: &dyn Fn(&mut dyn Sink));

    /// There will be no more samples of this.
    fn ended(&mut self, showing: Showing);
}

/// The containers of a machine, with the groups around them.
///
/// Blocking: its owner calls it from a thread of its own. Dropping it ends the watch.
#[derive(Debug)]
pub struct Containers {
    config: ContainersConfig,
    clock: SharedClock,
    names: Names,
    metrics: Metrics,
    /// `None` until there are cgroups.
    tree: Option<Arc<Tree>>,
    watcher: Option<Watcher>,
    known: HashMap<u64, Known>,
    exits: Exits,
    next_showing: u64,
    devices: DeviceNames,
    names_generation: u64,
    buffer: Vec<u8>,
}

/// What is known of a group beyond its files.
#[derive(Debug)]
struct Known {
    since: Monotonic,
    /// When its folder was made, in seconds since the epoch.
    made: Option<f64>,
    about: Option<Arc<About>>,
    identity: Option<Arc<Identity>>,
    /// Whether the identity has all names that it will ever have.
    is_named: bool,
    searches: u32,
    showing: Option<Showing>,
    /// Whether it is shown under names that it has no more.
    is_renamed: bool,
    is_superseded: bool,
    was_read: bool,
    /// Whether its folder was gone before its end was known here.
    is_ending: bool,
    network: Option<Network>,
}

impl Containers {
    /// Returns a collector that knows groups by `names`; reads nothing yet.
    pub fn new(
        config: ContainersConfig,
        names: Names,
        metrics: Metrics,
        clock: SharedClock,
    ) -> Self {
        Self {
            config,
            clock,
            names,
            metrics,
            tree: None,
            watcher: None,
            known: HashMap::new(),
            exits: Exits::default(),
            next_showing: 0,
            devices: DeviceNames::default(),
            names_generation: 0,
            buffer: Vec::new(),
        }
    }

    /// Starts the thread that watches groups; where there are no cgroups, nothing is watched.
    pub fn watch(&mut self) -> io::Result<()> {
        if let (Some(tree), None) = (self.tree(), &self.watcher) {
            self.watcher = Some(Watcher::start(tree, Arc::clone(&self.clock))?);
        }
        Ok(())
    }

    /// Reads what is due, the slow tier as well if so told, and hands it out.
    ///
    /// Takes some tens of microseconds per group; a container whose names are not known yet is held back for some seconds.
    pub fn collect(&mut self, slow: bool, taker: &mut dyn Taker) {
        self.collect_with(slow, PATIENCE, taker);
    }

    /// Reads everything once and hands it out; waits for no names.
    pub fn collect_once(&mut self, taker: &mut dyn Taker) {
        self.collect_with(true, Duration::ZERO, taker);
    }

    fn tree(&mut self) -> Option<Arc<Tree>> {
        if self.tree.is_none() {
            let layout = Layout::find(&self.config.cgroupfs)?;
            let tree = Tree::new(layout, &self.config, self.metrics.clone());
            self.tree = Some(Arc::new(tree));
        }
        self.tree.clone()
    }

    fn collect_with(&mut self, slow: bool, patience: Duration, taker: &mut dyn Taker) {
        let Some(tree) = self.tree() else {
            return;
        };
        let now = self.clock.monotonic();
        if self.watcher.is_none() {
            tree.walk("/", &mut ());
        }
        if slow {
            let diskstats = read_whole(&self.config.procfs.join("diskstats"));
            self.devices = DeviceNames::read(&diskstats.unwrap_or_default());
        }
        let groups = tree.groups();
        if self.watcher.is_none() {
            for group in groups.iter().filter(|group| group.place.is_closed()) {
                if let Some(turn) = tree.look(group, now, &mut self.buffer) {
                    tree.wait_for_turn(group, turn, &mut self.buffer);
                }
            }
        }
        let has_news = self.names.generation() != self.names_generation;
        self.name(&groups, now, patience);
        self.supersede(&groups);
        let mut done = Vec::new();
        for group in &groups {
            if self.collect_group(&tree, group, slow, now, taker) {
                self.known.remove(&group.serial);
                done.push(group.serial);
            }
        }
        tree.forget(&done);
        if slow || has_news {
            let next = || {
                self.next_showing += 1;
                Showing(self.next_showing)
            };
            self.exits.collect(&self.names, next, taker);
        }
        if slow {
            self.count(&groups);
        }
    }

    /// Finds out who groups are.
    fn name(&mut self, groups: &[Arc<Group>], now: Monotonic, patience: Duration) {
        let generation = self.names.generation();
        let has_news = std::mem::replace(&mut self.names_generation, generation) != generation;
        for group in groups {
            let made = || made(self.tree.as_deref(), group);
            let known = (self.known.entry(group.serial)).or_insert_with(|| Known::new(now, made));
            let lacks_process = (known.about.as_ref())
                .is_some_and(|about| about.is_sandbox && about.process.is_none());
            if known.is_named && !(has_news && lacks_process) {
                continue;
            }
            let is_over = group.lock().last.is_some();
            let is_urgent = is_over || now.saturating_since(known.since) >= patience;
            let naming = Naming {
                names: &self.names,
                rootfs: &self.config.rootfs,
                metrics: &self.metrics,
                is_urgent,
                has_news,
            };
            naming.name(group, known);
        }
    }

    /// Of several with the same names, the youngest stays.
    fn supersede(&mut self, groups: &[Arc<Group>]) {
        let mut youngest: HashMap<[&str; 3], (f64, u64)> = HashMap::new();
        let mut older = Vec::new();
        for group in groups.iter().filter(|group| group.place.is_closed()) {
            let Some(known) = self.known.get(&group.serial) else {
                continue;
            };
            let Some(identity) = known.identity.as_ref().filter(|i| !i.pod.is_empty()) else {
                continue;
            };
            let state = group.lock();
            if known.is_superseded || !state.is_populated {
                continue;
            }
            drop(state);
            let name = [
                identity.namespace.as_str(),
                identity.pod.as_str(),
                identity.container.as_str(),
            ];
            let age = (known.made.unwrap_or_default(), group.serial);
            let entry = youngest.entry(name).or_insert(age);
            if *entry < age {
                older.push(entry.1);
                *entry = age;
            } else if *entry > age {
                older.push(age.1);
            }
        }
        for serial in older {
            if let Some(known) = self.known.get_mut(&serial) {
                known.is_superseded = true;
                self.metrics.superseded.inc();
            }
        }
    }

    /// Returns whether a group is gone and done with.
    fn collect_group(
        &mut self,
        tree: &Tree,
        group: &Arc<Group>,
        slow: bool,
        now: Monotonic,
        taker: &mut dyn Taker,
    ) -> bool {
        let Some(known) = self.known.get_mut(&group.serial) else {
            return false;
        };
        let is_workload = group.place.is_workload();
        let mut state = group.lock();
        let (is_gone, is_over) = (state.is_gone, state.is_gone || !state.is_populated);
        if (is_over && state.last.is_none()) || known.is_superseded {
            drop(state);
            known.end(taker);
            return is_gone;
        }
        if !is_over && (is_workload || slow) {
            let seldom = slow || !known.was_read;
            if !tree.read(&mut state, seldom, &mut self.buffer) && !tree.is_there(&group.id) {
                drop(state);
                // Who watches has read it, and its end waits for the state.
                let is_told = self.watcher.is_some() && group.place.is_closed();
                if is_told && !group.is_running() && !std::mem::replace(&mut known.is_ending, true)
                {
                    return false;
                }
                for gone in tree.remove(&group.id) {
                    tree.wait_for_turn(&gone, Turn::Gone, &mut self.buffer);
                }
                return false;
            }
            known.was_read = true;
        }
        // What ended since names were looked for has its turn with the next collection, by whatever name.
        let Some(identity) = known.identity.clone() else {
            return false;
        };
        if !is_workload && !slow && !is_over {
            return false;
        }
        let last = state.last.take().filter(|_| is_over);
        if is_over {
            tree.take_rest(&mut state, &mut self.buffer);
        } else {
            let procfs = &self.config.procfs;
            known.read_network(&group.place, &state.reading, procfs, &self.metrics);
            if group.place == Place::Root {
                complete_root(&mut state.reading, procfs);
            }
        }
        let reading = state.reading.clone();
        let list = (slow && !is_over && group.place.is_closed())
            .then(|| state.folders.read(&PROCESSES, &mut self.buffer).ok())
            .flatten()
            .map(<[u8]>::to_vec);
        drop(state);
        if std::mem::take(&mut known.is_renamed) {
            known.end(taker);
        }
        let showing = *known.showing.get_or_insert_with(|| {
            self.next_showing += 1;
            Showing(self.next_showing)
        });
        let taken = Taken {
            showing,
            id: &group.id,
            tier: Tier::Fast,
            last: last.map(|read| now.saturating_since(read)),
        };
        let network = known.network.as_ref();
        let often =
            |sink: &mut dyn Sink| give_often(&identity, &reading, network, &self.devices, sink);
        let besides = Besides {
            usage: list.and_then(|list| processes::usage(&self.config.procfs, &list)),
            filesystem: match &group.place {
                Place::Container { runtime_id, .. } if slow => self.names.filesystem(runtime_id),
                _ => None,
            },
            started: (known.about.as_ref())
                .and_then(|about| about.created)
                .or(known.made),
            seen: seconds(self.clock.wall()),
        };
        let seldom =
            |sink: &mut dyn Sink| give_seldom(&identity, &reading, &besides, &self.devices, sink);
        let tier = Tier::Slow;
        if !is_workload {
            let both = |sink: &mut dyn Sink| {
                often(sink);
                seldom(sink);
            };
            taker.take(Taken { tier, ..taken }, &both);
        } else {
            taker.take(taken, &often);
            if slow || is_over {
                taker.take(Taken { tier, ..taken }, &seldom);
            }
        }
        if is_over {
            known.end(taker);
        }
        is_gone
    }

    fn count(&self, groups: &[Arc<Group>]) {
        for (kind, is_it) in [
            ("container", (|p| p.is_closed()) as fn(&Place) -> bool),
            ("pod", |p| matches!(p, Place::Pod { .. })),
            ("other", |p| matches!(p, Place::Other | Place::Root)),
        ] {
            let count = groups.iter().filter(|group| is_it(&group.place)).count();
            self.metrics.groups.with([kind]).set_count(count);
        }
    }
}

/// What names a group.
struct Naming<'a> {
    names: &'a Names,
    rootfs: &'a PathBuf,
    metrics: &'a Metrics,
    /// Whether it must have an identity now, whatever is known.
    is_urgent: bool,
    has_news: bool,
}

impl Naming<'_> {
    fn name(&self, group: &Group, known: &mut Known) {
        let id = group.id.to_string();
        match &group.place {
            Place::Root | Place::Other => known.identify(Identity {
                id,
                ..Identity::default()
            }),
            Place::Pod { uid } => {
                let pod = (self.names.pod(uid))
                    .or_else(|| known.search(self.has_news, || found_pod(self.rootfs, uid)));
                match pod {
                    Some((namespace, pod)) => known.identify(Identity {
                        id,
                        namespace,
                        pod,
                        ..Identity::default()
                    }),
                    None => self.do_without(id, known),
                }
            }
            Place::Container {
                runtime_id,
                pod_uid,
            } => match self.about(known, runtime_id, pod_uid.as_deref()) {
                Some(about) => {
                    known.identify(Identity {
                        container: about.container.clone(),
                        id,
                        image: about.image.clone(),
                        name: about.alias.clone().unwrap_or_else(|| runtime_id.clone()),
                        namespace: about.namespace.clone(),
                        pod: about.pod.clone(),
                    });
                    known.about = Some(about);
                }
                None => self.do_without(id, known),
            },
        }
    }

    fn about(&self, known: &mut Known, id: &str, pod_uid: Option<&str>) -> Option<Arc<About>> {
        if let Some(about) = self.names.about(id) {
            return Some(about);
        }
        self.names.want();
        let about = known.search(self.has_news, || found(self.rootfs, id, pod_uid))?;
        self.metrics.names_found.inc();
        self.names.learn(about.clone());
        Some(Arc::new(about))
    }

    /// Shows a group by its path alone, once it has waited long enough.
    fn do_without(&self, id: String, known: &mut Known) {
        if self.is_urgent && known.identity.is_none() {
            self.metrics.nameless.inc();
            known.identity = Some(Arc::new(Identity {
                id,
                ..Identity::default()
            }));
        }
    }
}

impl Known {
    fn new(now: Monotonic, made: impl FnOnce() -> Option<f64>) -> Self {
        Self {
            since: now,
            made: made(),
            about: None,
            identity: None,
            is_named: false,
            searches: 0,
            showing: None,
            is_renamed: false,
            is_superseded: false,
            was_read: false,
            is_ending: false,
            network: None,
        }
    }

    /// Has its names from now on; what was shown without them ends with the next collection.
    fn identify(&mut self, identity: Identity) {
        self.is_named = true;
        if self.identity.as_deref() != Some(&identity) {
            self.is_renamed = self.showing.is_some();
            self.identity = Some(Arc::new(identity));
        }
    }

    /// Searches the disk, unless that was in vain often enough.
    fn search<T>(&mut self, has_news: bool, search: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.searches >= SEARCHES_MAX && !has_news {
            return None;
        }
        self.searches += 1;
        search()
    }

    fn end(&mut self, taker: &mut dyn Taker) {
        if let Some(showing) = self.showing.take() {
            taker.ended(showing);
        }
    }

    /// Reads the interfaces of a sandbox, by its process, and of the machine, by the first one.
    fn read_network(
        &mut self,
        place: &Place,
        reading: &Reading,
        procfs: &std::path::Path,
        metrics: &Metrics,
    ) {
        let sandbox = self.about.as_ref().filter(|about| about.is_sandbox);
        let process = match place {
            Place::Root => Some(1),
            Place::Container { .. } => {
                sandbox.and_then(|about| about.process.or(reading.first_process))
            }
            Place::Pod { .. } | Place::Other => None,
        };
        let Some(process) = process else {
            return;
        };
        let file = procfs.join(process.to_string()).join("net/dev");
        match read_whole(&file) {
            Some(bytes) => {
                let network = self.network.get_or_insert_default();
                metrics.file_errors.add(network.take(&bytes));
            }
            None => self.network = None,
        }
    }
}

/// What the kernel does not say of its root, the machine: limits are what there is.
fn complete_root(reading: &mut Reading, procfs: &std::path::Path) {
    if reading.memory_limits.is_some() || reading.memory.is_none() {
        return;
    }
    let Some(meminfo) = read_whole(&procfs.join("meminfo")) else {
        return;
    };
    let bytes = |name: &[u8]| {
        let mut rest = scan::lines(&meminfo).filter_map(|line| line.strip_prefix(name));
        let word = scan::words(rest.next()?).next()?;
        scan::number(word).map(|kibibytes| kibibytes.saturating_mul(1_024))
    };
    reading.memory_limits = bytes(b"MemTotal:").map(|limit| MemoryLimits {
        limit,
        ..MemoryLimits::default()
    });
    if let (Some(memory), Some(total), Some(free)) = (
        &mut reading.memory,
        bytes(b"SwapTotal:"),
        bytes(b"SwapFree:"),
    ) {
        memory.swap = total.saturating_sub(free);
    }
}

fn made(tree: Option<&Tree>, group: &Group) -> Option<f64> {
    let folder = tree?.layout().folder(Controller::Core, &group.id)?;
    let metadata = std::fs::metadata(folder).ok()?;
    Some(metadata.mtime() as f64)
}

fn seconds(wall: SystemTime) -> f64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs() as f64)
}
