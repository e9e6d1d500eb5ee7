//! HTTP/1.1 as simple as it gets: one connection that is kept, one request at a time.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Peers write slowly on a busy machine; one that says nothing for so long hangs.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The longest answer that is read.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the answer when its status is 2xx.
    pub(crate) fn success(self) -> Result<Self> {
        let said = self.text();
        ensure!(
            (200..300).contains(&self.status),
            "status {}: {}",
            self.status,
            said.trim()
        );
        Ok(self)
    }

    pub(crate) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        self.ask("GET", path, "", &[])
    }

    /// Posts a body; `headers` are whole lines.
    pub(crate) fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        self.ask("POST", path, headers, body)
    }

    /// Puts a body.
    pub(crate) fn put(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        self.ask("PUT", path, "", body)
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        let address = self.address;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let answer = self.exchange(head.as_bytes(), body);
        if answer.is_err() {
            self.connection = None;
        }
        answer.with_context(|| format!("cannot {method} http://{address}{path}"))
    }

    fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<Answer> {
        if self.connection.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_nodelay(true)?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut().context("connected above")?;
        connection.get_mut().write_all(head)?;
        connection.get_mut().write_all(body)?;
        let (answer, closes) = read_answer(connection)?;
        if closes {
            self.connection = None;
        }
        Ok(answer)
    }
}

/// How an answer's end is found.
enum Length {
    Known(u64),
    Chunked,
    UntilClosed,
}

/// Returns an answer, and whether the server closes the connection after it.
fn read_answer(reader: &mut impl BufRead) -> Result<(Answer, bool)> {
    let status = read_line(reader)?;
    let status: u16 = status
        .split(' ')
        .nth(1)
        .context("no status line")?
        .parse()?;
    let mut length = Length::UntilClosed;
    let mut closes = false;
    loop {
        let line = read_line(reader)?.to_ascii_lowercase();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match (name, value.trim()) {
            ("content-length", value) => length = Length::Known(value.parse()?),
            ("transfer-encoding", "chunked") => length = Length::Chunked,
            ("connection", "close") => closes = true,
            _ => {}
        }
    }
    let mut body = Vec::new();
    match length {
        _ if status == 204 => {}
        Length::Known(bytes) => take(reader, bytes, &mut body)?,
        Length::Chunked => loop {
            let bytes = u64::from_str_radix(read_line(reader)?.trim(), 16)?;
            take(reader, bytes, &mut body)?;
            read_line(reader)?;
            if bytes == 0 {
                break;
            }
        },
        Length::UntilClosed => {
            closes = true;
            reader.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
        }
    }
    Ok((Answer { status, body }, closes))
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    let read = reader.take(64 << 10).read_line(&mut line)?;
    ensure!(read > 0, "the connection was closed");
    Ok(line.trim_end().to_owned())
}

fn take(reader: &mut impl BufRead, bytes: u64, body: &mut Vec<u8>) -> Result<()> {
    let whole = body.len() as u64 + bytes;
    ensure!(
        whole <= BODY_BYTES_MAX,
        "an answer of {whole} bytes is too long"
    );
    let read = reader.take(bytes).read_to_end(body)?;
    ensure!(read as u64 == bytes, "the answer is cut");
    Ok(())
}

/// Returns `text` as it stands in the query of a URL.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                out.push(char::from(byte))
            }
            // Writing to a String cannot fail.
            other => write!(out, "%{other:02X}").unwrap_or_default(),
        }
    }
    out
}

/// Returns the sum of the series of a metric in an exposition, whatever their labels.
pub(crate) fn metric(exposition: &str, name: &str) -> Option<f64> {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.trim().split(' ').next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_their_length() {
        let check = |text: &str, expected: (u16, &str, bool)| {
            let (answer, closes) = read_answer(&mut text.as_bytes()).expect("an answer");
            assert_eq!((answer.status, answer.text().as_str(), closes), expected);
        };
        check("HTTP/1.1 204 No Content\r\n\r\n", (204, "", false));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabX",
            (200, "ab", false),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            (200, "abc", false),
        );
        check(
            "HTTP/1.1 500 X\r\nConnection: close\r\n\r\nwhy",
            (500, "why", true),
        );
    }

    #[test]
    fn metrics_are_added_over_labels() {
        let text = "# HELP a x\na{b=\"1\"} 2\na{b=\"2\"} 3.5\nab 7\nc 4\n";
        assert_eq!(metric(text, "a"), Some(5.5));
        assert_eq!(metric(text, "c"), Some(4.0));
        assert_eq!(metric(text, "d"), None);
    }
}
