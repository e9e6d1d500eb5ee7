//! What the API asks of the process that it is part of.

use model::TimestampMs;

/// What this program is.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Our version.
    pub version: &'static str,
    /// The commit, when known.
    pub revision: &'static str,
    /// The version of Prometheus whose API this is.
    pub prometheus_version: &'static str,
}

/// What the API may ask of the process around it.
pub trait Control: Send + Sync {
    /// Returns what runs.
    fn runtime(&self) -> RuntimeInfo;
    /// Returns the configuration file's text; empty when there is none.
    fn configuration(&self) -> String;
    /// Returns all settings with their values, secrets hidden.
    fn flags(&self) -> Vec<(String, String)>;
    /// Returns why requests cannot be served yet; `None` when they can.
    fn not_ready(&self) -> Option<String>;
    /// Reads the configuration again; on an error the old one stays.
    fn reload(&self) -> Result<(), String>;
}

/// What runs.
#[derive(Clone, Debug)]
pub struct RuntimeInfo {
    /// Since when.
    pub started: TimestampMs,
    /// In which folder.
    pub working_folder: String,
    /// On which machine.
    pub hostname: String,
    /// Whether the last reload succeeded.
    pub reload_succeeded: bool,
    /// When the present configuration was read.
    pub last_reload: TimestampMs,
    /// Damages found in stored data since the start.
    pub damages: u64,
    /// Tasks that run.
    pub tasks: usize,
    /// Cores.
    pub cores: usize,
    /// How long samples are kept.
    pub retention: String,
}
