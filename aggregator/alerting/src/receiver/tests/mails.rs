//! Mails, and a small mail server that speaks TLS and asks who we are.

use std::fs;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use runtime::Tasks;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use transport::{ServerTls, ServerTlsConfig};

use super::world::{NOW, deliver, notification, templates, time};
use crate::notification::{FailureKind, Notification, Outcome};
use crate::receiver::email;
use crate::receiver::rendering::Rendering;
use crate::receiver::smtp::Mail;

fn mail(notification: &Notification) -> Mail {
    let templates = templates();
    email::mail(&Rendering::new(notification, &templates, time(NOW))).unwrap()
}

#[test]
fn a_mail_is_made_of_headers_and_two_parts() {
    let settings = r#"
to: 'Ops <ops@example.org>, {{ .Status }}@example.org'
from: am@example.org
smarthost: localhost:25
headers: {subject: 'Ü {{ .Status }}', X-Team: db}
text: "a = {{ .Status }}\n.\n"
html: '<b>{{ .CommonAnnotations.summary }}</b>'
threading: {enabled: true, thread_by_date: daily}
"#;
    let mail = mail(&notification("email", settings));
    assert_eq!(mail.from, "am@example.org");
    assert_eq!(mail.to, ["ops@example.org", "firing@example.org"]);
    let text = String::from_utf8(mail.content).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let group: String = hash.chars().take(16).collect();
    let root = format!("<alert-{group}-2026-03-14@alertmanager>");
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[0], "From: am@example.org");
    assert_eq!(lines[1], format!("In-Reply-To: {root}"));
    assert!(lines[2].starts_with("Message-Id: <") && lines[2].ends_with("@example.org>"));
    assert_eq!(lines[3], format!("References: {root}"));
    assert_eq!(lines[4], "Subject: =?utf-8?q?=C3=9C_firing?=");
    assert_eq!(lines[5], "To: Ops <ops@example.org>, firing@example.org");
    assert_eq!(lines[6], "X-Team: db");
    assert_eq!(lines[7], "Date: Sat, 14 Mar 2026 09:05:07 +0000");
    let boundary = lines[8]
        .strip_prefix("Content-Type: multipart/alternative; boundary=")
        .unwrap();
    assert_eq!(lines[9..], ["MIME-Version: 1.0"]);
    assert_eq!(
        body,
        [
            &format!("--{boundary}"),
            "Content-Transfer-Encoding: quoted-printable",
            "Content-Type: text/plain; charset=UTF-8",
            "",
            "a =3D firing",
            ".",
            "",
            &format!("--{boundary}"),
            "Content-Transfer-Encoding: quoted-printable",
            "Content-Type: text/html; charset=UTF-8",
            "",
            "<b>97% &lt;full&gt; &amp; rising</b>",
            &format!("--{boundary}--"),
            "",
        ]
        .join("\r\n")
    );
}

#[test]
fn the_default_mail_shows_all_alerts_and_escapes_them() {
    let mail = mail(&notification(
        "email",
        "to: a@b\nfrom: c@d\nsmarthost: h:25",
    ));
    let text = String::from_utf8(mail.content)
        .unwrap()
        .replace("=\r\n", "");
    assert!(text.contains("Subject: [FIRING:1] DiskFull (db-1 critical)"));
    assert!(
        text.contains("summary =3D 97% &lt;full&gt; &amp; rising"),
        "{text}"
    );
    assert!(text.contains("[1] Firing") && !text.contains("Resolved"));
}

/// What a server offers and refuses.
#[derive(Clone, Copy, Debug, Default)]
struct Manner {
    is_implicit: bool,
    offers_tls: bool,
    mechanisms: &'static str,
    /// Commands that begin so are answered so.
    refuses: Option<(&'static str, &'static str)>,
}

struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

