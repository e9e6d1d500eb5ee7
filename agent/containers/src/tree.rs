//! The cgroups there are: found by walking, shared by who reads them and who watches them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

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
    descriptors_max: usize,
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
    /// Whether only what counts in the end was read then.
    is_rest_due: bool,
    /// Whether its folder is gone.
    pub(crate) is_gone: bool,
}

impl Group {
    /// Returns whether something is known to run in it.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Acquire)
    }

    /// Notes at once what a turn makes of it, which may have to wait.
    pub(crate) fn expect(&self, turn: &Turn) {
        self.is_running.store(turn.runs(), Ordering::Release);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A reading that panicked half way leaves values of two moments.
        (self.state.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state unless somebody has it.
    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A turn in the life of a group.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Something runs in it (again).
    Begun,
    /// Nothing runs in it any more; this was read of it then.
    Ended(Monotonic, Box<Reading>),
    /// Its folder is gone.
    Gone,
}

impl Turn {
    const fn runs(&self) -> bool {
        matches!(self, Self::Begun)
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
            descriptors_max: config.descriptors_max,
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

    /// Returns how many descriptors may stay open.
    pub(crate) const fn descriptors_max(&self) -> usize {
        self.descriptors_max
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
                is_rest_due: false,
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

    /// Takes out the group `id` and all below it, whose folders are gone; each has its last turn to come.
    pub(crate) fn remove(&self, id: &str) -> Vec<Arc<Group>> {
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
        gone
    }

    /// Looks whether something runs in a group, and returns what that makes of it; `None`: nothing new.
    ///
    /// Where something may have run, what counts in the end is read before: if nothing runs any more, the group may be gone before long.
    pub(crate) fn look(&self, group: &Group, now: Monotonic, buffer: &mut Vec<u8>) -> Option<Turn> {
        let may_have_run = group.is_running() || !group.place.is_closed();
        let last = may_have_run.then(|| self.read_last(group, buffer));
        let is_running = match self.is_populated(&group.id) {
            Some(is_populated) => is_populated,
            // Who cannot be asked is taken to run, while it is there.
            None if self.is_there(&group.id) => true,
            // Only an empty group can go.
            None => {
                let last = last.filter(|last| !last.is_empty())?;
                return Some(Turn::Ended(now, last));
            }
        };
        match is_running {
            true => (!group.is_running()).then_some(Turn::Begun),
            false => Some(Turn::Ended(now, last.unwrap_or_default())),
        }
    }

    /// Reads what counts of a group in the end. When somebody has its state, its files are opened anew.
    pub(crate) fn read_last(&self, group: &Group, buffer: &mut Vec<u8>) -> Box<Reading> {
        let mut read = |folders: &mut Folders| {
            let mut reader = Reader::new(folders, buffer);
            let last = Reading::last(self.version(), &mut reader);
            self.metrics.file_errors.add(reader.errors());
            Box::new(last)
        };
        if let Some(mut state) = group.try_lock() {
            return read(&mut state.folders);
        }
        let (layout, id) = (Arc::clone(&self.layout), Arc::clone(&group.id));
        read(&mut Folders::new(layout, id, Descriptors::new(0)))
    }

    /// Lets a group take a turn, and returns whether [`Self::take_rest`] is due since then.
    ///
    /// Who reads the group at this moment may be held up, so it is not waited for: the turn comes back, to be taken later.
    pub(crate) fn take_turn(
        &self,
        group: &Group,
        turn: Turn,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, Turn> {
        match group.try_lock() {
            Some(mut state) => {
                let was_due = state.is_rest_due;
                self.give_turn(group, &mut state, turn, buffer);
                Ok(state.is_rest_due && !was_due)
            }
            None => Err(turn),
        }
    }

    /// Lets a group take a turn, once nobody has its state.
    pub(crate) fn wait_for_turn(&self, group: &Group, turn: Turn, buffer: &mut Vec<u8>) {
        group.expect(&turn);
        self.give_turn(group, &mut group.lock(), turn, buffer);
    }

    fn give_turn(&self, group: &Group, state: &mut State, turn: Turn, buffer: &mut Vec<u8>) {
        match turn {
            Turn::Begun => self.begin(state, buffer),
            Turn::Ended(at, last) => self.end(group, state, at, *last),
            Turn::Gone => self.bury(group, state),
        }
    }

    fn begin(&self, state: &mut State, buffer: &mut Vec<u8>) {
        if state.is_gone {
            return;
        }
        state.is_populated = true;
        state.last = None;
        state.is_rest_due = false;
        if state.reading == Reading::default() {
            // So that all files that count in the end are open; what is wrong with them is counted when they are read as usual.
            let mut reader = Reader::new(&mut state.folders, buffer);
            state.reading = Reading::last(self.version(), &mut reader);
            self.read(state, false, buffer);
        }
    }

    fn end(&self, group: &Group, state: &mut State, at: Monotonic, last: Reading) {
        if !state.is_populated || state.last.is_some() {
            return;
        }
        let is_recorded = state.reading.end_with(last);
        if is_recorded {
            state.last = Some(at);
            state.is_rest_due = true;
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

    fn bury(&self, group: &Group, state: &mut State) {
        let was_running = state.is_populated && state.last.is_none();
        if was_running && group.place.is_closed() && state.reading.cpu.is_some() {
            self.metrics.last_missed.inc();
        }
        state.is_gone = true;
        // Another group may come to stand there.
        state.is_rest_due = false;
        state.is_populated = false;
        state.folders.close();
    }

    /// Reads the rest of a group that has ended; returns whether that could be: not while somebody has its state.
    pub(crate) fn try_take_rest(&self, group: &Group, buffer: &mut Vec<u8>) -> bool {
        match group.try_lock() {
            Some(mut state) => {
                self.take_rest(&mut state, buffer);
                true
            }
            None => false,
        }
    }

    /// Reads what is due of a group beside what counts in the end, as far as it is still there.
    pub(crate) fn take_rest(&self, state: &mut State, buffer: &mut Vec<u8>) {
        if std::mem::take(&mut state.is_rest_due) {
            let mut reader = Reader::new(&mut state.folders, buffer);
            state.reading.take_rest(self.version(), &mut reader);
            self.metrics.file_errors.add(reader.errors());
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use telemetry::Registry;

    use super::*;

    /// A machine of cgroups v2 with one group in which something runs.
    struct Machine {
        _root: tempfile::TempDir,
        folder: PathBuf,
        tree: Tree,
        group: Arc<Group>,
    }

    impl Machine {
        fn with(id: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join(id.trim_start_matches('/'));
            fs::create_dir_all(&folder).unwrap();
            fs::write(root.path().join("cgroup.controllers"), "cpu\n").unwrap();
            put(&folder, "cgroup.events", "populated 1\n");
            put(&folder, "cpu.stat", "usage_usec 1\n");
            let (config, registry) = (ContainersConfig::default(), Registry::new());
            let layout = Layout::find(root.path()).unwrap();
            let tree = Tree::new(layout, &config, Metrics::new(&registry));
            tree.walk("/", &mut ());
            let mut groups = tree.groups().into_iter();
            let group = groups.find(|group| *group.id == *id).unwrap();
            Self {
                _root: root,
                folder,
                tree,
                group,
            }
        }

        /// Lets what runs end, after it has used so many microseconds.
        fn end(&self, usage: u64) {
            put(&self.folder, "cpu.stat", &format!("usage_usec {usage}\n"));
            put(&self.folder, "cgroup.events", "populated 0\n");
        }
    }

    fn put(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    #[test]
    fn an_end_is_read_at_once_and_noted_when_nobody_has_the_state() {
        let machine = Machine::with(&format!("/{}", "c".repeat(64)));
        let (tree, group) = (&machine.tree, &*machine.group);
        let mut buffer = Vec::new();
        let turn = tree.look(group, at(0), &mut buffer).unwrap();
        group.expect(&turn);
        assert!(tree.take_turn(group, turn, &mut buffer).is_ok());
        assert!(tree.look(group, at(0), &mut buffer).is_none());

        machine.end(7_000_000);
        let reader = group.lock();
        let turn = tree.look(group, at(1), &mut buffer).unwrap();
        group.expect(&turn);
        let turn = tree.take_turn(group, turn, &mut buffer).unwrap_err();
        fs::remove_dir_all(&machine.folder).unwrap();
        let turn = tree.take_turn(group, turn, &mut buffer).unwrap_err();
        drop(reader);
        assert!(tree.take_turn(group, turn, &mut buffer).is_ok());
        let state = group.lock();
        let usage = state.reading.cpu.map(|cpu| cpu.usage);
        assert_eq!((usage, state.last), (Some(7_000_000_000), Some(at(1))));
        assert!(!state.is_populated && !group.is_running());
    }

    #[test]
    fn a_pod_that_was_there_before_anybody_looked_ends_with_its_last_values() {
        let machine = Machine::with("/kubepods/pod0b1c2d3e-0000-4000-8000-123456789abc");
        let (tree, group) = (&machine.tree, &*machine.group);
        assert!(matches!(group.place, Place::Pod { .. }) && !group.is_running());
        machine.end(7);
        let mut buffer = Vec::new();
        let turn = tree.look(group, at(1), &mut buffer).unwrap();
        assert!(tree.take_turn(group, turn, &mut buffer).unwrap());
        let state = group.lock();
        let usage = state.reading.cpu.map(|cpu| cpu.usage);
        assert_eq!((usage, state.last), (Some(7_000), Some(at(1))));
    }
}
