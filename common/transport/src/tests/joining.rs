//! From a token to a session.

use std::sync::Arc;
use std::time::Duration;

use files::Disk;
use wire::JoinRefusal;

use super::world::*;
use crate::{
    Credential, IdentityStore, JoinError, JoinToken, Listener, RefusalReason, Transports, join,
};

async fn try_join(
    world: &World,
    listener: &Listener,
    token: &JoinToken,
    transports: Transports,
) -> Result<IdentityStore, JoinError> {
    let target = listener.address().to_string();
    let home = world.home("joiner");
    let agent = "n1".parse().unwrap();
    let files = Arc::new(Disk);
    within(join(
        &over(transports),
        &target,
        token,
        &agent,
        files,
        &home,
        world.clock(),
    ))
    .await
}

#[tokio::test]
async fn a_token_becomes_an_identity_that_opens_sessions() {
    let world = World::new();
    let listener = world.listen().await;
    let token = JoinToken::generate(world.authority.fingerprint()).unwrap();
    for transports in EACH {
        let decide = async {
            let pending = listener.next_join().await.unwrap();
            let request = pending.request();
            let credential: Credential = request.token.parse().unwrap();
            assert_eq!(&credential, token.credential());
            assert_eq!(request.agent, "n1");
            let chain = world
                .authority
                .issue_agent(&request.request, &peer("n1"))
                .unwrap();
            pending.grant(chain);
        };
        let (joined, ()) = tokio::join!(try_join(&world, &listener, &token, transports), decide);
        let identity = joined.unwrap();
        assert_eq!(identity.peer(), &peer("n1"));
        drop(identity);
        let kept = IdentityStore::open(Arc::new(Disk), &world.home("joiner"), world.clock());
        let kept = kept.unwrap().expect("kept beside the spool");
        let (agent, accepted) = pair(&listener, &kept, transports).await;
        check_alive(&agent, &accepted.connection).await;
    }
    assert_eq!(listener.stats().joins, 2);
}

#[tokio::test]
async fn a_token_is_never_shown_to_a_server_of_another_authority() {
    let (world, elsewhere) = (World::new(), World::new());
    let listener = world.listen().await;
    let token = JoinToken::generate(elsewhere.authority.fingerprint()).unwrap();
    for transports in EACH {
        let error = try_join(&world, &listener, &token, transports)
            .await
            .unwrap_err();
        assert!(matches!(error, JoinError::WrongAuthority { .. }), "{error}");
    }
    until("both are counted", || {
        listener.stats().refused_for(RefusalReason::WrongAuthority) == 2
    })
    .await;
    assert_eq!(listener.stats().joins, 0);
    assert!(!world.home("joiner").exists());
}

#[tokio::test]
async fn a_refused_token_is_explained() {
    let world = World::new();
    let listener = world.listen().await;
    let token = JoinToken::generate(world.authority.fingerprint()).unwrap();
    for transports in EACH {
        let decide = async {
            let pending = listener.next_join().await.unwrap();
            pending.refuse(JoinRefusal::Expired, "it expired an hour ago");
        };
        let (joined, ()) = tokio::join!(try_join(&world, &listener, &token, transports), decide);
        let error = joined.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("(expired): it expired an hour ago"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_back() {
    let world = World::new();
    let mut config = world.config();
    config.joins_max = 1;
    config.join_timeout = Duration::from_secs(60);
    let listener = world.listen_with(config).await;
    let token = JoinToken::generate(world.authority.fingerprint()).unwrap();
    // Nobody takes the first one.
    let first = try_join(&world, &listener, &token, Transports::TcpOnly);
    let second = async {
        until("the first one waits", || listener.stats().joins == 1).await;
        try_join(&world, &listener, &token, Transports::TcpOnly).await
    };
    let error = tokio::select! {
        joined = first => panic!("{joined:?}"),
        error = second => error.unwrap_err(),
    };
    assert!(
        matches!(
            error,
            JoinError::Refused {
                reason: JoinRefusal::Busy,
                ..
            }
        ),
        "{error}"
    );
}
