use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use files::{Fault, FileSystem, Open, Operation, Simulated};

use super::*;
use crate::{Body, Names, parse_path};

const FILE: &str = "groups";

fn at(ms: i64) -> Now {
    Now {
        wall: TimestampMs(1_700_000_000_000 + ms),
        monotonic: Monotonic::from_origin(Duration::from_millis(u64::try_from(ms).unwrap())),
    }
}

fn open(disk: &Simulated, ms: i64) -> Result<Gateway, JournalError> {
    let config = GatewayConfig {
        persistence: Some(FILE.into()),
        ..GatewayConfig::default()
    };
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, "0");
    Gateway::open(&config, Arc::new(disk.clone()), &registry, metrics, at(ms))
}

fn push(gateway: &mut Gateway, path: &str, text: &str, ms: i64) -> Result<(), PushError> {
    push_with(
        gateway,
        path,
        text,
        PushOptions::read(false, None, None).unwrap(),
        ms,
    )
}

fn push_with(
    gateway: &mut Gateway,
    path: &str,
    text: &str,
    options: PushOptions,
    ms: i64,
) -> Result<(), PushError> {
    let key = parse_path(&format!("/metrics/job/{path}"), Names::Classic).unwrap();
    let body = Body {
        bytes: text.as_bytes(),
        ..Body::default()
    };
    let pushed = body.read(Names::Classic, 1 << 20);
    gateway.push(
        &key,
        pushed.as_ref().map_err(PushError::clone),
        options,
        at(ms),
    )
}

