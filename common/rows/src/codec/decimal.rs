//! Floats as decimals: an integer mantissa and a count of decimal places.
//!
//! Most metrics are integers, or decimals that were printed with few places; the difference of two such values is a small integer in
//! units of the last place, while their bit patterns have little in common. The **decimal** of a value is `(m, e)` such that
//! `m as f64 / 10^e` is the value to the bit, with `e <= 15`, and either `e = 0` and `|m| < 2^53`, or `|m| < 10^15` and `m` not a
//! multiple of ten. It is a function of the value alone: two different decimals of at most 15 digits are never the same double, so
//! there is at most one. NaN, infinities, `-0.0`, and values that need more digits have none.

/// Powers of ten, all exact.
const POWERS: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The same as integers.
const INTEGER_POWERS: [i64; 16] = {
    let mut powers = [1; 16];
    let mut at = 1;
    while at < 16 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// The most decimal places.
pub(super) const PLACES_MAX: u8 = 15;
/// In place of an exponent: not computed yet.
pub(super) const UNKNOWN: u8 = 0xff;
/// In place of an exponent: the value has no decimal.
pub(super) const NONE: u8 = 0xfe;

/// Mantissas stay below this; every integer below it is a double.
const MANTISSA_LIMIT: i64 = 1 << 53;
/// With decimal places, decimals have mantissas below this.
const DIGITS_LIMIT: i64 = 1_000_000_000_000_000;
/// Adding and subtracting this rounds any double below 2^51 to an integer, without a call into the maths library.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// A mantissa and its decimal places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) mantissa: i64,
    pub(super) places: u8,
}

impl Decimal {
    const ZERO: Self = Self {
        mantissa: 0,
        places: 0,
    };

    /// Returns the decimal of `value`.
    pub(super) fn of(value: f64) -> Option<Self> {
        let magnitude = value.abs();
        // A NaN fails this as well.
        if magnitude < 9_007_199_254_740_992.0 {
            if let Some(mantissa) = at_places(value, 0) {
                return Some(Self {
                    mantissa,
                    places: 0,
                });
            }
            let places = places_that_fit(magnitude);
            let mantissa = at_places(value, places)?;
            return Some(Self { mantissa, places }.stripped());
        }
        None
    }

    /// Returns the decimal that `value` counts as when something is encoded against it: its own, or zero. `exponent` is what is
    /// remembered of it.
    #[inline]
    pub(super) fn of_base(value: f64, exponent: u8) -> Self {
        match exponent {
            0 => Self {
                mantissa: truncate(value),
                places: 0,
            },
            1..=PLACES_MAX => Self {
                mantissa: truncate(round(value * POWERS[usize::from(exponent)])),
                places: exponent,
            },
            NONE => Self::ZERO,
            _ => Self::of(value).unwrap_or(Self::ZERO),
        }
    }

    /// Returns the mantissa at other `places`: exact when there are more and it stays in range, cut when there are fewer, 0 when it
    /// would leave the range. Any answer will do, as long as both ends get the same.
    pub(super) fn rescaled(self, places: u8) -> i64 {
        if places >= self.places {
            self.mantissa
                .checked_mul(INTEGER_POWERS[usize::from(places - self.places)])
                .filter(|m| m.unsigned_abs() < MANTISSA_LIMIT.unsigned_abs())
                .unwrap_or(0)
        } else {
            self.mantissa / INTEGER_POWERS[usize::from(self.places - places)]
        }
    }

    /// Returns the value; `None` when the mantissa is out of range.
    #[inline]
    #[expect(
        clippy::cast_precision_loss,
        reason = "integers below 2^53 are doubles"
    )]
    pub(super) fn value(self) -> Option<f64> {
        if self.mantissa.unsigned_abs() >= MANTISSA_LIMIT.unsigned_abs() {
            return None;
        }
        let mantissa = self.mantissa as f64;
        Some(if self.places == 0 {
            mantissa
        } else {
            mantissa / POWERS[usize::from(self.places)]
        })
    }

    /// Returns what to remember of the value of this decimal, which may have superfluous zeros: the places of *the* decimal of that
    /// value, or [`UNKNOWN`] when that takes more thought.
    #[inline]
    pub(super) fn exponent(self) -> u8 {
        if self.places == 0 {
            0
        } else if self.mantissa.unsigned_abs() < DIGITS_LIMIT.unsigned_abs() {
            self.stripped().places
        } else {
            UNKNOWN
        }
    }

    #[inline]
    fn stripped(mut self) -> Self {
        while self.places > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.places -= 1;
        }
        self
    }
}

