//! A thread that sees groups come and go, and reads each a last time as it goes.
//!
//! On v2, and in a hybrid layout, the kernel changes `cgroup.events` when the last process has left; the runtime removes the folder some
//! milliseconds later. On v1 nothing changes, and on v2 the word may come late (the kernel sends it from a thread of its own). So a
//! process of each container is watched as well: when it has ended, the next one, and when there is none the container has. Folders are
//! watched for groups that come; a walk every minute finds what was missed.
//!
//! The thread has precedence over others, where the system grants that: what it does when a container ends takes microseconds, and the
//! moment does not come again. While it walks, it has none. It waits for nobody meanwhile: a group whose state is being read takes its
//! turn later. When something may have ended, it first reads what counts in the end, a matter of some ten microseconds, and asks then
//! whether it has; the rest is read when nothing else waits.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clock::{Deadline, SharedClock};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::files::read_whole;
use crate::layout::below;
use crate::reading::Reading;
use crate::tree::{Group, Tree, Turn, Watch, child};

/// How often everything is walked through.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// What is read of events at once.
const EVENT_BYTES: usize = 4 << 10;
/// Arrivals that wait; when there are more, everything is walked through.
const ARRIVALS_MAX: usize = 4_096;
/// How soon a turn is tried again that a group could not take.
const TURN_PAUSE: Duration = Duration::from_millis(1);
/// Processes that are watched at once.
const PROCESSES_MAX: usize = 4_096;
/// The room for descriptors that is made at once: those of a thousand containers, 64 KiB of the kernel's memory.
const DESCRIPTORS_RESERVED: usize = 8_192;
/// So often another process of a group is taken, when one has ended before it could be watched.
const ATTEMPTS_MAX: usize = 16;

/// Numbers that epoll knows sources by; groups have their serials, from the one after.
const STOP: u64 = 0;
const FOLDERS: u64 = 1;
const FIRST_GROUP: u64 = 2;

/// The thread; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts watching; what is there already is walked through first, on the thread.
    pub(crate) fn start(tree: Arc<Tree>, clock: SharedClock) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let lookout = Lookout::new(tree, clock, Arc::clone(&stop))?;
        let thread = thread::Builder::new()
            .name("container-watch".to_owned())
            .spawn(move || lookout.run())?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        #[expect(
            clippy::host_endian_bytes,
            reason = "the kernel counts in the host's order"
        )]
        let told = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let (Ok(_), Some(thread)) = (told, self.thread.take())
            && thread.join().is_err()
        {
            tracing::error!("the watch over containers broke");
        }
    }
}

/// What a watch is of.
#[derive(Debug)]
enum Watched {
    /// A folder with groups in it.
    Folder(Arc<str>),
    /// The file that says whether a group has processes.
    Events(Arc<Group>),
    /// The list of a group's processes, on v1.
    Processes(Arc<Group>),
}

/// The thread's own.
struct Lookout {
    tree: Arc<Tree>,
    clock: SharedClock,
    epoll: OwnedFd,
    inotify: OwnedFd,
    /// Kept open while it is polled.
    _stop: Arc<OwnedFd>,
    watches: HashMap<i32, Watched>,
    /// The process that stands for a group, by the group's serial.
    processes: HashMap<u64, Process>,
    /// Folders that have come and are to be walked through: one between two looks at what has ended.
    arrivals: VecDeque<Arc<str>>,
    /// Turns of groups whose state somebody had, oldest first; their order stays.
    waiting: VecDeque<(Arc<Group>, Turn)>,
    /// Groups that have ended, of which the rest is to be read when nothing else is to be done: of one between two looks at what has
    /// ended. Each stands here once.
    ended: VecDeque<Arc<Group>>,
    /// Whether somebody had the state of the last one of these.
    is_held_up: bool,
    buffer: Vec<u8>,
    walk_at: Deadline,
}

struct Process {
    group: Arc<Group>,
    id: u32,
    /// Kept open while it is polled.
    _handle: OwnedFd,
}

/// What a folder or file has to say.
struct News {
    watch: i32,
    flags: ReadFlags,
    name: Option<String>,
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("Lookout")
            .field("watches", &self.watches.len()))
        .finish_non_exhaustive()
    }
}

