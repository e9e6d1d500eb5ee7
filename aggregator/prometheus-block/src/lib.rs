//! Reading the blocks of Prometheus' time series database: a folder with `meta.json`, `index`, `chunks/` and perhaps `tombstones`.
//!
//! What is read: index format 2; chunk segments of format 1 with float (XOR), histogram and float histogram chunks, custom bounds
//! included; tombstones of format 1. Every value comes out with the bits that Prometheus stored. Whatever else a newer Prometheus
//! writes is refused by name and place, never guessed.
//!
//! # Invariants
//! - Nothing is written.
//! - Bytes are foreign: every checksum is verified, every length is compared with what is there before memory is taken for it, and
//!   nothing panics. Memory is bounded by the sizes of the symbol table, the list of series and one series within the range asked for
//!   ([`CELLS_MAX`] numbers).
//! - Damage costs itself: a series or chunk that cannot be read is reported as [`Damage`], with file and offset, and left out; its
//!   neighbours come. Tombstones are the exception: a block whose tombstones are unreadable is refused, for what was deleted must not
//!   come back.
//!
//! # How it works
//! [`Block::open`] reads the table of contents, the symbols and the list of all series. [`Block::visit`] goes through the series in the
//! index's order, which is that of their labels, decodes those of their chunks that overlap the range asked for, drops what tombstones
//! cover, and hands out one series at a time.
//!
//! Never here: the write-ahead log and `chunks_head` of a running Prometheus (its snapshot route turns them into a block), our own
//! storage, clocks.

#![forbid(unsafe_code)]

mod bits;
mod block;
mod bytes;
mod chunk;
mod error;
mod index;
mod meta;
mod segments;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tombstones;
mod window;

pub use block::{Block, Visited, Visitor};
pub use chunk::{CELLS_MAX, ChunkError, Encoding, decode_chunk};
pub use error::{BlockError, Damage};
pub use meta::{Meta, Parent};
