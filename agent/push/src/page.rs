//! The page at the root: groups, and when they were pushed.

use std::fmt::Write as _;

use model::TimestampMs;

use crate::store::Store;

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"robots\" content=\"noindex,nofollow\"><title>Pushed groups</title>\n<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}code{word-break:break-all}</style>\n</head>\n<body>\n<h1>Pushed groups</h1>\n";

/// Returns the page; `now` is what ages are measured to.
pub(crate) fn page(store: &Store, now: TimestampMs) -> String {
    let mut out = String::from(HEAD);
    let groups = store.groups();
    if groups.is_empty() {
        out.push_str("<p>Nothing is pushed.</p>\n");
    } else {
        out.push_str("<table>\n<tr><th>Group</th><th>Families</th><th>Series</th><th>Last push</th><th>Last failure</th></tr>\n");
    }
    for group in &groups {
        out.push_str("<tr><td><code>");
        escape(&mut out, &group.key.to_string());
        let (families, series) = (group.families.len(), group.order.len());
        let (pushed, failed) = (ago(group.pushed, now), ago(group.failed, now));
        let written = writeln!(
            out,
            "</code></td><td>{families}</td><td>{series}</td><td>{pushed}</td><td>{failed}</td></tr>"
        );
        written.expect("a String takes what it is given");
    }
    if !groups.is_empty() {
        out.push_str("</table>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn ago(at: Option<TimestampMs>, now: TimestampMs) -> String {
    match at {
        None => "never".to_owned(),
        Some(at) => format!("{} s ago", now.0.saturating_sub(at.0).max(0) / 1_000),
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}
