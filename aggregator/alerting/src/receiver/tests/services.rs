//! Slack, Teams and PagerDuty as they are on bad days.

use std::time::Duration;

use super::world::{Act, Service, body, deliver, notification};
use crate::notification::{FailureKind, Notification, Outcome};

fn ok() -> Act {
    Act::status("200 OK", "Content-Type: text/plain\r\n", "ok")
}

/// Returns a kind of integration that posts to `url`.
fn integrations(url: &str) -> [(&'static str, String); 3] {
    [
        ("slack", format!("api_url: {url}")),
        ("msteamsv2", format!("webhook_url: {url}")),
        ("pagerduty", format!("routing_key: s3cret\nurl: {url}")),
    ]
}

async fn outcome(act: Act, of: impl Fn(&str) -> Notification) -> Outcome {
    let service = Service::playing(vec![act]).await;
    deliver(&of(&service.url("/s3cret-path"))).await
}

fn slack(url: &str) -> Notification {
    notification("slack", &format!("api_url: {url}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_arrive_as_they_are_made() {
    let service = Service::playing(vec![ok(), ok(), ok()]).await;
    for (kind, settings) in integrations(&service.url("/hook?a=b")) {
        let notification = notification(kind, &settings);
        let outcome = deliver(&notification).await;
        assert!(
            matches!(outcome, Outcome::Delivered { .. }),
            "{kind}: {outcome:?}"
        );
        let heard = service.heard().pop().unwrap();
        let (head, content) = heard.split_once("\r\n\r\n").unwrap();
        assert_eq!(content, body(&notification), "{kind}");
        assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(
            head.contains(&format!("host: {}", service.address)),
            "{head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_wait_waits() {
    for kind in [0, 1, 2] {
        let act = Act::status("429 Too Many Requests", "Retry-After: 17\r\n", "slow down");
        let outcome = outcome(act, |url| {
            let (kind, settings) = &integrations(url)[kind];
            notification(kind, settings)
        })
        .await;
        let Outcome::Retry { after, failure } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(after, Some(Duration::from_secs(17)));
        assert_eq!(failure.kind, FailureKind::RateLimited);
        assert_eq!(failure.reason, "answered with status 429: slow down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_services_are_tried_again_and_refusals_are_not() {
    let cases = [
        (
            Act::status("500 Oops", "", "s3cret"),
            Some(FailureKind::Server),
        ),
        (Act::HangUp, Some(FailureKind::BrokenOff)),
        (
            Act::Say("nonsense\r\n\r\n".to_owned()),
            Some(FailureKind::BrokenOff),
        ),
        (
            Act::status("400 Bad", "", r#"{"message":"bad s3cret-path"}"#),
            None,
        ),
        (Act::status("200 OK", "", "no_service"), None),
    ];
    for (act, again) in cases {
        let outcome = outcome(act, slack).await;
        let failure = match (&outcome, again) {
            (Outcome::Retry { failure, .. }, Some(kind)) => {
                assert_eq!(failure.kind, kind);
                failure
            }
            (Outcome::GiveUp(failure), None) => failure,
            _ => panic!("{outcome:?}"),
        };
        assert!(!failure.reason.contains("http://"), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_is_left() {
    let service = Service::playing(vec![Act::Hang]).await;
    let mut notification = slack(&service.url("/"));
    let integration = super::world::integration(
        "slack",
        &format!("api_url: {}\ntimeout: 50ms", service.url("/")),
    );
    notification.integration = std::sync::Arc::new(integration);
    let outcome = deliver(&notification).await;
    let Outcome::Retry { failure, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.reason, "no answer from 127.0.0.1 within 50 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_give_secrets_are_not_called() {
    let outcome = deliver(&slack("http://169.254.169.254/latest/meta-data")).await;
    let Outcome::GiveUp(failure) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(failure.kind, FailureKind::Message);
    // Nor when somebody else leads there.
    let act = Act::status("307 Look", "Location: http://169.254.169.254/\r\n", "");
    let service = Service::playing(vec![act]).await;
    let outcome = deliver(&slack(&service.url("/"))).await;
    assert!(matches!(outcome, Outcome::GiveUp(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_without_what_is_for_others() {
    let other = Service::playing(vec![ok()]).await;
    let location = format!("Location: {}\r\n", other.url("/there"));
    let first = Service::playing(vec![Act::status("308 Moved", &location, "")]).await;
    let settings = format!(
        "api_url: {}\nhttp_config: {{basic_auth: {{username: u, password: p}}, http_headers: {{X-One: {{values: [a]}}}}}}",
        first.url("/here")
    );
    let notification = notification("slack", &settings);
    let outcome = deliver(&notification).await;
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    let (first, other) = (first.heard().remove(0), other.heard().remove(0));
    assert!(
        first.contains("authorization: Basic dTpw") && first.contains("x-one: a"),
        "{first}"
    );
    assert!(!other.contains("authorization"), "{other}");
    assert!(other.starts_with("POST /there HTTP/1.1") && other.ends_with(&body(&notification)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_first_and_secrets_from_files() {
    let token = Act::status(
        "200 OK",
        "",
        r#"{"access_token":"fresh","token_type":"bearer"}"#,
    );
    let service = Service::playing(vec![token, ok()]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, format!(" {}\n", service.url("/hook"))).unwrap();
    let settings = format!(
        "api_url_file: {}\nhttp_config: {{oauth2: {{client_id: c, client_secret: s, token_url: '{}', scopes: [a, b]}}}}",
        file.display(),
        service.url("/token")
    );
    let outcome = deliver(&notification("slack", &settings)).await;
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    let heard = service.heard();
    assert!(
        heard[0].ends_with("grant_type=client_credentials&scope=a+b"),
        "{}",
        heard[0]
    );
    assert!(
        heard[0].contains("authorization: Basic Yzpz"),
        "{}",
        heard[0]
    );
    assert!(
        heard[1].contains("authorization: Bearer fresh"),
        "{}",
        heard[1]
    );
    std::fs::remove_file(&file).unwrap();
    let outcome = deliver(&notification("slack", &settings)).await;
    let Outcome::GiveUp(failure) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(failure.reason.starts_with("cannot read "), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_gone_through() {
    let proxy = Service::playing(vec![ok()]).await;
    let settings = format!(
        "api_url: http://hooks.example/x\nhttp_config: {{proxy_url: '{}'}}",
        proxy.url("").replace("http://", "http://me:pw@")
    );
    let outcome = deliver(&notification("slack", &settings)).await;
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    let heard = proxy.heard().remove(0);
    assert!(
        heard.starts_with("POST http://hooks.example/x HTTP/1.1\r\n"),
        "{heard}"
    );
    assert!(
        heard.contains("proxy-authorization: Basic bWU6cHc="),
        "{heard}"
    );
    assert!(heard.contains("host: hooks.example\r\n"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_fail_are_told_of_and_not_tried_again() {
    let one = notification("slack", "api_url: http://h\ntitle: '{{ .None.Field }}'");
    let outcome = deliver(&one).await;
    let Outcome::GiveUp(failure) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(failure.kind, FailureKind::Message);
    assert!(failure.reason.contains("title:1:"), "{failure}");
}
