//! `promontory up`: aggregator and agent in one process on loopback, for the first five minutes and for one machine.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, AgentConfig, AgentError, Surroundings, TokenSource};
use anyhow::Context;
use config::Settings;
use ingest::TokenTerms;
use model::TimestampMs;
use rows::AgentId;
use runtime::{Signals, Task, Token};
use telemetry::Registry;

use crate::program::{INGEST_ADDRESS, WEB_ADDRESS};
use crate::service::{Addresses, Aggregator, Base, run_to_end, unless_stopped, wait_for_stop};
use crate::{config_of, control, terminal};

/// The agent's folder within the data folder.
const AGENT_FOLDER: &str = "agent";
/// Where the agent's identity lies in it.
const IDENTITY: &str = "identity/identity.pem";
/// The join token of the agent is used at once, and once.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// What the agent is called when the machine's name cannot be an id.
const NAMELESS: &str = "localhost";

/// Runs both until a signal stops them.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let base = Base::new(&settings)?;
    run_to_end(async {
        let mut signals = Signals::install()?;
        let addresses = free_addresses(&settings);
        let interval = settings.duration("interval");
        let starting = Aggregator::start(&base, settings.clone(), &addresses, interval);
        let Some(aggregator) = unless_stopped(&mut signals, starting).await else {
            return Ok(ExitCode::SUCCESS);
        };
        let aggregator = aggregator?;
        let stop = Token::new();
        let mut agent = start_agent(&base, &settings, &aggregator, &stop).await?;
        terminal::print(&banner(&settings, &aggregator, &addresses));
        let outcome = tokio::select! {
            () = wait_for_stop(&mut signals, &aggregator.process) => Ok(()),
            ended = &mut agent => Err(match ended {
                Ok(Ok(())) => anyhow::anyhow!("the agent ended by itself"),
                Ok(Err(error)) => error.into(),
                Err(error) => error.into(),
            }),
        };
        stop.stop();
        let stopping = async {
            let agent_ended = if outcome.is_ok() {
                agent.await
            } else {
                Ok(Ok(()))
            };
            aggregator.stop().await;
            agent_ended
        };
        let Some(agent_ended) = unless_stopped(&mut signals, stopping).await else {
            return Ok(ExitCode::FAILURE);
        };
        agent_ended??;
        outcome.map(|()| ExitCode::SUCCESS)
    })
}

async fn start_agent(
    base: &Base,
    settings: &Settings,
    aggregator: &Aggregator,
    stop: &Token,
) -> anyhow::Result<Task<Result<(), AgentError>>> {
    let folder = settings.path("storage.path").join(AGENT_FOLDER);
    let terms = TokenTerms {
        expires: Some(TOKEN_LIFE),
        uses: Some(1),
        ..TokenTerms::default()
    };
    let now = TimestampMs::from(base.clock.wall());
    // Used only when the agent has no identity of this authority: whatever happened to it, the next start mends it.
    let token = aggregator.tokens.create(&terms, now)?;
    let has_identity = base.files.exists(&folder.join(IDENTITY)).unwrap_or(false);
    // The machine's name names the agent once; a machine that is renamed keeps its series.
    let id = if has_identity {
        None
    } else {
        Some(own_name()?)
    };
    let config = AgentConfig {
        token: TokenSource::Given(token),
        id,
        interval: settings.duration("interval"),
        host: agent::host_config(settings),
        containers: agent::container_config(settings).map(Box::new),
        ..AgentConfig::new(aggregator.ingest_address.to_string(), folder)
    };
    let surroundings = Surroundings {
        files: Arc::clone(&base.files),
        clock: Arc::clone(&base.clock),
        registry: Registry::new(),
        tasks: base.tasks.clone(),
    };
    let agent = Agent::start(config, surroundings)
        .await
        .context("cannot start the agent")?;
    Ok(base.tasks.spawn("agent", agent.run(stop.clone())))
}

fn own_name() -> anyhow::Result<AgentId> {
    Ok(control::host_name().parse().or_else(|_| NAMELESS.parse())?)
}

/// The addresses to listen on: when a default is taken by another program, any free port in its place.
fn free_addresses(settings: &Settings) -> Addresses {
    let mut addresses = Addresses::of(settings);
    let is_free = |address: &str| TcpListener::bind(address).is_ok();
    if addresses.web == WEB_ADDRESS && !is_free(WEB_ADDRESS) {
        "127.0.0.1:0".clone_into(&mut addresses.web);
    }
    if addresses.ingest == INGEST_ADDRESS
        && !(is_free(INGEST_ADDRESS) && UdpSocket::bind(INGEST_ADDRESS).is_ok())
    {
        "127.0.0.1:0".clone_into(&mut addresses.ingest);
    }
    addresses
}

fn banner(settings: &Settings, aggregator: &Aggregator, addresses: &Addresses) -> String {
    let folder = settings.path("storage.path");
    let shown = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let scheme = if settings.is_set("web.config.file") {
        "http(s)"
    } else {
        "http"
    };
    let moved = match (
        addresses.web != settings.text("web.listen-address"),
        addresses.ingest != settings.text("ingest.listen-address"),
    ) {
        (false, false) => "",
        (true, false) => " (port 9090 is taken)",
        (false, true) => " (port 4433 is taken)",
        (true, true) => " (ports 9090 and 4433 are taken)",
    };
    let url = format!("{scheme}://{}", aggregator.web_address);
    let option = if aggregator.web_address.to_string() == WEB_ADDRESS {
        String::new()
    } else {
        format!(" --url {url}")
    };
    format!(
        "promontory {version} samples this machine every {interval}

  HTTP API   {url}{moved}
  agents     {ingest} (QUIC, and TLS over TCP)
  data       {folder}

Try, in three seconds:
  {program} query{option} 'sum by (mode) (rate(node_cpu_seconds_total[5s]))'
  {program} query{option} '1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes'
  {program} query{option} --range 1m --step 5s 'rate(node_network_receive_bytes_total[5s])'

Grafana: add {url} as a Prometheus data source. Ctrl-C stops; the next start shows the old data.",
        version = config_of::VERSION,
        program = program(),
        interval = model::format_duration(settings.duration("interval")),
        ingest = aggregator.ingest_address,
        folder = display(&shown),
    )
}

/// How this program is called again from here.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else {
        return "promontory".to_owned();
    };
    let here = std::env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    display(&here.unwrap_or(path))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
