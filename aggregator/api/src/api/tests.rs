//! Whole requests, without a socket.

mod answers;
mod grafana;
mod process;
mod running;
mod socket;
mod speed;
mod store;
mod syntax;
mod world;
mod write;
