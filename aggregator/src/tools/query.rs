//! `promontory query`: an expression in, a table, JSON or CSV out; errors point at the place.

use std::process::ExitCode;

use config::Settings;
use http_shell::Form;
use serde_json::Value;

use super::client::{Caller, Refused};
use super::rows::time;
use super::table::{Table, quote_csv};
use crate::terminal;

/// The expression, or its parameters, are wrong.
const EXIT_BAD_QUERY: u8 = 3;

/// `promontory query`
pub(crate) fn query(settings: &Settings, expression: &[String]) -> anyhow::Result<ExitCode> {
    let expression = expression.first().map(String::as_str).unwrap_or_default();
    // Checked here first: the place of a mistake is shown without asking anybody.
    if let Err(errors) = promql::parse(expression, promql::ParserOptions::default()) {
        terminal::complain(&point_at(expression, &errors));
        return Ok(ExitCode::from(EXIT_BAD_QUERY));
    }
    let (path, form) = request(settings, expression)?;
    match Caller::of_server(settings)?.post(path, &form) {
        Ok(data) => {
            let output = settings.text("output");
            let shown = if settings.switch("explain") {
                explained(output, &data["stats"])?
            } else {
                render(output, &data)?
            };
            terminal::print(&shown);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => {
                terminal::complain(&format!("{}: {}", refused.kind, refused.message));
                Ok(ExitCode::from(EXIT_BAD_QUERY))
            }
            Err(error) => Err(error),
        },
    }
}

fn request(settings: &Settings, expression: &str) -> anyhow::Result<(&'static str, Form)> {
    let mut form = Form::default().with("query", expression);
    if settings.switch("explain") {
        form = form.with("stats", "plan").with("limit", "1");
    }
    let Some(range) = settings.optional_duration("range") else {
        let time = settings.optional_text("time").unwrap_or_default();
        return Ok(("/api/v1/query", form.with("time", time)));
    };
    let end = match settings.optional_text("time") {
        Some(text) => text.parse::<f64>().map_err(|_| {
            anyhow::anyhow!("--time with --range must be seconds since 1970, not {text:?}")
        })?,
        None => now_seconds(),
    };
    let form = form
        .with("start", format!("{:.3}", end - range.as_secs_f64()))
        .with("end", format!("{end:.3}"))
        .with("step", settings.duration("step").as_secs_f64().to_string());
    Ok(("/api/v1/query_range", form))
}

fn now_seconds() -> f64 {
    let clock = clock::SystemClock::new();
    model::TimestampMs::from(clock::Clock::wall(&clock)).as_seconds()
}

/// The expression with a mark under each mistake.
fn point_at(expression: &str, errors: &promql::ParseErrors) -> String {
    let mut out = "the expression is not PromQL\n".to_owned();
    for error in errors.iter() {
        let line = expression
            .lines()
            .nth(error.place.line.saturating_sub(1))
            .unwrap_or_default();
        let before = line
            .get(..error.place.column.saturating_sub(1))
            .unwrap_or(line);
        let marked = expression
            .get(error.range.start as usize..error.range.end as usize)
            .unwrap_or_default();
        let width = marked
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            .max(1);
        let blank = " ".repeat(before.chars().count());
        let hint = error
            .hint
            .as_ref()
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        out.push_str(&format!(
            "  {line}\n  {blank}{}\n  {blank}{}{hint}\n",
            "^".repeat(width),
            error.message
        ));
    }
    out
}

fn render(output: &str, data: &Value) -> anyhow::Result<String> {
    if output == "json" {
        return Ok(serde_json::to_string_pretty(data)?);
    }
    let samples = samples(data);
    if output == "csv" {
        let mut out = "series,time,value\n".to_owned();
        for (series, at, value) in samples {
            out.push_str(&format!("{},{at},{value}\n", quote_csv(&series)));
        }
        return Ok(out);
    }
    if samples.is_empty() {
        return Ok("(nothing)".to_owned());
    }
    let mut table = Table::new(&["SERIES", "TIME", "VALUE"]);
    for (series, at, value) in samples {
        table.push(vec![series, time(at), value]);
    }
    Ok(table.to_string())
}

