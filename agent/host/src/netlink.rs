//! Lists of the kernel by netlink: one request, one dump, read as bytes.
//!
//! The messages are the kernel's, of this machine, in its byte order (`linux/netlink.h`): 4-byte aligned headers of length and type,
//! with attributes of the same form inside. What is asked is in the modules, one kind of list each.

mod links;
mod neighbours;
mod queues;
mod tcp;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

pub(crate) use links::{COUNTERS, LinkSocket};
pub(crate) use neighbours::neighbours_by_device;
pub(crate) use queues::{QUEUE_NUMBERS, root_queues};
pub(crate) use tcp::{TCP_STATES, TcpTotals, tcp_totals};

const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
/// The two highest bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// The kernel fills at most 32 KiB of a dump per datagram.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Far more links than a machine has fit into so many datagrams.
const DATAGRAMS_MAX: usize = 4_096;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A socket for asking for lists.
#[derive(Debug)]
struct DumpSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Question<'a> {
    /// The type of the request.
    kind: u16,
    /// The type of the messages that answer it.
    answers: u16,
    /// What follows the header.
    body: &'a [u8],
}

impl DumpSocket {
    /// `protocol`: `None` for rtnetlink.
    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM_BYTES],
            sequence: 0,
        })
    }

    /// Calls `take` for each message of the answer. After an error the socket may hold the rest of an answer: open another.
    fn ask(&mut self, question: Question<'_>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = question.request(self.sequence);
        send(&self.socket, &request, SendFlags::empty())?;
        for _ in 0..DATAGRAMS_MAX {
            let (_, len) = recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC)?;
            let datagram = self.buffer.get(..len).ok_or_else(|| {
                io::Error::other("a datagram is longer than the kernel makes them")
            })?;
            if read_datagram(datagram, self.sequence, question.answers, &mut take)? {
                return Ok(());
            }
        }
        Err(io::Error::other("the answer does not end"))
    }
}

impl Question<'_> {
    #[expect(
        clippy::host_endian_bytes,
        reason = "the kernel of this machine reads it"
    )]
    fn request(self, sequence: u32) -> Vec<u8> {
        let length = MESSAGE_HEADER + self.body.len();
        let mut request = Vec::with_capacity(length);
        request.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        request.extend(self.kind.to_ne_bytes());
        request.extend(REQUEST_DUMP.to_ne_bytes());
        request.extend(sequence.to_ne_bytes());
        // The kernel knows who asks.
        request.extend([0; 4]);
        request.extend(self.body);
        request
    }
}

/// Returns whether the answer ends here. Messages of other answers and malformed ones are passed over.
fn read_datagram(
    mut bytes: &[u8],
    sequence: u32,
    answers: u16,
    take: &mut impl FnMut(&[u8]),
) -> io::Result<bool> {
    while let Some(length) = number_u32(bytes, 0) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = bytes.get(MESSAGE_HEADER..length) else {
            break;
        };
        if number_u32(bytes, 8) == Some(sequence) {
            match number_u16(bytes, 4) {
                Some(MESSAGE_DONE) => return Ok(true),
                Some(MESSAGE_ERROR) => return Err(error_of(message)),
                Some(kind) if kind == answers => take(message),
                _ => {}
            }
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn error_of(message: &[u8]) -> io::Error {
    match number_u32(message, 0) {
        Some(code) => io::Error::from_raw_os_error(code.cast_signed().wrapping_neg()),
        None => io::Error::other("an error without a number"),
    }
}

/// Returns types and values of attributes, until one that is cut off.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(number_u16(bytes, 0)?);
        let kind = number_u16(bytes, 2)? & ATTRIBUTE_TYPE;
        let value = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Returns text that ends with a zero.
fn text(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine wrote it"
)]
fn number_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine wrote it"
)]
fn number_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine wrote it"
)]
fn number_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Messages and attributes start at multiples of 4; a length below a header's has failed before.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests;
