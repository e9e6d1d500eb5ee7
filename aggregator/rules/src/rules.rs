//! All groups of a configuration: when each is due, what its evaluation leaves, and what changes when the configuration does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use files::{KeyValue, KeyValueError};
use model::{Labels, Spans, TimestampMs};
use promql::ParserOptions;

use crate::alert::AlertSink;
use crate::file::RuleFile;
use crate::group::{Group, GroupKey, GroupView, group_id, keep_apart};
use crate::late::{Account, LateCounts, LatePass};
use crate::rule::ends;
use crate::state::{self, Kept};
use crate::world::{Queries, RecordedSample, Recorder, Settings, World};

/// The groups of a configuration. Share it freely: groups are evaluated side by side, each once at a time.
#[derive(Debug)]
pub struct Rules {
    parser: ParserOptions,
    database: Option<Arc<KeyValue>>,
    sink: Arc<dyn AlertSink>,
    /// Held while groups are replaced.
    loading: Mutex<()>,
    loaded: Mutex<Loaded>,
    late: Arc<Account>,
}

#[derive(Debug, Default)]
struct Loaded {
    settings: Arc<Settings>,
    groups: BTreeMap<GroupKey, Arc<Entry>>,
    /// Series of groups that are no more.
    abandoned: Vec<Labels>,
}

impl Loaded {
    /// Returns the last time as of which an evaluation has begun, or may have.
    fn begun_until(&self) -> TimestampMs {
        let begun = self.groups.values().map(|entry| entry.begun_until());
        begun.max().unwrap_or(TimestampMs::MIN)
    }
}

/// A group and when it is evaluated. Where both are locked, what is shown is first.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Locked while it is evaluated; taken out when another takes its place.
    group: Mutex<Option<Group>>,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    view: Arc<GroupView>,
    /// When it is to be evaluated next.
    next: TimestampMs,
    is_running: bool,
}

impl Shown {
    fn begun_until(&self) -> TimestampMs {
        self.next.saturating_sub(self.view.interval)
    }
}

/// A group that is to be evaluated.
#[derive(Debug)]
pub struct Due {
    entry: Arc<Entry>,
    settings: Arc<Settings>,
    at: TimestampMs,
}

impl Due {
    /// Returns the group's name.
    pub fn key(&self) -> GroupKey {
        lock(&self.entry.shown).view.key.clone()
    }

    /// Returns the time that the evaluation stands for.
    pub const fn at(&self) -> TimestampMs {
        self.at
    }
}

impl Drop for Due {
    /// The group may come again, whatever became of its evaluation.
    fn drop(&mut self) {
        lock(&self.entry.shown).is_running = false;
    }
}

