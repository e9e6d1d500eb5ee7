//! Requests and answers, and who goes away when.

use hyper::StatusCode;

use super::world::World;
use crate::{ClientError, Form, Limits, Target};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_many_requests() {
    let world = World::start(Limits::default()).await;
    let mut raw = world.connect();
    raw.say("GET /echo?a=1%202 HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(raw.hear(false).body, "GET a=1%202 \n");
    raw.say("HEAD /large HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = raw.hear(true);
    assert_eq!(
        (head.status, head.headers["content-length"].as_str()),
        (200, "5000")
    );
    raw.say("POST /echo?q=url HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded; charset=UTF-8\r\ncontent-length: 6\r\n\r\nq=body");
    assert_eq!(raw.hear(false).body, "POST q=body&q=url \n");
    raw.say("GET /echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\na=1");
    assert_eq!(
        raw.hear(false).body,
        "GET  \n",
        "a body of GET is no form, as in Go"
    );
    raw.say("GET /large HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip, deflate\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut raw.0, &mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.contains("content-encoding: gzip") && answer.contains("vary: accept-encoding"));
    assert!(answer.len() < 1_000);
    assert_eq!((world.stats().connections, world.stats().failed), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotes_in_a_query_are_taken_as_curl_sends_them() {
    let world = World::start(Limits::default()).await;
    let mut raw = world.connect();
    raw.say("GET /echo?query=up{job=\"a\"}>0 HTTP/1.1\r\nhost: x\r\n\r\n");
    let form = Form::default().with("query", "up{job=\"a\"}>0");
    assert_eq!(raw.hear(false).body, format!("GET {} \n", form.encode()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_compressed_beside_the_others() {
    let world = World::start(Limits::default()).await;
    let mut raw = world.connect();
    raw.say("GET /huge HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut raw.0, &mut answer).unwrap();
    let body = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap()
        + 4;
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer[body..]);
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    assert_eq!(plain.len(), 64 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_stops_when_its_client_goes_away() {
    let world = World::start(Limits::default()).await;
    let mut raw = world.connect();
    raw.say("GET /wait HTTP/1.1\r\nhost: x\r\n\r\n");
    world.play.until(1, 0).await;
    drop(raw);
    world.play.until(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_what_has_begun_and_nothing_else() {
    let world = World::start(Limits::default()).await;
    let mut idle = world.connect();
    idle.say("GET /echo HTTP/1.1\r\nhost: x\r\n\r\n");
    idle.hear(false);
    let mut fresh = world.connect();
    let client = world.client();
    let running = world
        .tasks
        .spawn("caller", async move { client.get("/wait").await });
    world.play.until(1, 0).await;

    world.stop.stop();
    assert!(idle.is_closed() && fresh.is_closed());
    while !world.serving.is_finished() {
        tokio::task::yield_now().await;
    }
    let refused = world.client().get("/echo").await.unwrap_err();
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .ends_with("is it running, and is this the right address?")
    );

    world.play.released.send_replace(true);
    let reply = running.await.unwrap().unwrap();
    assert_eq!(
        (reply.status, &reply.body[..]),
        (StatusCode::OK, &b"waited\n"[..])
    );
    world.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_posts_forms_and_gives_up_in_time() {
    let world = World::start(Limits::default()).await;
    let client = world.client();
    let form = Form::default()
        .with("query", "a{b=\"+\"}")
        .with("query", "ü");
    let reply = client.post_form("/echo", &form).await.unwrap();
    assert_eq!(reply.body, format!("POST {} \n", form.encode()));
    assert_eq!(
        client.get("/none").await.unwrap().status,
        StatusCode::NOT_FOUND
    );

    let target = client.target().clone();
    let hasty = crate::Client::new(target.clone(), std::time::Duration::from_millis(50));
    let gave_up = hasty.get("/wait").await.unwrap_err();
    assert_eq!(
        gave_up.to_string(),
        format!("no answer from {target} within 50 ms")
    );
    world.play.until(1, 1).await;
}

#[tokio::test]
async fn a_server_of_something_else_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let client = crate::Client::new(target, super::world::PATIENCE);
    let babble = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example ESMTP\r\n")
            .await
            .unwrap();
        stream
    };
    let (reply, _stream) = tokio::join!(client.get("/"), babble);
    let error = reply.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read the answer of http://127.0.0.1:"),
        "{error}"
    );
}
