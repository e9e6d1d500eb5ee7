//! Which connections are left to workers that may wait.

use std::sync::Arc;
use std::time::Duration;

use runtime::Workers;
use tokio::time::timeout;

use super::world::{PATIENCE, World};
use crate::{Limits, Listen, Patient, Server};

const NAME: &str = "patient";

async fn world(limits: Limits) -> World {
    world_of(Arc::new(Workers::giving_way(NAME, 1, 1).unwrap()), limits).await
}

async fn world_of(workers: Arc<Workers>, limits: Limits) -> World {
    let listen = Listen::Tcp {
        address: "127.0.0.1:0".to_owned(),
        web_config: None,
    };
    let patient = Patient {
        workers,
        urgent: &["POST /thread", "GET /-/"],
    };
    let with_patient = |server: Server| server.with_patient(patient);
    World::listening_as(&listen, limits, with_patient)
        .await
        .expect("a free port")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_says_who_serves_a_connection() {
    let world = world(Limits::default()).await;
    let patient = "GET /thread HTTP/1.1\r\nhost: x\r\n\r\n";
    let urgent = "POST /thread HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    for (first, then, is_patient) in [(patient, urgent, true), (urgent, patient, false)] {
        let mut raw = world.connect();
        for request in [first, then, first] {
            raw.say(request);
            assert_eq!(raw.hear(false).body == format!("{NAME}\n"), is_patient);
        }
    }
    // Whatever comes of it at first, it is a request in the end.
    let mut raw = world.connect();
    for byte in patient.chars() {
        raw.say(&byte.to_string());
    }
    assert_eq!(raw.hear(false).status, 200);
    drop(raw);
    world.stop.stop();
    world.ended().await;
    assert_eq!((world.stats().failed, world.stats().timed_out), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_is_answered_after_the_stop() {
    let workers = Arc::new(Workers::giving_way(NAME, 1, 1).unwrap());
    let alive = Arc::downgrade(&workers);
    let world = world_of(workers, Limits::default()).await;
    let mut raw = world.connect();
    raw.say("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n");
    world.play.until(1, 0).await;
    world.stop.stop();
    world.serving.await.unwrap();
    assert!(alive.upgrade().is_some(), "with the server gone");
    world.play.released.send_replace(true);
    assert_eq!(raw.hear(false).status, 200);
    timeout(PATIENCE, world.tasks.join())
        .await
        .expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_closed_in_time_and_at_the_stop() {
    let limits = Limits {
        head_time_max: Duration::from_millis(50),
        ..Limits::default()
    };
    let silent = world(limits).await;
    assert!(silent.connect().is_closed());
    assert_eq!(silent.stats().timed_out, 1);

    let stopped = world(Limits::default()).await;
    let mut raw = stopped.connect();
    while stopped.stats().connections == 0 {
        tokio::task::yield_now().await;
    }
    stopped.stop.stop();
    assert!(raw.is_closed());
    stopped.ended().await;
}
