//! Queues of links (`linux/pkt_sched.h`).

use std::io;

use super::{DumpSocket, Question, attributes, links, number_u32, number_u64, text};

/// How many numbers a queue has: bytes and packets sent, packets and bytes waiting, drops, requeues, overlimits.
pub(crate) const QUEUE_NUMBERS: usize = 7;

const NEW_QUEUE: u16 = 36;
const GET_QUEUE: u16 = 38;
const ATTRIBUTE_KIND: u16 = 1;
const ATTRIBUTE_STATISTICS: u16 = 7;
/// Within the statistics.
const STATISTICS_BASIC: u16 = 1;
const STATISTICS_QUEUE: u16 = 3;
const HEADER: usize = 20;

const QUEUES: Question<'_> = Question {
    kind: GET_QUEUE,
    answers: NEW_QUEUE,
    body: &[0; HEADER],
};

/// A queue at the root of a link.
#[derive(Debug, PartialEq)]
pub(crate) struct Queue {
    pub(crate) device: String,
    pub(crate) kind: String,
    pub(crate) numbers: [u64; QUEUE_NUMBERS],
}

/// Returns the queues at the roots of all links.
pub(crate) fn root_queues() -> io::Result<Vec<Queue>> {
    let mut socket = DumpSocket::open(None)?;
    let mut queues = Vec::new();
    socket.ask(QUEUES, |message| queues.extend(read_root_queue(message)))?;
    let names = links::names(&mut socket)?;
    Ok(queues
        .into_iter()
        .filter_map(|(index, queue)| {
            let device = names.get(&index)?.clone();
            Some(Queue { device, ..queue })
        })
        .collect())
}

/// Returns the index of the link and its queue, still without the name of the link; `None` when it lies below another.
pub(super) fn read_root_queue(message: &[u8]) -> Option<(u32, Queue)> {
    let (index, parent) = (number_u32(message, 4)?, number_u32(message, 12)?);
    // The root is told by this number, and by 0 where a link has no other queues.
    if parent != u32::MAX && parent != 0 {
        return None;
    }
    let (mut kind, mut numbers) = (None, [0; QUEUE_NUMBERS]);
    for (attribute, value) in attributes(message.get(HEADER..)?) {
        match attribute {
            ATTRIBUTE_KIND => kind = Some(text(value)),
            ATTRIBUTE_STATISTICS => numbers = read_numbers(value),
            _ => {}
        }
    }
    let kind = String::from_utf8_lossy(kind?).into_owned();
    let device = String::new();
    Some((
        index,
        Queue {
            device,
            kind,
            numbers,
        },
    ))
}

fn read_numbers(statistics: &[u8]) -> [u64; QUEUE_NUMBERS] {
    let mut numbers = [0; QUEUE_NUMBERS];
    let [bytes, packets, rest @ ..] = &mut numbers;
    for (kind, value) in attributes(statistics) {
        let word = |at| u64::from(number_u32(value, at).unwrap_or_default());
        match kind {
            STATISTICS_BASIC => {
                *bytes = number_u64(value, 0).unwrap_or_default();
                *packets = word(8);
            }
            STATISTICS_QUEUE => {
                for (index, number) in rest.iter_mut().enumerate() {
                    *number = word(index * size_of::<u32>());
                }
            }
            _ => {}
        }
    }
    numbers
}
