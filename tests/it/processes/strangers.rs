//! Noise on every port: counted, dropped, and nobody who belongs here notices.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use fastrand::Rng;
use tests::processes::{Agent, Aggregator, get};

use super::{await_counter, await_new_rows, lean};

const ROUNDS: usize = 200;
/// The first bytes of a TLS record that promises a hello of 512 bytes.
const HELLO_BEGINS: [u8; 11] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

#[test]
fn random_bytes_and_cut_handshakes_disturb_nobody() {
    let mut aggregator = Aggregator::new(&[]);
    let mut member = Agent::join(&aggregator, "member", &lean(&[]));
    let mut by_tcp = Agent::join(&aggregator, "by-tcp", &lean(&["--transport", "tcp"]));
    let mut rng = Rng::with_seed(99);
    let mut held = Vec::new();
    for round in 0..ROUNDS {
        send_datagram(aggregator.ingest(), &noise(&mut rng, 1_200));
        send_datagram(aggregator.ingest(), &initial_packet(&mut rng));
        let garbage = noise(&mut rng, 3_000);
        drop(send(aggregator.ingest(), &garbage));
        let cut = [&HELLO_BEGINS[..], &noise(&mut rng, 300)].concat();
        let connection = send(aggregator.ingest(), &cut);
        drop(send(aggregator.web(), &garbage));
        drop(send(
            aggregator.web(),
            b"GET /api/v1/query?query=up HTTP/1.1\r\nho",
        ));
        // Some stay, and say nothing more.
        if round % 8 == 0 {
            held.extend(connection);
            held.extend(TcpStream::connect(aggregator.ingest()));
            held.extend(TcpStream::connect(aggregator.web()));
        }
    }
    let refused =
        |reason: &str| format!("promontory_ingest_handshakes_refused_total{{reason=\"{reason}\"}}");
    await_counter(&aggregator, &refused("garbage"), 0.0);
    await_counter(&aggregator, &refused("truncated"), 0.0);
    let datagrams = aggregator.metric("promontory_ingest_garbage_datagrams_total");
    let counts =
        ["garbage", "truncated", "timed_out"].map(|reason| aggregator.metric(&refused(reason)));
    println!("strangers: {counts:?} garbage, truncated, timed out; {datagrams} garbage datagrams");
    assert!(datagrams > 0.0);

    for agent in [&mut member, &mut by_tcp] {
        await_new_rows(&aggregator, agent);
        assert_eq!(
            agent.metric("promontory_agent_sessions_total"),
            1.0,
            "{}",
            agent.id()
        );
    }
    assert_eq!(
        get(aggregator.web(), "/-/healthy").map(|answer| answer.status),
        Some(200)
    );
    drop(held);
    aggregator.stop();
}

fn noise(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(1..most);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// A datagram that looks like the first of a QUIC connection, version 1, and is noise behind its header.
fn initial_packet(rng: &mut Rng) -> Vec<u8> {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8];
    packet.extend(rng.u64(..).to_be_bytes());
    packet.extend([8]);
    packet.extend(rng.u64(..).to_be_bytes());
    packet.extend([0, 0x44, 0x96]);
    packet.resize_with(1_200, || rng.u8(..));
    packet
}

fn send_datagram(to: &str, datagram: &[u8]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.send_to(datagram, to).expect("sent");
}

/// Sends bytes on a connection of their own, and reads what is answered at once, if anything is.
fn send(to: &str, bytes: &[u8]) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    stream.write_all(bytes)?;
    let mut answer = [0; 256];
    // Whether it answers, hangs up or waits for more is its own business.
    drop(stream.read(&mut answer));
    Ok(stream)
}
