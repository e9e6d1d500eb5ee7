//! How well the clock is disciplined.

use std::io;

use super::Collector;
use crate::adjtimex;
use crate::error::CollectError;
use crate::host::Moment;
use crate::{Family, Sink};

static SYNC_STATUS: Family = Family::gauge(
    "node_timex_sync_status",
    "Is clock synchronized to a reliable server (1 = yes, 0 = no).",
    &[],
);
static OFFSET: Family = Family::gauge(
    "node_timex_offset_seconds",
    "Time offset in between local system and reference clock.",
    &[],
);
static FREQUENCY: Family = Family::gauge(
    "node_timex_frequency_adjustment_ratio",
    "Local clock frequency adjustment.",
    &[],
);
static MAXIMUM_ERROR: Family = Family::gauge(
    "node_timex_maxerror_seconds",
    "Maximum error in seconds.",
    &[],
);
static ESTIMATED_ERROR: Family = Family::gauge(
    "node_timex_estimated_error_seconds",
    "Estimated error in seconds.",
    &[],
);
static STATUS: Family = Family::gauge("node_timex_status", "Value of the status array bits.", &[]);
static CONSTANT: Family = Family::gauge(
    "node_timex_loop_time_constant",
    "Phase-locked loop time constant.",
    &[],
);
static TICK: Family = Family::gauge(
    "node_timex_tick_seconds",
    "Seconds between clock ticks.",
    &[],
);
static PPS_FREQUENCY: Family = Family::gauge(
    "node_timex_pps_frequency_hertz",
    "Pulse per second frequency.",
    &[],
);
static JITTER: Family = Family::gauge(
    "node_timex_pps_jitter_seconds",
    "Pulse per second jitter.",
    &[],
);
static SHIFT: Family = Family::gauge(
    "node_timex_pps_shift_seconds",
    "Pulse per second interval duration.",
    &[],
);
static STABILITY: Family = Family::gauge(
    "node_timex_pps_stability_hertz",
    "Pulse per second stability, average of recent frequency changes.",
    &[],
);
static JITTER_COUNT: Family = Family::counter(
    "node_timex_pps_jitter_total",
    "Pulse per second count of jitter limit exceeded events.",
    &[],
);
static CALIBRATIONS: Family = Family::counter(
    "node_timex_pps_calibration_total",
    "Pulse per second count of calibration intervals.",
    &[],
);
static ERRORS: Family = Family::counter(
    "node_timex_pps_error_total",
    "Pulse per second count of calibration errors.",
    &[],
);
static STABILITY_EXCEEDED: Family = Family::counter(
    "node_timex_pps_stability_exceeded_total",
    "Pulse per second count of stability limit exceeded events.",
    &[],
);
static TAI_OFFSET: Family = Family::gauge(
    "node_timex_tai_offset_seconds",
    "International Atomic Time (TAI) offset.",
    &[],
);

/// The bit of the status that says that the offset and the jitter are in nanoseconds rather than microseconds.
const IS_NANO: i32 = 0x2000;
const NANOSECONDS: f64 = 1e9;
const MICROSECONDS: f64 = 1e6;
/// Parts per million with a fraction of 16 bits.
const FREQUENCY_UNITS: f64 = 1e6 * 65_536.0;

#[derive(Debug)]
pub(super) struct Timex;

impl Collector for Timex {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        let clock = adjtimex::ask().map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => CollectError::NoData("the clock may not be asked"),
            _ => CollectError::System {
                call: "ask the clock how it is disciplined",
                source,
            },
        })?;
        let fraction = if clock.status & IS_NANO == 0 {
            MICROSECONDS
        } else {
            NANOSECONDS
        };
        for (family, value) in [
            (&SYNC_STATUS, f64::from(u8::from(clock.is_synchronized))),
            (&OFFSET, clock.offset / fraction),
            (&FREQUENCY, 1.0 + clock.frequency / FREQUENCY_UNITS),
            (&MAXIMUM_ERROR, clock.maximum_error / MICROSECONDS),
            (&ESTIMATED_ERROR, clock.estimated_error / MICROSECONDS),
            (&STATUS, f64::from(clock.status)),
            (&CONSTANT, clock.constant),
            (&TICK, clock.tick / MICROSECONDS),
            (&PPS_FREQUENCY, clock.pps_frequency / FREQUENCY_UNITS),
            (&JITTER, clock.jitter / fraction),
            (&SHIFT, f64::from(clock.shift)),
            (&STABILITY, clock.stability / FREQUENCY_UNITS),
            (&JITTER_COUNT, clock.jitter_count),
            (&CALIBRATIONS, clock.calibration_count),
            (&ERRORS, clock.error_count),
            (&STABILITY_EXCEEDED, clock.stability_count),
            (&TAI_OFFSET, f64::from(clock.tai_offset)),
        ] {
            sink.sample(family, &[], value);
        }
        Ok(())
    }
}
