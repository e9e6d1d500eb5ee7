//! What the samples of one histogram at one time must add up to.

/// The samples of one histogram seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HistogramCheck {
    /// Bound and value of the last bucket.
    bucket: Option<(f64, f64)>,
    has_negative_bound: bool,
    count: Option<f64>,
    sum: Option<f64>,
    gauge_sum: Option<f64>,
}

impl HistogramCheck {
    /// Takes a bucket; `Err` says what was expected.
    pub(super) fn bucket(&mut self, bound: f64, value: f64) -> Result<(), &'static str> {
        if let Some((below, fewer)) = self.bucket {
            if bound <= below {
                return Err("buckets in ascending order of le");
            }
            if value < fewer {
                return Err(
                    "a bucket with no less than the bucket before it: buckets are cumulative",
                );
            }
        }
        self.bucket = Some((bound, value));
        self.has_negative_bound |= bound < 0.0;
        Ok(())
    }

    /// Takes a sample that is not a bucket.
    pub(super) fn other(&mut self, suffix: &str, value: f64) {
        match suffix {
            "_count" | "_gcount" => self.count = Some(value),
            "_sum" => self.sum = Some(value),
            "_gsum" => self.gauge_sum = Some(value),
            _ => {}
        }
    }

    /// Checks the histogram, now complete; `Err` says what was expected.
    pub(super) fn finish(&self) -> Result<(), &'static str> {
        let total = match self.bucket {
            Some((bound, value)) if bound == f64::INFINITY => value,
            _ => return Err("a bucket with le=\"+Inf\" in each histogram"),
        };
        let has_sum = self.sum.is_some() || self.gauge_sum.is_some();
        match self.count {
            Some(count) if count != total => Err("a count equal to the bucket with le=\"+Inf\""),
            Some(_) if !has_sum => Err("a sum beside the histogram's count"),
            None if has_sum => Err("a count beside the histogram's sum"),
            _ if self.has_negative_bound && self.sum.is_some() => {
                Err("no sum in a histogram with negative bounds")
            }
            _ if !self.has_negative_bound && self.gauge_sum.is_some_and(|sum| sum < 0.0) => {
                Err("no negative sum in a gaugehistogram without negative bounds")
            }
            _ => Ok(()),
        }
    }
}
