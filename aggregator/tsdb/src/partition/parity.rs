//! Blocks that others can be computed from.
//!
//! A block of pages is lost with the samples in it; one of a time column, of the index or of a directory would take the samples of
//! thousands of series along, or all. So each [`GROUP`] of those have one more block: their bytes, one over the other by XOR. Whichever
//! of them is damaged is what is left when the others are taken off again. That costs a sixteenth of them, less than a hundredth of a
//! partition of two hours; a second copy of each would cost as much as they do.

use crate::bytes::{Malformed, Reader};
use crate::page::varint::{put_length, put_varint, take_length, take_varint};

/// Blocks that have one parity block together.
const GROUP: usize = 16;

/// Makes the parity blocks of a file.
#[derive(Debug, Default)]
pub(super) struct ParityWriter {
    full: Vec<Group>,
    open: Group,
}

#[derive(Debug, Default)]
struct Group {
    numbers: Vec<u32>,
    /// As long as the longest of them.
    bytes: Vec<u8>,
}

impl ParityWriter {
    /// Takes in a block as it is stored.
    pub(super) fn add(&mut self, number: u32, stored: &[u8]) {
        self.open.numbers.push(number);
        xor(&mut self.open.bytes, stored);
        if self.open.numbers.len() == GROUP {
            self.full.push(std::mem::take(&mut self.open));
        }
    }

    /// Returns the contents of the parity blocks.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if !self.open.numbers.is_empty() {
            self.full.push(self.open);
        }
        self.full.iter().map(Group::encode).collect()
    }
}

impl Group {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_length(&mut out, self.numbers.len());
        for number in &self.numbers {
            put_varint(&mut out, u64::from(*number));
        }
        out.extend_from_slice(&self.bytes);
        out
    }
}

/// Puts bytes over others, which become as long as the longer of both.
fn xor(over: &mut Vec<u8>, bytes: &[u8]) {
    over.resize(over.len().max(bytes.len()), 0);
    for (over, byte) in over.iter_mut().zip(bytes) {
        *over ^= byte;
    }
}

/// A parity block: the blocks that it is of, and their bytes over one another.
#[derive(Debug)]
pub(super) struct Parity<'a> {
    pub(super) numbers: Vec<u32>,
    bytes: &'a [u8],
}

impl<'a> Parity<'a> {
    pub(super) fn decode(content: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(content);
        let count = take_length(&mut from, GROUP, "parity block of too many blocks")?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            let number = take_varint(&mut from, "parity block is cut off")?;
            numbers.push(u32::try_from(number).map_err(|_| Malformed("bad block number"))?);
        }
        Ok(Self {
            numbers,
            bytes: from.rest(),
        })
    }

    /// Returns one of its blocks as it was stored, with zeros behind it, from the others, as `stored` gives them; `None`: another one
    /// cannot be had either.
    pub(super) fn compute<E>(
        &self,
        wanted: u32,
        mut stored: impl FnMut(u32) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let mut left = self.bytes.to_vec();
        for number in self.numbers.iter().filter(|number| **number != wanted) {
            let Some(other) = stored(*number)? else {
                return Ok(None);
            };
            xor(&mut left, &other);
        }
        Ok(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_block_of_a_group_comes_back_from_the_others() {
        let mut random = fastrand::Rng::with_seed(1);
        let blocks: Vec<Vec<u8>> = (0..40)
            .map(|_| (0..random.usize(1..300)).map(|_| random.u8(..)).collect())
            .collect();
        // Their numbers have gaps: blocks of pages lie between them.
        let number = |at: usize| u32::try_from(at * 3).unwrap();
        let mut writer = ParityWriter::default();
        for (at, block) in blocks.iter().enumerate() {
            writer.add(number(at), block);
        }
        let parities = writer.finish();
        assert_eq!(parities.len(), 3);
        for (at, block) in blocks.iter().enumerate() {
            let others = |wanted: u32| {
                assert_ne!(wanted, number(at));
                Ok::<_, ()>(Some(blocks[wanted as usize / 3].clone()))
            };
            let decoded = parities
                .iter()
                .map(|parity| Parity::decode(parity).unwrap());
            let of: Vec<Parity<'_>> = decoded
                .filter(|parity| parity.numbers.contains(&number(at)))
                .collect();
            let [parity] = &of[..] else {
                panic!("block {at} is in {} groups", of.len())
            };
            let computed = parity.compute(number(at), others).unwrap().unwrap();
            let (content, padding) = computed.split_at(block.len());
            assert!(content == block && padding.iter().all(|byte| *byte == 0));
            let none = parity.compute(number(at), |_| Ok::<_, ()>(None));
            assert_eq!(none, Ok(None));
        }
        assert!(Parity::decode(&[200, 1, 2]).is_err());
    }
}
