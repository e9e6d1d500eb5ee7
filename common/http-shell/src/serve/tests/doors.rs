//! Who may come in: unix sockets, passwords, certificates.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use clock::SystemClock;
use config::Secret;
use files::Disk;
use hyper::StatusCode;
use transport::{Authority, ClientTlsConfig, IdentityStore, PeerIdentity, PendingKey};

use super::world::{PATIENCE, World};
use crate::{BindError, Client, Limits, Listen, Target};

fn tcp(web_config: &Path) -> Listen {
    Listen::Tcp {
        address: "127.0.0.1:0".to_owned(),
        web_config: Some(web_config.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listen = Listen::Unix { path: path.clone() };
    let world = World::listening(&listen, Limits::default()).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let client = Client::new(Target::Unix(path.clone()), PATIENCE);
    let reply = client.get("/echo").await.unwrap();
    let body = String::from_utf8(reply.body.to_vec()).unwrap();
    assert!(body.starts_with("GET  uid "), "{body}");

    // An old socket, left by a killed process, is replaced.
    let again = World::listening(&listen, Limits::default()).await.unwrap();
    assert_eq!(client.get("/echo").await.unwrap().status, StatusCode::OK);
    again.stop.stop();
    again.ended().await;
    assert!(!path.exists());
    let refused = client.get("/echo").await.unwrap_err().to_string();
    assert!(refused.starts_with("cannot connect to unix:"), "{refused}");
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_unix_socket_knows_its_callers_by_their_cgroup() {
    let folder = tempfile::tempdir().unwrap();
    let (path, procfs) = (folder.path().join("a.sock"), folder.path().join("proc"));
    let own = procfs.join(std::process::id().to_string());
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("cgroup"), "0::/kubepods/pod1").unwrap();
    let listen = Listen::OpenUnix {
        path: path.clone(),
        procfs,
    };
    let world = World::listening(&listen, Limits::default()).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o666);
    let client = Client::new(Target::Unix(path), PATIENCE);
    let ask = async || {
        let reply = client.get("/echo").await.unwrap();
        String::from_utf8(reply.body.to_vec()).unwrap()
    };
    let body = ask().await;
    assert!(body.ends_with(" in 0::/kubepods/pod1\n"), "{body}");
    // A process that cannot be seen from here is nobody in particular.
    std::fs::remove_dir_all(own).unwrap();
    let body = ask().await;
    assert!(body.ends_with(" in \n"), "{body}");
    drop(world);
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    let refused = World::listening(&Listen::Unix { path: path.clone() }, Limits::default()).await;
    assert!(matches!(refused.err(), Some(BindError::Socket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = Listen::Tcp {
        address,
        web_config: None,
    };
    let refused = World::listening(&listen, Limits::default())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.ends_with("choose another with --web.listen-address"),
        "{refused}"
    );

    let web = folder.path().join("web.yml");
    for (text, part) in [
        (
            "tls_server_config: {cert_file: none.pem, key_file: none.pem}",
            "cannot use the certificates that ",
        ),
        ("tls_servr_config: {}", "did you mean tls_server_config?"),
        (
            "http_server_config: {headers: {X-Frame-Options: \"a\\nb\"}}",
            "header X-Frame-Options has a value",
        ),
    ] {
        std::fs::write(&web, text).unwrap();
        let refused = World::listening(&tcp(&web), Limits::default())
            .await
            .err()
            .unwrap();
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_asked_for_and_changed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let web = folder.path().join("web.yml");
    let write = |user: &str, password: &str| {
        let hash = bcrypt::hash(password, 4).unwrap();
        let text = format!(
            "basic_auth_users: {{{user}: {hash}}}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
        );
        std::fs::write(&web, text).unwrap();
    };
    write("ann", "first");
    let world = World::listening(&tcp(&web), Limits::default())
        .await
        .unwrap();
    let as_user =
        |user: &str, password: &str| world.client().with_credentials(user, Secret::new(password));

    let refused = world.client().get("/echo").await.unwrap();
    assert_eq!(
        (refused.status, &refused.body[..]),
        (StatusCode::UNAUTHORIZED, &b"Unauthorized\n"[..])
    );
    assert_eq!(refused.headers["www-authenticate"], "Basic");
    assert_eq!(refused.headers["x-frame-options"], "deny");
    let welcome = as_user("ann", "first").get("/echo").await.unwrap();
    assert_eq!(&welcome.body[..], b"GET  ann\n");
    assert_eq!(
        as_user("ann", "second").get("/echo").await.unwrap().status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(world.stats().unauthorized, 2);

    write("ann", "second");
    assert_eq!(
        as_user("ann", "first").get("/echo").await.unwrap().status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        as_user("ann", "second").get("/echo").await.unwrap().status,
        StatusCode::OK
    );
    for broken in ["basic_auth_users: {ann: plain}", "nonsense: [", ""] {
        std::fs::write(&web, broken).unwrap();
        let expected = if broken.is_empty() {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        };
        assert_eq!(
            world.client().get("/echo").await.unwrap().status,
            expected,
            "{broken}"
        );
    }
    std::fs::remove_file(&web).unwrap();
    assert_eq!(
        world.client().get("/echo").await.unwrap().status,
        StatusCode::OK
    );
}

/// Writes an authority, and an identity that it certifies: certificate and key in one file.
fn certify(folder: &Path, name: &str) {
    let clock = Arc::new(SystemClock::new());
    let authority =
        Authority::open_or_create(&Disk, folder, Arc::<SystemClock>::clone(&clock)).unwrap();
    let key = PendingKey::generate().unwrap();
    let peer = PeerIdentity::new(name.parse().unwrap(), None, None).unwrap();
    let chain = authority.issue_agent(key.request(), &peer).unwrap();
    IdentityStore::create(Arc::new(Disk), folder, clock, &key, chain).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_the_certificates_of_the_web_configuration() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path(), "node-1");
    let identity = folder.path().join("identity.pem");
    let web = folder.path().join("web.yml");
    let pair = "cert_file: identity.pem, key_file: identity.pem";
    std::fs::write(&web, format!("tls_server_config: {{{pair}}}")).unwrap();
    let world = World::listening(&tcp(&web), Limits::default())
        .await
        .unwrap();
    let careless = ClientTlsConfig {
        insecure_skip_verify: true,
        ..ClientTlsConfig::default()
    };
    let client = || world.client_over("https").with_tls(careless.clone());
    let known = || {
        let identity = Some((identity.clone(), identity.clone()));
        client().with_tls(ClientTlsConfig {
            identity,
            ..careless.clone()
        })
    };
    assert_eq!(client().get("/echo").await.unwrap().status, StatusCode::OK);
    let root = ClientTlsConfig {
        ca_file: Some(folder.path().join("root.pem")),
        ..ClientTlsConfig::default()
    };
    let wary = world
        .client_over("https")
        .with_tls(root)
        .get("/echo")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        wary.starts_with("cannot trust https://127.0.0.1:"),
        "{wary}"
    );
    let plain = world.client().get("/echo").await.unwrap_err().to_string();
    assert!(
        plain.starts_with("cannot read the answer of http://"),
        "{plain}"
    );

    // Who may call is read again: now clients need a certificate with the right name.
    let demand = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: root.pem";
    for (names, allowed) in [
        ("spiffe://promontory/agent/node-1", true),
        ("else.example", false),
    ] {
        let text =
            format!("tls_server_config: {{{pair}, {demand}, client_allowed_sans: [\"{names}\"]}}");
        std::fs::write(&web, text).unwrap();
        assert!(client().get("/echo").await.is_err());
        assert_eq!(known().get("/echo").await.is_ok(), allowed, "{names}");
    }
    std::fs::write(&web, "").unwrap();
    assert!(
        client().get("/echo").await.is_err(),
        "TLS is not switched off by a change"
    );
}
