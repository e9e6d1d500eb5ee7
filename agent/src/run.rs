//! `promontory-agent run`: the agent, its HTTP server and the signals of its process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent::{Agent, AgentConfig, AgentError, AgentView, Scraping, Surroundings};
use clock::{SharedClock, SystemClock};
use config::{Mistakes, Settings, WebConfig};
use files::Disk;
use http_shell::{Limits, Listen, Server};
use runtime::{Signal, Signals, Task, TaskError, Tasks, Timer, Token};
use telemetry::{LogHandle, Registry, register_build_info, register_process};
use tokio::time::timeout;

use crate::web::{PushRoutes, Routes, SocketRoutes};
use crate::{Failure, memory, tools};

/// Threads for requests; collectors and the uplink have their own.
const WORKERS: usize = 2;
/// Threads for what blocks: one collects, one has the uplink, the others names and files now and then.
const BLOCKING_THREADS: usize = 6;
/// The time that requests under way have at the end.
const HTTP_GRACE: Duration = Duration::from_secs(2);
/// Scrapers, probes and pushes; more wait.
const CONNECTIONS_MAX: u32 = 128;
/// As many of the largest pushes may be in memory at once; more wait.
const LARGEST_BODIES: usize = 4;

/// Runs until a signal, or until the agent cannot go on.
pub(crate) fn run(settings: Settings) -> Result<(), Failure> {
    heap::share();
    let config = check(&settings)?;
    let clock: SharedClock = Arc::new(SystemClock::new());
    let log = tools::log(&settings, Arc::clone(&clock))?;
    let runtime = runtime::multi_thread("agent", WORKERS, BLOCKING_THREADS)
        .map_err(|error| Failure::System("start threads", error))?;
    let outcome = runtime.block_on(serve(config, clock, settings, log));
    // A collector that the kernel holds, or a second signal, must not hold up the end of the process.
    runtime.shutdown_background();
    outcome
}

/// Reads what single settings do not show; all mistakes together.
fn check(settings: &Settings) -> Result<AgentConfig, Mistakes> {
    let web = settings
        .optional_path("web.config.file")
        .map(WebConfig::read);
    let of_web = web
        .and_then(Result::err)
        .map_or_else(Vec::new, |found| found.0);
    match AgentConfig::from_settings(settings) {
        Ok(config) => Mistakes::none_in(of_web, config),
        Err(mut mistakes) => {
            mistakes.0.extend(of_web);
            Err(mistakes)
        }
    }
}

async fn serve(
    config: AgentConfig,
    clock: SharedClock,
    settings: Settings,
    log: LogHandle,
) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(|error| Failure::System("take signals", error))?;
    let registry = Registry::new();
    register_process(&registry, Path::new("/proc"));
    register_build_info(&registry, env!("CARGO_PKG_VERSION"), "");
    let web = Web::bind(&settings).await?;
    let tasks = Tasks::new("agent");
    let stop = Token::new();
    let giving_back = memory::give_back(Timer::new(Arc::clone(&clock)), stop.child());
    tasks.spawn("give memory back", giving_back).detach();
    let surroundings = Surroundings {
        files: Arc::new(Disk),
        clock,
        registry,
        tasks: tasks.clone(),
    };
    let agent = Agent::start(config, surroundings).await?;
    let pushes = PushRoutes::new(agent.view().pushing(), &settings, &stop);
    let web = web.serve(agent.view(), pushes);
    let mut reload = Reload {
        settings,
        log,
        scraping: agent.view().scraping(),
    };
    let running = tasks.spawn("agent", agent.run(stop.child()));
    let outcome = until_end(running, &stop, &mut signals, &mut reload).await;
    // Last, so that probes and scrapes see how the agent ends.
    web.stop().await;
    outcome
}

async fn until_end(
    mut running: Task<Result<(), AgentError>>,
    stop: &Token,
    signals: &mut Signals,
    reload: &mut Reload,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            ended = &mut running => return Ok(ended.unwrap_or_else(|error| Err(broken(&error)))?),
            signal = signals.next() => match signal {
                Signal::Reload => reload.reload(),
                Signal::Shutdown if stop.is_stopped() => return Err(Failure::Impatient),
                Signal::Shutdown => {
                    tracing::info!("stopping");
                    stop.stop();
                }
            }
        }
    }
}

fn broken(error: &TaskError) -> AgentError {
    AgentError::PartEnded {
        part: "agent",
        why: error.to_string(),
    }
}

/// What SIGHUP changes.
struct Reload {
    settings: Settings,
    log: LogHandle,
    scraping: Scraping,
}

impl Reload {
    fn reload(&mut self) {
        let reloaded = self.settings.reloaded();
        let reloaded = reloaded.and_then(|settings| Ok((agent::jobs(&settings)?, settings)));
        match reloaded {
            Ok((jobs, settings)) => {
                self.settings = settings;
                self.scraping.reload(jobs);
                let level = self.settings.text("log.level").parse().unwrap_or_default();
                self.log.set_level(level);
                tracing::info!(%level, "read the configuration file again for log.level and scrape_configs");
            }
            Err(mistakes) => {
                tracing::error!(%mistakes, "configuration not reloaded; the old one stays");
            }
        }
    }
}

/// The HTTP servers, with tasks and a stop of their own.
struct Web {
    server: Server,
    socket: Option<Server>,
    tasks: Tasks,
}

/// Servers that serve.
struct Serving {
    tasks: Tasks,
    stop: Token,
}

impl Web {
    async fn bind(settings: &Settings) -> Result<Self, Failure> {
        let listen = Listen::Tcp {
            address: settings.text("web.listen-address").to_owned(),
            web_config: settings
                .optional_path("web.config.file")
                .map(Path::to_owned),
        };
        let body_bytes_max = settings.number("push.max-body-size");
        let body_bytes_max = usize::try_from(body_bytes_max).unwrap_or(usize::MAX);
        let limits = Limits {
            connections_max: CONNECTIONS_MAX,
            body_bytes_max,
            requests_bytes_max: body_bytes_max.saturating_mul(LARGEST_BODIES),
            ..Limits::default()
        };
        let tasks = Tasks::new("http");
        let server = Server::bind(&listen, limits, &tasks).await?;
        if let Some(address) = server.local_address() {
            tracing::info!(%address, tls = server.is_tls(), "listening for HTTP");
        }
        let socket = match settings.optional_path("push.socket") {
            None => None,
            Some(path) => {
                let listen = Listen::OpenUnix {
                    path: path.to_owned(),
                    procfs: settings.path("path.procfs").to_owned(),
                };
                let socket = Server::bind(&listen, limits, &tasks).await?;
                tracing::info!(path = %path.display(), "listening for pushes");
                Some(socket)
            }
        };
        Ok(Self {
            server,
            socket,
            tasks,
        })
    }

    fn serve(self, view: AgentView, pushes: PushRoutes) -> Serving {
        let Self {
            server,
            socket,
            tasks,
        } = self;
        let stop = Token::new();
        if let Some(socket) = socket {
            let routes = SocketRoutes(pushes.clone());
            let serving = socket.serve(Arc::new(routes), stop.child());
            tasks.spawn("push socket", serving).detach();
        }
        let routes = Routes::new(view, pushes);
        let serving = server.serve(Arc::new(routes), stop.child());
        tasks.spawn("http server", serving).detach();
        Serving { tasks, stop }
    }
}

impl Serving {
    async fn stop(self) {
        self.stop.stop();
        if timeout(HTTP_GRACE, self.tasks.join()).await.is_err() {
            tracing::warn!(
                connections = self.tasks.count(),
                "http connections were cut"
            );
        }
    }
}