impl Server {
    async fn with(manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path());
        let tls = ServerTls::open(ServerTlsConfig {
            cert_file: folder.path().join("cert.pem"),
            key_file: folder.path().join("key.pem"),
            ..ServerTlsConfig::default()
        })
        .unwrap();
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tasks = Tasks::new("mock mail");
        let ears = Arc::clone(&heard);
        tasks
            .spawn("mail server", async move {
                let (stream, _) = listener.accept().await.unwrap();
                if manner.is_implicit {
                    let stream = tls.accept(stream).await.unwrap();
                    serve(stream, manner, &ears, true).await;
                } else if let Some(stream) = serve(stream, manner, &ears, false).await {
                    let stream = tls.accept(stream).await.unwrap();
                    ears.lock().unwrap().push("(TLS)".to_owned());
                    serve(stream, manner, &ears, true).await;
                }
            })
            .detach();
        Self {
            port,
            heard,
            tasks,
            folder,
        }
    }

    /// Returns a mail to this server, with more settings.
    fn notification(&self, more: &str) -> Notification {
        let ca = self.folder.path().join("cert.pem");
        let settings = format!(
            "to: 'a@b, c@d'\nfrom: am@example.org\nsmarthost: localhost:{}\nhtml: ''\ntext: \".dot\\n\"\ntls_config: {{ca_file: {}}}\n{more}",
            self.port,
            ca.display()
        );
        notification("email", &settings)
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn write_pair(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// Speaks until the client goes; returns the stream when TLS is to begin.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    manner: Manner,
    heard: &Mutex<Vec<String>>,
    is_encrypted: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if manner.is_implicit || !is_encrypted {
        stream
            .write_all(b"220-welcome\r\n220 here\r\n")
            .await
            .unwrap();
    }
    let mut is_in_mail = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push(line.clone());
        let answer = match manner.refuses {
            Some((command, answer)) if line.starts_with(command) => answer.to_owned(),
            _ if is_in_mail && line != "." => continue,
            _ => answer(&line, manner, is_encrypted),
        };
        is_in_mail = answer.starts_with("354");
        let bytes = format!("{answer}\r\n");
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if line == "STARTTLS" {
            return Some(stream.into_inner());
        }
    }
}

