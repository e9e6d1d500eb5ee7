//! The protocol between agent and aggregator, and between two aggregators of a pair: messages, frames, caps. PROTOCOL.md is its description.
//!
//! Pure: bytes come in, messages come out. Every length is checked before anything is allocated, every list has a cap, and only the
//! envelope is bincode; batch bodies are opaque bytes with a codec of their own (`rows`).
//!
//! Never here: sockets, clocks, tasks.

#![forbid(unsafe_code)]

mod codec;
mod definition;
mod error;
mod frame;
mod message;
mod mux;
mod pair;
mod stream;

pub use codec::{Message, decode_message, encode_message};
pub use definition::split_definition;
pub use error::{DecodeError, EncodeError, FrameError};
pub use frame::{
    FRAME_BYTES_MAX, Frame, FrameDecoder, FrameKind, HANDSHAKE_BYTES_MAX, MESSAGE_BYTES_MAX,
};
pub use message::{
    AgentHello, AgentMessage, AgentStatus, EPOCHS_MAX, EpochKnown, EpochOffer, JoinRefusal,
    JoinReply, JoinRequest, RefusedSamples, SessionRefusal, StoreMessage, Welcome,
};
pub use mux::{Mux, MuxError, STREAM_WINDOW_BYTES, WRITE_BUFFER_BYTES};
pub use pair::{PAIR_PROTOCOL, PairHello, PairMessage, Share, SharedRecord, SharedTable};
pub use stream::{ALPN_JOIN, ALPN_SESSION, StreamId};
