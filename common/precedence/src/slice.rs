//! The slice of a thread, which neither the standard library nor rustix can ask for.

use std::io;
use std::time::Duration;

/// What the kernel takes, in its first version. See `sched_setattr(2)`.
#[repr(C)]
struct Attributes {
    size: u32,
    /// 0: that of usual threads.
    policy: u32,
    flags: u64,
    niceness: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const SIZE: u32 = 48;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

/// Gives this thread a niceness and a slice: how long it is to run once it runs, while others of its niceness wait. The kernel takes 0.1
/// to 100 ms. A thread with a shorter slice that wakes need not wait for the end of a longer one, as it does for one of its own length: of
/// the usual ones, at a tick of 4 ms, 3 to 7 ms were measured.
///
/// Linux before 6.12 takes the niceness alone. Fails where the niceness is not permitted, or system calls are filtered.
#[expect(
    unsafe_code,
    reason = "a system call without a safe wrapper in the crates that are here"
)]
pub(crate) fn set(niceness: i32, slice: Duration) -> io::Result<()> {
    let attributes = Attributes {
        size: SIZE,
        policy: 0,
        flags: 0,
        niceness,
        priority: 0,
        runtime_ns: u64::from(slice.subsec_nanos()),
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: 0 stands for the calling thread, and the kernel only reads `attributes`, of which it is told the size and which lives longer
    // than the call.
    let outcome =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0_u32) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
