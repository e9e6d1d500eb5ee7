//! Who containers and pods are: what runtimes, and what they leave on the disk, say of them.

mod found;
mod snapshot;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clock::Monotonic;
use tokio::sync::Notify;

pub(crate) use found::{found, pod as found_pod};
pub use snapshot::SnapshotError;

/// Labels that the kubelet puts on what it lets the runtime make.
pub(crate) const CONTAINER_LABEL: &str = "io.kubernetes.container.name";
pub(crate) const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
pub(crate) const POD_LABEL: &str = "io.kubernetes.pod.name";
pub(crate) const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// So many containers and sandboxes have names; more are refused.
const NAMES_MAX: usize = 50_000;
/// A container that the runtime does not list any more keeps its name so long: its last values may be on their way.
const KEPT: Duration = Duration::from_secs(300);

/// What is known of a container or a pod's sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// What the runtime calls it.
    pub id: String,
    /// The name of the container within its pod; empty for a sandbox.
    pub container: String,
    /// Its image; empty when it is not known.
    pub image: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid; empty when it is not known.
    pub pod_uid: String,
    /// Whether it holds the pod's network rather than a program.
    pub is_sandbox: bool,
    /// A process in it, for a sandbox: the way to the pod's network.
    pub process: Option<u32>,
    /// When it was made, in seconds since the epoch.
    pub created: Option<f64>,
    /// What `name` shows instead of the id, where the runtime has names of its own.
    pub alias: Option<String>,
}

/// What a container takes of its file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// The file system: its mount point, as the runtime says it.
    pub device: String,
    /// Bytes of the writable layer.
    pub bytes: u64,
    /// Its files and folders.
    pub inodes: Option<u64>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// What its first process returned; 128 and the signal's number when a signal ended it.
    pub code: i32,
    /// The runtime's word for why: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
}

/// All that is known. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Changes with every name that comes or changes.
    generation: AtomicU64,
    /// Somebody wants a name that is not there.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_id: HashMap<String, Known>,
    /// Namespace and name of pods, by uid.
    pods: HashMap<String, (String, String)>,
    filesystems: HashMap<String, FilesystemUsage>,
    exits: HashMap<String, Exit>,
}

#[derive(Debug)]
struct Known {
    about: Arc<About>,
    /// Since when it is not listed any more.
    gone: Option<Monotonic>,
}

impl Names {
    /// Returns what is known of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what a snapshot of the runtime's answers says; see [`SnapshotError`] for its shape.
    pub fn learn_snapshot(&self, json: &[u8]) -> Result<(), SnapshotError> {
        for about in snapshot::read(json)? {
            self.learn(about);
        }
        Ok(())
    }

    /// Takes over what is known of one; returns whether there was room.
    pub fn learn(&self, mut about: About) -> bool {
        let mut state = self.lock();
        if state.by_id.len() >= NAMES_MAX && !state.by_id.contains_key(&about.id) {
            return false;
        }
        if let Some(known) = state.by_id.get(&about.id) {
            // A later word may leave out what only a longer answer has.
            about.process = about.process.or(known.about.process);
            if about.image.is_empty() {
                about.image.clone_from(&known.about.image);
            }
            if *known.about == about && known.gone.is_none() {
                return true;
            }
        }
        if !about.pod_uid.is_empty() {
            let pod = (about.namespace.clone(), about.pod.clone());
            state.pods.insert(about.pod_uid.clone(), pod);
        }
        let known = Known {
            about: Arc::new(about),
            gone: None,
        };
        state.by_id.insert(known.about.id.clone(), known);
        drop(state);
        self.0.generation.fetch_add(1, Ordering::Release);
        true
    }

    /// Forgets what is not listed any more, after a while.
    pub fn keep_listed(&self, is_listed: impl Fn(&str) -> bool, now: Monotonic) {
        let mut state = self.lock();
        state.by_id.retain(|id, known| {
            if is_listed(id) {
                known.gone = None;
                return true;
            }
            let gone = *known.gone.get_or_insert(now);
            now.saturating_since(gone) < KEPT
        });
        let State {
            by_id,
            pods,
            filesystems,
            exits,
        } = &mut *state;
        filesystems.retain(|id, _| by_id.contains_key(id));
        exits.retain(|id, _| by_id.contains_key(id));
        let alive = by_id.values().map(|known| known.about.pod_uid.as_str());
        let alive: std::collections::HashSet<&str> = alive.collect();
        pods.retain(|uid, _| alive.contains(uid.as_str()));
    }

