//! The house rules, checked: layers, nevers, single owners, and what every crate must have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates by layer: each may use lower layers only. The binaries' packages come last, then tests and benches, then
/// what measures all of it.
const LAYERS: &[&[&str]] = &[
    &["clock", "gofloat", "heap", "model", "precedence", "scan"],
    &[
        "config",
        "exposition",
        "files",
        "rows",
        "runtime",
        "telemetry",
        "template",
        "wire",
    ],
    &[
        "containers",
        "host",
        "prometheus-block",
        "push",
        "relabel",
        "spool",
        "storage",
        "transport",
    ],
    &[
        "alerting",
        "http-shell",
        "promql",
        "scrape",
        "tsdb",
        "uplink",
    ],
    &["ingest", "notifier", "rules"],
    &["api", "backtest", "pair"],
    &["agent", "aggregator"],
    &["benches", "tests"],
    &["compare"],
];

/// Uses within one layer that are meant.
const WITHIN_LAYER: &[(&str, &str)] = &[
    ("wire", "rows"),
    ("telemetry", "exposition"),
    ("telemetry", "rows"),
    ("alerting", "http-shell"), // notifications leave by its client
    ("scrape", "http-shell"),
    ("aggregator", "agent"), // `promontory up` runs both in one process
];

/// Who must never use what, beyond layers.
const NEVERS: &[(&str, &[&str])] = &[
    ("model", &["redb", "tokio", "hyper", "rustix", "socket2"]),
    ("clock", &["tokio"]),
    ("wire", &["tokio", "quinn", "socket2", "clock"]),
    ("rows", &["tokio", "bincode", "clock"]),
    ("storage", &["tokio", "clock", "wire", "files", "redb"]),
    (
        "tsdb",
        &[
            "tokio",
            "hyper",
            "http-shell",
            "quinn",
            "promql",
            "wire",
            "transport",
            "runtime",
        ],
    ),
    (
        "promql",
        &["tsdb", "tokio", "hyper", "http-shell", "clock", "runtime"],
    ),
    (
        "alerting",
        &["clock", "promql", "storage", "tsdb", "ingest"],
    ),
    (
        "backtest",
        &["clock", "files", "hyper", "runtime", "tokio", "tsdb"],
    ),
    (
        "template",
        &["clock", "tokio", "hyper", "storage", "promql", "files"],
    ),
    ("prometheus-block", &["clock", "tokio", "storage", "tsdb"]),
    (
        "rules",
        &[
            "alerting", "clock", "hyper", "ingest", "runtime", "tokio", "tsdb",
        ],
    ),
    ("relabel", &["clock", "tokio", "files"]),
    ("spool", &["tokio", "transport"]),
    ("containers", &["hyper", "http-shell", "transport"]),
    ("host", &["tokio", "hyper", "transport"]),
    ("push", &["tokio", "hyper", "http-shell", "transport"]),
];

/// Third-party crates that one place hides from the rest.
const OWNERS: &[(&str, &[&str])] = &[
    ("bincode", &["wire"]),
    ("redb", &["files", "tsdb"]),
    ("quinn", &["transport"]),
    ("quinn-proto", &["transport"]),
    ("rustls", &["transport"]),
    ("tokio-rustls", &["transport"]),
    ("rcgen", &["transport"]),
    ("h2", &["containers"]),
    ("prost", &["containers"]),
    ("hyper", &["http-shell"]),
    ("hyper-util", &["http-shell"]),
    ("clap", &["config"]),
    ("jiff", &["template"]),
    ("libc", &["heap", "host", "precedence"]),
    ("saphyr-parser", &["config"]),
    ("snap", &["ingest", "push", "benches", "compare"]),
    ("roaring", &["tsdb"]),
    ("zmij", &["gofloat"]),
    ("zstd", &["http-shell", "rows", "tsdb", "benches"]),
];

/// Formats have a document beside the code.
const FORMAT_DOCUMENTS: &[&str] = &[
    "agent/push/FORMAT.md",
    "agent/spool/FORMAT.md",
    "aggregator/tsdb/FORMAT.md",
    "common/files/FORMAT.md",
    "common/rows/FORMAT.md",
    "common/wire/PROTOCOL.md",
];

/// A file longer than this is two ideas.
const LINES_MAX: usize = 1_200;

struct House {
    root: PathBuf,
    /// Our packages: their folders, and what they use outside tests.
    packages: BTreeMap<String, (PathBuf, BTreeSet<String>)>,
}

