//! Who may not join, or not be who they say, is told so, is counted, and harms nobody else.

use tests::processes::ledger::copy_folder;
use tests::processes::{Agent, Aggregator, PATIENCE, pause, wait_until};

use super::{await_counter, await_new_rows, lean};

/// The exit code of an agent that cannot join, or whose identity is unusable.
const REFUSED: i32 = 3;
/// The exit code for wrong settings.
const USAGE: i32 = 2;

#[test]
fn tokens_that_are_wrong_used_up_expired_or_revoked_are_refused() {
    let aggregator = Aggregator::new(&[]);
    let other = Aggregator::new(&[]);
    let once = aggregator.token(&["--uses", "1"]);
    let mut member = Agent::stopped(aggregator.ingest(), "member", &lean(&[]));
    member.start_with(&once);
    aggregator.await_fresh("member");

    let short = aggregator.token(&["--expires", "1s"]);
    wait_until(PATIENCE, "the token to expire", || is_spent(&aggregator));
    let revoked = aggregator.token(&[]);
    revoke_usable(&aggregator);
    let unknown = sibling(&aggregator).token(&[]);

    let counted =
        |reason: &str| format!("promontory_ingest_joins_refused_total{{reason=\"{reason}\"}}");
    let cases = [
        (once, "used", "used_up"),
        (short, "expired", "expired"),
        (revoked, "revoked", "revoked"),
        (unknown, "token", "unknown_token"),
    ];
    for (token, told, reason) in cases {
        let complaint = refused(&aggregator, &token);
        assert!(complaint.contains(told), "{reason}: {complaint}");
        await_counter(&aggregator, &counted(reason), 0.0);
    }
    let complaint = refused(&aggregator, &other.token(&[]));
    assert!(complaint.contains("authority"), "{complaint}");

    let mut mistyped = Agent::stopped(aggregator.ingest(), "stranger", &lean(&[]));
    mistyped.start_with(&with_other_end(&other.token(&[])));
    assert_eq!(mistyped.process().await_code(PATIENCE), USAGE);
    mistyped.process().await_line("mistyped");
    await_new_rows(&aggregator, &member);
}

/// Returns an aggregator of the same authority, whose tokens the other one does not know.
fn sibling(aggregator: &Aggregator) -> Aggregator {
    let mut sibling = Aggregator::stopped(&[]);
    let authority = |of: &Aggregator| of.data().join("authority");
    copy_folder(&authority(aggregator), &authority(&sibling));
    sibling.start();
    sibling.await_ready();
    sibling
}

/// Returns the complaint of an agent that tries to join with a token that is no good.
#[track_caller]
fn refused(aggregator: &Aggregator, token: &str) -> String {
    let mut agent = Agent::stopped(aggregator.ingest(), "stranger", &lean(&[]));
    agent.start_with(token);
    let code = agent.process().await_code(PATIENCE);
    let said = agent.process().output();
    assert_eq!(code, REFUSED, "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

fn tokens(aggregator: &Aggregator) -> Vec<serde_json::Value> {
    let data = aggregator.data().to_string_lossy();
    let listed = [
        "token",
        "list",
        "--output",
        "json",
        "--storage.path",
        &*data,
    ];
    let listed = tests::processes::tool(&listed).success();
    let tokens: serde_json::Value = serde_json::from_str(&listed).expect("json");
    tokens.as_array().cloned().unwrap_or_default()
}

/// Whether none of the tokens may be used any more.
fn is_spent(aggregator: &Aggregator) -> Option<()> {
    let tokens = tokens(aggregator);
    let usable = tokens.iter().any(|token| token["usable"] == true);
    (!usable && !tokens.is_empty()).then_some(())
}

fn revoke_usable(aggregator: &Aggregator) {
    let data = aggregator.data().to_string_lossy();
    for token in tokens(aggregator) {
        if token["usable"] == true {
            let id = token["id"].as_str().expect("an id");
            let revoke = ["token", "revoke", "--storage.path", &*data, id];
            tests::processes::tool(&revoke).success();
        }
    }
}

/// Changes the last character of a token.
fn with_other_end(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "a" { "b" } else { "a" })
}

#[test]
fn a_certificate_of_another_authority_opens_nothing() {
    let home = Aggregator::new(&[]);
    let abroad = Aggregator::new(&[]);
    let citizen = Agent::join(&abroad, "citizen", &lean(&[]));
    let mut stranger = Agent::join(&home, "stranger", &lean(&[]));
    stranger.stop();

    stranger.turn_to(abroad.ingest());
    stranger.start();
    stranger.process().await_line("authority");
    await_new_rows(&abroad, &citizen);
    assert!(abroad.agent("stranger").is_none());
    let refused = "promontory_ingest_handshakes_refused_total{reason=\"wrong_authority\"}";
    await_counter(&abroad, refused, 0.0);

    // A token of the new authority makes it a citizen, under the same name.
    stranger.kill();
    stranger.start_with(&abroad.token(&[]));
    abroad.await_fresh("stranger");
}

#[test]
fn an_id_in_use_stays_with_whom_it_belongs_to() {
    let aggregator = Aggregator::new(&[]);
    let mut first = Agent::join(&aggregator, "twin", &lean(&[]));
    let mut second = Agent::stopped(aggregator.ingest(), "twin", &lean(&[]));
    second.start_with(&aggregator.token(&[]));
    second.process().await_line("in use");
    let refused = "promontory_ingest_sessions_refused_total{reason=\"id_in_use\"}";
    await_counter(&aggregator, refused, 0.0);
    await_new_rows(&aggregator, &first);
    let sessions = first.metric("promontory_agent_sessions_total");
    assert_eq!(sessions, 1.0, "the first was not disturbed");

    // Its own restart is no stranger.
    first.kill();
    second.kill();
    pause(std::time::Duration::from_millis(100));
    first.start();
    await_new_rows(&aggregator, &first);
}
