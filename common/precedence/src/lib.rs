//! Which of a program's threads run first when they are more than the processors. Each says it of itself.
//!
//! - [`come_first`] is for work of microseconds that must not be late, until [`be_usual`].
//! - [`let_others_in`] is for work that takes long and holds what others need.
//! - [`give_way`] is for work that takes long and may wait, for good.
//!
//! Where the system does not permit it, threads run among usual ones, which is said in the log at level debug.
//!
//! With `heap` and `host`, a crate that has unsafe code: two system calls that neither the standard library nor rustix makes.
//!
//! Never here: threads, and what runs on them.

#![deny(unsafe_code)]

mod policy;
mod slice;

use std::time::Duration;

use rustix::process::{getpid, getpriority_process, setpriority_process};

/// How much nicer those that give way are: a usual thread gets nine times the processor of one of these.
const NICENESS: i32 = 10;
const NICENESS_MAX: i32 = 19;
/// Some times the usual one: whoever wakes has a shorter one, and runs at once; or, if it has just run, before long.
const SLICE: Duration = Duration::from_millis(10);

/// Lets this thread run before usual ones, as soon as it has something to do. Threads that it starts are usual ones.
pub fn come_first() {
    policy::set(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, policy::LOWEST);
}

/// Lets this thread run among usual ones.
pub fn be_usual() {
    policy::set(libc::SCHED_OTHER, 0);
}

/// Lets this thread, and those that it starts, be interrupted by a usual one that wakes, for which they get longer pieces of a processor, as
/// much as before in all. Unlike one that gives way, it need not stand behind others of its kind with what everybody waits for.
pub fn let_others_in() {
    let niceness = getpriority_process(None).unwrap_or(0);
    if let Err(error) = slice::set(niceness, SLICE) {
        tracing::debug!(%error, "a thread that should be interrupted by others runs as usual ones do");
    }
}

/// Lets this thread, and those that it starts, run behind usual ones: they get a tenth of a processor that a usual one wants for itself, and
/// one that wakes runs at once. Of usual precedence is what the process's first thread has.
pub fn give_way() {
    let usual = getpriority_process(Some(getpid())).unwrap_or(0);
    let niceness = (usual + NICENESS).min(NICENESS_MAX);
    let given = slice::set(niceness, SLICE);
    if let Err(error) = given.or_else(|_| setpriority_process(None, niceness)) {
        tracing::debug!(%error, "a thread that should give way runs among usual ones");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn a_thread_gives_way_and_others_do_not_nor_one_that_lets_others_in() {
        let niceness = || getpriority_process(None).unwrap();
        let usual = niceness();
        let given = thread::spawn(move || {
            give_way();
            let own = niceness();
            // One that does so once more, and those who were started, are as nice as the first.
            give_way();
            (own, niceness(), thread::spawn(niceness).join().unwrap())
        });
        let nicer = (usual + NICENESS).min(NICENESS_MAX);
        assert_eq!(given.join().unwrap(), (nicer, nicer, nicer));
        let letting = thread::spawn(move || {
            let_others_in();
            niceness()
        });
        assert_eq!((letting.join().unwrap(), niceness()), (usual, usual));
    }

    /// Returns the policy of this thread, as the kernel tells it.
    fn policy() -> libc::c_int {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        // The name, in brackets, may hold anything; behind it the state is the third field, the policy the 41st.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let policy = fields.split_ascii_whitespace().nth(41 - 3).unwrap();
        policy.parse().unwrap()
    }

    #[test]
    fn a_thread_that_came_first_may_be_usual_again() {
        let policies = thread::spawn(|| {
            come_first();
            let first = (policy(), thread::spawn(policy).join().unwrap());
            be_usual();
            (first, policy())
        });
        let ((first, started), usual) = policies.join().unwrap();
        assert_eq!((started, usual), (libc::SCHED_OTHER, libc::SCHED_OTHER));
        if first == libc::SCHED_OTHER {
            println!("skipped: the system does not permit a thread to come first");
        } else {
            assert_eq!(first, libc::SCHED_RR);
        }
    }
}
