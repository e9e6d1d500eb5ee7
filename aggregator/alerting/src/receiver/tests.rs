//! Tests: payloads byte for byte, default templates beside Alertmanager's, and what happens on real sockets.

mod defaults;
mod mails;
mod payloads;
mod services;
mod world;