/// Returns the mantissa of `value` at `places`, if `value` is exactly that.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "the comparison of bits would find it"
)]
pub(super) fn at_places(value: f64, places: u8) -> Option<i64> {
    if places == 0 {
        let mantissa = truncate(value);
        let exact = (mantissa as f64).to_bits() == value.to_bits();
        return (exact && mantissa.unsigned_abs() < MANTISSA_LIMIT.unsigned_abs())
            .then_some(mantissa);
    }
    let power = POWERS[usize::from(places)];
    let scaled = value * power;
    // Beyond, rounding by addition would not round; a NaN fails this as well.
    if scaled.abs() < 2_251_799_813_685_248.0 {
        let mantissa = round(scaled);
        if (mantissa / power).to_bits() == value.to_bits() {
            return Some(truncate(mantissa));
        }
    }
    None
}

/// Returns the most places (at most 15) at which `magnitude`, below 2^53, has a mantissa below 10^15. If the value has a decimal with
/// fewer places, it has it at these places as well, with zeros behind: one trial settles the question.
fn places_that_fit(magnitude: f64) -> u8 {
    let exponent = (magnitude.to_bits() >> 52).saturating_sub(1_023);
    // floor(exponent * log10(2)): the digits before the point, less one, or one fewer than that.
    let digits = u8::try_from((exponent * 1_233) >> 12).unwrap_or(PLACES_MAX);
    let places = 14_u8.saturating_sub(digits) + u8::from(magnitude < 1.0);
    if magnitude * POWERS[usize::from(places)] < 1e15 {
        places
    } else {
        places.saturating_sub(1)
    }
}

#[inline]
fn round(value: f64) -> f64 {
    (value + ROUNDER) - ROUNDER
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
const fn truncate(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_have_the_decimals_that_people_see() {
        for (value, mantissa, places) in [
            (0.0, 0, 0),
            (-12.0, -12, 0),
            (0.1, 1, 1),
            (-2.50, -25, 1),
            (1.9059e-5, 19_059, 9),
            (123_456_789.012_345, 123_456_789_012_345, 6),
            (9_007_199_254_740_991.0, 9_007_199_254_740_991, 0),
            (1e-15, 1, 15),
            (999_999_999_999_999.0, 999_999_999_999_999, 0),
            (99_999_999_999_999.9, 999_999_999_999_999, 1),
            (0.999_999_999_999_999, 999_999_999_999_999, 15),
        ] {
            assert_eq!(
                Decimal::of(value),
                Some(Decimal { mantissa, places }),
                "{value}"
            );
        }
        for value in [
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9_007_199_254_740_992.0,
            1e300,
            f64::MIN_POSITIVE,
            1e-16,
            std::f64::consts::PI,
            0.1 + 0.2,
        ] {
            assert_eq!(Decimal::of(value), None, "{value}");
        }
    }

    proptest! {
        /// Both ends rely on it: a value that was written at some places is remembered by the exponent that would be computed from it.
        #[test]
        fn a_short_decimal_has_one_form(mantissa in -999_999_999_999_999i64..=999_999_999_999_999, shift in 0u32..50, places in 0u8..=15) {
            let written = Decimal { mantissa: mantissa >> shift, places };
            let value = written.value().unwrap();
            let found = Decimal::of(value).unwrap();
            prop_assert_eq!(found, written.stripped());
            prop_assert_eq!(written.exponent(), found.places);
            prop_assert_eq!(Decimal::of_base(value, found.places), found);
            prop_assert_eq!(Decimal::of_base(value, UNKNOWN), found);
        }

        #[test]
        fn a_decimal_is_the_value_to_the_bit(bits in any::<u64>(), text in -1e9f64..1e9, places in 0usize..12) {
            for value in [f64::from_bits(bits), format!("{text:.places$}").parse().unwrap()] {
                if let Some(decimal) = Decimal::of(value) {
                    prop_assert_eq!(decimal.value().unwrap().to_bits(), value.to_bits());
                    prop_assert_eq!(decimal.exponent(), decimal.places);
                }
            }
        }
    }
}
