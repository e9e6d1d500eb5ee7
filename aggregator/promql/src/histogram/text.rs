//! The text of a histogram, as Prometheus writes it for people and for `count_values`.

use std::fmt;

use super::FloatHistogram;
use crate::number::format;

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{count:{}, sum:{}",
            format(self.count),
            format(self.sum)
        )?;
        for bucket in self.all_buckets() {
            if bucket.count == 0.0 {
                continue;
            }
            let (open, close) = (
                if bucket.closed.0 { '[' } else { '(' },
                if bucket.closed.1 { ']' } else { ')' },
            );
            write!(
                f,
                ", {open}{},{}{close}:{}",
                format(bucket.lower),
                format(bucket.upper),
                format(bucket.count)
            )?;
        }
        f.write_str("}")
    }
}
