//! Whether a counter was reset between two histograms.

use model::CounterReset;

use super::combine::{Layout, common_layout};
use super::{Counts, FloatHistogram};

impl FloatHistogram {
    /// Returns whether the counter was reset between `before` and this histogram: by its hint, else because something fell.
    pub(crate) fn detect_reset(&self, before: &Self) -> bool {
        match self.reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < before.count || self.schema > before.schema {
            return true;
        }
        if self.zero_threshold < before.zero_threshold {
            return true;
        }
        let Ok((layout, _)) = common_layout(self, before) else {
            return true;
        };
        if !self.has_custom_bounds()
            && before.threshold_for(self.zero_threshold) != self.zero_threshold
        {
            // The zero bucket grew into the middle of a filled bucket.
            return true;
        }
        self.fell(before, &layout)
    }

    fn fell(&self, before: &Self, layout: &Layout) -> bool {
        let (mut now, mut before) = (self.clone(), before.clone());
        now.fit_layout(layout);
        before.fit_layout(layout);
        now.zero_count < before.zero_count
            || any_fell(&now.positive, &before.positive)
            || any_fell(&now.negative, &before.negative)
    }
}

fn any_fell(now: &Counts, before: &Counts) -> bool {
    before.iter().any(|(index, count)| {
        let present = now
            .binary_search_by_key(index, |(at, _)| *at)
            .map_or(0.0, |place| now[place].1);
        present < *count
    })
}