    /// Takes over what containers take of their file systems; of those without a name nothing is kept.
    pub fn learn_filesystems(&self, all: impl IntoIterator<Item = (String, FilesystemUsage)>) {
        let mut state = self.lock();
        for (id, usage) in all {
            if state.by_id.contains_key(&id) {
                state.filesystems.insert(id, usage);
            }
        }
    }

    /// Takes over how a container ended; of one without a name it is not kept.
    pub fn learn_exit(&self, id: &str, exit: Exit) {
        let mut state = self.lock();
        if !state.by_id.contains_key(id) {
            return;
        }
        let before = state.exits.insert(id.to_owned(), exit.clone());
        drop(state);
        if before != Some(exit) {
            self.0.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns how containers ended, in no order.
    pub(crate) fn exits(&self) -> Vec<(Arc<About>, Exit)> {
        let state = self.lock();
        let about = |id: &String| Some(Arc::clone(&state.by_id.get(id)?.about));
        let exits = state.exits.iter();
        exits
            .filter_map(|(id, exit)| Some((about(id)?, exit.clone())))
            .collect()
    }

    /// Returns whether it is known how a container ended.
    pub(crate) fn has_exit(&self, id: &str) -> bool {
        self.lock().exits.contains_key(id)
    }

    /// Returns what is known of a container or sandbox.
    pub fn about(&self, id: &str) -> Option<Arc<About>> {
        let state = self.lock();
        state.by_id.get(id).map(|known| Arc::clone(&known.about))
    }

    /// Returns whether there is a word of a container or sandbox, and whether it is enough to find its network.
    pub(crate) fn is_complete(&self, id: &str) -> bool {
        self.about(id)
            .is_some_and(|about| !about.is_sandbox || about.process.is_some())
    }

    /// Returns the namespace and name of a pod.
    pub(crate) fn pod(&self, uid: &str) -> Option<(String, String)> {
        self.lock().pods.get(uid).cloned()
    }

    pub(crate) fn filesystem(&self, id: &str) -> Option<FilesystemUsage> {
        self.lock().filesystems.get(id).cloned()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Asks for names that are not there.
    pub(crate) fn want(&self) {
        self.0.wanted.notify_one();
    }

    /// Waits until somebody asks for names that are not there.
    pub(crate) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked left at worst a name out.
        (self.0.state.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(id: &str, uid: &str) -> About {
        About {
            id: id.to_owned(),
            pod: format!("pod-of-{uid}"),
            namespace: "shop".to_owned(),
            pod_uid: uid.to_owned(),
            ..About::default()
        }
    }

    #[test]
    fn names_outlive_their_containers_for_a_while() {
        let names = Names::new();
        names.learn(about("a", "1"));
        names.learn(about("b", "2"));
        let usage = FilesystemUsage::default();
        names.learn_filesystems([("a".to_owned(), usage.clone()), ("x".to_owned(), usage)]);
        assert!(names.filesystem("a").is_some() && names.filesystem("x").is_none());
        let at = |seconds| Monotonic::from_origin(Duration::from_secs(seconds));
        names.keep_listed(|id| id == "b", at(0));
        assert!(names.about("a").is_some() && names.pod("1").is_some());
        names.keep_listed(|id| id == "b", at(301));
        assert!(names.about("a").is_none() && names.pod("1").is_none());
        assert!(names.filesystem("a").is_none() && names.about("b").is_some());
    }

    #[test]
    fn a_short_word_takes_nothing_away_from_a_long_one() {
        let names = Names::new();
        names.learn(About {
            process: Some(7),
            image: "pause".to_owned(),
            ..about("a", "1")
        });
        let generation = names.generation();
        names.learn(about("a", "1"));
        assert_eq!(names.generation(), generation, "nothing new");
        let known = names.about("a").unwrap();
        assert_eq!((known.process, known.image.as_str()), (Some(7), "pause"));
    }
}
