//! `status/*`, health, reload: the server about itself.

use std::sync::Arc;

use http_shell::{Response, StatusCode};
use model::TimestampMs;

use crate::api::{Api, unavailable};
use crate::envelope::{Notes, success};

impl Api {
    /// `/api/v1/status/buildinfo`; without `features`, which Grafana takes for Mimir.
    pub(crate) fn build_info(&self) -> Response {
        let build = &self.config.build;
        success(&Notes::default(), |json| {
            json.object(|json| {
                // Clients ask this for Prometheus' version and choose what they may call.
                json.key("version").string(build.prometheus_version);
                json.key("revision").string(build.revision);
                json.key("branch").string("main");
                json.key("buildUser").string("");
                json.key("buildDate").string("");
                json.key("goVersion").string("");
                json.key("application").string("Promontory");
                json.key("applicationVersion").string(build.version);
            });
        })
    }

    /// `/api/v1/status/runtimeinfo`
    pub(crate) fn runtime_info(&self) -> Response {
        let info = self.parts.control.runtime();
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("startTime").string(&rfc3339(info.started));
                json.key("CWD").string(&info.working_folder);
                json.key("hostname").string(&info.hostname);
                json.key("serverTime")
                    .string(&rfc3339(TimestampMs::from(self.parts.clock.wall())));
                json.key("reloadConfigSuccess").raw(info.reload_succeeded);
                json.key("lastConfigTime")
                    .string(&rfc3339(info.last_reload));
                json.key("corruptionCount").raw(info.damages);
                json.key("goroutineCount").raw(info.tasks);
                json.key("GOMAXPROCS").raw(info.cores);
                json.key("GOMEMLIMIT").raw(0);
                json.key("GOGC").string("");
                json.key("GODEBUG").string("");
                json.key("storageRetention").string(&info.retention);
            });
        })
    }

    /// `/api/v1/status/config`
    pub(crate) fn configuration(&self) -> Response {
        let yaml = self.parts.control.configuration();
        success(&Notes::default(), |json| {
            json.object(|json| {
                json.key("yaml").string(&yaml);
            });
        })
    }

    /// `/api/v1/status/flags`
    pub(crate) fn flags(&self) -> Response {
        let flags = self.parts.control.flags();
        success(&Notes::default(), |json| {
            json.object(|json| {
                for (name, value) in &flags {
                    json.key(name).string(value);
                }
            });
        })
    }

    /// `/-/healthy`
    pub(crate) fn healthy() -> Response {
        Response::text(StatusCode::OK, "Promontory is Healthy.")
    }

    /// `/-/ready`
    pub(crate) fn ready(&self) -> Response {
        match self.parts.control.not_ready() {
            None => Response::text(StatusCode::OK, "Promontory is Ready."),
            Some(why) => unavailable(&why),
        }
    }

    /// `/-/reload`
    pub(crate) async fn reload(&self) -> Response {
        if !self.config.lifecycle {
            let why =
                "Lifecycle API is not enabled; start with --web.enable-lifecycle, or send SIGHUP";
            return Response::text(StatusCode::FORBIDDEN, why);
        }
        let control = Arc::clone(&self.parts.control);
        let reloading = self
            .parts
            .tasks
            .spawn_blocking("reload", move || control.reload());
        let mistakes = match reloading.await {
            Ok(Ok(())) => return Response::empty(StatusCode::OK),
            Ok(Err(mistakes)) => mistakes,
            Err(error) => error.to_string(),
        };
        let why = format!("failed to reload config: {mistakes}");
        Response::text(StatusCode::INTERNAL_SERVER_ERROR, why)
    }
}

fn rfc3339(at: TimestampMs) -> String {
    promql::number::rfc3339(at.0)
}
