//! Whether an answer is one that a client can work with.

use std::io::Read;

use flate2::read::GzDecoder;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Errors are short; whatever is longer is data.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// How answers with data begin.
const SUCCESS: &str = "{\"status\":\"success\",\"data\":";
/// What an error speaks of when a limit of the program caused it, and the flag that it must name then.
const LIMITS: &[(&str, &str)] = &[
    ("timed out", "--query.timeout"),
    ("too many samples", "--query.max-samples"),
    ("bytes of memory", "--query.max-memory"),
    ("its share of memory", "--storage.memory.limit"),
];

/// What an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whole data.
    Data,
    /// A refusal in Prometheus' envelope, by its type.
    Refused(String),
    /// A refusal by HTTP's own means, by its code.
    Http(u16),
    /// The connection was closed: what came was no request.
    Cut,
}

impl Verdict {
    /// Returns what an answer is, head and body; the error says what is wrong with it.
    pub fn of(answer: &[u8]) -> Result<Self, String> {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let (head, body) = answer.split_at(end.ok_or("no whole head")? + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let status: u16 = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or("no status")?;
        let length: Option<usize> =
            header(&head, "content-length").and_then(|text| text.parse().ok());
        if length.is_some_and(|length| length != body.len()) {
            return Err(format!("{} bytes of {length:?}", body.len()));
        }
        if header(&head, "content-type") != Some("application/json") {
            return by_code(status, body);
        }
        let is_packed = header(&head, "content-encoding") == Some("gzip");
        if status == 200 {
            return if is_packed {
                data(GzDecoder::new(body))
            } else {
                data(body)
            };
        }
        if is_packed {
            refusal(status, &unpacked(body)?)
        } else {
            refusal(status, body)
        }
    }
}

/// Returns the bytes of an error that was compressed; those beyond [`ERROR_BYTES_MAX`] only as far as it takes to see that there are any.
fn unpacked(body: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    GzDecoder::new(body)
        .take(ERROR_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("an error that is no gzip: {error}"))?;
    Ok(bytes)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim())
}

fn by_code(status: u16, body: &[u8]) -> Result<Verdict, String> {
    let text = String::from_utf8_lossy(
        body.get(..body.len().min(ERROR_BYTES_MAX))
            .unwrap_or_default(),
    );
    // What is no HTTP at all is refused by the code alone.
    let by_code_alone = matches!(status, 200 | 204 | 400 | 431);
    if status == 500 || (text.is_empty() && !by_code_alone) {
        return Err(format!("status {status}: {text:?}"));
    }
    Ok(Verdict::Http(status))
}

/// Reads all of it, keeps nothing.
fn data(mut body: impl Read) -> Result<Verdict, String> {
    let mut begin = vec![0; SUCCESS.len()];
    let read = body.read_exact(&mut begin);
    if read.is_err() || begin != SUCCESS.as_bytes() {
        return Err(format!(
            "data that begin {:?}",
            String::from_utf8_lossy(&begin)
        ));
    }
    let whole = begin.as_slice().chain(body);
    let mut reader = serde_json::Deserializer::from_reader(std::io::BufReader::new(whole));
    // Trees of expressions are deep, and their height is bounded.
    reader.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut reader)
        .and_then(|IgnoredAny| reader.end())
        .map_err(|error| format!("data that are no JSON: {error}"))?;
    Ok(Verdict::Data)
}

fn refusal(status: u16, body: &[u8]) -> Result<Verdict, String> {
    if body.len() > ERROR_BYTES_MAX {
        return Err(format!("status {status}: an error of {} bytes", body.len()));
    }
    let json: Value =
        serde_json::from_slice(body).map_err(|error| format!("status {status}: {error}"))?;
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let (kind, message) = (text("errorType"), text("error"));
    let is_odd = text("status") != "error" || kind.is_empty() || message.is_empty();
    if is_odd || kind == "internal" {
        return Err(format!("status {status}: {json}"));
    }
    for (words, flag) in LIMITS {
        let has_value = message.contains(|c: char| c.is_ascii_digit());
        if message.contains(words) && !(message.contains(flag) && has_value) {
            return Err(format!("a limit without its value and its flag: {message}"));
        }
    }
    Ok(Verdict::Refused(kind.to_owned()))
}
