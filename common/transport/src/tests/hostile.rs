//! Bad input on either port: refused, counted, and harmless to everybody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use wire::{AgentMessage, StreamId};

use super::world::*;
use crate::{CloseReason, ConnectError, ConnectionError, ReceiveError, RefusalReason, Transports};

#[tokio::test]
async fn random_bytes_on_either_port_harm_nobody() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    let quiet = pair(&listener, &identity, Transports::QuicOnly).await;
    let mut rng = fastrand::Rng::with_seed(5);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..500 {
        let bytes: Vec<u8> = (0..rng.usize(0..1_500)).map(|_| rng.u8(..)).collect();
        socket.send_to(&bytes, listener.address()).await.unwrap();
    }
    for _ in 0..20 {
        let bytes: Vec<u8> = (0..rng.usize(6..3_000)).map(|_| rng.u8(..)).collect();
        let mut socket = TcpStream::connect(listener.address()).await.unwrap();
        // The server may hang up before it has read everything.
        drop(socket.write_all(&bytes).await);
        let mut answer = Vec::new();
        drop(within(socket.read_to_end(&mut answer)).await);
    }
    until("garbage is counted on both", || {
        let stats = listener.stats();
        let refused: u64 = stats.refused.iter().map(|(_, count)| count).sum();
        stats.garbage_datagrams > 100 && refused >= 20
    })
    .await;
    assert!(listener.stats().refused_for(RefusalReason::Garbage) > 0);
    check_alive(&quiet.0, &quiet.1.connection).await;
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        check_alive(&agent, &accepted.connection).await;
    }
}

#[tokio::test]
async fn a_truncated_tls_handshake_is_told_from_a_slow_one() {
    let world = World::new();
    let mut config = world.config();
    config.handshake_timeout = Duration::from_millis(300);
    let listener = world.listen_with(config).await;
    // A TLS record that promises 512 bytes of a handshake.
    let beginning = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let mut cut = TcpStream::connect(listener.address()).await.unwrap();
    cut.write_all(&beginning).await.unwrap();
    drop(cut);
    until("the cut one is counted", || {
        listener.stats().refused_for(RefusalReason::Truncated) == 1
    })
    .await;
    let mut slow = TcpStream::connect(listener.address()).await.unwrap();
    slow.write_all(&beginning).await.unwrap();
    until("the slow one is counted", || {
        listener.stats().refused_for(RefusalReason::TimedOut) == 1
    })
    .await;
    assert_eq!(listener.stats().handshakes, 0);
}

#[tokio::test]
async fn a_quic_handshake_that_goes_silent_is_given_up() {
    let world = World::new();
    let mut config = world.config();
    config.handshake_timeout = Duration::from_millis(300);
    let listener = world.listen_with(config).await;
    let identity = world.agent("n1");
    // Passes the first packet on, and nothing after it.
    let between = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = between.local_addr().unwrap().to_string();
    let connector = connector(&identity, Transports::QuicOnly);
    let pass = async {
        let mut packet = vec![0; 2_048];
        let (length, _) = between.recv_from(&mut packet).await.unwrap();
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        outside
            .send_to(&packet[..length], listener.address())
            .await
            .unwrap();
        until("it is counted", || {
            listener.stats().refused_for(RefusalReason::TimedOut) == 1
        })
        .await;
    };
    within(async {
        tokio::select! {
            () = pass => {}
            connected = connector.connect(&target) => panic!("{connected:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_frame_that_lies_about_its_length_ends_its_connection_alone() {
    let world = World::new();
    let listener = world.listen().await;
    let (good, bad) = (world.agent("good"), world.agent("bad"));
    for transports in EACH {
        let (bystander, beside) = pair(&listener, &good, transports).await;
        let (liar, accepted) = pair(&listener, &bad, transports).await;
        let lie = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 3, 1, 2, 3]);
        liar.send(StreamId::CatchUp, lie).await.unwrap();
        let error = within(accepted.connection.receive::<AgentMessage>())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ReceiveError::Ended(ConnectionError::Protocol { what }) if what.contains("4294967295")),
            "{error}"
        );
        let told = within(liar.closed()).await;
        assert!(
            matches!(
                told,
                ConnectionError::ClosedByPeer {
                    reason: CloseReason::Protocol,
                    ..
                }
            ),
            "{told}"
        );
        check_alive(&bystander, &beside.connection).await;
    }
}

#[tokio::test]
async fn beyond_the_limit_of_connections_the_answer_is_busy() {
    let world = World::new();
    let mut config = world.config();
    config.connections_max = 1;
    let listener = world.listen_with(config).await;
    let identity = world.agent("n1");
    let target = listener.address().to_string();
    for transports in EACH {
        let only = pair(&listener, &identity, transports).await;
        let connector = connector(&identity, transports);
        let error = within(connector.connect(&target)).await.unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::Refused {
                    reason: RefusalReason::Busy,
                    ..
                }
            ),
            "{error}"
        );
        drop(only);
        until("the place is free again", || {
            listener.stats().connections == 0
        })
        .await;
    }
}

#[tokio::test]
async fn under_pressure_addresses_are_proved_first_and_connections_still_come() {
    let world = World::new();
    let mut config = world.config();
    config.retry_above = 0;
    let listener = world.listen_with(config).await;
    let (agent, accepted) = pair(&listener, &world.agent("n1"), Transports::QuicOnly).await;
    check_alive(&agent, &accepted.connection).await;
    assert!(listener.stats().retries > 0);
}

#[tokio::test]
async fn a_server_that_is_something_else_is_named_as_such() {
    let world = World::new();
    let identity = world.agent("n1");
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target: SocketAddr = other.local_addr().unwrap();
    let serve = async {
        let (mut socket, _) = other.accept().await.unwrap();
        socket
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let connector = Arc::new(connector(&identity, Transports::TcpOnly));
    let target = target.to_string();
    let error = within(async {
        tokio::select! {
            () = serve => unreachable!(),
            connected = connector.connect(&target) => connected.unwrap_err(),
        }
    })
    .await;
    assert!(
        error.to_string().contains("--ingest.listen-address"),
        "{error}"
    );
}
