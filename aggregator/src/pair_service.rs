//! A pair of aggregators as part of the service: which of the two this is, and its link to the other.

use std::io::Read;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;

use alerting::{Alerting, PairConfig, PairPlace};
use anyhow::{Context, bail};
use api::{Cluster, ClusterMember};
use config::Settings;
use files::KeyValue;
use ingest::Tokens;
use pair::{Dialling, Link, LinkConfig, Listening, Side};
use rows::AgentId;
use runtime::Token;
use transport::{Authority, JoinToken, Listener, ListenerConfig};

use crate::config_of;
use crate::control::host_name;
use crate::service::Base;

/// What the link needs is in here, in the data folder: the authority of the one that listens, the identity of the one that dials.
pub(crate) const FOLDER: &str = "pair";
/// The tokens of the one that listens.
pub(crate) const DATABASE: &str = "tokens.redb";
/// The largest file with a token.
const TOKEN_BYTES_MAX: u64 = 4_096;
/// The first name of an aggregator whose machine's name cannot be one.
const NAMELESS: &str = "aggregator";
/// The other one, whoever wants to take its place, and those that go.
const CONNECTIONS_MAX: u32 = 8;

/// Returns how alerting works in the pair that the settings ask for, if they do.
pub(crate) fn pair_config(settings: &Settings) -> anyhow::Result<Option<PairConfig>> {
    let is_set = |name| settings.optional_text(name).is_some();
    let place = match (is_set("cluster.listen-address"), is_set("cluster.peer")) {
        (false, false) => return Ok(None),
        (true, false) => PairPlace::First,
        (false, true) => PairPlace::Second,
        (true, true) => bail!(
            "--cluster.listen-address and --cluster.peer are both given: one aggregator of a pair listens, the other dials; take one of the two away"
        ),
    };
    Ok(Some(PairConfig {
        place,
        peer_timeout: settings.duration("cluster.peer-timeout"),
        settle_timeout: settings.duration("cluster.settle-timeout"),
    }))
}

/// The link to the other of a pair.
pub(crate) struct PairService {
    link: Link,
    role: Role,
}

enum Role {
    Listens(Listening),
    Dials(Dialling),
}

impl PairService {
    /// Returns the link that the settings ask for, if they do; it begins with [`run`](Self::run).
    pub(crate) async fn open(
        base: &Base,
        settings: &Settings,
        alerting: &Alerting,
    ) -> anyhow::Result<Option<Self>> {
        let Some(config) = pair_config(settings)? else {
            return Ok(None);
        };
        let folder = settings.path("storage.path").join(FOLDER);
        let role = match settings.optional_text("cluster.peer") {
            Some(target) => Role::Dials(Dialling {
                target: target.to_owned(),
                token: token(settings)?,
                files: Arc::clone(&base.files),
                folder,
            }),
            None => Role::Listens(listening(base, settings, &folder).await?),
        };
        let link_config = LinkConfig {
            name: name(settings)?,
            version: config_of::VERSION,
            silence_max: config.peer_timeout / 3,
        };
        let link = Link::new(
            link_config,
            alerting.clone(),
            Arc::clone(&base.clock),
            base.tasks.clone(),
            &base.registry,
        );
        Ok(Some(Self { link, role }))
    }

    /// Returns who may join the pair, at the one that listens.
    pub(crate) fn tokens(&self) -> Option<Arc<Tokens>> {
        match &self.role {
            Role::Listens(listening) => Some(Arc::clone(&listening.tokens)),
            Role::Dials(_) => None,
        }
    }

    /// Returns what the API shows.
    pub(crate) fn cluster(&self, alerting: &Alerting) -> Arc<dyn Fn() -> Cluster + Send + Sync> {
        let (link, alerting) = (self.link.clone(), alerting.clone());
        let address = match &self.role {
            Role::Listens(listening) => listening.listener.address().to_string(),
            Role::Dials(_) => String::new(),
        };
        Arc::new(move || {
            let view = link.view();
            let pair = alerting.see(|pipeline, _| pipeline.pair());
            let own = match address.as_str() {
                "" => view.own,
                address => Side {
                    address: address.to_owned(),
                    ..view.own
                },
            };
            Cluster {
                name: own.name.clone(),
                is_settled: pair.is_some_and(|pair| pair.is_settled),
                members: std::iter::once(own).chain(view.peer).map(member).collect(),
            }
        })
    }

    /// Keeps the link until `stop`.
    pub(crate) async fn run(self, stop: Token) {
        match self.role {
            Role::Listens(listening) => pair::listen(self.link, listening, stop).await,
            Role::Dials(dialling) => pair::dial(self.link, dialling, stop).await,
        }
    }
}

fn member(side: Side) -> ClusterMember {
    ClusterMember {
        name: side.name,
        address: side.address,
    }
}

fn name(settings: &Settings) -> anyhow::Result<AgentId> {
    match settings.optional_text("cluster.peer-name") {
        Some(name) => name.parse().context("--cluster.peer-name"),
        None => Ok(host_name().parse().or_else(|_| NAMELESS.parse())?),
    }
}

fn token(settings: &Settings) -> anyhow::Result<Option<JoinToken>> {
    let Some(path) = settings.optional_path("cluster.token-file") else {
        return Ok(None);
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("cannot read the token of the pair in {}", path.display()))?;
    let token = text.parse();
    Ok(Some(token.with_context(|| {
        format!("cannot use the token of the pair in {}", path.display())
    })?))
}

async fn listening(base: &Base, settings: &Settings, folder: &Path) -> anyhow::Result<Listening> {
    let text = settings.text("cluster.listen-address");
    let address = text
        .to_socket_addrs()
        .with_context(|| format!("cannot resolve --cluster.listen-address {text}"))?
        .next();
    let address = address.with_context(|| format!("{text} has no address"))?;
    let authority = Authority::open_or_create(&*base.files, folder, Arc::clone(&base.clock))?;
    let authority = Arc::new(authority);
    let database = KeyValue::open(Arc::clone(&base.files), &folder.join(DATABASE))?;
    let config = ListenerConfig {
        connections_max: CONNECTIONS_MAX,
        handshakes_max: CONNECTIONS_MAX,
        ..ListenerConfig::new(address)
    };
    let listener = Listener::bind(config, Arc::clone(&authority))
        .await
        .context("the port of the pair (--cluster.listen-address)")?;
    Ok(Listening {
        listener: Arc::new(listener),
        tokens: Arc::new(Tokens::new(database, authority.fingerprint())),
        authority,
    })
}