impl House {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--no-deps",
                "--offline",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("json");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = metadata["packages"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|package| {
                let dependencies = package["dependencies"].as_array().expect("a list").iter();
                let used = dependencies
                    .filter(|d| d["kind"].as_str() != Some("dev"))
                    .map(|d| text(&d["name"]));
                let manifest = PathBuf::from(text(&package["manifest_path"]));
                let folder = manifest.parent().expect("a folder").to_owned();
                (text(&package["name"]), (folder, used.collect()))
            });
        Self {
            root: PathBuf::from(text(&metadata["workspace_root"])),
            packages: packages.collect(),
        }
    }

    fn layer(name: &str) -> Option<usize> {
        LAYERS.iter().position(|layer| layer.contains(&name))
    }

    /// Our source files, fuzz targets included.
    fn sources(&self) -> Vec<PathBuf> {
        let output = Command::new("git")
            .args(["ls-files", "*.rs"])
            .current_dir(&self.root)
            .output()
            .expect("git runs");
        let listed = String::from_utf8(output.stdout).expect("utf-8");
        listed
            .lines()
            .map(|line| self.root.join(line))
            .filter(|path| path.exists())
            .collect()
    }

    fn read_file(&self, path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

#[test]
fn every_crate_uses_lower_layers_only() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (name, (_, used)) in &house.packages {
        let Some(layer) = House::layer(name) else {
            wrong.push(format!("{name} has no layer: add it to LAYERS"));
            continue;
        };
        for other in used {
            let Some(below) = House::layer(other) else {
                continue;
            };
            if below >= layer && !WITHIN_LAYER.contains(&(name.as_str(), other.as_str())) {
                wrong.push(format!(
                    "{name} (layer {layer}) uses {other} (layer {below})"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_uses_what_it_must_never_know() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (name, forbidden) in NEVERS {
        let (_, used) = house
            .packages
            .get(*name)
            .unwrap_or_else(|| panic!("{name} is a package"));
        wrong.extend(
            forbidden
                .iter()
                .filter(|other| used.contains(**other))
                .map(|other| format!("{name} uses {other}")),
        );
    }
    for (name, (folder, used)) in &house.packages {
        let place = folder
            .strip_prefix(&house.root)
            .expect("inside")
            .to_string_lossy()
            .into_owned();
        for other in used
            .iter()
            .filter_map(|other| Some((other, house.packages.get(other)?)))
        {
            let (other, (folder, _)) = other;
            let other_place = folder
                .strip_prefix(&house.root)
                .expect("inside")
                .to_string_lossy()
                .into_owned();
            let crosses = |a: &str, b: &str| place.starts_with(a) && other_place.starts_with(b);
            let is_up = name == "aggregator" && other == "agent";
            if crosses("common/", "agent")
                || crosses("common/", "aggregator")
                || crosses("agent", "aggregator")
            {
                wrong.push(format!("{name} uses {other}"));
            }
            if crosses("aggregator", "agent") && !is_up {
                wrong.push(format!("{name} uses {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_one_owner_is_used_by_it_alone() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (name, (_, used)) in &house.packages {
        for (owned, owners) in OWNERS {
            if used.contains(*owned) && !owners.contains(&name.as_str()) {
                wrong.push(format!(
                    "{name} uses {owned}, which belongs to {}",
                    owners.join(" and ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_obeys_the_root_lints_and_says_what_it_is_for() {
    let house = House::read();
    let mut wrong = Vec::new();
    for (name, (folder, _)) in &house.packages {
        let manifest = house.read_file(&folder.join("Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            wrong.push(format!("{name} does not take the root lints"));
        }
        let library = folder.join("src/lib.rs");
        let root = if library.exists() {
            library
        } else {
            folder.join("src/main.rs")
        };
        let text = house.read_file(&root);
        if !text.starts_with("//! ") {
            wrong.push(format!("{name} does not begin with what it is for"));
        }
        let level = match name.as_str() {
            // Their calls of the C library are allowed where they stand.
            "heap" | "host" | "precedence" => "deny",
            _ => "forbid",
        };
        if !text.contains(&format!("#![{level}(unsafe_code)]")) {
            wrong.push(format!("{name} does not {level} unsafe code"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_one_idea_each_and_formats_are_written_down() {
    let house = House::read();
    let mut wrong = Vec::new();
    for path in house.sources() {
        let lines = house.read_file(&path).lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
        if path.file_name().is_some_and(|name| name == "mod.rs") {
            wrong.push(format!(
                "{} should be named after its module",
                path.display()
            ));
        }
    }
    for document in FORMAT_DOCUMENTS {
        if !house.root.join(document).exists() {
            wrong.push(format!("{document} is missing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
