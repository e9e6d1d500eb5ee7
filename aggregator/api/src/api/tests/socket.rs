//! The local socket's requests.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clock::SimulatedClock;
use files::{KeyValue, Simulated};
use http_shell::{Caller, Handler};
use ingest::Tokens;
use runtime::Tasks;
use transport::Fingerprint;

use super::world::request;
use crate::LocalApi;

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_by_the_owner() {
    let clock = Arc::new(SimulatedClock::starting_at(
        SystemTime::UNIX_EPOCH + Duration::from_secs(100),
    ));
    let database = KeyValue::open(Arc::new(Simulated::new()), Path::new("service.redb")).unwrap();
    let tokens = Arc::new(Tokens::new(database, Fingerprint([7; 32])));
    let api = LocalApi::new(tokens, clock, Tasks::new("test socket"));
    let call = async |call: &str| {
        let mut request = request(call);
        request.caller = Caller::Local { uid: 0 };
        let answer = api.handle(request).await;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status.as_u16(), json)
    };
    let (status, made) = call("POST /tokens cluster=prod&expires=1h&uses=2").await;
    assert_eq!(status, 200, "{made}");
    let id = made["data"]["id"].as_str().unwrap();
    assert!(made["data"]["token"].as_str().unwrap().contains(id) || !id.is_empty());
    let (_, listed) = call("GET /tokens").await;
    let token = &listed["data"][0];
    assert_eq!(
        (&token["id"], &token["cluster"], &token["usesMax"]),
        (&id.into(), &"prod".into(), &2.into())
    );
    assert_eq!(
        (&token["created"], &token["expires"], &token["usable"]),
        (&100.into(), &3_700.into(), &true.into())
    );
    assert!(token.get("token").is_none() && token.get("tenant").is_none());
    assert_eq!(call(&format!("POST /tokens/revoke id={id}")).await.0, 200);
    assert_eq!(call("GET /tokens").await.1["data"][0]["usable"], false);
    for (bad, status) in [
        ("POST /tokens/revoke id=none", 400),
        ("POST /tokens expires=soon", 400),
        ("POST /tokens expires=-1h", 400),
        ("POST /tokens uses=5000000000", 400),
        ("POST /tokens cluster=two%20words", 400),
        ("DELETE /tokens", 404),
    ] {
        assert_eq!(call(bad).await.0, status, "{bad}");
    }
    let remote = api.handle(request("GET /tokens")).await;
    assert_eq!(remote.status.as_u16(), 403);
}

#[tokio::test]
async fn tokens_of_a_pair_are_others_than_those_of_agents() {
    let clock = Arc::new(SimulatedClock::starting_at(
        SystemTime::UNIX_EPOCH + Duration::from_secs(100),
    ));
    let tokens = |name: &str| {
        let database = KeyValue::open(Arc::new(Simulated::new()), Path::new(name)).unwrap();
        Arc::new(Tokens::new(database, Fingerprint([7; 32])))
    };
    let alone = LocalApi::new(tokens("a.redb"), clock, Tasks::new("test socket"));
    let paired = alone.clone().with_peers(Some(tokens("b.redb")));
    let call = async |api: &LocalApi, call: &str| {
        let mut request = request(call);
        request.caller = Caller::Local { uid: 0 };
        let answer = api.handle(request).await;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status.as_u16(), json)
    };
    let (status, refused) = call(&alone, "POST /tokens peer=true").await;
    let message = refused["error"].as_str().unwrap();
    assert_eq!(status, 400);
    assert!(message.contains("--cluster.listen-address"), "{message}");
    let (status, made) = call(&paired, "POST /tokens peer=true").await;
    assert_eq!(status, 200, "{made}");
    let count = async |path: &str| {
        call(&paired, path).await.1["data"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("GET /tokens").await, 0);
    assert_eq!(count("GET /tokens?peer=true").await, 1);
}
