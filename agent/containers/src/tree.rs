//! The cgroups there are: found by walking, shared by who reads them and who watches them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clock::Monotonic;

use crate::config::ContainersConfig;
use crate::files::{Descriptors, Folders, read_whole};
use crate::layout::{Layout, Version, below};
use crate::metrics::Metrics;
use crate::place::Place;
use crate::reading::{Reader, Reading};

/// Folders of one level that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Folders that one walk enters; what is beyond waits for events and the next walk.
const FOLDERS_MAX: usize = 20_000;
/// A path further in is nobody's idea of a slice.
const DEPTH_MAX: usize = 32;
/// A path longer than the kernel allows of one call.
const ID_BYTES_MAX: usize = 4_000;

/// The groups.
#[derive(Debug)]
pub(crate) struct Tree {
    layout: Arc<Layout>,
    descriptors: Descriptors,
    groups_max: usize,
    others_max: usize,
    metrics: Metrics,
    groups: Mutex<Groups>,
    next_serial: AtomicU64,
}

#[derive(Debug, Default)]
struct Groups {
    by_id: BTreeMap<Arc<str>, Arc<Group>>,
    workloads: usize,
    /// Gone, and not yet done with.
    ended: Vec<Arc<Group>>,
}

/// A cgroup.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) place: Place,
    /// A number that no other has, higher than those of older ones.
    pub(crate) serial: u64,
    /// Whether something is known to run in it: asked without waiting for who reads it.
    is_running: AtomicBool,
    state: Mutex<State>,
}

/// What is known of a cgroup, and how far it is in its life.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) folders: Folders,
    pub(crate) reading: Reading,
    /// Whether there are processes in it, or nobody can tell.
    pub(crate) is_populated: bool,
    /// When it was read for the last time, since when nothing ran in it; `None` when that was given, or something runs.
    pub(crate) last: Option<Monotonic>,
    /// Whether its folder is gone.
    pub(crate) is_gone: bool,
}

