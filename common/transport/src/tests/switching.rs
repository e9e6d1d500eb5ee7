//! From QUIC to TCP and back.

use std::net::UdpSocket;
use std::time::Duration;

use tokio::time::Instant;

use super::world::*;
use crate::{ConnectError, TransportKind, Transports};

#[tokio::test]
async fn without_udp_an_agent_comes_by_tcp_and_returns_to_quic() {
    let world = World::new();
    let mut config = world.config();
    config.transports = Transports::TcpOnly;
    let tcp = world.listen_with(config.clone()).await;
    // Swallows datagrams, as a firewall does.
    let swallowing = UdpSocket::bind(tcp.address()).unwrap();
    let identity = world.agent("n1");
    let connector = connector(&identity, Transports::Both);
    let target = tcp.address().to_string();

    let started = Instant::now();
    let (old, accepted) =
        within(async { tokio::join!(connector.connect(&target), tcp.accept()) }).await;
    let (old, old_store) = (old.unwrap(), accepted.unwrap().connection);
    assert_eq!(old.kind(), TransportKind::Tcp);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");

    // A caller whose loop cancels the wait again and again, as every message does, still gets its probes.
    let impatient = async || {
        loop {
            let better = connector.better_transport(&target);
            if let Ok(better) = tokio::time::timeout(Duration::from_millis(20), better).await {
                return better;
            }
        }
    };
    let none_yet = tokio::time::timeout(Duration::from_secs(1), impatient()).await;
    assert!(none_yet.is_err(), "UDP is still swallowed");

    drop(swallowing);
    config.transports = Transports::QuicOnly;
    config.address = tcp.address();
    let quic = world.listen_with(config).await;
    let (new, accepted) = within(async { tokio::join!(impatient(), quic.accept()) }).await;
    assert_eq!(new.kind(), TransportKind::Quic);
    check_alive(&new, &accepted.unwrap().connection).await;
    // The old one lived on meanwhile: nothing was torn down before there was something better.
    check_alive(&old, &old_store).await;
}

#[tokio::test]
async fn with_both_open_quic_is_taken_at_once() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    let (agent, accepted) = pair(&listener, &identity, Transports::Both).await;
    assert_eq!(agent.kind(), TransportKind::Quic);
    check_alive(&agent, &accepted.connection).await;
    assert_eq!(listener.stats().accepted_tcp, 0);
}

#[tokio::test]
async fn an_aggregator_that_is_not_there_is_reported_with_both_attempts() {
    let world = World::new();
    let identity = world.agent("n1");
    let connector = connector(&identity, Transports::Both);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let error = within(connector.connect(&target))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("quic to") && error.contains("tcp to"),
        "{error}"
    );
    let error = within(connector.connect("no-such-host.invalid:4433"))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error}");
}
