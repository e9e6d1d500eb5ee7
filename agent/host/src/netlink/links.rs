//! Links and their counters (`linux/if_link.h`).

use std::collections::BTreeMap;
use std::io;

use super::{DumpSocket, Question, attributes, number_u32, number_u64, text};

/// The counters of `struct rtnl_link_stats64`, in its order; Linux 4.6 added the last.
pub(crate) const COUNTERS: usize = 24;

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_STATS64: u16 = 23;
const HEADER: usize = 16;

pub(super) const LINKS: Question<'_> = Question {
    kind: GET_LINK,
    answers: NEW_LINK,
    body: &[0; HEADER],
};

/// A socket for asking about links.
#[derive(Debug)]
pub(crate) struct LinkSocket(DumpSocket);

/// A link and its counters.
#[derive(Debug, PartialEq)]
pub(crate) struct Link<'a> {
    index: u32,
    pub(crate) name: &'a [u8],
    pub(crate) counters: [u64; COUNTERS],
}

impl LinkSocket {
    pub(crate) fn open() -> io::Result<Self> {
        DumpSocket::open(None).map(Self)
    }

    /// Calls `take` for each link. After an error, open another socket.
    pub(crate) fn links(&mut self, mut take: impl FnMut(&Link<'_>)) -> io::Result<()> {
        self.0.ask(LINKS, |message| {
            if let Some(link) = read_link(message) {
                take(&link);
            }
        })
    }
}

/// Returns the names of links, by index.
pub(super) fn names(socket: &mut DumpSocket) -> io::Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    socket.ask(LINKS, |message| {
        if let Some(link) = read_link(message) {
            names.insert(link.index, String::from_utf8_lossy(link.name).into_owned());
        }
    })?;
    Ok(names)
}

/// A link without a name or counters is none.
pub(super) fn read_link(message: &[u8]) -> Option<Link<'_>> {
    let (mut name, mut counters) = (None, None);
    for (kind, value) in attributes(message.get(HEADER..)?) {
        match kind {
            ATTRIBUTE_NAME => name = Some(text(value)),
            ATTRIBUTE_STATS64 => counters = Some(read_counters(value)),
            _ => {}
        }
    }
    Some(Link {
        index: number_u32(message, 4)?,
        name: name.filter(|name| !name.is_empty())?,
        counters: counters?,
    })
}

/// What an older kernel lacks is 0.
fn read_counters(value: &[u8]) -> [u64; COUNTERS] {
    let mut at = 0;
    [(); COUNTERS].map(|()| {
        let counter = number_u64(value, at).unwrap_or_default();
        at += size_of::<u64>();
        counter
    })
}
