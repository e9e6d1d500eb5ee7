//! The command-line tools: each asks a running aggregator over HTTP or its local socket, or looks at a data folder that is not in use,
//! or at files alone, and prints a table or JSON.

pub(crate) mod alerting;
mod backtest;
mod client;
mod import;
mod preview;
mod promqltest;
mod query;
mod rows;
mod rules;
mod table;
pub(crate) mod tsdb;

use std::process::ExitCode;

use config::{Settings, Shell};
use http_shell::Form;
use serde_json::Value;

pub(crate) use self::backtest::backtest;
use crate::{program, terminal};
use client::Caller;
pub(crate) use import::import;
pub(crate) use preview::alerts_preview;
pub(crate) use promqltest::promqltest;
pub(crate) use query::query;
use rows::{agent_rows, token_rows};
pub(crate) use rules::{check_rules, test_rules};
use table::Table;

/// `promontory agents`
pub(crate) fn agents(settings: &Settings) -> anyhow::Result<ExitCode> {
    let data = Caller::of_server(settings)?.get("/api/v1/agents")?;
    show(settings, &data, || agent_rows(&data["agents"]))
}

/// `promontory token create`
pub(crate) fn create_token(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut form = Form::default();
    for name in ["cluster", "tenant"] {
        form = form.with(name, settings.optional_text(name).unwrap_or_default());
    }
    form = form.with(
        "expires",
        settings.duration("expires").as_secs().to_string(),
    );
    if let Some(uses) = settings.optional_number("uses") {
        form = form.with("uses", uses.to_string());
    }
    let form = form.with("peer", settings.switch("peer").to_string());
    let data = Caller::of_socket(settings).post("/tokens", &form)?;
    match settings.text("output") {
        "json" => terminal::print(&serde_json::to_string_pretty(&data)?),
        _ => terminal::print(&data["token"].as_str().unwrap_or_default()),
    }
    Ok(ExitCode::SUCCESS)
}

/// `promontory token list`
pub(crate) fn list_tokens(settings: &Settings) -> anyhow::Result<ExitCode> {
    let path = format!("/tokens?peer={}", settings.switch("peer"));
    let data = Caller::of_socket(settings).get(&path)?;
    show(settings, &data, || token_rows(&data))
}

/// `promontory token revoke`
pub(crate) fn revoke_token(settings: &Settings, id: &[String]) -> anyhow::Result<ExitCode> {
    let id = id.first().map(String::as_str).unwrap_or_default();
    let form = Form::default().with("id", id);
    let form = form.with("peer", settings.switch("peer").to_string());
    Caller::of_socket(settings).post("/tokens/revoke", &form)?;
    Ok(ExitCode::SUCCESS)
}

/// `promontory completion`
pub(crate) fn completion(shell: &[String]) -> anyhow::Result<ExitCode> {
    let word = shell.first().map(String::as_str).unwrap_or_default();
    let Some(shell) = Shell::from_word(word) else {
        anyhow::bail!("{word:?} is not one of {}", Shell::WORDS.join(", "));
    };
    terminal::print(&config::completion(&program::program(), shell));
    Ok(ExitCode::SUCCESS)
}

/// `promontory man`
pub(crate) fn man(command: &[String]) -> anyhow::Result<ExitCode> {
    let word = command.first().map(String::as_str);
    let page = config::man_page(&program::program(), word).ok_or_else(|| {
        anyhow::anyhow!(
            "no such command: {}; `promontory --help` lists them",
            word.unwrap_or_default()
        )
    })?;
    terminal::print(&page);
    Ok(ExitCode::SUCCESS)
}

fn show(
    settings: &Settings,
    data: &Value,
    table: impl FnOnce() -> Table,
) -> anyhow::Result<ExitCode> {
    match settings.text("output") {
        "json" => terminal::print(&serde_json::to_string_pretty(data)?),
        _ => terminal::print(&table()),
    }
    Ok(ExitCode::SUCCESS)
}
