//! Where the labels of a series end, guessed from the end of its message.
//!
//! Nearly every series of remote write 1.0 is its labels and one sample, and encoders write that sample alike. So the last bytes of a
//! message tell what its sample is, and that labels end before it, without a step over each label: that was a tenth of the time of a
//! request. It is a guess: what stands before the sample was not looked at. It holds for bytes that are known as the labels of a series,
//! and otherwise once somebody has stepped over them.

use model::TimestampMs;

/// Field 1 of a sample, a double; left out by encoders when it is zero.
const VALUE_TAG: u8 = 0x09;
/// Field 2 of a sample, a number: milliseconds since 1970.
const TIME_TAG: u8 = 0x10;
/// Field 2 of a series, bytes: a sample.
const SAMPLE_TAG: u8 = 0x12;
/// Tag and length of a sample.
const HEAD_BYTES: usize = 2;
/// Tag and value.
const VALUE_BYTES: usize = 9;
/// Tag and number: from 1971 to 2109.
const TIME_BYTES: usize = 7;

/// The sample at the end of a message, behind what may be labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LoneSample {
    /// Where labels end.
    pub(super) labels_end: usize,
    pub(super) value: f64,
    pub(super) at: TimestampMs,
}

impl LoneSample {
    /// Returns the sample that a message ends with, if it looks like the only one.
    pub(super) fn of(message: &[u8]) -> Option<Self> {
        let lone = Self::last(message)?;
        let before = message.get(..lone.labels_end)?;
        Self::last(before).is_none().then_some(lone)
    }

    #[inline]
    fn last(message: &[u8]) -> Option<Self> {
        let (rest, time) = message.split_last_chunk::<TIME_BYTES>()?;
        let at = time_of(time)?;
        if let Some((labels, [SAMPLE_TAG, length])) = rest.split_last_chunk::<HEAD_BYTES>()
            && usize::from(*length) == TIME_BYTES
        {
            return Some(Self {
                labels_end: labels.len(),
                value: 0.0,
                at,
            });
        }
        let (rest, value) = rest.split_last_chunk::<VALUE_BYTES>()?;
        let (labels, head) = rest.split_last_chunk::<HEAD_BYTES>()?;
        let [VALUE_TAG, bits @ ..] = value else {
            return None;
        };
        let [SAMPLE_TAG, length] = head else {
            return None;
        };
        (usize::from(*length) == VALUE_BYTES + TIME_BYTES).then(|| Self {
            labels_end: labels.len(),
            value: f64::from_bits(u64::from_le_bytes(*bits)),
            at,
        })
    }
}

/// Reads a number of six bytes, 42 bits.
#[inline]
fn time_of(field: &[u8; TIME_BYTES]) -> Option<TimestampMs> {
    let [TIME_TAG, number @ ..] = field else {
        return None;
    };
    let [first @ .., last] = number;
    if *last >= 0x80 || first.iter().any(|byte| *byte < 0x80) {
        return None;
    }
    let bits = number.iter().rev();
    Some(TimestampMs(
        bits.fold(0, |time, byte| time << 7 | i64::from(byte & 0x7f)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_948_098_123;

    fn sample(value: f64, at: i64) -> Vec<u8> {
        let mut sample = Vec::new();
        if value.to_bits() != 0 {
            sample.push(VALUE_TAG);
            sample.extend_from_slice(&value.to_le_bytes());
        }
        sample.push(TIME_TAG);
        let mut rest = at.cast_unsigned();
        while rest >= 0x80 {
            sample.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        sample.push(u8::try_from(rest).unwrap());
        let mut out = vec![SAMPLE_TAG, u8::try_from(sample.len()).unwrap()];
        out.extend(sample);
        out
    }

    #[test]
    fn the_end_of_a_message_tells_its_sample() {
        let labels = b"\x0a\x06\x0a\x01a\x12\x01b".to_vec();
        for value in [
            1.5,
            0.0,
            -0.0,
            f64::INFINITY,
            f64::from_bits(0x7ff0_0000_0000_0002),
        ] {
            let message = [labels.clone(), sample(value, NOW)].concat();
            let lone = LoneSample::of(&message).unwrap();
            let found = (lone.labels_end, lone.value.to_bits(), lone.at);
            assert_eq!(found, (labels.len(), value.to_bits(), TimestampMs(NOW)));
            // Two samples are walked.
            let two = [message.clone(), sample(2.0, NOW + 1)].concat();
            assert_eq!(LoneSample::of(&two), None);
            // So is everything that is written in another way, or cut.
            for cut in 1..message.len() {
                let cut = LoneSample::of(&message[..cut]);
                assert!(cut.is_none_or(|found| found.at != lone.at), "{cut:?}");
            }
        }
        for at in [0, 5, -1, i64::MAX, 1 << 34, 1 << 42] {
            let message = [labels.clone(), sample(1.0, at)].concat();
            assert_eq!(LoneSample::of(&message), None, "{at}");
        }
    }
}
