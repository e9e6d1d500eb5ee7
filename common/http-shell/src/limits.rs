//! What clients may cost.

use std::time::Duration;

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's backlog. Each costs up to `head_bytes_max` while it is idle.
    pub connections_max: u32,
    /// Bytes of request line and headers, at least 8 KiB; more is refused with 431.
    pub head_bytes_max: usize,
    /// Bytes of a body; more is refused with 413.
    pub body_bytes_max: usize,
    /// Bytes of requests in memory at once, until they are answered: query strings and bodies, of those that have more than 16 KiB. A body of
    /// unknown length counts as the longest. More wait, at most `body_time_max`, and are then refused with 503.
    pub requests_bytes_max: usize,
    /// How long a head may take to come, from the moment the connection is idle; then the connection is closed. As long as with Prometheus:
    /// clients keep idle connections for a minute or two, and a server that closes them first meets their next request.
    pub head_time_max: Duration,
    /// How long a body may take to come; then the answer is 408.
    pub body_time_max: Duration,
    /// How long a client may take nothing of an answer; then the connection is closed.
    pub stall_time_max: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time_max: Duration,
}

impl Default for Limits {
    /// With these, all clients together hold at most 320 MiB of large requests, 8 MiB of small ones, and 32 MiB of heads.
    fn default() -> Self {
        Self {
            connections_max: 512,
            head_bytes_max: 64 * 1024,
            body_bytes_max: 10 * 1024 * 1024,
            requests_bytes_max: 320 * 1024 * 1024,
            head_time_max: Duration::from_secs(300),
            body_time_max: Duration::from_secs(30),
            stall_time_max: Duration::from_secs(60),
            handshake_time_max: Duration::from_secs(5),
        }
    }
}