fn answer(line: &str, manner: Manner, is_encrypted: bool) -> String {
    let challenge = || BASE64_STANDARD.encode("<1.2@localhost>");
    match line.split(' ').next().unwrap_or_default() {
        "EHLO" => {
            let mut answer = "250-localhost\r\n".to_owned();
            if manner.offers_tls && !is_encrypted {
                answer.push_str("250-STARTTLS\r\n");
            }
            if !manner.mechanisms.is_empty() {
                answer.push_str(&format!("250-AUTH {}\r\n", manner.mechanisms));
            }
            answer + "250 8BITMIME"
        }
        "STARTTLS" => "220 go".to_owned(),
        "AUTH" if line == "AUTH CRAM-MD5" => format!("334 {}", challenge()),
        "AUTH" if line == "AUTH LOGIN" => "334 VXNlcm5hbWU6".to_owned(),
        "AUTH" => "235 in".to_owned(),
        "DATA" => "354 go".to_owned(),
        "MAIL" | "RCPT" | "." => "250 ok".to_owned(),
        "QUIT" => "221 bye".to_owned(),
        // Parts of a login.
        _ if line == BASE64_STANDARD.encode("me") => "334 UGFzc3dvcmQ6".to_owned(),
        _ => "235 in".to_owned(),
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Delivered { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_begins_when_asked_for_and_the_password_comes_after() {
    let server = Server::with(Manner {
        offers_tls: true,
        mechanisms: "XOAUTH2 PLAIN LOGIN",
        ..Manner::default()
    })
    .await;
    let outcome =
        deliver(&server.notification("hello: me\nauth_username: me\nauth_password: pw")).await;
    assert!(is_delivered(&outcome), "{outcome:?}");
    let heard = server.heard();
    let plain = format!("AUTH PLAIN {}", BASE64_STANDARD.encode("\0me\0pw"));
    assert_eq!(
        heard[..9],
        [
            "EHLO me",
            "STARTTLS",
            "(TLS)",
            "EHLO me",
            &plain,
            "MAIL FROM:<am@example.org>",
            "RCPT TO:<a@b>",
            "RCPT TO:<c@d>",
            "DATA",
        ]
    );
    assert!(heard.contains(&"..dot".to_owned()), "{heard:?}");
    assert_eq!(heard[heard.len() - 2..], [".", "QUIT"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_can_be_there_from_the_first_byte() {
    let server = Server::with(Manner {
        is_implicit: true,
        mechanisms: "LOGIN",
        ..Manner::default()
    })
    .await;
    let more = "force_implicit_tls: true\nauth_username: me\nauth_password: pw";
    let outcome = deliver(&server.notification(more)).await;
    assert!(is_delivered(&outcome), "{outcome:?}");
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    assert_eq!(
        server.heard()[1..4],
        ["AUTH LOGIN".to_owned(), encode("me"), encode("pw")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_can_be_proven_without_being_told() {
    let server = Server::with(Manner {
        mechanisms: "CRAM-MD5 PLAIN",
        ..Manner::default()
    })
    .await;
    let more = "require_tls: false\nauth_username: me\nauth_secret: s";
    let outcome = deliver(&server.notification(more)).await;
    assert!(is_delivered(&outcome), "{outcome:?}");
    let answer = BASE64_STANDARD.decode(&server.heard()[2]).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("me ") && answer.len() == 35, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_nothing_is_told_to_who_does_not_offer_it() {
    let server = Server::with(Manner::default()).await;
    let outcome = deliver(&server.notification("auth_username: me\nauth_password: pw")).await;
    let Outcome::Retry { failure, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        failure.reason.starts_with("require_tls is true"),
        "{failure}"
    );
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_say_whether_to_come_back() {
    let cases = [
        (("MAIL", "451 later"), Some(FailureKind::Server)),
        (("MAIL", "550 never"), None),
        (("DATA", "552 full"), None),
        (("EHLO", "oops"), Some(FailureKind::BrokenOff)),
    ];
    for (refuses, again) in cases {
        let server = Server::with(Manner {
            refuses: Some(refuses),
            ..Manner::default()
        })
        .await;
        let outcome = deliver(&server.notification("require_tls: false")).await;
        match (&outcome, again) {
            (Outcome::Retry { failure, .. }, Some(kind)) => assert_eq!(failure.kind, kind),
            (Outcome::GiveUp(_), None) => {}
            _ => panic!("{refuses:?}: {outcome:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_recipient_keeps_the_mail_from_no_other() {
    let server = Server::with(Manner {
        refuses: Some(("RCPT TO:<a@b>", "550 unknown")),
        ..Manner::default()
    })
    .await;
    let outcome = deliver(&server.notification("require_tls: false")).await;
    assert!(is_delivered(&outcome), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_strangers_are_not_trusted() {
    let server = Server::with(Manner {
        offers_tls: true,
        ..Manner::default()
    })
    .await;
    let mut notification = server.notification("");
    let settings = format!("to: a@b\nfrom: c@d\nsmarthost: localhost:{}", server.port);
    notification.integration = Arc::new(super::world::integration("email", &settings));
    let outcome = deliver(&notification).await;
    let Outcome::Retry { failure, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(failure.reason.starts_with("TLS failed"), "{failure}");
}

/// A mail server of Debian's, as a process of its own.
struct Debian(Child);

impl Drop for Debian {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed.expect("the mail server ends");
    }
}

/// Starts the server of `mail_server.py`; `None` when Debian's aiosmtpd is not installed.
fn debian(folder: &Path, port: u16, way: &str, mechanism: &str) -> Option<Debian> {
    if !Path::new("/usr/bin/aiosmtpd").exists() {
        println!("skipped: no python3-aiosmtpd from Debian");
        return None;
    }
    let started = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("mail_server.py"), &port.to_string()])
        .args(["cert.pem", "key.pem"].map(|name| folder.join(name)))
        .args([way, mechanism])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    Some(Debian(started.unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_of_debian_takes_the_mail_by_every_way() {
    let folder = tempfile::tempdir().unwrap();
    write_pair(folder.path());
    for (way, mechanism) in [
        ("starttls", "PLAIN"),
        ("starttls", "LOGIN"),
        ("implicit", "PLAIN"),
        ("implicit", "LOGIN"),
    ] {
        let free = TcpListener::bind("localhost:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let Some(mut server) = debian(folder.path(), port, way, mechanism) else {
            return;
        };
        let output = std::io::BufReader::new(server.0.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("listening")),
            "it never listens"
        );
        let settings = format!(
            "to: ops@example.org\nfrom: am@example.org\nsmarthost: localhost:{port}\nauth_username: me\nauth_password: pw\nforce_implicit_tls: {}\ntext: 'it is {{{{ .Status }}}}'\nhtml: ''\ntls_config: {{ca_file: {}}}",
            way == "implicit",
            folder.path().join("cert.pem").display()
        );
        let outcome = deliver(&notification("email", &settings)).await;
        assert!(is_delivered(&outcome), "{way} {mechanism}: {outcome:?}");
        let login = format!("login by {mechanism} right");
        assert!(lines.any(|line| line == login), "{way} {mechanism}");
        assert!(lines.any(|line| line.contains("Subject: [FIRING:1] DiskFull")));
        assert!(lines.any(|line| line.contains("it is firing")));
    }
}
