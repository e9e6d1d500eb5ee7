//! Whole requests, without a socket.

mod answers;
mod cancel;
mod grafana;
mod patience;
mod process;
mod rules;
mod running;
mod socket;
mod speed;
mod store;
mod syntax;
mod world;
mod write;
