//! Who trusts whom, and certificates that change.

use std::sync::Arc;
use std::time::Duration;

use files::Disk;

use super::world::*;
use crate::dialer::Dialer;
use crate::frames::FrameLimit;
use crate::{ConnectError, IdentityStore, PendingKey, RefusalReason, Transports};

async fn refusal(identity: &IdentityStore, target: &str, transports: Transports) -> RefusalReason {
    let connector = connector(identity, transports);
    match within(connector.connect(target)).await {
        Err(ConnectError::Refused { reason, .. }) => reason,
        other => panic!("{transports:?}: {other:?}"),
    }
}

#[tokio::test]
async fn an_agent_refuses_a_server_of_another_authority() {
    let (here, elsewhere) = (World::new(), World::new());
    let listener = here.listen().await;
    let target = listener.address().to_string();
    let stranger = elsewhere.agent("n1");
    for transports in EACH {
        let reason = refusal(&stranger, &target, transports).await;
        assert_eq!(reason, RefusalReason::WrongAuthority);
    }
    until("both are counted here too", || {
        listener.stats().refused_for(RefusalReason::WrongAuthority) == 2
    })
    .await;
}

#[tokio::test]
async fn the_server_refuses_an_agent_of_another_authority() {
    let (here, elsewhere) = (World::new(), World::new());
    let listener = here.listen().await;
    let target = listener.address().to_string();
    let key = PendingKey::generate().unwrap();
    let mut chain = elsewhere
        .authority
        .issue_agent(key.request(), &peer("n1"))
        .unwrap();
    // Trusts the right root, but was certified by another.
    chain[1] = here.authority.root().clone();
    let home = here.home("impostor");
    let impostor = IdentityStore::create(Arc::new(Disk), &home, here.clock(), &key, chain);
    let impostor = impostor.unwrap();
    for transports in EACH {
        let reason = refusal(&impostor, &target, transports).await;
        assert_eq!(reason, RefusalReason::WrongAuthority, "{transports:?}");
    }
    until("both are counted", || {
        listener.stats().refused_for(RefusalReason::WrongAuthority) == 2
    })
    .await;
    let (agent, accepted) = pair(&listener, &here.agent("n1"), Transports::QuicOnly).await;
    check_alive(&agent, &accepted.connection).await;
}

#[tokio::test]
async fn a_session_needs_a_certificate_and_the_protocol() {
    let world = World::new();
    let listener = world.listen().await;
    let target = listener.address().to_string();
    let cases = [
        (wire::ALPN_SESSION, RefusalReason::NoCertificate),
        (&b"promontory/99"[..], RefusalReason::Protocol),
    ];
    for (alpn, expected) in cases {
        for transports in EACH {
            let pinned = crate::session_tls::PinnedRoot::new(world.authority.fingerprint());
            let mut tls = crate::session_tls::join_config(Arc::new(pinned), world.clock()).unwrap();
            tls.alpn_protocols = vec![alpn.to_vec()];
            let dialer = Dialer::new(&over(transports), tls, FrameLimit::Session).unwrap();
            let error = within(dialer.dial(&target, transports)).await.unwrap_err();
            assert_eq!(error.as_str(), expected.as_str(), "{transports:?}: {error}");
        }
        until("both are counted", || {
            listener.stats().refused_for(expected) == 2
        })
        .await;
    }
}

#[tokio::test]
async fn certificates_change_without_a_restart() {
    let world = World::new();
    let mut config = world.config();
    config.expired_grace = Duration::ZERO;
    let listener = world.listen_with(config).await;
    let target = listener.address().to_string();
    let (renewing, idle) = (world.agent("renewing"), world.agent("idle"));
    let mut open = Vec::new();
    for transports in EACH {
        open.push(pair(&listener, &renewing, transports).await);
    }
    world.clock.advance(Duration::from_secs(23 * 3_600));
    listener.renew_certificate().unwrap();
    let key = PendingKey::generate().unwrap();
    let chain = world
        .authority
        .issue_agent(key.request(), renewing.peer())
        .unwrap();
    renewing.renew(&key, chain).unwrap();
    world.clock.advance(Duration::from_secs(2 * 3_600));

    for (agent, accepted) in &open {
        check_alive(agent, &accepted.connection).await;
    }
    for transports in EACH {
        let (agent, accepted) = pair(&listener, &renewing, transports).await;
        check_alive(&agent, &accepted.connection).await;
        let reason = refusal(&idle, &target, transports).await;
        assert_eq!(reason, RefusalReason::CertificateExpired);
    }
}

#[tokio::test]
async fn an_authority_can_be_replaced_while_connections_are_open() {
    let world = World::new();
    let listener = world.listen().await;
    let target = listener.address().to_string();
    let old = world.agent("old");
    let mut open = Vec::new();
    for transports in EACH {
        open.push(pair(&listener, &old, transports).await);
    }
    let next = authority(&world.home("next-ca"), &world.clock);
    listener.set_authority(Arc::clone(&next)).unwrap();
    let key = PendingKey::generate().unwrap();
    let chain = next.issue_agent(key.request(), &peer("new")).unwrap();
    let home = world.home("new");
    let new = IdentityStore::create(Arc::new(Disk), &home, world.clock(), &key, chain).unwrap();
    for ((agent, accepted), transports) in open.iter().zip(EACH) {
        check_alive(agent, &accepted.connection).await;
        let reason = refusal(&old, &target, transports).await;
        assert_eq!(reason, RefusalReason::WrongAuthority);
        let (agent, accepted) = pair(&listener, &new, transports).await;
        check_alive(&agent, &accepted.connection).await;
    }
}

#[tokio::test]
async fn an_agent_may_come_back_late_to_renew_but_not_too_late() {
    let world = World::new();
    let listener = world.listen().await;
    let target = listener.address().to_string();
    let late = world.agent("late");
    for (days, welcome) in [(20, true), (12, false)] {
        world.clock.advance(Duration::from_secs(days * 24 * 3_600));
        listener.renew_certificate().unwrap();
        for transports in EACH {
            if welcome {
                let (agent, accepted) = pair(&listener, &late, transports).await;
                check_alive(&agent, &accepted.connection).await;
                assert_eq!(late.renewal_in(), Duration::ZERO);
            } else {
                let reason = refusal(&late, &target, transports).await;
                assert_eq!(reason, RefusalReason::CertificateExpired);
            }
        }
    }
}
