//! TCP sockets (`linux/inet_diag.h`).

use std::io;

use rustix::net::netlink::SOCK_DIAG;

use super::{DumpSocket, Question, number_u32};

/// How many states a socket can be in, numbered from 1.
pub(crate) const TCP_STATES: usize = 11;

const BY_FAMILY: u16 = 20;
const REQUEST_BYTES: usize = 56;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
const STATE_AT: usize = 1;
const RECEIVED_AT: usize = 56;
const UNSENT_AT: usize = 60;

/// Sums over all TCP sockets of this process's network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TcpTotals {
    /// How many there are in each state, by its number less 1.
    pub(crate) by_state: [u64; TCP_STATES],
    /// Bytes that were received and wait to be read; of listening sockets, connections that wait to be accepted.
    pub(crate) received_bytes: u64,
    /// Bytes that wait to be sent or acknowledged.
    pub(crate) unsent_bytes: u64,
}

/// Asks for the sockets of both families; a kernel without one of them has none there.
pub(crate) fn tcp_totals() -> io::Result<TcpTotals> {
    let mut socket = DumpSocket::open(Some(SOCK_DIAG))?;
    let mut totals = TcpTotals::default();
    for family in [INET, INET6] {
        let asked = socket.ask(question(&body(family)), |message| totals.add(message));
        match asked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            asked => asked?,
        }
    }
    Ok(totals)
}

const fn question(body: &[u8]) -> Question<'_> {
    Question {
        kind: BY_FAMILY,
        answers: BY_FAMILY,
        body,
    }
}

/// Sockets of this family, of TCP, in all states.
fn body(family: u8) -> [u8; REQUEST_BYTES] {
    let mut body = [0; REQUEST_BYTES];
    body[0] = family;
    body[1] = TCP;
    body[4..8].fill(0xff);
    body
}

impl TcpTotals {
    pub(super) fn add(&mut self, message: &[u8]) {
        let state = message.get(STATE_AT).copied().map(usize::from);
        let count = state.and_then(|state| self.by_state.get_mut(state.checked_sub(1)?));
        if let Some(count) = count {
            *count += 1;
        }
        let word = |at| u64::from(number_u32(message, at).unwrap_or_default());
        self.received_bytes += word(RECEIVED_AT);
        self.unsent_bytes += word(UNSENT_AT);
    }
}
