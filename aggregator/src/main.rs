//! `promontory`: the aggregator, `up` (aggregator and agent in one process), and the command-line tools. Wiring only.

#![forbid(unsafe_code)]

mod admin;
mod alert_sinks;
mod alerting_service;
mod beside;
mod built_in;
mod config_of;
mod control;
mod limits;
mod memory;
mod own_series;
mod pair_service;
mod program;
mod retention_classes;
mod rule_config;
mod rule_service;
mod service;
mod store;
mod terminal;
mod tools;
mod up;

use std::process::ExitCode;

use config::{Environment, Information, Invocation, Refusal};

/// The command line, a variable or the configuration file is wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let read = program::program().read(
        std::env::args_os(),
        Environment::of_process(),
        program::SECTIONS,
    );
    let checked = read.and_then(|invocation| {
        retention_classes::retention_classes(&invocation.settings).map_err(Refusal::Mistakes)?;
        rule_config::RuleConfig::read(&invocation.settings).map_err(Refusal::Mistakes)?;
        Ok(invocation)
    });
    let invocation = match checked {
        Ok(invocation) => invocation,
        Err(Refusal::Information(Information(text))) => {
            terminal::print(&text);
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Mistakes(mistakes)) => {
            terminal::complain(&mistakes);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    heap::keep(u64::MAX);
    match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            terminal::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(invocation: Invocation) -> anyhow::Result<ExitCode> {
    let Invocation {
        command,
        settings,
        arguments,
    } = invocation;
    match command.as_slice() {
        ["up"] => up::run(settings),
        ["aggregator"] => service::run(settings),
        ["query"] => tools::query(&settings, &arguments["EXPRESSION"]),
        ["promqltest"] => tools::promqltest(&settings, &arguments["FILE"]),
        ["alerts", "preview"] => tools::alerts_preview(&settings),
        ["agents"] => tools::agents(&settings),
        ["token", "create"] => tools::create_token(&settings),
        ["token", "list"] => tools::list_tokens(&settings),
        ["token", "revoke"] => tools::revoke_token(&settings, &arguments["ID"]),
        ["tsdb", "check"] => tools::tsdb::check(&settings, &arguments["DIR"]),
        ["tsdb", "list"] => tools::tsdb::list(&settings, &arguments["DIR"]),
        ["tsdb", "dump"] => tools::tsdb::dump(&settings, &arguments["DIR"]),
        ["tsdb", "repair"] => tools::tsdb::repair(&settings, &arguments["DIR"]),
        ["tsdb", "import"] => tools::import(&settings, &arguments["DIR"]),
        ["backtest"] => Ok(tools::backtest(&settings)),
        ["check", "rules"] => tools::check_rules(&settings, &arguments["FILE"]),
        ["test", "rules"] => tools::test_rules(&settings, &arguments["FILE"]),
        ["check", "alertmanager-config"] => Ok(tools::alerting::check_config(&arguments["FILE"])),
        ["check", "routes"] => {
            tools::alerting::check_routes(&settings, &arguments["FILE"], &arguments["LABEL"])
        }
        ["alerts", "explain"] => tools::alerting::explain(&settings, &arguments["MATCHER"]),
        ["completion"] => tools::completion(&arguments["SHELL"]),
        ["man"] => tools::man(&arguments["COMMAND"]),
        other => anyhow::bail!("no such command: {}", other.join(" ")),
    }
}
