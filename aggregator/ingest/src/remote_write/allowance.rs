//! How much a request may make of its body, beside lists of series and samples: what is copied of it, or larger in memory than as it came.

/// So many bytes of a body's byte: a stale histogram with its labels, the least that senders send, makes some five.
const BYTES_PER_BODY_BYTE: usize = 16;
/// What any request may make; most small ones are of one large series.
const BYTES_MIN: usize = 256 * 1024;
/// The most that any request may make.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// Bytes that a request may still make: of histograms, exemplars, metadata, and labels of series that are new.
///
/// Without it, two bytes could become a histogram of two hundred, and a number that names a text of 16 KiB that text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    granted: usize,
    left: usize,
    is_overdrawn: bool,
}

impl Allowance {
    /// Returns what a request may make whose body has so many bytes.
    pub(super) fn of(body_bytes: usize) -> Self {
        let granted = body_bytes
            .saturating_mul(BYTES_PER_BODY_BYTE)
            .clamp(BYTES_MIN, BYTES_MAX);
        Self {
            granted,
            left: granted,
            is_overdrawn: false,
        }
    }

    /// Takes bytes off; returns whether they were left, and takes none if not.
    #[must_use]
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.is_overdrawn = true;
                false
            }
        }
    }

    /// Returns whether more was asked for than was left.
    pub(super) const fn is_overdrawn(&self) -> bool {
        self.is_overdrawn
    }

    /// Returns what there was at first.
    pub(super) const fn granted(&self) -> usize {
        self.granted
    }

    /// Returns what was taken.
    pub(super) const fn taken(&self) -> usize {
        self.granted - self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_left_is_not_taken() {
        let mut allowance = Allowance::of(1 << 20);
        assert!(allowance.take(16 << 20) && !allowance.is_overdrawn());
        assert!(!allowance.take(1) && allowance.is_overdrawn());
        assert_eq!(allowance.taken(), allowance.granted());
        assert_eq!(Allowance::of(0).granted(), BYTES_MIN);
        assert_eq!(Allowance::of(usize::MAX).granted(), BYTES_MAX);
    }
}
