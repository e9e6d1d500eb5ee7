//! Real targets on real sockets; only time is waited for, by its effects.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use clock::SystemClock;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::is_stale;
use rows::CohortId;
use telemetry::Registry;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

mod tls;

/// Hands what comes to a test.
#[derive(Debug)]
struct Sent(mpsc::Sender<Scraped>);

impl Outlet for Sent {
    async fn put(&self, scraped: Scraped) {
        self.0.send(scraped).await.unwrap_or_default();
    }
}

/// Answers every request on every connection with these bytes, and says what was asked.
async fn target(answer: Vec<u8>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = mpsc::channel(64);
    let tasks = Tasks::new("target");
    let accepting = async move {
        let tasks = Tasks::new("target's connections");
        while let Ok((stream, _)) = listener.accept().await {
            tasks
                .spawn(
                    "connection",
                    answer_all(stream, answer.clone(), asked.clone()),
                )
                .detach();
        }
    };
    tasks.spawn("target", accepting).detach();
    (address, requests)
}

async fn answer_all(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Vec<u8>,
    asked: mpsc::Sender<String>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..length]);
        if request.ends_with(b"\r\n\r\n") {
            // A test that has seen enough does not listen any more.
            drop(asked.try_send(String::from_utf8(std::mem::take(&mut request)).unwrap()));
            if stream.write_all(&answer).await.is_err() {
                return;
            }
            if answer.is_empty() || answer.windows(6).any(|part| part == b"close\r") {
                return;
            }
        }
    }
}