impl Rules {
    /// Returns a set without groups. `database` is where alerts survive; without one they live as long as this does.
    pub fn new(
        database: Option<Arc<KeyValue>>,
        sink: Arc<dyn AlertSink>,
        parser: ParserOptions,
    ) -> Self {
        Self {
            parser,
            late: Arc::new(Account::new(database.clone())),
            database,
            sink,
            loading: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// Puts the groups of `files` in the place of those there are. A group of the same name goes on where it was; one that this run has
    /// not had goes on where the run before it stopped. Waits for evaluations under way. When the database cannot be read nothing
    /// changes.
    pub fn load(
        &self,
        files: Vec<RuleFile>,
        settings: Settings,
        now: TimestampMs,
    ) -> Result<(), KeyValueError> {
        let _loading = lock(&self.loading);
        let database = self.database.as_deref();
        let mut kept = database.map(Kept::read).transpose()?.unwrap_or_default();
        let begun = self.loaded().begun_until();
        self.late.take_on(&kept.owed, begun.max(now), now);
        // Not locked meanwhile: an evaluation may take long, and others want to see what there is.
        let mut before = self.loaded().groups.clone();
        let mut groups = BTreeMap::new();
        let mut known = BTreeSet::new();
        let mut new = Vec::new();
        for mut group in self.fresh(files, &settings) {
            let id = group_id(group.key());
            known.insert(id);
            known.extend(group.rule_ids());
            group.known_since = kept.since.get(&id).copied().unwrap_or_else(|| {
                new.push(id);
                now
            });
            let next = match before.remove(group.key()) {
                Some(entry) => take_over(&mut group, &entry, now),
                None => {
                    let seen = kept.seen.remove(&id);
                    group.restore(seen, &mut kept.alerts);
                    group.due_after(now)
                }
            };
            groups.insert(group.key().clone(), Arc::new(Entry::new(group, next)));
        }
        let gone = before
            .into_values()
            .filter_map(|entry| lock(&entry.group).take());
        let abandoned: Vec<Labels> = gone.flat_map(Group::into_series).collect();
        let mut loaded = self.loaded();
        loaded.groups = groups;
        loaded.abandoned.extend(abandoned);
        loaded.settings = Arc::new(settings);
        drop(loaded);
        let Some(database) = database else {
            return Ok(());
        };
        kept.forget_others(database, |id| known.contains(&id))?;
        state::write_since(database, &new, now)
    }

    /// Returns the groups of files, as if they had never been evaluated.
    fn fresh(&self, files: Vec<RuleFile>, settings: &Settings) -> Vec<Group> {
        let of_file = |file: RuleFile| {
            let new = |spec| Group::new(file.path.clone(), spec, settings, self.parser);
            file.groups.into_iter().map(new).collect::<Vec<_>>()
        };
        let mut groups: Vec<Group> = files.into_iter().flat_map(of_file).collect();
        keep_apart(&mut groups);
        groups
    }

    /// Ends the series of groups that are no more; when that fails, the next call tries again.
    pub fn end_abandoned(&self, at: TimestampMs, recorder: &dyn Recorder) -> Result<(), String> {
        let abandoned = std::mem::take(&mut self.loaded().abandoned);
        if abandoned.is_empty() {
            return Ok(());
        }
        let samples: Vec<RecordedSample> = ends(abandoned.iter().cloned(), at).collect();
        let recorded = recorder.record(&samples);
        if recorded.is_err() {
            self.loaded().abandoned.extend(abandoned);
        }
        recorded.map(|_| ())
    }

    /// Returns when the next group is due; `None`: none waits.
    pub fn next_due(&self) -> Option<TimestampMs> {
        let loaded = self.loaded();
        let waiting = loaded.groups.values().filter_map(|entry| {
            let shown = lock(&entry.shown);
            (!shown.is_running).then_some(shown.next)
        });
        waiting.min()
    }

    /// Returns the groups that are due at `now`; none of them comes again before its [`Due`] is evaluated or dropped. One that is late
    /// skips the times that it has missed, and counts them.
    pub fn take_due(&self, now: TimestampMs) -> Vec<Due> {
        let loaded = self.loaded();
        let mut all = Vec::new();
        for entry in loaded.groups.values() {
            let mut shown = lock(&entry.shown);
            if shown.is_running || shown.next > now {
                continue;
            }
            let Some((at, next)) = lock(&entry.group)
                .as_ref()
                .map(|group| (group.due_before(now), group.due_after(now)))
            else {
                continue;
            };
            shown.is_running = true;
            shown.next = next;
            all.push(Due {
                entry: Arc::clone(entry),
                settings: Arc::clone(&loaded.settings),
                at,
            });
        }
        all
    }

    /// Evaluates a group, makes durable what became of its alerts, and tells the sink.
    pub fn evaluate(&self, due: Due, queries: &dyn Queries, recorder: &dyn Recorder) {
        let world = World {
            queries,
            recorder,
            settings: &due.settings,
        };
        let mut slot = lock(&due.entry.group);
        let Some(group) = slot.as_mut() else {
            // Another has taken its place.
            return;
        };
        let notices = group.evaluate(due.at, &world);
        self.keep(group);
        let view = Arc::new(group.view());
        drop(slot);
        if !notices.is_empty() {
            self.sink.notify(notices);
        }
        lock(&due.entry.shown).view = view;
    }

    /// Writes what changed. When that fails, the alerts are told of all the same, and the next evaluation tries again.
    fn keep(&self, group: &mut Group) {
        let Some(database) = &self.database else {
            return;
        };
        let changes = group.changes();
        if changes.is_empty() {
            return;
        }
        match state::write(database, &changes) {
            Ok(()) => group.kept(),
            Err(error) => {
                let source = &error.source;
                tracing::error!(%error, %source, "the state of alerts is not kept; a restart would forget it");
            }
        }
    }

    /// Notes that rows have come late, which questions that are asked from now on find: what rules made of these spans before is to be made
    /// again, as far as [`LateSettings::back`](crate::LateSettings) goes. It is kept until that is done.
    pub fn note_late(&self, spans: &Spans, now: TimestampMs) {
        let (back, begun) = {
            let loaded = self.loaded();
            (loaded.settings.late.back, loaded.begun_until())
        };
        if spans.is_empty() || back.is_zero() {
            return;
        }
        self.late.add(spans, begun, now.saturating_sub(back), now);
    }

    /// Returns a pass through what is owed, if it is time for one; it is to be given back to [`end_late`](Self::end_late). Waits for
    /// evaluations under way.
    pub fn begin_late(&self, now: TimestampMs) -> Option<LatePass> {
        let (settings, entries) = {
            let loaded = self.loaded();
            let entries: Vec<Arc<Entry>> = loaded.groups.values().map(Arc::clone).collect();
            (Arc::clone(&loaded.settings), entries)
        };
        let owing = self.late.begin(now, &settings.late)?;
        let afresh = |entry: Arc<Entry>| {
            let group = lock(&entry.group).as_ref().map(Group::afresh)?;
            Some((entry, group))
        };
        let groups = entries.into_iter().filter_map(afresh).collect();
        let (account, sink) = (Arc::clone(&self.late), Arc::clone(&self.sink));
        Some(LatePass::new(
            (account, owing),
            groups,
            settings,
            sink,
            self.parser,
        ))
    }

    /// Ends a pass. One that `is_done` leaves nothing owed but what came meanwhile, and what groups have learned of it is kept by then;
    /// another one, or one whose groups have been replaced meanwhile, is owed as it was. Waits for evaluations under way.
    pub fn end_late(&self, pass: &LatePass, is_done: bool, now: TimestampMs) {
        let is_done = is_done && pass.entries().all(|entry| self.keep_learned(entry));
        let begun = self.loaded().begun_until();
        self.late.end(pass.counts(), is_done, begun, now);
    }

    /// Writes what a group has learned; returns whether there is the group still.
    fn keep_learned(&self, entry: &Entry) -> bool {
        let mut slot = lock(&entry.group);
        if let Some(group) = slot.as_mut() {
            self.keep(group);
        }
        slot.is_some()
    }

    /// Returns what is counted of late rows.
    pub fn late_counts(&self) -> LateCounts {
        self.late.counts()
    }

    /// Returns all groups as they were after their last evaluation, by file and name.
    pub fn views(&self) -> Vec<Arc<GroupView>> {
        let loaded = self.loaded();
        let views = loaded.groups.values();
        views
            .map(|entry| Arc::clone(&lock(&entry.shown).view))
            .collect()
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        lock(&self.loaded)
    }
}

impl Entry {
    fn new(group: Group, next: TimestampMs) -> Self {
        Self {
            shown: Mutex::new(Shown {
                view: Arc::new(group.view()),
                next,
                is_running: false,
            }),
            group: Mutex::new(Some(group)),
        }
    }
}

impl Entry {
    /// Returns the last time as of which the group has been evaluated in the ordinary way, or is being, or would have been.
    fn begun_until(&self) -> TimestampMs {
        lock(&self.shown).begun_until()
    }

    /// Returns the last time at which the group was, or would have been, evaluated in the ordinary way.
    pub(crate) fn evaluated_until(&self) -> TimestampMs {
        let shown = lock(&self.shown);
        let last = shown.begun_until();
        if shown.is_running {
            last.saturating_sub(shown.view.interval)
        } else {
            last
        }
    }

    /// Lets the group go on from what `truth` has come to as of `at`, if that is the last time at which it was evaluated; returns whether
    /// it was. Of a group that is no more nobody goes on.
    pub(crate) fn learn(&self, truth: &Group, at: TimestampMs) -> bool {
        let shown = lock(&self.shown);
        let is_last = !shown.is_running && shown.begun_until() == at;
        if is_last && let Some(group) = lock(&self.group).as_mut() {
            group.learn(truth);
        }
        is_last
    }
}

/// Lets `group` go on where the group of the same name was; returns when it is due next.
fn take_over(group: &mut Group, entry: &Entry, now: TimestampMs) -> TimestampMs {
    let Some(old) = lock(&entry.group).take() else {
        return group.due_after(now);
    };
    let is_alike = old.interval() == group.interval();
    group.inherit(old);
    if is_alike {
        lock(&entry.shown).next
    } else {
        group.due_after(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A group whose evaluation panicked is as far as it came, and goes on from there.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
