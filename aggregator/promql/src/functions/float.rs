//! Functions of floats, and sums that do not lose small values.

/// A sum with the error of its roundings (Neumaier's variant of Kahan's).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KahanSum {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl KahanSum {
    pub(crate) const fn starting_at(sum: f64) -> Self {
        Self {
            sum,
            compensation: 0.0,
        }
    }

    /// Returns the sum with `value` added: Neumaier's, whose error of an addition is found without looking which operand is the greater
    /// (Knuth's two-sum), so that many are added at once.
    #[must_use]
    pub(crate) fn plus(self, value: f64) -> Self {
        let total = self.sum + value;
        let added = total - self.sum;
        let error = (self.sum - (total - added)) + (value - added);
        let compensation = if total.is_infinite() {
            0.0
        } else {
            self.compensation + error
        };
        Self {
            sum: total,
            compensation,
        }
    }

    /// Returns the sum, its error taken out.
    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() {
            self.sum
        } else {
            self.sum + self.compensation
        }
    }
}

/// A mean by the sum while that does not overflow, by steps from there on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    sum: KahanSum,
    /// The mean of what came before the overflow and after, once there was one.
    incremental: Option<KahanSum>,
    count: f64,
}

impl Mean {
    pub(crate) const fn starting_at(first: f64) -> Self {
        Self {
            sum: KahanSum::starting_at(first),
            incremental: None,
            count: 1.0,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let count = self.count;
        let mean = match self.incremental {
            Some(mean) => mean,
            None => {
                let next = self.sum.plus(value);
                if !next.sum.is_infinite() {
                    self.sum = next;
                    return;
                }
                KahanSum {
                    sum: self.sum.sum / (count - 1.0),
                    compensation: self.sum.compensation / (count - 1.0),
                }
            }
        };
        let weight = (count - 1.0) / count;
        let scaled = KahanSum {
            sum: weight * mean.sum,
            compensation: weight * mean.compensation,
        };
        self.incremental = Some(scaled.plus(value / count));
    }

    pub(crate) fn value(self) -> f64 {
        match self.incremental {
            Some(mean) => mean.sum + mean.compensation,
            None => self.sum.sum / self.count + self.sum.compensation / self.count,
        }
    }
}

/// Returns the lesser; NaN when either is, unless the other is negative infinity (Go's rule).
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

/// Returns the greater; NaN when either is, unless the other is infinity (Go's rule).
pub(crate) fn max(a: f64, b: f64) -> f64 {
    -min(-a, -b)
}

pub(crate) fn pow(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
}

/// Rounds to a multiple; ties go up.
pub(crate) fn round_to(value: f64, multiple: f64) -> f64 {
    // Inverted, as that loses less.
    let inverse = 1.0 / multiple;
    (value * inverse + 0.5).floor() / inverse
}

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// Returns the function of one float that goes by this name.
pub(crate) fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sgn" => sign,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_error_of_an_addition_is_what_neumaier_finds(values in proptest::collection::vec((-1.0_f64..1.0, -80_i32..80), 1..30)) {
            let mut held = KahanSum::default();
            let (mut sum, mut compensation) = (0.0_f64, 0.0_f64);
            for (mantissa, exponent) in values {
                let value = mantissa * 2.0_f64.powi(exponent);
                held = held.plus(value);
                let total = sum + value;
                compensation += if sum.abs() >= value.abs() {
                    (sum - total) + value
                } else {
                    (value - total) + sum
                };
                sum = total;
                proptest::prop_assert_eq!((held.sum.to_bits(), held.compensation.to_bits()), (sum.to_bits(), compensation.to_bits()));
            }
        }
    }

    #[test]
    fn sums_keep_what_is_small() {
        let total = [1.0, 1e100, 1.0, -1e100]
            .into_iter()
            .fold(KahanSum::default(), KahanSum::plus)
            .total();
        assert_eq!(total, 2.0);
        let infinite = KahanSum::starting_at(f64::INFINITY).plus(1.0).total();
        assert_eq!(infinite, f64::INFINITY);
    }

    #[test]
    fn means_survive_overflow() {
        let mut mean = Mean::starting_at(f64::MAX);
        mean.add(f64::MAX);
        assert_eq!(mean.value(), f64::MAX);
    }

    #[test]
    fn rounding_goes_up_at_ties() {
        for (value, multiple, rounded) in [
            (2.5, 1.0, 3.0),
            (-2.5, 1.0, -2.0),
            (5.25, 0.1, 5.3),
            (3.0, 5.0, 5.0),
        ] {
            assert_eq!(round_to(value, multiple), rounded);
        }
    }
}
