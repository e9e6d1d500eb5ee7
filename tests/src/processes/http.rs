//! HTTP as simple as it gets: one request, one answer, one connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// More than a busy machine needs, less than [`PATIENCE`](super::PATIENCE): who waits shall say for what.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, a line each.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Returns the value of a header; its name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self
            .headers
            .lines()
            .filter_map(|line| line.split_once(": "));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }

    /// Returns the body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Asks `http://address/path`; `None` when nobody answers.
pub fn get(address: &str, path: &str) -> Option<Answer> {
    ask(
        address,
        format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n"),
    )
}

/// Posts nothing to `http://address/path`; `None` when nobody answers.
pub fn post(address: &str, path: &str) -> Option<Answer> {
    let head = format!("POST {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    ask(address, head)
}

/// Posts a body to `http://address/path`, with these headers, each a line; `None` when nobody answers.
pub fn post_body(address: &str, path: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {address}\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    ask(address, [head.as_bytes(), body].concat())
}

fn ask(address: &str, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(request.as_ref()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        headers: head.to_owned(),
        body: body.to_owned(),
    })
}

/// Asks `http://address/path` and does not wait for the answer: the connection ends when the caller drops it.
///
/// # Panics
/// When nobody listens.
pub fn ask_only(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("it is sent");
    stream
}

/// Returns the value of a series in an exposition, named just as it stands there (`name{label="value"}`).
pub fn metric(exposition: &str, series: &str) -> Option<f64> {
    let rest =
        (exposition.lines()).find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    rest.split(' ').next()?.parse().ok()
}

/// Evaluates an expression now: the values of the result, also while nobody answers, when there are none.
pub fn query(address: &str, expression: &str) -> Vec<f64> {
    let path = format!("/api/v1/query?query={}", percent_encode(expression));
    let answer = get(address, &path).map(|answer| answer.json());
    let answer = answer.unwrap_or_default();
    let result = answer["data"]["result"].as_array();
    let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
    result.into_iter().flatten().filter_map(value).collect()
}

/// Returns `text` as it stands in the query of a URL.
pub fn percent_encode(text: &str) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            other => encoded.extend([
                '%',
                DIGITS[usize::from(other >> 4)],
                DIGITS[usize::from(other & 15)],
            ]),
        }
    }
    encoded
}
