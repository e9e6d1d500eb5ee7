//! Choosing where most residuals of an integer column lie.

use super::varint::bits_of;

/// Narrowing rounds: each trims one side of the frame.
const ROUNDS_MAX: usize = 3;
/// A round looks at one residual of so many to find where to cut, and at all to see what the cut brings.
const SAMPLED: usize = 4;
/// Of columns shorter than this it looks at all.
const SAMPLED_FROM: usize = 24 * SAMPLED;

/// Where most residuals lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) low: i64,
    pub(super) high: i64,
    /// Residuals outside `low..=high`.
    pub(super) exceptions: usize,
    /// What frame and exceptions are estimated to take.
    pub(super) bits: usize,
}

/// What a frame's parts take.
#[derive(Clone, Copy)]
struct Costs {
    /// Bits that the divisor takes off each field.
    saved: usize,
    /// Bits of an exception.
    outlier_bits: usize,
}

impl Costs {
    const fn bits(self, fields: usize, width: usize, exceptions: usize) -> usize {
        fields * width.saturating_sub(self.saved) + exceptions * self.outlier_bits
    }
}

impl Frame {
    /// Returns the frame that holds all residuals.
    pub(super) fn whole(residuals: &[i64]) -> Self {
        let Some(&head) = residuals.first() else {
            return Self {
                low: 0,
                high: 0,
                exceptions: 0,
                bits: 0,
            };
        };
        let (low, high) = residuals
            .iter()
            .fold((head, head), |(low, high), x| (low.min(*x), high.max(*x)));
        Self {
            low,
            high,
            exceptions: 0,
            bits: residuals.len() * bits_between(low, high),
        }
    }

    /// Returns the cheapest frame found: the same, or fewer bits a field and a list of exceptions.
    pub(super) fn narrow(mut self, residuals: &[i64]) -> Self {
        let width = bits_between(self.low, self.high);
        if width <= 1 {
            return self;
        }
        // What the divisor saves of every field, in whole bits; outliers that break it are not looked for.
        let saved = bits_of(self.divisor(residuals)) as usize - 1;
        self.bits = residuals.len() * width.saturating_sub(saved);
        // A byte of gap and the residual, zigzag, in groups of seven bits.
        let outlier_bits = 8 + (width + 1).div_ceil(7) * 8;
        let costs = Costs {
            saved,
            outlier_bits,
        };
        for _ in 0..ROUNDS_MAX {
            if bits_between(self.low, self.high) <= 1 {
                break;
            }
            match self.narrowed(residuals, costs) {
                Some(narrower) => self = narrower,
                None => break,
            }
        }
        self
    }

    /// Returns the width and the side (whether the cut is above) of the frame that seems cheapest; `None` when none seems cheaper than this.
    fn cheapest_cut(&self, residuals: &[i64], costs: Costs) -> Option<(usize, bool)> {
        let step = if residuals.len() < SAMPLED_FROM {
            1
        } else {
            SAMPLED
        };
        // In turn on two sets: most residuals add to one count, which would wait for itself.
        let mut counts = [[[0u32; 65]; 2]; 2];
        for (at, x) in residuals.iter().step_by(step).enumerate() {
            if self.holds(*x) {
                let [above, below] = &mut counts[at % 2];
                above[bits_between(self.low, *x)] += 1;
                below[bits_between(*x, self.high)] += 1;
            }
        }
        let count =
            |side: usize, width: usize| (counts[0][side][width] + counts[1][side][width]) as usize;
        let mut best: Option<(usize, bool)> = None;
        let mut bits = self.bits;
        for (side, from_above) in [(0, true), (1, false)] {
            let mut exceptions = self.exceptions;
            for width in (0..bits_between(self.low, self.high)).rev() {
                exceptions += count(side, width + 1) * step;
                let candidate = costs.bits(residuals.len(), width, exceptions);
                if candidate < bits {
                    bits = candidate;
                    best = Some((width, from_above));
                }
            }
        }
        best
    }

    /// Returns the frame with the outliers of one side cut off, when that is cheaper.
    fn narrowed(&self, residuals: &[i64], costs: Costs) -> Option<Self> {
        let (width, from_above) = self.cheapest_cut(residuals, costs)?;
        let stays = |x: i64| {
            let distance = if from_above {
                bits_between(self.low, x)
            } else {
                bits_between(x, self.high)
            };
            self.holds(x) && distance <= width
        };
        let mut kept = residuals.iter().copied().filter(|x| stays(*x));
        let head = kept.next()?;
        let (mut low, mut high, mut count) = (head, head, 1);
        for x in kept {
            (low, high, count) = (low.min(x), high.max(x), count + 1);
        }
        let exceptions = residuals.len() - count;
        let bits = costs.bits(residuals.len(), bits_between(low, high), exceptions);
        (bits < self.bits).then_some(Self {
            low,
            high,
            exceptions,
            bits,
        })
    }

    pub(super) const fn holds(&self, residual: i64) -> bool {
        self.low <= residual && residual <= self.high
    }

    /// Returns the greatest number that divides the distance of every residual in the frame from its minimum; 1 at least.
    pub(super) fn divisor(&self, residuals: &[i64]) -> u64 {
        let offset = |x: &i64| match self.holds(*x) {
            true => x.wrapping_sub(self.low).cast_unsigned(),
            false => 0,
        };
        // Powers of two without a division: sizes in pages have no other divisor, and most columns none at all.
        let bits = residuals.iter().map(offset).fold(0, |all, bits| all | bits);
        if bits == 0 {
            return 1;
        }
        let shift = bits.trailing_zeros();
        let mut odd = 0u64;
        for x in residuals {
            odd = greatest_common_divisor(offset(x) >> shift, odd);
            if odd == 1 {
                break;
            }
        }
        odd << shift
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Returns the width of the distance from `low` to `high`, which is not below it.
const fn bits_between(low: i64, high: i64) -> usize {
    bits_of(high.wrapping_sub(low).cast_unsigned()) as usize
}
