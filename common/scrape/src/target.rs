//! From discovered labels to what is scraped.

use std::time::Duration;

use http_shell::{Target as Server, encode_component};
use model::{Labels, LabelsBuilder, parse_duration};
use relabel::apply;
use xxhash_rust::xxh3::xxh3_64;

use crate::Job;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
const META: &str = "__meta_";
const INSTANCE: &str = "instance";

/// What is scraped, and how it is labelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The labels that its series get.
    pub labels: Labels,
    /// The labels that it had before relabelling.
    pub discovered: Labels,
    /// Scheme, host and port.
    pub(crate) server: String,
    /// Path and query.
    pub(crate) path: String,
    /// How often it is scraped.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Duration,
}

/// What became of a discovered target.
#[derive(Debug)]
pub(crate) enum Fate {
    Scraped(Target),
    /// Relabelling dropped it.
    Dropped(Labels),
}

impl Target {
    /// Makes the target that `discovered` describes; the error says why it is none.
    pub(crate) fn of(job: &Job, discovered: LabelsBuilder) -> Result<Fate, String> {
        let discovered = with_defaults(job, discovered);
        let before = discovered.build();
        let mut labels = discovered;
        if !apply(&job.relabel, &mut labels) {
            return Ok(Fate::Dropped(before));
        }
        let address = labels.get(ADDRESS).unwrap_or_default().to_owned();
        if address.is_empty() {
            return Err("no address".to_owned());
        }
        if address.contains('/') {
            return Err(format!("{address:?} is not a valid hostname"));
        }
        let (interval, timeout) = times(&labels)?;
        labels.retain(|name| !name.starts_with(META));
        if labels.get(INSTANCE).is_none() {
            labels.set(INSTANCE, address.as_str());
        }
        let scheme = labels.get(SCHEME).unwrap_or_default();
        let server = format!("{scheme}://{address}");
        if !matches!(scheme, "http" | "https") || Server::parse(&server).is_err() {
            return Err(format!("{server:?} is not the address of an HTTP server"));
        }
        let path = path(job, &labels);
        Ok(Fate::Scraped(Self {
            labels: labels.retain(|name| !name.starts_with("__")).build(),
            discovered: before,
            server,
            path,
            interval,
            timeout,
        }))
    }

    /// Returns what is called.
    pub fn url(&self) -> String {
        format!("{}{}", self.server, self.path)
    }

    /// Returns a number that is the same at every start, and another one for another target or another `seed`.
    pub(crate) fn hash(&self, seed: &str) -> u64 {
        let mut text = String::new();
        for (name, value) in self.labels.iter() {
            text.extend([name, "\u{ff}", value, "\u{ff}"]);
        }
        text.extend([self.server.as_str(), self.path.as_str(), seed]);
        xxh3_64(text.as_bytes())
    }
}

fn with_defaults(job: &Job, mut labels: LabelsBuilder) -> LabelsBuilder {
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    default("job", &job.name);
    default(INTERVAL, &model::format_duration(job.interval));
    default(TIMEOUT, &model::format_duration(job.timeout));
    default(PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(value) = values.first() {
            default(&format!("{PARAM}{name}"), value);
        }
    }
    labels
}

fn times(labels: &LabelsBuilder) -> Result<(Duration, Duration), String> {
    let time = |name: &str, what: &str| {
        let text = labels.get(name).unwrap_or_default();
        let parsed = parse_duration(text).map_err(|error| format!("error parsing {what}: {error}"));
        match parsed {
            Ok(time) if time < Duration::from_millis(10) => {
                Err(format!("{what} cannot be less than 10ms"))
            }
            other => other,
        }
    };
    let interval = time(INTERVAL, "scrape interval")?;
    let timeout = time(TIMEOUT, "scrape timeout")?;
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"
        ));
    }
    Ok((interval, timeout))
}

