#![expect(
    clippy::host_endian_bytes,
    reason = "these messages are as the kernel of this machine writes them"
)]

use proptest::prelude::*;

use super::links::{LINKS, read_link};
use super::neighbours::read_neighbour;
use super::queues::read_root_queue;
use super::*;

const NEW_LINK: u16 = LINKS.answers;
const LINK_HEADER: usize = LINKS.body.len();
const ATTRIBUTE_NAME: u16 = 3;
const ATTRIBUTE_STATS64: u16 = 23;

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

#[test]
fn neighbours_that_need_resolution_count() {
    let neighbour = |state: u16| {
        let mut message = vec![2, 0, 0, 0];
        message.extend(5_u32.to_ne_bytes());
        message.extend(state.to_ne_bytes());
        message.extend([0; 2]);
        message
    };
    assert_eq!(read_neighbour(&neighbour(0x02)), Some(5));
    assert_eq!(read_neighbour(&neighbour(0x40)), None);
    assert_eq!(read_neighbour(b"short"), None);
}

#[test]
fn queues_below_others_are_left_out() {
    let queue = |parent: u32| {
        let mut message = vec![0; 4];
        message.extend(3_u32.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(parent.to_ne_bytes());
        message.extend([0; 4]);
        let mut basic = 1_000_u64.to_ne_bytes().to_vec();
        basic.extend(7_u32.to_ne_bytes());
        let waiting: Vec<u8> = [1_u32, 2, 3, 4, 5]
            .iter()
            .flat_map(|n| n.to_ne_bytes())
            .collect();
        let statistics = [attribute(1, &basic), attribute(3, &waiting)].concat();
        message.extend(attribute(1, b"fq\0"));
        message.extend(attribute(7, &statistics));
        message
    };
    let (index, root) = read_root_queue(&queue(u32::MAX)).unwrap();
    assert_eq!((index, &*root.kind), (3, "fq"));
    assert_eq!(root.numbers, [1_000, 7, 1, 2, 3, 4, 5]);
    assert_eq!(read_root_queue(&queue(0x10001)), None);
    assert_eq!(read_root_queue(b""), None);
}

#[test]
fn sockets_are_summed_by_state() {
    let mut totals = TcpTotals::default();
    let mut message = vec![0; 72];
    message[1] = 10;
    message[56] = 3;
    message[60] = 4;
    totals.add(&message);
    totals.add(&message);
    totals.add(&[2, 200]);
    totals.add(&[]);
    assert_eq!(totals.by_state[9], 2);
    assert_eq!((totals.received_bytes, totals.unsent_bytes), (6, 8));
    assert_eq!(totals.by_state.iter().sum::<u64>(), 2);
}
