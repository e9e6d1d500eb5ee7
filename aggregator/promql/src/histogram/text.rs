//! The text of a histogram, as Prometheus writes it for people and for `count_values`.

use std::fmt;

use super::FloatHistogram;
use gofloat::format_g;

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{count:{}, sum:{}",
            format_g(self.count),
            format_g(self.sum)
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
                format_g(bucket.lower),
                format_g(bucket.upper),
                format_g(bucket.count)
            )?;
        }
        f.write_str("}")
    }
}
