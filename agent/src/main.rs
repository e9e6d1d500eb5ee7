//! `promontory-agent`: the agent of a node. Wiring only; the agent itself is the library beside this.

#![forbid(unsafe_code)]

mod memory;
mod run;
mod terminal;
mod tools;
mod web;

use std::process::ExitCode;

use agent::{AgentError, COLLECT, RUN};
use config::{Environment, Information, Invocation, Refusal};

/// The command line, a variable or a configuration file is wrong.
const EXIT_USAGE: u8 = 2;
/// The agent cannot join, or its identity cannot be used.
const EXIT_REFUSED: u8 = 3;

/// Why the process ends with another code than 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Usage(#[from] config::Mistakes),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error(transparent)]
    Web(#[from] http_shell::BindError),
    #[error("cannot {0}")]
    System(&'static str, #[source] std::io::Error),
    #[error(transparent)]
    Log(#[from] telemetry::LogError),
    #[error("asked twice to stop; what was not acknowledged is in the spool")]
    Impatient,
}

fn main() -> ExitCode {
    let read = agent::program().read(
        std::env::args_os(),
        Environment::of_process(),
        agent::SECTIONS,
    );
    let done = match read {
        Ok(invocation) => execute(invocation),
        Err(Refusal::Information(Information(text))) => terminal::print(&text),
        Err(Refusal::Mistakes(mistakes)) => Err(Failure::Usage(mistakes)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn execute(invocation: Invocation) -> Result<(), Failure> {
    let Invocation {
        command,
        settings,
        arguments,
    } = invocation;
    let argument = |name: &str| arguments.get(name).and_then(|given| given.first());
    match command.as_slice() {
        [RUN] => run::run(settings),
        [COLLECT] => tools::collect(&settings),
        ["completion"] => tools::completion(argument("SHELL")),
        _ => tools::man(argument("COMMAND")),
    }
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Agent(error) if error.is_mistake() => EXIT_USAGE,
            Self::Agent(error) if error.is_refusal() => EXIT_REFUSED,
            Self::Web(http_shell::BindError::WebConfig(_)) => EXIT_USAGE,
            Self::Agent(_) | Self::Web(_) | Self::System(..) | Self::Log(_) | Self::Impatient => 1,
        }
    }
}