/// What each node of the expression came to and cost; those below a node count with it.
fn explained(output: &str, stats: &Value) -> anyhow::Result<String> {
    if output == "json" {
        return Ok(serde_json::to_string_pretty(stats)?);
    }
    let head = [
        "NODE",
        "SERIES",
        "POINTS",
        "SAMPLES READ",
        "MS",
        "KIB",
        "TEXT",
    ];
    let mut table = Table::new(&head);
    let nodes = stats["plan"].as_array().into_iter().flatten();
    for node in nodes {
        let number = |key: &str| node[key].as_u64().unwrap_or(0);
        let depth = usize::try_from(number("depth")).unwrap_or(0);
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        let milliseconds = node["seconds"].as_f64().unwrap_or(0.0) * 1_000.0;
        table.push(vec![
            format!("{}{}", "  ".repeat(depth), text("node")),
            number("series").to_string(),
            number("points").to_string(),
            number("samplesRead").to_string(),
            format!("{milliseconds:.3}"),
            number("memoryBytes").div_ceil(1_024).to_string(),
            one_line(&text("text")),
        ]);
    }
    if output == "csv" {
        return Ok(table.to_csv());
    }
    let whole = format!(
        "{} ms evaluated, {} ms waited; {} samples read, {} KiB of memory at most",
        milliseconds(&stats["timings"]["evalTotalTime"]),
        milliseconds(&stats["timings"]["execQueueTime"]),
        stats["samples"]["samplesRead"],
        stats["samples"]["peakMemoryBytes"]
            .as_u64()
            .unwrap_or(0)
            .div_ceil(1_024),
    );
    Ok(format!("{table}{whole}"))
}

fn milliseconds(seconds: &Value) -> String {
    format!("{:.3}", seconds.as_f64().unwrap_or(0.0) * 1_000.0)
}

/// The text of a node as one short line.
fn one_line(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= CHARACTERS_MAX {
        return line;
    }
    let cut: String = line.chars().take(CHARACTERS_MAX).collect();
    format!("{cut}...")
}

/// All samples of a result: series, seconds, value.
fn samples(data: &Value) -> Vec<(String, f64, String)> {
    let point = |series: &str, pair: &Value| {
        let value = pair[1]
            .as_str()
            .map_or_else(|| pair[1].to_string(), str::to_owned);
        (series.to_owned(), pair[0].as_f64().unwrap_or(0.0), value)
    };
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("scalar" | "string") => vec![point("", result)],
        _ => {
            let mut out = Vec::new();
            for series in result.as_array().into_iter().flatten() {
                let name = series_name(&series["metric"]);
                for key in ["value", "histogram"] {
                    out.extend(series.get(key).map(|pair| point(&name, pair)));
                }
                for key in ["values", "histograms"] {
                    out.extend(
                        series[key]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .map(|pair| point(&name, pair)),
                    );
                }
            }
            out
        }
    }
}

fn series_name(metric: &Value) -> String {
    let pairs = metric.as_object().into_iter().flatten();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    model::Labels::from_pairs(pairs)
        .map(|labels| labels.to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_pointed_at() {
        let text = "sum(rate(up[5m])";
        let errors = promql::parse(text, promql::ParserOptions::default()).expect_err("unclosed");
        let shown = point_at(text, &errors);
        assert!(shown.contains(text) && shown.contains('^'), "{shown}");
    }

    #[test]
    fn a_plan_becomes_a_tree() {
        let node = |depth, name, text, series| {
            serde_json::json!({
                "depth": depth, "node": name, "text": text, "series": series, "points": series, "samplesRead": 40,
                "seconds": 0.0015, "memoryBytes": 1_025,
            })
        };
        let stats = serde_json::json!({
            "timings": {"evalTotalTime": 0.002, "execQueueTime": 0.0},
            "samples": {"samplesRead": 40, "peakMemoryBytes": 2_048},
            "plan": [node(0, "sum", "sum(\n  a)", 1), node(1, "selector", "a", 20)],
        });
        let table = explained("table", &stats).expect("a table");
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[1].starts_with("sum ") && lines[1].ends_with("sum( a)"),
            "{table}"
        );
        assert!(lines[2].starts_with("  selector  20"), "{table}");
        assert_eq!(
            lines[3],
            "2.000 ms evaluated, 0.000 ms waited; 40 samples read, 2 KiB of memory at most"
        );
        let csv = explained("csv", &stats).expect("csv");
        assert!(csv.contains("  selector,20,20,40,1.500,2,a\n"), "{csv}");
        let json = explained("json", &stats).expect("json");
        assert!(json.contains("\"samplesRead\": 40"), "{json}");
    }

    #[test]
    fn results_become_csv_and_tables() {
        let data = serde_json::json!({
            "resultType": "vector",
            "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [1.5, "1"]}],
        });
        assert_eq!(
            render("csv", &data).expect("csv"),
            "series,time,value\n\"up{job=\"\"a\"\"}\",1.5,1\n"
        );
        assert!(
            render("table", &data)
                .expect("table")
                .contains("up{job=\"a\"}")
        );
        let scalar = serde_json::json!({"resultType": "scalar", "result": [0, "2"]});
        assert_eq!(
            render("csv", &scalar).expect("csv"),
            "series,time,value\n,0,2\n"
        );
    }
}
