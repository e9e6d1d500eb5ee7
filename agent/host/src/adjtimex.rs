//! How the kernel disciplines its clock: `adjtimex(2)`.
//!
//! The crate's one unsafe call: `rustix` has no safe face for it.

use std::io;

/// What the kernel says; fields as in `struct timex`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Discipline {
    pub(crate) is_synchronized: bool,
    pub(crate) offset: f64,
    pub(crate) frequency: f64,
    pub(crate) maximum_error: f64,
    pub(crate) estimated_error: f64,
    pub(crate) status: i32,
    pub(crate) constant: f64,
    pub(crate) tick: f64,
    pub(crate) pps_frequency: f64,
    pub(crate) jitter: f64,
    pub(crate) shift: i32,
    pub(crate) stability: f64,
    pub(crate) jitter_count: f64,
    pub(crate) calibration_count: f64,
    pub(crate) error_count: f64,
    pub(crate) stability_count: f64,
    pub(crate) tai_offset: i32,
}

/// Asks the kernel; changes nothing, and needs no privilege.
#[expect(unsafe_code, reason = "the C library has no safe face")]
pub(crate) fn ask() -> io::Result<Discipline> {
    // SAFETY: `timex` is a struct of numbers, for which all zeros are a value; `modes` = 0 among them makes the call read only.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex` that lives through the call, which writes no further than its size.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Discipline {
        is_synchronized: state != libc::TIME_ERROR,
        offset: timex.offset as f64,
        frequency: timex.freq as f64,
        maximum_error: timex.maxerror as f64,
        estimated_error: timex.esterror as f64,
        status: timex.status,
        constant: timex.constant as f64,
        tick: timex.tick as f64,
        pps_frequency: timex.ppsfreq as f64,
        jitter: timex.jitter as f64,
        shift: timex.shift,
        stability: timex.stabil as f64,
        jitter_count: timex.jitcnt as f64,
        calibration_count: timex.calcnt as f64,
        error_count: timex.errcnt as f64,
        stability_count: timex.stbcnt as f64,
        tai_offset: timex.tai,
    })
}