/// Path and query: parameters are the job's, of which labels may replace the first values.
fn path(job: &Job, labels: &LabelsBuilder) -> String {
    let mut params = job.params.clone();
    for (name, value) in labels.iter() {
        if let Some(param) = name.strip_prefix(PARAM) {
            let values = params.entry(param.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => value.clone_into(first),
                None => values.push(value.to_owned()),
            }
        }
    }
    let metrics_path = labels.get(PATH).unwrap_or_default();
    let mut path = String::new();
    if !metrics_path.starts_with('/') {
        path.push('/');
    }
    let segments: Vec<String> = metrics_path.split('/').map(encode_component).collect();
    path.push_str(&segments.join("/"));
    let pairs: Vec<String> = params
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        .map(|(name, value)| format!("{}={}", encode_component(name), encode_component(value)))
        .collect();
    if !pairs.is_empty() {
        path.push('?');
        path.push_str(&pairs.join("&"));
    }
    path
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn targets(job: &str) -> Vec<Result<String, String>> {
        let text = format!("scrape_configs:\n- job_name: j\n{job}");
        let jobs = crate::read_jobs(Path::new("p.yml"), &text).expect("valid");
        let discovered = jobs[0].groups.iter().flat_map(|group| group.discovered());
        let made = discovered.map(|labels| match Target::of(&jobs[0], labels)? {
            Fate::Scraped(target) => Ok(format!("{} {}", target.url(), target.labels)),
            Fate::Dropped(labels) => Ok(format!("dropped {}", labels.get(ADDRESS).unwrap_or(""))),
        });
        made.collect()
    }

    #[test]
    fn targets_are_made_of_labels() {
        for (job, made) in [
            (
                "  static_configs: [{targets: ['a:1'], labels: {zone: eu, __meta_x: y}}]\n",
                Ok(r#"http://a:1/metrics {instance="a:1", job="j", zone="eu"}"#),
            ),
            (
                "  scheme: https\n  metrics_path: /x y\n  params: {b: [c, d], a: ['1&2']}\n  static_configs: [{targets: ['a:1']}]\n",
                Ok(r#"https://a:1/x%20y?a=1%262&b=c&b=d {instance="a:1", job="j"}"#),
            ),
            // The way of the blackbox exporter.
            (
                "  params: {module: [icmp]}\n  static_configs: [{targets: ['host']}]\n  relabel_configs:\n  - {source_labels: [__address__], target_label: __param_target}\n  - {source_labels: [__param_target], target_label: instance}\n  - {target_label: __address__, replacement: 'b:9115'}\n",
                Ok(r#"http://b:9115/metrics?module=icmp&target=host {instance="host", job="j"}"#),
            ),
            (
                "  static_configs: [{targets: ['a:1'], labels: {job: other, __metrics_path__: /m}}]\n",
                Ok(r#"http://a:1/m {instance="a:1", job="other"}"#),
            ),
            (
                "  static_configs: [{targets: ['a:1']}]\n  relabel_configs: [{source_labels: [__address__], regex: 'a.*', action: drop}]\n",
                Ok("dropped a:1"),
            ),
            (
                "  static_configs: [{targets: ['a/b']}]\n",
                Err("\"a/b\" is not a valid hostname"),
            ),
            ("  static_configs: [{targets: ['']}]\n", Err("no address")),
            (
                "  static_configs: [{targets: ['a'], labels: {__scrape_interval__: 1s, __scrape_timeout__: 2s}}]\n",
                Err("scrape timeout cannot be greater than scrape interval (2s > 1s)"),
            ),
            (
                "  static_configs: [{targets: ['a'], labels: {__scrape_interval__: soon}}]\n",
                Err("error parsing scrape interval"),
            ),
            (
                "  static_configs: [{targets: ['a'], labels: {__scheme__: ftp}}]\n",
                Err("\"ftp://a\" is not the address of an HTTP server"),
            ),
        ] {
            let found = targets(job).remove(0);
            match made {
                Ok(text) => assert_eq!(found.as_deref(), Ok(text), "{job}"),
                Err(text) => assert!(found.is_err_and(|why| why.starts_with(text)), "{job}"),
            }
        }
    }
}
