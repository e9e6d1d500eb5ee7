//! Lines to a server and its replies.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Refusal;
use crate::notification::FailureKind;

/// The longest line of a reply, and the most lines: far more than the 512 bytes that RFC 5321 asks for.
const LINE_BYTES_MAX: usize = 4 * 1024;
const LINES_MAX: usize = 128;
const READ_BYTES: usize = 4 * 1024;

/// What a server replies.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Its lines, without their codes.
    lines: Vec<String>,
    /// Its last line.
    pub(super) text: String,
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Dialogue<S> {
    stream: S,
    /// What was read and not used.
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Returns the stream for TLS. What came before it counts as nothing said: whoever listens in could have put it there.
    pub(super) fn into_stream(self) -> Result<S, Refusal> {
        if self.read.is_empty() {
            return Ok(self.stream);
        }
        let reason = "the server spoke on before TLS began";
        Err(Refusal::new(FailureKind::Connection, reason))
    }

    pub(super) async fn greeting(&mut self) -> Result<(), Refusal> {
        let reply = self.reply().await?;
        check("us", &reply, 220)
    }

    /// Greets and returns what the server can do, in capitals.
    pub(super) async fn hello(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        // Whoever puts a line break into a name would put commands into our mouth.
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        let name = if name.is_empty() { "localhost" } else { &name };
        let reply = self.command(&format!("EHLO {name}")).await?;
        if reply.code == 250 {
            let extensions = reply.lines.iter().skip(1);
            return Ok(extensions.map(|line| line.to_ascii_uppercase()).collect());
        }
        self.expect("our greeting", &format!("HELO {name}"), 250)
            .await?;
        Ok(Vec::new())
    }

    /// Says a command and returns the reply, whatever it is.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, Refusal> {
        self.stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        self.stream.flush().await?;
        self.reply().await
    }

    /// Says a command that has to be answered by `code`; `what` is what messages call it.
    pub(super) async fn expect(
        &mut self,
        what: &str,
        command: &str,
        code: u16,
    ) -> Result<(), Refusal> {
        let reply = self.command(command).await?;
        check(what, &reply, code)
    }

    /// Sends a mail's text, whose lines end in CRLF.
    pub(super) async fn content(&mut self, content: &[u8]) -> Result<(), Refusal> {
        let mut text = Vec::with_capacity(content.len() + 64);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            // A line of a single dot ends the mail.
            if line.starts_with(b".") {
                text.push(b'.');
            }
            text.extend_from_slice(line);
        }
        if !text.ends_with(b"\r\n") {
            text.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&text).await?;
        self.expect("the mail", ".", 250).await
    }

    pub(super) async fn part(&mut self) {
        let _unheard = self.command("QUIT").await;
    }

    async fn reply(&mut self) -> Result<Reply, Refusal> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..600).contains(code)) else {
                return Err(broken("the server's reply is none of SMTP"));
            };
            let text = line.get(4..).unwrap_or_default().to_owned();
            lines.push(text.clone());
            match line.as_bytes().get(3) {
                Some(b'-') if lines.len() < LINES_MAX => {}
                Some(b'-') => return Err(broken("the server's reply is too long")),
                _ => return Ok(Reply { code, lines, text }),
            }
        }
    }

    async fn line(&mut self) -> Result<String, Refusal> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(broken("the server's reply is too long"));
            }
            let mut chunk = [0; READ_BYTES];
            let count = self.stream.read(&mut chunk).await?;
            if count == 0 {
                return Err(broken("the server hung up"));
            }
            self.read
                .extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }
}

fn broken(reason: &str) -> Refusal {
    Refusal::new(FailureKind::BrokenOff, reason)
}

fn check(what: &str, reply: &Reply, code: u16) -> Result<(), Refusal> {
    if reply.code == code {
        return Ok(());
    }
    Err(Refusal::by_server(what, reply))
}
