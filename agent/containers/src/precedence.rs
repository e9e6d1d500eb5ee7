//! Precedence of a thread over all that run as usual, which neither the standard library nor rustix can ask for.

#![expect(
    unsafe_code,
    reason = "a system call without a safe wrapper in the crates that are here"
)]

/// The lowest of those that come before usual threads.
const LOWEST: libc::c_int = 1;

/// Lets this thread run before usual ones, as soon as it has something to do; where that is not permitted, as before.
pub(crate) fn take() {
    set(libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, LOWEST);
}

/// Lets this thread run among usual ones.
pub(crate) fn give_up() {
    set(libc::SCHED_OTHER, 0);
}

fn set(policy: libc::c_int, priority: libc::c_int) {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 stands for the calling thread, and the kernel only reads `parameters`, which lives longer than the call.
    let outcome = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if outcome != 0 {
        tracing::debug!(policy, "the watch over containers runs among usual threads");
    }
}
