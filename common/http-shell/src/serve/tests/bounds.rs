//! What a client may cost.

use std::io::Write;
use std::time::Duration;

use super::world::World;
use crate::Limits;

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_over_the_limit_are_refused_however_they_come() {
    let world = World::start(Limits {
        body_bytes_max: 1_000_000,
        ..Limits::default()
    })
    .await;
    let mut raw = world.connect();
    raw.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000001\r\n\r\n");
    raw.say(&"x".repeat(1_000_001));
    let refusal = raw.hear(false);
    assert_eq!(refusal.status, 413);
    assert_eq!(
        refusal.body,
        "the body is larger than the 1000000 bytes allowed\n"
    );

    let mut raw = world.connect();
    raw.say("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..101 {
        raw.say(&format!("2710\r\n{}\r\n", "x".repeat(10_000)));
    }
    raw.say("0\r\n\r\n");
    assert_eq!(raw.hear(false).status, 413);

    let mut raw = world.connect();
    raw.say("POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9999999999\r\n\r\n");
    assert_eq!(
        raw.hear(false).status,
        413,
        "before a single byte of it is sent"
    );

    let mut raw = world.connect();
    raw.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n");
    raw.say(&"x".repeat(1_000_000));
    assert_eq!(raw.hear(false).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_ends() {
    let limits = Limits {
        body_bytes_max: 100_000,
        body_time_max: SHORT,
        ..Limits::default()
    };
    let world = World::start(limits).await;
    let mut raw = world.connect();
    raw.say("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let mut sent = 0_u64;
    while raw.0.write_all(chunk.as_bytes()).is_ok() {
        sent += 10_000;
        assert!(sent < 1 << 30, "the server takes no end of it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_too_slowly_is_given_up() {
    let limits = Limits {
        head_time_max: SHORT,
        body_time_max: SHORT,
        ..Limits::default()
    };
    let world = World::start(limits).await;
    let mut silent = world.connect();
    let mut slow_head = world.connect();
    slow_head.say("GET /echo HTTP/1.1\r\nhost:");
    let mut slow_body = world.connect();
    slow_body.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nx");
    let refusal = slow_body.hear(false);
    assert_eq!(
        (refusal.status, refusal.body.as_str()),
        (408, "the body took more than 50ms to come\n")
    );
    for connection in [&mut silent, &mut slow_head, &mut slow_body] {
        assert!(connection.is_closed());
    }
    let mut idle = world.connect();
    idle.say("GET /echo HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(idle.hear(false).status, 200);
    assert!(idle.is_closed());
    world.stop.stop();
    world.ended().await;
    assert_eq!((world.stats().timed_out, world.stats().failed), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_takes_is_given_up() {
    let world = World::start(Limits {
        stall_time_max: SHORT,
        ..Limits::default()
    })
    .await;
    let mut raw = world.connect();
    raw.say("GET /huge HTTP/1.1\r\nhost: x\r\n\r\n");
    while world.stats().failed == 0 {
        tokio::task::yield_now().await;
    }
    world.stop.stop();
    world.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_break_the_protocol_are_refused() {
    let world = World::start(Limits {
        head_bytes_max: 16 * 1024,
        ..Limits::default()
    })
    .await;
    let long = format!(
        "GET /echo HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20_000));
    for (head, status) in [
        (long.as_str(), 431),
        (long_path.as_str(), 431),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
        (
            "GET /echo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
        ),
    ] {
        let mut raw = world.connect();
        raw.say(head);
        assert_eq!(raw.hear(false).status, status, "{head:.40}");
        assert!(raw.is_closed());
    }
    world.stop.stop();
    world.ended().await;
    assert_eq!(world.stats().failed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_bound_wait() {
    let world = World::start(Limits {
        connections_max: 2,
        ..Limits::default()
    })
    .await;
    let (mut first, mut second) = (world.connect(), world.connect());
    for connection in [&mut first, &mut second] {
        connection.say("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    world.play.until(2, 0).await;
    let mut third = world.connect();
    third.say("GET /echo HTTP/1.1\r\nhost: x\r\n\r\n");
    third.0.set_read_timeout(Some(SHORT)).unwrap();
    let early = std::io::Read::read(&mut third.0, &mut [0]);
    assert!(early.is_err(), "no place is free");
    third
        .0
        .set_read_timeout(Some(super::world::PATIENCE))
        .unwrap();
    drop(first);
    assert_eq!(third.hear(false).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_beyond_the_bound_are_refused_and_small_ones_pass() {
    let limits = Limits {
        requests_bytes_max: 100_000,
        body_time_max: SHORT,
        ..Limits::default()
    };
    let world = World::start(limits).await;
    let large = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n{}",
            "x".repeat(70_000)
        )
    };
    let mut first = world.connect();
    first.say(&large("/wait"));
    world.play.until(1, 0).await;
    let mut second = world.connect();
    second.say(&large("/echo"));
    let refused = second.hear(false);
    assert_eq!(
        (refused.status, &*refused.headers["retry-after"]),
        (503, "5")
    );
    let mut small = world.connect();
    small.say("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx");
    assert_eq!(small.hear(false).status, 200);
    world.play.released.send_replace(true);
    assert_eq!(first.hear(false).status, 200);
}
