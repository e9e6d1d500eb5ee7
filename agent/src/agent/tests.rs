use std::path::Path;

use clock::SystemClock;
use files::Disk;
use tempfile::TempDir;
use transport::{Authority, JoinToken};

use super::*;
use crate::TokenSource;

fn surroundings() -> Surroundings {
    Surroundings {
        files: Arc::new(Disk),
        clock: Arc::new(SystemClock::new()),
        registry: Registry::new(),
        tasks: Tasks::new("test"),
    }
}

/// A port of this machine where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn config(folder: &TempDir, token: TokenSource) -> AgentConfig {
    AgentConfig {
        token,
        ..AgentConfig::new(nobody(), folder.path().join("spool"))
    }
}

fn token(folder: &Path) -> JoinToken {
    let clock = Arc::new(SystemClock::new());
    let authority = Authority::open_or_create(&Disk, &folder.join("authority"), clock).unwrap();
    JoinToken::generate(authority.fingerprint()).unwrap()
}

async fn run(config: AgentConfig) -> AgentError {
    let agent = Agent::start(config, surroundings()).await.unwrap();
    Box::pin(agent.run(Token::new())).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_identity_and_token_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let none = run(config(&folder, TokenSource::None)).await;
    assert!(none.is_refusal() && none.to_string().contains("promontory token create"));
    let path = folder.path().join("token");
    let missing = run(config(&folder, TokenSource::File(path.clone()))).await;
    assert!(matches!(missing, AgentError::TokenFile { .. }) && missing.is_refusal());
    std::fs::write(&path, "promontory_v1_oops").unwrap();
    let wrong = run(config(&folder, TokenSource::File(path))).await;
    assert!(matches!(wrong, AgentError::TokenText { .. }) && wrong.is_refusal());
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_goes_on_while_nobody_answers_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let given = TokenSource::Given(token(folder.path()));
    let config = AgentConfig {
        transports: transport::Transports::TcpOnly,
        ..config(&folder, given)
    };
    let surroundings = surroundings();
    let tasks = surroundings.tasks.clone();
    let agent = Agent::start(config, surroundings).await.unwrap();
    let (view, stop) = (agent.view(), Token::new());
    let running = tasks.spawn("agent", agent.run(stop.child()));
    let says_why = || {
        let unmet = view.unmet();
        unmet
            .iter()
            .any(|unmet| unmet.reason.starts_with("cannot join yet: cannot reach"))
    };
    while !says_why() {
        tokio::task::yield_now().await;
    }
    assert!(view.uplink().is_none());
    stop.stop();
    assert!(running.await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_has_one_owner_and_bad_settings_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let first = Agent::start(config(&folder, TokenSource::None), surroundings()).await;
    let second = Agent::start(config(&folder, TokenSource::None), surroundings()).await;
    let error = second.unwrap_err();
    assert!(matches!(error, AgentError::Spool(_)) && !error.is_refusal() && !error.is_mistake());
    drop(first);
    let mut bad = config(&folder, TokenSource::None);
    bad.host.vmstat_fields = "(".to_owned();
    let error = Agent::start(bad, surroundings()).await.unwrap_err();
    assert!(error.is_mistake());
}
