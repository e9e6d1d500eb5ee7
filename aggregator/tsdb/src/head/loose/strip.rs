//! Open samples of series that stand beside each other, in rows.
//!
//! A sender names its series in the same order again and again, so series that are new together come together. [`LANES`] of them are a
//! **strip** and share its rows: a row is a time, a log position, and a value of each series that came with both. So a request that brings
//! them all writes a line or two of the processor's cache for eight samples, and a sample takes 8 bytes and a part of one. One that comes apart
//! from its neighbours takes a row of its own: then a strip is full, and becomes pages, after fewer samples of each.
//!
//! Positions never fall from row to row. Times rise for each series, and may fall from row to row.
//!
//! What a sample is compared with lies apart from the rows, strip beside strip: who goes through strips reads these in order, and the rows,
//! which are far from each other, are only written.

use model::TimestampMs;

/// Series of a strip.
pub(super) const LANES: usize = 8;
/// Rows of a strip.
pub(super) const ROWS: usize = 32;

/// Rows that are open.
#[derive(Debug)]
pub(super) struct Strip {
    /// How many there are.
    rows: u8,
    /// Of the last.
    last: When,
    /// What they count from.
    base_at: TimestampMs,
    base_position: u64,
    content: Box<Content>,
}

/// Of each row.
#[derive(Debug)]
struct Content {
    values: [[f64; LANES]; ROWS],
    whens: [When; ROWS],
    /// A bit for each series that has a value.
    present: [u8; ROWS],
}

/// When a row was, and where it stands in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct When {
    at: i32,
    position: u32,
}

/// The open samples of one series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open<'a> {
    strip: &'a Strip,
    lane: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// What is known beside floats is known by the row.
    pub(super) row: u8,
    pub(super) at: TimestampMs,
    pub(super) position: u64,
    pub(super) value: f64,
}

impl Default for Strip {
    fn default() -> Self {
        Self {
            rows: 0,
            last: When::default(),
            base_at: TimestampMs(0),
            base_position: 0,
            content: Box::new(Content {
                values: [[0.0; LANES]; ROWS],
                whens: [When::default(); ROWS],
                present: [0; ROWS],
            }),
        }
    }
}

impl Strip {
    /// What a strip takes.
    pub(super) const BYTES: usize = size_of::<Self>() + size_of::<Content>();

    /// Takes a sample of a series, newer than its newest, and returns the row; `None`: there is no room, or it is too far from the first row.
    #[inline]
    pub(super) fn push(
        &mut self,
        lane: usize,
        (at, position): (TimestampMs, u64),
        value: f64,
    ) -> Option<u8> {
        let row = self.row_of(at, position)?;
        self.content.values[usize::from(row)][lane] = value;
        self.content.present[usize::from(row)] |= 1 << lane;
        Some(row)
    }

    /// Returns the last row, if it is of this time and position, or a new one.
    #[inline]
    fn row_of(&mut self, at: TimestampMs, position: u64) -> Option<u8> {
        if self.rows == 0 {
            (self.base_at, self.base_position) = (at, position);
        }
        let when = When {
            at: i32::try_from(at.0.checked_sub(self.base_at.0)?).ok()?,
            position: u32::try_from(position.checked_sub(self.base_position)?).ok()?,
        };
        if let Some(last) = self.rows.checked_sub(1)
            && self.last == when
        {
            return Some(last);
        }
        let row = self.rows;
        *self.content.whens.get_mut(usize::from(row))? = when;
        self.content.present[usize::from(row)] = 0;
        self.last = when;
        self.rows += 1;
        Some(row)
    }

    /// Returns the samples of a series.
    pub(super) const fn open(&self, lane: usize) -> Open<'_> {
        Open { strip: self, lane }
    }

    /// Lets go of all rows.
    pub(super) const fn clear(&mut self) {
        self.rows = 0;
    }
}

impl<'a> Open<'a> {
    /// Returns them in order of time, and of position.
    pub(super) fn cells(self) -> impl Iterator<Item = Cell> + Clone + use<'a> {
        let Self { strip, lane } = self;
        let Content {
            values,
            whens,
            present,
        } = &*strip.content;
        (0..strip.rows).filter_map(move |row| {
            let index = usize::from(row);
            let When { at, position } = whens[index];
            (present[index] >> lane & 1 == 1).then(|| Cell {
                row,
                at: TimestampMs(strip.base_at.0 + i64::from(at)),
                position: strip.base_position + u64::from(position),
                value: values[index][lane],
            })
        })
    }

    /// Returns those with this position or an earlier one.
    pub(super) fn visible(self, until: u64) -> impl Iterator<Item = Cell> + Clone + use<'a> {
        self.cells().take_while(move |cell| cell.position <= until)
    }
}
