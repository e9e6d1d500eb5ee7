use std::fs;
use std::path::Path;

use ::files::Disk;
use clock::SystemClock;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::{Authority, PeerIdentity, PendingKey};

/// Writes a certificate for `name`, issued by itself.
fn write_pair(folder: &Path, name: &str) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn server_config(folder: &Path) -> ServerTlsConfig {
    ServerTlsConfig {
        cert_file: folder.join("cert.pem"),
        key_file: folder.join("key.pem"),
        ..ServerTlsConfig::default()
    }
}

async fn greet(server: &ServerTls, client: &ClientTls, host: &str) -> std::io::Result<Vec<String>> {
    let (here, there): (DuplexStream, DuplexStream) = duplex(64 * 1_024);
    let serve = async {
        let mut stream = server.accept(there).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>((client_names(&stream), stream))
    };
    let call = async {
        let mut stream = client.connect(host, here).await?;
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (served, called) = tokio::join!(serve, call);
    called?;
    Ok(served?.0)
}

fn trusting(ca_file: &Path) -> ClientTls {
    ClientTls::open(&ClientTlsConfig {
        ca_file: Some(ca_file.to_owned()),
        ..ClientTlsConfig::default()
    })
    .unwrap()
}

#[tokio::test]
async fn changed_files_take_effect_and_broken_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), "old.example");
    let server = ServerTls::open(server_config(folder.path())).unwrap();
    let trusts_old = trusting(&folder.path().join("cert.pem"));
    greet(&server, &trusts_old, "old.example").await.unwrap();
    assert!(greet(&server, &trusts_old, "else.example").await.is_err());

    let old_key = fs::read(folder.path().join("key.pem")).unwrap();
    write_pair(folder.path(), "new.example");
    let new_key = fs::read(folder.path().join("key.pem")).unwrap();
    fs::write(folder.path().join("key.pem"), old_key).unwrap();
    greet(&server, &trusts_old, "old.example").await.unwrap();

    fs::write(folder.path().join("key.pem"), new_key).unwrap();
    let trusts_new = trusting(&folder.path().join("cert.pem"));
    greet(&server, &trusts_new, "new.example").await.unwrap();
    assert!(greet(&server, &trusts_old, "old.example").await.is_err());

    let careless = ClientTls::open(&ClientTlsConfig {
        insecure_skip_verify: true,
        ..ClientTlsConfig::default()
    });
    greet(&server, &careless.unwrap(), "127.0.0.1")
        .await
        .unwrap();
}

#[tokio::test]
async fn clients_show_a_certificate_where_one_is_required() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path(), "server.example");
    let clock = std::sync::Arc::new(SystemClock::new());
    let authority = Authority::open_or_create(&Disk, folder.path(), clock).unwrap();
    let key = PendingKey::generate().unwrap();
    let identity = PeerIdentity::new("n1".parse().unwrap(), None, None).unwrap();
    let chain = authority.issue_agent(key.request(), &identity).unwrap();
    let path = folder.path().join("client.pem");
    fs::write(&path, key.to_pem(&chain)).unwrap();

    let server = ServerTls::open(ServerTlsConfig {
        client_auth: ClientAuth::Required(folder.path().join("root.pem")),
        min_version: TlsVersion::Tls13,
        ..server_config(folder.path())
    });
    let server = server.unwrap();
    let known = ClientTls::open(&ClientTlsConfig {
        ca_file: Some(folder.path().join("cert.pem")),
        identity: Some((path.clone(), path)),
        ..ClientTlsConfig::default()
    });
    let names = greet(&server, &known.unwrap(), "server.example").await;
    assert_eq!(names.unwrap(), ["spiffe://promontory/agent/n1"]);
    let unknown = trusting(&folder.path().join("cert.pem"));
    assert!(greet(&server, &unknown, "server.example").await.is_err());
}

#[test]
fn missing_and_mixed_up_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = |folder: &Path| {
        ServerTls::open(server_config(folder))
            .unwrap_err()
            .to_string()
    };
    assert!(message(folder.path()).contains("cert.pem"));
    write_pair(folder.path(), "a.example");
    let certificate = fs::read(folder.path().join("cert.pem")).unwrap();
    fs::write(folder.path().join("key.pem"), certificate).unwrap();
    assert!(message(folder.path()).ends_with("key.pem holds no private key in PEM"));
}
