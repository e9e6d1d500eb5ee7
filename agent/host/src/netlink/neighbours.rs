//! Neighbours by IPv4 (`linux/neighbour.h`).

use std::collections::BTreeMap;
use std::io;

use super::{DumpSocket, Question, links, number_u16, number_u32};

const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// `NUD_NOARP`, a bit of the state: the link needs no resolution.
const NEEDS_NO_RESOLUTION: u16 = 0x40;
const INET: u8 = 2;

const NEIGHBOURS: Question<'_> = Question {
    kind: GET_NEIGHBOUR,
    answers: NEW_NEIGHBOUR,
    // Those of IPv6 are no business of ARP.
    body: &[INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Returns how many neighbours by IPv4 each link has, by its name. Those that need no resolution, which are no entries of
/// `/proc/net/arp` either, are not counted.
pub(crate) fn neighbours_by_device() -> io::Result<BTreeMap<String, u64>> {
    let mut socket = DumpSocket::open(None)?;
    let mut by_index: BTreeMap<u32, u64> = BTreeMap::new();
    socket.ask(NEIGHBOURS, |message| {
        if let Some(index) = read_neighbour(message) {
            *by_index.entry(index).or_default() += 1;
        }
    })?;
    let names = links::names(&mut socket)?;
    Ok(names
        .into_iter()
        .filter_map(|(index, name)| Some((name, *by_index.get(&index)?)))
        .collect())
}

/// Returns the index of a neighbour's link.
pub(super) fn read_neighbour(message: &[u8]) -> Option<u32> {
    let state = number_u16(message, 8)?;
    (state & NEEDS_NO_RESOLUTION == 0).then_some(number_u32(message, 4)?)
}
