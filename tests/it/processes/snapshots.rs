//! A snapshot made over HTTP is a whole data folder: what is started on it goes on as the aggregator that made it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::processes::{Agent, Aggregator, get, post, post_body, tool};

use super::{await_new_rows, lean};

#[test]
fn an_aggregator_goes_on_from_its_snapshot_and_agents_need_not_join_again() {
    let mut aggregator = Aggregator::new(&["--web.enable-admin-api"]);
    let mut agent = Agent::join(&aggregator, "member", &lean(&[]));
    await_new_rows(&aggregator, &agent);
    let member = aggregator.agent("member").expect("it is connected");
    let last_row = member["lastRow"].as_f64().expect("a time");
    let rows = format!("sum(count_over_time(up{{instance=\"member\"}}[10m] @ {last_row}))");
    let rows_before = aggregator.query(&rows);
    assert!(rows_before.first().is_some_and(|rows| *rows >= 2.0));
    aggregator.token(&["--cluster", "kept"]);
    silence(&aggregator, "kept");
    let tokens_before = tokens(&aggregator);

    let answer = post(aggregator.web(), "/api/v1/admin/tsdb/snapshot").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let name = answer.json()["data"]["name"].as_str().map(str::to_owned);
    let made = aggregator
        .data()
        .join("snapshots")
        .join(name.expect("a name"));
    check_modes(&made);
    silence(&aggregator, "later");
    assert_eq!(comments(&aggregator), ["kept", "later"]);

    aggregator.stop();
    let before = aggregator.folder().join("before");
    fs::rename(aggregator.data(), &before).expect("it is moved away");
    let made = before.join(made.strip_prefix(aggregator.data()).expect("within"));
    fs::rename(made, aggregator.data()).expect("the snapshot takes its place");
    aggregator.start();
    aggregator.await_ready();

    aggregator.await_fresh("member");
    await_new_rows(&aggregator, &agent);
    assert!(agent.metric("promontory_agent_sessions_total") >= 2.0);
    assert_eq!(aggregator.query(&rows), rows_before);
    assert_eq!(comments(&aggregator), ["kept"]);
    assert_eq!(tokens(&aggregator), tokens_before);
}

/// Silences something, with a comment.
fn silence(aggregator: &Aggregator, comment: &str) {
    let body = json!({
        "matchers": [{"name": "a", "value": comment, "isRegex": false}],
        "startsAt": "2020-01-01T00:00:00Z",
        "endsAt": "2100-01-01T00:00:00Z",
        "createdBy": "a test",
        "comment": comment,
    });
    let body = body.to_string();
    let json = "content-type: application/json\r\n";
    let answer = post_body(aggregator.web(), "/api/v2/silences", json, body.as_bytes());
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Returns the comments of all silences.
fn comments(aggregator: &Aggregator) -> Vec<String> {
    let answer = get(aggregator.web(), "/api/v2/silences").expect("an answer");
    let all = answer.json();
    let comment = |silence: &Value| silence["comment"].as_str().map(str::to_owned);
    let mut comments: Vec<_> = all
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(comment)
        .collect();
    comments.sort();
    comments
}

/// Returns the ids of all join tokens.
fn tokens(aggregator: &Aggregator) -> Vec<String> {
    let data = aggregator.data().display().to_string();
    let listed = tool(&["token", "list", "-o", "json", "--storage.path", &data]).success();
    let listed: Value = serde_json::from_str(&listed).expect("json");
    let id = |token: &Value| token["id"].as_str().map(str::to_owned);
    let ids = listed.as_array().into_iter().flatten().filter_map(id);
    let ids: Vec<_> = ids.collect();
    assert_eq!(ids.len(), 2, "{listed}");
    ids
}

/// What only its owner may read is so in the copy, too.
fn check_modes(snapshot: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let private = [
        "authority/authority.pem",
        "service.redb",
        "alerting.redb",
        "rules.redb",
    ];
    for path in private.map(PathBuf::from) {
        let found = fs::metadata(snapshot.join(&path));
        let mode = found.map(|found| found.permissions().mode() & 0o777);
        assert_eq!(mode.ok(), Some(0o600), "{}", path.display());
    }
}
