//! Targets that speak TLS, under an authority of their own, and want a certificate.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use transport::{ClientAuth, ServerTls, ServerTlsConfig};

use super::*;

/// Writes an authority's certificate, `NAME.pem`, and one that it issues for `127.0.0.1`, `NAME-cert.pem` and `NAME-key.pem`.
fn certify(folder: &Path, name: &str) {
    let (key, leaf_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    for (suffix, text) in [
        ("", root.pem()),
        ("-cert", leaf.pem()),
        ("-key", leaf_key.serialize_pem()),
    ] {
        std::fs::write(folder.join(format!("{name}{suffix}.pem")), text).unwrap();
    }
}

/// Answers over TLS, with what the authority `servers` certifies, those whom `clients` certifies.
async fn tls_target(folder: &TempDir, answer: Vec<u8>) -> SocketAddr {
    let file = |name: &str| folder.path().join(name);
    let tls = ServerTls::open(ServerTlsConfig {
        cert_file: file("servers-cert.pem"),
        key_file: file("servers-key.pem"),
        client_auth: ClientAuth::Required(file("clients.pem")),
        ..ServerTlsConfig::default()
    });
    let tls = Arc::new(tls.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = async move {
        let tasks = Tasks::new("target's connections");
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, answer) = (Arc::clone(&tls), answer.clone());
            let connection = async move {
                if let Ok(stream) = tls.accept(stream).await {
                    answer_all(stream, answer, mpsc::channel(1).0).await;
                }
            };
            tasks.spawn("connection", connection).detach();
        }
    };
    Tasks::new("target").spawn("target", accepting).detach();
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates_and_one_alone_is_not_enough() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["servers", "clients", "others"] {
        certify(folder.path(), name);
    }
    let address = tls_target(&folder, plain("a 1\n")).await;
    let own = "cert_file: clients-cert.pem, key_file: clients-key.pem";
    let wrong = "cert_file: others-cert.pem, key_file: others-key.pem";
    for (tls, refusal) in [
        (format!("ca_file: servers.pem, {own}"), None),
        (format!("insecure_skip_verify: true, {own}"), None),
        (format!("ca_file: others.pem, {own}"), Some("cannot trust")),
        (own.to_owned(), Some("cannot trust")),
        (
            format!("ca_file: servers.pem, server_name: else.example, {own}"),
            Some("cannot trust"),
        ),
        ("ca_file: servers.pem".to_owned(), Some("cannot")),
        (format!("ca_file: servers.pem, {wrong}"), Some("cannot")),
    ] {
        let text = format!(
            "scrape_configs:\n- job_name: j\n  scheme: https\n  scrape_interval: 1s\n  tls_config: {{{tls}}}\n  static_configs: [{{targets: ['{address}']}}]\n"
        );
        let jobs = crate::read_jobs(&folder.path().join("p.yml"), &text).expect("valid");
        let mut running = start(jobs);
        let scraped = running.next().await;
        match (refusal, scraped.error) {
            (None, None) => assert_eq!(scraped.tally.kept, 1, "{tls}"),
            (Some(refusal), Some(error)) => assert!(error.contains(refusal), "{tls}: {error}"),
            (_, error) => panic!("{tls}: {error:?}"),
        }
        running.end().await;
    }
}
