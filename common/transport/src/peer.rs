//! Who is at the other end, as its certificate says.

use std::fmt;
use std::str::FromStr;

use rows::{AgentId, AgentIdError};

/// The trust domain of identities.
const PREFIX: &str = "spiffe://promontory";

/// An agent's identity: carried in its certificate as the one URI
/// `spiffe://promontory[/tenant/TENANT][/cluster/CLUSTER]/agent/ID`, decided by the join token, never by the agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    agent: AgentId,
    cluster: Option<AgentId>,
    tenant: Option<AgentId>,
}

/// Why something is not an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerIdentityError {
    /// The agent's id breaks the rule.
    #[error(transparent)]
    Agent(#[from] AgentIdError),
    /// The name of the cluster or the tenant breaks the rule.
    #[error("{what} {name:?} must be 1 to 253 characters of a-z, A-Z, 0-9, '.', '_' or '-'")]
    Name {
        /// `cluster` or `tenant`.
        what: &'static str,
        /// The name, shortened.
        name: String,
    },
    /// The URI has another form.
    #[error("identity {uri:?} must look like {PREFIX}/tenant/T/cluster/C/agent/ID")]
    Form {
        /// The URI, shortened.
        uri: String,
    },
}

impl PeerIdentity {
    /// Returns the identity of `agent` in a cluster and a tenant, each if it has one.
    pub fn new(
        agent: AgentId,
        cluster: Option<&str>,
        tenant: Option<&str>,
    ) -> Result<Self, PeerIdentityError> {
        Ok(Self {
            agent,
            cluster: cluster.map(|name| plain("cluster", name)).transpose()?,
            tenant: tenant.map(|name| plain("tenant", name)).transpose()?,
        })
    }

    /// Returns the agent's id.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Returns the cluster; `None` when the token named none.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_ref().map(AgentId::as_str)
    }

    /// Returns the tenant; `None` when the token named none.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_ref().map(AgentId::as_str)
    }
}

/// Clusters and tenants follow the rule of agent ids: they stand in the same URI.
fn plain(what: &'static str, name: &str) -> Result<AgentId, PeerIdentityError> {
    name.parse()
        .map_err(|AgentIdError(name)| PeerIdentityError::Name { what, name })
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        if let Some(tenant) = &self.tenant {
            write!(f, "/tenant/{tenant}")?;
        }
        if let Some(cluster) = &self.cluster {
            write!(f, "/cluster/{cluster}")?;
        }
        write!(f, "/agent/{}", self.agent)
    }
}

impl FromStr for PeerIdentity {
    type Err = PeerIdentityError;

    fn from_str(uri: &str) -> Result<Self, PeerIdentityError> {
        let form = || PeerIdentityError::Form {
            uri: uri.chars().take(300).collect(),
        };
        let path = uri.strip_prefix(PREFIX).ok_or_else(form)?;
        let mut parts = path.split('/');
        if parts.next() != Some("") {
            return Err(form());
        }
        let (mut tenant, mut cluster) = (None, None);
        loop {
            match (parts.next(), parts.next()) {
                (Some("tenant"), Some(name)) if tenant.is_none() && cluster.is_none() => {
                    tenant = Some(name);
                }
                (Some("cluster"), Some(name)) if cluster.is_none() => cluster = Some(name),
                (Some("agent"), Some(id)) if parts.next().is_none() => {
                    return Self::new(id.parse()?, cluster, tenant);
                }
                _ => return Err(form()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_come_back_from_their_uri() {
        let id = || "node-1".parse::<AgentId>().unwrap();
        let cases = [
            (None, None, "spiffe://promontory/agent/node-1"),
            (
                Some("c"),
                None,
                "spiffe://promontory/cluster/c/agent/node-1",
            ),
            (None, Some("t"), "spiffe://promontory/tenant/t/agent/node-1"),
            (
                Some("c"),
                Some("t"),
                "spiffe://promontory/tenant/t/cluster/c/agent/node-1",
            ),
        ];
        for (cluster, tenant, uri) in cases {
            let identity = PeerIdentity::new(id(), cluster, tenant).unwrap();
            assert_eq!(identity.to_string(), uri);
            assert_eq!(uri.parse(), Ok(identity));
        }
        assert!(PeerIdentity::new(id(), Some("a/agent/b"), None).is_err());
    }

    #[test]
    fn other_uris_are_no_identities() {
        for bad in [
            "",
            "spiffe://promontory",
            "spiffe://promontory/",
            "spiffe://promontory/agent",
            "spiffe://promontory/agent/",
            "spiffe://promontory/agent/a/b",
            "spiffe://promontory/agent/a b",
            "spiffe://promontory/cluster/c/tenant/t/agent/a",
            "spiffe://promontory/cluster/c/cluster/d/agent/a",
            "spiffe://promontory/cluster//agent/a",
            "spiffe://promontoryx/agent/a",
            "spiffe://elsewhere/agent/a",
        ] {
            assert!(bad.parse::<PeerIdentity>().is_err(), "{bad}");
        }
    }
}
