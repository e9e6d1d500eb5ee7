//! Which rows of a page have a value.

use rows::Presence;

use super::bits::packed_len;
use super::varint::{put_length, take_length};
use crate::bytes::{Malformed, Reader};

/// How presence is written; two bits of a page's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PresenceForm {
    All = 0,
    None = 1,
    /// One bit per row.
    Bits = 2,
    /// Lengths of runs, present and absent in turn, the first present (perhaps 0 long); the last run is left out.
    Runs = 3,
}

impl PresenceForm {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0 => Self::All,
            1 => Self::None,
            2 => Self::Bits,
            _ => Self::Runs,
        }
    }
}

/// Appends the presence of the first `rows` rows and returns the form taken.
pub(super) fn encode_presence(
    presence: Option<&Presence>,
    rows: usize,
    out: &mut Vec<u8>,
) -> PresenceForm {
    let Some(presence) = presence else {
        return PresenceForm::All;
    };
    match (0..rows).filter(|row| presence.contains(*row)).count() {
        0 => return PresenceForm::None,
        count if count == rows => return PresenceForm::All,
        _ => {}
    }
    let start = out.len();
    let ends: Vec<usize> = (1..rows)
        .filter(|row| presence.contains(*row) != presence.contains(row - 1))
        .collect();
    let bitmap_len = packed_len(rows, 1);
    if ends.len() < bitmap_len {
        let leading_absence = usize::from(!presence.contains(0));
        put_length(out, ends.len() + leading_absence);
        if leading_absence > 0 {
            put_length(out, 0);
        }
        let mut last = 0;
        for end in ends {
            put_length(out, end - last);
            last = end;
        }
        if out.len() - start <= bitmap_len {
            return PresenceForm::Runs;
        }
        out.truncate(start);
    }
    out.extend(
        presence
            .words()
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .take(bitmap_len),
    );
    if let (Some(last), rest @ 1..) = (out.last_mut(), rows % 8) {
        *last &= (1 << rest) - 1;
    }
    PresenceForm::Bits
}

/// Reads the presence of `rows` rows, which the caller bounds; `None`: all.
pub(super) fn take_presence(
    from: &mut Reader<'_>,
    form: PresenceForm,
    rows: usize,
) -> Result<Option<Presence>, Malformed> {
    match form {
        PresenceForm::All => Ok(None),
        PresenceForm::None => Ok(Some(Presence::filled(rows, false))),
        PresenceForm::Bits => {
            let bytes = from.take(packed_len(rows, 1), "presence is cut off")?;
            let mut presence = Presence::filled(rows, false);
            for row in (0..rows).filter(|row| bytes[row / 8] >> (row % 8) & 1 == 1) {
                presence.set(row, true);
            }
            Ok(Some(presence))
        }
        PresenceForm::Runs => {
            let mut presence = Presence::filled(rows, false);
            let runs = take_length(from, rows, "more runs than rows")?;
            let (mut at, mut present) = (0, true);
            for _ in 0..runs {
                let length = take_length(from, rows - at, "run past the last row")?;
                for row in at..at + length {
                    presence.set(row, present);
                }
                at += length;
                present = !present;
            }
            for row in at..rows {
                presence.set(row, present);
            }
            Ok(Some(presence))
        }
    }
}