fn ok(content_type: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn plain(body: &str) -> Vec<u8> {
    ok("text/plain; version=0.0.4", "", body.as_bytes())
}

fn jobs(text: &str) -> Vec<Job> {
    crate::read_jobs(Path::new("p.yml"), text).expect("valid")
}

fn job(address: SocketAddr, keys: &str) -> Vec<Job> {
    jobs(&format!(
        "scrape_configs:\n- job_name: j\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{address}']}}]\n{keys}"
    ))
}

struct Run {
    scraper: Scraper<Sent>,
    scraped: mpsc::Receiver<Scraped>,
    stop: Token,
    task: Task<()>,
}

fn start(jobs: Vec<Job>) -> Run {
    let (sender, scraped) = mpsc::channel(1);
    let tasks = Tasks::new("scraper");
    let settings = ScraperSettings {
        seed: String::new(),
        cohorts: CohortIds::from(CohortId(0)),
        metrics: Metrics::new(&Registry::new()),
        clock: Arc::new(SystemClock::new()),
        tasks: tasks.clone(),
    };
    let scraper = Scraper::new(settings, jobs, Sent(sender));
    let stop = Token::new();
    let task = tasks.spawn("scraper", scraper.clone().run(stop.clone()));
    Run {
        scraper,
        scraped,
        stop,
        task,
    }
}

impl Run {
    async fn next(&mut self) -> Scraped {
        self.scraped.recv().await.expect("a scrape")
    }

    async fn end(mut self) {
        self.stop.stop();
        self.scraped.close();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_scraped_again_and_again_over_one_connection() {
    let (address, mut requests) = target(plain("a 1\n")).await;
    let mut running = start(job(
        address,
        "  params: {x: ['1']}\n  basic_auth: {username: u, password: p}\n",
    ));
    for number in 0..3 {
        let scraped = running.next().await;
        assert_eq!(scraped.error, None);
        assert_eq!(scraped.tally.replayed, number > 0);
        let request = requests.recv().await.unwrap();
        assert!(
            request.starts_with("GET /metrics?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        let request = request.to_ascii_lowercase();
        for line in [
            &format!("host: {address}"),
            "authorization: basic dtpw",
            "accept-encoding: gzip",
            "x-prometheus-scrape-timeout-seconds: 1",
            "accept: application/openmetrics-text;version=1.0.0",
        ] {
            assert!(request.contains(line), "{line} in {request}");
        }
    }
    let pools = running.scraper.pools();
    assert_eq!(pools[0].active[0].health, Health::Up);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read_and_bounded() {
    let zip = |body: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body).unwrap();
        ok(
            "text/plain",
            "Content-Encoding: gzip\r\n",
            &encoder.finish().unwrap(),
        )
    };
    let (address, _requests) = target(zip(b"a 1\n")).await;
    let mut running = start(job(address, ""));
    assert_eq!(running.next().await.tally.kept, 1);
    running.end().await;
    let bomb = "# x\n".repeat(100_000);
    let (address, _requests) = target(zip(bomb.as_bytes())).await;
    let mut running = start(job(address, "  body_size_limit: 100KB\n"));
    let error = running.next().await.error.expect("refused");
    assert!(error.contains("body size limit exceeded"), "{error}");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_targets_cost_themselves_alone() {
    let endless = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec(),
        b"# more\n".repeat(100_000),
    ]
    .concat();
    let lies = String::from_utf8(plain("a 1\n")).unwrap();
    let lies = lies.replace("Length: 4", "Length: 4000").into_bytes();
    let (good, _requests) = target(plain("a 1\n")).await;
    let mut text = format!(
        "scrape_configs:\n- {{job_name: good, scrape_interval: 1s, static_configs: [{{targets: ['{good}']}}]}}\n"
    );
    let mut expected = BTreeMap::new();
    for (name, answer, said) in [
        ("endless", endless, "body size limit exceeded"),
        ("silent", vec![b'H'], "took longer than"),
        ("lies", lies, "took longer than"),
        ("early", Vec::new(), "cannot read the answer"),
        ("cut", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 90\r\nConnection: close\r\n\r\na 1\n".to_vec(), "cannot read the answer"),
        ("teapot", b"HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n".to_vec(), "server returned HTTP status 418"),
        ("html", ok("text/html", "", b"<p>"), "is not one of an exposition"),
        ("garbage", plain("a b c\n"), "cannot parse the exposition"),
        ("elsewhere", b"HTTP/1.1 302 Found\r\nLocation: http://x.example/\r\nContent-Length: 0\r\n\r\n".to_vec(), "another server"),
        ("around", b"HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n".to_vec(), "more than 10 redirects"),
    ] {
        let (address, _requests) = target(answer).await;
        text += &format!("- {{job_name: {name}, scrape_interval: 1s, body_size_limit: 64KB, static_configs: [{{targets: ['{address}']}}]}}\n");
        expected.insert(name, said);
    }
    let mut running = start(jobs(&text));
    let mut good_scrapes = 0;
    while !expected.is_empty() || good_scrapes < 3 {
        running.next().await;
        for pool in running.scraper.pools() {
            let target = &pool.active[0];
            if &*pool.job == "good" {
                good_scrapes += u32::from(target.health == Health::Up);
                assert_ne!(target.health, Health::Down);
            } else if target.health == Health::Down {
                let said = target.error.clone();
                if let Some(expected) = expected.remove(&*pool.job) {
                    assert!(said.contains(expected), "{}: {said}", pool.job);
                }
            }
        }
    }
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_stays_and_marks_what_goes() {
    let (first, _first_requests) = target(plain("a 1\n")).await;
    let (second, _second_requests) = target(plain("b 1\n")).await;
    let mut running = start(job(first, ""));
    let cohort = running.next().await.rows[0].cohort;
    let both = |keys: &str| {
        jobs(&format!(
            "scrape_configs:\n- job_name: j\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{first}', '{second}']}}]\n{keys}"
        ))
    };
    running.scraper.reload(both(""));
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(running.next().await.rows[0].cohort);
    }
    assert!(
        seen.contains(&cohort) && seen.iter().any(|other| *other != cohort),
        "{seen:?}"
    );
    // Gone from the configuration: its series end.
    running.scraper.reload(job(second, ""));
    let ended = loop {
        let scraped = running.next().await;
        if scraped.ended.contains(&cohort) {
            break scraped;
        }
    };
    let row = &ended.rows[0];
    assert!(row.presence.iter().all(|slot| is_stale(row.floats[slot])));
    // With the scraper, nothing ends.
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_targets_than_allowed_are_none() {
    let jobs = jobs(
        "scrape_configs:\n- {job_name: j, scrape_interval: 1s, target_limit: 1, static_configs: [{targets: ['a:1', 'b:1']}]}\n",
    );
    let mut running = start(jobs);
    let error = running.next().await.error.expect("refused");
    assert_eq!(
        error,
        "target_limit exceeded (number of targets: 2, limit: 1)"
    );
    running.end().await;
}
