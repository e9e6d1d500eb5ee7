//! Figures, printed on request: `cargo test -p transport figures -- --ignored --nocapture`.

use std::fs;

use tokio::time::Instant;
use wire::{AgentMessage, StreamId};

use super::world::*;

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[ignore = "prints figures"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_memory() {
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        let before = resident_kib();
        let started = Instant::now();
        let mut pairs = Vec::new();
        for _ in 0..500 {
            let both = pair(&listener, &identity, transports).await;
            check_alive(&both.0, &both.1.connection).await;
            pairs.push(both);
        }
        let each = (resident_kib() - before) / 500;
        println!(
            "{transports:?}: 500 connections in {:?}; {each} KiB for both ends of one, the client's endpoint included",
            started.elapsed()
        );
    }
}

#[ignore = "prints figures"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_goes_through() {
    const FRAMES: u64 = 20_000;
    let world = World::new();
    let listener = world.listen().await;
    let identity = world.agent("n1");
    for transports in EACH {
        for bytes in [3_000_usize, 60_000] {
            let frames = FRAMES * 3_000 / u64::try_from(bytes).unwrap();
            let (agent, accepted) = pair(&listener, &identity, transports).await;
            let started = Instant::now();
            let send = async {
                for at in 0..frames {
                    agent
                        .send_message(StreamId::Session, &batch(at, bytes))
                        .await
                        .unwrap();
                }
            };
            let receive = async {
                for at in 0..frames {
                    let (_, message) = accepted.connection.receive::<AgentMessage>().await.unwrap();
                    assert_eq!(number(&message), at);
                }
            };
            tokio::join!(send, receive);
            let took = started.elapsed();
            let stats = agent.stats();
            println!(
                "{transports:?}: {frames} frames of {bytes} B in {took:?}, {} bytes sent for {}",
                stats.bytes_sent,
                frames * u64::try_from(bytes).unwrap(),
            );
        }
    }
}
