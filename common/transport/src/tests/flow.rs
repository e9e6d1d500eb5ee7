//! Frames, order, back-pressure, ends.

use bytes::Bytes;
use runtime::{Tasks, run_apart};
use wire::{AgentMessage, StreamId, encode_message};

use super::world::*;
use crate::{CloseReason, ConnectionError, ReceiveError, TransportKind};

#[tokio::test]
async fn both_transports_carry_both_streams_in_order() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        assert_eq!(accepted.peer, peer("n1"));
        let store = accepted.connection;
        check_alive(&agent, &store).await;
        let send = async {
            for at in 0..300 {
                agent
                    .send_message(StreamId::CatchUp, &batch(at, 3_000))
                    .await
                    .unwrap();
                agent
                    .send_message(StreamId::Session, &floor(at))
                    .await
                    .unwrap();
            }
        };
        let receive = async {
            let mut next = [0, 0];
            while next != [300, 300] {
                let (stream, message) = store.receive::<AgentMessage>().await.unwrap();
                let next = &mut next[usize::from(stream.number())];
                assert_eq!(number(&message), *next);
                *next += 1;
            }
        };
        within(async { tokio::join!(send, receive) }).await;
        let (sent, received) = (agent.stats(), store.stats());
        assert_eq!((sent.frames_sent, received.frames_received), (601, 601));
        assert!(sent.bytes_sent > 900_000 && received.bytes_received > 900_000);
        until("the round trip is known", || {
            agent.stats().round_trip.is_some()
        })
        .await;
    }
    let stats = listener.stats();
    assert_eq!((stats.accepted_quic, stats.accepted_tcp), (1, 1));
    assert_eq!(stats.garbage_datagrams, 0, "our own packets are QUIC");
}

#[tokio::test]
async fn a_close_comes_after_all_that_was_sent_and_says_why() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        let store = accepted.connection;
        let send = async {
            for at in 0..100 {
                agent
                    .send_message(StreamId::Session, &batch(at, 10_000))
                    .await
                    .unwrap();
            }
            agent.close(CloseReason::ShuttingDown, "good night").await;
        };
        let receive = async {
            for at in 0..100 {
                let (_, message) = store.receive::<AgentMessage>().await.unwrap();
                assert_eq!(number(&message), at);
            }
            store.receive::<AgentMessage>().await.unwrap_err()
        };
        let ((), end) = within(async { tokio::join!(send, receive) }).await;
        let told = ConnectionError::ClosedByPeer {
            reason: CloseReason::ShuttingDown,
            message: "good night".to_owned(),
        };
        assert_eq!(end, ReceiveError::Ended(told), "{transports:?}");
        let here = ConnectionError::ClosedHere {
            reason: CloseReason::ShuttingDown,
        };
        assert_eq!(agent.end(), Some(here));
        assert!(agent.send(StreamId::Session, Bytes::new()).await.is_err());
        drop(store);
    }
    until("the places are free again", || {
        listener.stats().connections == 0
    })
    .await;
}

#[tokio::test]
async fn a_close_is_heard_although_the_runtime_of_the_agent_ends_with_it() {
    let world = World::new();
    let listener = world.listen().await;
    let tasks = Tasks::new("test");
    for transports in EACH {
        let connector = connector(&world.agent(&format!("{transports:?}")), transports);
        let target = listener.address().to_string();
        let visit = async move {
            let agent = connector.connect(&target).await.unwrap();
            let hello = floor(1);
            let sent = agent.send_message(StreamId::Session, &hello).await;
            sent.unwrap();
            agent.close(CloseReason::ShuttingDown, "").await;
            drop(agent);
            connector.finish().await;
            connector.tasks()
        };
        let visiting = tasks.spawn_blocking("visit", || run_apart(visit));
        let receive = async {
            let store = listener.accept().await.unwrap().connection;
            store.receive::<AgentMessage>().await.unwrap();
            store.receive::<AgentMessage>().await.unwrap_err()
        };
        let told = ConnectionError::ClosedByPeer {
            reason: CloseReason::ShuttingDown,
            message: String::new(),
        };
        let heard = within(receive).await;
        assert_eq!(heard, ReceiveError::Ended(told), "{transports:?}");
        assert_eq!(within(visiting).await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stops_its_sender_and_loses_nothing() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        let store = accepted.connection;
        // Nobody receives: the windows and queues fill up, and then a send waits.
        let mut sent = 0;
        let mut frame = Vec::new();
        loop {
            frame.clear();
            encode_message(&batch(sent, 20_000), &mut frame).unwrap();
            let send = agent.send(StreamId::CatchUp, Bytes::copy_from_slice(&frame));
            match tokio::time::timeout(std::time::Duration::from_millis(300), send).await {
                Ok(taken) => taken.unwrap(),
                Err(_waits) => break,
            }
            sent += 1;
            assert!(sent < 400, "no back-pressure after {sent} frames of 20 kB");
        }
        // The other stream still goes through; the cancelled send has left nothing behind.
        agent
            .send_message(StreamId::Session, &floor(1))
            .await
            .unwrap();
        let mut received = 0;
        let mut session = 0;
        while (received, session) != (sent, 1) {
            let (stream, message) = within(store.receive::<AgentMessage>()).await.unwrap();
            match stream {
                StreamId::CatchUp => {
                    assert_eq!(number(&message), received);
                    received += 1;
                }
                StreamId::Session => session += 1,
            }
        }
        check_alive(&agent, &store).await;
    }
}

#[tokio::test]
async fn a_dropped_connection_ends_for_the_peer_at_once() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        drop(agent);
        let end = within(accepted.connection.closed()).await;
        assert!(matches!(end, ConnectionError::ClosedByPeer { .. }), "{end}");
    }
}

#[tokio::test]
async fn a_restarted_aggregator_is_found_again_on_its_port() {
    let world = World::new();
    let identity = world.agent("n1");
    let mut listener = world.listen().await;
    let address = listener.address();
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &identity, transports).await;
        drop(accepted);
        within(listener.close(std::time::Duration::from_secs(5))).await;
        within(agent.closed()).await;
        let mut config = world.config();
        config.address = address;
        listener = world.listen_with(config).await;
        let (again, accepted) = pair(&listener, &identity, transports).await;
        check_alive(&again, &accepted.connection).await;
        assert_ne!(again.kind() == TransportKind::Tcp, transports == EACH[0]);
    }
}
