//! Rules and alerts.

use std::path::Path;
use std::sync::Arc;

use http_shell::StatusCode;
use model::TimestampMs;
use promql::{Engine, EngineConfig};
use rules::{DirectQueries, FileOptions, MemoryRecorder, RuleFile, Settings};
use serde_json::json;
use storage::MemoryStore;

use super::world::{NOW, World, config};

const RULES: &str = "groups:
  - name: g1
    interval: 10s
    rules:
      - {record: r, expr: 'vector( 1 )', labels: {team: a}}
      - {alert: A, expr: vector(2.5), for: 5m, labels: {team: b}, annotations: {s: x, none: '{{ $labels.nobody }}'}}
  - name: g2
    rules:
      - {record: bad, expr: 'vector(1) * on() vector(scalar(x))'}
  - name: g3
    rules:
      - {alert: B, expr: vector(1)}
";

/// An API over rules that have been evaluated once.
fn world() -> World {
    let store = MemoryStore::new();
    let world = World::over(Arc::new(store.clone()), config());
    let file = RuleFile::parse(Path::new("/r.yml"), RULES, FileOptions::default()).unwrap();
    let now = TimestampMs(i64::try_from(NOW).unwrap() * 1_000);
    let before = TimestampMs(now.0 - 60_000);
    world
        .rules
        .load(vec![file], Settings::default(), before)
        .unwrap();
    let engine = Engine::new(EngineConfig::default());
    let queries = DirectQueries {
        engine: &engine,
        store: &store,
    };
    for due in world.rules.take_due(now) {
        world
            .rules
            .evaluate(due, &queries, &MemoryRecorder(store.clone()));
    }
    world
}

#[tokio::test]
async fn groups_are_shown_as_prometheus_shows_them() {
    let answer = world()
        .call("GET /api/v1/rules?rule_group[]=g1")
        .await
        .json();
    let groups = &answer["data"]["groups"];
    assert_eq!(groups.as_array().unwrap().len(), 1);
    let group = &groups[0];
    assert_eq!(
        (
            &group["name"],
            &group["file"],
            &group["interval"],
            &group["limit"]
        ),
        (&json!("g1"), &json!("/r.yml"), &json!(10), &json!(0))
    );
    let record = &group["rules"][0];
    assert_eq!(
        (&record["type"], &record["query"], &record["health"]),
        (&json!("recording"), &json!("vector(1)"), &json!("ok"))
    );
    assert_eq!(record["labels"], json!({"team": "a"}));
    let alert = &group["rules"][1];
    assert_eq!(
        (&alert["type"], &alert["state"], &alert["duration"]),
        (&json!("alerting"), &json!("pending"), &json!(300))
    );
    let active = &alert["alerts"][0];
    assert_eq!(active["labels"], json!({"alertname": "A", "team": "b"}));
    assert_eq!(active["annotations"], json!({"s": "x", "none": ""}));
    assert_eq!(
        (&active["value"], &active["state"]),
        (&json!("2.5e+00"), &json!("pending"))
    );
    assert!(
        active["activeAt"]
            .as_str()
            .unwrap()
            .starts_with("1970-01-01T00:09:")
    );
}

#[tokio::test]
async fn rules_are_chosen_by_every_parameter() {
    let world = world();
    for (query, expected) in [
        ("", vec!["r", "A", "bad", "B"]),
        ("type=alert", vec!["A", "B"]),
        ("type=record", vec!["r", "bad"]),
        ("rule_name[]=A&rule_name[]=r", vec!["r", "A"]),
        ("rule_group[]=g3", vec!["B"]),
        ("file[]=/other.yml", vec![]),
        ("file[]=/r.yml&rule_name[]=B", vec!["B"]),
        ("match[]={team=\"a\"}&match[]={team=\"b\"}", vec!["r", "A"]),
    ] {
        let answer = world
            .call(&format!("GET /api/v1/rules?{query}"))
            .await
            .json();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        let names: Vec<&str> = rules.map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{query}");
    }
    let without = world
        .call("GET /api/v1/rules?exclude_alerts=true&rule_name[]=A")
        .await
        .json();
    assert!(without["data"]["groups"][0]["rules"][0]["alerts"].is_null());
}

