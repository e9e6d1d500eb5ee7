//! The process's memory: gives back to the operating system what the allocator keeps of the heap for later, and what is not used of the program itself.
//!
//! A head of 100,000 series takes some 60 MB, and much of what its seal frees lies between what lives on: the GNU allocator gives back
//! only what is free at the end of an arena. Measured with 100,000 series at 15 s after two seals: 79 MB in use, 204 MB resident.
//!
//! And the end of an arena that is not the first it gives back only when something is freed in that arena, never when it is asked for all
//! that is free: a seal or a merge leaves some 20 MB behind in the arena of its thread, which nothing else uses.
//!
//! The other way round, it gives back the end of an arena at once, 128 KiB of it are enough, and a query that takes and frees tens of
//! megabytes faults the same pages in again at the next: a fifth of the time of reading a day's samples. A program that answers queries
//! calls [`keep`] when it starts.
//!
//! And a program of a few megabytes with threads that hardly ever meet pays for the arenas that the allocator gives them: what one of them
//! frees no other can use. Such a program calls [`share`].
//!
//! With `host` and `precedence`, a crate that has unsafe code, for calls of the C library; whoever frees much at once calls [`give_back`] after it.
//!
//! Never here: when that is, how much memory there is or may be used, an allocator.

#![deny(unsafe_code)]

mod program;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI32, Ordering},
};

pub use program::give_back_program;

/// Gives the operating system every free page of the heap, but the ends of other threads' arenas: whoever did the work calls it. Walks all
/// that is free, and others that allocate wait meanwhile, so it is for the end of work that freed tens of megabytes, never for a request.
/// Does nothing with another C library than GNU's.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    trim();
}

/// What an arena keeps at its end when it is freed, at most. Arenas are as many as threads that allocate much, so to say two or three of
/// those that read for queries; [`give_back`] takes it from the thread that calls it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// And at least: the allocator's own figure.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES_MIN: u64 = 128 << 10;
/// Of what the program may use: many threads in turn leave so much behind in each of a dozen arenas. Queries that mean ill, with 512 MiB in
/// all, were the end of a program whose arenas kept 64 MiB each.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_PART: u64 = 64;
/// What is kept now.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
static KEPT_BYTES: AtomicI32 = AtomicI32::new(SMALL_BYTES);
/// Held while that is lowered: of two who give back at one time, one would set it again before the other has freed anything.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
static LOWERING: Mutex<()> = Mutex::new(());
/// What is larger than this part of what is kept gets pages of its own and gives them back when it is freed. Has to be said with the other:
/// the allocator moves the two together, until one is set.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const APART_PART: u64 = 16;

/// An arena grows by so much more than is asked for, which is not resident before it is used: to grow it is a system call.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWN_BYTES: libc::c_int = 1 << 20;

/// Keeps the end of each arena when it is freed, until [`give_back`]: a 64th of what the program may use, at most 64 MiB. For the start of
/// a program: a tool says `u64::MAX`, a server says what it may use, in bytes, once it knows. Does nothing with another C library than GNU's.
pub fn keep(usable: u64) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let kept = (usable / KEPT_PART).clamp(KEPT_BYTES_MIN, KEPT_BYTES_MAX);
        let number = |bytes: u64| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        KEPT_BYTES.store(number(kept), Ordering::Relaxed);
        set(&[
            (libc::M_TRIM_THRESHOLD, number(kept)),
            (libc::M_MMAP_THRESHOLD, number(kept / APART_PART)),
            (libc::M_TOP_PAD, GROWN_BYTES),
        ]);
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = usable;
}

/// What is larger gets pages of its own, and what is free at the end of the arena goes back when it is more: the allocator's own figures,
/// which it doubles and doubles after the first large pieces, unless they are set.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SMALL_BYTES: libc::c_int = 128 << 10;

/// Lets all threads share one arena, that gives back what is free at its end. For the start of a small program. Does nothing with another
/// C library than GNU's.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(&[
        (libc::M_ARENA_MAX, 1),
        (libc::M_TRIM_THRESHOLD, SMALL_BYTES),
        (libc::M_MMAP_THRESHOLD, SMALL_BYTES),
    ]);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn set(parameters: &[(libc::c_int, libc::c_int)]) {
    for (parameter, value) in parameters {
        // SAFETY: mallopt takes two numbers and no pointer, and locks the main arena while it tidies that up. Its manual calls it unsafe
        // beside other threads, for it changes figures that they read without a lock: each is one word, read once where it decides
        // whether pages are kept or given back, and either answer is right. It refuses numbers that it does not understand: nothing
        // depends on them.
        unsafe {
            libc::mallopt(*parameter, *value);
        }
    }
}

/// What the allocator looks at the end of an arena for when it is freed: 64 KiB and more.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LOOKED_AT_BYTES: usize = 96 << 10;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has no safe face")]
fn trim() {
    let lowering = LOWERING.lock().unwrap_or_else(PoisonError::into_inner);
    // Others that free much at that moment give back their ends as well, which costs them a system call.
    set(&[(libc::M_TRIM_THRESHOLD, 0)]);
    // SAFETY: what is freed was allocated in the same line, unless there was no memory, and then it is null, which may be freed.
    unsafe {
        libc::free(std::hint::black_box(libc::malloc(LOOKED_AT_BYTES)));
    }
    set(&[(libc::M_TRIM_THRESHOLD, KEPT_BYTES.load(Ordering::Relaxed))]);
    drop(lowering);
    // SAFETY: malloc_trim takes a number and no pointer, may be called at any time by any thread (MT-Safe in its manual), and touches
    // nothing that is allocated. What it returns says whether any memory was given back: nothing depends on it.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    fn resident_bytes() -> u64 {
        let pages = fs::read_to_string("/proc/self/statm").expect("procfs");
        let pages = pages.split_whitespace().nth(1).expect("resident pages");
        pages.parse::<u64>().expect("a number") * 4_096
    }

    #[test]
    fn the_end_of_a_threads_arena_goes_back() {
        const BYTES: u64 = 32 << 20;
        const PIECE: u64 = 32 << 10;
        keep(u64::MAX);
        let work = || {
            let pieces: Vec<Vec<u8>> = (0..BYTES / PIECE)
                .map(|_| vec![1; usize::try_from(PIECE).expect("small")])
                .collect();
            drop(std::hint::black_box(pieces));
            let kept = resident_bytes();
            give_back();
            (kept, resident_bytes())
        };
        let (kept, left) = thread::spawn(work).join().expect("no panic");
        assert!(kept - left > BYTES / 8 * 7, "{kept} bytes, then {left}");
    }
}
