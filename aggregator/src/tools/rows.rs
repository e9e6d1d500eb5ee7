//! What agents and tokens look like in a table.

use config::format_size;
use serde_json::Value;

use super::table::Table;

/// Returns a row per agent of `/api/v1/agents`.
pub(super) fn agent_rows(agents: &Value) -> Table {
    let mut table = Table::new(&[
        "AGENT",
        "NODE",
        "VERSION",
        "TRANSPORT",
        "LAST ROW",
        "LAG",
        "SPOOL",
    ]);
    for agent in agents.as_array().into_iter().flatten() {
        let text = |key: &str| agent[key].as_str().unwrap_or("-").to_owned();
        let connected = agent["connected"] == true;
        let spool = &agent["spool"];
        let (bytes, bytes_max) = (
            spool["bytes"].as_u64().unwrap_or(0),
            spool["bytesMax"].as_u64().unwrap_or(0),
        );
        let fill = if bytes_max == 0 {
            "-".to_owned()
        } else {
            format!("{} of {}", short(bytes), format_size(bytes_max))
        };
        table.push(vec![
            text("agent"),
            text("node"),
            text("version"),
            if connected {
                text("transport")
            } else {
                "gone".to_owned()
            },
            agent["lastRow"]
                .as_f64()
                .map_or_else(|| "never".to_owned(), time),
            agent["lagSeconds"]
                .as_f64()
                .map_or_else(|| "-".to_owned(), |lag| format!("{lag:.1}s")),
            fill,
        ]);
    }
    table
}

/// Returns a row per token.
pub(super) fn token_rows(tokens: &Value) -> Table {
    let mut table = Table::new(&["ID", "CLUSTER", "TENANT", "EXPIRES", "USED", "STATE"]);
    for token in tokens.as_array().into_iter().flatten() {
        let text = |key: &str| token[key].as_str().unwrap_or("-").to_owned();
        let used = token["used"].as_u64().unwrap_or(0);
        let state = match (token["revoked"] == true, token["usable"] == true) {
            (true, _) => "revoked",
            (false, true) => "usable",
            (false, false) => "spent",
        };
        table.push(vec![
            text("id"),
            text("cluster"),
            text("tenant"),
            token["expires"]
                .as_f64()
                .map_or_else(|| "never".to_owned(), time),
            token["usesMax"].as_u64().map_or_else(
                || used.to_string(),
                |uses_max| format!("{used} of {uses_max}"),
            ),
            state.to_owned(),
        ]);
    }
    table
}

/// A time as people and RFC 3339 write it.
#[expect(clippy::cast_possible_truncation, reason = "times of this century")]
pub(super) fn time(seconds: f64) -> String {
    promql::number::rfc3339((seconds * 1_000.0) as i64)
}

/// A size to three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn short(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1_000.0 {
            return if unit == "B" {
                format!("{value}{unit}")
            } else {
                format!("{value:.1}{unit}")
            };
        }
        value /= 1_024.0;
    }
    format!("{value:.1}TiB")
}