#[tokio::test]
async fn groups_come_in_pages() {
    let world = world();
    let (mut token, mut names) = (String::new(), Vec::new());
    loop {
        let next = if token.is_empty() {
            String::new()
        } else {
            format!("&group_next_token={token}")
        };
        let answer = world
            .call(&format!("GET /api/v1/rules?group_limit=2{next}"))
            .await
            .json();
        let groups = answer["data"]["groups"].as_array().unwrap();
        names.push(
            groups
                .iter()
                .map(|group| group["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
        );
        match answer["data"]["groupNextToken"].as_str() {
            Some(more) => more.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(names, [vec!["g1", "g2"], vec!["g3"]]);
    for (query, message) in [
        (
            "group_limit=x",
            "invalid parameter \"group_limit\": group_limit needs to be a valid number",
        ),
        (
            "group_limit=0",
            "invalid parameter \"group_limit\": group_limit needs to be greater than 0",
        ),
        (
            "group_next_token=x",
            "invalid parameter \"group_limit\": group_limit needs to be present",
        ),
        (
            "group_limit=1&group_next_token=x",
            "invalid parameter \"group_next_token\": invalid group_next_token 'x'",
        ),
        (
            "type=odd",
            "invalid parameter \"type\": not supported value \"odd\"",
        ),
        (
            "exclude_alerts=odd",
            "invalid parameter \"exclude_alerts\": error converting exclude_alerts",
        ),
        ("match[]={", "invalid parameter \"match[]\""),
    ] {
        let answer = world.call(&format!("GET /api/v1/rules?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(message), "{query}: {error}");
    }
}

#[tokio::test]
async fn alerts_of_all_groups_are_listed() {
    let answer = world().call("GET /api/v1/alerts").await.json();
    let alerts = answer["data"]["alerts"].as_array().unwrap();
    let states: Vec<_> = alerts
        .iter()
        .map(|alert| {
            (
                alert["labels"]["alertname"].as_str().unwrap(),
                alert["state"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(states, [("A", "pending"), ("B", "firing")]);
}

#[tokio::test]
async fn questions_of_rules_are_bounded_as_others_are() {
    let mut narrow = config();
    narrow.query_limits.samples_max = 1;
    let world = World::over(Arc::new(super::world::data()), narrow);
    let question = |text: &str| rules::Question {
        expr: Arc::new(promql::parse(text, promql::ParserOptions::default()).unwrap()),
        text: Arc::from(text),
        at: TimestampMs(600_000),
        kin: 0,
        took: None,
    };
    // Whatever is asked together, each has a budget that no other has drawn on.
    for texts in [
        &["up", "1"][..],
        &["1", "up", "2"],
        &["up{job=\"nothing\"}", "up", "up", "up + up", "3"],
        &[],
    ] {
        let questions = texts.iter().map(|text| question(text)).collect();
        let answers = world.api.answer_rules("rule", questions).await;
        assert_eq!(answers.len(), texts.len(), "{texts:?}");
        for (text, answer) in texts.iter().zip(answers) {
            match answer.result {
                Ok(elements) if text.contains("nothing") => assert_eq!(elements.len(), 0),
                Ok(elements) => assert_eq!((elements.len(), text.len()), (1, 1), "{text}"),
                Err(why) => {
                    assert!(text.starts_with("up"), "{text}");
                    assert!(why.contains("--query.max-samples"), "{why}");
                }
            }
        }
    }
}

#[tokio::test]
async fn alertmanagers_that_alerts_are_sent_to_are_listed() {
    let answer = world().call("GET /api/v1/alertmanagers").await.json();
    assert_eq!(
        answer["data"],
        serde_json::json!({
            "activeAlertmanagers": [{"url": "http://a/api/v2/alerts"}],
            "droppedAlertmanagers": [],
        })
    );
}
