//! The fewest digits that tell a double.

use crate::{Sink, plain};

/// No double takes more digits than this.
const DIGITS_MAX: usize = 17;

/// The magnitude of a finite double as `d.ddd` times ten to an exponent, with the fewest digits that read back as the same.
#[derive(Clone, Copy, Debug)]
pub struct Shortest {
    digits: [u8; DIGITS_MAX],
    length: usize,
    exponent: i32,
}

impl Shortest {
    /// Returns the digits of a finite value's magnitude. Zero is one `0`, with the exponent 0, and so is what is not finite.
    pub fn of(value: f64) -> Self {
        let mut shortest = Self {
            digits: [b'0'; DIGITS_MAX],
            length: 0,
            exponent: 0,
        };
        if value.is_finite() {
            shortest.take(zmij::Buffer::new().format_finite(value.abs()));
        }
        // Zeros at the end tell nothing.
        let trailing = shortest
            .digits()
            .bytes()
            .rev()
            .take_while(|digit| *digit == b'0');
        shortest.length -= trailing.count();
        if shortest.length == 0 {
            shortest.length = 1;
            shortest.exponent = 0;
        }
        shortest
    }

    /// Reads `12.5`, `0.001`, `1.5e-7`.
    fn take(&mut self, text: &str) {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let point = mantissa.find('.').unwrap_or(mantissa.len());
        let significant = mantissa.bytes().filter(|byte| *byte != b'.');
        let leading = significant
            .clone()
            .take_while(|digit| *digit == b'0')
            .count();
        for (digit, place) in significant.skip(leading).zip(&mut self.digits) {
            *place = digit;
            self.length += 1;
        }
        let places = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        self.exponent = exponent.parse().unwrap_or(0) + places(point) - places(leading) - 1;
    }

    /// The digits, without a point; the first and the last are not `0` unless it is the only one.
    pub fn digits(&self) -> &str {
        let digits = self.digits.get(..self.length).unwrap_or(&self.digits);
        str::from_utf8(digits).expect("digits are ASCII")
    }

    /// The power of ten that the first digit counts.
    pub const fn exponent(&self) -> i32 {
        self.exponent
    }

    /// Appends `d.ddde+00`.
    pub(crate) fn write_exponential(&self, out: &mut impl Sink) {
        let (first, rest) = self.digits().as_bytes().split_at(1);
        out.append(first);
        if !rest.is_empty() {
            out.append(b".");
            out.append(rest);
        }
        out.append(if self.exponent < 0 { b"e-" } else { b"e+" });
        let exponent = self.exponent.unsigned_abs();
        if exponent < 10 {
            out.append(b"0");
        }
        plain::write_whole(out, exponent.into());
    }

    /// Appends `ddd.ddd`, without an exponent.
    pub(crate) fn write_plain(&self, out: &mut impl Sink) {
        let digits = self.digits().as_bytes();
        let Ok(whole) = usize::try_from(self.exponent + 1) else {
            out.append(b"0.");
            zeros(out, self.exponent.unsigned_abs() as usize - 1);
            return out.append(digits);
        };
        match digits.split_at_checked(whole) {
            Some((b"", fraction)) => {
                out.append(b"0.");
                out.append(fraction);
            }
            Some((whole, b"")) => out.append(whole),
            Some((whole, fraction)) => {
                out.append(whole);
                out.append(b".");
                out.append(fraction);
            }
            None => {
                out.append(digits);
                zeros(out, whole - digits.len());
            }
        }
    }
}

fn zeros(out: &mut impl Sink, mut count: usize) {
    const ZEROS: [u8; 32] = [b'0'; 32];
    while count > 0 {
        let now = count.min(ZEROS.len());
        out.append(&ZEROS[..now]);
        count -= now;
    }
}
