use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agent::{Agent, AgentConfig, Surroundings};
use clock::SystemClock;
use config::Environment;
use files::Disk;
use http_shell::{Limits, Listen, Server};
use runtime::Tasks;
use telemetry::Registry;

use super::*;
use crate::web::Routes;

const PEER: &str = "/usr/bin/prometheus-pushgateway";

/// The routes of an agent that was started with these flags.
async fn routes(flags: &[&str]) -> PushRoutes {
    let all = ["promontory-agent", "run", "--aggregator=a:1"]
        .iter()
        .chain(flags);
    let read = agent::program().read(all.map(OsString::from), Environment::of(&[]), &[]);
    let settings = read.unwrap().settings;
    let folder = tempfile::tempdir().unwrap();
    let config = AgentConfig {
        spool_folder: folder.path().join("spool"),
        ..AgentConfig::from_settings(&settings).unwrap()
    };
    let surroundings = Surroundings {
        files: Arc::new(Disk),
        clock: Arc::new(SystemClock::new()),
        registry: Registry::new(),
        tasks: Tasks::new("test"),
    };
    let view = Agent::start(config, surroundings).await.unwrap().view();
    PushRoutes::new(view.pushing(), &settings, &Token::new())
}

async fn ask(routes: &PushRoutes, method: Method, path: &str, body: &str) -> (u16, String) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: Default::default(),
        body: body.to_owned().into(),
        caller: Caller::Local { uid: 0 },
    };
    text_of(routes.answer(&request, path).await)
}

