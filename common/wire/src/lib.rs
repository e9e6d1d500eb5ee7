//! The protocol between agent and aggregator: messages, frames, caps. PROTOCOL.md is its description.
//!
//! Pure: bytes come in, messages come out. Every length is checked before anything is allocated, every list has a cap, and only the
//! envelope is bincode; batch bodies are opaque bytes with a codec of their own (`rows`).
//!
//! Never here: sockets, clocks, tasks.

#![forbid(unsafe_code)]

mod message;

pub use message::{
    AgentHello, AgentMessage, AgentStatus, EPOCHS_MAX, EpochKnown, EpochOffer, JoinRefusal,
    JoinReply, JoinRequest, RefusedSamples, SessionRefusal, StoreMessage, Welcome,
};
