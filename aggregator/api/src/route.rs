//! Which path means what, and by which methods.

use http_shell::{Method, decode_component};

use crate::alertmanager::V2;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Query,
    QueryRange,
    FormatQuery,
    ParseQuery,
    Exemplars,
    Series,
    Labels,
    LabelValues(String),
    Metadata,
    Samples,
    Write,
    Agents,
    Rules,
    Alerts,
    BuildInfo,
    RuntimeInfo,
    Config,
    Flags,
    TsdbStatus,
    TsdbBlocks,
    Queries,
    RunningQuery(String),
    CancelQuery,
    WalReplay,
    DeleteSeries,
    CleanTombstones,
    Snapshot,
    Metrics,
    Healthy,
    Ready,
    Reload,
    AlertHistory,
    Alertmanagers,
    Alertmanager(V2),
}

/// Paths of Alertmanager's API begin so.
const API_V2: &str = "/api/v2/";

/// Paths of the API begin so: all of them have CORS headers, and answer OPTIONS whether there is something or not.
pub(crate) const API: &str = "/api/v1/";

impl Route {
    /// Returns what a path asks for; `None`: there is nothing.
    pub(crate) fn find(path: &str) -> Option<Self> {
        if let Some(endpoint) = path.strip_prefix(API_V2) {
            return V2::find(endpoint).map(Self::Alertmanager);
        }
        let Some(endpoint) = path.strip_prefix(API) else {
            return match path {
                "/metrics" => Some(Self::Metrics),
                "/-/healthy" => Some(Self::Healthy),
                "/-/ready" => Some(Self::Ready),
                "/-/reload" => Some(Self::Reload),
                _ => None,
            };
        };
        match endpoint {
            "query" => Some(Self::Query),
            "query_range" => Some(Self::QueryRange),
            "format_query" => Some(Self::FormatQuery),
            "parse_query" => Some(Self::ParseQuery),
            "query_exemplars" => Some(Self::Exemplars),
            "series" => Some(Self::Series),
            "labels" => Some(Self::Labels),
            "metadata" => Some(Self::Metadata),
            "samples" => Some(Self::Samples),
            "write" => Some(Self::Write),
            "alerts/history" => Some(Self::AlertHistory),
            "agents" => Some(Self::Agents),
            "rules" => Some(Self::Rules),
            "alerts" => Some(Self::Alerts),
            "alertmanagers" => Some(Self::Alertmanagers),
            "status/buildinfo" => Some(Self::BuildInfo),
            "status/runtimeinfo" => Some(Self::RuntimeInfo),
            "status/config" => Some(Self::Config),
            "status/flags" => Some(Self::Flags),
            "status/tsdb" => Some(Self::TsdbStatus),
            "status/tsdb/blocks" => Some(Self::TsdbBlocks),
            "status/queries" => Some(Self::Queries),
            "status/queries/cancel" => Some(Self::CancelQuery),
            "status/walreplay" => Some(Self::WalReplay),
            "admin/tsdb/delete_series" => Some(Self::DeleteSeries),
            "admin/tsdb/clean_tombstones" => Some(Self::CleanTombstones),
            "admin/tsdb/snapshot" => Some(Self::Snapshot),
            _ => {
                if let Some(id) = endpoint.strip_prefix("status/queries/") {
                    return (!id.contains('/')).then(|| Self::RunningQuery(decode_component(id)));
                }
                let name = endpoint.strip_prefix("label/")?.strip_suffix("/values")?;
                (!name.contains('/')).then(|| Self::LabelValues(decode_component(name)))
            }
        }
    }