fn text_of(response: Response) -> (u16, String) {
    let body = String::from_utf8(response.body.to_vec()).unwrap();
    (response.status.as_u16(), body)
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_a_way_out() {
    let routes = routes(&["--push.max-groups=1", "--push.max-body-size=64KiB"]).await;
    let long = format!("m{{x=\"{}\"}} 1\n", "x".repeat(64 << 10));
    for (path, body, status, part) in [
        ("/metrics/job/a", "m 1\n", 200, ""),
        ("/metrics/job/b", "m 1\n", 507, "raise --push.max-groups"),
        ("/metrics/job/a", &long, 413, "raise --push.max-body-size"),
        (
            "/metrics/job/a?mode=max",
            "m 1\n",
            400,
            "mode \"max\" is not known",
        ),
        ("/metrics/job/a?ttl=x", "m 1\n", 400, "ttl \"x\""),
        (
            "/metrics/job/a?mode=sum&ttl=1h",
            "# TYPE c counter\nc 1\n",
            200,
            "",
        ),
        (
            "/metrics/job/a?mode=sum",
            "# TYPE c counter\nc 2\n",
            200,
            "",
        ),
    ] {
        let (found, text) = ask(&routes, Method::POST, path, body).await;
        assert_eq!(found, status, "{path}: {text}");
        assert!(text.contains(part), "{path}: {text}");
    }
    let (_, shown) = ask(&routes, Method::GET, "/metrics", "").await;
    assert!(
        shown.contains("\nc{instance=\"\",job=\"a\"} 3\n"),
        "{shown}"
    );
    // Without the flags, there is no wiping and no stopping.
    let wipe = ask(&routes, Method::PUT, "/api/v1/admin/wipe", "").await;
    let quit = ask(&routes, Method::PUT, "/-/quit", "").await;
    assert_eq!((wipe.0, quit.0), (404, 403));
}

#[tokio::test]
async fn with_the_check_off_pushes_are_accepted() {
    let routes = routes(&["--push.disable-consistency-check"]).await;
    for (path, kind) in [("/metrics/job/a", "counter"), ("/metrics/job/b", "gauge")] {
        let body = format!("# TYPE m {kind}\nm 1\n");
        assert_eq!(ask(&routes, Method::PUT, path, &body).await.0, 202);
    }
}

#[tokio::test]
async fn who_pushes_over_the_socket_cannot_be_another() {
    const POD: &str = "0b7f3c1e-2d4a-4e55-9c1b-8f6a1d2e3c4b";
    let routes = routes(&["--web.enable-admin-api"]).await;
    let socket = SocketRoutes(routes.clone());
    let ask_socket = async |method, path: &str, body: &str| {
        let request = Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: Default::default(),
            body: body.to_owned().into(),
            caller: Caller::Process {
                uid: 1_000,
                cgroup: format!("0::/kubepods/pod{POD}/x").into(),
            },
        };
        text_of(socket.handle(request).await)
    };
    let path = "/push/metrics/job/a/pod/other/namespace/other";
    let body = "m{pod=\"other\",container=\"other\"} 1\n";
    assert_eq!(ask_socket(Method::PUT, path, body).await.0, 200);
    let (_, shown) = ask(&routes, Method::GET, "/metrics", "").await;
    let line =
        format!("m{{container=\"\",instance=\"\",job=\"a\",namespace=\"\",pod=\"{POD}\"}} 1\n");
    assert!(shown.contains(&line), "{shown}");
    // Of others it sees nothing, and does nothing to them.
    ask(&routes, Method::PUT, "/metrics/job/b", "n 1\n").await;
    assert_eq!(
        ask_socket(Method::DELETE, "/metrics/job/b", "").await.0,
        202
    );
    for (method, path) in [
        (Method::GET, "/metrics"),
        (Method::PUT, "/api/v1/admin/wipe"),
        (Method::GET, "/api/v1/metrics"),
    ] {
        assert_eq!(ask_socket(method, path, "").await.0, 404, "{path}");
    }
    assert_eq!(ask_socket(Method::GET, "/-/ready", "").await.0, 200);
    let (_, shown) = ask(&routes, Method::GET, "/metrics", "").await;
    assert!(
        shown.contains("\nn{instance=\"\",job=\"b\"} 1\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn quitting_stops_the_process() {
    let all = ["promontory-agent", "run", "--web.enable-lifecycle"];
    let read = agent::program().read(all.map(OsString::from), Environment::of(&[]), &[]);
    let stop = Token::new();
    let pushing = routes(&[]).await.pushing;
    let routes = PushRoutes::new(pushing, &read.unwrap().settings, &stop);
    assert_eq!(ask(&routes, Method::GET, "/-/quit", "").await.0, 405);
    assert!(!stop.is_stopped());
    let answer = ask(&routes, Method::PUT, "/-/quit", "").await;
    assert_eq!(
        answer,
        (200, "Requesting termination... Goodbye!".to_owned())
    );
    assert!(stop.is_stopped());
}

/// An agent's server over a real socket; returns its address.
async fn serve(tasks: &Tasks) -> String {
    let listen = Listen::Tcp {
        address: "127.0.0.1:0".to_owned(),
        web_config: None,
    };
    let server = Server::bind(&listen, Limits::default(), tasks)
        .await
        .unwrap();
    let address = server.local_address().unwrap().to_string();
    let surroundings = Surroundings {
        files: Arc::new(Disk),
        clock: Arc::new(SystemClock::new()),
        registry: Registry::new(),
        tasks: tasks.clone(),
    };
    let folder = tempfile::tempdir().unwrap();
    let config = AgentConfig::new("127.0.0.1:1", folder.path().join("spool"));
    let view = Agent::start(config, surroundings).await.unwrap().view();
    let routes = Routes::new(view, routes(&["--web.enable-admin-api"]).await);
    let serving = server.serve(Arc::new(routes), Token::new());
    tasks.spawn("http server", serving).detach();
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cases_of_a_pushgateway_are_met() {
    let Some(tool) = cases() else { return };
    let tasks = Tasks::new("test");
    let base = format!("http://{}/push", serve(&tasks).await);
    let run = tasks.spawn_blocking("cases", move || {
        Command::new("python3").arg(tool).arg(base).output()
    });
    let output = run.await.unwrap().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{report}");
    assert!(report.contains("RESULT 51 of 51 cases met"), "{report}");
}

/// Returns the script with the cases; `None` where it is missing.
fn cases() -> Option<PathBuf> {
    let root = variable("PROMONTORY_CONFORMANCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let tool = root.join("tools/pushgateway_cases.py");
    if tool.exists() {
        return Some(tool);
    }
    assert!(
        variable("CI").is_none_or(|ci| ci != "true"),
        "the cases of a Pushgateway are not at {}; set PROMONTORY_CONFORMANCE",
        tool.display()
    );
    println!("skipped: there is no {}", tool.display());
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "where test data lies is no configuration of the program"
)]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it ends");
    }
}

/// Asks over a connection of its own; returns status and body. `None`: nobody answers.
fn call(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// What was pushed; the times of pushes are another clock's.
fn pushed(exposition: &str) -> Vec<&str> {
    let is_pushed = |line: &&str| line.contains("job=\"") && !line.starts_with("push_");
    let mut lines: Vec<&str> = exposition.lines().filter(is_pushed).collect();
    lines.sort_unstable();
    lines
}

/// Requests that both must answer alike; what differs on purpose is not among them.
const REQUESTS: &[(&str, &str, &str)] = &[
    (
        "PUT",
        "/metrics/job/a",
        "# HELP c words\n# TYPE c counter\nc 5\nm{x=\"1\"} NaN\n",
    ),
    ("POST", "/metrics/job/a", "m{x=\"2\"} -Inf\nn 0.00001\n"),
    (
        "PUT",
        "/metrics/job/a/instance/i/x/1",
        "m 1e6\n# TYPE g gauge\ng{x=\"9\",y=\"z\"} 123456789\n",
    ),
    (
        "PUT",
        "/metrics/job/h",
        "# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"1\"} 2\nh_sum 3.5\nh_count 4\n# TYPE s summary\ns{quantile=\"0.9\",k=\"v\"} 2\ns_sum{k=\"v\"} 3\n",
    ),
    (
        "POST",
        "/metrics/job/h",
        "# TYPE h histogram\nh_bucket{le=\"5\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\n",
    ),
    ("PUT", "/metrics/job@base64/L2E/p@base64/=/q/r", "m 1\n"),
    ("PUT", "/metrics/job/a%2Fy/2", "m 7\n"),
    ("PUT", "/metrics/job/t", "# TYPE c gauge\nc 1\n"),
    ("PUT", "/metrics/job/t", "m 1 1\n"),
    ("PUT", "/metrics/job/t", "m 1"),
    ("PUT", "/metrics/job/t", "m{job=\"1\"} 1\nm{job=\"2\"} 1\n"),
    (
        "PUT",
        "/metrics/job/t",
        "# TYPE m counter\n# TYPE m counter\nm 1\n",
    ),
    (
        "PUT",
        "/metrics/job/t",
        "# TYPE push_time_seconds counter\npush_time_seconds 1\n",
    ),
    ("PUT", "/metrics/job/t", "m{__a=\"1\"} 1\n"),
    ("PUT", "/metrics/job/t", "m{a-b=\"1\"} 1\n"),
    (
        "PUT",
        "/metrics/job/t",
        "# TYPE pushgateway_http_requests_total gauge\npushgateway_http_requests_total 1\n",
    ),
    ("PUT", "/metrics/job/t/x", "m 1\n"),
    ("PUT", "/metrics/job/t/__x/1", "m 1\n"),
    ("DELETE", "/metrics/job/a/x/1/instance/i", ""),
    ("DELETE", "/metrics/job/never", ""),
    ("PUT", "/metrics/job/e", "m 1\n"),
    ("PUT", "/metrics/job/e", ""),
    ("GET", "/metrics/job/e", ""),
    ("PATCH", "/metrics/job/e", ""),
    ("OPTIONS", "/metrics/job/e", ""),
    ("HEAD", "/-/ready", ""),
    ("GET", "/-/ready", ""),
    ("GET", "/-/healthy", ""),
    ("GET", "/-/quit", ""),
    ("POST", "/-/quit", ""),
    ("POST", "/metrics/job", "m 1\n"),
    ("POST", "/metrics", "m 1\n"),
    ("GET", "/nothing", ""),
    ("GET", "/status", ""),
    ("POST", "/status", ""),
    ("GET", "/api/v1/status", ""),
    ("POST", "/api/v1/status", ""),
    ("GET", "/api/v1/metrics", ""),
    ("OPTIONS", "/api/v1/metrics", ""),
    ("GET", "/api/v1/nothing", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debians_pushgateway_answers_alike() {
    if !Path::new(PEER).exists() {
        println!("skipped: there is no {PEER}");
        return;
    }
    let tasks = Tasks::new("test");
    let own = serve(&tasks).await;
    let compared = tasks.spawn_blocking("compare", move || compare(&own));
    compared.await.unwrap();
}

fn compare(own: &str) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let mut command = Command::new(PEER);
    command.args([
        &format!("--web.listen-address={address}"),
        "--log.level=error",
    ]);
    command.args(["--web.enable-admin-api", "--persistence.file="]);
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    let _peer = Peer(silent.spawn().unwrap());
    while call(&address, "GET", "/-/ready", "").is_none() {
        std::thread::yield_now();
    }
    for (method, path, body) in REQUESTS {
        let (theirs, _) = call(&address, method, path, body).unwrap();
        let (ours, text) = call(own, method, &format!("/push{path}"), body).unwrap();
        assert_eq!(ours, theirs, "{method} {path} {body}: {text}");
        // Its deletes are queued.
        let same = || {
            let theirs = call(&address, "GET", "/metrics", "").unwrap().1;
            let ours = call(own, "GET", "/push/metrics", "").unwrap().1;
            (pushed(&theirs) == pushed(&ours))
                .then_some(())
                .ok_or((theirs, ours))
        };
        let mut compared = same();
        for _ in 0..100 {
            if compared.is_ok() {
                break;
            }
            compared = same();
        }
        if let Err((theirs, ours)) = compared {
            assert_eq!(pushed(&ours), pushed(&theirs), "{method} {path} {body}");
        }
    }
    println!("{} requests are answered alike", REQUESTS.len());
}
