//! The commands that print something and end.

use std::sync::Arc;

use agent::AgentError;
use clock::SystemClock;
use config::{Mistake, Mistakes, Origin, Program, Settings, Shell};
use exposition::Format;
use host::Host;
use telemetry::{LogConfig, LogHandle, init_logging};

use crate::{Failure, terminal};

/// Prints what the collectors say now.
pub(crate) fn collect(settings: &Settings) -> Result<(), Failure> {
    let config = agent::collecting(settings)?;
    let clock = Arc::new(SystemClock::new());
    log(settings, Arc::clone(&clock) as _)?;
    let containers = match agent::container_config(settings) {
        Some(config) => agent::exposed_containers(&config, Arc::clone(&clock) as _, Format::Text)?,
        None => String::new(),
    };
    let mut host = Host::new(&config, clock).map_err(AgentError::Host)?;
    terminal::print(&(agent::exposed(&mut host, Format::Text) + &containers))
}

/// Prints a completion script.
pub(crate) fn completion(shell: Option<&String>) -> Result<(), Failure> {
    let word = shell.map_or("", String::as_str);
    match Shell::from_word(word) {
        Some(shell) => terminal::print(&config::completion(&agent::program(), shell)),
        None => Err(not_one_of("SHELL", word, Shell::WORDS)),
    }
}

/// Prints a man page.
pub(crate) fn man(command: Option<&String>) -> Result<(), Failure> {
    let program = agent::program();
    match config::man_page(&program, command.map(String::as_str)) {
        Some(page) => terminal::print(&page),
        None => {
            let names: Vec<&str> = program.commands.iter().map(command_name).collect();
            let word = command.map_or("", String::as_str);
            Err(not_one_of("COMMAND", word, &names))
        }
    }
}

/// Logs as the settings say.
pub(crate) fn log(settings: &Settings, clock: clock::SharedClock) -> Result<LogHandle, Failure> {
    let config = LogConfig {
        level: settings.text("log.level").parse().unwrap_or_default(),
        format: settings.text("log.format").parse().unwrap_or_default(),
    };
    Ok(init_logging(config, clock)?)
}

const fn command_name(program: &Program) -> &'static str {
    program.name
}

fn not_one_of(argument: &str, word: &str, accepted: &[&str]) -> Failure {
    Failure::Usage(Mistakes(vec![Mistake {
        origin: Origin::Flag(argument.to_owned()),
        what: format!("{word:?} is not one of {}", accepted.join(", ")),
    }]))
}
