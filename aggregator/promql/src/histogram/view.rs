//! A histogram as the HTTP API shows it.

use model::Histogram;

use super::{Bucket, FloatHistogram};

/// Count, sum and filled buckets of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramView {
    /// All observations.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The buckets with observations, the lowest first.
    pub buckets: Vec<BucketView>,
}

/// A bucket as the HTTP API shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BucketView {
    /// Which bounds belong to it: 0 only the upper, 1 only the lower, 2 none, 3 both.
    pub boundaries: u8,
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Its observations.
    pub count: f64,
}

impl HistogramView {
    /// Returns the view of a histogram.
    pub fn new(histogram: &Histogram) -> Self {
        let histogram = FloatHistogram::from_model(histogram);
        let buckets = histogram
            .all_buckets()
            .into_iter()
            .filter(|bucket| bucket.count != 0.0)
            .map(BucketView::new)
            .collect();
        Self {
            count: histogram.count,
            sum: histogram.sum,
            buckets,
        }
    }
}

impl BucketView {
    fn new(bucket: Bucket) -> Self {
        let boundaries = match bucket.closed {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        Self {
            boundaries,
            lower: bucket.lower,
            upper: bucket.upper,
            count: bucket.count,
        }
    }
}
