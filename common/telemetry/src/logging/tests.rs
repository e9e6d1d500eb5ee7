use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use tracing::{debug, error, info, info_span, warn};

use super::line::{Style, VALUE_BYTES_MAX};
use super::*;

/// A sink that keeps what was written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(
    level: LogLevel,
    format: LogFormat,
    colours: bool,
    log: impl FnOnce(&LogHandle),
) -> String {
    let kept = Kept::default();
    let level = SharedLevel::new(level);
    let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
    let clock: SharedClock = Arc::new(SimulatedClock::starting_at(wall));
    let layer = LogLayer::new(
        level.clone(),
        Style { format, colours },
        clock,
        Box::new(kept.clone()),
    );
    let subscriber = Registry::default().with(layer);
    tracing::subscriber::with_default(subscriber, || log(&LogHandle { level }));
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

const TIME: &str = "2023-11-14T22:13:20.042Z";

#[test]
fn events_are_lines_of_logfmt() {
    let text = logged(LogLevel::Info, LogFormat::Logfmt, false, |_| {
        let error = io::Error::other("line one\nlevel=ERROR");
        info!(target: "spool", batches = 3_u64, ok = true, ratio = 0.5, path = "/a b", name = "x", "spool opened");
        warn!(target: "spool", error = &error as &dyn std::error::Error, empty = "", "cannot \x1b[31mread");
        debug!("not wanted");
        error!(nan = f64::NAN, "short");
    });
    assert_eq!(
        text,
        format!(
            "time={TIME} level=INFO target=spool msg=\"spool opened\" batches=3 ok=true ratio=0.5 path=\"/a b\" name=x\n\
             time={TIME} level=WARN target=spool msg=\"cannot \\u001b[31mread\" error=\"line one\\nlevel=ERROR\" empty=\"\"\n\
             time={TIME} level=ERROR target=telemetry::logging::tests msg=short nan=NaN\n"
        )
    );
}

#[test]
fn events_are_lines_of_json() {
    let text = logged(LogLevel::Info, LogFormat::Json, false, |_| {
        info!(target: "t", count = -1_i64, nan = f64::NAN, text = "a\"b\\\t", "said \"x\"");
    });
    assert_eq!(
        text,
        format!(
            "{{\"time\":\"{TIME}\",\"level\":\"INFO\",\"target\":\"t\",\"msg\":\"said \\\"x\\\"\",\"count\":-1,\"nan\":\"NaN\",\"text\":\"a\\\"b\\\\\\t\"}}\n"
        )
    );
}

#[test]
fn spans_lend_their_fields() {
    let text = logged(LogLevel::Info, LogFormat::Logfmt, false, |_| {
        let outer = info_span!("session", agent = "node 1", epoch = tracing::field::Empty);
        let _outer = outer.enter();
        outer.record("epoch", 7_u64);
        let _inner = info_span!("batch", number = 9_u64).entered();
        info!(target: "t", rows = 2_u64, "taken");
    });
    assert!(
        text.ends_with("msg=taken agent=\"node 1\" epoch=7 number=9 rows=2\n"),
        "{text}"
    );
}

#[test]
fn the_level_changes_while_running() {
    let text = logged(LogLevel::Warn, LogFormat::Logfmt, false, |handle| {
        for level in [LogLevel::Warn, LogLevel::Debug, LogLevel::Error] {
            handle.set_level(level);
            assert_eq!(handle.level(), level);
            for _ in 0..2 {
                debug!(target: "t", "low");
            }
            warn!(target: "t", "mid");
        }
    });
    let messages: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split("msg=").nth(1))
        .collect();
    assert_eq!(messages, ["mid", "low", "low", "mid"]);
}

#[test]
fn foreign_chatter_is_dropped_but_not_foreign_warnings() {
    let text = logged(LogLevel::Debug, LogFormat::Logfmt, false, |_| {
        debug!(target: "quinn_proto::connection", "chatter");
        info!(target: "rustls", "chatter");
        warn!(target: "quinn::endpoint", "heard");
        debug!(target: "quinnish", "ours");
    });
    assert!(!text.contains("chatter") && text.contains("heard") && text.contains("ours"));
}

#[test]
fn values_are_bounded_and_colours_are_logfmts() {
    let text = logged(LogLevel::Info, LogFormat::Logfmt, true, |_| {
        info!(target: "t", long = "é".repeat(VALUE_BYTES_MAX), "x");
    });
    assert!(text.starts_with(&format!(
        "time={TIME} level=\x1b[32mINFO\x1b[0m target=t msg=x long=é"
    )));
    assert!(text.len() < VALUE_BYTES_MAX + 100);
}