impl Lookout {
    fn new(tree: Arc<Tree>, clock: SharedClock, stop: Arc<OwnedFd>) -> io::Result<Self> {
        reserve_descriptors(&stop, tree.descriptors_max())?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let inotify = inotify::init(flags)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&epoll, &*stop, epoll::EventData::new_u64(STOP), readable)?;
        let folders = epoll::EventData::new_u64(FOLDERS);
        epoll::add(&epoll, &inotify, folders, readable)?;
        Ok(Self {
            walk_at: Deadline::after(clock.monotonic(), Duration::ZERO),
            tree,
            clock,
            epoll,
            inotify,
            _stop: stop,
            watches: HashMap::new(),
            processes: HashMap::new(),
            arrivals: VecDeque::new(),
            waiting: VecDeque::new(),
            ended: VecDeque::new(),
            is_held_up: false,
            buffer: Vec::new(),
        })
    }

    fn run(mut self) {
        loop {
            let now = self.clock.monotonic();
            if self.walk_at.passed(now) {
                self.walk_at = Deadline::after(now, WALK_EVERY);
                precedence::be_usual();
                self.walk("/");
                precedence::come_first();
            }
            match self.wait() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(%error, "the watch over containers ends; their last values may be missed");
                    self.tree.metrics().watch_errors.inc();
                    return;
                }
            }
        }
    }

    /// Waits for news and takes them; returns whether to go on.
    fn wait(&mut self) -> io::Result<bool> {
        const MOST: usize = 64;
        let patience = self.patience();
        let patience = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let mut events = Vec::with_capacity(MOST);
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let sources: Vec<u64> = events.iter().map(|event| event.data.u64()).collect();
        if sources.contains(&STOP) {
            return Ok(false);
        }
        // Processes first: a folder that is gone says nothing any more.
        for serial in sources
            .iter()
            .filter_map(|source| source.checked_sub(FIRST_GROUP))
        {
            self.process_ended(serial);
        }
        if sources.contains(&FOLDERS) {
            self.take_news()?;
        }
        self.settle();
        if let Some(id) = self.arrivals.pop_front() {
            self.walk(&id);
        } else if let Some(group) = self.ended.pop_front() {
            self.is_held_up = !self.tree.try_take_rest(&group, &mut self.buffer);
            if self.is_held_up {
                self.ended.push_back(group);
            }
        }
        Ok(true)
    }

    /// Returns how long to wait for news.
    fn patience(&self) -> Duration {
        let has_rest = !self.ended.is_empty();
        if !self.arrivals.is_empty() || (has_rest && !self.is_held_up) {
            return Duration::ZERO;
        }
        let until_walk = self.walk_at.remaining(self.clock.monotonic());
        match self.waiting.is_empty() && !has_rest {
            true => until_walk,
            false => until_walk.min(TURN_PAUSE),
        }
    }

    /// Lets groups take the turns that they could not take before.
    fn settle(&mut self) {
        while let Some((group, turn)) = self.waiting.pop_front() {
            if let Err(turn) = self.take_turn(&group, turn) {
                self.waiting.push_front((group, turn));
                return;
            }
        }
    }

    fn take_turn(&mut self, group: &Arc<Group>, turn: Turn) -> Result<(), Turn> {
        let is_rest_due = self.tree.take_turn(group, turn, &mut self.buffer)?;
        if is_rest_due {
            self.ended.push_back(Arc::clone(group));
        }
        Ok(())
    }

    /// Lets a group take a turn, after those that wait.
    fn turn(&mut self, group: &Arc<Group>, turn: Turn) {
        group.expect(&turn);
        let left = match self.waiting.is_empty() {
            true => self.take_turn(group, turn).err(),
            false => Some(turn),
        };
        if let Some(turn) = left {
            self.waiting.push_back((Arc::clone(group), turn));
        }
    }

    fn take_news(&mut self) -> io::Result<()> {
        let mut all = self.news()?;
        // Ends first: a folder that is gone says nothing any more.
        all.sort_by_key(|news| matches!(self.watches.get(&news.watch), Some(Watched::Folder(_))));
        for news in all {
            if news.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.tree.metrics().watch_errors.inc();
                tracing::warn!("events of cgroups were lost; all are looked through");
                self.walk("/");
                continue;
            }
            if news.flags.contains(ReadFlags::IGNORED) {
                self.watches.remove(&news.watch);
                continue;
            }
            match self.watches.get(&news.watch) {
                Some(Watched::Folder(id)) => {
                    let Some(name) = news.name.filter(|_| news.flags.contains(ReadFlags::ISDIR))
                    else {
                        continue;
                    };
                    let id = child(id, &name);
                    if news
                        .flags
                        .intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO)
                    {
                        self.arrived(id);
                    } else {
                        self.removed(&id);
                    }
                }
                Some(Watched::Events(group) | Watched::Processes(group)) => {
                    let group = Arc::clone(group);
                    self.check(&group);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Reads what there is at the moment, as much as fits.
    fn news(&self) -> io::Result<Vec<News>> {
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut all = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => all.push(News {
                    watch: event.wd(),
                    flags: event.events(),
                    name: (event.file_name()).map(|name| name.to_string_lossy().into_owned()),
                }),
                Err(rustix::io::Errno::AGAIN) => return Ok(all),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(all);
            }
        }
    }

    fn walk(&mut self, id: &str) {
        let tree = Arc::clone(&self.tree);
        tree.walk(id, self);
    }

    fn arrived(&mut self, id: Arc<str>) {
        if self.arrivals.len() < ARRIVALS_MAX {
            self.arrivals.push_back(id);
        } else {
            self.arrivals = VecDeque::from(["/".into()]);
        }
    }

    fn removed(&mut self, id: &str) {
        for group in self.tree.remove(id) {
            self.processes.remove(&group.serial);
            self.turn(&group, Turn::Gone);
        }
    }

    fn check(&mut self, group: &Arc<Group>) {
        let now = self.clock.monotonic();
        if let Some(turn) = self.tree.look(group, now, &mut self.buffer) {
            self.turn(group, turn);
        }
        if group.place.is_closed() {
            self.hold_process(group, None);
        }
    }

    /// Watches a process of a group that has no file of events, if none is watched yet: another than one that has `ended`, as which the
    /// group was read.
    fn hold_process(&mut self, group: &Arc<Group>, mut ended: Option<(u32, Box<Reading>)>) {
        let is_idle = || ended.is_none() && !group.is_running();
        if self.processes.contains_key(&group.serial) || is_idle() {
            return;
        }
        let list = below(self.tree.layout().tree(), &group.id).join("cgroup.procs");
        for _ in 0..ATTEMPTS_MAX {
            let ids = read_whole(&list).unwrap_or_default();
            let mut ids = scan::lines(&ids)
                .filter_map(|line| u32::try_from(scan::number(line)?).ok())
                .filter(|id| *id != 0 && (ended.as_ref()).is_none_or(|(other, _)| id != other));
            let Some(id) = ids.next() else {
                if let Some((_, last)) = ended {
                    self.turn(group, Turn::Ended(self.clock.monotonic(), last));
                }
                return;
            };
            match self.hold(group, id) {
                Ok(()) => return,
                Err(rustix::io::Errno::SRCH) => {
                    let mut last = ended.map(|(_, last)| last).unwrap_or_default();
                    // As far as it is still there.
                    last.renew(*self.tree.read_last(group, &mut self.buffer));
                    ended = Some((id, last));
                }
                Err(_) => break,
            }
        }
        self.tree.metrics().watch_errors.inc();
    }

    fn hold(&mut self, group: &Arc<Group>, id: u32) -> rustix::io::Result<()> {
        if self.processes.len() >= PROCESSES_MAX {
            return Err(rustix::io::Errno::MFILE);
        }
        let process = i32::try_from(id).ok().and_then(Pid::from_raw);
        let process = process.ok_or(rustix::io::Errno::INVAL)?;
        let handle = pidfd_open(process, PidfdFlags::empty())?;
        let source = epoll::EventData::new_u64(FIRST_GROUP + group.serial);
        epoll::add(&self.epoll, &handle, source, epoll::EventFlags::IN)?;
        let process = Process {
            group: Arc::clone(group),
            id,
            _handle: handle,
        };
        self.processes.insert(group.serial, process);
        Ok(())
    }

    fn process_ended(&mut self, serial: u64) {
        if let Some(Process { group, id, .. }) = self.processes.remove(&serial) {
            // First of all, and of no use if another process is left.
            let last = self.tree.read_last(&group, &mut self.buffer);
            self.hold_process(&group, Some((id, last)));
        }
    }

    fn add(&mut self, path: &Path, flags: WatchFlags, watched: Watched) {
        match inotify::add_watch(&self.inotify, path, flags) {
            Ok(watch) => {
                self.watches.insert(watch, watched);
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => {
                self.tree.metrics().watch_errors.inc();
                tracing::debug!(%error, path = %path.display(), "a cgroup cannot be watched");
            }
        }
    }
}

/// Makes room for descriptors in the process's table. It grows by doubling otherwise, and each time waits for all processors to have
/// passed through the scheduler: some ten milliseconds, in which this thread opens nothing.
fn reserve_descriptors(any: &OwnedFd, most: usize) -> io::Result<()> {
    let highest = most.clamp(1, DESCRIPTORS_RESERVED) - 1;
    fcntl_dupfd_cloexec(any, i32::try_from(highest).unwrap_or_default())?;
    Ok(())
}

impl Watch for Lookout {
    fn folder(&mut self, id: &Arc<str>, path: &Path) {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::ONLYDIR;
        self.add(path, flags, Watched::Folder(Arc::clone(id)));
    }

    fn group(&mut self, group: &Arc<Group>) {
        if let Some(events) = self.tree.layout().events_file(&group.id) {
            let watched = Watched::Events(Arc::clone(group));
            self.add(&events, WatchFlags::MODIFY, watched);
        }
        if group.place.is_closed() {
            let list = below(self.tree.layout().tree(), &group.id).join("cgroup.procs");
            let watched = Watched::Processes(Arc::clone(group));
            self.add(&list, WatchFlags::MODIFY, watched);
            self.check(group);
        }
    }
}
