//! Real sockets on loopback, and unix sockets.

mod bounds;
mod conversation;
mod doors;
mod patience;
mod world;