/// What was pushed, without what the gateway says of itself.
fn shown(gateway: &Gateway) -> String {
    let text = gateway.expose(Format::Text);
    let lines = text.lines().filter(|line| !line.contains("pushgateway_"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Something else each time: values, series, families, groups, failures, ends.
fn change(gateway: &mut Gateway, step: i64) {
    let (group, value) = (step % 5, step * 3);
    let path = format!("j{group}");
    let outcome = match step % 11 {
        0 => push(
            gateway,
            &path,
            &format!("# HELP m words\n# TYPE m counter\nm {value}\nn{{x=\"ü\"}} 1\n"),
            step,
        ),
        1 => push(
            gateway,
            &path,
            &format!("n{{step=\"{step}\"}} {value}\n"),
            step,
        ),
        2 => push(gateway, &path, "m 1 1\n", step),
        3 => push(
            gateway,
            &path,
            &format!("# TYPE h histogram\nh_bucket{{le=\"1\"}} {value}\nh_count {value}\n"),
            step,
        ),
        4 if step % 2 == 0 => {
            let key = parse_path(&format!("/metrics/job/{path}"), Names::Classic).unwrap();
            gateway.delete(&key, at(step));
            Ok(())
        }
        5 => {
            let options = PushOptions::read(true, None, Some("1h")).unwrap();
            push_with(
                gateway,
                &path,
                &format!("# TYPE m counter\nm {value}\n"),
                options,
                step,
            )
        }
        _ => push(
            gateway,
            &path,
            &format!("# TYPE m counter\nm {value}\n"),
            step,
        ),
    };
    let is_meant = step % 11 == 2;
    assert_eq!(outcome.is_err(), is_meant, "step {step}: {outcome:?}");
}

#[test]
fn the_death_of_the_process_costs_nothing() {
    let disk = Simulated::new();
    for life in 0..6 {
        let mut gateway = open(&disk, life * 1_000).unwrap();
        let mut last = shown(&gateway);
        for step in 0..40 {
            change(&mut gateway, life * 40 + step);
            last = shown(&gateway);
        }
        if life % 2 == 0 {
            gateway.close(at(life * 1_000 + 40));
        }
        drop(gateway);
        assert_eq!(shown(&open(&disk, life * 1_000 + 50).unwrap()), last);
    }
}

fn sync(gateway: &mut Gateway, ms: i64) -> bool {
    let upkeep = gateway.upkeep(at(ms));
    let Some(file) = upkeep.sync else {
        return gateway.unhealthy().is_none();
    };
    let outcome = file.sync_data();
    let is_synced = outcome.is_ok();
    gateway.synced(outcome);
    is_synced
}

#[test]
fn a_power_cut_costs_what_was_not_synced_and_no_more() {
    for seed in 0..200 {
        let disk = Simulated::new();
        let mut gateway = open(&disk, 0).unwrap();
        let mut states = vec![shown(&gateway)];
        let mut synced = 0;
        disk.cut_power_in(5 + seed * 3 % 101);
        for step in 0..60 {
            change(&mut gateway, i64::try_from(seed % 7).unwrap() * 100 + step);
            states.push(shown(&gateway));
            if step % 9 == 8 && sync(&mut gateway, step) {
                synced = states.len() - 1;
            }
        }
        drop(gateway);
        disk.crash(seed);
        let restored = shown(&open(&disk, 100).unwrap());
        let found = states.iter().rposition(|state| *state == restored);
        assert!(
            found >= Some(synced),
            "seed {seed}: {found:?} of {synced}\n{restored}"
        );
    }
}

#[test]
fn a_disk_that_fails_is_said_and_written_anew_once_it_works() {
    let disk = Simulated::new();
    let mut gateway = open(&disk, 0).unwrap();
    change(&mut gateway, 0);
    disk.fail(Operation::Write, 0..1, Fault::Error(ErrorKind::StorageFull));
    push(&mut gateway, "j0", "# TYPE m counter\nm 2\n", 1).unwrap();
    assert!(gateway.unhealthy().is_some());
    change(&mut gateway, 6);
    gateway.upkeep(at(7));
    assert_eq!(gateway.unhealthy(), None);
    disk.crash(1);
    assert_eq!(shown(&open(&disk, 9).unwrap()), shown(&gateway));
}

#[test]
fn files_that_are_not_ours_are_not_touched() {
    let disk = Simulated::new();
    for (bytes, part) in [
        (&b"\x0c\xff\x81\x02\x01\x02gob"[..], "cannot be read"),
        (b"PRMPUSH\n", "no file of this agent"),
        (b"PRMPUSH\n\x02\0\0\0", "is of version 2"),
    ] {
        let file = disk.open(Path::new(FILE), Open::create()).unwrap();
        file.set_len(0).unwrap();
        file.append(bytes).unwrap();
        let error = open(&disk, 0).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(disk.contents(Path::new(FILE)).unwrap(), bytes);
    }
}

#[test]
fn history_does_not_pile_up() {
    let disk = Simulated::new();
    let mut gateway = open(&disk, 0).unwrap();
    let many: String = (0..200).map(|i| format!("m{{i=\"{i}\"}} {i}\n")).collect();
    for step in 0..2_000 {
        push(&mut gateway, "a", &many, step).unwrap();
        gateway.upkeep(at(step));
    }
    let length = disk.len(Path::new(FILE)).unwrap();
    assert!(length < 3 << 20, "{length}");
}

#[test]
fn groups_end_by_themselves_and_the_time_away_counts() {
    let disk = Simulated::new();
    let mut gateway = open(&disk, 0).unwrap();
    let options = PushOptions::read(false, None, Some("10s")).unwrap();
    push_with(&mut gateway, "a", "m 1\n", options, 0).unwrap();
    push(&mut gateway, "b", "m 1\n", 0).unwrap();
    let upkeep = gateway.upkeep(at(1));
    assert_eq!(upkeep.again, Some(at(10_000).monotonic));
    drop(gateway);
    let mut gateway = open(&disk, 4_000).unwrap();
    assert_eq!(gateway.upkeep(at(9_999)).again, Some(at(10_000).monotonic));
    assert_eq!(gateway.stats().groups, 2);
    assert_eq!(gateway.upkeep(at(10_000)).again, None);
    assert_eq!((gateway.stats().groups, gateway.stats().expired), (1, 1));
}

#[test]
fn options_are_read_or_refused() {
    let options = |mode, ttl| PushOptions { mode, ttl };
    for (replaces, mode, ttl, expected) in [
        (true, None, None, options(Mode::Replace, Ttl::Default)),
        (false, None, Some("0"), options(Mode::Merge, Ttl::Endless)),
        (
            false,
            Some("sum"),
            Some("90s"),
            options(Mode::Sum, Ttl::After(Duration::from_secs(90))),
        ),
    ] {
        assert_eq!(PushOptions::read(replaces, mode, ttl), Ok(expected));
    }
    for (replaces, mode, ttl, part) in [
        (true, Some("sum"), None, "use POST"),
        (false, Some("max"), None, "mode \"max\" is not known"),
        (true, None, Some("soon"), "ttl \"soon\""),
    ] {
        let error = PushOptions::read(replaces, mode, ttl)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn groups_are_shown_as_a_pushgateway_shows_them() {
    let disk = Simulated::new();
    let mut gateway = open(&disk, 0).unwrap();
    let text = "# HELP h words\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_count 5\n# TYPE s summary\ns{quantile=\"0.5\"} 1e9\n";
    push(&mut gateway, "a/x@base64/=", text, 250).unwrap();
    let labels = "instance=\"\",job=\"a\",x=\"\"";
    assert_eq!(
        shown(&gateway),
        format!(
            "# HELP h words\n# TYPE h histogram\nh_bucket{{{labels},le=\"1\"}} 1\nh_bucket{{{labels},le=\"+Inf\"}} 5\nh_sum{{{labels}}} 0\nh_count{{{labels}}} 5\n\
             # HELP push_failure_time_seconds Last Unix time when changing this group in the Pushgateway failed.\n# TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{{{labels}}} 0\n\
             # HELP push_time_seconds Last Unix time when changing this group in the Pushgateway succeeded.\n# TYPE push_time_seconds gauge\npush_time_seconds{{{labels}}} 1.70000000025e+09\n\
             # TYPE s summary\ns{{{labels},quantile=\"0.5\"}} 1e+09\ns_sum{{{labels}}} 0\ns_count{{{labels}}} 0\n"
        )
    );
    let json: serde_json::Value = serde_json::from_str(&gateway.metrics_json()).unwrap();
    let group = &json["data"][0];
    assert_eq!(group["labels"], serde_json::json!({"job": "a", "x": ""}));
    assert_eq!(group["last_push_successful"], true);
    assert_eq!(
        group["push_time_seconds"]["metrics"][0]["value"],
        "1.70000000025e+09"
    );
    assert_eq!(
        group["h"],
        serde_json::json!({
            "time_stamp": "2023-11-14T22:13:20.250Z",
            "type": "HISTOGRAM",
            "help": "words",
            "metrics": [{
                "labels": {"instance": "", "job": "a", "x": ""},
                "buckets": {"1": "1", "+Inf": "5"},
                "sum": "0",
                "count": "5",
            }],
        })
    );
    assert_eq!(
        group["s"]["metrics"][0]["quantiles"],
        serde_json::json!({"0.5": "1e+09"})
    );
    let page = gateway.page(at(5_250));
    assert!(page.contains("{job=&quot;a&quot;,x=&quot;&quot;}</code></td><td>2</td><td>7</td><td>5 s ago</td><td>never"), "{page}");
}
