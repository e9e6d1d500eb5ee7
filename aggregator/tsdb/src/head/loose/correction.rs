//! A run of corrections: samples of one series that rise in time, in the order that they came.

use model::{TimeRange, TimestampMs};
use rows::SeriesSample;
use storage::Times;

use super::{
    AxisReads, LATE_OPEN, LateSample, Page, Tools, bytes_of_late, late_columns, put_pages,
};
use crate::merge_runs::{Arrival, Arrived};
use crate::page::Scratch;

/// A run.
#[derive(Debug, Default)]
pub(super) struct Correction {
    pages: Vec<Page>,
    /// Behind those of the pages.
    open: Vec<LateSample>,
}

impl Correction {
    /// Whether a sample goes on with the run: it is newer than all of it.
    pub(super) fn takes(&self, sample: &SeriesSample) -> bool {
        let of_pages = self.pages.last().map(|page| page.axis.last);
        let newest = self.open.last().map(|last| last.at).or(of_pages);
        newest.is_none_or(|newest| newest < sample.at)
    }

    /// Takes a sample and returns by how many bytes the run grew.
    pub(super) fn push(
        &mut self,
        sample: &SeriesSample,
        position: u64,
        tools: &mut Tools,
        scratch: &mut Scratch,
    ) -> i64 {
        self.open.push(LateSample {
            at: sample.at,
            position,
            value: sample.value.clone(),
            start: sample.start,
        });
        let grown = bytes_of_late(&sample.value);
        if self.open.len() < LATE_OPEN {
            return grown;
        }
        let full = std::mem::take(&mut self.open);
        let freed: i64 = full.iter().map(|late| bytes_of_late(&late.value)).sum();
        tools.unpack_open(&full);
        grown - freed + put_pages(&mut self.pages, late_columns(full), tools, scratch)
    }

    /// Appends what there is within `range`, by whole runs.
    pub(super) fn read(
        &self,
        until: u64,
        range: TimeRange,
        (axes, scratch): (&mut AxisReads, &mut Scratch),
        out: &mut Vec<Arrived>,
    ) {
        let from = out.len();
        for page in &self.pages {
            page.read(until, range, false, (axes, scratch), out);
        }
        let seen = self.visible(until);
        if let Some(first) = seen.first()
            && overlaps(seen, range)
        {
            let times: Vec<TimestampMs> = seen.iter().map(|late| late.at).collect();
            out.push(Arrived {
                arrival: Arrival::at(first.position),
                segment: late_columns(seen.to_vec()).into_segment(Times::new(times)),
            });
        }
        for run in &mut out[from..] {
            run.arrival = Arrival::of_correction(run.arrival.position());
        }
    }

    pub(super) fn touches(&self, until: u64, range: TimeRange) -> bool {
        let mut pages = self.pages.iter();
        pages.any(|page| page.touches(until, range)) || overlaps(self.visible(until), range)
    }

    /// Shows all times there are, in pieces that rise.
    pub(super) fn times(&self, axes: &mut AxisReads, each: &mut dyn FnMut(&[TimestampMs])) {
        for page in &self.pages {
            each(axes.of(&page.axis).0.as_slice());
        }
        for late in &self.open {
            each(&[late.at]);
        }
    }

    /// Returns what is open and has this position or an earlier one.
    fn visible(&self, until: u64) -> &[LateSample] {
        let seen = self.open.partition_point(|late| late.position <= until);
        &self.open[..seen]
    }
}

/// Whether samples in order of time reach into the range.
fn overlaps(samples: &[LateSample], range: TimeRange) -> bool {
    match (samples.first(), samples.last()) {
        (Some(first), Some(last)) => TimeRange::new(first.at, last.at).overlaps(range),
        _ => false,
    }
}