    /// Returns the methods by which it may be asked for, in alphabetical order; OPTIONS is answered everywhere.
    pub(crate) const fn methods(&self) -> &'static [Method] {
        match self {
            Self::Query
            | Self::QueryRange
            | Self::FormatQuery
            | Self::ParseQuery
            | Self::Exemplars
            | Self::Series
            | Self::Samples
            | Self::Labels => &[Method::GET, Method::OPTIONS, Method::POST],
            Self::Healthy | Self::Ready => &[Method::GET, Method::HEAD, Method::OPTIONS],
            Self::Reload | Self::DeleteSeries | Self::CleanTombstones | Self::Snapshot => {
                &[Method::OPTIONS, Method::POST, Method::PUT]
            }
            Self::Write | Self::CancelQuery => &[Method::OPTIONS, Method::POST],
            Self::RunningQuery(_) => &[Method::DELETE, Method::OPTIONS],
            Self::Alertmanager(route) => route.methods(),
            Self::LabelValues(_)
            | Self::Metadata
            | Self::Agents
            | Self::Rules
            | Self::Alerts
            | Self::Alertmanagers
            | Self::BuildInfo
            | Self::RuntimeInfo
            | Self::Config
            | Self::Flags
            | Self::TsdbStatus
            | Self::TsdbBlocks
            | Self::Queries
            | Self::WalReplay
            | Self::AlertHistory
            | Self::Metrics => &[Method::GET, Method::OPTIONS],
        }
    }

    /// Returns the value of the label `handler`: the path, parameters left out.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Query => "/api/v1/query",
            Self::QueryRange => "/api/v1/query_range",
            Self::FormatQuery => "/api/v1/format_query",
            Self::ParseQuery => "/api/v1/parse_query",
            Self::Exemplars => "/api/v1/query_exemplars",
            Self::Series => "/api/v1/series",
            Self::Labels => "/api/v1/labels",
            Self::LabelValues(_) => "/api/v1/label/:name/values",
            Self::Metadata => "/api/v1/metadata",
            Self::Samples => "/api/v1/samples",
            Self::Write => "/api/v1/write",
            Self::Agents => "/api/v1/agents",
            Self::Rules => "/api/v1/rules",
            Self::Alerts => "/api/v1/alerts",
            Self::BuildInfo => "/api/v1/status/buildinfo",
            Self::RuntimeInfo => "/api/v1/status/runtimeinfo",
            Self::Config => "/api/v1/status/config",
            Self::Flags => "/api/v1/status/flags",
            Self::TsdbStatus => "/api/v1/status/tsdb",
            Self::TsdbBlocks => "/api/v1/status/tsdb/blocks",
            Self::Queries => "/api/v1/status/queries",
            Self::RunningQuery(_) => "/api/v1/status/queries/:id",
            Self::CancelQuery => "/api/v1/status/queries/cancel",
            Self::WalReplay => "/api/v1/status/walreplay",
            Self::DeleteSeries => "/api/v1/admin/tsdb/delete_series",
            Self::CleanTombstones => "/api/v1/admin/tsdb/clean_tombstones",
            Self::Snapshot => "/api/v1/admin/tsdb/snapshot",
            Self::Metrics => "/metrics",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Reload => "/-/reload",
            Self::AlertHistory => "/api/v1/alerts/history",
            Self::Alertmanagers => "/api/v1/alertmanagers",
            Self::Alertmanager(route) => route.name(),
        }
    }

    /// Returns whether the store must have recovered first; who sends samples is told so in a way of its own.
    pub(crate) const fn needs_store(&self) -> bool {
        match self {
            Self::Query
            | Self::QueryRange
            | Self::FormatQuery
            | Self::ParseQuery
            | Self::Exemplars
            | Self::Series
            | Self::Labels
            | Self::LabelValues(_)
            | Self::Metadata
            | Self::Samples
            | Self::TsdbStatus
            | Self::TsdbBlocks
            | Self::DeleteSeries
            | Self::CleanTombstones
            | Self::Snapshot => true,
            Self::Write
            | Self::Agents
            | Self::Rules
            | Self::Alerts
            | Self::BuildInfo
            | Self::RuntimeInfo
            | Self::Config
            | Self::Flags
            | Self::Queries
            | Self::RunningQuery(_)
            | Self::CancelQuery
            | Self::WalReplay
            | Self::Metrics
            | Self::Healthy
            | Self::Ready
            | Self::Reload
            | Self::Alertmanagers
            | Self::AlertHistory
            | Self::Alertmanager(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_whole() {
        assert_eq!(Route::find("/api/v1/query"), Some(Route::Query));
        let name = |name: &str| Some(Route::LabelValues(name.to_owned()));
        assert_eq!(Route::find("/api/v1/label/job/values"), name("job"));
        assert_eq!(Route::find("/api/v1/label/a%2Fb/values"), name("a/b"));
        assert_eq!(Route::find("/api/v1/label//values"), name(""));
        let queries = |rest: &str| Route::find(&format!("/api/v1/status/queries{rest}"));
        assert_eq!(queries(""), Some(Route::Queries));
        assert_eq!(queries("/7"), Some(Route::RunningQuery("7".to_owned())));
        assert_eq!(queries("/cancel"), Some(Route::CancelQuery));
        assert_eq!(queries("/7/8"), None);
        for none in [
            "",
            "/",
            "/api/v1",
            "/api/v1/",
            "/api/v1/query/",
            "/api/v1/label/values",
            "/api/v1/label/a/b/values",
            "/api/v2/query",
            "/query",
            "/metrics/",
        ] {
            assert_eq!(Route::find(none), None, "{none}");
        }
    }
}
