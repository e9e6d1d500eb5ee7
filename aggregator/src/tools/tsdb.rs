//! `promontory tsdb`: a data folder that no process uses, from outside.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use config::Settings;
use files::{Disk, SharedFileSystem};
use model::{Labels, Matcher, TimeRange, TimestampMs, Value};
use serde_json::json;
use storage::Unlimited;
use tsdb::{CheckedFile, Damage, DumpedSample, FileKind, Offline, PartitionStatus, RepairAction};

use super::table::Table;
use crate::admin::tier;
use crate::config_of::STORE_FOLDER;
use crate::terminal::{self, Printer};

/// Damages shown to people; machines get all that are listed.
const DAMAGES_SHOWN: usize = 20;

/// `promontory tsdb check`
pub(crate) fn check(settings: &Settings, folder: &[String]) -> anyhow::Result<ExitCode> {
    let offline = open(folder)?;
    let watched = std::io::stderr().is_terminal();
    let report = offline.check(&mut |file| {
        if watched {
            terminal::complain(&format!("read {}", file.path.display()));
        }
    })?;
    if settings.text("output") == "json" {
        let files: Vec<_> = report.files.iter().map(file_json).collect();
        terminal::print(&serde_json::to_string_pretty(&json!({
            "files": files,
            "damages": damages_json(&report.damages),
            "damageCount": report.damage_count,
            "tornBytes": report.torn_bytes,
        }))?);
    } else {
        let mut table = Table::new(&["FILE", "KIND", "BYTES", "ITEMS", "SAMPLES", "DAMAGES"]);
        for file in &report.files {
            table.push(vec![
                name_of(&file.path),
                kind(file.kind).to_owned(),
                file.bytes.to_string(),
                file.items.to_string(),
                file.samples.to_string(),
                file.damages.to_string(),
            ]);
        }
        terminal::print(&table);
        show_damages(&report.damages, report.damage_count);
        if report.damage_count == 0 {
            terminal::print(&"everything is readable");
        } else {
            terminal::print(&"`promontory tsdb repair` says what can be kept");
        }
    }
    Ok(if report.damage_count == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `promontory tsdb list`
pub(crate) fn list(settings: &Settings, folder: &[String]) -> anyhow::Result<ExitCode> {
    let partitions = open(folder)?.list()?;
    if settings.text("output") == "json" {
        let all: Vec<_> = partitions.iter().map(partition_json).collect();
        terminal::print(&serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&[
        "FILE", "SHARD", "FROM", "TO", "LEVEL", "TIER", "CLASS", "SAMPLES", "SERIES", "BYTES",
        "B/SAMPLE",
    ]);
    for partition in &partitions {
        table.push(vec![
            partition.file.clone(),
            partition.shard.to_string(),
            time(partition.times.start),
            time(partition.times.end),
            partition.level.to_string(),
            tier(partition.tier),
            or_dash(partition.class.clone()),
            partition.samples.to_string(),
            or_dash(partition.series.map(|n| n.to_string()).unwrap_or_default()),
            partition.bytes.to_string(),
            format!("{:.2}", bytes_per_sample(partition)),
        ]);
    }
    terminal::print(&table);
    Ok(ExitCode::SUCCESS)
}

/// `promontory tsdb dump`
pub(crate) fn dump(settings: &Settings, folder: &[String]) -> anyhow::Result<ExitCode> {
    let matcher_sets = settings
        .optional_text("match")
        .map(selector)
        .transpose()?
        .into_iter()
        .collect::<Vec<_>>();
    let bound = |name: &str, open: TimestampMs| match settings.optional_text(name) {
        None => Ok(open),
        Some(text) => api::parse_time(text).map_err(|why| anyhow::anyhow!("--{name}: {why}")),
    };
    let range = TimeRange::new(
        bound("start", TimestampMs::MIN)?,
        bound("end", TimestampMs::MAX)?,
    );
    let offline = open(folder)?;
    let mut out = Printer::new();
    let summary = offline.dump(&matcher_sets, range, &mut |sample| {
        out.line(&line_of(&sample));
    })?;
    out.finish();
    show_damages(&summary.damages, summary.damages.len() as u64);
    Ok(if summary.damages.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `promontory tsdb repair`
pub(crate) fn repair(settings: &Settings, folder: &[String]) -> anyhow::Result<ExitCode> {
    let apply = settings.switch("apply");
    let report = open(folder)?.repair(apply)?;
    if settings.text("output") == "json" {
        let actions: Vec<_> = report.actions.iter().map(action_json).collect();
        terminal::print(&serde_json::to_string_pretty(&json!({
            "applied": apply,
            "actions": actions,
            "damages": damages_json(&report.damages),
            "damageCount": report.damage_count,
        }))?);
    } else {
        show_damages(&report.damages, report.damage_count);
        for action in &report.actions {
            terminal::print(&describe(action));
        }
        terminal::print(&match (report.actions.is_empty(), apply) {
            (true, _) => "nothing needs repair",
            (false, true) => "repaired; what was damaged lies beside it as *.damaged",
            (false, false) => "nothing was changed; --apply does it, and removes nothing",
        });
    }
    // A plan is no repair.
    Ok(if report.actions.is_empty() || apply {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn open(folder: &[String]) -> anyhow::Result<Offline> {
    open_folder(Path::new(
        folder.first().map(String::as_str).unwrap_or_default(),
    ))
}

/// Takes the store in a data folder: the folder of `--storage.path`, or the store's own within it.
pub(super) fn open_folder(given: &Path) -> anyhow::Result<Offline> {
    let files: SharedFileSystem = Arc::new(Disk);
    let inner = given.join(STORE_FOLDER);
    let is_outer = files
        .exists(&inner)
        .with_context(|| format!("cannot read {}", given.display()))?;
    let store = if is_outer { &inner } else { given };
    Ok(Offline::open(files, store)?)
}

fn selector(text: &str) -> anyhow::Result<Vec<Matcher>> {
    promql::parse_selector(text, promql::ParserOptions::default(), &Unlimited)
        .map_err(|error| anyhow::anyhow!("--match: {error}"))
}

/// `{labels} value time`, the time in milliseconds; a native histogram by its buckets.
fn line_of(sample: &DumpedSample<'_>) -> String {
    let value = match sample.value {
        Value::Float(value) => gofloat::format_g(*value),
        Value::Histogram(histogram) => format!("{histogram:?}"),
    };
    format!("{} {value} {}", braced(sample.labels), sample.at.0)
}

fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn show_damages(damages: &[Damage], count: u64) {
    for damage in damages.iter().take(DAMAGES_SHOWN) {
        terminal::complain(&format!("damaged: {damage}"));
    }
    let more = count.saturating_sub(DAMAGES_SHOWN as u64);
    if more > 0 {
        terminal::complain(&format!("and {more} more; -o json lists a thousand"));
    }
}

fn describe(action: &RepairAction) -> String {
    match action {
        RepairAction::RebuildCatalogue {
            why,
            partitions,
            same_store,
        } => {
            let identity = if *same_store {
                ""
            } else {
                "; the log does not tell the store's identity, so agents take it for another one"
            };
            format!(
                "catalogue: {why}; made anew from {partitions} partitions and the log, deletes that no merge has carried out are \
                 forgotten{identity}"
            )
        }
        RepairAction::Rewrite {
            file,
            into,
            samples,
            lost,
        } => format!("{file}: {samples} samples go to {into}, {lost} are lost"),
        RepairAction::SetAside { file, why } => format!("{file}: set aside as damaged, {why}"),
        RepairAction::Forget { file, samples } => {
            format!("{file}: missing, no longer named; {samples} samples are lost")
        }
    }
}

fn action_json(action: &RepairAction) -> serde_json::Value {
    match action {
        RepairAction::RebuildCatalogue {
            why,
            partitions,
            same_store,
        } => {
            json!({"action": "rebuildCatalogue", "why": why, "partitions": partitions, "sameStore": same_store})
        }
        RepairAction::Rewrite {
            file,
            into,
            samples,
            lost,
        } => {
            json!({"action": "rewrite", "file": file, "into": into, "samples": samples, "lost": lost})
        }
        RepairAction::SetAside { file, why } => {
            json!({"action": "setAside", "file": file, "why": why})
        }
        RepairAction::Forget { file, samples } => {
            json!({"action": "forget", "file": file, "samples": samples})
        }
    }
}

fn file_json(file: &CheckedFile) -> serde_json::Value {
    json!({
        "file": file.path.display().to_string(),
        "kind": kind(file.kind),
        "bytes": file.bytes,
        "items": file.items,
        "samples": file.samples,
        "damages": file.damages,
    })
}

fn damages_json(damages: &[Damage]) -> serde_json::Value {
    let all = damages.iter().map(|damage| {
        json!({"file": damage.file.display().to_string(), "offset": damage.offset, "what": damage.what})
    });
    all.collect()
}

fn partition_json(partition: &PartitionStatus) -> serde_json::Value {
    json!({
        "file": partition.file,
        "shard": partition.shard,
        "minTime": partition.times.start.0,
        "maxTime": partition.times.end.0,
        "level": partition.level,
        "tier": tier(partition.tier),
        "class": partition.class,
        "samples": partition.samples,
        "series": partition.series,
        "bytes": partition.bytes,
        "bytesPerSample": bytes_per_sample(partition),
    })
}

const fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Catalogue => "catalogue",
        FileKind::Segment => "log",
        FileKind::Partition => "partition",
        FileKind::Unnamed => "unnamed",
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

fn time(at: TimestampMs) -> String {
    promql::number::rfc3339(at.0)
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn bytes_per_sample(partition: &PartitionStatus) -> f64 {
    partition.bytes as f64 / partition.samples.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_one_line_whatever_its_labels_hold() {
        let labels = Labels::from_pairs([("__name__", "up"), ("a", "x\n\"y\"")]).expect("valid");
        let sample = DumpedSample {
            labels: &labels,
            at: TimestampMs(1_500),
            value: &Value::Float(f64::INFINITY),
        };
        assert_eq!(
            line_of(&sample),
            r#"{__name__="up",a="x\n\"y\""} +Inf 1500"#
        );
    }

    #[test]
    fn a_folder_that_is_none_is_refused_with_its_name() {
        let refused = open(&["/nonexistent/folder".to_owned()]).expect_err("not there");
        assert!(
            format!("{refused:#}").contains("/nonexistent/folder"),
            "{refused:#}"
        );
    }
}
