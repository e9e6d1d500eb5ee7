//! The policy of a thread.

/// The lowest precedence of those that come before usual threads.
pub(crate) const LOWEST: libc::c_int = 1;

#[expect(
    unsafe_code,
    reason = "a system call without a safe wrapper in the crates that are here"
)]
pub(crate) fn set(policy: libc::c_int, priority: libc::c_int) {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 stands for the calling thread, and the kernel only reads `parameters`, which lives longer than the call.
    let outcome = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if outcome != 0 {
        tracing::debug!(
            policy,
            "a thread that should come first runs among usual ones"
        );
    }
}
