//! Numbers without an exponent. Most are whole or have few decimals, and those are written several times faster than all digits are
//! found.

use crate::{Shortest, Sink};

/// Up to here every whole number is a double, and the conversion back exact.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// The longest whole number, and the decimals.
const DIGITS_MAX: usize = 24;

/// Appends a magnitude.
pub(crate) fn write(out: &mut impl Sink, magnitude: f64) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53, as is checked by converting it back"
    )]
    let whole = magnitude as u64;
    if magnitude < WHOLE_MAX && float(whole) == magnitude {
        write_whole(out, whole);
    } else if !write_decimals::<6>(out, magnitude) && !write_decimals::<3>(out, magnitude) {
        Shortest::of(magnitude).write_plain(out);
    }
}

/// Appends a whole number.
pub(crate) fn write_whole(out: &mut impl Sink, number: u64) {
    let mut text = Text::default();
    text.put(number);
    out.append(text.written());
}

/// Appends a magnitude that has at most so many decimals; returns whether it has.
///
/// A decimal of up to 15 digits is the only one of these that reads as its double, so the shortest form is that decimal without the
/// zeros at its end. Division of whole numbers below 2^53 is rounded once, as reading is: equality proves that it reads back.
fn write_decimals<const DECIMALS: usize>(out: &mut impl Sink, magnitude: f64) -> bool {
    const DIGITS_15: u64 = 1_000_000_000_000_000;
    let scale = 10_u64.pow(u32::try_from(DECIMALS).unwrap_or(0));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and what is too large is refused"
    )]
    let scaled = (magnitude * float(scale) + 0.5) as u64;
    if scaled >= DIGITS_15 || float(scaled) / float(scale) != magnitude {
        return false;
    }
    let mut text = Text::default();
    let mut fraction = scaled % scale;
    let mut decimals = DECIMALS;
    while decimals > 0 && fraction.is_multiple_of(10) {
        fraction /= 10;
        decimals -= 1;
    }
    for _ in 0..decimals {
        text.put_digit(fraction % 10);
        fraction /= 10;
    }
    if decimals > 0 {
        text.put_byte(b'.');
    }
    text.put(scaled / scale);
    out.append(text.written());
    true
}

/// A short text that is written from its end.
struct Text {
    bytes: [u8; DIGITS_MAX],
    from: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [b'0'; DIGITS_MAX],
            from: DIGITS_MAX,
        }
    }
}

impl Text {
    fn put_byte(&mut self, byte: u8) {
        self.from -= 1;
        self.bytes[self.from] = byte;
    }

    fn put_digit(&mut self, digit: u64) {
        self.put_byte(pair(digit)[1]);
    }

    /// Puts a whole number before what is there.
    fn put(&mut self, number: u64) {
        let mut rest = number;
        while rest >= 100 {
            self.from -= 2;
            self.bytes[self.from..self.from + 2].copy_from_slice(&pair(rest));
            rest /= 100;
        }
        if rest >= 10 {
            self.put_digit(rest % 10);
            rest /= 10;
        }
        self.put_digit(rest);
    }

    fn written(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

/// The numbers from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut index = 0;
    while index < 100 {
        let digits = b"0123456789";
        pairs[index] = [digits[index / 10], digits[index % 10]];
        index += 1;
    }
    pairs
};

/// Returns the last two digits of `number`.
fn pair(number: u64) -> [u8; 2] {
    PAIRS[usize::try_from(number % 100).unwrap_or(0)]
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 where it matters")]
const fn float(number: u64) -> f64 {
    number as f64
}
