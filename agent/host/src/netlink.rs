//! Links and neighbours by rtnetlink: one request, one dump, read as bytes.
//!
//! The messages are the kernel's, of this machine, in its byte order (`linux/netlink.h`, `linux/if_link.h`, `linux/neighbour.h`): 4-byte aligned headers
//! of length and type, with attributes of the same form inside.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The counters of `struct rtnl_link_stats64`, in its order; Linux 4.6 added the last.
pub(crate) const COUNTERS: usize = 24;

const MESSAGE_DONE: u16 = 3;
const MESSAGE_ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// `NUD_NOARP`, a bit of a neighbour's state.
const NEIGHBOUR_NEEDS_NONE: u16 = 0x40;
const REQUEST_DUMP: u16 = 0x301;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_STATS64: u16 = 23;
/// The two highest bits of an attribute's type are flags.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

const MESSAGE_HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// The kernel fills at most 32 KiB of a dump per datagram.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Far more links than a machine has fit into so many datagrams.
const DATAGRAMS_MAX: usize = 4_096;
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A socket for asking rtnetlink for lists.
#[derive(Debug)]
struct DumpSocket {
    socket: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// A socket for asking about links.
#[derive(Debug)]
pub(crate) struct LinkSocket(DumpSocket);

/// A socket for asking about neighbours.
#[derive(Debug)]
pub(crate) struct NeighbourSocket(DumpSocket);

/// A link and its counters.
#[derive(Debug, PartialEq)]
pub(crate) struct Link<'a> {
    pub(crate) index: u32,
    pub(crate) name: &'a [u8],
    pub(crate) counters: [u64; COUNTERS],
}

impl DumpSocket {
    fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM_BYTES],
            sequence: 0,
        })
    }

    /// Calls `take` for each message of type `answers`. After an error the socket may hold the rest of an answer: open another.
    fn ask(
        &mut self,
        question: u16,
        answers: u16,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(question, self.sequence);
        send(&self.socket, &request, SendFlags::empty())?;
        for _ in 0..DATAGRAMS_MAX {
            let (_, len) = recv(&self.socket, &mut *self.buffer, RecvFlags::TRUNC)?;
            let datagram = self.buffer.get(..len).ok_or_else(|| {
                io::Error::other("a datagram is longer than the kernel makes them")
            })?;
            if read_datagram(datagram, self.sequence, answers, &mut take)? {
                return Ok(());
            }
        }
        Err(io::Error::other("the answer does not end"))
    }
}

impl LinkSocket {
    pub(crate) fn open() -> io::Result<Self> {
        DumpSocket::open().map(Self)
    }

    /// Calls `take` for each link. After an error, open another socket.
    pub(crate) fn links(&mut self, mut take: impl FnMut(&Link<'_>)) -> io::Result<()> {
        self.0.ask(GET_LINK, NEW_LINK, |message| {
            if let Some(link) = read_link(message) {
                take(&link);
            }
        })
    }
}

impl NeighbourSocket {
    pub(crate) fn open() -> io::Result<Self> {
        DumpSocket::open().map(Self)
    }