impl Group {
    /// Returns whether something is known to run in it.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A reading that panicked half way leaves values of two moments.
        (self.state.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

/// What watches folders as they are found.
pub(crate) trait Watch {
    /// A folder whose groups below are to be known; called before it is read.
    fn folder(&mut self, id: &Arc<str>, path: &Path);
    /// A group that is new.
    fn group(&mut self, group: &Arc<Group>);
}

/// Watches nothing.
impl Watch for () {
    fn folder(&mut self, _: &Arc<str>, _: &Path) {}
    fn group(&mut self, _: &Arc<Group>) {}
}

impl Tree {
    pub(crate) fn new(layout: Layout, config: &ContainersConfig, metrics: Metrics) -> Self {
        Self {
            layout: Arc::new(layout),
            descriptors: Descriptors::new(config.descriptors_max),
            groups_max: config.groups_max,
            others_max: config.others_max,
            metrics,
            groups: Mutex::default(),
            next_serial: AtomicU64::new(0),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn version(&self) -> Version {
        self.layout.version()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Walks through everything below the group `id`, and takes in what is new; forgets nothing.
    ///
    /// Bounded by the number of folders, their depth and their entries, whatever somebody made there.
    pub(crate) fn walk(&self, id: &str, watch: &mut dyn Watch) {
        let (mut waiting, mut entered) = (vec![Arc::<str>::from(id)], 0);
        while let Some(id) = waiting.pop() {
            let path = below(self.layout.tree(), &id);
            let place = Place::of(&id);
            let is_closed = place.is_closed();
            if !self.take_in(&id, place, &path, watch) || is_closed {
                continue;
            }
            entered += 1;
            if entered > FOLDERS_MAX || id.matches('/').count() > DEPTH_MAX {
                self.metrics.refused.inc();
                continue;
            }
            watch.folder(&id, &path);
            let Ok(entries) = fs::read_dir(&path) else {
                continue;
            };
            for entry in entries.take(ENTRIES_MAX).flatten() {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|name| is_folder && is_followed(name)) else {
                    continue;
                };
                if waiting.len() < FOLDERS_MAX {
                    waiting.push(child(&id, name));
                }
            }
        }
    }

    /// Takes in one group; returns whether there was room.
    fn take_in(&self, id: &Arc<str>, place: Place, path: &Path, watch: &mut dyn Watch) -> bool {
        let mut groups = self.lock();
        if groups.by_id.contains_key(id) {
            return true;
        }
        let others = groups.by_id.len() - groups.workloads;
        let has_room = match place.is_workload() {
            true => groups.workloads < self.groups_max,
            false => others < self.others_max,
        };
        if !has_room || id.len() > ID_BYTES_MAX {
            self.metrics.refused.inc();
            return false;
        }
        if !path.is_dir() {
            return false;
        }
        groups.workloads += usize::from(place.is_workload());
        let folders = Folders::new(
            Arc::clone(&self.layout),
            Arc::clone(id),
            self.descriptors.clone(),
        );
        let group = Arc::new(Group {
            id: Arc::clone(id),
            serial: self.next_serial.fetch_add(1, Ordering::Relaxed),
            is_running: AtomicBool::new(false),
            state: Mutex::new(State {
                folders,
                reading: Reading::default(),
                // What holds other groups is there without processes, too.
                is_populated: !place.is_closed(),
                last: None,
                is_gone: false,
            }),
            place,
        });
        groups.by_id.insert(Arc::clone(id), Arc::clone(&group));
        drop(groups);
        watch.group(&group);
        true
    }

    /// Returns all groups, those that are gone first.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        let groups = self.lock();
        let all = groups.ended.iter().chain(groups.by_id.values());
        all.cloned().collect()
    }

    /// Forgets groups that are gone and done with, by their serials.
    pub(crate) fn forget(&self, done: &[u64]) {
        if !done.is_empty() {
            let mut groups = self.lock();
            groups.ended.retain(|group| !done.contains(&group.serial));
        }
    }

    /// Ends the group `id` and all below it: their folders are gone.
    pub(crate) fn remove(&self, id: &str) {
        let mut groups = self.lock();
        let inner = format!("{id}/");
        let from = groups.by_id.range(Arc::<str>::from(id)..);
        let gone: Vec<Arc<Group>> = from
            .take_while(|(key, _)| key.starts_with(id))
            .filter(|(key, _)| &***key == id || key.starts_with(&inner))
            .map(|(_, group)| Arc::clone(group))
            .collect();
        for group in &gone {
            groups.by_id.remove(&group.id);
            groups.workloads -= usize::from(group.place.is_workload());
        }
        groups.ended.extend(gone.iter().cloned());
        drop(groups);
        for group in gone {
            let mut state = group.lock();
            let was_running = state.is_populated && state.last.is_none();
            if was_running && group.place.is_closed() && state.reading.cpu.is_some() {
                self.metrics.last_missed.inc();
            }
            state.is_gone = true;
            state.is_populated = false;
            state.folders.close();
        }
    }

    /// Looks whether something runs in a group: when that has just ended, it is read once more.
    pub(crate) fn check(&self, group: &Group, now: Monotonic, buffer: &mut Vec<u8>) {
        match self.is_populated(&group.id) {
            Some(false) => self.end(group, now, buffer),
            Some(true) => self.begin(group, buffer),
            // Who cannot be asked is taken to run, while it is there.
            None if self.is_there(&group.id) => self.begin(group, buffer),
            None => {}
        }
    }

    /// Reads a group in which nothing runs any more, for the last time, at `now`.
    ///
    /// Who reads the group at this moment may be held up, so it is not waited for: its files are opened anew.
    pub(crate) fn end(&self, group: &Group, now: Monotonic, buffer: &mut Vec<u8>) {
        let at_once = group.state.try_lock().ok();
        let apart = at_once.is_none().then(|| {
            let no_descriptors = Descriptors::new(0);
            let (layout, id) = (Arc::clone(&self.layout), Arc::clone(&group.id));
            let mut folders = Folders::new(layout, id, no_descriptors);
            let mut reading = Reading::default();
            let is_recorded = self.take_last(&mut folders, &mut reading, buffer);
            (reading, is_recorded)
        });
        let mut state = at_once.unwrap_or_else(|| group.lock());
        group.is_running.store(false, Ordering::Release);
        if !state.is_populated || state.last.is_some() {
            return;
        }
        let is_recorded = match apart {
            Some((reading, is_recorded)) => {
                state.reading.renew(reading);
                is_recorded
            }
            None => {
                let State {
                    folders, reading, ..
                } = &mut *state;
                self.take_last(folders, reading, buffer)
            }
        };
        if is_recorded {
            state.last = Some(now);
        }
        if group.place.is_closed() {
            state.is_populated = false;
            let outcome = match is_recorded {
                true => &self.metrics.last_recorded,
                false => &self.metrics.last_missed,
            };
            outcome.inc();
        }
    }

    fn take_last(
        &self,
        folders: &mut Folders,
        reading: &mut Reading,
        buffer: &mut Vec<u8>,
    ) -> bool {
        let mut reader = Reader::new(folders, buffer);
        let is_recorded = reading.take_last(self.version(), &mut reader);
        self.metrics.file_errors.add(reader.errors());
        is_recorded
    }

    /// Something runs in a group (again).
    pub(crate) fn begin(&self, group: &Group, buffer: &mut Vec<u8>) {
        if group.is_running() {
            return;
        }
        let mut state = group.lock();
        if state.is_gone {
            return;
        }
        group.is_running.store(true, Ordering::Release);
        state.is_populated = true;
        state.last = None;
        if state.reading == Reading::default() {
            self.read(&mut state, false, buffer);
        }
    }

    /// Reads a group; returns whether its folder is still there.
    pub(crate) fn read(&self, state: &mut State, seldom: bool, buffer: &mut Vec<u8>) -> bool {
        let State {
            folders, reading, ..
        } = state;
        let mut reader = Reader::new(folders, buffer);
        reading.take_often(self.version(), &mut reader);
        if seldom {
            reading.take_seldom(self.version(), &mut reader);
        }
        self.metrics.file_errors.add(reader.errors());
        reading.cpu.is_some() || reading.memory.is_some() || reader.missing() == 0
    }

    /// Returns whether the folder of a group is there.
    pub(crate) fn is_there(&self, id: &str) -> bool {
        below(self.layout.tree(), id).is_dir()
    }

    /// Returns whether something runs in a group; `None` when nobody can tell.
    fn is_populated(&self, id: &str) -> Option<bool> {
        let events = self.layout.events_file(id);
        if let Some(events) = events.and_then(|path| read_whole(&path)) {
            return populated(&events);
        }
        let processes = read_whole(&below(self.layout.tree(), id).join("cgroup.procs"))?;
        Some(!processes.trim_ascii().is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Groups> {
        // Lists are changed in single steps.
        (self.groups.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the field `populated` of a `cgroup.events`.
pub(crate) fn populated(events: &[u8]) -> Option<bool> {
    let mut lines = scan::lines(events);
    let word = lines.find_map(|line| line.strip_prefix(b"populated "))?;
    match word.trim_ascii() {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

/// Mounts are no groups of processes.
fn is_followed(name: &str) -> bool {
    !name.ends_with(".mount")
}

pub(crate) fn child(id: &str, name: &str) -> Arc<str> {
    match id {
        "/" => format!("/{name}").into(),
        _ => format!("{id}/{name}").into(),
    }
}
