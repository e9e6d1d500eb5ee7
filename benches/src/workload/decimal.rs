//! The granularity of a series: the step that all its values are multiples of.

/// More decimals than this are no measurement but a full mantissa.
const DECIMALS_MAX: u32 = 9;
/// Whole numbers up to here are exact as `f64`.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Values are whole multiples of `step / 10^decimals`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Granularity {
    step: f64,
    divisor: f64,
}

impl Granularity {
    /// Returns the coarsest granularity of these values; `None` when one of them needs its whole mantissa.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let divisor = (0..=DECIMALS_MAX)
            .map(|decimals| 10f64.powi(decimals.cast_signed()))
            .find(|divisor| values.iter().all(|value| is_multiple(*value, *divisor)))?;
        let mut step = 0;
        for value in values {
            step = greatest_common_divisor(step, whole(*value * divisor)?);
        }
        Some(Self {
            step: step.max(1) as f64,
            divisor,
        })
    }

    /// Returns how many steps a difference is.
    pub(super) fn steps(self, difference: f64) -> f64 {
        difference * self.divisor / self.step
    }

    /// Returns the value of so many steps: the float nearest to the decimal number.
    pub(super) fn value(self, steps: i64) -> f64 {
        steps as f64 * self.step / self.divisor
    }
}

fn is_multiple(value: f64, divisor: f64) -> bool {
    let units = (value * divisor).round();
    units.abs() <= EXACT_MAX && units / divisor == value
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the range"
)]
fn whole(units: f64) -> Option<u64> {
    let units = units.round().abs();
    (units <= EXACT_MAX).then_some(units as u64)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granularity_is_the_coarsest_that_fits() {
        let check = |values: &[f64], expected: Option<(f64, f64)>| {
            let found = Granularity::of(values).map(|found| (found.step, found.divisor));
            assert_eq!(found, expected, "{values:?}");
        };
        check(&[4096.0, 12_288.0], Some((4_096.0, 1.0)));
        check(&[0.25, 606.54], Some((1.0, 100.0)));
        check(&[0.0, 0.0], Some((1.0, 1.0)));
        check(&[1.0, 1.0 / 3.0], None);
    }

    #[test]
    fn steps_give_the_nearest_float() {
        let hundredths = Granularity::of(&[0.01, 0.07]).expect("decimals");
        assert_eq!(hundredths.value(60_654).to_bits(), 606.54f64.to_bits());
        assert!((hundredths.steps(0.29) - 29.0).abs() < 1e-9);
    }
}