    /// Returns how many neighbours each link has, by its name. Those that need no resolution, which are no entries of `/proc/net/arp`
    /// either, are not counted. After an error, open another socket.
    pub(crate) fn entries_by_device(&mut self) -> io::Result<BTreeMap<String, u64>> {
        let mut by_index: BTreeMap<u32, u64> = BTreeMap::new();
        self.0.ask(GET_NEIGHBOUR, NEW_NEIGHBOUR, |message| {
            if let Some(index) = read_neighbour(message) {
                *by_index.entry(index).or_default() += 1;
            }
        })?;
        let mut by_device = BTreeMap::new();
        self.0.ask(GET_LINK, NEW_LINK, |message| {
            if let Some(link) = read_link(message)
                && let Some(count) = by_index.get(&link.index)
            {
                by_device.insert(String::from_utf8_lossy(link.name).into_owned(), *count);
            }
        })?;
        Ok(by_device)
    }
}

/// The message that asks for all there is: a header, and zeros for what it could be narrowed by.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine reads it"
)]
fn request(question: u16, sequence: u32) -> [u8; MESSAGE_HEADER + LINK_HEADER] {
    let mut request = [0; MESSAGE_HEADER + LINK_HEADER];
    request[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&question.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
    request
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

/// A link without a name or counters is none.
fn read_link(message: &[u8]) -> Option<Link<'_>> {
    let mut bytes = message.get(LINK_HEADER..)?;
    let (mut name, mut counters) = (None, None);
    while let Some(length) = number_u16(bytes, 0) {
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..usize::from(length)) else {
            break;
        };
        match number_u16(bytes, 2).map(|kind| kind & ATTRIBUTE_TYPE) {
            Some(ATTRIBUTE_NAME) => name = value.split(|b| *b == 0).next(),
            Some(ATTRIBUTE_STATS64) => counters = Some(read_counters(value)),
            _ => {}
        }
        bytes = bytes
            .get(aligned(usize::from(length))..)
            .unwrap_or_default();
    }
    Some(Link {
        index: number_u32(message, 4)?,
        name: name.filter(|name| !name.is_empty())?,
        counters: counters?,
    })
}

/// Returns the index of a neighbour's link; `None` when it needs no resolution.
fn read_neighbour(message: &[u8]) -> Option<u32> {
    let state = number_u16(message, 8)?;
    (state & NEIGHBOUR_NEEDS_NONE == 0).then_some(number_u32(message, 4)?)
}

#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel of this machine wrote it"
)]
fn read_counters(value: &[u8]) -> [u64; COUNTERS] {
    let mut counters = [0; COUNTERS];
    for (counter, bytes) in counters.iter_mut().zip(value.as_chunks::<8>().0) {
        *counter = u64::from_ne_bytes(*bytes);
    }
    counters
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
#[expect(
    clippy::host_endian_bytes,
    reason = "these messages are as the kernel of this machine writes them"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(MESSAGE_HEADER + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn link(name: &[u8], counters: &[u64]) -> Vec<u8> {
        let counters: Vec<u8> = counters.iter().flat_map(|c| c.to_ne_bytes()).collect();
        let mut body = vec![0; LINK_HEADER];
        body.extend(attribute(ATTRIBUTE_NAME, name));
        body.extend(attribute(99, b"odd"));
        body.extend(attribute(ATTRIBUTE_STATS64, &counters));
        body
    }

    fn names(bytes: &[u8]) -> (Vec<Vec<u8>>, io::Result<bool>) {
        let mut names = Vec::new();
        let end = read_datagram(bytes, 7, NEW_LINK, &mut |message| {
            names.extend(read_link(message).map(|link| link.name.to_vec()));
        });
        (names, end)
    }

    #[test]
    fn links_are_read_until_the_end() {
        let mut bytes = message(NEW_LINK, 7, &link(b"eth0\0", &[1, 2]));
        bytes.extend(message(NEW_LINK, 6, &link(b"stale\0", &[1])));
        bytes.extend(message(NEW_LINK, 7, &link(b"", &[1])));
        bytes.extend(message(NEW_LINK, 7, &link(b"lo\0", &[0; COUNTERS + 3])));
        let (found, end) = names(&bytes);
        assert_eq!(found, [b"eth0".to_vec(), b"lo".to_vec()]);
        assert!(!end.unwrap());
        bytes.extend(message(MESSAGE_DONE, 7, &[0; 4]));
        assert!(names(&bytes).1.unwrap());
    }

    #[test]
    fn the_kernels_refusal_is_an_error() {
        let refusal = message(MESSAGE_ERROR, 7, &(-1_i32).to_ne_bytes());
        let error = names(&refusal).1.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
            names(&bytes).1.ok();
            let mut damaged = message(NEW_LINK, 7, &link(b"eth0\0", &[1, 2]));
            damaged.truncate(cut);
            damaged.extend(&bytes);
            names(&damaged).1.ok();
        }
    }
}
