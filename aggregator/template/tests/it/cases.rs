//! The cases of `cases/*.jsonl`, which `oracle/README.md` describes.

use serde_json::Value as Json;
use template::Mode;

use crate::data::folder;

/// What is rendered, and what Go makes of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Nothing, where a file does not name its cases.
    pub(crate) name: String,
    /// Which of the notifications and rules of `data.json` it is rendered with.
    pub(crate) data: String,
    pub(crate) mode: Mode,
    pub(crate) text: String,
    /// The output, or why Go fails.
    pub(crate) want: Result<String, String>,
    /// Whether the output stands there as length and hash.
    is_hash: bool,
}

impl Case {
    /// Reads the cases of a file.
    pub(crate) fn read(file: &str) -> Vec<Self> {
        let cases = std::fs::read_to_string(folder().join("cases").join(file)).unwrap();
        cases.lines().map(Self::parse).collect()
    }

    fn parse(line: &str) -> Self {
        let json: Json = serde_json::from_str(line).unwrap();
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        Self {
            name: text("name").unwrap_or_default(),
            data: text("data").unwrap(),
            mode: if json["mode"] == "html" {
                Mode::Html
            } else {
                Mode::Text
            },
            text: text("text").unwrap(),
            // An empty output is left out.
            want: text("error").map_or_else(|| Ok(text("want").unwrap_or_default()), Err),
            is_hash: json["hash"] == true,
        }
    }

    /// Whether somebody who got this, or failed, got what Go does.
    pub(crate) fn is_met_by<E>(&self, got: &Result<String, E>) -> bool {
        match (got, &self.want) {
            (Ok(got), Ok(want)) if self.is_hash => hash(got) == *want,
            (Ok(got), Ok(want)) => got == want,
            (Err(_), Err(_)) => true,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        }
    }
}

/// Length and FNV-1a hash, for outputs that are too long, or not ours to print.
fn hash(text: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{} bytes {hash:016x}", text.len())
}
